"""ccxt's unified answers as Binance's messages. Pure. One that makes no sense is a ValueError.

ccxt has numbers as floats: printed, they are the exchange's own digits, up to 15 of them.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

from gridbase.errors import ExitCode, UserError

from recorder.core.steps import Sizes
from recorder.recording.messages import INTERVAL_MS

DECIMAL_PLACES, TICK_SIZE = 2, 4  # ccxt's precision modes
COARSEST = Decimal("0.01")  # where ccxt does not tell a step; finer ones are found by themselves

Row = dict[str, Any]


def whole_id(text: str | None) -> int:
    """The ID of a trade, which is a whole number.

    Raises:
        UserError: it is none.
    """
    if text is None or not text.isdecimal():
        raise UserError(
            f"contiguous_ids = true, but the ID of a trade is {text!r}; use false",
            ExitCode.EXCHANGE,
        )
    return int(text)


def agg_trade(trade: Row, number: int) -> Row:
    """A trade, with its number."""
    return {
        "E": trade["timestamp"],
        "T": trade["timestamp"],
        "a": number,
        "p": str(trade["price"]),
        "q": str(trade["amount"]),
        "f": -1,  # of which single trades it is made nobody tells
        "l": -1,
        "m": trade["side"] == "sell",
    }


def ticker(found: Row, number: int) -> Row | None:
    """Best bid and ask, with a number; None while there is not both."""
    names = {"b": "bid", "B": "bidVolume", "a": "ask", "A": "askVolume"}
    if found["bid"] is None or found["ask"] is None:
        return None
    return {"u": number} | {key: str(found[name] or 0) for key, name in names.items()}


def book_levels(levels: Iterable[Sequence[float]], most: int) -> dict[float, float]:
    """The best levels of one side, by price."""
    return {level[0]: level[1] for level in islice(levels, most) if level[1]}


def changed(before: dict[float, float], now: dict[float, float]) -> list[list[str]]:
    """The levels of one side that have changed; a quantity of 0 removes one."""
    levels = [[str(price), "0"] for price in before if price not in now]
    return levels + [
        [str(price), str(amount)] for price, amount in now.items() if before.get(price) != amount
    ]


def candle_row(row: Sequence[Any]) -> list[Any]:
    """A candle as GET klines has it; 0 for what ccxt does not tell."""
    time_ms, *prices, volume = row[:6]
    end_ms = time_ms + INTERVAL_MS - 1
    return [time_ms, *map(str, prices), str(volume), end_ms, "0", 0, "0", "0"]


def closed_kline(row: Sequence[Any]) -> Row:
    """A closed candle as the stream has it."""
    names = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q")
    return {"k": dict(zip(names, candle_row(row), strict=True)) | {"x": True}}


def sizes_of(market: Row, mode: int) -> Sizes:
    """The steps of a market.

    Args:
        market: ccxt's description.
        mode: ccxt's precision mode.
    """
    price, quantity = (_step(market["precision"].get(name), mode) for name in ("price", "amount"))
    return Sizes(price, quantity, (price * quantity).normalize())


def _step(precision: Any, mode: int) -> Decimal:
    if precision is None or mode not in (TICK_SIZE, DECIMAL_PLACES):
        return COARSEST
    value = Decimal(str(precision))
    return value.normalize() if mode == TICK_SIZE else Decimal(1).scaleb(-int(value))
