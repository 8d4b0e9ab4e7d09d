"""What the price did in each hour: kept in memory, handed over once the hour is over. Pure."""

from dataclasses import replace
from decimal import Decimal

from gridbot.store import Sample

HOUR_MS = 3_600_000
# A longer time between two looks was not watched: it is not counted.
LONGEST_LOOK_MS = 60_000


class Sampler:
    """Collects the price of one symbol.

    Args:
        symbol: unified name.
    """

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._sample: Sample | None = None
        self._finished: list[Sample] = []
        self._watched_ms = 0
        self._in_range_ms = 0
        self._last: tuple[int, bool] | None = None  # time, and whether the price was in range

    def see(self, price: Decimal, lower: Decimal, upper: Decimal, now_ms: int) -> None:
        """Look at a price.

        Args:
            price: the latest (quote).
            lower: price of the lowest line (quote).
            upper: price of the highest line (quote).
            now_ms: when (Unix milliseconds).
        """
        hour = now_ms // HOUR_MS * HOUR_MS
        if self._sample is None or self._sample.hour_ms != hour:
            self._finish()
            self._sample = Sample(self._symbol, hour, price, price, price, price, 0, 0)
        self._count(now_ms)
        self._last = (now_ms, lower <= price <= upper)
        sample = self._sample
        self._sample = replace(
            sample, high=max(sample.high, price), low=min(sample.low, price), close=price
        )

    def _count(self, now_ms: int) -> None:
        if self._last is None:
            return
        before, in_range = self._last
        passed = min(max(now_ms - before, 0), LONGEST_LOOK_MS)
        self._watched_ms += passed
        self._in_range_ms += passed if in_range else 0

    def _finish(self) -> None:
        if self._sample is not None:
            seconds, in_range = self._watched_ms // 1000, self._in_range_ms // 1000
            self._finished.append(replace(self._sample, seconds=seconds, in_range_seconds=in_range))
        self._sample = None
        self._watched_ms = self._in_range_ms = 0

    def take_finished(self, now_ms: int) -> list[Sample]:
        """The hours that are over, once each."""
        if self._sample is not None and now_ms // HOUR_MS * HOUR_MS != self._sample.hour_ms:
            self._finish()
        finished, self._finished = self._finished, []
        return finished

    def take_all(self) -> list[Sample]:
        """The hours that are over and the one under way, at the end of a run."""
        self._finish()
        finished, self._finished = self._finished, []
        return finished
