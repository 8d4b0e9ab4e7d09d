"""The file itself: opened, locked, checked, and its errors as one clear line."""

import fcntl
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from gridbase.errors import ExitCode, UserError
from gridbase.metrics import Durations

from gridbot.store.schema import SCHEMA_VERSION, create, migrate, oldest_reader

FILE_NAME = "gridbot.sqlite3"
FENCED = "fenced"  # the mark of books that were handed over; its text says to whom

# The log is folded into the file after so many pages, and then cut to that size again: a long
# reader (an audit, a backup) cannot leave a large one behind.
WAL_PAGES = 1000
WAL_BYTES = 1_048_576
_COMMIT_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)  # seconds

# Of a reader, which writes nothing but what it sorts.
_NO_ROOM = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_GETTEMPPATH")
# The disk may have room again, or be writable again; the rest needs a person.
_LASTING = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CONSTRAINT", "SQLITE_ERROR", "SQLITE_SCHEMA")


class StoreError(UserError):
    """The state cannot be read or written.

    Args:
        message: one clear line.
        lasting: trying again does not help.
    """

    def __init__(self, message: str, *, lasting: bool) -> None:
        super().__init__(message, ExitCode.STATE)
        self.lasting = lasting


class Database:
    """The state directory's database. One writer at a time; readers do not block it.

    Args:
        directory: the state directory; it must exist.
        read_only: open for reading beside a running bot.
        beside: open for a small change beside a running bot, such as to clear a kill switch.

    Attributes:
        commits: how long transactions took that write.
    """

    def __init__(self, directory: Path, *, read_only: bool = False, beside: bool = False) -> None:
        self.directory = directory
        self.path = directory / FILE_NAME
        self.commits = Durations(_COMMIT_BOUNDS)
        self._lock: TextIO | None = None
        self._read_only = read_only
        if not directory.is_dir():
            raise StoreError(
                f"state.directory = {directory} is not a directory; create it", lasting=True
            )
        if (read_only or beside) and not self.path.exists():
            raise StoreError(f"state.directory = {directory} holds no grid yet", lasting=True)
        if not (read_only or beside):
            self._lock = _take_lock(directory)
        try:
            self._refuse_fenced()
            self._connection = self._connect("ro" if read_only else "rw" if beside else "rwc")
        except BaseException:
            self._release_lock()
            raise

    def _refuse_fenced(self) -> None:
        """Refuse books that were handed over to another host's bot: one owner at a time."""
        fence = self.directory / FENCED
        if self._lock is not None and fence.exists():
            text = fence.read_text(encoding="utf-8", errors="replace").strip()
            raise StoreError(
                f"{fence} says that these books are another bot's now ({text}); no bot trades with "
                "them here: docs/backups.md",
                lasting=True,
            )

    def _connect(self, mode: str) -> sqlite3.Connection:
        with self.reported():
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}",
                uri=True,
                isolation_level=None,
                timeout=10,
            )
        try:
            with self.reported():
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA cache_size = -1024")
                connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
                connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
                self._check(connection, owned=mode == "rwc")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection, *, owned: bool) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION and oldest_reader(connection, version) > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} was written by a newer gridbot (schema {version}, this one knows "
                f"{SCHEMA_VERSION}); use that one",
                lasting=True,
            )
        if not owned:
            if version < SCHEMA_VERSION:
                raise StoreError(
                    f"{self.path} was written by an older gridbot (schema {version}, this one "
                    f"reads {SCHEMA_VERSION}); start the bot once, which brings it up to date",
                    lasting=True,
                )
            return  # the writer has checked the file when it started
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'settled'"
        )
        for (table,) in tables.fetchall():  # what the start does not read, it does not check
            result = connection.execute(f"PRAGMA integrity_check({table})").fetchone()[0]
            if result != "ok":
                raise self._corrupt(result)
        if version == 0:
            create(connection)
        elif version < SCHEMA_VERSION:
            migrate(connection, version)

    def _corrupt(self, detail: str) -> StoreError:
        reason = " ".join(detail.split())  # SQLite's answer may have several lines
        return StoreError(
            f"{self.path} is damaged ({reason}); restore it from a backup, or move it away and "
            "cancel the bot's orders on the exchange before starting a new grid",
            lasting=True,
        )

    def sizes(self) -> dict[str, int]:
        """Bytes of the file and of its log. Any thread may call it."""
        files = {"database": self.path, "log": self.path.with_name(f"{FILE_NAME}-wal")}
        return {name: file.stat().st_size for name, file in files.items() if file.exists()}

    def close(self) -> None:
        """Close the file and release the lock."""
        self._connection.close()
        self._release_lock()

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Turn SQLite's errors into one clear line."""
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "") or ""
            if self._read_only and name in _NO_ROOM:
                raise StoreError(
                    f"temporary files: {error}; set TMPDIR to a directory with room", lasting=False
                ) from error
            if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                raise self._corrupt(str(error)) from error
            raise StoreError(
                f"state.directory = {self.path.parent}: {error}",
                lasting=name.startswith(_LASTING),
            ) from error

    @contextmanager
    def transaction(self, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """All or nothing; on the disk when it returns.

        Args:
            mode: ``IMMEDIATE`` to write, ``DEFERRED`` to read as of one moment: that of the
                transaction around it, where there is one.
        """
        if mode == "DEFERRED" and self._connection.in_transaction:
            yield self._connection
            return
        since = time.perf_counter()
        with self.reported():
            self._connection.execute(f"BEGIN {mode}")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
                if mode == "IMMEDIATE":
                    self.commits.observe(time.perf_counter() - since)
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the state directory as its only writer, without opening the books.

    Raises:
        StoreError: it is no directory, or a bot runs on it.
    """
    if not directory.is_dir():
        raise StoreError(
            f"state.directory = {directory} is not a directory; create it", lasting=True
        )
    with _take_lock(directory):
        yield


def _take_lock(directory: Path) -> TextIO:
    path = directory / "lock"
    try:
        file = path.open("a+")
    except OSError as error:
        raise StoreError(
            f"state.directory = {directory}: {error.strerror}", lasting=False
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise StoreError(
            f"state.directory = {directory} is in use by another running bot; stop it, or give "
            "this one a directory of its own",
            lasting=True,
        ) from error
    return file
