"""Best bid and ask. Their numbers rise with holes: only a lost connection tells of lost ones."""

from recorder.core.interrupted import Interruption
from recorder.core.rows import Gap, Row, Stream

CROSSED = "the exchange sent a crossed quote"


class Quotes:
    """Keeps the quotes of one symbol in order, each once, and never crossed.

    Args:
        stream: whose.
        last_ms: time of the last one that is recorded; 0 where there is none.
    """

    def __init__(self, stream: Stream, last_ms: int = 0) -> None:
        self.interruption = Interruption(stream, last_ms)
        self.duplicates = self.crossed = 0
        self._last: int | None = None

    def take(self, row: Row) -> tuple[list[Row], list[Gap]]:
        """Take a quote; returns what is recorded, and the gap that ends with it."""
        _, update, bid, _, ask, _ = row
        if self._last is not None and update <= self._last:
            self.duplicates += 1
            return [], []
        if bid >= ask > 0:
            self.crossed += 1
            self.interruption.begin(CROSSED)
            return [], []
        self._last = update
        return [row], self.interruption.row(row[0])

    def restarted(self, reason: str) -> None:
        """Quotes may be lost, and numbers may begin anew."""
        self._last = None
        self.interruption.begin(reason)
