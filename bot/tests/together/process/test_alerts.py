"""A real bot's alerts, metrics and JSON log, with the process killed in between."""

import json

from bot.tests.together.alerts.receivers import Receiver

from .conftest import gridbot, wait_for


def lines(bench) -> list[dict]:
    return [json.loads(line) for line in bench.log("bot").splitlines()]


def test_a_kill_switch_is_told_once_though_the_bot_is_killed(bench):
    discord = Receiver("/api/webhooks/123/planted-secret")
    url = bench.directory / "discord_url"
    url.touch(mode=0o600)
    url.write_text(discord.url)
    more = {"[alerts]": None, "discord_url_file": f'"{url}"', "[log]": None, "format": '"json"'}
    bench.write_config(**more, **{"[stop]": None, "max_drawdown_percent": '"0.05"'})
    bench.start_exchange("--speed", "3600", "--balance", "USDT=30000")
    bot = bench.start_bot()
    wait_for(lambda: discord.taken)
    (message,) = discord.documents
    assert "Kill switch fired" in message["content"]
    wait_for(lambda: bench.status().get("state") == "halted")
    bot.kill()
    bot.wait()
    bench.write_config(**more)
    bench.start_bot()
    wait_for(lambda: bench.status().get("state") == "halted")
    resumed = gridbot("resume", "--config", bench.config, "--take-nothing")
    assert resumed.returncode == 0, resumed.stderr
    wait_for(lambda: len(discord.taken) > 1)
    assert [("Over" in one["content"]) for one in discord.documents] == [False, True]
    discord.close()
    told = lines(bench)
    order = next(one["order"] for one in told if "accepted" in one["event"])
    life = [one for one in told if one.get("order") == order]
    assert life
    assert {one["symbol"] for one in life} == {"BTC/USDT"}
    assert {one["bot"] for one in told} == {"pi1"}
    for secret in ("planted-secret", "test-secret", discord.base):
        assert secret not in bench.log("bot")


def test_metrics_are_for_those_who_may(bench):
    token = bench.directory / "metrics.token"
    bench.start_exchange("--speed", "3600")
    bench.start_bot()
    answer = wait_for(lambda: bench.page("/metrics"))
    assert answer[0] == 200  # this machine, and the page is on loopback
    token.touch(mode=0o600)
    token.write_text("a-token-of-the-host")
    bench.close()
    bench.running.clear()
    bench.write_config(**{"[metrics]": None, "token_file": f'"{token}"'})
    bench.start_exchange("--speed", "3600")
    bench.start_bot()
    answer = wait_for(lambda: bench.page("/metrics"))
    assert (answer[0], b"gridbot_" in answer[1]) == (401, False)
