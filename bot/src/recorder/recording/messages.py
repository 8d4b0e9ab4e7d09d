"""Binance's market messages as rows. Pure. One that makes no sense is a ValueError or KeyError.

Trades are aggregate trades: their numbers have no holes, and anybody may ask for them by number.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from recorder.core.book import Difference, Levels
from recorder.core.rows import Kind, Row
from recorder.core.steps import Sizes, Steps

Document = Mapping[str, Any]

INTERVAL, INTERVAL_MS = "1m", 60_000
# What Binance calls the stream of each kind.
STREAMS = {
    Kind.TRADES: "aggTrade",
    Kind.QUOTES: "bookTicker",
    Kind.DEPTH: "depth@100ms",
    Kind.CANDLES: f"kline_{INTERVAL}",
}


def trade(document: Document, steps: Steps) -> Row:
    """A trade, of the stream or of GET aggTrades."""
    return (
        document["T"],
        document["a"],
        steps.price(document["p"]),
        steps.quantity(document["q"]),
        document["f"],
        document["l"],
        1 if document["m"] else 0,
    )


def quote(document: Document, steps: Steps, now_ms: int) -> Row:
    """Best bid and ask; Binance tells no time, so it is when they came."""
    return (
        now_ms,
        document["u"],
        steps.price(document["b"]),
        steps.quantity(document["B"]),
        steps.price(document["a"]),
        steps.quantity(document["A"]),
    )


def difference(document: Document, steps: Steps) -> Difference:
    """A change of the book."""
    return Difference(
        document["E"],
        document["U"],
        document["u"],
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
        row[0],
        *(steps.price(text) for text in row[1:5]),
        steps.quantity(row[5]),
        steps.quote(row[7]),
        row[8],
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
