"""Keeps the latest lines of the log in memory, for the page."""

import logging
from collections import deque
from typing import Any

from gridbase.redaction import redacted

KEPT = 200
_LONGEST = 500


class LogLines(logging.Handler):
    """The latest events of the log; it never waits and never fails."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one event."""
        try:
            text = redacted(record.getMessage()).partition("\n")[0][:_LONGEST]
        except (TypeError, ValueError, LookupError):  # its words do not fit: trading goes on
            self.handleError(record)
            return
        at_ms = int(record.created * 1000)
        self._lines.append({"at_ms": at_ms, "level": record.levelname.lower(), "text": text})

    def latest(self, count: int) -> list[dict[str, Any]]:
        """The latest lines, newest first.

        Args:
            count: at most so many.
        """
        return list(self._lines)[: -count - 1 : -1]
