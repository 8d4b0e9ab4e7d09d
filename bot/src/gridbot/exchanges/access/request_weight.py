"""The weight of requests that an exchange allows in a minute, and how much of it is used."""

import logging

from gridbase.clock import Clock

from gridbot.exchanges.access.server_time import ServerTime
from gridbot.exchanges.port import BrokerError, Failure

log = logging.getLogger(__name__)

USUAL_LIMIT = 6000
WHOLE = 100  # percent
# From this share of the allowed weight on, reads are spread over the rest of the minute.
BUSY_SHARE = 0.8
BUSY_PAUSE_SECONDS = 5.0
MINUTE_MS = 60_000


class RequestWeight:
    """How much one address, and this bot behind it, asks an exchange.

    Args:
        clock: time.
        time: the exchange's, which its minutes follow.
        share_percent: of what a minute allows, this bot's; others use the same address.

    Attributes:
        limit: what a minute allows.
    """

    def __init__(self, clock: Clock, time: ServerTime, share_percent: int = WHOLE) -> None:
        self._clock = clock
        self._time = time
        self._used = self._own = 0
        self._minute = self._own_minute = 0
        self._share_percent = share_percent
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

    @property
    def share(self) -> int:
        """Weight that this bot may use in a minute."""
        return self.limit * self._share_percent // 100

    @property
    def own(self) -> int:
        """Weight that this bot has used in this minute, as far as it has counted."""
        return self._own if self._own_minute == self._time.now_ms() // MINUTE_MS else 0

    def spend(self, weight: int) -> None:
        """Count a request of this bot, which is about to leave."""
        self._own = self.own + weight
        self._own_minute = self._time.now_ms() // MINUTE_MS

    def check_share(self, weight: int) -> None:
        """Refuse a read that goes beyond this bot's share; the whole has no such bound.

        Raises:
            BrokerError: it must not be sent before the next minute.
        """
        if self._share_percent == WHOLE or self.own + weight <= self.share:
            return
        raise BrokerError(
            Failure.UNREACHABLE,
            f"this bot's share of the request weight is used up: {self.own} of {self.share} in "
            f"this minute (exchange.request_share = {self._share_percent})",
            retry_after=self._rest_of_minute,
        )

    def document(self) -> dict[str, int]:
        """Used and allowed in this minute: by all behind the address, and by this bot."""
        return {
            "weight_used": self.used,
            "weight_limit": self.limit,
            "weight_own": self.own,
            "weight_share": self.share,
        }

    @property
    def _rest_of_minute(self) -> float:
        """Seconds."""
        return (MINUTE_MS - self._time.now_ms() % MINUTE_MS) / 1000

    def slow_down(self) -> None:
        """Wait a little where most is used up: the rest of the minute's is left to the orders."""
        if self.used < BUSY_SHARE * self.limit:
            return
        pause = min(self._rest_of_minute, BUSY_PAUSE_SECONDS)
        log.warning("the exchange's request weight is nearly used up; waiting %.1f s", pause)
        self._clock.sleep(pause)
