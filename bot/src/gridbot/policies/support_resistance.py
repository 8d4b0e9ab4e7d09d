"""Support and resistance: prices at which a market has turned before. Pure, deterministic.

A swing high is a candle whose high is above those of its neighbours on both sides, a swing low one
whose low is below theirs (Bill Williams, Trading Chaos, 1995: the fractal, two neighbours a side).
Swings closer together than half a mean true range are one level, at their mean price; a level
counts once the market has turned there twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from gridbot.indicators.window import CandleWindow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEIGHBOURS = 2
TOUCHES = 2
_TOLERANCE = 0.5


@dataclass(frozen=True)
class Level:
    """A price at which the market has turned.

    Attributes:
        price: mean of the swings, seven digits (quote); to be rounded to the tick.
        touches: how many swings.
    """

    price: Decimal
    touches: int


def find_levels(series: CandleWindow, candles: int) -> list[Level]:
    """Levels in the latest closed candles, from the lowest to the highest.

    Args:
        series: closed candles.
        candles: how many of the latest are looked at.
    """
    import numpy as np

    highs, lows = series.highs(candles), series.lows(candles)
    if len(highs) <= 2 * NEIGHBOURS:
        return []
    turns = np.sort(np.concatenate((highs[_peaks(highs)], lows[_peaks(-lows)]))).astype(float)
    width = _TOLERANCE * float(np.mean(series.true_ranges(candles)[1:], dtype=float))
    return [
        Level(Decimal(f"{sum(group) / len(group):.7g}"), len(group))
        for group in _clusters(turns.tolist(), width)
        if len(group) >= TOUCHES
    ]


def _peaks(values: NDArray[np.float32]) -> NDArray[np.intp]:
    """Indexes of values above their neighbours; of equal ones next to each other, the first."""
    import numpy as np

    size = len(values) - 2 * NEIGHBOURS
    middle = values[NEIGHBOURS : NEIGHBOURS + size]
    found = np.ones(size, dtype=bool)
    for distance in range(1, NEIGHBOURS + 1):
        found &= middle > values[NEIGHBOURS - distance :][:size]
        found &= middle >= values[NEIGHBOURS + distance :][:size]
    return found.nonzero()[0] + NEIGHBOURS


def _clusters(prices: list[float], width: float) -> list[list[float]]:
    """Sorted prices in groups, none of which is wider than `width`."""
    groups: list[list[float]] = []
    for price in prices:
        if groups and price - groups[-1][0] <= width:
            groups[-1].append(price)
        else:
            groups.append([price])
    return groups
