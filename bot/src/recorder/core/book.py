"""An order book that is built of differences, as Binance says how.

Differences wait until there is a snapshot; the first that counts has
``first_update <= snapshot + 1 <= last_update``, and each one after it follows the one before. A
difference that is missing is waited for, then the book is built anew, that symbol's alone. A book
that is crossed is never recorded.
"""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from recorder.core.interrupted import Interruption
from recorder.core.rows import Gap, Part, Row, Side, Stream

Levels = list[tuple[int, int]]  # price (ticks) and quantity (lots); 0 lots remove the level

GRACE_MS = 500  # a difference that was overtaken comes within this
MOST_WAITING = 5_000
LOST = "differences of the book were lost"
CROSSED = "the book was crossed"


@dataclass(frozen=True)
class Difference:
    """What has changed in a book.

    Attributes:
        time_ms: when, by the exchange's clock.
        first: number of the first update in it.
        last: number of the last one.
        bids: levels as they are now.
        asks: the same.
    """

    time_ms: int
    first: int
    last: int
    bids: Levels
    asks: Levels


class Book:
    """Bids and asks."""

    def __init__(self, bids: Iterable[tuple[int, int]] = (), asks: Iterable[tuple[int, int]] = ()):
        self.bids = {price: quantity for price, quantity in bids if quantity}
        self.asks = {price: quantity for price, quantity in asks if quantity}
        self._best_bid = max(self.bids, default=0)
        self._best_ask = min(self.asks, default=0)

    @property
    def crossed(self) -> bool:
        """Whether somebody bids what somebody asks for, or more."""
        return bool(self.bids and self.asks) and self._best_bid >= self._best_ask

    def change(self, bids: Levels, asks: Levels) -> None:
        """Set levels; a quantity of 0 removes one."""
        for price, quantity in bids:
            if quantity:
                self.bids[price] = quantity
                self._best_bid = max(self._best_bid, price)
            elif self.bids.pop(price, None) is not None and price == self._best_bid:
                self._best_bid = max(self.bids, default=0)
        for price, quantity in asks:
            if quantity:
                self.asks[price] = quantity
                if price < self._best_ask or len(self.asks) == 1:
                    self._best_ask = price
            elif self.asks.pop(price, None) is not None and price == self._best_ask:
                self._best_ask = min(self.asks, default=0)

    def checksum(self) -> int:
        """CRC-32 of all levels: bids from the best down, then asks from the best up."""
        levels = sorted(self.bids.items(), reverse=True) + sorted(self.asks.items())
        return zlib.crc32(b"".join(struct.pack("<qq", *level) for level in levels))


class BookBuilder:
    """Builds one symbol's book, and says what to record of it.

    Args:
        stream: whose.
        last_ms: time of the last row that is recorded; 0 where there is none.
    """

    def __init__(self, stream: Stream, last_ms: int = 0) -> None:
        self.interruption = Interruption(stream, last_ms)
        self.book: Book | None = None  # None until there is a snapshot
        self.last = 0
        self.duplicates = 0
        self._waiting: list[Difference] = []
        self._hole_ms: int | None = None
        self._asked = False

    def wants_snapshot(self, now_ms: int) -> bool:
        """Whether a snapshot is to be asked for now; True once for each."""
        late = self._hole_ms is not None and now_ms - self._hole_ms >= GRACE_MS
        if self.book is not None and late:
            self.restart(LOST)
        # Without a difference that waits, the snapshot could be older than the first one.
        if self.book is not None or self._asked or not self._waiting:
            return False
        self._asked = True
        return True

    def restart(self, reason: str) -> None:
        """Build the book anew: what waits is kept for it."""
        self.book, self._hole_ms, self._asked = None, None, False
        self.interruption.begin(reason)

    def reset(self, reason: str) -> None:
        """Build the book anew, of differences that are still to come."""
        self.restart(reason)
        self._waiting = []

    def failed(self) -> None:
        """There was no snapshot: it is asked for again."""
        self._asked = False

    def take(self, difference: Difference, now_ms: int) -> tuple[list[Row], list[Gap]]:
        """Take a difference; returns what is recorded now."""
        if self.book is not None and difference.last <= self.last:
            self.duplicates += 1
            return [], []
        self._waiting.append(difference)
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[: MOST_WAITING // 2]
        if self.book is None:
            return [], []
        return self._apply_waiting(now_ms)

    def snapshot(
        self, last: int, bids: Levels, asks: Levels, now_ms: int
    ) -> tuple[list[Row], list[Gap]]:
        """Take the snapshot that was asked for; returns what is recorded now.

        Args:
            last: number of the last update in it.
            bids: its levels.
            asks: the same.
            now_ms: the time.
        """
        self._asked = False
        if self.book is not None:
            return [], []
        kept = sorted(
            (each for each in self._waiting if each.last > last), key=lambda each: each.first
        )
        if kept and kept[0].first > last + 1:
            # The snapshot is older than what waits, or one was overtaken: ask again.
            return [], []
        book = Book(bids, asks)
        if book.crossed:
            self.interruption.begin(CROSSED)
            return [], []
        self.book, self.last, self._waiting = book, last, kept
        gaps = self.interruption.row(now_ms)
        rows = self.checkpoint(now_ms)
        more, later = self._apply_waiting(now_ms)
        return rows + more, gaps + later

    def checkpoint(self, now_ms: int) -> list[Row]:
        """The book as rows, its checksum last; no rows while there is no book.

        Args:
            now_ms: the rows' time, unless a later one is recorded already.
        """
        book = self.book
        if book is None:
            return []
        time_ms = max(now_ms, self.interruption.last_ms)
        begin = (time_ms, self.last, self.last, Part.SNAPSHOT)
        rows: list[Row] = [
            *((*begin, Side.BID, *level) for level in sorted(book.bids.items(), reverse=True)),
            *((*begin, Side.ASK, *level) for level in sorted(book.asks.items())),
        ]
        check = (time_ms, self.last, self.last, Part.CHECKSUM, Side.NONE, 0, book.checksum())
        return [*rows, check]

    def _apply_waiting(self, now_ms: int) -> tuple[list[Row], list[Gap]]:
        """Apply the differences that follow the book."""
        rows: list[Row] = []
        gaps: list[Gap] = []
        if len(self._waiting) > 1:
            self._waiting.sort(key=lambda each: each.first)
        while self.book is not None and self._waiting:
            next_one = self._waiting[0]
            if next_one.first > self.last + 1:
                self._hole_ms = self._hole_ms or now_ms
                return rows, gaps
            del self._waiting[0]
            if next_one.last <= self.last:
                self.duplicates += 1
                continue
            self.book.change(next_one.bids, next_one.asks)
            if self.book.crossed:
                self.restart(CROSSED)
                return rows, gaps
            self.last = next_one.last
            gaps += self.interruption.row(next_one.time_ms)
            rows += _rows(next_one)
        self._hole_ms = None
        return rows, gaps


def _rows(difference: Difference) -> list[Row]:
    begin = (difference.time_ms, difference.first, difference.last, Part.CHANGE)
    rows: list[Row] = [
        *((*begin, Side.BID, *level) for level in difference.bids),
        *((*begin, Side.ASK, *level) for level in difference.asks),
    ]
    return rows or [(*begin, Side.NONE, 0, 0)]


def rebuild(rows: Iterable[Row]) -> tuple[Book | None, int, int]:
    """The book that recorded rows make.

    Args:
        rows: of the kind depth, in order.

    Returns:
        The book (None without a snapshot), its last update, and how many checksums differed.
    """
    book: Book | None = None
    last = wrong = 0
    collecting: tuple[Levels, Levels] | None = None
    for _, _, update, part, side, price, quantity in rows:
        if part == Part.SNAPSHOT:
            collecting = collecting or ([], [])
            if side != Side.NONE:
                collecting[side].append((price, quantity))
        elif part == Part.CHECKSUM:
            bids, asks = collecting or ([], [])
            book, last, collecting = Book(bids, asks), update, None
            wrong += book.checksum() != quantity
        elif book is not None:
            level = [(price, quantity)] if side != Side.NONE else []
            book.change(level if side == Side.BID else [], level if side == Side.ASK else [])
            last = update
    return book, last, wrong
