"""What ccxt's unified answers mean. Pure.

Amounts are texts: the client is told to keep numbers as the exchange wrote them.
"""

import hashlib
from decimal import Decimal
from typing import Any

from gridbase.candles.price_units import to_units
from gridbase.candles.series import Candle
from gridbase.errors import ExitCode, UserError
from gridbase.market import EXACT, Market

from gridbot.core.prices import Minute
from gridbot.exchanges.port import RemoteOrder, RemoteTrade

# ccxt's precision modes.
DECIMAL_PLACES, SIGNIFICANT_DIGITS, TICK_SIZE = 2, 3, 4
LARGEST_ID = 2**63 - 1
# ccxt's states of an order. It passes on what it does not know, of which nothing can be said.
_CLOSED = {"open": False, "canceling": False} | dict.fromkeys(
    ("closed", "canceled", "expired", "rejected"), True
)

Json = dict[str, Any]


def read_market(row: Json, mode: int, price: Decimal) -> Market:
    """A symbol's rules.

    Args:
        row: ccxt's market.
        mode: ccxt's precision mode.
        price: of now (quote), for exchanges that count significant digits.
    """
    limits = row["limits"]
    prices = limits.get("price") or {}
    tick = _step(row["precision"]["price"], mode, price)
    if mode == SIGNIFICANT_DIGITS:
        tick = tick.scaleb(1)  # good up to ten times the price of now
    most = limits["amount"].get("max")
    return Market(
        symbol=row["symbol"],
        base=row["base"],
        quote=row["quote"],
        tick_size=tick,
        lot_size=_step(row["precision"]["amount"], mode, Decimal(1)),
        min_quantity=Decimal(limits["amount"].get("min") or 0),
        min_notional=Decimal(limits["cost"].get("min") or 0),
        max_quantity=None if most is None else Decimal(most),
        min_price=Decimal(prices.get("min") or 0) or None,
        max_price=Decimal(prices.get("max") or 0) or None,
        max_notional=Decimal(limits["cost"].get("max") or 0) or None,
    )


def _step(precision: Any, mode: int, around: Decimal) -> Decimal:
    if precision is None:
        raise ValueError("no precision")
    if mode == TICK_SIZE:
        step = Decimal(precision)
    elif mode == DECIMAL_PLACES:
        step = Decimal(1).scaleb(-int(precision))
    else:
        step = Decimal(1).scaleb(around.adjusted() - int(precision) + 1)
    if not step > 0:
        raise ValueError(f"precision {precision}")
    return step


def order_number(text: Any) -> str:
    """A number for an exchange's order ID: itself where it is one, else 63 bits of its hash.

    Orders are told apart by it, and need no order. Books that are older than texts as IDs have it.
    """
    if not isinstance(text, str) or not text:
        raise ValueError("no order ID")
    if text.isascii() and text.isdigit() and int(text) <= LARGEST_ID:
        return str(int(text))
    return str(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1)


def trade_number(text: Any, exchange: str) -> str:
    """A trade's ID, which has to be a number: a cursor is the last one that was read.

    Raises:
        UserError: it is none.
    """
    if isinstance(text, str) and text.isascii() and text.isdigit() and int(text) <= LARGEST_ID:
        return str(int(text))
    raise UserError(
        f'exchange.name = "{exchange}" numbers its trades by names such as {text!r}; the bot needs '
        "whole numbers that rise with time",
        ExitCode.EXCHANGE,
    )


def is_whole(row: Json) -> bool:
    """Whether an order says all that `read_order` reads: some exchanges answer with an ID only."""
    needed = ("clientOrderId", "side", "price", "amount", "filled", "status")
    return all(row.get(name) is not None for name in needed)


def read_order(row: Json) -> RemoteOrder:
    """An order. KeyError where its state is none that ccxt has a word for."""
    return RemoteOrder(
        exchange_id=order_number(row["id"]),
        client_id=str(row["clientOrderId"] or ""),
        side=str(row["side"]),
        price=Decimal(row["price"]),
        quantity=Decimal(row["amount"]),
        executed=Decimal(row["filled"]),
        closed=_CLOSED[row["status"]],
    )


def read_trade(row: Json, exchange: str) -> RemoteTrade:
    """A trade of the account. ValueError where it does not say what it cost."""
    fees = row.get("fees") or ([row["fee"]] if row.get("fee") else [])
    fees = [fee for fee in fees if fee.get("cost") is not None]
    if len(fees) != 1 or not fees[0].get("currency"):
        raise ValueError("a trade needs one fee in one coin")
    price, quantity = Decimal(row["price"]), Decimal(row["amount"])
    cost = row.get("cost")
    return RemoteTrade(
        trade_id=trade_number(row["id"], exchange),
        exchange_id=order_number(row["order"]),
        side=str(row["side"]),
        price=price,
        quantity=quantity,
        quote=EXACT.multiply(price, quantity) if cost is None else Decimal(cost),
        commission=Decimal(fees[0]["cost"]),
        commission_coin=str(fees[0]["currency"]),
        time_ms=int(row["timestamp"]),
        maker=row.get("takerOrMaker") == "maker",
    )


def read_candle(row: list[Any]) -> Candle:
    """A candle."""
    first, highest, lowest, last = (to_units(str(value))[0] for value in row[1:5])
    return Candle(int(row[0]), first, highest, lowest, last, float(row[5] or 0))


def read_minute(row: list[Any]) -> Minute:
    """A candle of a minute, for what the price did in it."""
    high, low, close = (Decimal(str(value)) for value in row[2:5])
    if not low > 0:
        raise ValueError(row)
    return Minute(int(row[0]), low, high, close)
