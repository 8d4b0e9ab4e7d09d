"""Parquet files of the recording: written as a whole, verified, never modified."""

import hashlib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recorder.core.rows import COLUMNS, NUMBER, SMALL, Kind, Stream
from recorder.core.steps import Sizes
from recorder.files.catalog import Catalog, Entry
from recorder.files.durable import make_directory, publish, temporary_of
from recorder.files.layout import READY, directory_of, file_name

GROUP_ROWS = 50_000  # a group of 100 rows takes three times the bytes, and the memory of its index
STEP_NAMES = (b"price_step", b"quantity_step", b"quote_step")


def file_schema(stream: Stream, sizes: Sizes) -> pa.Schema:
    """The columns of a file, and its steps as metadata."""
    fields = [(name, pa.int8() if name in SMALL else pa.int64()) for name in COLUMNS[stream.kind]]
    steps = (sizes.price, sizes.quantity, sizes.quote)
    metadata = dict(zip(STEP_NAMES, (str(step).encode() for step in steps), strict=True))
    named = {b"exchange": stream.exchange, b"kind": str(stream.kind), b"symbol": stream.symbol}
    metadata |= {name: value.encode() for name, value in named.items()}
    return pa.schema(fields, metadata=metadata)


def sizes_of(schema: pa.Schema) -> Sizes:
    """The steps that a file's metadata tell."""
    return Sizes(*(Decimal(schema.metadata[name].decode()) for name in STEP_NAMES))


class ParquetFile:
    """A file that is written in groups of rows, as they come.

    Args:
        path: its name once it is whole.
        schema: its columns.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        make_directory(path.parent)
        self._writer = pq.ParquetWriter(
            temporary_of(path),
            schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=False,
            column_encoding=dict.fromkeys(schema.names, "DELTA_BINARY_PACKED"),
            write_statistics=True,
        )

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        self._waiting.append(batch)
        self._rows += batch.num_rows
        if self._rows >= GROUP_ROWS:
            self._write()

    def _write(self) -> None:
        if self._rows:
            table = pa.Table.from_batches(self._waiting, schema=self._schema).combine_chunks()
            self._writer.write_table(table, row_group_size=max(GROUP_ROWS, self._rows))
        self._waiting, self._rows = [], 0

    def publish(self, path: Path | None = None) -> None:
        """Have it on the disk under its name.

        Args:
            path: another name in the same directory.
        """
        self._write()
        self._writer.close()
        if path is not None:
            temporary_of(self.path).rename(temporary_of(path))
            self.path = path
        publish(self.path)

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._writer.close()
        temporary_of(self.path).unlink(missing_ok=True)


def groups(path: Path) -> Iterator[pa.RecordBatch]:
    """A file's rows, a group at a time."""
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield from file.read_row_group(number).to_batches()


def schema_of(path: Path) -> pa.Schema:
    """A file's columns, with its metadata."""
    return pq.read_schema(path)


class Extent:
    """How far rows reach, as they go by."""

    def __init__(self, kind: Kind) -> None:
        self._number = NUMBER[kind]
        self.rows = 0
        self.first_ms = self.first = 2**63 - 1
        self.last_ms = self.last = -(2**63)

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows into account."""
        times, numbers = (pc.min_max(batch.column(place)) for place in (0, self._number))
        self.rows += batch.num_rows
        self.first_ms = min(self.first_ms, times["min"].as_py())
        self.last_ms = max(self.last_ms, times["max"].as_py())
        self.first = min(self.first, numbers["min"].as_py())
        self.last = max(self.last, numbers["max"].as_py())


def free_path(catalog: Catalog, stream: Stream, date: str, hour: str, extent: Extent) -> Path:
    """A file's name, which tells its rows; one that counts already is never overwritten."""
    directory = directory_of(stream, date)
    first, last = extent.first, extent.last
    copy = 0
    while catalog.knows((directory / file_name(hour, first, last, copy)).as_posix()):
        copy += 1
    return catalog.directory / READY / directory / file_name(hour, first, last, copy)


def entry_of(ready: Path, path: Path, stream: Stream, date: str, extent: Extent) -> Entry:
    """What the catalogue says of a file that is whole."""
    return Entry(
        path.relative_to(ready).as_posix(),
        stream,
        date,
        extent.rows,
        extent.first_ms,
        extent.last_ms,
        extent.first,
        extent.last,
        path.stat().st_size,
        checksum(path),
    )


def checksum(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(batches: Iterable[pa.RecordBatch]) -> str:
    """SHA-256 of rows, however they are divided into batches."""
    digests: dict[str, hashlib._Hash] = {}
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            values = column.cast(pa.int64()).to_numpy()
            digests.setdefault(name, hashlib.sha256()).update(values.tobytes())
    return " ".join(f"{name}:{digest.hexdigest()}" for name, digest in digests.items())
