"""Time as the bot sees it: injected, so that tests and simulations own it."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Wall clock, monotonic clock and a wait that a stop ends early."""

    @property
    def stopping(self) -> bool:
        """Whether to come to an end soon."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""

    def monotonic(self) -> float:
        """Seconds that never go backwards."""

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`, or until stopped."""


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def stop(self) -> None:
        """End every wait, now and from now on. Safe in a signal handler."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether to come to an end soon."""
        return self._stop.is_set()

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`, or until `stop`."""
        self._stop.wait(max(0.0, seconds))
