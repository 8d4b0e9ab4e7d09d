"""RSI, ATR and ADX of J. Welles Wilder, New Concepts in Technical Trading Systems (1978).

His average: the simple mean of the first `period` numbers, then
``average + (number - average) / period``. The state is Python's double, what goes in and comes out
is float32; docs/indicators.md weighs that.
"""

from __future__ import annotations

from gridbot.indicators.indicator import UNDEFINED, Indicator, Line, Step


class WilderAverage:
    """Wilder's average of a stream of numbers.

    Args:
        period: how many numbers make the seed; the weight of each later one is ``1 / period``.
    """

    __slots__ = ("_period", "_seen", "_value")

    def __init__(self, period: int) -> None:
        self._period = period
        self._seen = 0
        self._value = 0.0

    def feed(self, number: float) -> float | None:
        """The average after the next number; None as long as the seed is not complete."""
        if self._seen < self._period:
            self._seen += 1
            self._value += number
            if self._seen < self._period:
                return None
            self._value /= self._period
        else:
            self._value += (number - self._value) / self._period
        return self._value


class Rsi(Indicator):
    """Relative strength index, 0 to 100, from candle ``period + 1`` on.

    ``100 * gain / (gain + loss)`` of the Wilder averages of gains and losses, which is Wilder's
    ``100 - 100 / (1 + gain / loss)`` without its division by 0. A market that has not moved at all
    has 50: neither strong nor weak (TA-Lib says 0, which would read as the weakest of all).

    Args:
        period: Wilder used 14.
        capacity: how many values `line` keeps.

    Attributes:
        line: the index.
    """

    def __init__(self, period: int, capacity: int) -> None:
        super().__init__(capacity)
        self._gain = WilderAverage(period)
        self._loss = WilderAverage(period)
        self._started = False

    def feed(self, step: Step) -> None:
        """Take the next closed candle."""
        if not self._started:
            self._started = True
            self.line.push(UNDEFINED)
            return
        gain = self._gain.feed(max(step.change, 0.0))
        loss = self._loss.feed(max(-step.change, 0.0))
        if gain is None or loss is None:
            self.line.push(UNDEFINED)
            return
        moved = gain + loss
        self.line.push(100 * gain / moved if moved > 0 else 50.0)


class Atr(Indicator):
    """Average true range (quote), from candle ``period + 1`` on.

    Args:
        period: Wilder used 14.
        capacity: how many values `line` keeps.

    Attributes:
        line: the average.
    """

    def __init__(self, period: int, capacity: int) -> None:
        super().__init__(capacity)
        self._average = WilderAverage(period)
        self._started = False

    def feed(self, step: Step) -> None:
        """Take the next closed candle."""
        if not self._started:
            self._started = True
            self.line.push(UNDEFINED)
            return
        average = self._average.feed(step.true_range)
        self.line.push(UNDEFINED if average is None else average)


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

    Args:
        period: Wilder used 14.
        capacity: how many values each line keeps.

    Attributes:
        line: the index (ADX).
        plus: +DI.
        minus: -DI.
    """

    def __init__(self, period: int, capacity: int) -> None:
        super().__init__(capacity)
        self.plus = Line(capacity)
        self.minus = Line(capacity)
        self._period = period
        self._true_range = _DecayingSum(period)
        self._plus = _DecayingSum(period)
        self._minus = _DecayingSum(period)
        self._average = WilderAverage(period)
        self._value: float | None = None
        self._seen = 0

    def feed(self, step: Step) -> None:
        """Take the next closed candle."""
        self._seen += 1
        if self._seen == 1:
            self._push(UNDEFINED, UNDEFINED)
            return
        true_range = self._true_range.feed(step.true_range)
        plus = self._plus.feed(step.plus_dm)
        minus = self._minus.feed(step.minus_dm)
        if self._seen <= self._period:
            self._push(UNDEFINED, UNDEFINED)
            return
        moved = plus + minus
        if moved > 0:
            self._value = self._average.feed(100 * abs(plus - minus) / moved)
        elif self._value is None:
            self._value = self._average.feed(0.0)
        if true_range > 0:
            self._push(100 * plus / true_range, 100 * minus / true_range)
        else:
            self._push(0.0, 0.0)

    @property
    def lines(self) -> tuple[Line, ...]:
        """All of its values."""
        return self.line, self.plus, self.minus

    def _push(self, plus: float, minus: float) -> None:
        self.plus.push(plus)
        self.minus.push(minus)
        self.line.push(UNDEFINED if self._value is None else self._value)
