"""A book that the version before wrote, with numbers as IDs and cursors, goes on where it was."""

import sqlite3
from pathlib import Path

import pytest

from .conftest import trading
from .worlds import WORLDS, StreamWorld

SCHEMA = Path(__file__).parents[2] / "bot" / "unit" / "schema_3.sql"
# Columns of today that were numbers, and what these were.
NUMBERS = {
    "first_cursor": "CAST(first_cursor AS INTEGER) + 1",
    "trade_cursor": "CAST(trade_cursor AS INTEGER) + 1",
    "trade_id": "CAST(trade_id AS INTEGER)",
    "exchange_id": "CAST(exchange_id AS INTEGER)",
}


def write_back(path):
    """Write a closed book again as the version before did."""
    today, older = path.with_name("today.sqlite3"), path
    path.rename(today)
    connection = sqlite3.connect(older, isolation_level=None)
    connection.execute("PRAGMA page_size = 1024")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA.read_text())
    connection.execute("ATTACH ? AS today", (str(today),))
    tables = connection.execute("SELECT name FROM today.sqlite_master WHERE type = 'table'")
    for (table,) in tables.fetchall():
        if table.startswith("settled"):  # nothing is, in so short a life
            continue
        columns = [row[1] for row in connection.execute(f"PRAGMA today.table_info({table})")]
        values = ", ".join(NUMBERS.get(column, column) for column in columns)
        order = "" if table in {"fills", "archive_files", "samples"} else " ORDER BY rowid"
        connection.execute(f"INSERT INTO {table} SELECT {values} FROM today.{table}{order}")  # noqa: S608
    connection.close()
    today.unlink()


def state(world):
    store = world.open_store()
    found = (list(store.grid_runs()), store.orders(1), store.fills(1))
    world.power_off()
    return found


@pytest.fixture(params=WORLDS)
def world(tmp_path, request):
    one = WORLDS[request.param](tmp_path, trading.zigzag(120), at_end="hold")
    yield one
    one.close()


def trade(world, steps):
    trader = world.trader()
    for _ in range(steps):
        trader.step()
        world.clock.sleep(2.0)
    return trader


def finish(world):
    """Let the market end; every trade is booked once, and nothing differs."""
    world.clock.sleep(10_000)
    trader = world.trader()
    world.settle(trader)
    trading.check_books(world, trader)
    report = world.audit()
    assert report.differences == []
    fills = [fill.trade_id for fill in world.store.fills(1)]
    assert len(fills) == len(set(fills)) == report.trades > 10


@pytest.mark.parametrize("steps", [1, 3, 25])
def test_it_goes_on_with_what_was_traded_meanwhile(world, steps):
    trade(world, steps)
    world.power_off()
    before = state(world)
    write_back(world.config.state_directory / "gridbot.sqlite3")
    world.clock.sleep(60.0)  # on the exchange it trades on
    assert state(world) == before
    trade(world, 20)
    finish(world)


def test_what_the_stream_brought_before_is_not_booked_again(tmp_path):
    """Its trades are stored, and the cursor is before them."""
    world = StreamWorld(tmp_path, trading.zigzag(120), at_end="hold")
    trader = trade(world, 3)
    for _ in range(40):
        world.clock.sleep(0.5)
        trader.step()
        if len(trader.session.booked) > 1:
            break
    booked = trader.session.booked
    cursor = int(world.store.grid_run("BTC/USDT").trade_cursor)
    assert len(booked) > 1
    assert cursor < min(map(int, booked))
    world.power_off()
    write_back(world.config.state_directory / "gridbot.sqlite3")
    trader = trade(world, 1)
    fills = [fill.trade_id for fill in world.store.fills(1)]
    assert len(fills) == len(set(fills))
    assert booked < set(fills)
    assert int(world.store.grid_run("BTC/USDT").trade_cursor) >= max(map(int, booked))
    finish(world)
    world.close()
