"""What is recorded: kinds, their columns, and gaps. All values are integers."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

Row = tuple[int, ...]


class Kind(StrEnum):
    """One kind of market data."""

    TRADES = "trades"
    QUOTES = "quotes"
    DEPTH = "depth"
    CANDLES = "candles"


class Part(IntEnum):
    """What a row of the kind depth is."""

    CHANGE = 0
    SNAPSHOT = 1
    CHECKSUM = 2


class Side(IntEnum):
    """The side of a level; NONE where an event has no level."""

    BID = 0
    ASK = 1
    NONE = 2


# Times are Unix milliseconds; prices whole ticks, quantities whole lots of the file's own steps.
COLUMNS: dict[Kind, tuple[str, ...]] = {
    Kind.TRADES: ("time", "id", "price", "quantity", "first_id", "last_id", "seller_took"),
    Kind.QUOTES: ("time", "update", "bid", "bid_quantity", "ask", "ask_quantity"),
    Kind.DEPTH: ("time", "first_update", "last_update", "part", "side", "price", "quantity"),
    Kind.CANDLES: (
        "time",
        "open",
        "high",
        "low",
        "close",
        "volume",
        "quote_volume",
        "trades",
        "taker_volume",
        "taker_quote_volume",
    ),
}
# Which column numbers the rows: a file's range, and what is unique.
NUMBER = {Kind.TRADES: 1, Kind.QUOTES: 1, Kind.DEPTH: 2, Kind.CANDLES: 0}
# Columns that hold values of few bits.
SMALL = {"seller_took", "part", "side"}


@dataclass(frozen=True)
class Stream:
    """One kind of data of one symbol.

    Attributes:
        exchange: such as binance.
        kind: what is recorded.
        symbol: the exchange's own name, such as BTCUSDT.
    """

    exchange: str
    kind: Kind
    symbol: str


@dataclass(frozen=True)
class Gap:
    """A stretch that is not in the files.

    Attributes:
        stream: of what.
        from_ms: the last row before it (Unix time in ms).
        to_ms: the first row after it.
        first: number of the first missing row; None where rows have no numbers without holes.
        last: number of the last missing row.
        reason: why, in a few words.
    """

    stream: Stream
    from_ms: int
    to_ms: int
    first: int | None
    last: int | None
    reason: str
