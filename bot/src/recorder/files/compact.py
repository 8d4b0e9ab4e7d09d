"""One file a day: the files of a day that is over become one, verified before they go."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recorder.core.rows import Kind, Stream
from recorder.core.steps import Sizes
from recorder.files.catalog import Catalog, Entry
from recorder.files.layout import DAY, READY, date_of, directory_of
from recorder.files.parquet import (
    Extent,
    ParquetFile,
    content_digest,
    entry_of,
    file_schema,
    free_path,
    groups,
    schema_of,
    sizes_of,
)

PRICES = {"price", "bid", "ask", "open", "high", "low", "close"}
QUANTITIES = {"quantity", "bid_quantity", "ask_quantity", "volume", "taker_volume"}
LATE_MS = 30 * 60_000  # trades of a day come until so long after it
QUOTES = {"quote_volume", "taker_quote_volume"}


class UnequalError(Exception):
    """A day's file does not hold what its parts hold."""


def over_before(now_ms: int) -> str:
    """The day (such as 2026-01-31) before which days are over, their late trades included."""
    return date_of(now_ms - LATE_MS)


def compact(catalog: Catalog, before: str) -> int:
    """Make one file of each stream and day that has several.

    A file that has been copied elsewhere stays as it is, beside what came later: its copy would be
    one that no manifest names.

    Args:
        catalog: of the data directory.
        before: days before this one (such as 2026-01-31) are over.

    Returns:
        How many files were replaced.

    Raises:
        UnequalError: a new file is not equal to its parts, which stay.
    """
    with alone(catalog.directory):
        replaced = _compact(catalog, before)
    # What a day took for a moment would stay with the process: the allocator gives back only what
    # is at its end.
    pa.default_memory_pool().release_unused()
    return replaced


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Wait until nobody else takes files away: the recorder itself, and a command beside it."""
    with (directory / "compact.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compact(catalog: Catalog, before: str) -> int:
    parts: dict[tuple[Stream, str], list[Entry]] = {}
    for entry in catalog.unsynced():
        if entry.date < before:
            parts.setdefault((entry.stream, entry.date), []).append(entry)
    replaced = 0
    for (stream, date), entries in parts.items():
        if len(entries) > 1:
            replaced += len(entries) * _merge(catalog, stream, date, entries)
    return replaced


def _merge(catalog: Catalog, stream: Stream, date: str, entries: list[Entry]) -> bool:
    ready = catalog.directory / READY
    paths = [ready / entry.path for entry in entries]
    all_sizes = [sizes_of(schema_of(path)) for path in paths]
    if stream.kind == Kind.DEPTH and len(set(all_sizes)) > 1:
        return False  # the checksums in it are of books at the steps of their own file
    finest = Sizes(
        min(sizes.price for sizes in all_sizes),
        min(sizes.quantity for sizes in all_sizes),
        min(sizes.quote for sizes in all_sizes),
    )
    schema = file_schema(stream, finest)
    temporary = ready / directory_of(stream, date) / f".{DAY}"
    file, extent = ParquetFile(temporary, schema), Extent(stream.kind)
    try:
        for batch in _rows(paths, schema, finest):
            file.add(batch)
            extent.add(batch)
    except BaseException:
        file.abandon()
        raise
    path = free_path(catalog, stream, date, DAY, extent)
    file.publish(path)
    same = content_digest(groups(path)) == content_digest(_rows(paths, schema, finest))
    if not same or extent.rows != sum(entry.rows for entry in entries):
        path.unlink()
        raise UnequalError(f"{path}: is not equal to its {len(entries)} parts, which stay")
    catalog.replace(entries, entry_of(ready, path, stream, date, extent))
    catalog.write_manifests()
    for entry in entries:
        (ready / entry.path).unlink()
        catalog.remove(entry.path)
    return True


def _rows(paths: list[Path], schema: pa.Schema, finest: Sizes) -> Iterator[pa.RecordBatch]:
    """The rows of files one after the other, at the same steps."""
    for path in paths:
        sizes = sizes_of(schema_of(path))
        factors = _factors(sizes, finest)
        for batch in groups(path):
            columns = [
                pc.multiply(column, factors[field.name]) if field.name in factors else column
                for column, field in zip(batch.columns, schema, strict=True)
            ]
            yield pa.record_batch(columns, schema=schema)


def _factors(sizes: Sizes, finest: Sizes) -> dict[str, int]:
    """By which whole number each column is to be multiplied, where it is not 1."""
    factors: dict[str, int] = {}
    for names, step, to in (
        (PRICES, sizes.price, finest.price),
        (QUANTITIES, sizes.quantity, finest.quantity),
        (QUOTES, sizes.quote, finest.quote),
    ):
        if step != to:
            factors |= dict.fromkeys(names, int(step / to))
    return factors
