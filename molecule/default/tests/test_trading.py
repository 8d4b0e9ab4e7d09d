"""The bot trades: fills come, its books are the exchange's, no order is lost or doubled."""

import json
import os
import shlex
import time
import urllib.error
import urllib.request

AUDIT = "docker exec gridberry-bot gridbot audit --config /etc/gridbot/bot.toml"


def fills(status):
    """How many orders of the grid were filled."""
    return status["buys"] + status["sells"]


def assert_audit_equal(pi):
    """The bot's books equal the exchange's."""
    result = pi.run(AUDIT)
    assert result.rc == 0, result.stdout + result.stderr


ASK_COUNTERS = (
    "import sys, urllib.request as u;"
    " sys.stdout.write(u.urlopen('http://exchange:8000/gridberry/counters').read().decode())"
)


def rest_calls(pi):
    """How many requests the exchange has got over REST since it started, by its own count."""
    command = f"docker exec gridberry-bot python3 -c {shlex.quote(ASK_COUNTERS)}"
    return sum(json.loads(pi.check_output(command))["rest"].values())


# How long the bot is watched, in real seconds.
REPLAY_SECONDS = int(os.environ.get("GRIDBERRY_REPLAY_SECONDS", "30"))


def test_fills_come_and_the_books_are_equal(pi, bot, waiting):
    assert bot()["mode"] == "paper"
    before, end = fills(bot()), time.monotonic() + REPLAY_SECONDS
    waiting(lambda: fills(bot()) >= before + 4, "four more fills")
    while time.monotonic() < end:
        time.sleep(10)
        assert_audit_equal(pi)
    assert_audit_equal(pi)
    print(f"{fills(bot()) - before} fills on {bot()['market']}, books equal")


def test_the_exchange_tells_by_itself(pi, bot, waiting):
    """Prices, fills and orders go over the streams: most fills take no request over REST at all."""
    waiting(lambda: bot()["connection"]["account_stream"], "the account's stream")
    waiting(lambda: bot()["connection"]["market_stream"], "the market's stream")
    assert bot()["connection"]["circuit"]["state"] == "closed"
    calls, before = rest_calls(pi), fills(bot())
    waiting(lambda: fills(bot()) >= before + 6, "six more fills")
    done = fills(bot()) - before
    calls = rest_calls(pi) - calls
    print(f"{calls} requests over REST for {done} fills")
    assert calls <= done / 2


def test_exchange_that_does_not_answer_is_said_and_survived(pi, machine, waiting):
    pi.check_output("docker stop gridberry-exchange")
    try:
        reasons = waiting(lambda: unhealthy_reasons(machine), "the bot to notice")
        assert any("exchange" in reason for reason in reasons)
    finally:
        pi.check_output("docker start gridberry-exchange")
    waiting(lambda: not unhealthy_reasons(machine), "the bot to trade again")
    assert_audit_equal(pi)


def unhealthy_reasons(machine):
    """Why the bot says that it is not healthy; empty while it is."""
    try:
        with urllib.request.urlopen(f"{machine.page}/health", timeout=60):  # noqa: S310 - http, loopback
            return []
    except urllib.error.HTTPError as error:
        return json.loads(error.read())["reasons"]


def test_power_cut_while_it_trades(pi, bot, machine, waiting):
    before = bot()
    machine.virtual_pi("cut", "molecule-pi")
    machine.forget_connection()
    machine.virtual_pi("start", "molecule-pi", "--wait")
    state = "docker inspect --format '{{.State.Health.Status}}' gridberry-bot"
    waiting(lambda: pi.run(state).stdout.strip() == "healthy", "the bot to be back by itself")
    assert_audit_equal(pi)
    after = bot()
    assert fills(after) >= fills(before)
    assert after["open_orders"] == before["open_orders"]
    open_ids = [order["client_id"] for order in after["orders"]]
    assert len(open_ids) == len(set(open_ids))
    waiting(lambda: fills(bot()) > fills(after), "a fill after the power cut")
    assert_audit_equal(pi)
