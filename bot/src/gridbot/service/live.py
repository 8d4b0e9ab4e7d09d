"""Sends what changes on the page to all who look at it, made once for all of them."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from gridbase.http import Channel

from gridbot.service.deltas import Path
from gridbot.service.documents import Versions

log = logging.getLogger(__name__)

# Bytes: what an open tab may cost, 20 MB a day, as `page/index.html` has it where it has to ask.
BURST, BYTES_PER_SECOND = 100_000, 220
LOOK_SECONDS = 0.5
# So often the price alone is worth an event, and so often the bot is looked at though it is still.
PRICE_SECONDS, STILL_SECONDS = 2.0, 5.0
BEAT_SECONDS = 10.0
BEAT = b"event: beat\ndata: \n\n"
# What a person waits for; all else (price, equity, percentages) may be a little late.
_AT_ONCE = frozenset(
    {"state", "reasons", "halts", "mode", "lines", "fills", "orders", "refused", "note", "ended"}
)


def is_urgent(new: list[tuple[Path, Any]]) -> bool:
    """Whether changes are worth an event at once.

    Args:
        new: paths and contents, see `gridbot.service.deltas`.
    """
    # All of it, or a key of the bot or of a grid: ["state", 0], ["grids", 1, "fills"].
    return any(not path or _AT_ONCE & set(path[:3]) for path, _ in new)


class Pace:
    """Decides when it is time for an event, so that a tab costs a bounded number of bytes. Pure.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: float) -> None:
        self._bytes = float(BURST)
        self._filled = self._sent = now

    def allows(self, now: float, *, urgent: bool) -> bool:
        """Whether an event may be sent.

        Args:
            now: monotonic seconds.
            urgent: whether a person waits for it.
        """
        self._bytes = min(BURST, self._bytes + BYTES_PER_SECOND * (now - self._filled))
        self._filled = now
        if urgent:
            return self._bytes > 0
        return self._bytes > BURST / 2 and now - self._sent >= PRICE_SECONDS

    def spend(self, size: int, now: float) -> None:
        """Count an event of so many bytes."""
        self._bytes -= size
        self._sent = now


class LivePage:
    """Looks at the page's document while anybody listens, and has its changes sent.

    Args:
        channel: whose clients they are.
        versions: of the document; it tells the channel.
        build: makes the document.
        revision: what is another one once the bot has something new to say; cheap.
        monotonic: seconds.
    """

    def __init__(
        self,
        channel: Channel,
        versions: Versions,
        build: Callable[[], dict[str, Any]],
        revision: Callable[[], object],
        monotonic: Callable[[], float],
    ) -> None:
        self._channel, self._versions = channel, versions
        self._build, self._revision, self._monotonic = build, revision, monotonic
        self._pace = Pace(monotonic())
        self._seen: object = None
        self._looked = self._beat = monotonic()

    def start(self) -> None:
        """Look from a thread of its own, until the process ends."""
        threading.Thread(target=self._run, name="live", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(LOOK_SECONDS)
            try:
                self.look()
            except Exception:
                log.exception("the page's stream has missed a change")

    def look(self) -> None:
        """Send an event, where there is one and it is its time."""
        if not self._channel.clients:
            return
        now = self._monotonic()
        if now - self._beat >= BEAT_SECONDS:
            self._channel.publish(BEAT)
            self._beat = now
        revision = self._revision()
        if revision == self._seen and now - self._looked < STILL_SECONDS:
            return
        document = self._build()
        new = self._versions.news(document)
        if new and not self._pace.allows(now, urgent=is_urgent(new)):
            return  # looked at again the next time
        self._seen, self._looked = revision, now
        if new:
            before = self._versions.sent_bytes
            self._versions.see(document)
            self._pace.spend(self._versions.sent_bytes - before, now)
