"""Closed candles at hand: fetched once, then only what is new, and only when there must be some.

No clock and no network of its own: both are arguments.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from gridbase.candles.series import Candle
from gridbase.errors import ExitCode, UserError

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
# Candles of which the newest ended longer ago than so many of its lengths and this are not of now.
OLD_LENGTHS = 2
OLD_MS = 120_000

Fetch = Callable[[str, int], list[Candle]]


class CandlesMissingError(UserError):
    """The candles are not up to date, and it is too early to ask for them again."""


@dataclass
class _Entry:
    """One interval's candles, and what was last asked for.

    Attributes:
        window: the candles.
        asked: how many the window was filled with at least, or would have been if there were.
        pushed: the newest candle that a stream has told of, even where it did not connect.
        retry_ms: the same candles are not asked for before this time.
        failure: what the last request failed with; empty where it succeeded.
        used_ms: when somebody last asked.
    """

    window: CandleWindow
    used_ms: int
    asked: int = 0
    pushed: int = 0
    retry_ms: int = 0
    failure: str = ""

    def lacks(self, count: int) -> bool:
        """Whether more candles are needed than the exchange was ever asked for."""
        return count > max(self.asked, self.window.length)


class CandleCache:
    """The closed candles of one symbol, by interval.

    Args:
        fetch: gets the latest closed candles of an interval, oldest first, at most so many.
        capacity: most candles kept of each interval.
        grace_ms: how long after its end a candle may take to arrive by itself, or to be offered.
        pause_ms: shortest time between two requests for the same candles.
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

    @property
    def intervals(self) -> list[str]:
        """The intervals that are kept: those that a stream of closed candles is of use for."""
        return list(self._entries)

    def series(self, interval: str, count: int, now_ms: int) -> CandleWindow:
        """The latest closed candles, shared by all who ask.

        A request is made only where candles are missing: at first, after a gap, and when the next
        one has closed and was not pushed within the grace. There may be fewer than `count`, where
        the exchange has no more, and the newest may still be missing, where it does not offer it
        yet; that one is asked for again after the pause. What is older than twice the length of a
        candle and two minutes counts as missing: nothing is judged by it.

        Args:
            interval: one of `INTERVALS`.
            count: how many candles are needed, at most the capacity.
            now_ms: the time, in milliseconds since 1970 UTC.

        Raises:
            BrokerError: the request failed (whatever `fetch` raises).
            CandlesMissingError: it failed before, and the pause is not over; or the exchange has
                none of now.
        """
        if not 0 < count <= self._capacity:
            raise ValueError(f"count must be from 1 to {self._capacity}, not {count}")
        entry = self._entry(interval, now_ms)
        entry.used_ms = now_ms
        self._bring_up_to_date(interval, entry, count, now_ms)
        _refuse_old(interval, entry.window, now_ms)
        return entry.window

    def _bring_up_to_date(self, interval: str, entry: _Entry, count: int, now_ms: int) -> None:
        wanted = self._wanted(entry, count, now_ms)
        if not wanted:
            return
        # A clock that was set back does not make the pause longer.
        early = now_ms < entry.retry_ms <= now_ms + self._pause_ms
        if early and entry.failure:
            raise CandlesMissingError(
                f"candles {interval} are not up to date: {entry.failure}; asked for again in "
                f"{-(-(entry.retry_ms - now_ms) // 1000)} s",
                ExitCode.EXCHANGE,
            )
        if not early or entry.lacks(count):
            self._update(interval, entry, wanted, max(count, entry.asked), now_ms)

    def push(self, interval: str, candle: Candle) -> None:
        """Take a closed candle from a stream; doubles and intervals not asked for are ignored."""
        entry = self._entries.get(interval)
        if entry is None or entry.window.last_time is None:
            return
        if candle.time <= entry.window.last_time:
            return
        entry.pushed = max(entry.pushed, candle.time)
        # What does not connect is not taken: the next to ask has the missing ones fetched.
        with contextlib.suppress(CandleGapError):
            entry.window.append(candle)

    def clean(self, now_ms: int) -> None:
        """Drop the candles that nobody has asked for lately."""
        for interval, entry in list(self._entries.items()):
            unused_ms = max(self._unused_ms, 2 * entry.window.interval_ms)
            if now_ms - entry.used_ms > unused_ms:
                del self._entries[interval]

    def _entry(self, interval: str, now_ms: int) -> _Entry:
        entry = self._entries.get(interval)
        if entry is None:
            if len(self._entries) >= MOST_INTERVALS:
                del self._entries[min(self._entries, key=lambda key: self._entries[key].used_ms)]
            entry = _Entry(CandleWindow(INTERVALS[interval], self._capacity), now_ms)
            self._entries[interval] = entry
        return entry

    def _wanted(self, entry: _Entry, count: int, now_ms: int) -> int:
        """How many of the latest candles to ask for; 0 for none."""
        last = entry.window.last_time
        full = max(count, entry.asked)
        if last is None or entry.lacks(count):
            return full
        length = entry.window.interval_ms
        newest = (now_ms - self._grace_ms) // length * length - length
        missing = max(newest, entry.pushed) - last
        # One more than is missing: if that one is known, nothing lies between.
        return min(missing // length + 1, full) if missing > 0 else 0

    def _update(self, interval: str, entry: _Entry, wanted: int, full: int, now_ms: int) -> None:
        entry.retry_ms = now_ms + self._pause_ms
        try:
            candles = self._request(interval, entry, wanted, now_ms)
            if wanted < full and not _connects(candles, entry.window):
                wanted = full
                candles = self._request(interval, entry, wanted, now_ms)
        except Exception as error:
            entry.failure = str(error)
            raise
        entry.failure = ""
        if wanted == full:
            entry.window = CandleWindow(entry.window.interval_ms, self._capacity)
            entry.asked = full
        last = entry.window.last_time
        for candle in candles:
            if last is None or candle.time > last:
                # Where the exchange itself has no candle, there is none to wait for.
                entry.window.append(candle, bridge=True)
        if not self._wanted(entry, 1, now_ms):
            entry.retry_ms = 0

    def _request(self, interval: str, entry: _Entry, wanted: int, now_ms: int) -> list[Candle]:
        """Candles that have closed; one that has not would stay unfinished for ever."""
        closed_by = now_ms + self._grace_ms - entry.window.interval_ms
        return [candle for candle in self._fetch(interval, wanted) if candle.time <= closed_by]


def _refuse_old(interval: str, window: CandleWindow, now_ms: int) -> None:
    if window.last_time is None:
        return
    age_ms = now_ms - window.last_time - window.interval_ms
    if age_ms > OLD_LENGTHS * window.interval_ms + OLD_MS:
        raise CandlesMissingError(
            f"the newest candle {interval} ended {age_ms // _MINUTE_MS} minutes ago",
            ExitCode.EXCHANGE,
        )


def _connects(candles: list[Candle], window: CandleWindow) -> bool:
    """Whether nothing can lie between the window's latest candle and these."""
    last = window.last_time
    return not candles or (last is not None and candles[0].time <= last)
