"""The books as a backup: copied beside a running bot, and put back where none runs."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from gridbase.atomic_file import sync
from gridbase.sqlite_copy import DamagedError, copy_database

from gridbot.store.database import FILE_NAME, StoreError, locked
from gridbot.store.schema import APPLICATION_ID, SCHEMA_VERSION, migrate, oldest_reader

REPLACED = ".replaced-"
NEW = ".restored"
MARK = "restored-"
COMPANIONS = ("", "-wal", "-shm")
# What fired after the backup stays fired, and what was paused stays paused. Kill switches have
# been in the books since version 2, pauses since version 6.
_CARRIED = (
    """
INSERT OR IGNORE INTO halts (symbol, reason_code, text, price, at_ms, liquidate)
SELECT symbol, reason_code, text, price, at_ms, liquidate FROM old.halts WHERE cleared_ms IS NULL
""",
    """
INSERT OR IGNORE INTO pauses (symbol, reason, at_ms, cancel)
SELECT symbol, reason, at_ms, cancel FROM old.pauses WHERE cleared_ms IS NULL
""",
)


def back_up(directory: Path, file: Path) -> None:
    """Write a copy of the books to a file, as of one moment; the bot may run.

    Args:
        directory: the state directory.
        file: the copy; it appears whole and checked, with mode 0600, or not at all.

    Raises:
        StoreError: there are no books, they are damaged, or the copy cannot be written.
    """
    source = directory / FILE_NAME
    if not source.exists():
        raise StoreError(f"state.directory = {directory} holds no grid yet", lasting=True)
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise StoreError(f"{file} names no file in a directory that is there", lasting=True)
    if file.absolute().resolve() == source.absolute().resolve():
        raise StoreError(f"{file} is the books themselves; name another file", lasting=True)
    with _told(source):
        copy_database(source, file)


def restore(directory: Path, file: Path) -> Path | None:
    """Put a copy in place of the books. The next start compares it with the exchange.

    Args:
        directory: the state directory; no bot may run on it.
        file: what `back_up` wrote.

    Returns:
        Where the books are that were there; None where none were.

    Raises:
        StoreError: a bot runs, the file is no copy of books or of a newer version, or the disk
            fails. The books are as they were then.
    """
    _check_copy(file)
    with locked(directory):
        books = directory / FILE_NAME
        new = directory / (FILE_NAME + NEW)
        replaced = None
        with _told(file):
            copy_database(file, new)
        if books.exists():
            with _told(books):
                replaced = _keep(books)
        with (
            _told(new),
            closing(sqlite3.connect(_uri(new, "rw"), uri=True, isolation_level=None)) as connection,
        ):
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version < SCHEMA_VERSION:
                migrate(connection, version)  # what is carried over has its tables then
            if replaced is not None:
                _carry(connection, books)
            connection.execute("PRAGMA journal_mode = WAL")
            runs = connection.execute("SELECT id FROM generations WHERE closed_ms IS NULL")
            open_runs = [row[0] for row in runs]
        with _told(books):
            for run in open_runs:
                restored(directory, run).touch()
            # A log beside the new file would be taken for its own.
            for companion in COMPANIONS[1:]:
                (directory / (FILE_NAME + companion)).unlink(missing_ok=True)
            sync(new)
            new.replace(books)
            sync(directory)
    return replaced


def restored(directory: Path, run: int) -> Path:
    """Return the mark of a grid whose books were put back and are not yet compared.

    Args:
        directory: the state directory.
        run: the number of the grid's run.
    """
    return directory / f"{MARK}{run}"


def _check_copy(file: Path) -> None:
    """Refuse a file that is no copy of books which this version reads."""
    if not file.is_file():
        raise StoreError(f"{file} is not there, or is no file", lasting=True)
    with (
        _told(file),
        closing(sqlite3.connect(_uri(file, "ro"), uri=True)) as connection,
    ):
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        ours = application == APPLICATION_ID
        oldest = oldest_reader(connection, version) if ours else 0
    if not ours:
        raise StoreError(f"{file} is no copy of a bot's books", lasting=True)
    if oldest > SCHEMA_VERSION:
        raise StoreError(
            f"{file} was written by a newer gridbot (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); use that one",
            lasting=True,
        )


def _keep(books: Path) -> Path:
    """Copy the books that are there, damaged ones as they are."""
    kept = books.with_name(books.name + REPLACED + time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
    # Before SQLite makes its own beside them.
    there = [each for each in COMPANIONS if books.with_name(books.name + each).exists()]
    try:
        copy_database(books, kept)
        # Folds the log into the file: the file alone is whole from here on.
        with closing(sqlite3.connect(books, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    except (sqlite3.Error, DamagedError):
        for companion in there:
            copy = kept.with_name(kept.name + companion)
            shutil.copy2(books.with_name(books.name + companion), copy)
            copy.chmod(0o600)
            sync(copy)
    return kept


def _carry(connection: sqlite3.Connection, books: Path) -> None:
    for statement in _CARRIED:
        # Of a version without them, or damaged: nobody can say.
        with suppress(sqlite3.DatabaseError):
            # Not what was kept: SQLite throws the log of damaged books away, or leaves files there.
            connection.execute("ATTACH ? AS old", (_uri(books, "ro"),))
            connection.execute(statement)
        with suppress(sqlite3.DatabaseError):
            connection.execute("DETACH old")


def _uri(path: Path, mode: str) -> str:
    return f"{path.absolute().as_uri()}?mode={mode}"


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what fails into one line that names a file."""
    try:
        yield
    except DamagedError as error:
        raise StoreError(f"{path} is damaged ({error})", lasting=True) from error
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path}: {error}", lasting=True) from error
    except OSError as error:
        raise StoreError(f"{error.filename or path}: {error.strerror}", lasting=False) from error
