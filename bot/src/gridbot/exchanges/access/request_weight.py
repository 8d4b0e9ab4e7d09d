"""The weight of requests that an exchange allows in a minute, and how much of it is used."""

import logging

from gridbase.clock import Clock

from gridbot.exchanges.access.server_time import ServerTime

log = logging.getLogger(__name__)

USUAL_LIMIT = 6000
# From this share of the allowed weight on, reads are spread over the rest of the minute.
BUSY_SHARE = 0.8
BUSY_PAUSE_SECONDS = 5.0
MINUTE_MS = 60_000


class RequestWeight:
    """One account's use of the exchange.

    Args:
        clock: time.
        time: the exchange's, which its minutes follow.

    Attributes:
        limit: what a minute allows.
    """

    def __init__(self, clock: Clock, time: ServerTime) -> None:
        self._clock = clock
        self._time = time
        self._used = 0
        self._minute = 0
        self.limit = USUAL_LIMIT

    def note(self, used: int, limit: int | None = None) -> None:
        """Take what an answer says: weight used in this minute, and the limit if it tells."""
        self._used = used
        self._minute = self._time.now_ms() // MINUTE_MS
        if limit is not None:
            self.limit = limit

    @property
    def used(self) -> int:
        """Weight used in this minute, as far as is known."""
        return self._used if self._minute == self._time.now_ms() // MINUTE_MS else 0

    def slow_down(self) -> None:
        """Wait a little where most is used up: the rest of the minute's is left to the orders."""
        if self.used < BUSY_SHARE * self.limit:
            return
        rest_of_minute = (MINUTE_MS - self._time.now_ms() % MINUTE_MS) / 1000
        pause = min(rest_of_minute, BUSY_PAUSE_SECONDS)
        log.warning("the exchange's request weight is nearly used up; waiting %.1f s", pause)
        self._clock.sleep(pause)
