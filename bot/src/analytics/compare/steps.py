"""Steps of a grid: what a backtest expected, and what the bot did. Pure, exact."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from gridbase.market import EXACT
from gridbot.core.orders import Role, Side

ZERO = Decimal(0)


class Why(StrEnum):
    """Why a step of the bot differs from one of the backtest; docs/analytics.md says more."""

    EQUAL = "equal"
    START = "start"
    LATENCY = "latency"
    OUTAGE = "outage"
    PARTIAL = "partial fill"
    PRICE = "better or worse price"
    FEES = "fees"
    PAUSE = "pause"
    HELD_BACK = "held back"
    KILL_SWITCH = "kill switch"
    RANGE_LEFT = "range left"
    GRID_ENDED = "grid ended"
    DATA_GAP = "gap in the data"
    IN_CANDLE = "inside a candle"
    TOUCHED = "touched, not traded through"
    BEFORE = "from before"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class Step:
    """What one place of the grid traded, all of its trades together.

    Attributes:
        time_ms: when it was complete (Unix milliseconds).
        line: index of its line; outside the grid, of the line that stays empty.
        side: which way.
        role: of the grid, of its start or of its end.
        quantity: base traded.
        quote: what was paid or received for it, without fee (quote).
        fees: by coin.
    """

    time_ms: int
    line: int
    side: Side
    role: Role
    quantity: Decimal
    quote: Decimal
    fees: dict[str, Decimal]

    @property
    def place(self) -> tuple[Role, int, Side]:
        """What a step of the other one has to have in common with it."""
        return self.role, self.line, self.side

    def reverses(self, other: Step) -> bool:
        """Whether it takes the grid back to where the other one began."""
        if not self.role == other.role == Role.GRID or self.side is other.side:
            return False
        return self.line == other.line + (1 if self.side is Side.SELL else -1)


@dataclass(frozen=True)
class Attempt:
    """An order that a step was to trade by.

    Attributes:
        created_ms: when it was written down (Unix milliseconds).
        sent: whether the exchange is known to have had it.
    """

    created_ms: int
    sent: bool


@dataclass(frozen=True)
class Leg:
    """A step of the bot, done or not.

    Attributes:
        name: client order ID of its first order.
        role: what it is for.
        side: which way.
        line: index of its line.
        price: its limit (quote).
        quantity: what it set out to trade (base).
        attempts: its orders, oldest first.
        complete: all of it, or as much as can, has traded.
        trades: how many it traded in.
        first_ms: time of the first trade (Unix milliseconds); 0 where there is none.
        took: a trade took what rested: the price was there before the order.
        step: what it traded; None where that is nothing.
    """

    name: str
    role: Role
    side: Side
    line: int
    price: Decimal
    quantity: Decimal
    attempts: tuple[Attempt, ...]
    complete: bool
    trades: int
    first_ms: int
    took: bool
    step: Step | None

    @property
    def created_ms(self) -> int:
        """When its first order was written down."""
        return self.attempts[0].created_ms


@dataclass(frozen=True)
class Worth:
    """What a step is worth at a price, split so that differences can be told apart (quote).

    Attributes:
        trade: base bought at that price less what it cost, or what a sale brought less that.
        fee: fees in base at that price and in quote; below 0.
    """

    trade: Decimal
    fee: Decimal

    @property
    def total(self) -> Decimal:
        """Both."""
        return EXACT.add(self.trade, self.fee)


NOTHING = Worth(ZERO, ZERO)


def worth(step: Step | None, price: Decimal, base: str, quote: str) -> Worth:
    """What a step changes in equity at a price.

    Args:
        step: the step; None for none.
        price: the price (quote).
        base: coin that is traded.
        quote: coin that prices are in.

    Returns:
        The change in quote; fees in a third coin are in none of it.
    """
    if step is None:
        return NOTHING
    held = EXACT.multiply(step.quantity, price)
    trade = EXACT.subtract(held, step.quote)
    if step.side is Side.SELL:
        trade = EXACT.subtract(step.quote, held)
    fee = EXACT.add(EXACT.multiply(step.fees.get(base, ZERO), price), step.fees.get(quote, ZERO))
    return Worth(trade, -fee)
