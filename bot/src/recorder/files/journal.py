"""The journal: rows of the current hour as an Arrow stream, on the disk each second.

A Parquet file has its index at the end, so one whose writer was killed cannot be read. An Arrow
stream that ends anywhere gives back every batch that was written whole.
"""

import json
import os
from array import array
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from gridbase.atomic_file import sync

from recorder.core.rows import COLUMNS, Kind, Row, Stream
from recorder.core.steps import Sizes

SUFFIX = ".arrows"
STREAM_COLUMN = "stream"
STREAMS = b"streams"
KIND = b"kind"
BATCH_ROWS = 20_000  # who reads the journal needs the memory of a batch

Columns = dict[Stream, Sizes]


def schema_of(kind: Kind, streams: Columns) -> pa.Schema:
    """A journal's columns; which stream each number stands for is in its metadata."""
    described = [
        {
            "exchange": stream.exchange,
            "symbol": stream.symbol,
            "steps": [str(sizes.price), str(sizes.quantity), str(sizes.quote)],
        }
        for stream, sizes in streams.items()
    ]
    fields = [(name, pa.int64()) for name in (STREAM_COLUMN, *COLUMNS[kind])]
    metadata = {KIND: kind.encode(), STREAMS: json.dumps(described).encode()}
    return pa.schema(fields, metadata=metadata)


class Journal:
    """A journal that is written.

    Args:
        path: a new file.
        kind: of all its rows.
        streams: that it has rows of, with their steps.
    """

    def __init__(self, path: Path, kind: Kind, streams: Columns) -> None:
        self.path = path
        self.kind = kind
        self.rows = 0
        self._numbers = {stream: number for number, stream in enumerate(streams)}
        self._schema = schema_of(kind, streams)
        # Rows as numbers one after the other, and how many each stream has added: as tuples, a
        # burst would take six times the memory.
        self._pending = array("q")
        self._added: list[tuple[int, int]] = []
        self._file = path.open("xb", buffering=0)
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_stream(self._file, self._schema, options=options)
        os.fsync(self._file.fileno())
        sync(path.parent)

    @property
    def size(self) -> int:
        """Bytes of its rows in memory: what reading it back takes."""
        return self.rows * 8 * len(self._schema)

    def add(self, stream: Stream, rows: list[Row]) -> None:
        """Add rows; they are on the disk after the next `flush`."""
        self._pending.extend(chain.from_iterable(rows))
        self._added.append((self._numbers[stream], len(rows)))

    def flush(self) -> int:
        """Have all rows on the disk; returns how many were written."""
        if not self._pending:
            return 0
        values, self._pending = self._pending, array("q")
        added, self._added = self._added, []
        table = np.frombuffer(values, np.int64).reshape(-1, len(COLUMNS[self.kind]))
        numbers, counts = np.array(added, np.int64).T
        streams, ends = np.repeat(numbers, counts), np.cumsum(counts)
        after = 0
        while after < len(table):
            # What was added at once is in one batch: of a difference a kill leaves all, or nothing.
            first, least = after, min(after + BATCH_ROWS, len(table))
            after = int(ends[np.searchsorted(ends, least)])
            parts = (streams[first:after], *table[first:after].T)
            columns = [pa.array(np.ascontiguousarray(column)) for column in parts]
            self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
        os.fsync(self._file.fileno())
        self.rows += len(table)
        return len(table)

    def close(self) -> None:
        """Flush and close it."""
        self.flush()
        self._writer.close()
        os.fsync(self._file.fileno())
        self._file.close()


class JournalReader:
    """A journal that is read, up to where its writer was stopped.

    Args:
        path: the file.

    Attributes:
        kind: of its rows; None where not even the beginning is there.
        streams: what the numbers in its first column stand for, with their steps.
        rows: how many could be read, after `batches` has come to its end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kind: Kind | None = None
        self.streams: list[tuple[Stream, Sizes]] = []
        self.rows = 0
        try:
            with path.open("rb") as file, pa.ipc.open_stream(file) as reader:
                metadata = reader.schema.metadata
        except (pa.ArrowInvalid, OSError):
            return
        self.kind = kind = Kind(metadata[KIND].decode())
        for each in json.loads(metadata[STREAMS]):
            stream = Stream(each["exchange"], kind, each["symbol"])
            self.streams.append((stream, Sizes(*map(Decimal, each["steps"]))))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Each batch that is there as a whole."""
        self.rows = 0
        if self.kind is None:
            return
        with self.path.open("rb") as file, pa.ipc.open_stream(file) as reader:
            while True:
                try:
                    batch = reader.read_next_batch()
                except (StopIteration, pa.ArrowInvalid, OSError):
                    return
                self.rows += batch.num_rows
                yield batch
