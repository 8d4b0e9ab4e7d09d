"""Equity over a backtest, and its largest fall.

The curve has a point at every fill and at every candle's close. It is computed in doubles, which
only say *where* the peaks and the falls are; what is reported is computed again at these points,
in exact decimals.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
from gridbase.candles.price_units import UNITS_PER_QUOTE, from_units
from gridbase.market import EXACT

from gridbot.backtest.data import Candles, Floats, Integers
from gridbot.backtest.ledger import Ledger

SHARE_UNIT = Decimal("1E-10")


@dataclass(frozen=True)
class Drawdown:
    """The largest falls of equity from a peak before; each is the largest of its own kind.

    Attributes:
        share: as a share of that peak, cut to ten decimals.
        quote: in quote, exact.
    """

    share: Decimal
    quote: Decimal


class Curve:
    """Equity at every fill and every close, in the order of the walk.

    Args:
        candles: the market.
        ledger: the fills.

    Attributes:
        values: equity (quote).
        fill_points: index in `values` of each fill; all others are closes.
    """

    def __init__(self, candles: Candles, ledger: Ledger) -> None:
        self._candles = candles
        self._ledger = ledger
        self._investment = ledger.tariff.plan.investment
        fills = len(ledger.candle)
        # Before fill i come i fills and the closes of all candles before its own.
        self.fill_points: Integers = ledger.candle + np.arange(fills)
        length = len(candles) + fills
        base, quote = ledger.holdings()
        prices = np.empty(length)
        closes = np.ones(length, dtype=bool)
        closes[self.fill_points] = False
        self._closes = closes
        prices[closes] = candles.closes
        prices[self.fill_points] = ledger.prices()
        lasts = np.diff(self.fill_points, prepend=0, append=length)
        # In units, as closes are: divided once, with the base.
        prices *= np.repeat(base / UNITS_PER_QUOTE, lasts)
        prices += np.repeat(quote, lasts)
        self.values: Floats = prices

    def at_closes(self) -> Floats:
        """Equity at each candle's close (quote)."""
        return self.values[self._closes]

    def drawdown(self) -> Drawdown:
        """The largest falls; the investment itself is the first peak."""
        peaks = np.maximum.accumulate(self.values)
        np.maximum(peaks, float(self._investment), out=peaks)
        falls = peaks - self.values
        peak, trough = self._ends(int(np.argmax(falls)))
        in_quote = EXACT.subtract(peak, trough)
        falls /= peaks
        peak, trough = self._ends(int(np.argmax(falls)))
        share = EXACT.divide(EXACT.subtract(peak, trough), peak)
        return Drawdown(share.quantize(SHARE_UNIT, ROUND_HALF_EVEN, EXACT), in_quote)

    def _ends(self, trough: int) -> tuple[Decimal, Decimal]:
        """Exact equity at the highest point up to `trough`, and at `trough`."""
        peak = int(np.argmax(self.values[: trough + 1]))
        return max(self._exact(peak), self._investment), self._exact(trough)

    def _exact(self, point: int) -> Decimal:
        fills = int(np.searchsorted(self.fill_points, point, side="right"))
        if fills and self.fill_points[fills - 1] == point:
            price = self._ledger.move(fills - 1).price
        else:
            price = from_units(int(self._candles.closes[point - fills]))
        return self._ledger.account(fills).equity(price)
