"""Closed candles at hand: fetched once, then only what is new, and only when there must be some.

No clock and no network of its own: both are arguments.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from gridbase.candles.series import Candle
from gridbase.errors import ExitCode, UserError

from gridbot.indicators.window import CandleGapError, CandleWindow

_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
# Lengths that begin at whole multiples of themselves since 1970 UTC; weeks and months do not.
_NAMES = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
INTERVALS = {name: int(name[:-1]) * _UNIT_MS[name[-1]] for name in _NAMES}
# What Binance gives in one answer.
MOST_CANDLES = 1000
MOST_INTERVALS = 8
# Candles of which the newest ended longer ago than so many of its lengths and this are not of now.
OLD_LENGTHS = 2
OLD_MS = 120_000
# Candles that nobody asked for in so long are dropped, those of long lengths later.
_UNUSED_MS = 3_600_000

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
    used_ms: int = 0
    asked: int = 0
    pushed: int = 0
    retry_ms: int = 0
    failure: str = ""

    def wanted(self, count: int, due_ms: int) -> int:
        """How many of the latest candles to ask for; 0 for none.

        Args:
            count: how many are needed.
            due_ms: what closed by then is to be here.
        """
        last, length = self.window.last_time, self.window.interval_ms
        if last is None or self.lacks(count):
            return max(count, self.asked)
        missing = max(due_ms // length * length - length, self.pushed) - last
        # One more than is missing: if that one is known, nothing lies between.
        return min(missing // length + 1, max(count, self.asked)) if missing > 0 else 0

    def lacks(self, count: int) -> bool:
        """Whether more candles are needed than the exchange was ever asked for."""
        return count > max(self.asked, self.window.length)


@dataclass
class CandleCache:
    """The closed candles of one symbol, by interval.

    Attributes:
        fetch: gets the latest closed candles of an interval, oldest first, at most so many.
        capacity: most candles kept of each interval.
        grace_ms: how long after its end a candle may take to arrive by itself, or to be offered.
        pause_ms: shortest time between two requests for the same candles; a candle of a stream
            that runs may be so late.
    """

    fetch: Fetch
    capacity: int = MOST_CANDLES
    grace_ms: int = 2_000
    pause_ms: int = 30_000
    _entries: dict[str, _Entry] = field(default_factory=dict, init=False)

    @property
    def intervals(self) -> list[str]:
        """The intervals that are kept: those that a stream of closed candles is of use for."""
        return list(self._entries)

    def series(
        self, interval: str, count: int, now_ms: int, *, streamed: bool = False
    ) -> CandleWindow:
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
            streamed: new candles are pushed; one is asked for only where it is late by the pause.

        Raises:
            BrokerError: the request failed (whatever `fetch` raises).
            CandlesMissingError: it failed before, and the pause is not over; or the exchange has
                none of now.
        """
        if not 0 < count <= self.capacity:
            raise ValueError(f"count must be from 1 to {self.capacity}, not {count}")
        entry = self._entry(interval, now_ms)
        wanted = entry.wanted(count, now_ms - (self.pause_ms if streamed else self.grace_ms))
        # A clock that was set back does not make the pause longer.
        early = now_ms < entry.retry_ms <= now_ms + self.pause_ms
        if wanted and early and entry.failure:
            raise CandlesMissingError(
                f"candles {interval} are not up to date: {entry.failure}; asked for again in "
                f"{-(-(entry.retry_ms - now_ms) // 1000)} s",
                ExitCode.EXCHANGE,
            )
        if wanted and (not early or entry.lacks(count)):
            self._update(interval, entry, wanted, max(count, entry.asked), now_ms)
        _refuse_old(interval, entry.window, now_ms)
        return entry.window

    def push(self, interval: str, candle: Candle) -> None:
        """Take a closed candle from a stream; doubles and intervals not asked for are ignored."""
        entry = self._entries.get(interval)
        last = None if entry is None else entry.window.last_time
        if entry is not None and last is not None and candle.time > last:
            entry.pushed = max(entry.pushed, candle.time)
            # What does not connect is not taken: the next to ask has the missing ones fetched.
            with contextlib.suppress(CandleGapError):
                entry.window.append(candle)

    def clean(self, now_ms: int) -> None:
        """Drop the candles that nobody has asked for lately."""
        for interval, entry in list(self._entries.items()):
            if now_ms - entry.used_ms > max(_UNUSED_MS, 2 * entry.window.interval_ms):
                del self._entries[interval]

    def _entry(self, interval: str, now_ms: int) -> _Entry:
        if interval not in self._entries:
            if len(self._entries) >= MOST_INTERVALS:
                del self._entries[min(self._entries, key=lambda key: self._entries[key].used_ms)]
            self._entries[interval] = _Entry(CandleWindow(INTERVALS[interval], self.capacity))
        self._entries[interval].used_ms = now_ms
        return self._entries[interval]

    def _update(self, interval: str, entry: _Entry, wanted: int, full: int, now_ms: int) -> None:
        length, last = entry.window.interval_ms, entry.window.last_time
        # One that has not closed would stay unfinished for ever.
        closed_by = now_ms + self.grace_ms - length
        entry.retry_ms = now_ms + self.pause_ms
        try:
            candles = [one for one in self.fetch(interval, wanted) if one.time <= closed_by]
            if wanted < full and candles and (last is None or candles[0].time > last):
                # Something may lie between the latest one and these.
                wanted = full
                candles = [one for one in self.fetch(interval, full) if one.time <= closed_by]
        except Exception as error:
            entry.failure = str(error)
            raise
        entry.failure = ""
        if wanted == full:
            entry.window, entry.asked, last = CandleWindow(length, self.capacity), full, None
        for candle in candles:
            if last is None or candle.time > last:
                # Where the exchange itself has no candle, there is none to wait for.
                entry.window.append(candle, bridge=True)
        if not entry.wanted(1, now_ms - self.grace_ms):
            entry.retry_ms = 0


def _refuse_old(interval: str, window: CandleWindow, now_ms: int) -> None:
    length = window.interval_ms
    age_ms = 0 if window.last_time is None else now_ms - window.last_time - length
    if age_ms > OLD_LENGTHS * length + OLD_MS:
        raise CandlesMissingError(
            f"the newest candle {interval} ended {age_ms // _UNIT_MS['m']} minutes ago",
            ExitCode.EXCHANGE,
        )
