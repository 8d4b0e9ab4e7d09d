"""Rows of a Parquet file, for machines that have pyarrow (a controller, never a Pi's image)."""

import importlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from gridbase.candles.columns import column_order
from gridbase.errors import UserError

ROWS_PER_BATCH = 8192


def parquet_rows(path: Path) -> Iterator[tuple[int, Sequence[str]]]:
    """Row number (from 1) and the six cells of each row, as text.

    Args:
        path: a Parquet file whose columns carry the names a CSV header would.

    Raises:
        UserError: pyarrow is not installed, the file is damaged or lacks a column.
    """
    try:
        pyarrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise UserError(
            f"{path}: reading Parquet needs pyarrow: install gridbot[parquet], or convert the"
            " file to CSV on a machine that has it"
        ) from error
    try:
        file = parquet.ParquetFile(path)
        names = list(file.schema_arrow.names)
        columns = [names[position] for position in column_order(names, path)]
        row = 0
        for batch in file.iter_batches(batch_size=ROWS_PER_BATCH, columns=columns):
            cells = [batch.column(name).to_pylist() for name in columns]
            for values in zip(*cells, strict=True):
                row += 1
                yield row, [_text(value) for value in values]
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: damaged parquet file: {error}") from error


def _text(value: object) -> str:
    """A cell as a CSV would print it; a double by its shortest digits that read back the same."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    return "" if value is None else str(value)
