"""The market's walk: which price holds after how many legs, and which legs are due. Pure.

A candle is walked in four straight legs: from the previous close to its open; then, if it closes
at or above its open, to its low, its high and its close; else to its high, its low, its close.
Leg 0 is due when the candle begins, each further one a quarter of its duration later. A leg is
made in one step: between two legs nothing can happen that the end of the leg does not decide, as
orders crossed in it fill in the order in which it meets them, each at its own price.

A *position* counts legs: position p says that legs 0 to p are done. Candles are numbered on
through repetitions of a recording: number n is candle n modulo its length.
"""

from fractions import Fraction
from typing import Protocol

from gridbase.candles.series import Candle

LEGS = 4
REPEAT = "repeat"
HOLD = "hold"
PAST_CANDLES = 43_200  # thirty days of minutes


class Series(Protocol):
    """A market's candles: recorded, or made up as they are asked for."""

    name: str
    fingerprint: str
    interval_ms: int

    @property
    def length(self) -> int | None:
        """Number of candles; None when there is no end."""

    @property
    def span_ms(self) -> int:
        """From the first candle's opening to the last one's end; 0 when there is no end."""

    def candle(self, index: int) -> Candle:
        """The candle at `index`, counted from 0; prices in units of 10^-8 quote."""


def legs_of(candle: Candle) -> tuple[int, int, int, int]:
    """The four prices that the walk through a candle turns at, in units."""
    if candle.close >= candle.open:
        return (candle.open, candle.low, candle.high, candle.close)
    return (candle.open, candle.high, candle.low, candle.close)


class Feed:
    """A series as a walk.

    Args:
        series: the candles.
        at_end: `repeat` starts a recording again after its last candle, `hold` stays at its close.
    """

    def __init__(self, series: Series, at_end: str = REPEAT) -> None:
        self.series = series
        self._length = series.length
        self._last = None
        if self._length is not None and at_end == HOLD:
            self._last = self._length * LEGS - 1
        # A made-up market has a past as well; a recording begins with its first candle.
        self.first_number = 0 if self._length is not None else -PAST_CANDLES
        self._number = self.first_number - 1
        self._legs: tuple[int, int, int, int] = (0, 0, 0, 0)

    def limit(self, position: int) -> int:
        """`position`, or the last one there is."""
        return position if self._last is None else min(position, self._last)

    def price(self, position: int) -> int:
        """Price in units after the leg at `position`."""
        number, leg = divmod(position, LEGS)
        if number != self._number:
            self._legs = legs_of(self.candle(number))
            self._number = number
        return self._legs[leg]

    def candle(self, number: int) -> Candle:
        """Candle `number`; in a repetition its time goes on from the recording's end."""
        if self._length is None:
            return self.series.candle(number)
        lap, index = divmod(number, self._length)
        candle = self.series.candle(index)
        return candle._replace(time=candle.time + lap * self.series.span_ms) if lap else candle

    def forming(self, position: int) -> Candle:
        """The candle that `position` is in, with the prices seen of it so far."""
        number, leg = divmod(position, LEGS)
        candle = self.candle(number)
        seen = legs_of(candle)[: leg + 1]
        return candle._replace(
            high=max(seen), low=min(seen), close=seen[-1], volume=candle.volume * (leg + 1) / LEGS
        )

    def known(self, number: int, position: int) -> Candle:
        """Candle `number` as it is known at `position`: whole, or still forming."""
        return self.forming(position) if number == position // LEGS else self.candle(number)


class Pace:
    """How fast the walk goes.

    Args:
        speed: market seconds in a real second.
        interval_ms: length of a candle, in market milliseconds.
    """

    def __init__(self, speed: Fraction, interval_ms: int) -> None:
        self._legs_per_ms = speed * LEGS / interval_ms

    def legs(self, elapsed_ms: int) -> int:
        """Legs that come due within `elapsed_ms` real milliseconds."""
        rate = self._legs_per_ms
        return elapsed_ms * rate.numerator // rate.denominator

    def due_ms(self, legs: int) -> int:
        """The first real millisecond at which so many legs are due."""
        rate = self._legs_per_ms
        return -(-legs * rate.denominator // rate.numerator)
