"""Simple and exponential averages of closes."""

from __future__ import annotations

from gridbot.indicators.indicator import UNDEFINED, Indicator, Line, Step


class Average:
    """The simple mean of the first `period` numbers, then ``average + (number - average) / slow``.

    Args:
        period: how many numbers make the seed.
        slow: how many times its distance from a new number is longer than a step towards it.
    """

    __slots__ = ("_period", "_seen", "_slow", "_value")

    def __init__(self, period: int, slow: float) -> None:
        self._period = period
        self._slow = slow
        self._seen = 0
        self._value = 0.0

    def feed(self, number: float) -> float:
        """The average after the next number; `UNDEFINED` as long as the seed is not complete."""
        self._seen += 1
        if self._seen > self._period:
            self._value += (number - self._value) / self._slow
            return self._value
        self._value += number
        if self._seen < self._period:
            return UNDEFINED
        self._value /= self._period
        return self._value


class Sma(Indicator):
    """Simple moving average: the mean of the latest `period` closes, from candle `period` on.

    The sum is a double of float32 numbers: additions and subtractions are exact as long as the
    prices of a window lie within a factor of a million of each other, so that nothing drifts.
    """

    def __init__(self, period: int, capacity: int) -> None:
        super().__init__(period, capacity)
        self._closes = Line(period)
        self._sum = 0.0

    def feed(self, step: Step) -> None:
        """Take the next closed candle."""
        if self._closes.length == self._period:
            self._sum -= self._closes.back(self._period - 1)
        self._closes.push(step.close)
        self._sum += step.close
        full = self._closes.length == self._period
        self.line.push(self._sum / self._period if full else UNDEFINED)


class Ema(Indicator):
    """Exponential moving average, weight ``2 / (period + 1)``, from candle `period` on.

    It is seeded with the simple mean of the first `period` closes.
    """

    def __init__(self, period: int, capacity: int) -> None:
        super().__init__(period, capacity)
        self._average = Average(period, (period + 1) / 2)

    def feed(self, step: Step) -> None:
        """Take the next closed candle."""
        self.line.push(self._average.feed(step.close))
