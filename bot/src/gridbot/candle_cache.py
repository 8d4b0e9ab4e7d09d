"""Closed candles at hand: fetched once, then only what is new, and only when there must be some.

No clock and no network of its own: both are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gridbot.candles.series import Candle
from gridbot.errors import ExitCode, UserError
from gridbot.indicators.window import CandleGapError, CandleWindow

_MINUTE_MS = 60_000
# Lengths that begin at whole multiples of themselves since 1970 UTC; weeks and months do not.
INTERVALS = {
    "1m": _MINUTE_MS,
    "3m": 3 * _MINUTE_MS,
    "5m": 5 * _MINUTE_MS,
    "15m": 15 * _MINUTE_MS,
    "30m": 30 * _MINUTE_MS,
    "1h": 60 * _MINUTE_MS,
    "2h": 120 * _MINUTE_MS,
    "4h": 240 * _MINUTE_MS,
    "6h": 360 * _MINUTE_MS,
    "8h": 480 * _MINUTE_MS,
    "12h": 720 * _MINUTE_MS,
    "1d": 1440 * _MINUTE_MS,
}
# What Binance gives in one answer.
MOST_CANDLES = 1000
MOST_INTERVALS = 8

Fetch = Callable[[str, int], list[Candle]]


class CandlesMissingError(UserError):
    """The candles are not up to date, and it is too early to ask for them again."""


@dataclass
class _Entry:
    """One interval's candles, and what was last asked for.

    Attributes:
        window: the candles.
        asked: the largest number of candles ever asked for into this window.
        retry_ms: no request before this time.
        failure: what the last request failed with; empty where it succeeded.
        gap: a pushed candle did not connect; what is missing has to be fetched.
        used_ms: when somebody last asked.
    """

    window: CandleWindow
    asked: int = 0
    retry_ms: int = 0
    failure: str = ""
    gap: bool = False
    used_ms: int = 0


class CandleCache:
    """The closed candles of one symbol, by interval.

    Args:
        fetch: gets the latest closed candles of an interval, oldest first, at most so many.
        capacity: most candles kept of each interval.
        grace_ms: how long after its end a candle may take to arrive by itself, or to be offered.
        pause_ms: shortest time between two requests for the same candle.
        unused_ms: candles that nobody asked for in so long are dropped by `clean`.
    """

    def __init__(
        self,
        fetch: Fetch,
        capacity: int = MOST_CANDLES,
        *,
        grace_ms: int = 2_000,
        pause_ms: int = 30_000,
        unused_ms: int = 3_600_000,
    ) -> None:
        self._fetch = fetch
        self._capacity = capacity
        self._grace_ms = grace_ms
        self._pause_ms = pause_ms
        self._unused_ms = unused_ms
        self._entries: dict[str, _Entry] = {}

    def series(self, interval: str, count: int, now_ms: int) -> CandleWindow:
        """The latest closed candles, shared by all who ask.

        A request is made only where candles are missing: at first, after a gap, and when the next
        one has closed and has not been pushed within the grace. There may be fewer than `count`,
        where the exchange has no more.

        Args:
            interval: one of `INTERVALS`.
            count: how many candles are needed at least; no more than the capacity.
            now_ms: the time, in milliseconds since 1970 UTC.

        Raises:
            BrokerError: whatever `fetch` raises; the next request comes after the pause.
            CandlesMissingError: the last request failed, and the pause is not over.
        """
        if not 0 < count <= self._capacity:
            raise ValueError(f"count must be from 1 to {self._capacity}, not {count}")
        entry = self._entry(interval, now_ms)
        entry.used_ms = now_ms
        wanted = self._missing(entry, count, now_ms)
        if not wanted:
            return entry.window
        if now_ms < entry.retry_ms:
            if entry.failure:
                raise CandlesMissingError(
                    f"candles {interval} are not up to date: {entry.failure}; asked again in "
                    f"{-(-(entry.retry_ms - now_ms) // 1000)} s",
                    ExitCode.EXCHANGE,
                )
            return entry.window
        self._request(interval, entry, wanted, now_ms)
        return entry.window

    def push(self, interval: str, candle: Candle) -> None:
        """Take a closed candle from a stream. Doubles and unasked-for intervals are ignored."""
        entry = self._entries.get(interval)
        if entry is None or entry.window.last_time is None:
            return
        if candle.time <= entry.window.last_time:
            return
        try:
            entry.window.append(candle)
        except CandleGapError:
            entry.gap = True

    def clean(self, now_ms: int) -> None:
        """Drop the candles that nobody has asked for lately."""
        for interval, entry in list(self._entries.items()):
            unused = max(self._unused_ms, 2 * entry.window.interval_ms)
            if now_ms - entry.used_ms > unused:
                del self._entries[interval]

    @property
    def intervals(self) -> list[str]:
        """The intervals that are kept: what a stream of closed candles is of use for."""
        return list(self._entries)

    def _entry(self, interval: str, now_ms: int) -> _Entry:
        entry = self._entries.get(interval)
        if entry is None:
            if len(self._entries) >= MOST_INTERVALS:
                oldest = min(self._entries, key=lambda name: self._entries[name].used_ms)
                del self._entries[oldest]
            entry = _Entry(CandleWindow(INTERVALS[interval], self._capacity), used_ms=now_ms)
            self._entries[interval] = entry
        return entry

    def _missing(self, entry: _Entry, count: int, now_ms: int) -> int:
        """How many candles to ask for; 0 for none."""
        window = entry.window
        if window.last_time is None or count > max(entry.asked, window.length):
            return count
        length = window.interval_ms
        closed = (now_ms - self._grace_ms) // length * length - length
        if entry.gap:
            closed = max(closed, now_ms // length * length - length)
        return min(max((closed - window.last_time) // length, 0), self._capacity)

    def _request(self, interval: str, entry: _Entry, wanted: int, now_ms: int) -> None:
        entry.retry_ms = now_ms + self._pause_ms
        try:
            candles = self._fetch(interval, wanted)
        except Exception as error:
            entry.failure = str(error)
            raise
        entry.failure = ""
        entry.gap = False
        self._take(entry, candles, wanted, now_ms)

    def _take(self, entry: _Entry, candles: list[Candle], wanted: int, now_ms: int) -> None:
        window = entry.window
        last = window.last_time
        connects = last is not None and any(
            candle.time <= last + window.interval_ms for candle in candles
        )
        if wanted > entry.asked or (not connects and wanted >= self._capacity):
            window = CandleWindow(window.interval_ms, self._capacity)
        entry.asked = max(entry.asked, wanted)
        entry.window = window
        for candle in candles:
            closes = candle.time + window.interval_ms
            if closes > now_ms + self._grace_ms:
                continue
            if window.last_time is None or candle.time > window.last_time:
                window.append(candle, bridge=True)
