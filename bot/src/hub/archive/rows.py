"""The tables that are archived, their rows as Parquet and back, to the last digit. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple

import pyarrow as pa
from gridbase.market import EXACT, plain

from hub.archive.columns import AMOUNT, FLAG, IDENTITY, INT, LETTER, LONG, TEXT, TIME, WORD, Column

# Rows of a group: fewer cost bytes, more cost memory.
GROUP_ROWS = 50_000

Key = tuple[datetime, int, str]


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


class OrderRow(NamedTuple):
    """A row of the table `orders`."""

    created: datetime
    run_id: int
    market_id: int
    side: str
    role: str
    state: str
    line: int
    attempt: int
    price: int
    quantity: int
    client_id: str
    exchange_id: str | None


class CandleRow(NamedTuple):
    """A row of the table `candles`."""

    time: datetime
    bot_id: int
    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    seconds: int
    in_range_seconds: int


def key(row: FillRow) -> Key:
    """By which trades are ordered in the API, over the database and the archive."""
    return row.time, row.run_id, row.trade_id


@dataclass(frozen=True)
class Kind:
    """A table whose old chunks are archived.

    Attributes:
        table: its name; rows that come for an archived time wait in `late_` and this name.
        row: what a row is here.
        columns: how each field is stored; the first one is the time that chunks go by.
        order: fields by which files are ordered, and rows are found: the table's key.
        same: fields by which two rows are one.
        summed: fields whose sums must agree.
        chunk: how long a chunk is (see the schema).
        changing: fields that may change. Empty: a row never does, it counts once the archive has
            it, and the archive's own is never replaced.
        settled: a condition of SQL for rows that may be archived; the others stay behind.
    """

    table: str
    row: type[Any]
    columns: Mapping[str, Column]
    order: tuple[str, ...]
    same: tuple[str, ...]
    summed: tuple[str, ...]
    chunk: timedelta
    changing: tuple[str, ...] = ()
    settled: str = "true"

    @cached_property
    def late(self) -> str:
        """The table of rows that came for an archived time."""
        return f"late_{self.table}"

    @cached_property
    def time(self) -> str:
        """The field that chunks go by."""
        return next(iter(self.columns))

    @cached_property
    def fields(self) -> str:
        """All fields, for a query of the database."""
        return ", ".join(name + column.cast for name, column in self.columns.items())

    @cached_property
    def schema(self) -> pa.Schema:
        """Of the files."""
        return pa.schema(
            pa.field(_base(name, column) + end, kind, nullable=empty)
            for name, column in self.columns.items()
            for end, (kind, empty) in column.parts.items()
        )

    def in_file(self, name: str) -> str:
        """A field as an expression over the columns of a file."""
        column = self.columns[name]
        base = _base(name, column)
        if column is IDENTITY:
            return f"coalesce({base}_text, CAST({base}_number AS VARCHAR))"
        return base + next(iter(column.parts))

    @cached_property
    def writing(self) -> dict[str, Any]:
        """How files are written."""
        columns = [(_base(name, column), column) for name, column in self.columns.items()]
        texts = [base for base, column in columns if column is TEXT]
        return {
            "compression": "zstd",
            "compression_level": 3,
            "version": "2.6",
            "data_page_version": "2.0",
            "use_dictionary": [base + end for base, column in columns for end in column.words],
            "column_encoding": {
                **{
                    base + end: "DELTA_BINARY_PACKED"
                    for base, column in columns
                    for end in column.delta
                },
                **dict.fromkeys(texts, "DELTA_BYTE_ARRAY"),
            },
        }

    def select(self, table: str) -> str:
        """A query for the rows that may be archived between two times, in the order of files."""
        return f"SELECT {self.fields} FROM {self._between(table)} ORDER BY {', '.join(self.order)}"  # noqa: S608  constants

    @cached_property
    def select_sums(self) -> str:
        """A query for the same rows' count and sums, and a sum of hashes over all they are."""
        sums = "".join(f", coalesce(sum({name}), 0)::numeric AS {name}" for name in self.summed)
        return (
            "SELECT count(*) AS rows, coalesce(sum(hashtextextended(one::text, 0)), 0) AS hashes"  # noqa: S608  constants
            f"{sums} FROM {self._between(self.table)}"
        )

    def _between(self, table: str) -> str:
        return f"{table} one WHERE {self.time} >= $1 AND {self.time} < $2 AND {self.settled}"

    def sums_of(self, record: Mapping[str, Any]) -> Sums:
        """The sums of a row of `select_sums`."""
        return Sums(record["rows"], {name: Decimal(record[name]) for name in self.summed})

    def key(self, row: Any) -> Any:
        """By which files are ordered."""
        return attrgetter(*self.order)(row)

    def identity(self, row: Any) -> Any:
        """By which two rows are one."""
        return attrgetter(*self.same)(row)

    def store(self, rows: Sequence[Any]) -> pa.Table:
        """Rows as a table of the schema."""
        cells: list[Sequence[Any]] = []
        fields = zip(*rows, strict=True) if rows else ((),) * len(self.columns)
        for column, values in zip(self.columns.values(), fields, strict=True):
            cells += column.store(values) if rows else ((),) * len(column.parts)
        return pa.table(list(map(pa.array, cells, self.schema.types)), schema=self.schema)

    def load(self, part: pa.Table | pa.RecordBatch) -> list[Any]:
        """The rows of a table of the schema."""
        return self._made([part.column(name).to_pylist() for name in self.schema.names])

    def load_cells(self, cells: Sequence[Sequence[Any]]) -> list[Any]:
        """Rows whose columns are in the order of the schema."""
        return self._made(list(zip(*cells, strict=True))) if cells else []

    def _made(self, columns: list[Sequence[Any]]) -> list[Any]:
        coming = iter(columns)
        fields = [
            column.load(*(next(coming) for _ in column.parts)) for column in self.columns.values()
        ]
        return list(map(self.row._make, zip(*fields, strict=True)))


def _base(name: str, column: Column) -> str:
    return name.removesuffix("_id") if column is IDENTITY else name


FILLS = Kind(
    "fills",
    FillRow,
    {
        "time": TIME,
        "run_id": INT,
        "market_id": INT,
        "side": LETTER,
        "role": LETTER,
        "maker": FLAG,
        "price": LONG,
        "quantity": LONG,
        "quote": AMOUNT,
        "fee": AMOUNT,
        "fee_coin": WORD,
        "trade_id": IDENTITY,
        "client_id": TEXT,
    },
    order=("run_id", "time", "trade_id"),
    same=("run_id", "trade_id"),
    summed=("price", "quantity", "quote", "fee"),
    chunk=timedelta(days=7),
)
ORDERS = Kind(
    "orders",
    OrderRow,
    {
        "created": TIME,
        "run_id": INT,
        "market_id": INT,
        "side": LETTER,
        "role": LETTER,
        "state": LETTER,
        "line": INT,
        "attempt": INT,
        "price": LONG,
        "quantity": LONG,
        "client_id": TEXT,
        "exchange_id": IDENTITY,
    },
    order=("run_id", "created", "client_id"),
    same=("run_id", "created", "client_id"),
    summed=("price", "quantity"),
    chunk=timedelta(days=28),
    changing=("state", "exchange_id"),
    settled="state IN ('f', 'c')",
)
CANDLES = Kind(
    "candles",
    CandleRow,
    {
        "time": TIME,
        "bot_id": INT,
        "symbol": WORD,
        "open": AMOUNT,
        "high": AMOUNT,
        "low": AMOUNT,
        "close": AMOUNT,
        "seconds": INT,
        "in_range_seconds": INT,
    },
    order=("bot_id", "symbol", "time"),
    same=("bot_id", "symbol", "time"),
    summed=("open", "high", "low", "close", "seconds", "in_range_seconds"),
    chunk=timedelta(days=28),
    changing=("high", "low", "close", "seconds", "in_range_seconds"),
)
KINDS = (FILLS, ORDERS, CANDLES)


@dataclass
class Sums:
    """What a file or a chunk adds up to, exactly.

    Attributes:
        rows: how many.
        amounts: sums by name.
    """

    rows: int = 0
    amounts: dict[str, Decimal] = field(default_factory=dict)

    @classmethod
    def none_of(cls, kind: Kind) -> Sums:
        """The sums of no row."""
        return cls(0, dict.fromkeys(kind.summed, Decimal(0)))

    def add(self, row: Any) -> None:
        """Count one more."""
        self.rows += 1
        for name in self.amounts:
            value = getattr(row, name)
            if value is not None:
                self.amounts[name] = EXACT.add(self.amounts[name], Decimal(value))

    def document(self) -> dict[str, str]:
        """Sums by name, as texts."""
        return {name: plain(amount) for name, amount in self.amounts.items()}


class Digest:
    """SHA-256 over rows, every field of each, in their order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, row: Sequence[Any]) -> None:
        """Take in one more."""
        cells = [plain(cell) if isinstance(cell, Decimal) else cell for cell in row]
        self._hash.update(repr(cells).encode())

    def text(self) -> str:
        """As hexadecimal digits."""
        return self._hash.hexdigest()
