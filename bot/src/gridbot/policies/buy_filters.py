"""Filters that pause new buys: a downtrend, or a market that moves too much. Pure.

Both wait for candles where there are too few (no new buys): whoever switches a filter on asks not
to buy blindly, and a pause costs a chance where a blind buy costs money. Sells are never paused.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from gridbase.market import EXACT, plain

from gridbot.indicators.candle_cache import MOST_CANDLES
from gridbot.indicators.window import CandleWindow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A pause begins above the threshold and ends below this share of it, so that a value
# that swings around the threshold does not switch buys on and off.
RELEASE = Decimal("0.9")
# A downtrend also ends once the fast average is above the slow one by this share: one usual fee.
CROSSING = Decimal("0.001")
# How many candles back the beginning of a pause is looked for.
LOOK_BACK = 50
# After so many periods a Wilder average (ADX: of averages) or an exponential one has forgotten
# all but a thousandth of its seed, so that a restart sees what an uninterrupted run sees. Periods
# above 79 (ADX) and 211 (EMA) have to do with what one answer of the exchange holds.
_WILDER_SETTLES = 10
_AVERAGE_SETTLES = 3.5


@dataclass(frozen=True)
class TrendFilter:
    """Pauses buys while the market trends down.

    Attributes:
        enabled: whether it pauses anything.
        interval: length of its candles, such as ``1h``.
        adx_period: period of the ADX, in candles.
        adx_above: the ADX above which there is a trend, 0 to 100.
        average: ``ema`` or ``sma``.
        fast: period of the fast average, in candles.
        slow: period of the slow average, in candles.
    """

    enabled: bool = False
    interval: str = "1h"
    adx_period: int = 14
    adx_above: Decimal = Decimal(25)
    average: str = "ema"
    fast: int = 20
    slow: int = 50

    def needs(self) -> tuple[str, int]:
        """Interval and number of the candles it judges by."""
        wilder = 2 * self.adx_period + _WILDER_SETTLES * self.adx_period
        average = self.slow
        if self.average == "ema":
            average += int(_AVERAGE_SETTLES * self.slow)
        return self.interval, min(max(wilder, average) + LOOK_BACK, MOST_CANDLES)

    def verdict(self, series: CandleWindow) -> str | None:
        """Whether to buy.

        Paused from where the ADX is above `adx_above` with the fast average below the slow one,
        until the ADX falls below nine tenths of that or the fast average is above the slow one by
        a thousandth.

        Returns:
            None to buy; else a short reason not to.
        """
        if not self.enabled:
            return None
        least = max(2 * self.adx_period, self.slow)
        if series.length < least:
            return f"trend filter waits for candles: {series.length} of {least}"
        adx = series.adx(self.adx_period).line.latest(LOOK_BACK)
        fast = self._average(series, self.fast)
        slow = self._average(series, self.slow)
        release = _release(self.adx_above)
        begins = (adx > float(self.adx_above)) & (fast < slow)
        ends = (adx < float(release)) | (fast > slow * float(1 + CROSSING))
        if not _held(begins, ends):
            return None
        name = self.average.upper()
        if begins[-1]:
            return (
                f"downtrend: ADX {adx[-1]:.1f} above {plain(self.adx_above)}, "
                f"{name} {self.fast} below {name} {self.slow}"
            )
        return (
            f"downtrend not over: ADX {adx[-1]:.1f} not below {plain(release)}, {name} {self.fast} "
            f"not clearly above {name} {self.slow}"
        )

    def _average(self, series: CandleWindow, period: int) -> NDArray[np.float32]:
        if self.average == "ema":
            return series.ema(period).line.latest(LOOK_BACK)
        return series.sma(period).line.latest(LOOK_BACK)


@dataclass(frozen=True)
class VolatilityFilter:
    """Pauses buys while candles are too large.

    Attributes:
        enabled: whether it pauses anything.
        interval: length of its candles, such as ``15m``.
        atr_period: period of the ATR, in candles.
        atr_above_percent: the ATR above which buys pause, in percent of the last close.
    """

    enabled: bool = False
    interval: str = "15m"
    atr_period: int = 14
    atr_above_percent: Decimal = Decimal(3)

    def needs(self) -> tuple[str, int]:
        """Interval and number of the candles it judges by."""
        count = (1 + _WILDER_SETTLES) * self.atr_period + 1 + LOOK_BACK
        return self.interval, min(count, MOST_CANDLES)

    def verdict(self, series: CandleWindow) -> str | None:
        """Whether to buy.

        Paused from where the ATR is above `atr_above_percent` of the close until it falls below
        nine tenths of that.

        Returns:
            None to buy; else a short reason not to.
        """
        if not self.enabled:
            return None
        least = self.atr_period + 1
        if series.length < least:
            return f"volatility filter waits for candles: {series.length} of {least}"
        percent = 100 * series.atr(self.atr_period).line.latest(LOOK_BACK)
        percent = percent / series.closes(LOOK_BACK)
        release = _release(self.atr_above_percent)
        begins = percent > float(self.atr_above_percent)
        if not _held(begins, percent < float(release)):
            return None
        if begins[-1]:
            return f"volatile: ATR {percent[-1]:.2f} % above {plain(self.atr_above_percent)} %"
        return f"volatile: ATR {percent[-1]:.2f} % not below {plain(release)} %"


def _release(threshold: Decimal) -> Decimal:
    return EXACT.multiply(threshold, RELEASE)


def _held(begins: NDArray[np.bool_], ends: NDArray[np.bool_]) -> bool:
    """Whether a pause that began has not ended; neither counts as not."""
    decided = (begins | ends).nonzero()[0]
    return bool(decided.size and begins[decided[-1]])
