"""One grid on a price that walks, with a real store under it; and a disk that can lose power."""

import contextlib
import itertools
import os
import random
import tempfile
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path

import pytest
from gridbot.accounting import archive_files
from gridbot.accounting.archive import ArchiveRules, Archivist
from gridbot.core.engine import Carried, GridEngine
from gridbot.store import GridRun, Store

from bot.tests.bot.core import conftest as market

# New Year's Eve 2025, 20:00 UTC.
START_MS = 1_767_211_200_000
SYMBOL = "BTC/USDT"
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
TINY = ArchiveRules(positions=1)


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

    def archive(self, rules=TINY, *, days_later=0):
        now_ms = self.now_ms + days_later * 86_400_000
        return Archivist(self.store, rules).run(self.grid_run, self.engine, now_ms)


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


class Cut(BaseException):
    """The power is cut."""


class Power:
    """Cuts the power before or after the operation with a number; nothing works after it.

    What was not synced to the disk by then is lost, in part, or garbled.
    """

    def __init__(self, at, *, after, seed=0):
        self.at, self.after = at, after
        self.count = 0
        self.cut = False
        self.synced = {}  # bytes of each file that are on the disk
        self.named = set()  # files whose names are
        self.seed = seed
        self.dice = random.Random(seed)  # noqa: S311 - a disk, no secret

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

    def fsync(self, number):
        self.do(os.fsync, number)
        path = Path(f"/proc/self/fd/{number}").readlink()
        if path.is_dir():
            self.named.update(path.iterdir())
        else:
            self.synced[path] = max(self.synced.get(path, -1), os.fstat(number).st_size)

    def ftruncate(self, number, length):
        self.do(os.ftruncate, number, length)
        path = Path(f"/proc/self/fd/{number}").readlink()
        self.synced[path] = min(self.synced.get(path, 0), length)

    def replace(self, source, target):
        self.do(os.replace, source, target)
        self.synced[target] = self.synced.pop(source, 0)

    @contextlib.contextmanager
    def watch(self, store):
        """Everything that is written, to files of the archive or the database, goes by `do`."""
        directory = store.directory / "archive"
        files = list(directory.iterdir()) if directory.is_dir() else []
        self.synced = {path: path.stat().st_size for path in files}
        self.named = set(files)
        fake = Os(self)
        connection, store._connection = store._connection, Connection(self, store._connection)
        archive_files.os = fake
        try:
            yield
        except Cut:
            pass
        finally:
            archive_files.os = os
            store._connection = connection
            if self.cut:
                self.lose(directory)

    def lose(self, directory):
        """What the disk does with writes that were never synced."""
        for path in directory.iterdir() if directory.is_dir() else ():
            if path not in self.named and self.seed % 2:
                path.unlink()
                continue
            content, synced = path.read_bytes(), self.synced.get(path, 0)
            tail = bytearray(content[synced : self.dice.randint(synced, len(content))])
            if tail and self.dice.random() < 0.5:
                tail[self.dice.randrange(len(tail))] ^= 0xFF
            path.write_bytes(content[:synced] + tail)


class Os:
    """`os` under a `Power`."""

    def __init__(self, power):
        self._power = power

    def __getattr__(self, name):
        if name in {"fsync", "ftruncate", "replace"}:
            return getattr(self._power, name)
        if name in {"open", "write"}:
            return lambda *arguments: self._power.do(getattr(os, name), *arguments)
        return getattr(os, name)


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
