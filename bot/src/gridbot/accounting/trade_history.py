"""Everything that was ever traded on a symbol, from the archive and the database. Streamed."""

import heapq
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from gridbase.errors import ExitCode, UserError

from gridbot.accounting.archive import DIRECTORY
from gridbot.accounting.archive_files import csv_lines, read, row_of_line
from gridbot.core.orders import Fill
from gridbot.store import FileRecord, Store, TradeRow, archived

# Rows that are in memory at once while they are sorted, and sorted files that are open at once.
CHUNK_ROWS = 5000
FAN_IN = 64


def rows(store: Store, symbol: str) -> Generator[TradeRow]:
    """Every order with its trades, in no order.

    The database is read as of one moment; of the archive, what counted at that moment. Until the
    last row of the database is taken, nothing else can be asked of `store`.

    Raises:
        StoreError: database or archive cannot be read, or a file is not what was written.
    """
    with store.transaction("DEFERRED") as connection:
        files = archived.records(connection, symbol)
        yield from archived.symbol_rows(connection, symbol)
    yield from archive_rows(store, files)


def files_of(store: Store, symbol: str) -> list[FileRecord]:
    """The files of a symbol's archive, as far as they count now."""
    with store.transaction("DEFERRED") as connection:
        return archived.records(connection, symbol)


def archive_rows(store: Store, files: Iterable[FileRecord]) -> Iterator[TradeRow]:
    """The rows of some files of the archive.

    Raises:
        StoreError: a file cannot be read, or is not what was written.
    """
    for record in files:
        yield from read(store.directory / DIRECTORY, record)


def trades(store: Store, symbol: str) -> Iterator[tuple[TradeRow, Fill]]:
    """Every trade in the order of time, from any grid of a symbol.

    Sorted outside of memory: a long history costs temporary files (in TMPDIR), not memory.
    """
    with closing(rows(store, symbol)) as every:
        traded = (row for row in every if row.fill is not None)
        for row in sort_rows(traded, _by_time):
            if row.fill is not None:
                yield row, row.fill


def _by_time(row: TradeRow) -> tuple[int, str]:
    return (0, "") if row.fill is None else row.fill.moment


def sort_rows(
    unsorted: Iterable[TradeRow],
    key: Callable[[TradeRow], tuple[int, str]],
    *,
    chunk_rows: int = CHUNK_ROWS,
    fan_in: int = FAN_IN,
) -> Iterator[TradeRow]:
    """Rows in the order of `key`: sorted in parts, which are merged `fan_in` at a time.

    Raises:
        UserError: the parts cannot be written.
    """
    source = iter(unsorted)
    with _temporary_directory() as name:
        directory, parts, number = Path(name), [], 0
        while chunk := list(islice(source, chunk_rows)):
            parts.append(_spill(directory / str(number), sorted(chunk, key=key)))
            number += 1
        while len(parts) > fan_in:
            first, parts = parts[:fan_in], parts[fan_in:]
            parts.append(_spill(directory / str(number), _merge(first, key)))
            number += 1
            for path in first:
                path.unlink()
        yield from _merge(parts, key)


def _temporary_directory() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="gridbot-")
    except OSError as error:
        raise _no_room(error) from error


def _spill(path: Path, ordered: Iterable[TradeRow]) -> Path:
    try:
        with path.open("w") as file:
            file.writelines(csv_lines(ordered))
    except OSError as error:
        raise _no_room(error) from error
    return path


def _no_room(error: OSError) -> UserError:
    return UserError(
        f"temporary files in {tempfile.gettempdir()}: {error.strerror}; set TMPDIR to a directory "
        "with room",
        ExitCode.STATE,
    )


def _merge(parts: list[Path], key: Callable[[TradeRow], tuple[int, str]]) -> Iterator[TradeRow]:
    return heapq.merge(*map(_lines, parts), key=key)


def _lines(path: Path) -> Iterator[TradeRow]:
    with path.open() as file:
        for line in file:
            yield row_of_line(line)
