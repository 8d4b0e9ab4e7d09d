"""The latest closed candles of one interval, and the indicators over them."""

from __future__ import annotations

from array import array
from typing import TypeVar

from gridbase.candles.price_units import UNITS_PER_QUOTE
from gridbase.candles.series import Candle

from gridbot.indicators.averages import Ema, Sma
from gridbot.indicators.indicator import Indicator, Line, Step
from gridbot.indicators.wilder import Adx, Atr, Rsi

_Kind = TypeVar("_Kind", Rsi, Atr, Adx, Ema, Sma)


class CandleOrderError(ValueError):
    """A candle is not newer than the one before it."""


class CandleGapError(ValueError):
    """Candles are missing before this one.

    Args:
        missing: how many.
    """

    def __init__(self, missing: int) -> None:
        super().__init__(f"{missing} candles are missing")
        self.missing = missing


class CandleWindow:
    """Closed candles of one interval in order of time; of more than `capacity`, the latest.

    Everything is allocated at the start. Differences between prices are taken from the candles'
    whole numbers and only then rounded to float32, so that they are good to 24 bits however close
    two prices lie. An indicator costs nothing until it is first asked for; it then catches up with
    the candles that are kept, and from there on takes each new one in constant time. It is a
    function of the candles alone: asked for early or late, it has the same bits, as long as the
    window has not begun to overwrite.

    Args:
        interval_ms: length of a candle in milliseconds.
        capacity: how many candles are kept.

    Attributes:
        gaps: how many candles were missing in gaps that were bridged.
        opens: gives the first prices of so many of the latest candles (quote), oldest first.
        highs: their highest prices (quote), likewise.
        lows: their lowest prices (quote).
        closes: their last prices (quote).
        volumes: their volumes (base).
        true_ranges: their true ranges (quote).
    """

    def __init__(self, interval_ms: int, capacity: int) -> None:
        self.interval_ms = interval_ms
        self.capacity = capacity
        self.gaps = 0
        self._times = array("q", bytes(8 * capacity))
        self._count = 0
        self._last: Candle | None = None
        self._volumes = Line(capacity)
        # Of each candle, what `_store` makes of its prices: a `Step` is the last five.
        self._kept = [Line(capacity) for _ in range(8)]
        self.volumes = self._volumes.latest
        self.opens, self.highs, self.lows, self.closes, _, self.true_ranges = (
            line.latest for line in self._kept[:6]
        )
        self._indicators: dict[tuple[type, int], Indicator] = {}

    @property
    def length(self) -> int:
        """How many candles are kept."""
        return self._volumes.length

    @property
    def last_time(self) -> int | None:
        """When the latest candle opened, in milliseconds; None where there is none."""
        return None if self._last is None else self._last.time

    def append(self, candle: Candle, *, bridge: bool = False) -> None:
        """Take the next closed candle.

        Args:
            candle: prices in units of 10^-8 quote.
            bridge: take it even where candles are missing before it, because there are none.

        Raises:
            CandleOrderError: it is not newer than the latest one.
            CandleGapError: candles are missing before it.
        """
        if self._last is not None:
            distance = candle.time - self._last.time
            if distance <= 0:
                raise CandleOrderError(f"{candle.time} comes after {self._last.time}")
            missing = -(-distance // self.interval_ms) - 1
            if missing and not bridge:
                raise CandleGapError(missing)
            self.gaps += missing
        self._store(candle, self._last if self._last is not None else candle)
        step = self._step(0)
        for indicator in self._indicators.values():
            indicator.feed(step)

    def _store(self, candle: Candle, before: Candle) -> None:
        self._times[self._count % self.capacity] = candle.time
        self._count += 1
        self._last = candle
        highest, lowest = max(candle.high, before.close), min(candle.low, before.close)
        up, down = candle.high - before.high, before.low - candle.low
        units = (
            candle.open,
            candle.high,
            candle.low,
            candle.close,
            candle.close - before.close,
            highest - lowest,
            up if up > down and up > 0 else 0,
            down if down > up and down > 0 else 0,
        )
        self._volumes.push(candle.volume)
        for line, number in zip(self._kept, units, strict=True):
            line.push(number / UNITS_PER_QUOTE)

    def _step(self, back: int) -> Step:
        return Step(*(line.back(back) for line in self._kept[3:]))

    @property
    def nbytes(self) -> int:
        """Memory of the candles and of all indicators' values, in bytes."""
        lines = [line for known in self._indicators.values() for line in known.lines]
        return 8 * self.capacity + sum(line.nbytes for line in (self._volumes, *self._kept, *lines))

    def _indicator(self, kind: type[_Kind], period: int) -> _Kind:
        known = self._indicators.get((kind, period))
        if isinstance(known, kind):
            return known
        if period < 1:
            raise ValueError(f"period must be 1 or more, not {period}")
        indicator = kind(period, self.capacity)
        for back in reversed(range(self.length)):
            indicator.feed(self._step(back))
        self._indicators[kind, period] = indicator
        return indicator

    def rsi(self, period: int) -> Rsi:
        """The relative strength index over this many candles."""
        return self._indicator(Rsi, period)

    def atr(self, period: int) -> Atr:
        """The average true range over this many candles."""
        return self._indicator(Atr, period)

    def adx(self, period: int) -> Adx:
        """The average directional index over this many candles."""
        return self._indicator(Adx, period)

    def ema(self, period: int) -> Ema:
        """The exponential average of closes over this many candles."""
        return self._indicator(Ema, period)

    def sma(self, period: int) -> Sma:
        """The simple average of closes over this many candles."""
        return self._indicator(Sma, period)

    def times(self, count: int) -> list[int]:
        """When the latest `count` candles opened, in milliseconds, oldest first."""
        kept = range(self._count - min(count, self.length), self._count)
        return [self._times[index % self.capacity] for index in kept]
