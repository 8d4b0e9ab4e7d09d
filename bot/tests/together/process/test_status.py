"""`gridbot status` and `gridbot resume` beside a bot that really runs."""

import json

from .conftest import gridbot, wait_for

START_MS, MINUTE_MS = 1_640_995_200_000, 60_000


def table(shown):
    """Rows of the table by their label, the texts of each in order."""
    rows: dict[str, list[str]] = {}
    for line in shown.stdout.splitlines():
        rows.setdefault(line[:18].strip(), []).append(line[18:].strip())
    return rows


def trading(bench):
    return wait_for(lambda: bench.status().get("state") == "trading" and bench.status())


def fall(bench):
    """A market that stands at 50,000 for an hour, falls to 46,000 and stays there."""
    rows = ["timestamp,open,high,low,close,volume"]
    closes = [50_000] * 60 + list(range(50_000, 45_900, -100)) + [46_000] * 10
    before = closes[0]
    for minute, close in enumerate(closes):
        ends = sorted((before, close))
        rows.append(f"{START_MS + minute * MINUTE_MS},{before},{ends[1]},{ends[0]},{close},1")
        before = close
    file = bench.directory / "fall.csv"
    file.write_text("\n".join(rows) + "\n")
    return file


def test_a_trading_bot_is_told_in_a_table_and_as_served(bench):
    bench.start_exchange()
    bench.start_bot()
    trading(bench)
    shown = bench.shown()
    assert shown.returncode == 0, shown.stdout + shown.stderr
    rows = table(shown)
    assert rows["state"] == ["trading"]
    assert rows["mode"] == ["paper"]
    assert rows["symbol"] == ["BTC/USDT"]
    assert rows["open orders"] == ["20"]
    assert rows["range"] == ["47000 to 53000"]
    assert rows["account stream"] == ["not up: asked over REST"]
    assert rows["circuit breaker"] == ["closed"]
    assert not {"kill switch", "buys paused", "policy", "not healthy"} & rows.keys()
    served = json.loads(bench.shown("--json").stdout)
    assert served.keys() == bench.status().keys()
    assert served["grids"][0]["lines"] == bench.status()["lines"]


def test_streams_are_told_once_they_are_up(bench):
    bench.start_exchange()
    bench.write_config(streams=True)
    bench.start_bot()
    trading(bench)
    wait_for(lambda: table(bench.shown()).get("account stream") == ["up"])
    wait_for(lambda: table(bench.shown()).get("market stream") == ["up"])


def test_a_waiting_bot_says_why_and_exits_with_1(bench):
    bench.start_bot()
    wait_for(lambda: bench.status().get("state") == "waiting")
    shown = bench.shown()
    assert shown.returncode == 1
    rows = table(shown)
    assert rows["state"] == ["waiting"]
    assert rows["price"] == ["-"]
    assert "Connection refused" in rows["not healthy"][0]


def test_a_circuit_that_opens_is_told(bench):
    exchange = bench.start_exchange()
    bench.start_bot()
    trading(bench)
    exchange.kill()
    exchange.wait()
    (text,) = wait_for(
        lambda: [
            row
            for row in table(bench.shown()).get("circuit breaker", [])
            if row.startswith(("open", "half-open"))
        ]
    )
    assert "failures in a row" in text


def test_a_fired_kill_switch_stays_over_a_restart_until_a_person_clears_it(bench):
    bench.write_config(**{"[stop]": None, "loss_price": '"46500"'})
    market = ("--candles", fall(bench), "--at-end", "hold")
    exchange = bench.start_exchange(*market, "--speed", 1)
    bot = bench.start_bot()
    trading(bench)
    assert bench.stop(exchange) == 0
    bench.start_exchange(*market, "--speed", 3600)
    wait_for(lambda: bench.status().get("state") == "halted")
    shown = bench.shown()
    rows = table(shown)
    assert shown.returncode == 0, "a switch that has fired is no illness"
    assert rows["latest grid ended"][0].endswith("is at or below the stop 46500")
    assert "open orders" not in rows
    assert float(rows["equity then"][0]) < 9000
    assert float(rows["base held"][0]) > 0
    assert "is at or below the stop 46500 (stop.loss_price)" in rows["kill switch"][0]
    assert rows[""] == ["off until: gridbot resume --config FILE"]
    assert rows["policy"] == ["stops at a price at or below 46500 USDT, keeps the base held"]

    assert bench.stop(bot) == 0
    # The next grid begins where the price has fallen to, below the range.
    bench.write_config(investment='"9000"\noutside_range_purchase = "9000"')
    bench.start_bot()
    wait_for(lambda: bench.status().get("state") == "halted")
    first = gridbot("resume", "--config", bench.config)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("BTC/USDT: cleared (price ")
    trading(bench)
    second = gridbot("resume", "--config", bench.config)
    assert (second.returncode, second.stdout) == (1, "BTC/USDT: no kill switch has fired\n")
    audit = gridbot("audit", "--config", bench.config)
    assert audit.returncode == 0, audit.stdout + audit.stderr


EXCHANGE = """
at_end = "hold"

[balances]
USDT = "20000"

[[symbols]]
symbol = "BTC/USDT"
candles = "{market}"

[[symbols]]
symbol = "ETH/USDT"
start_price = "3000"
"""
GRIDS = """
[[grids]]
symbol = "BTC/USDT"
lower = "47000"
upper = "53000"
grids = 20
investment = "9000"
[grids.stop]
loss_price = "46500"

[[grids]]
symbol = "ETH/USDT"
lower = "2500"
upper = "3500"
grids = 10
investment = "5000"
"""


def states(bench):
    return [grid["state"] for grid in bench.status().get("grids", [])]


def test_grids_of_one_bot_are_told_apart_and_stop_alone(bench):
    settings = bench.directory / "exchange.toml"
    settings.write_text(EXCHANGE.format(market=fall(bench)))
    bench.write_config(streams=True)
    text = bench.config.read_text()
    head, tail = text.index("[market]"), text.index("[state]")
    bench.config.write_text(text[:head] + text[tail:] + GRIDS)
    exchange = bench.start_exchange("--config", settings, "--speed", 1)
    bench.start_bot()
    wait_for(lambda: states(bench) == ["trading", "trading"])
    assert table(bench.shown())["symbol"] == ["BTC/USDT", "ETH/USDT"]
    assert bench.stop(exchange) == 0
    bench.start_exchange("--config", settings, "--speed", 3600)
    wait_for(lambda: states(bench) == ["halted", "trading"])
    rows = table(bench.shown())
    assert rows["state"] == ["halted"]
    assert rows["grid's state"] == ["halted", "trading"]
    assert rows["open orders"] == ["10"]
    assert "off until: gridbot resume --config FILE --symbol BTC/USDT" in rows[""]
    other = gridbot("resume", "--config", bench.config, "--symbol", "ETH/USDT")
    assert (other.returncode, other.stdout) == (1, "ETH/USDT: no kill switch has fired\n")
    assert gridbot("resume", "--config", bench.config, "--symbol", "BTC/USDT").returncode == 0
    wait_for(lambda: states(bench) == ["paused", "trading"])
    (reason,) = table(bench.shown())["buys paused"]
    assert reason.startswith("no grid begins while stop.loss_price holds: price ")
    audit = gridbot("audit", "--config", bench.config, "--json")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert json.loads(audit.stdout)["grids"].keys() == {"BTC/USDT", "ETH/USDT"}
