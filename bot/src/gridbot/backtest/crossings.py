"""Every fill of a grid on recorded candles, without a step for each candle. Pure.

**One empty line.** At every moment exactly one line e carries no order; all lines below it carry a
buy, all lines above it a sell. So it is at the start. When the price comes down to line e-1, the
buy there fills and puts a sell on line e: e-1 is the empty line now. When it comes up to line e+1,
the sell there fills and puts a buy on line e: e+1 is the empty line now. Nothing else fills, as
between e-1 and e+1 there is no order. The whole state of the grid is e.

**A straight leg is one clip.** Let F(x) be the highest line at or below a price x, and C(x) the
lowest at or above it (-1 and N+1 where there is none). A leg up to x fills the sells on e+1 … F(x),
in this order, which is e := max(e, F(x)); a leg down to x fills the buys on e-1 … C(x), which is
e := min(e, C(x)). Either is e := clip(e, F(x), C(x)): on the way up e <= C holds already, on the
way down e >= F does. A leg that stays between two neighbouring lines changes nothing.

**The direction decides.** After a vertex x of the walk, F(x) <= e <= C(x). Let s(x) = F(x) + C(x):
odd between two lines, even on one, rising with x. Where s rises from x to y, F(y) >= C(x) >= e, so
that e = F(y) after y, whatever it was before; where s falls, C(y) <= F(x) <= e and e = C(y) after
it; where s stays, e stays. So e after every vertex is known from the two vertices beside the last
change of s, and numpy finds all of them at once. A vertex whose clip changes nothing can be left
out: what is left is the same composition of clips, and the argument above needs nothing else.

**Few candles matter.** A candle whose walk, the way from the previous close included, touches no
line changes nothing. One search over the lows tells the lowest line at or above each; where that
line is above the high, the candle is left out. Only the rest is spelt out as open, low, high, close
or open, high, low, close; the way from the previous close needs no vertex of its own, as that close
is the last vertex of the candle before, or touched nothing.

Prices are whole units; a line between two units (a tick finer than the candles) is reached where
the unit above it is, from below, and the unit below it, from above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import numpy.typing as npt
from gridbase.candles.price_units import MAX_UNITS, PRICE_DECIMALS, from_units
from gridbase.errors import UserError
from gridbase.market import EXACT, plain

from gridbot.backtest.data import Candles, Integers

VERTICES = 4  # open, two extremes, close


@dataclass(frozen=True)
class Crossings:
    """Fills in their order; arrays of equal length.

    Attributes:
        candle: index of the candle that each happens in.
        line: index of the line that fills.
        sell: whether it is a sell.
    """

    candle: Integers
    line: Integers
    sell: npt.NDArray[np.bool_]


def find_crossings(candles: Candles, lines: Sequence[Decimal], empty_line: int) -> Crossings:
    """Every fill of a grid that starts at the first candle's open.

    Args:
        candles: the market.
        lines: the grid's prices, rising (quote).
        empty_line: index of the line nearest to the start price.

    Raises:
        UserError: a line is above every price that candles can hold.
    """
    floors, ceilings = _line_units(lines)
    touched = _touched(candles, floors, ceilings)
    prices = np.concatenate((candles.opens[:1], _vertices(candles, touched)))
    # F(x) and C(x) of the module's docstring.
    at_or_below = np.searchsorted(ceilings, prices, side="right") - 1
    at_or_above = np.searchsorted(floors, prices, side="left")
    change = np.diff(at_or_below + at_or_above)
    at = np.flatnonzero(change)
    after = np.where(change[at] > 0, at_or_below[at + 1], at_or_above[at + 1])
    empty = np.concatenate((np.array([empty_line], dtype=np.int64), after))
    return _expand(np.diff(empty), empty[:-1], touched[at // VERTICES])


def _line_units(lines: Sequence[Decimal]) -> tuple[Integers, Integers]:
    """Each line in units, rounded down and up."""
    units = [EXACT.scaleb(line, PRICE_DECIMALS) for line in lines]
    floors = [int(line.to_integral_value(rounding=ROUND_FLOOR)) for line in units]
    ceilings = [int(line.to_integral_value(rounding=ROUND_CEILING)) for line in units]
    if ceilings[-1] > MAX_UNITS:
        raise UserError(
            f"grid.upper = {plain(lines[-1])} is above {plain(from_units(MAX_UNITS))}, the "
            "highest price that candles can have"
        )
    return np.array(floors, dtype=np.int64), np.array(ceilings, dtype=np.int64)


def _touched(candles: Candles, floors: Integers, ceilings: Integers) -> Integers:
    """Indexes of the candles whose walk touches a line."""
    low, high = candles.reach
    reached_at = np.append(ceilings, MAX_UNITS)
    return np.flatnonzero(reached_at[np.searchsorted(floors, low, side="left")] <= high)


def _vertices(candles: Candles, indexes: Integers) -> Integers:
    """The prices that the walk through these candles turns at, four for each."""
    opens, closes = candles.opens[indexes], candles.closes[indexes]
    lows, highs = candles.lows[indexes], candles.highs[indexes]
    rising = closes >= opens
    prices = np.empty((len(indexes), VERTICES), dtype=np.int64)
    prices[:, 0] = opens
    prices[:, 1] = np.where(rising, lows, highs)
    prices[:, 2] = np.where(rising, highs, lows)
    prices[:, 3] = closes
    return prices.ravel()


def _expand(steps: Integers, start: Integers, candle: Integers) -> Crossings:
    """Each move of the empty line, from `start` by `steps` lines, as its single fills."""
    counts = np.abs(steps)
    move = np.repeat(np.arange(len(steps)), counts)
    nth = np.arange(len(move)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    sell = steps[move] > 0
    return Crossings(candle[move], start[move] + np.where(sell, nth, -nth), sell)
