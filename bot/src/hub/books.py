"""Reads a bot's books beside the running bot: the tables that docs/books.md states, read-only.

No read transaction is open for long, so that the bot's write-ahead log can be folded into its file:
a read that takes longer than `LONGEST_SECONDS` is broken off and done again with half the rows.

Rows only move from `orders` and `fills` to `settled`, where they stay as they are. So two readings
together see everything: `settled` by its rowid, which only grows, and before the next round all of
what is open, which is some thousand rows.

A bot that has stopped in order leaves no write-ahead log, and SQLite cannot make one where the
books are mounted read-only. Then the file is all there is, and it is read as immutable. A bot that
starts makes a log before it changes the file; so what was read counts only if, afterwards, there is
still none and the file is the same.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from gridbase.errors import ExitCode, UserError

from hub.book_rows import Batch, Candle, GridRun, Incident, batch_of, candle_of, grid_run_of

FILE_NAME = "gridbot.sqlite3"
APPLICATION_ID = 0x47524442
# Versions of the books whose tables this module knows.
OLDEST, NEWEST = 6, 6
LONGEST_SECONDS = 0.08
MOST_ROWS = 2000
# Steps of SQLite's machine between two looks at the clock.
_STEPS = 2000


class BooksError(UserError):
    """The books cannot be read; trying again does not help."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.STATE)


_SETTLED = (
    'SELECT rowid, generation, "order", side, role, state, line, cycle, order_price,'
    " order_quantity, created_ms, exchange_id, trade_id, price, quantity, quote, fee, fee_coin,"
    " time_ms, maker FROM settled WHERE rowid > ? ORDER BY rowid LIMIT ?"
)
_OPEN = (
    "SELECT o.rowid, o.generation, o.client_id, o.side, o.role, o.state, o.line, o.cycle, o.price,"
    " o.quantity, o.created_ms, o.exchange_id, f.trade_id, f.price, f.quantity, f.quote,"
    " f.commission, f.commission_coin, f.time_ms, f.maker"
    " FROM (SELECT rowid, * FROM orders WHERE rowid > ? ORDER BY rowid LIMIT ?) o"
    " LEFT JOIN fills f ON f.client_id = o.client_id ORDER BY o.rowid"
)
_MARK = "SELECT \"order\" || ' ' || coalesce(trade_id, '') FROM settled WHERE rowid = ?"


class Books:
    """One bot's books, opened for reading.

    Args:
        directory: the bot's state directory.

    Raises:
        BooksError: there are none, or they are of a version that is not known here.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        if not self.path.is_file():
            raise BooksError(f"bot.state = {directory} holds no books yet")
        self._logs = [self.path.with_name(FILE_NAME + name) for name in ("-wal", "-journal")]
        self._alone = not self._logged
        self._file = self._seen()
        self._rows = MOST_ROWS // 4
        self.longest = 0.0
        with self._told():
            self._connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro{'&immutable=1' if self._alone else ''}",
                uri=True,
                isolation_level=None,
            )
            self._connection.execute("PRAGMA query_only = ON")
            self._connection.execute("PRAGMA cache_size = -512")
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def replaced(self) -> bool:
        """Whether the file is another one now (a restored backup), or a bot has started on it."""
        try:
            return self._seen() != self._file or (self._alone and self._logged)
        except OSError:
            return True

    @property
    def _logged(self) -> bool:
        """Whether there is a log beside the file: somebody writes, or was cut off."""
        return any(log.exists() for log in self._logs)

    def _seen(self) -> tuple[int, ...]:
        """What tells the file from another one; without a log, also from one that was changed."""
        now = self.path.stat()
        return (now.st_ino, now.st_size, now.st_mtime_ns) if self._alone else (now.st_ino,)

    def version(self) -> int:
        """Another number after each change by the bot."""
        with self._told():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def grid_runs(self) -> list[GridRun]:
        """All grid runs, oldest first: some dozens."""
        rows = self._read(
            "SELECT id, symbol, tag, settings, market, lines, investment, carried, carried_cost,"
            " started_ms, closed_ms, closing FROM generations WHERE id > ? ORDER BY id LIMIT ?"
        )
        return [grid_run_of(row) for row in rows]

    def settled(self, after: int) -> Batch:
        """What was settled after a rowid; the next rows."""
        return batch_of(self._page(_SETTLED, after), after)

    def open_orders(self, after: int) -> Batch:
        """What is not settled, after a rowid; the next rows."""
        return batch_of(self._page(_OPEN, after), after)

    def mark(self, position: int) -> str:
        """Names the settled row at a rowid; empty where there is none."""
        with self._told():
            row = self._connection.execute(_MARK, (position,)).fetchone()
        return "" if row is None else str(row[0])

    def candles(self, since: dict[str, int]) -> list[Candle]:
        """Hours, of each symbol from its own on (Unix milliseconds)."""
        symbols = self._read(
            "SELECT DISTINCT rowid, symbol FROM generations WHERE rowid > ? LIMIT ?"
        )
        found = []
        for symbol in sorted({row[1] for row in symbols}):
            begin = since.get(symbol, 0) - 1
            while rows := self._page(
                "SELECT hour_ms, symbol, open, high, low, close, seconds, in_range_seconds"
                " FROM samples WHERE symbol = ?3 AND hour_ms > ?1 ORDER BY hour_ms LIMIT ?2",
                begin,
                symbol,
            ):
                begin = rows[-1][0]
                found += [candle_of(row) for row in rows]
        return found

    def incidents(self) -> list[Incident]:
        """Kill switches, pauses and acknowledgements, oldest first."""
        halts = self._read(
            "SELECT id, symbol, at_ms, cleared_ms, reason_code, text FROM halts"
            " WHERE id > ? ORDER BY id LIMIT ?"
        )
        pauses = self._read(
            "SELECT id, symbol, at_ms, cleared_ms, CASE cancel WHEN 1 THEN 'canceled' ELSE 'kept'"
            " END, reason FROM pauses WHERE id > ? ORDER BY id LIMIT ?"
        )
        acknowledged = self._read(
            "SELECT a.rowid, symbol, at_ms, at_ms, coin || ' ' || amount, reason"
            " FROM acknowledgements a JOIN generations ON id = generation"
            " WHERE a.rowid > ? ORDER BY a.rowid LIMIT ?"
        )
        return [
            *(Incident("kill_switch", *row[1:]) for row in halts),
            *(Incident("pause", *row[1:]) for row in pauses),
            *(Incident("acknowledgement", *row[1:]) for row in acknowledged),
        ]

    def _read(self, query: str) -> Iterator[tuple[Any, ...]]:
        """All rows of a table by pages; the first column is its key."""
        after = -1
        while rows := self._page(query, after):
            yield from rows
            after = rows[-1][0]

    def _page(self, query: str, after: int, *more: str) -> list[tuple[Any, ...]]:
        """One page, in a read transaction of bounded length."""
        while True:
            begin = time.monotonic()
            self._connection.set_progress_handler(_after(LONGEST_SECONDS), _STEPS)
            try:
                with self._told(), closing(self._connection.cursor()) as cursor:
                    rows = cursor.execute(query, (after, self._rows, *more)).fetchall()
            except _BrokenOffError:
                if self._rows == 1:
                    raise BooksError(
                        f"{self.path}: one row takes longer than {LONGEST_SECONDS} s to read"
                    ) from None
                self._rows = max(1, self._rows // 2)
                continue
            finally:
                self._connection.set_progress_handler(None, 0)
                took = time.monotonic() - begin
                self.longest = max(self.longest, took)
            if took < LONGEST_SECONDS / 4:
                self._rows = min(MOST_ROWS, self._rows * 2)
            return rows

    def _check(self) -> None:
        with self._told():
            application = self._connection.execute("PRAGMA application_id").fetchone()[0]
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            oldest = version
            if application == APPLICATION_ID and version > NEWEST:
                row = self._connection.execute("SELECT oldest_reader FROM compatibility").fetchone()
                oldest = row[0]
        if application != APPLICATION_ID:
            raise BooksError(f"{self.path} is no file of a bot's books")
        if oldest > NEWEST:
            raise BooksError(
                f"{self.path} was written by a newer gridbot (schema {version}, this hub reads"
                f" {NEWEST}); use the newer hub"
            )
        if version < OLDEST:
            raise BooksError(
                f"{self.path} was written by an older gridbot (schema {version}, this hub reads"
                f" {OLDEST}); start the bot once, which brings it up to date"
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn SQLite's errors into one line."""
        try:
            yield
            if self._alone and self.replaced:
                raise BooksError(f"{self.path}: its bot has started; they are read again")
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
                raise _BrokenOffError from error
            raise BooksError(f"{self.path}: {error}") from error


class _BrokenOffError(Exception):
    """A read took too long."""


def _after(seconds: float) -> Callable[[], bool]:
    """Whether so much time has passed since now."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until
