"""The hub on a virtual Pi: the database has what the bot's books have, and API and page answer."""

import json
import shlex
import urllib.error
import urllib.request

import pytest

PARTS = {"collect": 96, "serve": 384, "keep": 384}
TOKEN = "planted-hub-token-4711"


def get(machine, path, token=None):
    """Status and text of an answer, asked from outside."""
    url = f"http://127.0.0.1:{machine.forwards[8090]}{path}"
    request = urllib.request.Request(url)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - likewise
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_healthy_and_bounded(pi, part, waiting):
    name = f"gridberry-hub-{part}"
    look = f"docker inspect --format '{{{{.State.Health.Status}}}}' {name}"
    waiting(lambda: pi.run(look).stdout.strip() == "healthy", f"{name} to be healthy")
    told = json.loads(pi.check_output(f"docker inspect {name}"))[0]
    process = told["State"]["Pid"]
    group = pi.check_output(f"cut -d: -f3 /proc/{process}/cgroup")
    bound = int(pi.check_output(f"cat /sys/fs/cgroup{group}/memory.max"))
    assert bound == PARTS[part] * 1024 * 1024
    status = pi.check_output(f"cat /proc/{process}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    assert int(fields["CapEff"], 16) == 0
    assert fields["Uid"].split()[0] == "10001"
    assert told["HostConfig"]["ReadonlyRootfs"]


def test_the_bots_trades_are_in_the_database_exactly_once(trades_in_books, equal_books, waiting):
    """While it trades on: what its books have comes; what has come is in its books."""
    found = equal_books()
    print(f"{len(found)} trades")
    assert len(found) > 20
    waiting(lambda: len(trades_in_books()) > len(found), "the bot's next trade")
    equal_books()


def test_the_hub_talks_to_the_database_by_tls(pi):
    query = (
        "SELECT DISTINCT usename, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)"
        " WHERE usename LIKE 'gridberry%'"
    )
    said = pi.check_output(
        f"runuser -u postgres -- psql -XAtq -d gridberry -c {shlex.quote(query)}"
    )
    assert "gridberry_writer|t" in said.splitlines()
    assert not [line for line in said.splitlines() if line.endswith("|f")]


def test_the_api_needs_the_token(machine):
    assert get(machine, "/api/v1/bots")[0] == 401
    assert get(machine, "/api/v1/bots", "another")[0] == 401
    assert get(machine, "/health")[0] == 200


def test_the_api_has_the_bot_and_its_trades(machine, trades_in_database, waiting):
    status, text = get(machine, "/api/v1/bots", TOKEN)
    assert status == 200
    bot = json.loads(text)["bots"][0]
    assert (bot["name"], bot["mode"]) == ("molecule-pi", "paper")
    assert not bot["stale"]
    before = {row[0] for row in trades_in_database()}
    status, text = get(machine, "/api/v1/fills?limit=5", TOKEN)
    assert status == 200
    told = [fill["trade_id"] for fill in json.loads(text)["fills"]]
    assert len(told) == 5
    waiting(
        lambda: set(told) <= before | {row[0] for row in trades_in_database()}, "the same trades"
    )


def test_the_page_answers(machine):
    status, text = get(machine, "/")
    assert status == 200
    assert "<html" in text
