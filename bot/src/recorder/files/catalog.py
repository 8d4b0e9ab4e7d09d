"""The catalogue: which files count, what is missing, and what has been copied elsewhere.

A file counts once the catalogue names it. Everything that must happen together is one transaction
of SQLite, which is on the disk when it returns.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from gridbase.errors import ExitCode, UserError

from recorder.core.rows import Gap, Kind, Stream
from recorder.files.durable import make_directory, write_durable
from recorder.files.layout import CATALOG, MANIFEST, READY, date_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, exchange TEXT, kind TEXT, symbol TEXT, date TEXT,
    rows INTEGER, first_ms INTEGER, last_ms INTEGER, first INTEGER, last INTEGER,
    bytes INTEGER, sha256 TEXT, replaced INTEGER DEFAULT 0, synced INTEGER DEFAULT 0,
    local INTEGER DEFAULT 1
);
CREATE INDEX IF NOT EXISTS files_of_stream ON files (exchange, kind, symbol, date);
CREATE TABLE IF NOT EXISTS gaps (
    exchange TEXT, kind TEXT, symbol TEXT, from_ms INTEGER, to_ms INTEGER,
    first INTEGER, last INTEGER, reason TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS gaps_once
    ON gaps (exchange, kind, symbol, from_ms, ifnull(first, -1));
CREATE TABLE IF NOT EXISTS converted (journal TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS changed_days (date TEXT PRIMARY KEY);
"""
FILE_COLUMNS = (
    "path, exchange, kind, symbol, date, rows, first_ms, last_ms, first, last, bytes, sha256"
)
DAY_MS = 86_400_000
WAIT_S = 30  # for what another process writes, on a slow disk
INSERT_GAP = "INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_FILE = """
INSERT OR REPLACE INTO files
    (path, exchange, kind, symbol, date, rows, first_ms, last_ms, first, last, bytes, sha256)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# Each condition holds for a value of NULL as well.
SELECT_FILES = """
SELECT * FROM files
WHERE (?1 IS NULL OR (exchange = ?1 AND kind = ?2 AND symbol = ?3)) AND (?4 IS NULL OR date = ?4)
    AND replaced = ?5 AND (?6 IS NULL OR synced = ?6) AND (?7 IS NULL OR local = ?7)
ORDER BY date, first_ms, first, path
"""
SELECT_GAPS = """
SELECT * FROM gaps WHERE ?1 IS NULL OR (exchange = ?1 AND kind = ?2 AND symbol = ?3)
ORDER BY from_ms, first
"""
SELECT_HERE = """
SELECT ifnull(sum(bytes), 0), ifnull(sum(bytes) FILTER (WHERE synced = 0), 0),
    min(date) FILTER (WHERE synced = 0)
FROM files WHERE replaced = 0 AND local = 1
"""
SELECT_LAST = """
SELECT max(last), max(last_ms) FROM (
    SELECT last, last_ms FROM files WHERE exchange = ?1 AND kind = ?2 AND symbol = ?3
    UNION ALL
    SELECT last, to_ms FROM gaps
    WHERE exchange = ?1 AND kind = ?2 AND symbol = ?3 AND last IS NOT NULL
)
"""


@dataclass(frozen=True)
class Entry:
    """A file that counts.

    Attributes:
        path: below `ready`.
        stream: whose rows it has.
        date: their day (UTC).
        rows: how many.
        first_ms: earliest time (Unix time in ms).
        last_ms: latest time.
        first: lowest number of a row.
        last: highest number.
        bytes: the file's size.
        sha256: of its content.
    """

    path: str
    stream: Stream
    date: str
    rows: int
    first_ms: int
    last_ms: int
    first: int
    last: int
    bytes: int
    sha256: str

    def values(self) -> tuple[object, ...]:
        """The columns of `FILE_COLUMNS`."""
        stream = self.stream
        return (
            *(self.path, stream.exchange, str(stream.kind), stream.symbol, self.date, self.rows),
            *(self.first_ms, self.last_ms, self.first, self.last, self.bytes, self.sha256),
        )


def _entry(row: sqlite3.Row) -> Entry:
    stream = Stream(row["exchange"], Kind(row["kind"]), row["symbol"])
    names = ("date", "rows", "first_ms", "last_ms", "first", "last", "bytes", "sha256")
    return Entry(row["path"], stream, *(row[name] for name in names))


class Catalog:
    """The catalogue of one data directory; any thread may use it.

    Args:
        directory: the data directory.
        read_only: whether nothing may change, and nothing is created.

    Raises:
        UserError: it cannot be opened.
    """

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        self.directory = directory
        self._lock = RLock()
        path = directory / CATALOG
        try:
            mode = "ro" if read_only else "rwc"
            uri = f"file:{path.as_posix().replace('%', '%25').replace('?', '%3f')}?mode={mode}"
            self._database = sqlite3.connect(
                uri, uri=True, isolation_level=None, check_same_thread=False, timeout=WAIT_S
            )
            self._database.row_factory = sqlite3.Row
            if not read_only:
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = FULL")
                self._database.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise UserError(f"{path}: cannot be opened: {error}", ExitCode.STATE) from error

    def close(self) -> None:
        """Close it."""
        self._database.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    # What is recorded.

    def add_gaps(self, gaps: Iterable[Gap]) -> None:
        """Write gaps down; one that is there already is not doubled."""
        rows = [
            (
                *(gap.stream.exchange, str(gap.stream.kind), gap.stream.symbol),
                *(gap.from_ms, gap.to_ms, gap.first, gap.last, gap.reason),
            )
            for gap in gaps
        ]
        if not rows:
            return
        days = {(date_of(day),) for row in rows for day in range(row[3], row[4] + 1, DAY_MS)}
        days |= {(date_of(row[4]),) for row in rows}
        with self._change() as database:
            database.executemany(INSERT_GAP, rows)
            database.executemany("INSERT OR IGNORE INTO changed_days VALUES (?)", days)

    def is_converted(self, journal: str) -> bool:
        """Whether the files of a journal count already."""
        return bool(self._rows("SELECT 1 FROM converted WHERE journal = ?", journal))

    def add_files(self, entries: list[Entry], journal: str) -> None:
        """Have the files of a journal count, all at once."""
        with self._change() as database:
            _insert(database, entries)
            database.execute("INSERT OR REPLACE INTO converted VALUES (?)", (journal,))

    def forget_journal(self, journal: str) -> None:
        """The journal is gone; its files stay."""
        with self._change() as database:
            database.execute("DELETE FROM converted WHERE journal = ?", (journal,))

    def knows(self, path: str) -> bool:
        """Whether a file of this name is, or was, in the catalogue."""
        return bool(self._rows("SELECT 1 FROM files WHERE path = ?", path))

    def replace(self, old: list[Entry], new: Entry | None) -> None:
        """Have one file count instead of several; None for nothing instead of them."""
        with self._change() as database:
            _insert(database, [] if new is None else [new])
            changed = {(entry.date,) for entry in old}
            database.executemany("INSERT OR IGNORE INTO changed_days VALUES (?)", changed)
            database.executemany(
                "UPDATE files SET replaced = 1 WHERE path = ?", [(entry.path,) for entry in old]
            )

    def remove(self, path: str) -> None:
        """Forget a file that was replaced and is gone."""
        with self._change() as database:
            database.execute("DELETE FROM files WHERE path = ? AND replaced = 1", (path,))

    def replaced(self) -> list[Entry]:
        """Files that count no more and may still be there."""
        return self._entries(replaced=1)

    def files(self, stream: Stream | None = None, date: str | None = None) -> list[Entry]:
        """Files that count, in order of their rows."""
        return self._entries(stream, date)

    def totals(self) -> tuple[int, int, int]:
        """Files that count, their rows, and their bytes."""
        [row] = self._rows(
            "SELECT count(*), ifnull(sum(rows), 0), ifnull(sum(bytes), 0) FROM files"
            " WHERE replaced = 0"
        )
        return row[0], row[1], row[2]

    def gaps(self, stream: Stream | None = None) -> list[Gap]:
        """Gaps, in order of time."""
        rows = self._rows(SELECT_GAPS, *_key(stream))
        return [
            Gap(Stream(row["exchange"], Kind(row["kind"]), row["symbol"]), *tuple(row)[3:])
            for row in rows
        ]

    def last(self, stream: Stream) -> tuple[int | None, int]:
        """Number and time of the last row, recorded or known to be missing; None and 0 at first."""
        [(number, time_ms)] = self._rows(SELECT_LAST, *_key(stream))
        return number, time_ms or 0

    # Copies elsewhere.

    def unsynced(self) -> list[Entry]:
        """Files that count and have not been copied, the oldest first."""
        return self._entries(synced=0, local=1)

    def synced(self) -> list[Entry]:
        """Files that count, are here, and have been read back elsewhere, the oldest first."""
        return self._entries(synced=1, local=1)

    def here(self) -> tuple[int, int, str | None]:
        """Bytes of the files that are here, and of those that are nowhere else, since which day."""
        [row] = self._rows(SELECT_HERE)
        return row[0], row[1], row[2]

    def mark_synced(self, path: str) -> None:
        """A file's copy has been read back and is equal."""
        with self._change() as database:
            database.execute("UPDATE files SET synced = 1 WHERE path = ?", (path,))

    def mark_away(self, path: str) -> None:
        """A file is only elsewhere from now on."""
        with self._change() as database:
            database.execute("UPDATE files SET local = 0 WHERE path = ? AND synced = 1", (path,))

    def away(self) -> list[Entry]:
        """Files that count and are only elsewhere."""
        return self._entries(local=0)

    def is_local(self, path: str) -> bool:
        """Whether a file is here."""
        return bool(self._rows("SELECT 1 FROM files WHERE path = ? AND local = 1", path))

    # Manifests.

    def write_manifests(self) -> list[str]:
        """Write what has changed into the days' manifests; returns those days."""
        days = [row["date"] for row in self._rows("SELECT date FROM changed_days ORDER BY date")]
        for day in days:
            directory = self.directory / READY / MANIFEST
            make_directory(directory)
            # In one transaction: what another process adds meanwhile would not be in it.
            with self._change() as database:
                write_durable(directory / f"{day}.json", self.manifest(day))
                database.execute("DELETE FROM changed_days WHERE date = ?", (day,))
        return days

    def manifest(self, day: str) -> bytes:
        """A day's files and gaps as JSON."""
        files = [
            dict(zip(FILE_COLUMNS.split(", "), entry.values(), strict=True))
            for entry in self.files(date=day)
        ]
        gaps = [
            {
                "exchange": gap.stream.exchange,
                "kind": gap.stream.kind,
                "symbol": gap.stream.symbol,
                "from_ms": gap.from_ms,
                "to_ms": gap.to_ms,
                "first": gap.first,
                "last": gap.last,
                "reason": gap.reason,
            }
            for gap in self.gaps()
            if date_of(gap.from_ms) <= day <= date_of(gap.to_ms)
        ]
        document = {"date": day, "files": files, "gaps": gaps}
        return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"

    def _entries(
        self,
        stream: Stream | None = None,
        date: str | None = None,
        *,
        replaced: int = 0,
        synced: int | None = None,
        local: int | None = None,
    ) -> list[Entry]:
        values = (*_key(stream), date, replaced, synced, local)
        return [_entry(row) for row in self._rows(SELECT_FILES, *values)]


def _key(stream: Stream | None) -> tuple[str | None, str | None, str | None]:
    """A stream as the queries name it; nothing but NULL for any."""
    if stream is None:
        return None, None, None
    return stream.exchange, str(stream.kind), stream.symbol


def _insert(database: sqlite3.Connection, entries: list[Entry]) -> None:
    database.executemany(
        INSERT_FILE,
        [entry.values() for entry in entries],
    )
    days = {(entry.date,) for entry in entries}
    database.executemany("INSERT OR IGNORE INTO changed_days VALUES (?)", days)
