"""Copies one bot's books to the database: exactly once, in order, resumable.

What an option watcher of the same host has kept goes the same way.

How far the settled rows were read is written in the transaction that writes them. A database that
is away is left in peace by a circuit breaker; the books keep everything until it is back, a minute
or a month later. The bot does not notice.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any

from gridbase.atomic_file import write_whole
from gridbase.circuit_breaker import Circuit
from gridbase.clock import Clock
from gridbase.errors import UserError
from gridbase.health import fetch

from hub.book_rows import Batch, Fill, Order
from hub.books import Books, BooksError
from hub.config import Bot, Collector
from hub.database import AWAY, Address, OldSchemaError, connect, in_one_line, require_schema
from hub.watched import Watched
from hub.writing import Writer

SETTLED, CANDLES, WATCHED = "settled", "candles", "watched"
# Nothing has changed: the database is told this often that somebody is there (seconds).
HEARTBEAT = 30.0
# Metrics are written this often, and at once where the breaker has changed (seconds).
METRICS_SECONDS = 60.0
# A network that is gone without a word is noticed (seconds).
COMMAND_SECONDS = 60.0


@dataclass
class Counts:
    """What the collector has done since it started.

    Attributes:
        fills: trades that were new.
        watched: rows of an option watcher that were new.
        rounds: rounds that ended well.
        changes: how often the circuit breaker has changed its state.
        last_ms: when a round last ended well (Unix milliseconds); None: never.
        longest_read: the longest read transaction (seconds).
        problem: why the latest round failed; empty where it did not.
    """

    fills: int = 0
    watched: int = 0
    rounds: int = 0
    changes: int = 0
    last_ms: int | None = None
    longest_read: float = 0.0
    problem: str = ""


class _Sent:
    """What of the open orders is in the database already."""

    def __init__(self) -> None:
        self.orders: dict[str, tuple[str, str | None]] = {}
        self.fills: set[tuple[int, str]] = set()

    def new_in(self, batch: Batch) -> Batch:
        """The part of a batch that is not."""
        orders = [one for one in batch.orders if self.orders.get(one.client_id) != _state(one)]
        fills = [one for one in batch.fills if _key(one) not in self.fills]
        return Batch(orders, fills, batch.position, batch.mark)

    def add(self, batch: Batch) -> None:
        """A batch was committed, or seen again."""
        self.orders |= {one.client_id: _state(one) for one in batch.orders}
        self.fills |= {_key(one) for one in batch.fills}


def _state(order: Order) -> tuple[str, str | None]:
    return order.state, order.exchange_id


def _key(fill: Fill) -> tuple[int, str]:
    return fill.run, fill.trade_id


class Copier:
    """Copies over one connection; after a failure another one takes its place.

    Args:
        connection: to the database.
        books: the bot's.
        bot: whose they are.
    """

    def __init__(self, connection: Any, books: Books, bot: Bot) -> None:
        self._connection = connection
        self._books = books
        self._writer = Writer(connection, bot)
        self._sent = _Sent()
        self._version: int | None = None
        self._position = 0

    async def begin(self) -> None:
        """Find where an earlier copier ended; from the first row where the books are others."""
        await require_schema(self._connection)
        await self._writer.introduce()
        cursor = await self._writer.cursor(SETTLED)
        position, mark = cursor.get("rowid", 0), cursor.get("mark", "")
        self._position = position if position and self._books.mark(position) == mark else 0

    async def round(self) -> int:
        """Copy what is new; the number of new trades."""
        version = self._books.version()
        if version == self._version:
            return 0
        fills = 0
        async with self._connection.transaction():
            await self._writer.grid_runs(self._books.grid_runs())
            await self._writer.incidents(self._books.incidents())
        fills += await self._settled()
        fills += await self._open()
        await self._candles()
        await self._writer.tell()
        # What has changed meanwhile is the next round's.
        self._version = version
        return fills

    async def hear(self, status: dict[str, Any] | None) -> None:
        """Tell the database that the bot is there."""
        async with self._connection.transaction():
            await self._writer.hear(status)

    async def watched(self, files: Watched) -> int:
        """Copy what an option watcher has kept; the number of new rows."""
        rows = 0
        cursor = await self._writer.cursor(WATCHED)
        for file, columns in files.since(cursor.get("date", "")):
            async with self._connection.transaction():
                rows += await self._connection.fetchval(file.insert, *columns)
                await self._writer.move_cursor(WATCHED, {"date": file.date})
        return rows

    async def _settled(self) -> int:
        fills = 0
        while (batch := self._books.settled(self._position)).orders:
            await self._know(batch)
            async with self._connection.transaction():
                fills += await self._writer.batch(batch)
                await self._writer.move_cursor(
                    SETTLED, {"rowid": batch.position, "mark": batch.mark}
                )
            self._position = batch.position
        return fills

    async def _open(self) -> int:
        fills, after, seen = 0, 0, _Sent()
        while (batch := self._books.open_orders(after)).orders:
            await self._know(batch)
            new = self._sent.new_in(batch)
            if new.orders or new.fills:
                async with self._connection.transaction():
                    fills += await self._writer.batch(new)
                self._sent.add(new)
            seen.add(batch)
            after = batch.position
        self._sent = seen  # what was settled meanwhile is forgotten
        return fills

    async def _know(self, batch: Batch) -> None:
        """A grid that has begun since the round did is written before its orders."""
        if not all(self._writer.knows(order.run) for order in batch.orders):
            async with self._connection.transaction():
                await self._writer.grid_runs(self._books.grid_runs())

    async def _candles(self) -> None:
        cursor = await self._writer.cursor(CANDLES)
        candles = self._books.candles(cursor)
        if candles:
            async with self._connection.transaction():
                await self._writer.candles(candles)
                # The latest hour of a symbol may still grow.
                latest = {one.symbol: one.hour_ms for one in candles}
                await self._writer.move_cursor(CANDLES, cursor | latest)


class Loop:
    """Runs until it is stopped.

    Args:
        bot: whose books.
        settings: of the collector.
        address: of the database.
        clock: time.
    """

    def __init__(self, bot: Bot, settings: Collector, address: Address, clock: Clock) -> None:
        self._bot = bot
        self._settings = settings
        self._address = address
        self._clock = clock
        self._circuit = Circuit(clock)
        self._connection: Any = None
        self._copier: Copier | None = None
        self._books: Books | None = None
        self._watched: Watched | None = None
        self._heard = -HEARTBEAT
        self._measured, self._changes = -METRICS_SECONDS, 0
        self.counts = Counts()

    async def run(self) -> None:
        """Copy until the clock is stopping.

        Raises:
            UserError: what trying again does not help.
        """
        try:
            self._report()  # the first round may have months to copy
            while not self._clock.stopping:
                if self._circuit.wait() <= 0:
                    await self._try()
                self._report()
                await asyncio.to_thread(self._clock.sleep, self._settings.seconds)
        finally:
            await self._drop()
            self._report()

    async def once(self) -> int:
        """One round; the number of new trades.

        Raises:
            UserError: what trying again does not help.
            OSError: the database is away (one of `AWAY`).
        """
        due = self._clock.monotonic() - self._heard >= HEARTBEAT
        status = await asyncio.to_thread(self._ask) if due else None
        if status is not None and status.get("mode", self._bot.mode) != self._bot.mode:
            raise BooksError(
                f"bot.mode = {self._bot.mode}, and the bot says {str(status['mode'])[:10]}: paper"
                " and live are never mixed; nothing is copied until both say the same"
            )
        if self._books is not None and self._books.replaced:
            await self._drop()
        if self._books is None:
            self._books = Books(self._bot.state)
        if self._copier is None:
            self._connection = await connect(self._address, COMMAND_SECONDS)
            self._copier = Copier(self._connection, self._books, self._bot)
            await self._copier.begin()
            if self._settings.watcher_directory is not None:
                self._watched = Watched(self._settings.watcher_directory)
        fills = await self._copier.round()
        self.counts.fills += fills
        self.counts.longest_read = max(self.counts.longest_read, self._books.longest)
        if due:
            if self._watched is not None:
                self.counts.watched += await self._copier.watched(self._watched)
            await self._copier.hear(status)
            self._heard = self._clock.monotonic()
        return fills

    async def _try(self) -> None:
        before = self._circuit.state
        try:
            await self.once()
        except AWAY as error:
            self._failed(in_one_line(error))
            self._circuit.failed()
            await self._drop()
        except (BooksError, OldSchemaError) as error:
            # Without books there is nothing to copy yet; a restore may replace them. Where a fleet
            # starts at once, collectors are there before the schema is.
            self._failed(str(error))
            await self._drop()
        else:
            self._circuit.succeeded()
            self.counts.rounds += 1
            self.counts.last_ms = self._clock.now_ms()
            self._failed("" if self._watched is None else self._watched.problem)
        self.counts.changes += int(self._circuit.state is not before)

    def _failed(self, problem: str) -> None:
        if problem and problem != self.counts.problem:
            print(f"hub collect: {problem}", file=sys.stderr, flush=True)
        self.counts.problem = problem

    def _ask(self) -> dict[str, Any] | None:
        """What the bot says of itself; None where it does not answer."""
        if self._bot.status_url is None:
            return None
        try:
            code, body = fetch(self._bot.status_url)
            return dict(json.loads(body)) if code == 200 else None
        except (OSError, UserError, ValueError):
            return None

    async def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        if self._books is not None:
            self._books.close()
        self._connection = self._copier = self._books = None

    def _report(self) -> None:
        """Write the state for people and for Prometheus."""
        counts = self.counts
        document = {
            "bot": self._bot.name,
            "circuit": self._circuit.document(),
            "circuit_changes": counts.changes,
            "fills": counts.fills,
            "watched": counts.watched,
            "rounds": counts.rounds,
            "last_ms": counts.last_ms,
            "longest_read_seconds": round(counts.longest_read, 4),
            "problem": counts.problem,
        }
        write_whole(self._settings.status_file, json.dumps(document, indent=1).encode() + b"\n")
        # It is on a memory card, and is read once a minute at the most.
        due = self._clock.monotonic() - self._measured >= METRICS_SECONDS
        if self._settings.metrics_file is not None and (due or counts.changes != self._changes):
            try:
                write_whole(self._settings.metrics_file, self._metrics().encode())
            except UserError as error:  # a full disk keeps nobody from copying
                self._failed(str(error))
            self._measured, self._changes = self._clock.monotonic(), counts.changes

    def _metrics(self) -> str:
        counts = self.counts
        label = '{bot="' + self._bot.name.replace("\\", "\\\\").replace('"', '\\"') + '"}'
        kinds = (
            ("fills_total", "counter", "Trades that were new.", counts.fills),
            ("watched_rows_total", "counter", "Rows of an option watcher.", counts.watched),
            ("rounds_total", "counter", "Rounds that ended well.", counts.rounds),
            ("circuit_changes_total", "counter", "Changes of the breaker's state.", counts.changes),
            ("circuit_closed", "gauge", "1 while the database answers.", self._closed()),
            (
                "last_success_seconds",
                "gauge",
                "When a round ended well.",
                (counts.last_ms or 0) / 1000,
            ),
            ("longest_read_seconds", "gauge", "The longest read.", round(counts.longest_read, 4)),
        )
        return "".join(
            f"# HELP gridberry_collector_{name} {text}\n# TYPE gridberry_collector_{name} {kind}\n"
            f"gridberry_collector_{name}{label} {value}\n"
            for name, kind, text, value in kinds
        )

    def _closed(self) -> int:
        return int(self._circuit.state == "closed")
