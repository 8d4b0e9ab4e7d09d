"""Journal to Parquet: one file for each stream and hour that the journal has rows of."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recorder.files.catalog import Catalog, Entry
from recorder.files.journal import JournalReader
from recorder.files.layout import HOUR_MS, READY, directory_of, hour_of
from recorder.files.parquet import Extent, ParquetFile, entry_of, file_schema, free_path

AT_ONCE = 5  # streams: each pass reads the whole journal, each stream needs the memory of a group


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
        for first in range(0, len(reader.streams), AT_ONCE):
            entries += _convert_streams(catalog, reader, range(first, first + AT_ONCE))
        catalog.add_files(entries, journal.name)
        catalog.write_manifests()
    journal.unlink()
    catalog.forget_journal(journal.name)
    return entries


def _convert_streams(catalog: Catalog, reader: JournalReader, numbers: range) -> list[Entry]:
    """The files of some streams. The journal is read once for all: its memory is their groups."""
    ready = catalog.directory / READY
    streams = {number: reader.streams[number] for number in numbers if number < len(reader.streams)}
    schemas = {number: file_schema(*described) for number, described in streams.items()}
    open_files: dict[tuple[int, int], tuple[ParquetFile, Extent]] = {}
    entries = []
    try:
        for number, hour, batch in _by_hour(reader, schemas):
            stream, _ = streams[number]
            if (number, hour) not in open_files:
                date, _ = hour_of(hour * HOUR_MS)
                # Its name tells its last row, which is not known yet.
                path = ready / directory_of(stream, date) / f".{reader.path.name}-{hour}"
                file = ParquetFile(path, schemas[number])
                open_files[number, hour] = file, Extent(stream.kind)
            file, extent = open_files[number, hour]
            file.add(batch)
            extent.add(batch)
        while open_files:
            (number, hour), (file, extent) = open_files.popitem()
            stream, _ = streams[number]
            date, of_day = hour_of(hour * HOUR_MS)
            path = free_path(catalog, stream, date, of_day, extent)
            file.publish(path)
            entries.append(entry_of(ready, path, stream, date, extent))
    finally:
        for file, _ in open_files.values():
            file.abandon()
    return entries


def _by_hour(
    reader: JournalReader, schemas: dict[int, pa.Schema]
) -> Iterator[tuple[int, int, pa.RecordBatch]]:
    """The rows of some streams, divided by the hour that they belong to."""
    for batch in reader.batches():
        for number in pc.unique(batch.column(0)).to_pylist():
            if number not in schemas:
                continue
            mine = batch.filter(pc.equal(batch.column(0), number))
            hours = pc.divide(mine.column(1), HOUR_MS)
            for hour in pc.unique(hours).to_pylist():
                yield number, hour, _columns(mine.filter(pc.equal(hours, hour)), schemas[number])


def _columns(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The columns of a file, of a journal's rows."""
    pairs = zip(rows.columns[1:], schema, strict=True)
    return pa.record_batch([column.cast(field.type) for column, field in pairs], schema=schema)
