"""The exchange's time, told by a clock that nobody sets. Pure.

Requests bear the exchange's time, to within a second or so. The machine's wall clock may jump (a
Raspberry Pi has no clock of its own: at start it is wrong until the network has told it), so the
exchange's time is counted on from its latest answers by the monotonic clock. That one stands still
while a machine sleeps, and drifts: the exchange refuses a request then (-1021), and is asked again.
"""

from collections import deque
from statistics import median

from gridbase.clock import Clock

SAMPLES = 5
RENEW_SECONDS = 1800.0
SLOW_SECONDS = 2.0


class ServerTime:
    """What time it is at the exchange.

    Args:
        clock: time; until the first sample, its wall clock is believed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offsets: deque[float] = deque(maxlen=SAMPLES)
        self._asked: float | None = None

    def now_ms(self) -> int:
        """Unix time in milliseconds, at the exchange."""
        if not self._offsets:
            return self._clock.now_ms()
        return round(median(self._offsets) + self._clock.monotonic() * 1000)

    def sample(self, before: float, server_ms: int) -> None:
        """Take an answer of the exchange.

        Args:
            before: when it was asked (monotonic seconds); the answer has just come.
            server_ms: what it said (Unix milliseconds).
        """
        after = self._clock.monotonic()
        self._asked = after
        if after - before > SLOW_SECONDS and self._offsets:
            return  # wrong by up to half of that: what is known is better
        self._offsets.append(server_ms - (before + after) / 2 * 1000)

    def asked(self) -> None:
        """The exchange has been asked: nothing more is due until it answers, or for a while."""
        self._asked = self._clock.monotonic()

    def forget(self) -> None:
        """The exchange says that our time is wrong: what was known of it does not hold."""
        self._offsets.clear()
        self._asked = None

    @property
    def due(self) -> bool:
        """Whether it is time to ask again."""
        if self._asked is None:
            return True
        return self._clock.monotonic() - self._asked >= RENEW_SECONDS

    @property
    def ahead_ms(self) -> int:
        """How much the machine's wall clock is ahead of the exchange (milliseconds)."""
        return self._clock.now_ms() - self.now_ms()
