"""Tells how far a long computation is, on standard error, once it has taken a while."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

PATIENCE_SECONDS = 5.0
BAR_WIDTH = 30
# A terminal is redrawn in place; a log gets a line now and then.
TERMINAL_SECONDS = 0.2
LOG_SECONDS = 10.0


class Progress:
    """A progress bar, or a count where the total is not known.

    Args:
        what: the things that are counted, such as `candles read`.
        total: how many there will be; None where that is not known.
        patience: seconds before anything is shown.
        stream: where it is shown; None is standard error.
        clock: seconds that pass.
    """

    def __init__(
        self,
        what: str,
        total: int | None = None,
        *,
        patience: float = PATIENCE_SECONDS,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._total = total
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._clock = clock
        self._started = clock()
        self._next = self._started + patience
        self._width = 0

    def __call__(self, done: int) -> None:
        """So many are done now."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + (TERMINAL_SECONDS if self._terminal else LOG_SECONDS)
        self._show(self._line(done, now - self._started))

    def finish(self) -> None:
        """Take the bar away: what follows is the result."""
        if self._terminal and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0

    def _line(self, done: int, seconds: float) -> str:
        if not self._total:
            return f"{done:,} {self._what}, {seconds:.0f} s"
        filled = BAR_WIDTH * done // self._total
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        left = seconds * (self._total - done) / done if done else 0.0
        ending = f", {left:.0f} s left" if done else ""
        return f"[{bar}] {done:,} of {self._total:,} {self._what}{ending}"

    def _show(self, line: str) -> None:
        if self._terminal:
            self._stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()
