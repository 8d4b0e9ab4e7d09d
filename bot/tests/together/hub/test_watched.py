"""What an option watcher keeps gets into the database: each row once, and trades do not wait."""

import asyncio
from decimal import Decimal

import pytest
from gridbase.clock import SystemClock
from hub import watched
from hub.collector import Loop
from hub.config import Collector
from watcher.cycle import Look
from watcher.files import Files

from bot.tests.bot.books.conftest import Life
from bot.tests.together.hub.conftest import bot_of, rows

OPENED = 1_794_321_000_000
COUNTS = "SELECT (SELECT count(*) FROM option_snapshots), (SELECT count(*) FROM stock_bars)"


def look(symbol, number, **more):
    option = {
        "time_ms": OPENED + number * 300_000 + 7,
        "expiry": "20261120",
        "strike": 500.0,
        "right": "C",
        "bid": 1.1,
        "ask": None,
        "model": 1.15,
        "volatility": 0.2,
        "delta": 0.1 + 0.2,
        "gamma": 0.01,
        "vega": 0.02,
        "theta": -0.03,
    }
    bar = {"time": OPENED // 1000 + 60 * number, "volume": 12.0}
    bar |= {"open": 500.1, "high": 500.2, "low": 499.9, "close": 500.0}
    return Look(symbol, OPENED, 500.05, [option | more], [bar])


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path / "watcher")


@pytest.fixture
def loop(tmp_path, address, store, files):
    Life(store).swing(1)
    settings = Collector(1, tmp_path / "s", tmp_path / "m", watcher_directory=files.directory)
    return Loop(bot_of(store.directory), settings, address, SystemClock())


def rounds(loop, count=1):
    """So many rounds, each of which looks for files."""

    async def run():
        for _ in range(count):
            loop._heard = float("-inf")
            await loop._try()
        loop._measured = float("-inf")
        loop._report()
        await loop._drop()

    asyncio.run(run())


def test_each_row_is_there_once_and_exact(loop, address, files, tmp_path):
    for number in range(3):
        files.add("20261110", [look("SPY", number), look("QQQ", number, right="P")])
    files.convert()
    rounds(loop, 2)
    assert loop.counts.problem == ""
    assert rows(address, COUNTS) == [(6, 6)]
    first = "SELECT * FROM option_snapshots ORDER BY symbol DESC, time LIMIT 1"
    (found,) = rows(address, first)
    assert round(found[0].timestamp() * 1000) == OPENED + 7
    assert found[1] == "SPY"
    assert str(found[2]) == "2026-11-20"
    assert found[3:5] == (Decimal(500), "C")
    exact = ("500.05", "1.1", None, "1.15", "0.2", "0.30000000000000004", "0.01", "0.02", "-0.03")
    assert found[5:] == tuple(one and Decimal(one) for one in exact)
    (bar,) = rows(address, "SELECT * FROM stock_bars WHERE symbol = 'QQQ' ORDER BY time LIMIT 1")
    assert round(bar[0].timestamp() * 1000) == OPENED
    assert bar[2:] == tuple(map(Decimal, ("500.1", "500.2", "499.9", "500", "12")))
    assert 'gridberry_collector_watched_rows_total{bot="pi1"} 12' in (tmp_path / "m").read_text()
    # A collector that begins again, and a day whose file has grown.
    files.add("20261110", [look("SPY", 3)])
    files.convert()
    rounds(loop)
    assert rows(address, COUNTS) == [(7, 7)]
    assert loop.counts.watched == 14


def test_what_was_cut_goes_on_where_the_database_says(loop, address, files, monkeypatch):
    for day in ("20261109", "20261110", "20261111"):
        files.add(day, [look("SPY", int(day))])
    files.convert()
    monkeypatch.setattr(watched, "MOST_FILES", 4)  # of two days
    rounds(loop)
    assert rows(address, COUNTS) == [(2, 2)]
    read = []
    columns = watched.DayFile.columns
    monkeypatch.setattr(
        watched.DayFile, "columns", lambda one: read.append(one.date) or columns(one)
    )
    rounds(loop, 2)
    assert rows(address, COUNTS) == [(3, 3)]
    assert read == ["2026-11-10"] * 2 + ["2026-11-11"] * 2  # only the latest day once more


def test_a_row_and_how_far_it_was_read_are_one_transaction(loop, address, files, monkeypatch):
    files.add("20261110", [look("SPY", 0)])
    files.convert()

    async def cut(*_):
        raise ConnectionResetError

    monkeypatch.setattr("hub.writing.Writer.move_cursor", cut)
    rounds(loop)
    assert rows(address, COUNTS) == [(0, 0)]
    monkeypatch.undo()
    rounds(loop)
    assert rows(address, COUNTS) == [(1, 1)]


def test_a_file_that_cannot_be_read_is_named_and_holds_nothing_up(loop, address, files, capsys):
    files.add("20261110", [look("SPY", 0), look("QQQ", 0)])
    written = files.convert()
    bad = next(path for path in written if "symbol=QQQ" in str(path) and "options" in str(path))
    good = bad.read_bytes()
    bad.write_bytes(good[:40] + b"\0" * 60)
    rounds(loop, 3)
    assert rows(address, COUNTS) == [(1, 2)]
    assert rows(address, "SELECT count(*) > 0 FROM fills") == [(True,)]
    assert loop.counts.problem.startswith(f"{bad}: ")
    assert capsys.readouterr().err.count(str(bad)) == 1
    bad.write_bytes(good)
    rounds(loop)
    assert rows(address, COUNTS) == [(2, 2)]
    assert loop.counts.problem == ""


def test_a_directory_that_cannot_be_read_is_not_taken_for_a_database_that_is_away(
    loop, address, files, monkeypatch
):
    def fail(_files, _date):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(watched.Watched, "_files", fail)
    rounds(loop)
    assert loop.counts.problem == f"{files.directory}: Permission denied"
    assert loop._circuit.failures == 0
    assert rows(address, "SELECT count(*) > 0 FROM fills") == [(True,)]
