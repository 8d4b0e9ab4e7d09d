"""One surface over the database and the archive: trades by page, and all of them in order.

A query reads the manifest and the database as of one moment, so that a row is in exactly one of
the two; files that the manifest names are never written again. DuckDB answers for the files,
PostgreSQL for the rest, and the answers are put together here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import duckdb

from hub.archive import rows
from hub.archive.place import Place
from hub.archive.rows import FillRow, Key, key

BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(9999, 1, 1, tzinfo=UTC)
_ENGINE: dict[str, str | bool | int | float | list[str]] = {"threads": 1, "memory_limit": "128MB"}
# Rows that are read at once where all are wanted.
_BATCH = 20_000
_FIELDS = (
    "time, run_id, market_id, side::text, role::text, maker, price, quantity, quote, fee, fee_coin,"
    " trade_id, client_id"
)
# $1 runs or null for all, $2 and $3 bounds of time, $4 to $6 the key of the last row.
_LATEST = (
    f"SELECT {_FIELDS} FROM fills WHERE ($1::int[] IS NULL OR run_id = ANY($1))"  # noqa: S608  constants
    " AND time >= $2 AND time < $3 AND time <= $4 AND (time, run_id, trade_id) < ($4, $5, $6)"
    " ORDER BY time DESC, run_id DESC, trade_id DESC LIMIT $7"
)
_OLDEST = (
    f"SELECT {_FIELDS} FROM fills WHERE run_id = ANY($1::int[]) AND time >= $2"  # noqa: S608  constants
    " AND (time, run_id, trade_id) > ($2, $3, $4)"
    " ORDER BY time, run_id, trade_id LIMIT $5"
)
_FILES = (
    "SELECT name FROM archive_files WHERE hypertable = 'fills' AND begins <= $2 AND ends > $1"
    " ORDER BY begins"
)
# Between which hours grid runs have traded, from the index of `flows` alone.
_TRADED = (
    "SELECT min(first), max(last) FROM unnest($1::int[]) AS one (id), LATERAL (SELECT min(hour) AS"
    " first, max(hour) AS last FROM flows WHERE run_id = one.id) AS traded"
)
_HOUR = timedelta(hours=1)
# An ID as text, where files have a number.
_ID = "coalesce(trade_text, CAST(trade_number AS VARCHAR))"


@dataclass(frozen=True)
class Wanted:
    """Which trades.

    Attributes:
        runs: IDs of grid runs; None: all.
        begin: the earliest time.
        end: the time after the latest.
        before: only rows before this one, in the order of `key`; None: from the latest on.
    """

    runs: Sequence[int] | None = None
    begin: datetime = BEGIN
    end: datetime = END
    before: Key | None = None


class History:
    """Trades, wherever they are.

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
        before = wanted.before or (END, 2**31 - 1, "")
        values = (wanted.runs, wanted.begin, wanted.end, *before, count)
        # Files follow each other in time, and what is in the database is later than all of them: a
        # page that it fills needs no file, and then no moment either.
        async with self._pool.acquire() as connection:
            files, found = list[str](), await connection.fetch(_LATEST, *values)
            if len(found) < count and self._place is not None:
                async with _moment(connection):
                    end = min(wanted.end, before[0])
                    files = await self._files(connection, wanted.begin, end, wanted.runs)
                    found = await connection.fetch(_LATEST, *values)
        page = [FillRow(*record) for record in found]
        for name in reversed(files):
            if len(page) >= count:
                break
            left = count - len(page)
            page += await asyncio.to_thread(self._archived_latest, name, wanted, before, left)
        return page

    async def ordered(
        self, runs: Sequence[int], after: Key | None = None
    ) -> AsyncIterator[FillRow]:
        """All trades of some grid runs after one of them, the oldest first.

        Raises:
            PlaceError: the archive is needed and cannot be read.
        """
        last = after or (BEGIN, 0, "")
        while True:
            # The horizon may move on between two batches: each asks for both as of one moment.
            async with self._pool.acquire() as connection, _moment(connection):
                files = await self._files(connection, last[0], END, runs)
                found = await connection.fetch(_OLDEST, list(runs), *last, _BATCH)
            batch: list[FillRow] = []
            for name in files:
                if len(batch) >= _BATCH:
                    break
                left = _BATCH - len(batch)
                batch += await asyncio.to_thread(self._archived_oldest, name, runs, last, left)
            left = found[: _BATCH - len(batch)]
            # Made one by one: who reads lets others have their turn in between.
            for row in chain(batch, map(FillRow._make, left)):
                yield row
            if len(batch) + len(left) < _BATCH:
                return
            last = key(row)

    async def _files(
        self, connection: Any, begin: datetime, end: datetime, runs: Sequence[int] | None
    ) -> list[str]:
        """Files that may have trades of these runs in this time, the oldest first."""
        if self._place is None:
            return []
        if runs is not None:
            first, last = await connection.fetchrow(_TRADED, list(runs))
            if first is None:
                return []
            begin, end = max(begin, first), min(end, last + _HOUR)
        return [row["name"] for row in await connection.fetch(_FILES, begin, end)]

    def _archived_latest(self, name: str, wanted: Wanted, before: Key, count: int) -> list[FillRow]:
        return self._query(
            name,
            f"({'true' if wanted.runs is None else 'list_contains(?, run_id)'})"
            f" AND time_ms >= ? AND time_ms < ? AND (time_ms, run_id, {_ID}) < (?, ?, ?)"
            f" ORDER BY time_ms DESC, run_id DESC, {_ID} DESC LIMIT ?",
            [
                *([] if wanted.runs is None else [list(wanted.runs)]),
                _ms(wanted.begin),
                _ms(wanted.end),
                *_in_files(before),
                count,
            ],
        )

    def _archived_oldest(
        self, name: str, runs: Sequence[int], after: Key, count: int
    ) -> list[FillRow]:
        return self._query(
            name,
            f"list_contains(?, run_id) AND time_ms >= ? AND (time_ms, run_id, {_ID}) > (?, ?, ?)"
            f" ORDER BY time_ms, run_id, {_ID} LIMIT ?",
            [list(runs), _ms(after[0]), *_in_files(after), count],
        )

    def _query(self, name: str, condition: str, values: list[Any]) -> list[FillRow]:
        if self._place is None or self._engine is None:
            return []
        archived = self._place.dataset([name])
        with self._engine.cursor() as engine:  # of its own: answers come from several threads
            engine.register("archived", archived)
            query = f"SELECT {rows.COLUMNS} FROM archived WHERE {condition}"  # noqa: S608  constants
            return rows.rows_of(engine.execute(query, values).fetchall())


def _moment(connection: Any) -> Any:
    """A transaction that sees one moment."""
    return connection.transaction(isolation="repeatable_read", readonly=True)


def _ms(time: datetime) -> int:
    return (time - BEGIN) // rows.MILLISECOND


def _in_files(last: Key) -> tuple[int, int, str]:
    return _ms(last[0]), last[1], last[2]
