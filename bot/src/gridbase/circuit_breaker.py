"""A circuit breaker: a server that does not answer is left in peace for a while. Pure.

======== ======================================== =============================================
state    what becomes of a request                what changes it
======== ======================================== =============================================
closed   it is sent                               `FAILURES` failures in a row open it
open     it fails at once, certainly not sent     `OPEN_SECONDS` later it is half-open
half-open one is sent, to see                     its answer closes it, its failure opens it again
======== ======================================== =============================================

What takes risk away does not wait that long: of such requests one is sent 5 s after the latest
failure, to see.

Only failures of the infrastructure count: no connection, no answer, a 5xx. Whoever refuses an
order, a key or too many requests is there.
"""

from enum import StrEnum
from typing import Any

from gridbase.clock import Clock

FAILURES = 5
OPEN_SECONDS = 30.0
# A request that takes risk away is let through so long after the latest failure.
URGENT_SECONDS = 5.0


class State(StrEnum):
    """See the table above."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Circuit:
    """One server's circuit breaker.

    Args:
        clock: time.

    Attributes:
        changes: how often it opened, also again after a try, and how often it closed.
    """

    def __init__(self, clock: Clock) -> None:
        self.changes = {"open": 0, "closed": 0}
        self._clock = clock
        self._failures = 0
        self._opened: float | None = None  # monotonic
        self._opened_ms: int | None = None

    @property
    def state(self) -> State:
        """What would become of a request now."""
        if self._opened is None:
            return State.CLOSED
        return State.OPEN if self._remaining() > 0 else State.HALF_OPEN

    @property
    def failures(self) -> int:
        """Failures in a row."""
        return self._failures

    def wait(self, *, urgent: bool = False) -> float:
        """Seconds until a request may be sent; 0 or less: now.

        Args:
            urgent: it takes risk away: a look at the price that stops depend on, a cancellation.
        """
        if self.state is not State.OPEN:
            return 0.0
        return self._remaining() - (OPEN_SECONDS - URGENT_SECONDS if urgent else 0.0)

    def succeeded(self) -> None:
        """The server answered, whatever it said."""
        self.changes["closed"] += self._opened is not None
        self._failures = 0
        self._opened = self._opened_ms = None

    def failed(self) -> None:
        """The server could not be reached, did not answer, or said that it is broken."""
        self._failures += 1
        if self._failures >= FAILURES:
            self.changes["open"] += self.state is not State.OPEN
            self._opened = self._clock.monotonic()
            self._opened_ms = self._clock.now_ms()

    def document(self) -> dict[str, Any]:
        """State for people: failures in a row, when it opened (Unix ms), seconds to the next try.

        The last two are None while it is closed.
        """
        return {
            "state": str(self.state),
            "failures": self._failures,
            "opened_ms": self._opened_ms,
            "retry_in_seconds": None if self._opened is None else round(self._remaining(), 1),
        }

    def _remaining(self) -> float:
        if self._opened is None:
            return 0.0
        return max(0.0, self._opened + OPEN_SECONDS - self._clock.monotonic())
