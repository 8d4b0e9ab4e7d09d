"""Binance's market messages as rows. Pure. One that makes no sense is a ValueError or KeyError.

Trades are aggregate trades: their numbers have no holes, and anybody may ask for them by number.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from recorder.core.book import Difference, Levels
from recorder.core.rows import Kind, Row
from recorder.core.steps import LARGEST, Sizes, Steps

Document = Mapping[str, Any]

INTERVAL, INTERVAL_MS = "1m", 60_000
# What Binance calls the stream of each kind.
STREAMS = {
    Kind.TRADES: "aggTrade",
    Kind.QUOTES: "bookTicker",
    Kind.DEPTH: "depth@100ms",
    Kind.CANDLES: f"kline_{INTERVAL}",
}
LATEST_MS = 4_102_444_800_000  # 2100: a time beyond it could not be made a day


def whole(value: Any, most: int = LARGEST) -> int:
    """A whole number of 64 bits; -1 stands for none at Binance.

    Raises:
        ValueError: it is none.
    """
    if type(value) is not int or not -1 <= value <= most:
        raise ValueError(f"{value!r} is no whole number up to {most}")
    return value


def moment(value: Any) -> int:
    """A time in ms.

    Raises:
        ValueError: it is none.
    """
    return whole(value, LATEST_MS)


def trade(document: Document, steps: Steps) -> Row:
    """A trade, of the stream or of GET aggTrades."""
    return (
        moment(document["T"]),
        whole(document["a"]),
        steps.price(document["p"]),
        steps.quantity(document["q"]),
        whole(document["f"]),
        whole(document["l"]),
        1 if document["m"] else 0,
    )


def quote(document: Document, steps: Steps, now_ms: int) -> Row:
    """Best bid and ask; Binance tells no time, so it is when they came."""
    return (
        now_ms,
        whole(document["u"]),
        steps.price(document["b"]),
        steps.quantity(document["B"]),
        steps.price(document["a"]),
        steps.quantity(document["A"]),
    )


def difference(document: Document, steps: Steps) -> Difference:
    """A change of the book."""
    return Difference(
        moment(document["E"]),
        whole(document["U"]),
        whole(document["u"]),
        levels(document["b"], steps),
        levels(document["a"], steps),
    )


def levels(rows: Sequence[Sequence[str]], steps: Steps) -> Levels:
    """Levels of a book."""
    price, quantity = steps.price, steps.quantity
    return [(price(each[0]), quantity(each[1])) for each in rows]


def closed_candle(document: Document, steps: Steps) -> Row | None:
    """A candle of the stream; None while it is not closed."""
    kline = document["k"]
    if not kline["x"]:
        return None
    names = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q")
    return candle([kline[name] for name in names], steps)


def candle(row: Sequence[Any], steps: Steps) -> Row:
    """A candle, of a row of GET klines."""
    return (
        moment(row[0]),
        *(steps.price(text) for text in row[1:5]),
        steps.quantity(row[5]),
        steps.quote(row[7]),
        whole(row[8]),
        steps.quantity(row[9]),
        steps.quote(row[10]),
    )


def sizes_of(document: Document) -> Sizes:
    """The steps that a symbol's part of GET exchangeInfo tells."""
    filters = {each["filterType"]: each for each in document["filters"]}
    price = Decimal(filters["PRICE_FILTER"]["tickSize"]).normalize()
    quantity = Decimal(filters["LOT_SIZE"]["stepSize"]).normalize()
    if price <= 0 or quantity <= 0:
        raise ValueError("its steps are 0")
    return Sizes(price, quantity, (price * quantity).normalize())
