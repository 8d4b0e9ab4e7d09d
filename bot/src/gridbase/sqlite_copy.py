"""Copies of SQLite files for backups: whole, checked, readable by their owner alone."""

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from gridbase.atomic_file import sync

PARTIAL = ".partial"


class DamagedError(Exception):
    """A copy that was written is not sound; the message says why."""


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as of one moment; its writer may go on meanwhile.

    The copy is one file without companions, and takes its name once it is whole, checked and on
    the disk. What an earlier copy under that name was stays until then.

    Args:
        source: the file; it must exist.
        target: the copy's name; its directory must exist.

    Raises:
        DamagedError: the copy has an error: the source has it as well.
        OSError: the copy cannot be written.
        sqlite3.Error: the source cannot be read, or the copy not be written.
    """
    partial = target.with_name(target.name + PARTIAL)
    partial.unlink(missing_ok=True)  # of a power cut
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        address = f"{source.absolute().as_uri()}?mode=ro"
        with (
            closing(sqlite3.connect(address, uri=True, timeout=10)) as reader,
            closing(sqlite3.connect(partial, isolation_level=None)) as writer,
        ):
            reader.backup(writer)
            _check(writer)
        sync(partial)
        partial.replace(target)
        sync(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def _check(connection: sqlite3.Connection) -> None:
    """Check every page and every reference of a copy, and make it one file."""
    try:
        # Else its readers write beside it.
        connection.execute("PRAGMA journal_mode = DELETE")
        answer = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        broken = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.DatabaseError as error:
        raise DamagedError(str(error)) from error
    if answer != "ok":
        raise DamagedError(" ".join(answer.split()))
    if broken is not None:
        raise DamagedError(f"a row of {broken[0]} names one of {broken[2]} that is gone")


if __name__ == "__main__":  # SOURCE TARGET
    copy_database(Path(sys.argv[1]), Path(sys.argv[2]))
