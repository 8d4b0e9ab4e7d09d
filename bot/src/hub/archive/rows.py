"""Trades as columns of Parquet and back, to the last digit. Pure.

An amount is a whole number and the power of ten that it counts, which delta encoding makes small; a
text stands in for one that does not fit. An exchange's ID is a number where it is one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa
from gridbase.market import EXACT, plain

_MOST = 2**63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
# Rows of a group: fewer cost bytes, more cost memory.
GROUP_ROWS = 50_000


class FillRow(NamedTuple):
    """A row of the table `fills`."""

    time: datetime
    run_id: int
    market_id: int
    side: str
    role: str
    maker: bool
    price: int
    quantity: int
    quote: Decimal | None
    fee: Decimal
    fee_coin: str
    trade_id: str
    client_id: str


Key = tuple[datetime, int, str]


def key(row: FillRow) -> Key:
    """By which rows are ordered in the API, over the database and the archive."""
    return row.time, row.run_id, row.trade_id


# In the order of the files.
SELECT = (
    "SELECT time, run_id, market_id, side::text, role::text, maker, price, quantity, quote, fee,"
    " fee_coin, trade_id, client_id FROM {table} WHERE time >= $1 AND time < $2"
    " ORDER BY run_id, time, trade_id"
)
SCHEMA = pa.schema(
    [
        pa.field("time_ms", pa.int64(), nullable=False),
        pa.field("run_id", pa.int32(), nullable=False),
        pa.field("market_id", pa.int32(), nullable=False),
        pa.field("side", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("maker", pa.bool_(), nullable=False),
        pa.field("price", pa.int64(), nullable=False),
        pa.field("quantity", pa.int64(), nullable=False),
        pa.field("quote", pa.int64()),
        pa.field("quote_digits", pa.int32()),
        pa.field("quote_text", pa.string()),
        pa.field("fee", pa.int64()),
        pa.field("fee_digits", pa.int32()),
        pa.field("fee_text", pa.string()),
        pa.field("fee_coin", pa.string(), nullable=False),
        pa.field("trade_number", pa.int64()),
        pa.field("trade_text", pa.string()),
        pa.field("client_id", pa.string(), nullable=False),
    ]
)
COLUMNS = ", ".join(SCHEMA.names)
DELTA = ("time_ms", "run_id", "market_id", "price", "quantity", "quote", "fee", "trade_number")
WRITING = {
    "compression": "zstd",
    "compression_level": 3,
    "version": "2.6",
    "data_page_version": "2.0",
    "use_dictionary": ["side", "role", "fee_coin", "quote_digits", "fee_digits"],
    "column_encoding": {
        **dict.fromkeys(DELTA, "DELTA_BINARY_PACKED"),
        "client_id": "DELTA_BYTE_ARRAY",
    },
}


@dataclass
class Sums:
    """What a file or a chunk adds up to, exactly.

    Attributes:
        rows: how many.
        amounts: sums of price, quantity, quote (where it is stated) and fee.
    """

    rows: int = 0
    amounts: dict[str, Decimal] = field(
        default_factory=lambda: dict.fromkeys(("price", "quantity", "quote", "fee"), Decimal(0))
    )

    def add(self, row: FillRow) -> None:
        """Count one more."""
        self.rows += 1
        for name in self.amounts:
            value = getattr(row, name)
            if value is not None:
                self.amounts[name] = EXACT.add(self.amounts[name], Decimal(value))

    def document(self) -> dict[str, str]:
        """Sums by name, as texts."""
        return {name: plain(amount) for name, amount in self.amounts.items()}


# The same sums by the database.
SELECT_SUMS = (
    "SELECT count(*) AS rows, coalesce(sum(price), 0)::numeric AS price,"
    " coalesce(sum(quantity), 0)::numeric AS quantity, coalesce(sum(quote), 0) AS quote,"
    " coalesce(sum(fee), 0) AS fee FROM fills WHERE time >= $1 AND time < $2"
)


def sums_of(record: Any) -> Sums:
    """A row of `SELECT_SUMS`."""
    names = ("price", "quantity", "quote", "fee")
    return Sums(record["rows"], {name: Decimal(record[name]) for name in names})


class Digest:
    """SHA-256 over rows, every field of each, in their order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, row: FillRow) -> None:
        """Take in one more."""
        quote = "" if row.quote is None else plain(row.quote)
        self._hash.update(repr((*row[:8], quote, plain(row.fee), *row[10:])).encode())

    def text(self) -> str:
        """As hexadecimal digits."""
        return self._hash.hexdigest()


def table(rows: Sequence[FillRow]) -> pa.Table:
    """Rows as a table of `SCHEMA`."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for row in rows:
        for name, value in zip(SCHEMA.names, _cells(row), strict=True):
            columns[name].append(value)
    return pa.table(columns, schema=SCHEMA)


def rows_of(cells: Iterable[Sequence[Any]]) -> list[FillRow]:
    """Rows whose columns are in the order of `SCHEMA`."""
    return [_row(*one) for one in cells]


def table_rows(part: pa.Table | pa.RecordBatch) -> list[FillRow]:
    """The rows of a table of `SCHEMA`."""
    columns = [part.column(name).to_pylist() for name in SCHEMA.names]
    return rows_of(zip(*columns, strict=True))


def _cells(row: FillRow) -> tuple[Any, ...]:
    number = int(row.trade_id) if row.trade_id.isdecimal() and len(row.trade_id) < 19 else None
    if str(number) != row.trade_id:
        number = None
    return (
        (row.time - _EPOCH) // MILLISECOND,
        *row[1:8],
        *_whole(row.quote),
        *_whole(row.fee),
        row.fee_coin,
        number,
        row.trade_id if number is None else None,
        row.client_id,
    )


def _row(time_ms: int, *rest: Any) -> FillRow:
    quote, fee, (coin, number, text, client_id) = rest[7:10], rest[10:13], rest[13:]
    paid = _amount(*fee)
    if paid is None:
        raise ValueError("a row without a fee")
    identity = text if number is None else str(number)
    time = _EPOCH + timedelta(milliseconds=time_ms)
    return FillRow._make((time, *rest[:7], _amount(*quote), paid, coin, identity, client_id))


def _whole(amount: Decimal | None) -> tuple[int | None, int | None, str | None]:
    """An amount as number, digits behind the point, and text where it does not fit."""
    if amount is None:
        return None, None, None
    digits = max(0, -int(amount.as_tuple().exponent))
    number = int(amount.scaleb(digits, EXACT))
    if abs(number) >= _MOST:
        return None, None, plain(amount)
    return number, digits, None


def _amount(number: int | None, digits: int | None, text: str | None) -> Decimal | None:
    if text is not None:
        return Decimal(text)
    return None if number is None else Decimal(number).scaleb(-(digits or 0), EXACT)
