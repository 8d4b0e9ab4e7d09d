"""Moves old chunks to the archive. A kill at any point loses nothing and doubles nothing.

For each chunk, the oldest first:

1. its rows are written to a Parquet file, which gets a name of its own;
2. the stored file is read back: its SHA-256, and every field of every row, must be as written;
3. one transaction, in which no collector writes: count and sums of the chunk are compared with the
   file's again, the manifest names the file, the chunk is dropped, the horizon moves on.

Until the third step is committed the database has the rows and nobody reads the file; from then on
it is the other way round. Rows that come later for a time behind the horizon wait in a table of
their own (`late_fills` and so on) until a new file, with those that the old one does not have,
takes its place by the same steps. Orders that may still trade go into no file: they wait there.
"""

from __future__ import annotations

import hashlib
import heapq
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from hub.archive.place import Place, PlaceError
from hub.archive.rows import FILLS, GROUP_ROWS, KINDS, Digest, FillRow, Kind, Sums
from hub.writing import COUNT_LATE

_LOCK = 0x47524443
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Alone: collectors share it while they write.
_HORIZON = "SELECT archived_until FROM horizons WHERE hypertable = $1 FOR UPDATE"


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
    """What one run has done to a table.

    Attributes:
        chunks: that were archived.
        rows: of them that are in the archive now.
        late: late rows that the archive took in.
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

    async def run(self, before: datetime) -> dict[str, Moved]:
        """Archive every chunk that ends before a time, and take in what came late.

        Args:
            before: the time.

        Returns:
            What was done, by table.

        Raises:
            PlaceError: the archive cannot be written, or a file is not what was written.
        """
        if not await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            raise PlaceError("another archiver is at work; let it end")
        try:
            return {kind.table: await self._run(kind, before) for kind in KINDS}
        finally:
            if not self._connection.is_closed():
                await self._connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)

    async def _run(self, kind: Kind, before: datetime) -> Moved:
        names = await self._connection.fetch("SELECT name FROM archive_files")
        self._place.remove_orphans(kind.table, {row["name"] for row in names})
        if kind.changing:
            for begins, ends, _ in await self._chunks(kind, before):
                await self._set_aside(kind, begins, ends)
        moved = Moved(late=await self._take_in_late(kind))
        for begins, ends, size in await self._chunks(kind, before):
            written = await self._move(kind, begins, ends, size)
            moved = Moved(
                moved.chunks + 1,
                moved.rows + written.sums.rows,
                moved.late,
                moved.size + written.size,
                moved.before + size,
            )
        return moved

    async def _chunks(self, kind: Kind, before: datetime) -> list[tuple[datetime, datetime, int]]:
        found = await self._connection.fetch(
            "SELECT range_start, range_end, pg_total_relation_size(format('%I.%I', chunk_schema,"
            " chunk_name)::regclass) AS size FROM timescaledb_information.chunks"
            " WHERE hypertable_name = $1 AND range_end <= $2 ORDER BY range_start",
            kind.table,
            before,
        )
        return [(row["range_start"], row["range_end"], row["size"]) for row in found]

    async def _set_aside(self, kind: Kind, begins: datetime, ends: datetime) -> None:
        """Let the rows of a chunk wait with those that came late, where its time is archived.

        A collector of an older release, which knows no archive of this table, may have made it.
        """
        async with self._connection.transaction():
            if ends <= await self._connection.fetchval(_HORIZON, kind.table):
                await self._keep_back(kind, begins, ends, "true")
                await self._drop(kind, begins, ends)

    async def _keep_back(self, kind: Kind, begins: datetime, ends: datetime, which: str) -> None:
        """Copy rows of a chunk to those that wait."""
        change = ", ".join(f"{name} = excluded.{name}" for name in kind.changing)
        await self._connection.execute(
            f"INSERT INTO {kind.late} SELECT * FROM {kind.table}"  # noqa: S608  constants
            f" WHERE {kind.time} >= $1 AND {kind.time} < $2 AND {which}"
            f" ON CONFLICT ({', '.join(kind.order)}) DO UPDATE SET {change}",
            begins,
            ends,
        )

    async def _drop(self, kind: Kind, begins: datetime, ends: datetime) -> None:
        await self._connection.execute(
            "SELECT drop_chunks($1::text::regclass, older_than => $2::timestamptz,"
            " newer_than => $3::timestamptz)",
            kind.table,
            ends,
            begins,
        )

    async def _move(self, kind: Kind, begins: datetime, ends: datetime, size: int) -> Written:
        self._progress(f"{kind.table} {begins:%Y-%m-%d}: {size} bytes in the database")
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            seen = await self._connection.fetchrow(kind.select_sums, begins, ends)
            written = await self._write(kind, begins, self._stored(kind, kind.table, begins, ends))
        async with self._connection.transaction():
            await self._connection.fetchval(_HORIZON, kind.table)
            now = await self._connection.fetchrow(kind.select_sums, begins, ends)
            # The hashes tell a row that was changed, and not added, since it was written.
            if dict(now) != dict(seen) or kind.sums_of(now) != written.sums:
                raise UnverifiedError(
                    f"archive.place: {written.name} has {written.sums.rows} rows, the database has"
                    f" {now['rows']}, or others, by now; the next run tries again"
                )
            await self._name(kind, begins, ends, written, size)
            if kind.changing:
                await self._keep_back(kind, begins, ends, f"NOT ({kind.settled})")
            await self._drop(kind, begins, ends)
            await self._connection.execute(
                "UPDATE horizons SET archived_until = greatest(archived_until, $1)"
                " WHERE hypertable = $2",
                ends,
                kind.table,
            )
        self._progress(
            f"{kind.table} {begins:%Y-%m-%d}: {written.sums.rows} rows, {written.size} bytes"
        )
        return written

    async def _take_in_late(self, kind: Kind) -> int:
        """Rows that came for times behind the horizon; how many were new, or others."""
        taken = 0
        while True:
            first = await self._connection.fetchval(
                f"SELECT min({kind.time}) FROM {kind.late} WHERE {kind.settled}"  # noqa: S608  constants
            )
            if first is None:
                return taken
            file = await self._connection.fetchrow(
                "SELECT name, begins, ends, database_bytes FROM archive_files"
                " WHERE hypertable = $1 AND begins <= $2 AND $2 < ends",
                kind.table,
                first,
            )
            taken += await self._merge(kind, first, file)

    async def _merge(self, kind: Kind, first: datetime, file: Any) -> int:
        begins = _EPOCH + (first - _EPOCH) // kind.chunk * kind.chunk
        begins = begins if file is None else file["begins"]
        ends = begins + kind.chunk if file is None else file["ends"]
        waiting = [row async for row in self._stored(kind, kind.late, begins, ends)]
        # A file may have a million rows: it is read twice, and never held as a whole.
        new = {kind.identity(row): row for row in waiting}
        for row in self._file(kind, file):
            mine = new.get(kind.identity(row))
            if mine is not None and (mine == row or not kind.changing):
                del new[kind.identity(row)]
        written = None
        if new:
            kept = (row for row in self._file(kind, file) if kind.identity(row) not in new)
            added = [row for row in waiting if new.get(kind.identity(row)) is row]
            merged = heapq.merge(kept, added, key=kind.key)
            written = await self._write(kind, begins, _each(merged))
        async with self._connection.transaction():
            await self._connection.fetchval(_HORIZON, kind.table)
            if written is not None:
                await self._connection.execute(
                    "DELETE FROM archive_files WHERE hypertable = $1 AND begins = $2",
                    kind.table,
                    begins,
                )
                size = 0 if file is None else file["database_bytes"]
                await self._name(kind, begins, ends, written, size)
                if kind is FILLS:
                    await self._count(list(new.values()))
            await self._forget(kind, waiting)
        return len(new)

    async def _forget(self, kind: Kind, taken: list[Any]) -> None:
        """Remove rows that waited; one that has changed since then waits on."""
        places = {name: f"${number}" for number, name in enumerate(kind.columns, 1)}
        key = ", ".join(kind.order)
        values = ", ".join(places[name] for name in kind.order)
        await self._connection.executemany(
            f"DELETE FROM {kind.late} WHERE ({key}) = ({values})"  # noqa: S608  constants
            f" AND ({kind.fields}) IS NOT DISTINCT FROM ({', '.join(places.values())})",
            taken,
        )

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

    async def _name(
        self, kind: Kind, begins: datetime, ends: datetime, file: Written, size: int
    ) -> None:
        await self._connection.execute(
            "INSERT INTO archive_files (name, hypertable, begins, ends, rows, sums, sha256, bytes,"
            " database_bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            file.name,
            kind.table,
            begins,
            ends,
            file.sums.rows,
            file.sums.document(),
            file.sha256,
            file.size,
            size,
        )

    async def _stored(
        self, kind: Kind, table: str, begins: datetime, ends: datetime
    ) -> AsyncIterator[Any]:
        """Rows of a table that may be archived, in the order of the files."""
        query = kind.select(table)
        if not self._connection.is_in_transaction():
            for record in await self._connection.fetch(query, begins, ends):
                yield kind.row(*record)
            return
        async for record in self._connection.cursor(query, begins, ends, prefetch=5000):
            yield kind.row(*record)

    def _file(self, kind: Kind, record: Any) -> Iterable[Any]:
        """The rows of a file of the manifest; none where there is no file."""
        return () if record is None else self._archived(kind, record["name"])

    def _archived(self, kind: Kind, name: str) -> Iterable[Any]:
        with self._place.open(name) as file:
            for group in range(file.num_row_groups):
                yield from kind.load(file.read_row_group(group))

    async def _write(self, kind: Kind, begins: datetime, source: AsyncIterator[Any]) -> Written:
        """Write rows to a file of the archive, and read it back."""
        with tempfile.NamedTemporaryFile(suffix=".parquet") as temporary:
            local = Path(temporary.name)
            sums, digest = await _write_local(kind, local, source)
            sha256 = hashlib.sha256(local.read_bytes()).hexdigest()
            name = f"{kind.table}/{begins:%Y-%m-%d}-{sha256[:12]}.parquet"
            self._place.put(local, name)
        stored, size = self._place.digest(name)
        seen, again = Digest(), Sums.none_of(kind)
        for row in self._archived(kind, name) if stored == sha256 else ():
            seen.add(row)
            again.add(row)
        if stored != sha256 or again != sums or seen.text() != digest:
            raise UnverifiedError(
                f"archive.place = {self._place.name}: {name} is not what was written to it;"
                " look at the disk. Nothing was dropped"
            )
        return Written(name, sums, sha256, size)


async def _write_local(kind: Kind, path: Path, source: AsyncIterator[Any]) -> tuple[Sums, str]:
    sums, digest, group = Sums.none_of(kind), Digest(), list[Any]()
    with pq.ParquetWriter(path, kind.schema, **kind.writing) as writer:
        async for row in source:
            sums.add(row)
            digest.add(row)
            group.append(row)
            if len(group) == GROUP_ROWS:
                writer.write_table(kind.store(group), row_group_size=GROUP_ROWS)
                group = []
        if group:
            writer.write_table(kind.store(group), row_group_size=GROUP_ROWS)
    return sums, digest.text()


async def _each(source: Iterable[Any]) -> AsyncIterator[Any]:
    for row in source:
        yield row
