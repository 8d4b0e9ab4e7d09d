"""Settings, the choice of strikes, figures, and files of the watcher, without a Gateway."""

import errno
import math
import os
import random
import time
from dataclasses import replace
from datetime import date

import pyarrow.parquet as pq
import pytest
from gridbase.errors import UserError
from ib_async.objects import BarData
from watcher.choosing import choose, figures, realized_volatility
from watcher.cli import main
from watcher.config import load_config
from watcher.cycle import Look, bar_of
from watcher.files import Files
from watcher.listener import Listener, Snapshot

TODAY = date(2026, 11, 10)
STRIKES = [float(strike) for strike in range(450, 555, 5)]
CHAIN = ("SMART", "SPY", "100", ["20261113", "20261120", "20261127"], STRIKES)
SETTINGS = """gateway = "127.0.0.1:4002"
symbols = ["SPY", "QQQ"]
directory = "/var/lib/watcher"
"""


def load(tmp_path, text):
    path = tmp_path / "watcher.toml"
    path.write_text(text)
    return load_config(path)


def test_settings(tmp_path):
    config = load(tmp_path, SETTINGS + 'restart = "04:45"\nstrikes = 3\n')
    assert config.gateway == ("127.0.0.1", 4002)
    assert (config.restart, config.strikes, config.cycle_seconds) == (285, 3, 300)
    assert config.counts == config.directory


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cycle_seconds = 60", "cycle_seconds = 60: needs a whole number from 300 to 86400"),
        ("strikes = 9", "strikes = 9: needs a whole number from 3 to 5"),
        ('restart = "24:00"', "restart = '24:00': needs a time of the day"),
        ('currency = "usd"', "needs three capitals"),
        ('pacing_directory = "run"', "needs an absolute path"),
        ('metrics_file = "watcher.prom"', "needs an absolute path"),
        ("client_id = 0", "needs a whole number from 1"),
        ("cycle_second = 300", "unknown setting cycle_second; did you mean cycle_seconds?"),
        ("strikes = ", "is no TOML"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, line, said, capsys):
    path = tmp_path / "watcher.toml"
    path.write_text(f"{SETTINGS}{line}\n")
    assert main(["--config", str(path), "--check"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        ("gateway", 'gateway = "127.0.0.1"', "needs host and port"),
        ("symbols", "symbols = []", "needs 1 to 10 different names"),
        ("symbols", 'symbols = ["SPY", "SPY"]', "needs 1 to 10 different names"),
        ("directory", "", "directory is missing"),
    ],
)
def test_what_is_required(tmp_path, line, instead, said):
    lines = [one for one in SETTINGS.splitlines() if not one.startswith(line)]
    with pytest.raises(UserError, match=said):
        load(tmp_path, "\n".join([*lines, instead]))


def test_the_strikes_next_to_the_money_of_the_first_expiry_that_is_far_enough():
    chosen = choose([CHAIN], 503.2, TODAY, days=7, count=5)
    assert (chosen.expiry, chosen.strikes) == ("20261120", (495.0, 500.0, 505.0, 510.0, 515.0))
    chosen = choose([CHAIN], 503.2, TODAY, days=7, count=3, unlisted=[("20261120", 505.0)])
    assert chosen.strikes == (495.0, 500.0, 510.0)
    small = ("SMART", "2SPY", "10", ["20261114"], [500.0])
    other = ("CBOE", "SPY", "100", ["20261201"], [*STRIKES, 1.0])
    assert choose([small, other, CHAIN], 503.2, TODAY, days=0, count=3).trading_class == "SPY"
    assert choose([other], 503.2, TODAY, days=7, count=5) is None
    assert choose([CHAIN], 503.2, TODAY, days=60, count=5) is None


def test_realized_volatility_is_that_of_the_walk_and_knows_no_night():
    pick = random.Random(1)  # noqa: S311  a walk, no secrets
    price, closes = 500.0, []
    for minute in range(20_000):
        price *= math.exp(pick.gauss(0, 0.2 / math.sqrt(390 * 252)))
        closes.append((minute * 60, price))
    assert realized_volatility(closes) == pytest.approx(0.2, rel=0.02)
    night = [*closes[:60], *((at + 60_000, 2 * price) for at, price in closes[60:120])]
    assert realized_volatility(night) < 0.3
    assert realized_volatility(closes[:20]) is None


def row(strike, right, volatility):
    return {"expiry": "20261120", "strike": strike, "right": right, "volatility": volatility}


def test_figures_are_of_the_strike_next_to_the_money():
    closes = [(minute * 60, 500 + minute % 2) for minute in range(60)]
    rows = [row(495, "P", 0.26), row(500, "C", 0.2), row(500, "P", 0.22), row(505, "C", 0.18)]
    said = figures(501.0, [*rows, row(501, "C", None)], closes, TODAY)
    assert said["implied_volatility"] == pytest.approx(0.21)
    assert said["skew"] == pytest.approx(0.08)
    assert said["expected_move"] == pytest.approx(501 * 0.21 * math.sqrt(10 / 365))
    assert said["ratio"] == pytest.approx(0.21 / realized_volatility(closes))
    assert said["signal"] == "cheap"
    assert figures(501.0, [row(500, "C", None)], closes, TODAY)["signal"] == "unknown"
    assert figures(501.0, rows, [], TODAY)["signal"] == "unknown"


def option(strike=500.0, time_ms=1_000):
    greeks = {"volatility": 0.2, "delta": 0.5, "gamma": 0.01, "vega": 0.4, "theta": -0.1}
    quote = {"bid": 1.23, "ask": None, "model": 1.234567}
    key = {"time_ms": time_ms, "expiry": "20261120", "strike": strike, "right": "C"}
    return {**key, **quote, **greeks}


def look(time_ms=1_000, price=500.1):
    bar = {"time": 60, "open": 1.1, "high": 1.3, "low": 1.0, "close": 1.2, "volume": 7.0}
    return Look("SPY", time_ms, price, [option(time_ms=time_ms)], [bar | {"close": price}], [])


def rows_of(path):
    return pq.ParquetFile(path).read().to_pylist()


def test_a_journal_that_was_cut_loses_its_last_line_alone(tmp_path):
    files = Files(tmp_path)
    files.add("20261110", [look(1_000), look(2_000)])
    journal = tmp_path / "active/20261110.jsonl"
    journal.write_bytes(journal.read_bytes()[:-30])
    files.add("20261110", [look(3_000)])
    options, bars = files.convert()
    assert [row["time_ms"] for row in rows_of(options)] == [1_000, 3_000]
    [first] = [row for row in rows_of(options) if row["time_ms"] == 1_000]
    assert (str(first["bid"]), first["ask"], first["model"]) == ("1.230000", None, 1.234567)
    assert first["expiry"] == date(2026, 11, 20)
    assert len(rows_of(bars)) == 1
    assert not journal.exists()


def test_what_is_converted_twice_or_comes_later_is_there_once(tmp_path):
    files = Files(tmp_path)
    files.add("20261110", [look(1_000)])
    journal = tmp_path / "active/20261110.jsonl"
    content = journal.read_bytes()
    [options, bars] = files.convert()
    journal.write_bytes(content)  # as after a power cut before it was removed
    files.add("20261110", [look(2_000, 500.7)])
    files.convert()
    assert [row["time_ms"] for row in rows_of(options)] == [1_000, 2_000]
    assert str(rows_of(bars)[0]["close"]) == "500.700000"
    assert files.convert() == []


def test_a_parquet_file_that_cannot_be_read_is_put_aside(tmp_path):
    files = Files(tmp_path)
    files.add("20261110", [look(1_000)])
    [options, _] = files.convert()
    options.write_bytes(b"PAR1 and no more")
    files.add("20261110", [look(2_000)])
    files.convert()
    assert [row["time_ms"] for row in rows_of(options)] == [2_000]
    assert options.with_suffix(".unreadable").read_bytes() == b"PAR1 and no more"


def test_what_is_not_set_is_null():
    listener = Listener()
    snapshot = listener.snapshots[1] = Snapshot()
    unset = 1.7976931348623157e308
    for price in (5.0, unset, float("nan")):
        listener.priceSizeTick(1, 1, price, 0)
        assert snapshot.prices == ({"bid": 5.0} if price == 5.0 else {})
    listener.tickOptionComputation(1, 13, 1, 0.2, 0.5, 5.0, 0.0, 0.1, 0.1, -0.1, 500.0)
    assert snapshot.model["delta"] == 0.5
    for values in ((unset, 0.5), (-1.0, 0.5), (0.2, -2.0), (0.2, float("nan"))):
        listener.tickOptionComputation(1, 13, 1, *values, 5.0, 0.0, 0.1, 0.1, -0.1, 500.0)
        assert snapshot.model == {}
    listener.tickOptionComputation(1, 13, 1, 0.2, -1.0, -1.0, -1.0, -2.0, -2.0, -2.0, -1.0)
    assert snapshot.model == {"volatility": 0.2, "delta": -1.0}


@pytest.mark.parametrize("price", [-1.0, 0.0, 1e300, float("nan"), float("inf")])
def test_a_bar_without_a_price_is_none(price):
    bar = BarData("60", open=1.0, high=2.0, low=1.0, close=1.5, volume=float("nan"))
    assert bar_of(bar, 120.0)["volume"] is None
    assert bar_of(bar, 119.0) is None  # its minute is not over
    for name in ("open", "high", "low", "close"):
        assert bar_of(replace(bar, **{name: price}), 120.0) is None


def test_days_that_go_on_are_left(tmp_path):
    files = Files(tmp_path)
    files.add("20261109", [look()])
    files.add("20261110", [look()])
    assert len(files.convert("20261110")) == 2
    assert [path.name for path in (tmp_path / "active").iterdir()] == ["20261110.jsonl"]


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    files = Files(tmp_path)

    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot be written: No space left on device"):
        files.add("20261110", [look()])


def test_a_directory_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"directory = .* cannot be written"):
        Files(tmp_path / "file")


def test_health_is_a_sign_of_life(tmp_path, capsys):
    config = tmp_path / "watcher.toml"
    config.write_text(SETTINGS.replace("/var/lib/watcher", str(tmp_path)))
    arguments = ["--config", str(config), "--health"]
    assert main(arguments) == 1
    document = {"written_ms": time.time() * 1000, "state": "closed"}
    Files(tmp_path).write_signal(document)
    assert main(arguments) == 0
    Files(tmp_path).write_signal(document | {"written_ms": 0})
    assert main(arguments) == 1
    assert "closed, told" in capsys.readouterr().out
