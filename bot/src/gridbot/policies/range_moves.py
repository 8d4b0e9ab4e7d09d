"""Where the grid goes once the price has left its range. Pure, exact."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from gridbase.market import EXACT

from gridbot.core.grid import Spacing

_MINUTE_MS = 60_000
# So long must the price have been outside: one trade far out moves no grid.
CONFIRM_MS = _MINUTE_MS
# A width is kept while the price is so many halves of it above 0: a level may move the range down
# by another half of a half.
_ROOM = Decimal("1.5")


@dataclass(frozen=True)
class Reposition:
    """When and how the range follows the price.

    Attributes:
        direction: ``off``, ``up``, ``down`` or ``both``: which way it may follow.
        margin_percent: how far the price must be outside, in percent of the bound it has crossed.
        cooldown_minutes: shortest time from one move to the next.
        at: ``price``: the new range is centred on the price; ``levels``: it then rests on the
            nearest support or resistance.
        levels_interval: length of the candles that levels are taken from.
        levels_candles: how many of them.
    """

    direction: str = "off"
    margin_percent: Decimal = Decimal("0.5")
    cooldown_minutes: int = 60
    at: str = "price"
    levels_interval: str = "1h"
    levels_candles: int = 200


def left(rules: Reposition, lower: Decimal, upper: Decimal, price: Decimal) -> str | None:
    """Which way the price has left the range by the margin, where the rules let it follow.

    Args:
        rules: when the range follows.
        lower: price of the lowest line (quote).
        upper: price of the highest line (quote).
        price: the last price (quote).

    Returns:
        ``up``, ``down`` or None.
    """
    margin = EXACT.divide(rules.margin_percent, Decimal(100))
    above = EXACT.multiply(upper, EXACT.add(Decimal(1), margin))
    below = EXACT.multiply(lower, EXACT.subtract(Decimal(1), margin))
    if price > above and rules.direction in {"up", "both"}:
        return "up"
    if price < below and rules.direction in {"down", "both"}:
        return "down"
    return None


def new_range(
    rules: Reposition,
    lower: Decimal,
    upper: Decimal,
    price: Decimal,
    *,
    spacing: Spacing,
    now_ms: int,
    left_since_ms: int | None,
    last_ms: int | None,
    levels: Sequence[Decimal],
) -> tuple[Decimal, Decimal] | None:
    """The range to move to, or None to stay.

    The new range has the width of the old one (arithmetic) or its ratio (geometric) and is centred
    on the price; where a range of that width could reach below 0, it keeps the ratio instead. With
    ``at = "levels"``, after a rise its bottom rests on the support nearest to where it would be,
    after a fall its top on the resistance nearest to that, if there is one that leaves the price in
    the middle half of the range (measured in prices, or in their logarithms where the ratio is
    kept).

    Args:
        rules: when and how the range follows.
        lower: price of the lowest line now (quote).
        upper: price of the highest line now (quote).
        price: the last price (quote).
        spacing: how the lines divide the range.
        now_ms: the time, in milliseconds since 1970 UTC.
        left_since_ms: since when `left` has said the same without a break; None while it is None.
        last_ms: when the range was last moved; None for never.
        levels: prices of supports and resistances (quote), in any order.

    Returns:
        Lower and upper, not rounded to the tick.
    """
    way = left(rules, lower, upper, price)
    if way is None or left_since_ms is None or now_ms - left_since_ms < CONFIRM_MS:
        return None
    if last_ms is not None and now_ms - last_ms < rules.cooldown_minutes * _MINUTE_MS:
        return None
    half = EXACT.divide(EXACT.subtract(upper, lower), Decimal(2))
    plus, minus, quarter = EXACT.add, EXACT.subtract, EXACT.divide(half, Decimal(2))
    if spacing is Spacing.GEOMETRIC or price <= EXACT.multiply(half, _ROOM):
        half = EXACT.sqrt(EXACT.divide(upper, lower))
        plus, minus, quarter = EXACT.multiply, EXACT.divide, EXACT.sqrt(half)
    bottom, top = minus(price, half), plus(price, half)
    if rules.at != "levels":
        return bottom, top
    edge = bottom if way == "up" else top
    lowest, highest = minus(edge, quarter), plus(edge, quarter)
    near = [level for level in levels if lowest <= level <= highest]
    if not near:
        return bottom, top
    level = min(near, key=lambda level: (abs(level - edge), level))
    whole = plus(half, half)
    return (level, plus(level, whole)) if way == "up" else (minus(level, whole), level)
