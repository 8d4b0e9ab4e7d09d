"""`gridbot run` against `gridexchange`, as two processes."""

import json
import random
import sqlite3

import pytest

from .conftest import free_port, gridbot, wait_for

FAST = ("--speed", "3600")


def trading(bench):
    return wait_for(lambda: bench.status().get("state") == "trading" and bench.status())


def test_a_bot_trades_tells_about_it_and_stops_cleanly(bench):
    bench.start_exchange(*FAST)
    bot = bench.start_bot()
    asked = gridbot("health", "--wait", "60", "--url", f"http://127.0.0.1:{bench.page_port}/health")
    assert (asked.returncode, asked.stdout) == (0, "healthy\n"), asked.stderr
    trading(bench)
    status = wait_for(
        lambda: bench.status()["buys"] + bench.status()["sells"] > 3 and bench.status()
    )
    assert status["mode"] == "paper"
    assert status["market"] == "synthetic seed=7 speed=3600"
    assert "connected: BTC/USDT, prices: synthetic seed=7 speed=3600" in bench.log("bot")
    assert status["health"] == {"ok": True, "reasons": []}
    assert len(status["lines"]) == 21
    assert all(isinstance(status[key], str) for key in ("price", "grid_profit", "equity", "fees"))
    assert gridbot("health", "--url", f"http://127.0.0.1:{bench.page_port}/health").returncode == 0
    audit = gridbot("audit", "--config", bench.config, "--json")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert json.loads(audit.stdout)["equal"] is True
    heading = "BTC/USDT, amounts in USDT"
    report = gridbot("report", "--config", bench.config).stdout.splitlines()
    meaning = "made-up prices: profit here means nothing seed=7 speed=3600"
    assert report[0] == f"{heading}; paper, {meaning}"
    assert bench.stop(bot) == 0
    assert gridbot("report", "--config", bench.config).stdout.splitlines()[0] == heading
    assert "open orders are left on the exchange" in bench.log("bot")
    assert "test-secret" not in bench.log("bot")
    assert "signature" not in bench.log("bot")


def test_a_bot_killed_at_any_moment_comes_back_with_equal_books(bench):
    dice = random.Random(11)  # noqa: S311 - moments, no secret
    bench.start_exchange(*FAST)
    for _ in range(4):
        bot = bench.start_bot()
        wait = dice.uniform(0.3, 2.0)
        if dice.random() < 0.5:
            trading(bench)
        with pytest.raises(Exception, match="timed out"):
            bot.wait(timeout=wait)
        bot.kill()
        bot.wait()
    bench.start_bot()
    trading(bench)
    audit = gridbot("audit", "--config", bench.config)
    assert audit.returncode == 0, audit.stdout + audit.stderr
    status = bench.status()
    assert status["open_orders"] == len({(o["line"], o["side"]) for o in status["orders"]}) == 20


def test_an_exchange_killed_while_the_bot_trades_is_waited_for(bench):
    exchange = bench.start_exchange(*FAST)
    bench.start_bot()
    trading(bench)
    exchange.kill()
    exchange.wait()
    health = wait_for(lambda: (answer := bench.page("/health")) and answer[0] == 503 and answer)
    said = json.loads(health[1])
    (reason,) = said["reasons"]
    assert "cannot be reached: Connection refused" in reason
    assert said["started"] is True
    down = gridbot("health", "--url", f"http://127.0.0.1:{bench.page_port}/health")
    assert (down.returncode, down.stderr.strip()) == (1, reason)
    bench.start_exchange(*FAST)
    trading(bench)
    audit = gridbot("audit", "--config", bench.config)
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_a_bot_that_has_never_reached_its_exchange_still_starts(bench):
    bench.start_bot()
    health = wait_for(lambda: (answer := bench.page("/health")) and answer[0] == 503 and answer)
    assert json.loads(health[1])["started"] is False


def test_the_audit_finds_what_the_bot_does_not_know(bench):
    bench.start_exchange(*FAST)
    bot = bench.start_bot()
    wait_for(lambda: bench.status().get("buys"))
    bench.stop(bot)
    store = bench.directory / "bot" / "gridbot.sqlite3"
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE fills SET commission = '0.5' WHERE trade_id = 1")
    connection.close()
    bench.start_bot()
    trading(bench)
    audit = gridbot("audit", "--config", bench.config)
    assert audit.returncode == 1, audit.stdout + audit.stderr
    assert "trade 1 " in audit.stdout
    assert "fee 0.5 BTC" in audit.stdout
    assert "balance BTC" in audit.stdout


def test_a_second_bot_on_the_same_state_is_refused(bench):
    bench.start_exchange(*FAST)
    bench.start_bot()
    trading(bench)
    bench.write_config(port=free_port())
    second = gridbot("run", "--config", bench.config)
    assert second.returncode == 4
    assert "is in use by another running bot" in second.stderr


def test_the_page_stands_alone_and_only_shows(bench):
    bench.start_exchange(*FAST)
    bench.start_bot()
    trading(bench)
    code, body, headers = bench.page("/")
    assert code == 200
    html = body.decode()
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in html
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert bench.page("/nothing")[0] == 404
    assert bench.page("/../bot.toml")[0] == 404
    assert json.loads(bench.page("/api/history")[1])["prices"]
