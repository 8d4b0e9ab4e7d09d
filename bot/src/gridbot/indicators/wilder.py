"""RSI, ATR and ADX of J. Welles Wilder, New Concepts in Technical Trading Systems (1978).

His average: the simple mean of the first `period` numbers, then
``average + (number - average) / period``. The state is Python's double, what goes in and comes out
is float32; docs/indicators.md weighs that.
"""

from __future__ import annotations

import math

from gridbot.indicators.averages import Average
from gridbot.indicators.indicator import UNDEFINED, Indicator, Line, Step


class Rsi(Indicator):
    """Relative strength index, 0 to 100, from candle ``period + 1`` on.

    ``100 * gain / (gain + loss)`` of the Wilder averages of gains and losses, which is Wilder's
    ``100 - 100 / (1 + gain / loss)`` without its division by 0. A market that has not moved at all
    has 50: neither strong nor weak (TA-Lib says 0, which would read as the weakest of all).
    """

    def __init__(self, period: int, capacity: int) -> None:
        super().__init__(period, capacity)
        self._gain = Average(period, period)
        self._loss = Average(period, period)

    def feed(self, step: Step) -> None:
        """Take the next closed candle."""
        self._seen += 1
        if self._seen == 1:
            self.line.push(UNDEFINED)
            return
        gain = self._gain.feed(max(step.change, 0.0))
        moved = gain + self._loss.feed(max(-step.change, 0.0))
        self.line.push(50.0 if moved == 0 else 100 * gain / moved)


class Atr(Indicator):
    """Average true range (quote), from candle ``period + 1`` on."""

    def __init__(self, period: int, capacity: int) -> None:
        super().__init__(period, capacity)
        self._average = Average(period, period)

    def feed(self, step: Step) -> None:
        """Take the next closed candle."""
        self._seen += 1
        self.line.push(UNDEFINED if self._seen == 1 else self._average.feed(step.true_range))


class _DecayingSum:
    """Wilder's sum of directional movement: each candle it loses one part in `period`.

    Seeded as TA-Lib does: ``period - 1`` numbers are added up, and the next one is the first to
    find the sum decayed.
    """

    __slots__ = ("_period", "_seen", "_value")

    def __init__(self, period: int) -> None:
        self._period = period
        self._seen = 0
        self._value = 0.0

    def feed(self, number: float) -> float:
        if self._seen < self._period - 1:
            self._seen += 1
            self._value += number
        else:
            self._value += number - self._value / self._period
        return self._value


class Adx(Indicator):
    """Average directional index and the two directional indicators, all 0 to 100.

    The indicators start with candle ``period + 1``, the index with candle ``2 * period``, which is
    the 28th for 14 (index 27), as in TA-Lib. A candle whose direction is undefined (no movement
    either way) leaves the index as it was.

    Attributes:
        line: the index (ADX).
        plus: +DI.
        minus: -DI.
    """

    def __init__(self, period: int, capacity: int) -> None:
        super().__init__(period, capacity)
        self.plus = Line(capacity)
        self.minus = Line(capacity)
        self._true_range = _DecayingSum(period)
        self._plus = _DecayingSum(period)
        self._minus = _DecayingSum(period)
        self._average = Average(period, period)
        self._value = UNDEFINED

    def feed(self, step: Step) -> None:
        """Take the next closed candle."""
        self._seen += 1
        plus_di = minus_di = UNDEFINED
        if self._seen > 1:
            true_range = self._true_range.feed(step.true_range)
            plus = self._plus.feed(step.plus_dm)
            minus = self._minus.feed(step.minus_dm)
            if self._seen > self._period:
                moved = plus + minus
                if moved > 0:
                    self._value = self._average.feed(100 * abs(plus - minus) / moved)
                elif math.isnan(self._value):
                    self._value = self._average.feed(0.0)
                plus_di = 100 * plus / true_range if true_range > 0 else 0.0
                minus_di = 100 * minus / true_range if true_range > 0 else 0.0
        self.plus.push(plus_di)
        self.minus.push(minus_di)
        self.line.push(self._value)

    @property
    def lines(self) -> tuple[Line, ...]:
        """All of its values."""
        return self.line, self.plus, self.minus
