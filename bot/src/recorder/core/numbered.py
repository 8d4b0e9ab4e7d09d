"""Rows whose numbers have no holes: trades, and candles by the number of their minute.

A hole is first waited for (messages overtake each other), then asked for over REST; what the
exchange does not have any more becomes a gap. Rows come out in the order of their numbers, each
once. Rows that stand behind a hole wait; when too many do, the newest are forgotten, which makes
them a hole of their own that is asked for later.
"""

from collections.abc import Callable, Sequence

from recorder.core.rows import Gap, Row, Stream

GRACE_MS = 500  # a message that was overtaken comes within this
PAGE = 1_000  # rows in an answer, at most
MOST_WAITING = 20_000  # rows
MOST_EMPTY = 3  # answers without the rows that are missing, until they count as gone
QUIET_MS = 60_000  # without a row for so long, the exchange is asked whether there was none
GONE = "the exchange does not have them any more"


class Numbered:
    """Keeps the rows of one stream in order and complete.

    Args:
        stream: whose.
        number: tells a row's number.
        last: number of the last row that is recorded, or known to be missing; None at first.
        last_ms: its time.
        open_ended: whether rows after the last one may be asked for before one has come.
        gone: why rows are missing that nobody has.
    """

    def __init__(
        self,
        stream: Stream,
        number: Callable[[Row], int],
        last: int | None = None,
        last_ms: int = 0,
        *,
        open_ended: bool = True,
        gone: str = GONE,
    ) -> None:
        self.stream = stream
        self.last = last
        self.last_ms = last_ms
        self.duplicates = 0
        self._number = number
        self._open_ended = open_ended
        self._gone = gone
        self._waiting: dict[int, Row] = {}
        self._hole_ms: int | None = None
        self._asked: int | None = None
        self._empty = 0
        self._heard_ms: int | None = None
        self._suspicious = last is not None and open_ended

    def take(self, row: Row, now_ms: int) -> list[Row]:
        """Take a row of the stream; returns the rows that are recorded now."""
        self._heard_ms = now_ms
        number = self._number(row)
        if self.last is None:
            self.last = number - 1
        if number <= self.last or number in self._waiting:
            self.duplicates += 1
            return []
        if number == self.last + 1 and not self._waiting:
            self.last, self.last_ms = number, row[0]
            self._hole_ms = None
            return [row]
        self._waiting[number] = row
        if len(self._waiting) > MOST_WAITING:
            for newest in sorted(self._waiting)[MOST_WAITING // 2 :]:
                del self._waiting[newest]
        rows = self._contiguous()
        self._hole_ms = (self._hole_ms or now_ms) if self._waiting else None
        return rows

    def suspect(self) -> None:
        """Rows may have been lost: ask, also where no later one tells."""
        self._suspicious = self._open_ended and self.last is not None

    def forget(self) -> None:
        """Drop what waits; it is asked for again."""
        self._waiting.clear()
        self._hole_ms, self._asked = None, None
        self.suspect()

    def wanted(self, now_ms: int) -> tuple[int, int | None] | None:
        """Numbers to ask for, first and last (None: as many as there are); None for nothing."""
        if self._asked is not None or self.last is None:
            return None
        if self._waiting:
            if now_ms - (self._hole_ms or now_ms) < GRACE_MS:
                return None
            return self._ask(min(self._waiting) - 1)
        if self._open_ended and self._heard_ms is None:
            self._heard_ms = now_ms
        quiet = self._open_ended and now_ms - (self._heard_ms or now_ms) >= QUIET_MS
        if self._suspicious or quiet:
            self._heard_ms = now_ms
            return self._ask(None)
        return None

    def _ask(self, until: int | None) -> tuple[int, int | None]:
        first = self._asked = (self.last or 0) + 1
        self._suspicious = False
        if until is not None and self._empty == MOST_EMPTY - 1:
            # Nothing was there twice: what is just before the next row may be there all the same.
            first = max(first, until + 1 - PAGE)
        return first, until

    def failed(self) -> None:
        """There was no answer: what is missing is asked for again."""
        if self._asked is not None and not self._waiting:
            self.suspect()
        self._asked = None

    def answered(
        self, found: Sequence[Row], now_ms: int, *, full: bool
    ) -> tuple[list[Row], list[Gap]]:
        """Take an answer, which has the rows from the first missing one on.

        Args:
            found: in order of their numbers.
            now_ms: the time.
            full: whether the answer was as long as answers get, so that there may be more.

        Returns:
            The rows that are recorded now, in order, and gaps that are certain now.
        """
        first, self._asked = self._asked, None
        if first is None or self.last is None or first != self.last + 1:
            return [], []  # what it was asked for has come by itself meanwhile, or is forgotten
        before = self.last
        fresh = [row for row in found if self._number(row) > before]
        gaps = []
        if fresh and self._number(fresh[0]) > before + 1:
            # Those between have not come by themselves either.
            until = min([self._number(fresh[0]), *self._waiting])
            gaps += self._give_up(until, fresh[0][0])
        self._waiting |= {self._number(row): row for row in fresh}
        rows = self._contiguous()
        moved = self.last > before
        self._empty = 0 if moved else self._empty + 1
        if self._waiting and self._empty >= MOST_EMPTY:
            lowest = min(self._waiting)
            gaps += self._give_up(lowest, self._waiting[lowest][0])
            rows += self._contiguous()
            self._empty = 0
        self._suspicious = full and not self._waiting and self._open_ended
        # The next page is asked for at once; the same one again after a pause.
        next_ms = now_ms - GRACE_MS if moved else now_ms
        self._hole_ms = next_ms if self._waiting else None
        return rows, gaps

    def _give_up(self, until: int, until_ms: int) -> list[Gap]:
        """The rows before number `until` are missing for good."""
        first = (self.last or 0) + 1
        if until <= first:
            return []
        gap = Gap(self.stream, self.last_ms, until_ms, first, until - 1, self._gone)
        self.last = until - 1
        return [gap]

    def _contiguous(self) -> list[Row]:
        rows = []
        last = self.last or 0
        while (row := self._waiting.pop(last + 1, None)) is not None:
            rows.append(row)
            last += 1
        if rows:
            self.last, self.last_ms = last, rows[-1][0]
        return rows
