"""One surface over the database and the archive: trades, orders and hours.

A query reads the manifest and the database as of one moment, so that a row is in exactly one of
the two; files that the manifest names are never written again. DuckDB answers for the files,
PostgreSQL for the rest, and the answers are put together here. Orders and hours may change: of one
that waits to be archived again, what waits is the answer, and not the file's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from operator import attrgetter
from typing import Any

import duckdb
from gridbase.market import plain

from hub.archive.columns import MILLISECOND
from hub.archive.place import Place
from hub.archive.rows import (
    CANDLES,
    FILLS,
    ORDERS,
    CandleRow,
    FillRow,
    Key,
    Kind,
    OrderRow,
    key,
)

BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(9999, 1, 1, tzinfo=UTC)
_NEWEST: Key = (END, 2**31 - 1, "")
_ORDER = ("created", "run_id", "client_id")
_ENGINE: dict[str, str | bool | int | float | list[str]] = {"threads": 1, "memory_limit": "128MB"}
# Rows that are read at once where all are wanted.
_BATCH = 20_000
# $1 runs or null for all, $2 and $3 bounds of time, $4 to $6 the key of the last row, $8 a state.
_PAGE = (
    "SELECT {fields} FROM {table} WHERE ($1::int[] IS NULL OR run_id = ANY($1))"
    " AND {time} >= $2 AND {time} < $3 AND {time} <= $4 AND ({time}, run_id, {name}) < ($4, $5, $6)"
    "{more} ORDER BY {time} DESC, run_id DESC, {name} DESC LIMIT $7"
)
# The same of few runs, each by its own index: the latest rows of one that has ended are behind all
# of the others'.
_PAGE_OF_RUNS = (
    "SELECT {fields} FROM unnest($1::int[]) AS run (id), LATERAL (SELECT * FROM {table}"
    " WHERE run_id = run.id AND {time} >= $2 AND {time} < $3 AND {time} <= $4"
    " AND ({time}, run_id, {name}) < ($4, $5, $6){more}"
    " ORDER BY {time} DESC, {name} DESC LIMIT $7) AS one"
    " ORDER BY {time} DESC, run_id DESC, {name} DESC LIMIT $7"
)
_FEW = 32
_STATE = " AND ($8::text IS NULL OR state::text = $8)"


def _page(page: str, kind: Kind, table: str, more: str = "") -> str:
    name = kind.order[-1]
    return page.format(fields=kind.fields, table=table, time=kind.time, name=name, more=more)


LATEST = _page(_PAGE, FILLS, "fills")
LATEST_OF_RUNS = _page(_PAGE_OF_RUNS, FILLS, "fills")
ORDERS_LATEST = _page(_PAGE, ORDERS, "orders", _STATE)
ORDERS_OF_RUNS = _page(_PAGE_OF_RUNS, ORDERS, "orders", _STATE)
LATE_ORDERS = _page(_PAGE, ORDERS, "late_orders", _STATE)
OLDEST = (
    f"SELECT {FILLS.fields} FROM fills WHERE run_id = ANY($1::int[]) AND time >= $2"  # noqa: S608  constants
    " AND time < $5 AND (time, run_id, trade_id) > ($2, $3, $4)"
    " ORDER BY time, run_id, trade_id LIMIT $6"
)
# As texts, which the database writes for a tenth of what decimals cost here.
_TEXTS = (
    "SELECT time, trim_scale(open)::text AS open, trim_scale(high)::text AS high,"
    " trim_scale(low)::text AS low, trim_scale(close)::text AS close, seconds, in_range_seconds"
)
_HOURS = (
    " FROM {} WHERE bot_id = $1 AND symbol = $2 AND time >= $3 AND time < $4 ORDER BY time LIMIT $5"
)
HOURS = _TEXTS + _HOURS.format("candles")
LATE_HOURS = _TEXTS + _HOURS.format("late_candles")
CLOSES = "SELECT time, close" + _HOURS.format("candles")
LATE_CLOSES = "SELECT time, close" + _HOURS.format("late_candles")
_FILES = (
    "SELECT name FROM archive_files WHERE hypertable = $1 AND begins <= $3 AND ends > $2"
    " ORDER BY begins"
)
# Between which hours grid runs have traded, from the index of `flows` alone.
TRADED = (
    "SELECT min(first), max(last) FROM unnest($1::int[]) AS one (id), LATERAL (SELECT min(hour) AS"
    " first, max(hour) AS last FROM flows WHERE run_id = one.id) AS traded"
)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Wanted:
    """Which trades or orders.

    Attributes:
        runs: IDs of grid runs; None: all.
        begin: the earliest time.
        end: the time after the latest.
        before: only rows before this one, by time, run and ID; None: from the latest on.
        state: of orders, by its first letter; None: any.
    """

    runs: Sequence[int] | None = None
    begin: datetime = BEGIN
    end: datetime = END
    before: Key | None = None
    state: str | None = None


class History:
    """Trades, orders and hours, wherever they are.

    Args:
        pool: of connections to the database.
        place: the archive; None where there is none.
    """

    def __init__(self, pool: Any, place: Place | None) -> None:
        self._pool = pool
        self._place = place
        self._engine = None if place is None else duckdb.connect(":memory:", config=_ENGINE)

    async def latest(self, wanted: Wanted, count: int) -> list[FillRow]:
        """A page of trades, the latest first.

        Args:
            wanted: which ones.
            count: how many at most.

        Raises:
            PlaceError: the archive is needed and cannot be read.
        """
        before = wanted.before or _NEWEST
        values = (wanted.runs, wanted.begin, wanted.end, *before, count)
        query = LATEST_OF_RUNS if _few(wanted) else LATEST
        # Files follow each other in time, and what is in the database is later than all of them: a
        # page that it fills needs no file, and then no moment either.
        async with self._pool.acquire() as connection:
            files, found = list[str](), await connection.fetch(query, *values)
            if len(found) < count and self._place is not None:
                async with _moment(connection):
                    end = min(wanted.end, before[0])
                    files = await self._traded(connection, wanted.begin, end, wanted.runs)
                    found = await connection.fetch(query, *values)
        page = [FillRow(*record) for record in found]
        return page + await self._latest_archived(FILLS, files, wanted, count - len(page))

    async def orders(self, wanted: Wanted, count: int) -> list[OrderRow]:
        """A page of orders, the latest first.

        Args:
            wanted: which ones.
            count: how many at most.

        Raises:
            PlaceError: the archive is needed and cannot be read.
        """
        before = wanted.before or _NEWEST
        values = (wanted.runs, wanted.begin, wanted.end, *before, count, wanted.state)
        query = ORDERS_OF_RUNS if _few(wanted) else ORDERS_LATEST
        async with self._pool.acquire() as connection:
            files, late = list[str](), list[Any]()
            found = await connection.fetch(query, *values)
            if len(found) < count:
                async with _moment(connection):
                    end = min(wanted.end, before[0])
                    files = await self._files(connection, ORDERS, wanted.begin, end)
                    late = await connection.fetch(LATE_ORDERS, *values)
                    found = await connection.fetch(query, *values)
        page = [OrderRow(*record) for record in found]
        left = count - len(page)
        # Either has as many as the page lacks, so both together have the right ones.
        behind = {
            ORDERS.identity(row): row
            for row in await self._latest_archived(ORDERS, files, wanted, left)
        }
        behind |= {ORDERS.identity(row): row for row in (OrderRow(*record) for record in late)}
        latest = sorted(behind.values(), key=attrgetter(*_ORDER), reverse=True)
        return page + latest[:left]

    async def hours(
        self, bot: int, symbol: str, begin: datetime, end: datetime, count: int
    ) -> list[Mapping[str, Any]]:
        """Hours as a bot has seen its price, the oldest first; prices are exact texts.

        Args:
            bot: its ID.
            symbol: such as ``BTC/USDT``.
            begin: the earliest time.
            end: the time after the latest.
            count: how many at most.

        Raises:
            PlaceError: the archive is needed and cannot be read.
        """

        def texts(row: CandleRow) -> dict[str, Any]:
            prices = {name: plain(getattr(row, name)) for name in ("open", "high", "low", "close")}
            watched = {"seconds": row.seconds, "in_range_seconds": row.in_range_seconds}
            return {"time": row.time, **prices, **watched}

        asked = (bot, symbol, begin, end, count)
        return await self._hours(asked, (HOURS, LATE_HOURS), texts)

    async def closes(
        self, bot: int, symbol: str, begin: datetime, end: datetime, count: int
    ) -> list[Mapping[str, Any]]:
        """The same hours with their closing prices alone, as decimals."""
        asked = (bot, symbol, begin, end, count)
        return await self._hours(
            asked, (CLOSES, LATE_CLOSES), lambda row: {"time": row.time, "close": row.close}
        )

    async def _hours(
        self,
        asked: tuple[int, str, datetime, datetime, int],
        queries: tuple[str, str],
        document: Callable[[CandleRow], Mapping[str, Any]],
    ) -> list[Mapping[str, Any]]:
        _, _, begin, end, count = asked
        async with self._pool.acquire() as connection, _moment(connection):
            found, late = [await connection.fetch(query, *asked) for query in queries]
            files = await self._files(connection, CANDLES, begin, end)
        behind: dict[datetime, Mapping[str, Any]] = {}
        # A query costs as much as several files that it reads; a page is seldom longer than two.
        while files and len(behind) < count:
            names, files = files[:2], files[2:]
            rows = await asyncio.to_thread(self._archived_hours, names, asked)
            behind |= {row.time: document(row) for row in rows}
        behind |= {row["time"]: row for row in late}
        return [*(behind[time] for time in sorted(behind)), *found][:count]

    async def ordered(
        self, runs: Sequence[int], after: Key | None = None, end: datetime = END
    ) -> AsyncIterator[FillRow]:
        """All trades of some grid runs after one of them, the oldest first.

        Args:
            runs: IDs of grid runs.
            after: the key of that one; None: from the first trade on.
            end: the time after the latest.

        Raises:
            PlaceError: the archive is needed and cannot be read.
        """
        last = after or (BEGIN, 0, "")
        while True:
            # The horizon may move on between two batches: each asks for both as of one moment.
            async with self._pool.acquire() as connection, _moment(connection):
                files = await self._traded(connection, last[0], end, runs)
                found = await connection.fetch(OLDEST, list(runs), *last, end, _BATCH)
            batch: list[FillRow] = []
            for name in files:
                if len(batch) >= _BATCH:
                    break
                left = _BATCH - len(batch)
                values = (runs, last, end, left)
                batch += await asyncio.to_thread(self._archived_oldest, name, *values)
            left = found[: _BATCH - len(batch)]
            # Made one by one: who reads lets others have their turn in between.
            for row in chain(batch, map(FillRow._make, left)):
                yield row
            if len(batch) + len(left) < _BATCH:
                return
            last = key(row)

    async def _traded(
        self, connection: Any, begin: datetime, end: datetime, runs: Sequence[int] | None
    ) -> list[str]:
        """Files that may have trades of these runs in this time, the oldest first."""
        if runs is not None:
            first, last = await connection.fetchrow(TRADED, list(runs))
            if first is None:
                return []
            begin, end = max(begin, first), min(end, last + _HOUR)
        return await self._files(connection, FILLS, begin, end)

    async def _files(
        self, connection: Any, kind: Kind, begin: datetime, end: datetime
    ) -> list[str]:
        """Files that may have rows of this time, the oldest first."""
        if self._place is None:
            return []
        return [row["name"] for row in await connection.fetch(_FILES, kind.table, begin, end)]

    async def _latest_archived(
        self, kind: Kind, files: Sequence[str], wanted: Wanted, count: int
    ) -> list[Any]:
        """The latest rows of some files, which follow each other in time."""
        page: list[Any] = []
        # A query costs as much as several files of which it reads few rows.
        coming, several = list(files), 1 if wanted.runs is None else 4
        while coming and len(page) < count:
            names, coming = coming[-several:], coming[:-several]
            left = count - len(page)
            page += await asyncio.to_thread(self._archived_latest, kind, names, wanted, left)
            several *= 2
        return page

    def _archived_latest(
        self, kind: Kind, names: list[str], wanted: Wanted, count: int
    ) -> list[Any]:
        order = ("time", "run_id", "trade_id") if kind is FILLS else _ORDER
        time, run, identity = (kind.in_file(one) for one in order)
        condition, runs = _of_runs(wanted.runs)
        return self._query(
            kind,
            names,
            f"{condition} AND ({'true' if wanted.state is None else 'state = ?'})"
            f" AND {time} >= ? AND {time} < ? AND ({time}, {run}, {identity}) < (?, ?, ?)"
            f" ORDER BY {time} DESC, {run} DESC, {identity} DESC LIMIT ?",
            [
                *runs,
                *([] if wanted.state is None else [wanted.state]),
                _ms(wanted.begin),
                _ms(wanted.end),
                *_in_files(wanted.before or _NEWEST),
                count,
            ],
        )

    def _archived_oldest(
        self, name: str, runs: Sequence[int], after: Key, end: datetime, count: int
    ) -> list[FillRow]:
        identity = FILLS.in_file("trade_id")
        condition, of_runs = _of_runs(runs)
        return self._query(
            FILLS,
            [name],
            f"{condition} AND time_ms >= ? AND time_ms < ?"
            f" AND (time_ms, run_id, {identity}) > (?, ?, ?)"
            f" ORDER BY time_ms, run_id, {identity} LIMIT ?",
            [*of_runs, _ms(after[0]), _ms(end), *_in_files(after), count],
        )

    def _archived_hours(
        self, names: list[str], asked: tuple[int, str, datetime, datetime, int]
    ) -> list[CandleRow]:
        bot, symbol, begin, end, count = asked
        return self._query(
            CANDLES,
            names,
            "bot_id = ? AND symbol = ? AND time_ms >= ? AND time_ms < ? ORDER BY time_ms LIMIT ?",
            [bot, symbol, _ms(begin), _ms(end), count],
        )

    def _query(self, kind: Kind, names: list[str], condition: str, values: list[Any]) -> list[Any]:
        if self._place is None or self._engine is None:
            return []
        archived = self._place.dataset(names)
        with self._engine.cursor() as engine:  # of its own: answers come from several threads
            engine.register("archived", archived)
            columns = ", ".join(kind.schema.names)
            query = f"SELECT {columns} FROM archived WHERE {condition}"  # noqa: S608  constants
            return kind.load_cells(engine.execute(query, values).fetchall())


def _few(wanted: Wanted) -> bool:
    return wanted.runs is not None and len(wanted.runs) <= _FEW


def _of_runs(runs: Sequence[int] | None) -> tuple[str, list[Any]]:
    """A condition for rows of a file, and its values; bounds let whole groups of rows out."""
    if runs is None:
        return "true", []
    bounds = (min(runs, default=0), max(runs, default=0))
    return "run_id >= ? AND run_id <= ? AND list_contains(?, run_id)", [*bounds, list(runs)]


def _moment(connection: Any) -> Any:
    """A transaction that sees one moment."""
    return connection.transaction(isolation="repeatable_read", readonly=True)


def _ms(time: datetime) -> int:
    return (time - BEGIN) // MILLISECOND


def _in_files(last: Key) -> tuple[int, int, str]:
    return _ms(last[0]), last[1], last[2]
