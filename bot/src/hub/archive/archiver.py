"""Moves old chunks to the archive. A kill at any point loses nothing and doubles nothing.

For each chunk, the oldest first:

1. its rows are written to a Parquet file, which gets a name of its own;
2. the stored file is read back: its SHA-256, and every field of every row, must be as written;
3. one transaction, in which no collector writes: count and sums of the chunk are compared with the
   file's again, the manifest names the file, the chunk is dropped, the horizon moves on.

Until the third step is committed the database has the rows and nobody reads the file; from then on
it is the other way round. Trades that come later for a time behind the horizon wait in `late_fills`
until a new file, with those that the old one does not have, takes its place by the same steps.
"""

from __future__ import annotations

import hashlib
import heapq
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from hub.archive import rows
from hub.archive.place import Place, PlaceError
from hub.archive.rows import Digest, FillRow, Sums
from hub.writing import COUNT_LATE

FOLDER = "fills"
_LOCK = 0x47524443
_DAY = timedelta(days=1)
# Of `fills`: what a range without a chunk is as long as (see the schema).
_CHUNK = timedelta(days=7)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHARE = "SELECT archived_until FROM horizons WHERE hypertable = 'fills' FOR UPDATE"


class UnverifiedError(PlaceError):
    """A file is not what was written: the chunk stays where it is."""


@dataclass(frozen=True)
class Written:
    """A file that was written and read back.

    Attributes:
        name: in the archive.
        sums: of its rows.
        sha256: of the file.
        size: bytes.
    """

    name: str
    sums: Sums
    sha256: str
    size: int


@dataclass(frozen=True)
class Moved:
    """What one run has done.

    Attributes:
        chunks: that were archived.
        rows: in them.
        late: late trades that the archive took in.
        size: bytes of the files.
        before: bytes of the chunks in the database.
    """

    chunks: int = 0
    rows: int = 0
    late: int = 0
    size: int = 0
    before: int = 0


class Archiver:
    """One run.

    Args:
        connection: to the database, as the owner of its tables.
        place: the archive.
        progress: is told each step in one line.
    """

    def __init__(
        self, connection: Any, place: Place, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        self._connection = connection
        self._place = place
        self._progress = progress

    async def run(self, before: datetime) -> Moved:
        """Archive every chunk that ends before a time, and take in what came late.

        Args:
            before: the time.

        Raises:
            PlaceError: the archive cannot be written, or a file is not what was written.
        """
        if not await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            raise PlaceError("another archiver is at work; let it end")
        try:
            names = await self._connection.fetch("SELECT name FROM archive_files")
            self._place.remove_orphans(FOLDER, {row["name"] for row in names})
            moved = Moved(late=await self._take_in_late())
            for begins, ends, size in await self._chunks(before):
                written = await self._move(begins, ends, size)
                moved = Moved(
                    moved.chunks + 1,
                    moved.rows + written.sums.rows,
                    moved.late,
                    moved.size + written.size,
                    moved.before + size,
                )
            return moved
        finally:
            if not self._connection.is_closed():
                await self._connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)

    async def _chunks(self, before: datetime) -> list[tuple[datetime, datetime, int]]:
        found = await self._connection.fetch(
            "SELECT range_start, range_end, pg_total_relation_size(format('%I.%I', chunk_schema,"
            " chunk_name)::regclass) AS size FROM timescaledb_information.chunks"
            " WHERE hypertable_name = 'fills' AND range_end <= $1 ORDER BY range_start",
            before,
        )
        return [(row["range_start"], row["range_end"], row["size"]) for row in found]

    async def _move(self, begins: datetime, ends: datetime, size: int) -> Written:
        self._progress(f"{begins:%Y-%m-%d}: {size} bytes in the database")
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            written = await self._write(begins, self._stored("fills", begins, ends))
        async with self._connection.transaction():
            await self._connection.fetchval(_SHARE)
            now = rows.sums_of(await self._connection.fetchrow(rows.SELECT_SUMS, begins, ends))
            if now != written.sums:
                raise UnverifiedError(
                    f"archive.place: {written.name} has {written.sums.rows} rows, the database has"
                    f" {now.rows} by now; the next run tries again"
                )
            await self._name(begins, ends, written, size)
            await self._connection.execute(
                "SELECT drop_chunks('fills', older_than => $1::timestamptz,"
                " newer_than => $2::timestamptz)",
                ends,
                begins,
            )
            await self._connection.execute(
                "UPDATE horizons SET archived_until = greatest(archived_until, $1)"
                " WHERE hypertable = 'fills'",
                ends,
            )
        self._progress(f"{begins:%Y-%m-%d}: {written.sums.rows} rows, {written.size} bytes")
        return written

    async def _take_in_late(self) -> int:
        """Trades that came for times behind the horizon; how many were new."""
        taken = 0
        while True:
            first = await self._connection.fetchval("SELECT min(time) FROM late_fills")
            if first is None:
                return taken
            file = await self._connection.fetchrow(
                "SELECT name, begins, ends, database_bytes FROM archive_files"
                " WHERE hypertable = 'fills' AND begins <= $1 AND $1 < ends",
                first,
            )
            taken += await self._merge(first, file)

    async def _merge(self, first: datetime, file: Any) -> int:
        begins = _EPOCH + (first - _EPOCH) // _CHUNK * _CHUNK if file is None else file["begins"]
        ends = begins + _CHUNK if file is None else file["ends"]
        waiting = [row async for row in self._stored("late_fills", begins, ends)]
        # A file may have a million rows: it is read twice, and never held as a whole.
        known = {(row.run_id, row.trade_id) for row in waiting}.intersection(
            (row.run_id, row.trade_id) for row in self._file(file)
        )
        new = [row for row in waiting if (row.run_id, row.trade_id) not in known]
        written = None
        if new:
            order = lambda row: (row.run_id, row.time, row.trade_id)  # noqa: E731
            merged = heapq.merge(self._file(file), new, key=order)
            written = await self._write(begins, _each(merged))
        async with self._connection.transaction():
            await self._connection.fetchval(_SHARE)
            if written is not None:
                await self._connection.execute(
                    "DELETE FROM archive_files WHERE hypertable = 'fills' AND begins = $1", begins
                )
                size = 0 if file is None else file["database_bytes"]
                await self._name(begins, ends, written, size)
                await self._count(new)
            await self._connection.executemany(
                "DELETE FROM late_fills WHERE (run_id, time, trade_id) = ($1, $2, $3)",
                [(row.run_id, row.time, row.trade_id) for row in waiting],
            )
        return len(new)

    async def _count(self, new: list[FillRow]) -> None:
        """Add trades that came late to the sums by hour."""
        await self._connection.execute(
            "CREATE TEMPORARY TABLE IF NOT EXISTS late (LIKE late_fills) ON COMMIT DELETE ROWS"
        )
        await self._connection.executemany(
            "INSERT INTO late SELECT * FROM late_fills"
            " WHERE (run_id, time, trade_id) = ($1, $2, $3)",
            [(row.run_id, row.time, row.trade_id) for row in new],
        )
        await self._connection.execute(COUNT_LATE)

    async def _name(self, begins: datetime, ends: datetime, file: Written, size: int) -> None:
        await self._connection.execute(
            "INSERT INTO archive_files (name, hypertable, begins, ends, rows, sums, sha256, bytes,"
            " database_bytes) VALUES ($1, 'fills', $2, $3, $4, $5, $6, $7, $8)",
            file.name,
            begins,
            ends,
            file.sums.rows,
            file.sums.document(),
            file.sha256,
            file.size,
            size,
        )

    async def _stored(self, name: str, begins: datetime, ends: datetime) -> AsyncIterator[FillRow]:
        """Rows of a table, in the order of the files."""
        query = rows.SELECT.format(table=name)
        if not self._connection.is_in_transaction():
            for record in await self._connection.fetch(query, begins, ends):
                yield FillRow(*record)
            return
        async for record in self._connection.cursor(query, begins, ends, prefetch=5000):
            yield FillRow(*record)

    def _file(self, record: Any) -> Iterable[FillRow]:
        """The rows of a file of the manifest; none where there is no file."""
        return () if record is None else self._archived(record["name"])

    def _archived(self, name: str) -> Iterable[FillRow]:
        with self._place.open(name) as file:
            for group in range(file.num_row_groups):
                yield from rows.table_rows(file.read_row_group(group))

    async def _write(self, begins: datetime, source: AsyncIterator[FillRow]) -> Written:
        """Write rows to a file of the archive, and read it back."""
        with tempfile.NamedTemporaryFile(suffix=".parquet") as temporary:
            local = Path(temporary.name)
            sums, digest = await _write_local(local, source)
            sha256 = hashlib.sha256(local.read_bytes()).hexdigest()
            name = f"{FOLDER}/{begins:%Y-%m-%d}-{sha256[:12]}.parquet"
            self._place.put(local, name)
        stored, size = self._place.digest(name)
        seen, again = Digest(), Sums()
        for row in self._archived(name) if stored == sha256 else ():
            seen.add(row)
            again.add(row)
        if stored != sha256 or again != sums or seen.text() != digest:
            raise UnverifiedError(
                f"archive.place = {self._place.name}: {name} is not what was written to it;"
                " look at the disk. Nothing was dropped"
            )
        return Written(name, sums, sha256, size)


async def _write_local(path: Path, source: AsyncIterator[FillRow]) -> tuple[Sums, str]:
    sums, digest, group = Sums(), Digest(), list[FillRow]()
    with pq.ParquetWriter(path, rows.SCHEMA, **rows.WRITING) as writer:
        async for row in source:
            sums.add(row)
            digest.add(row)
            group.append(row)
            if len(group) == rows.GROUP_ROWS:
                writer.write_table(rows.table(group), row_group_size=rows.GROUP_ROWS)
                group = []
        if group:
            writer.write_table(rows.table(group), row_group_size=rows.GROUP_ROWS)
    return sums, digest.text()


async def _each(source: Iterable[FillRow]) -> AsyncIterator[FillRow]:
    for row in source:
        yield row
