"""When a stock trades, read from the Gateway's contract details. Pure."""

from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# The Gateway's own names of zones that others call differently.
_ZONES = {"EST5EDT": "America/New_York", "US/Eastern": "America/New_York"}

MINUTE_MS, DAY_MS = 60_000, 86_400_000
# No order leaves so long before the nightly restart, and after it.
BEFORE_RESTART_MS, AFTER_RESTART_MS = 2 * MINUTE_MS, 5 * MINUTE_MS


def restarted_at(now_ms: int, minute: int | None) -> int | None:
    """When the nightly restart that goes on now is certainly over; None while there is none.

    Args:
        now_ms: Unix milliseconds.
        minute: of the day (UTC) at which the Gateway restarts; None where it does not.
    """
    if minute is None:
        return None
    # Counted from when the gate closes, so that midnight is nothing special.
    begins = minute * MINUTE_MS - BEFORE_RESTART_MS
    since = (now_ms - begins) % DAY_MS
    length = BEFORE_RESTART_MS + AFTER_RESTART_MS
    return now_ms - since + length if since < length else None


class Session(NamedTuple):
    """Regular hours of one day (Unix milliseconds)."""

    opens: int
    closes: int


class Hours:
    """Sessions of some days.

    Args:
        text: such as ``20260921:0930-20260921:1600;20260922:CLOSED``.
        zone: of its times, such as ``US/Eastern``.

    Raises:
        ValueError: the text cannot be read.
    """

    def __init__(self, text: str, zone: str) -> None:
        try:
            self.zone = ZoneInfo(_ZONES.get(zone, zone))
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"unknown time zone {zone}") from error
        days = [part for part in text.split(";") if part]
        self.sessions = sorted(self._session(day) for day in days if not day.endswith("CLOSED"))
        # Nothing is known of what comes after the last day that was told.
        last = max((day.partition(":")[0] for day in days), default="19700101")
        self.known_until = self._time(f"{last}:2359")

    def _session(self, day: str) -> Session:
        opens, closes = day.split("-")
        return Session(self._time(opens), self._time(closes))

    def _time(self, text: str) -> int:
        moment = datetime.strptime(text, "%Y%m%d:%H%M").replace(tzinfo=self.zone)
        return round(moment.timestamp() * 1000)

    def day(self, now_ms: int) -> str:
        """The exchange's day at a Unix time (milliseconds), such as ``20260921``."""
        return f"{datetime.fromtimestamp(now_ms / 1000, self.zone):%Y%m%d}"

    def opens_after(self, now_ms: int, grace_ms: int = 0) -> int | None:
        """When trading begins again; None while it goes on, and where it is not known.

        Args:
            now_ms: Unix milliseconds.
            grace_ms: a session counts so much longer than it lasts.
        """
        for session in self.sessions:
            if session.opens <= now_ms < session.closes + grace_ms:
                return None
            if session.opens > now_ms:
                return session.opens
        return None

    def closed_since(self, now_ms: int) -> int | None:
        """When the latest session ended (Unix milliseconds); None where none that is known did."""
        ended = [session.closes for session in self.sessions if session.closes <= now_ms]
        return max(ended, default=None)
