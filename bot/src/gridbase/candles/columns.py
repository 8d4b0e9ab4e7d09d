"""The columns of a candle file, whatever its format."""

from collections.abc import Sequence
from pathlib import Path

from gridbase.errors import UserError

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
# `time_ms` is that of the option watcher's files.
TIME_NAMES = (
    "timestamp",
    "time",
    "time_ms",
    "open_time",
    "opentime",
    "open time",
    "datetime",
    "date",
)


def column_order(header: Sequence[str], path: Path) -> list[int]:
    """Where timestamp, open, high, low, close and volume stand in a header.

    Args:
        header: the column names, in any order and case.
        path: the file, for the message.

    Raises:
        UserError: a column is missing; names it.
    """
    names = [name.strip().strip("\ufeff").lower() for name in header]
    order = []
    for column in COLUMNS:
        aliases = TIME_NAMES if column == "timestamp" else (column,)
        position = next((names.index(alias) for alias in aliases if alias in names), None)
        if position is None:
            raise UserError(
                f"{path}: line 1: column {column} is missing; the header is: {','.join(header)}"
            )
        order.append(position)
    return order
