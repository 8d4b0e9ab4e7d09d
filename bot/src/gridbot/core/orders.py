"""Orders, fills and the names orders carry on the exchange. Pure data."""

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

# What Binance allows in newClientOrderId.
CLIENT_ID_LENGTH = 36
# Bot name and symbol share 18 characters, which leaves 18 for grid run, line, side and attempt.
_NAME_LENGTH = 18
# Numbers of 64 bits are not longer: padded to it, they sort by their size.
ID_WIDTH = 20


class Side(StrEnum):
    """Which way an order trades the base coin."""

    BUY = "buy"
    SELL = "sell"


class Role(StrEnum):
    """What a leg is for.

    INITIAL: brings the base held to what the sells need, before the grid is placed. GRID: one
    step of the grid. LIQUIDATION: sells what is held after the grid has ended.
    """

    INITIAL = "initial"
    GRID = "grid"
    LIQUIDATION = "liquidation"


class OrderState(StrEnum):
    """Life of an order as the bot knows it.

    INTENDED: written down; the exchange may or may not have it. OPEN: the exchange has accepted
    it. FILLED: all of it traded. CANCELED: closed by anyone before all of it traded (Binance's
    CANCELED, EXPIRED, EXPIRED_IN_MATCH and REJECTED).
    """

    INTENDED = "intended"
    OPEN = "open"
    FILLED = "filled"
    CANCELED = "canceled"


LIVE_STATES = frozenset({OrderState.INTENDED, OrderState.OPEN})


@dataclass(frozen=True)
class Leg:
    """One step of the grid: what has to trade on one line before the next step is taken.

    A leg is worked by one order, and by further ones where an order was closed before all of it
    traded.

    Attributes:
        id: client order ID of the leg's first order.
        role: what it is for.
        side: which way it trades.
        line: index of its line; outside the grid, of the line that stays empty.
        quantity: what it set out to trade (base).
        parent: leg whose completion this one answers; None for a leg that answers none.
    """

    id: str
    role: Role
    side: Side
    line: int
    quantity: Decimal
    parent: str | None = None


@dataclass(frozen=True)
class Order:
    """One order as the bot intends or knows it.

    Attributes:
        client_id: its name on the exchange; a retry repeats it.
        leg: id of the leg it works for.
        role: the leg's.
        side: which way it trades.
        line: the leg's.
        attempt: running number of orders at this place (see `order_place`), from 1.
        price: limit price (quote).
        quantity: what it trades (base).
        state: see `OrderState`.
        exchange_id: the exchange's own ID; None until it answered.
        created_ms: when the intent was written down (Unix milliseconds).
    """

    client_id: str
    leg: str
    role: Role
    side: Side
    line: int
    attempt: int
    price: Decimal
    quantity: Decimal
    state: OrderState
    exchange_id: str | None
    created_ms: int


@dataclass(frozen=True)
class Fill:
    """One trade of one order, as the exchange reports it.

    Attributes:
        trade_id: the exchange's ID of the trade; no other one of the symbol has it.
        client_id: order that traded.
        side: which way.
        price: quote per base.
        quantity: base traded.
        quote: what the exchange says price times quantity is (quote).
        commission: fee, in `commission_coin`.
        commission_coin: coin that the fee was taken in.
        time_ms: Unix milliseconds.
        maker: whether the order rested in the book.
    """

    trade_id: str
    client_id: str
    side: Side
    price: Decimal
    quantity: Decimal
    quote: Decimal
    commission: Decimal
    commission_coin: str
    time_ms: int
    maker: bool


def padded(identity: str) -> str:
    """An exchange's ID so that numbers sort by their size."""
    return identity.rjust(ID_WIDTH)


def number_or_text(identity: str) -> int | str:
    """An exchange's ID as files and JSON have it: a number where it is one."""
    if not identity.isdecimal() or len(identity) >= ID_WIDTH:
        return identity
    number = int(identity)
    return number if str(number) == identity and number < 2**63 else identity


def client_prefix(bot_name: str, exchange_symbol: str) -> str:
    """What every client order ID of one bot on one symbol starts with."""
    symbol = exchange_symbol
    if len(bot_name) + len(symbol) > _NAME_LENGTH:
        symbol = hashlib.sha256(symbol.encode()).hexdigest()[:6]
    return f"{bot_name}-{symbol}-"


def order_place(role: Role, line: int, side: Side) -> str:
    """Short name of the place an order works at: ``7s`` for a sell on line 7.

    All orders of the start share ``i``, all of a liquidation ``x``.
    """
    if role is Role.GRID:
        return f"{line}{side[0]}"
    return "i" if role is Role.INITIAL else "x"


def client_order_id(prefix: str, grid_run: str, place: str, attempt: int) -> str:
    """Name of an order: derived from bot, symbol, grid run, line, side and attempt.

    Args:
        prefix: bot and symbol, see `client_prefix`.
        grid_run: tag of the grid run.
        place: line and side, see `order_place`.
        attempt: running number of orders at this place, from 1.

    Raises:
        ValueError: it would be longer than the exchange allows.
    """
    text = f"{prefix}{grid_run}-{place}{attempt}"
    if len(text) > CLIENT_ID_LENGTH:
        raise ValueError(f"client order ID {text} is longer than {CLIENT_ID_LENGTH}")
    return text


def grid_run_tag(now_ms: int, previous: str | None) -> str:
    """Tag of a new grid run: seconds since 2020 in base 36, after `previous`.

    Taken from the clock so that a bot whose state was lost does not use a name again.
    """
    seconds = max(0, now_ms // 1000 - 1_577_836_800)
    if previous is not None:
        seconds = max(seconds, int(previous, 36) + 1)
    digits = ""
    while seconds:
        seconds, digit = divmod(seconds, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits.rjust(6, "0")
