"""Takes over the archive of an older version: CSV files that grew, Parquet files of one batch.

Nothing of a file counts beyond the length that the database has recorded: what follows was written
by a process that was cut off.
"""

import csv
import logging
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from gridbot.store.database import StoreError
from gridbot.store.settled import COLUMNS, INSERT
from gridbot.store.store import Store

log = logging.getLogger(__name__)

DIRECTORY = "archive"
# May be empty; elsewhere an empty cell says that there is none.
_TEXTS = {"pair", "fee_coin"}


def files(connection: sqlite3.Connection, symbol: str) -> list[tuple[str, int, int]]:
    """A symbol's files that are not taken over: name, length, checksum."""
    return connection.execute(
        "SELECT name, length, checksum FROM archive_files WHERE symbol = ? ORDER BY name", (symbol,)
    ).fetchall()


def take_over(store: Store, symbol: str) -> None:
    """Settle the rows of a symbol's files, all at once. The files stay as they are.

    Raises:
        StoreError: a file cannot be read, or is not what was written; the grid trades on.
    """
    with store.transaction() as connection:
        for name, length, checksum in files(connection, symbol):
            rows = _rows(store.directory / DIRECTORY / name, length, checksum)
            connection.executemany(f"{INSERT} VALUES ({','.join('?' * len(COLUMNS))})", rows)
        connection.execute("DELETE FROM archive_files WHERE symbol = ?", (symbol,))


def take_over_each(store: Store) -> set[str]:
    """The same for every symbol, traded or not; those of which files are left, as the log says."""
    left = set()
    for symbol in store.symbols():
        try:
            take_over(store, symbol)
        except StoreError as error:
            log.error("%s: %s", symbol, error)  # noqa: TRY400  one line for people
            left.add(symbol)
    return left


def _rows(path: Path, length: int, checksum: int) -> Iterator[list[Any]]:
    try:
        found, left = 0, length
        for line in _lines(path, length):
            found, left = zlib.crc32(line, found), left - len(line)
        if left:
            raise _error(path, f"has {length - left} bytes, and {length} were written")
        if found != checksum:
            raise _error(path, "is damaged (its checksum differs)")
        lines = csv.reader(map(bytes.decode, _lines(path, length)))
        for row in _parquet(path) if path.suffix == ".parquet" else islice(lines, 1, None):
            yield [
                None if cell == "" and name not in _TEXTS else cell
                for name, cell in zip(COLUMNS, row, strict=True)
            ]
    except OSError as error:
        raise _error(path, f"cannot be read: {error.strerror}") from error


def _error(path: Path, what: str) -> StoreError:
    # Not lasting: the grid trades on, and its files are taken over once they are back.
    return StoreError(f"archive {path} {what}; restore it from a backup", lasting=False)


def _lines(path: Path, length: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while length > 0 and (line := file.readline(length)):
            length -= len(line)
            yield line


def _parquet(path: Path) -> Iterator[Iterable[Any]]:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise StoreError(
            f"archive {path} takes pyarrow to be read, which is not installed here; start the bot "
            "once where it is",
            lasting=False,
        ) from error
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1000):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
