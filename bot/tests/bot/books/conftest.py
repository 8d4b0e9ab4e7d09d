"""One grid on a price that walks, with a real store under it; and power that can be cut."""

import contextlib
import csv
import io
import itertools
import os
import tempfile
import zlib
from collections import defaultdict
from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.tax_lots import DAY_MS
from gridbot.accounting import trade_history
from gridbot.accounting.settle import Settler
from gridbot.core.engine import Carried, GridEngine
from gridbot.store import GridResult, GridRun, Store
from gridbot.store.settled import COLUMNS

from bot.tests.bot.core import conftest as market

# New Year's Eve 2025, 20:00 UTC.
START_MS = 1_767_211_200_000
SYMBOL = "BTC/USDT"
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Life(market.Walk):
    """A walk whose every step is committed, a minute after the one before."""

    def __init__(self, store, grid=None, charge=None, price="54000", **options):
        self.store = store
        self.number = options.get("number", 1)
        self.start_ms = options.get("start_ms", START_MS)
        self.carried = options.get("carried", Carried(Decimal(0), Decimal(0)))
        self.minutes = 0
        self.grid_run = None
        super().__init__(grid or market.spec(), charge or market.fees(), price)

    @property
    def now_ms(self):
        return self.start_ms + self.minutes * 60_000

    @property
    def tag(self):
        return f"abc12{self.number + 2}"

    def step(self, event, *arguments):
        self.minutes += 1
        if self.grid_run is None:
            self.engine._tag, self.engine._carried = self.tag, self.carried
            self._numbers = itertools.count(self.number * 10_000)
        if event == self.engine.record_fill:
            arguments = [replace(arguments[0], time_ms=self.now_ms)]
            self.fills[-1] = arguments[0]
        changes = super().step(event, *arguments)
        changes.now_ms = self.now_ms
        if self.grid_run is None:
            self.grid_run = self._grid_run()
            self.store.start_grid_run(self.grid_run, changes)
        elif changes:
            self.store.commit(self.number, changes)
        return changes

    def _grid_run(self):
        return GridRun(
            id=self.number,
            symbol=SYMBOL,
            tag=self.tag,
            settings={"bot_name": "pi1"},
            market=self.market,
            plan=self.plan,
            investment=self.investment,
            opening={"USDT": Decimal(100_000)},
            first_cursor="0",
            trade_cursor="0",
            started_ms=self.now_ms,
            carried=self.carried.base,
            carried_cost=self.carried.cost,
        )

    def swing(self, times, low="45500", high="64500"):
        """Up and down through the grid."""
        for _ in range(times):
            self.go(low)
            self.go(high)
        return self

    def disturb(self, move, number):
        """Trade an order in part, close one before all of it traded, or both."""
        orders = sorted(self.engine.live.values(), key=lambda order: order.client_id)
        order = orders[number % len(orders)]
        if "part" in move:
            rest = order.quantity - self.engine.executed(order.client_id)
            part = (rest / 3).quantize(Decimal("0.00000001"))
            if 0 < part < rest:
                self.fill(order.client_id, order.price, part)
        if "cancel" in move:
            self.step(self.engine.record_canceled, order.client_id)
        self.accept_all()

    def liquidate(self):
        """End the grid: close its orders and sell what it holds at the price of now."""
        self.engine.winding_down = True
        for client_id in list(self.engine.live):
            self.step(self.engine.record_canceled, client_id)
        self.step(self.engine.liquidate, self.price)
        self.accept_all()
        self.store.close_grid_run(self.number, self.now_ms)

    def settle(self, kept=1):
        """As many steps as it takes; how many positions were settled."""
        settler = Settler(self.store, kept)
        return sum(settler.run(self.grid_run, self.engine) for _ in range(20))


def restored(life, store):
    """A new engine of a life's grid, from what is stored."""
    engine = GridEngine(
        bot_name="pi1",
        tag=life.tag,
        market=life.market,
        plan=life.plan,
        investment=life.investment,
        carried=life.carried,
    )
    store.restore(life.number, engine)
    return engine


def assert_same_books(engine, other, *, recent=True):
    """To the last digit, in every field."""
    for field in fields(engine.books):
        if field.name != "recent" or recent:
            mine, theirs = getattr(engine.books, field.name), getattr(other.books, field.name)
            assert mine == theirs, field.name
    assert engine.live == other.live
    assert engine._attempts == other._attempts
    assert engine._executed == other._executed
    assert engine.grid_started == other.grid_started


def all_fills(store):
    """Every trade, settled or not; each once."""
    fills = [row.fill for row in trade_history.rows(store, SYMBOL) if row.fill is not None]
    numbers = [fill.trade_id for fill in fills]
    assert len(numbers) == len(set(numbers))
    return sorted(fills, key=lambda fill: int(fill.trade_id))


def check(life, store, *, recent=False):
    """What is stored is what the life has in memory, and has traded."""
    assert_same_books(restored(life, store), life.engine, recent=recent)
    assert all_fills(store) == life.fills


def many_trades(store, count):
    """So many trades of one order, in no order of time."""
    Life(store)
    store._connection.execute("DELETE FROM fills")
    store._connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " INSERT INTO fills SELECT 1, CAST(i AS TEXT), (SELECT client_id FROM orders), '0.1',"
        " '0.1', '0.01', '0.1', 'USDT', i * 7919 % ?, 1 FROM n",
        (count, count // 3),
    )


def unsettle(store, form="csv"):
    """Write what is settled back to files, in a database of version 4, as that version had it.

    The files, in the order of their years; the store is closed.
    """
    directory = store.directory / "archive"
    directory.mkdir()
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    rows = store._connection.execute(f"SELECT {columns} FROM settled ORDER BY rowid").fetchall()  # noqa: S608  constant columns
    years = defaultdict(list)
    closed = {row[1]: row[14] for row in rows if row[14] is not None}
    for row in rows:
        at = closed.get(row[1], START_MS) if row[1] else START_MS
        years[datetime.fromtimestamp(at / 1000, UTC).year].append(row)
    with store.transaction() as connection:
        connection.execute(ARCHIVED)
        connection.execute("INSERT INTO archived SELECT * FROM settled_totals")
        for year, part in sorted(years.items()):
            name = f"BTC-USDT-{year}" + ("-000001.parquet" if form == "parquet" else ".csv")
            content = WRITERS[form](part)
            (directory / name).write_bytes(content)
            known = (name, SYMBOL, year, len(content), zlib.crc32(content), len(part))
            connection.execute("INSERT INTO archive_files VALUES (?,?,?,?,?,?)", known)
        connection.execute("DROP TABLE settled_totals")
        connection.execute("DROP TABLE settled")
        connection.execute("DROP TABLE pauses")
        connection.execute("DROP TABLE compatibility")
        connection.execute("PRAGMA user_version = 4")
    store.close()
    return sorted(directory.iterdir())


ARCHIVED = """
CREATE TABLE archived (generation INTEGER PRIMARY KEY REFERENCES generations,
    totals TEXT NOT NULL, whole INTEGER NOT NULL DEFAULT 0) STRICT
"""


def as_csv(rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    return text.getvalue().encode()


def as_parquet(rows):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    columns = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    for name in ("exchange_id", "trade_id"):  # numbers, where they were
        columns[name] = [None if cell is None else int(cell) for cell in columns[name]]
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue().to_pybytes()


WRITERS = {"csv": as_csv, "parquet": as_parquet}


@pytest.fixture
def tmp_path():
    """In memory where that is possible: SQLite waits for the disk at every commit."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        yield Path(directory)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def lives(store):
    """A grid before and after New Year, settled in part, and one after it."""
    first = Life(store, start_ms=1_767_223_800_000).swing(6)
    first.settle()
    first.swing(2)
    first.go("50000")
    profit = Decimal("-12.5")
    store.close_grid_run(
        1, first.now_ms, GridResult(Decimal(1), Decimal(50000), Decimal(1), profit, "by hand")
    )
    second = Life(store, number=2, start_ms=first.now_ms + 40 * DAY_MS).swing(3)
    return first, second


class Cut(BaseException):
    """The power is cut."""


class Power:
    """Cuts the power before or after the statement with a number; nothing works after it.

    What SQLite has not committed by then is lost: that a commit is on the disk when it returns is
    SQLite's to keep (`synchronous=FULL`).
    """

    def __init__(self, at, *, after):
        self.at, self.after = at, after
        self.count = 0
        self.cut = False

    def do(self, action, *arguments):
        if self.cut:
            raise Cut
        now = self.count == self.at
        self.count += 1
        if now and not self.after:
            self.cut = True
            raise Cut
        result = action(*arguments)
        if now:
            self.cut = True
            raise Cut
        return result

    @contextlib.contextmanager
    def watch(self, store):
        """Everything that is written goes by `do`."""
        connection, store._connection = store._connection, Connection(self, store._connection)
        try:
            yield
        except Cut:
            pass
        finally:
            store._connection = connection


class Connection:
    """A database connection under a `Power`."""

    def __init__(self, power, connection):
        self._power, self._connection = power, connection

    def execute(self, *arguments):
        if arguments[0].startswith(("SELECT", "BEGIN DEFERRED")):
            return self._connection.execute(*arguments)
        return self._power.do(self._connection.execute, *arguments)

    def executemany(self, *arguments):
        return self._power.do(self._connection.executemany, *arguments)

    @property
    def in_transaction(self):
        return self._connection.in_transaction
