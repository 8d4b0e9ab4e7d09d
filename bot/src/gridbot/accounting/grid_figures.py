"""What a grid came to so far, in the figures that people ask for. Pure and exact.

Money is not rounded. Percentages are, to two decimals, half to even: they are for reading.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from gridbase.market import EXACT

from gridbot.core.orders import Order, OrderState, Side

DAY_MS = 86_400_000
_MINUTE_MS = 60_000
_YEAR_DAYS = Decimal(365)
_CENT = Decimal("0.01")
_FINE = Decimal("1E-8")


@dataclass(frozen=True)
class Profit:
    """What was earned on an investment.

    Attributes:
        total: equity less investment (quote).
        percent: the same, of the investment; None where nothing was invested.
        per_day: on average, to 8 decimals (quote); None before the first day is over.
        per_year_percent: what a year of such days makes, without compounding; None where
            `percent` or `per_day` is.
    """

    total: Decimal
    percent: Decimal | None
    per_day: Decimal | None = None
    per_year_percent: Decimal | None = None


def profit(investment: Decimal, equity: Decimal, passed_ms: int) -> Profit:
    """What was earned on an investment.

    Args:
        investment: what it began with (quote).
        equity: what it is worth (quote).
        passed_ms: since when (milliseconds); parts of a minute do not count.
    """
    total = EXACT.subtract(equity, investment)
    percent = _percent(total, investment)
    if passed_ms < DAY_MS:
        return Profit(total, percent)
    days = EXACT.divide(Decimal(passed_ms // _MINUTE_MS * _MINUTE_MS), Decimal(DAY_MS))
    per_day = EXACT.divide(total, days)
    per_year = _percent(EXACT.multiply(per_day, _YEAR_DAYS), investment)
    return Profit(total, percent, per_day.quantize(_FINE, context=EXACT), per_year)


def average_cost(held: Decimal, cost: Decimal) -> Decimal | None:
    """What one coin of those held has cost, to 8 decimals (quote); None where none is held.

    Args:
        held: base held.
        cost: what that has cost (quote).
    """
    if held <= 0:
        return None
    return EXACT.divide(cost, held).quantize(_FINE, context=EXACT)


def next_orders(orders: Iterable[Order]) -> dict[Side, Order]:
    """Of each side, the open order that the price reaches first."""
    found: dict[Side, Order] = {}
    for order in orders:
        if order.state is not OrderState.OPEN:
            continue
        best = found.get(order.side)
        nearer = best is None or (order.price > best.price) is (order.side is Side.BUY)
        if nearer:
            found[order.side] = order
    return found


def distance_percent(price: Decimal, target: Decimal) -> Decimal | None:
    """How far the price has to move to a target, of the price; below 0 for a fall."""
    return _percent(EXACT.subtract(target, price), price)


def _percent(part: Decimal, whole: Decimal) -> Decimal | None:
    if whole <= 0:
        return None
    share = EXACT.divide(EXACT.multiply(part, Decimal(100)), whole)
    return share.quantize(_CENT, context=EXACT)
