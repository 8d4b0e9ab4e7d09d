"""Simple and exponential averages of closes."""

from __future__ import annotations

from gridbot.indicators.indicator import UNDEFINED, Indicator, Step
from gridbot.indicators.ring import Ring


class Sma(Indicator):
    """Simple moving average: the mean of the latest `period` closes.

    The sum is a double of float32 numbers: additions and subtractions are exact as long as the
    prices of a window lie within a factor of a million of each other, so that nothing drifts.

    Args:
        period: how many closes.
        capacity: how many values `line` keeps.

    Attributes:
        line: the average (quote), from candle `period` on.
    """

    def __init__(self, period: int, capacity: int) -> None:
        super().__init__(capacity)
        self._period = period
        self._closes = Ring(period)
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
    """Exponential moving average, weight ``2 / (period + 1)``, seeded with the simple mean.

    Args:
        period: as in the weight; also how many closes make the seed.
        capacity: how many values `line` keeps.

    Attributes:
        line: the average (quote), from candle `period` on.
    """

    def __init__(self, period: int, capacity: int) -> None:
        super().__init__(capacity)
        self._period = period
        self._weight = 2 / (period + 1)
        self._seen = 0
        self._value = 0.0

    def feed(self, step: Step) -> None:
        """Take the next closed candle."""
        self._seen += 1
        if self._seen <= self._period:
            self._value += step.close
            if self._seen < self._period:
                self.line.push(UNDEFINED)
                return
            self._value /= self._period
        else:
            self._value += self._weight * (step.close - self._value)
        self.line.push(self._value)
