"""A stretch in which rows may be missing: opened when that is noticed, closed by the next row."""

from recorder.core.rows import Gap, Stream


class Interruption:
    """At most one open gap of a stream whose rows carry no numbers without holes.

    Args:
        stream: whose.
        last_ms: time of the last row that is recorded; 0 where there is none.
    """

    def __init__(self, stream: Stream, last_ms: int = 0) -> None:
        self.stream = stream
        self.last_ms = last_ms
        self._since: int | None = None
        self._reason = ""

    @property
    def open(self) -> bool:
        """Whether rows may be missing now."""
        return self._since is not None

    def begin(self, reason: str) -> None:
        """Rows may be missing from the last one on; the first reason is kept."""
        if self._since is None and self.last_ms:
            self._since, self._reason = self.last_ms, reason

    def row(self, time_ms: int) -> list[Gap]:
        """A row is recorded: returns the gap that it ends, if there is one."""
        since, self._since = self._since, None
        self.last_ms = max(self.last_ms, time_ms)
        if since is None:
            return []
        return [Gap(self.stream, since, max(since, time_ms), None, None, self._reason)]
