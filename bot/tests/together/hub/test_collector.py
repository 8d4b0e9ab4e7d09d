"""The collector: every trade once, whatever is settled, restored or cut in between."""

import os
import shutil
import sqlite3
import subprocess
import sys
from decimal import Decimal

import pytest
from gridbot.accounting import trade_history
from gridbot.store import Store, back_up, restore
from hub.books import Books, BooksError

from bot.tests.bot.books.conftest import SYMBOL, Life
from bot.tests.together.hub.conftest import WRONG_DAYS, bot_of, collect, rows

TRADES = (
    "SELECT f.trade_id, f.client_id, f.side::text, f.price * tick_size, f.quantity * lot_size,"
    " coalesce(f.quote, f.price * tick_size * (f.quantity * lot_size)), f.fee, f.fee_coin,"
    " (extract(epoch FROM time) * 1000)::bigint, maker"
    " FROM fills f JOIN markets m ON m.id = market_id"
)


def in_books(store):
    """Every trade of the books, as the query above has it."""
    return sorted(
        (
            fill.trade_id,
            fill.client_id,
            fill.side[0],
            fill.price,
            fill.quantity,
            fill.quote,
            fill.commission,
            fill.commission_coin,
            fill.time_ms,
            fill.maker,
        )
        for _, fill in trade_history.trades(store, SYMBOL)
    )


def assert_same(address, store):
    assert sorted(rows(address, TRADES)) == in_books(store)
    states = rows(address, "SELECT client_id, state::text FROM orders ORDER BY 1")
    every = {row.order.client_id: row.order.state[0] for row in trade_history.rows(store, SYMBOL)}
    assert states == sorted(every.items())
    flows = dict(rows(address, "SELECT coin, sum(amount) FROM flows GROUP BY coin ORDER BY coin"))
    expected = {"BTC": Decimal(0), "USDT": Decimal(0)}
    for _, fill in trade_history.trades(store, SYMBOL):
        sign = 1 if fill.side == "buy" else -1
        expected["BTC"] += sign * fill.quantity
        expected["USDT"] -= sign * fill.quote
        expected[fill.commission_coin] -= fill.commission
    assert flows == expected
    assert rows(address, WRONG_DAYS) == []


def test_the_sums_by_day_follow_whoever_writes_hours(address, store):
    life = Life(store).swing(1)
    collect(address, bot_of(store.directory))
    # A collector of an older release, of which the sums by day are not known.
    rows(address, "UPDATE flows SET amount = amount + 0.1, fees = fees + 1, fills = fills + 1")
    rows(address, "INSERT INTO flows SELECT run_id + 7, hour, coin, 1, 2, 3 FROM flows")
    assert rows(address, WRONG_DAYS) == []
    (days,) = rows(address, "SELECT sum(fills)::int, sum(fees) > 0 FROM flow_days")
    (hours,) = rows(address, "SELECT sum(fills)::int, sum(fees) > 0 FROM flows")
    assert days == hours
    assert days[0] > len(life.fills)


def test_everything_once_settled_or_not(address, store):
    life = Life(store).swing(3)
    bot = bot_of(store.directory)
    assert collect(address, bot) == len(life.fills)
    assert_same(address, store)
    assert collect(address, bot) == 0
    for _ in range(3):
        life.swing(1)
        life.settle(kept=2)
        life.disturb("part and cancel", 3)
        assert collect(address, bot) > 0
        assert_same(address, store)
    life.liquidate()
    life.settle()
    collect(address, bot)
    assert_same(address, store)
    assert rows(address, "SELECT closed IS NOT NULL FROM grid_runs") == [(True,)]
    known = rows(address, "SELECT sum(fills)::bigint FROM flows")
    assert known == [(len(life.fills),)]


def test_restored_books_are_read_again_and_double_nothing(address, store, tmp_path):
    life = Life(store).swing(2)
    life.settle()
    bot = bot_of(store.directory)
    collect(address, bot)
    back_up(store.directory, tmp_path / "copy")
    life.swing(2)
    life.settle()
    collect(address, bot)
    before = sorted(rows(address, TRADES))
    store.close()
    restore(store.directory, tmp_path / "copy")
    assert collect(address, bot) == 0
    assert sorted(rows(address, TRADES)) == before


def test_a_market_whose_ticks_become_finer(address, store):
    life = Life(store).swing(1)
    store._connection.execute(
        "UPDATE fills SET price = '50000.0025', quote = '1.234567890123' WHERE trade_id ="
        " (SELECT min(trade_id) FROM fills)"
    )
    collect(address, bot_of(store.directory))
    assert_same(address, store)
    assert rows(address, "SELECT count(*) FROM markets") == [(2,)]
    assert life.fills


def test_hours_grow_and_incidents_end(address, store):
    from gridbot.store import Sample

    Life(store)
    bot = bot_of(store.directory)
    first = Sample(SYMBOL, 3_600_000, *map(Decimal, ("1", "2", "0.5", "1.5")), 60, 60)
    store.sample([first])
    store.halt(SYMBOL, reason_code="drawdown", text="down", price=Decimal(1), at_ms=5)
    collect(address, bot)
    store.sample([Sample(SYMBOL, 3_600_000, *map(Decimal, ("1.5", "3", "1", "2.5")), 60, 0)])
    store.clear_halt(SYMBOL, 9)
    collect(address, bot)
    assert rows(address, "SELECT open, high, low, close, seconds FROM candles") == [
        (Decimal(1), Decimal(3), Decimal("0.5"), Decimal("2.5"), 120)
    ]
    assert rows(address, "SELECT kind, code, ended IS NOT NULL FROM incidents") == [
        ("kill_switch", "drawdown", True)
    ]


def test_a_long_read_is_broken_off_and_done_by_smaller_pages(store, monkeypatch):
    life = Life(store).swing(5)
    monkeypatch.setattr("hub.books.LONGEST_SECONDS", 0.0005)
    monkeypatch.setattr("hub.books._STEPS", 10)
    books = Books(store.directory)
    found, after = [], 0
    while (batch := books.open_orders(after)).orders:
        found += batch.fills
        after = batch.position
    books.close()
    assert books._rows < 2000
    assert {one.trade_id for one in found} == {one.trade_id for one in life.fills}


READ_ONLY = """
mount --bind "$1" "$2" && mount -o remount,ro,bind "$2" && exec "$3" -c "$4" "$2"
"""
COUNT = """
import pathlib, sys
from hub.books import Books
print(len(Books(pathlib.Path(sys.argv[1])).open_orders(0).fills))
"""


def read_only(directory, place):
    """How many trades are read where a directory is mounted read-only, as the container has it."""
    place.mkdir(exist_ok=True)
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY, "sh"]
    done = subprocess.run(
        [*command, str(directory), str(place), sys.executable, COUNT],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")
def test_books_mounted_read_only_whether_the_bot_runs_was_cut_off_or_has_ended(store, tmp_path):
    life = Life(store).swing(2)
    place = tmp_path / "mounted"
    assert read_only(store.directory, place) == len(life.fills)
    shutil.copytree(store.directory, tmp_path / "cut off")
    assert read_only(tmp_path / "cut off", place) == len(life.fills)
    store.close()
    assert not store.path.with_name(store.path.name + "-wal").exists()
    assert read_only(store.directory, place) == len(life.fills)


def test_a_bot_that_starts_while_its_books_are_read(store):
    Life(store).swing(2)
    store.close()
    books = Books(store.directory)
    assert books.open_orders(0).fills
    assert not books.replaced
    again = Store(store.directory)
    assert books.replaced
    with pytest.raises(BooksError, match="its bot has started"):
        books.open_orders(0)
    books.close()
    again.close()
    path = store.path
    books = Books(store.directory)
    path.touch()  # as a bot that has come and gone since
    assert books.replaced
    books.close()
    path.with_name(path.name + "-journal").touch()  # a migration writes
    books = Books(store.directory)
    assert not books.replaced
    assert books.open_orders(0).fills
    books.close()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("PRAGMA user_version = 99", "schema 99, this hub reads 6"),
        ("PRAGMA user_version = 3", "older gridbot"),
        ("PRAGMA application_id = 7", "no file of a bot's books"),
    ],
)
def test_books_that_are_refused(store, change, line):
    with sqlite3.connect(store.path) as connection:
        if "99" in change:
            connection.execute("UPDATE compatibility SET oldest_reader = 99")
        connection.execute(change)
    with pytest.raises(BooksError, match=line):
        Books(store.directory)


def test_no_books_yet(tmp_path):
    with pytest.raises(BooksError, match="holds no books yet"):
        Books(tmp_path)
