"""Journal to Parquet: one file for each stream and hour that the journal has rows of."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recorder.core.rows import Stream
from recorder.core.steps import Sizes
from recorder.files.catalog import Catalog, Entry
from recorder.files.journal import JournalReader
from recorder.files.layout import HOUR_MS, READY, directory_of, hour_of
from recorder.files.parquet import Extent, ParquetFile, entry_of, file_schema, free_path


def convert(catalog: Catalog, journal: Path) -> list[Entry]:
    """Write a journal's rows to Parquet files, have these count, and remove the journal.

    It can be repeated after it was stopped anywhere: files count all together, or not yet.

    Args:
        catalog: of the data directory.
        journal: the file; its writer has closed it, or was killed.

    Returns:
        The files.
    """
    entries: list[Entry] = []
    if not catalog.is_converted(journal.name):
        reader = JournalReader(journal)
        for number, (stream, sizes) in enumerate(reader.streams):
            entries += _convert_stream(catalog, reader, number, stream, sizes)
        catalog.add_files(entries, journal.name)
        catalog.write_manifests()
    journal.unlink()
    catalog.forget_journal(journal.name)
    return entries


def _convert_stream(
    catalog: Catalog, reader: JournalReader, number: int, stream: Stream, sizes: Sizes
) -> list[Entry]:
    """The files of one stream. The journal is read once for each: its memory is one group."""
    ready = catalog.directory / READY
    schema = file_schema(stream, sizes)
    open_files: dict[int, tuple[ParquetFile, Extent]] = {}
    entries = []
    try:
        for hour, batch in _by_hour(reader, number, schema):
            if hour not in open_files:
                date, _ = hour_of(hour * HOUR_MS)
                # Its name tells its last row, which is not known yet.
                path = ready / directory_of(stream, date) / f".{reader.path.name}-{hour}"
                open_files[hour] = ParquetFile(path, schema), Extent(stream.kind)
            file, extent = open_files[hour]
            file.add(batch)
            extent.add(batch)
        while open_files:
            hour, (file, extent) = open_files.popitem()
            date, of_day = hour_of(hour * HOUR_MS)
            path = free_path(catalog, stream, date, of_day, extent)
            file.publish(path)
            entries.append(entry_of(ready, path, stream, date, extent))
    finally:
        for file, _ in open_files.values():
            file.abandon()
    return entries


def _by_hour(
    reader: JournalReader, number: int, schema: pa.Schema
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of one stream, divided by the hour that they belong to."""
    for batch in reader.batches():
        mine = batch.filter(pc.equal(batch.column(0), number))
        if not mine.num_rows:
            continue
        hours = pc.divide(mine.column(1), HOUR_MS)
        for hour in pc.unique(hours).to_pylist():
            rows = mine.filter(pc.equal(hours, hour))
            columns = [
                column.cast(field.type)
                for column, field in zip(rows.columns[1:], schema, strict=True)
            ]
            yield hour, pa.record_batch(columns, schema=schema)
