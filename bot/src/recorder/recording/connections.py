"""The connections to an exchange's streams: kept open, and replaced before the exchange ends them.

Binance ends every connection after 24 hours. The next one is opened before, both bring the same
messages for a while (which are recorded once), then the old one is closed.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from gridbase.backoff import Backoff
from gridbase.clock import Clock
from gridbase.sockets.dialer import Dialer
from gridbase.sockets.link import Link

from recorder.core.inbox import Inbox
from recorder.recording.symbol import SENSELESS

LOG = logging.getLogger("recorder")
LONGEST_S = 23.5 * 3_600
OVERLAP_S = 10.0
MOST_STREAMS = 200  # on one connection; Binance's limit is 1,024
TIMEOUT_S, QUIET_S = 10.0, 20.0
# Each moment without a connection is a gap. Lost again and again, it is opened some 50 times in
# five minutes at most; Binance allows 300.
FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_S = 0.2, 60.0, 5.0
CONNECTION_LOST = "the connection was lost"


@dataclass(frozen=True)
class Lost:
    """Told to the reader of the inbox: messages may be missing from here on.

    Attributes:
        streams: of these streams, such as btcusdt@aggTrade.
        reason: why.
        connection: whether the connection was lost: their numbers may begin anew.
    """

    streams: list[str]
    reason: str
    connection: bool


class Connections(Protocol):
    """Streams of an exchange, and the connections over which they come.

    Attributes:
        name: for messages.
        streams: such as btcusdt@aggTrade.
        losses: how often they were lost.
    """

    name: str
    streams: list[str]
    losses: int

    @property
    def open(self) -> bool:
        """Whether a connection is there."""

    def pump(self, wait: float) -> None:
        """Connect, take what has come, waiting for it at most so long (seconds)."""

    def replace(self) -> None:
        """Connect anew. Any thread may call it."""

    def close(self) -> None:
        """Close the connections."""


class _Line:
    """One connection; see `gridbase.sockets.link.Owner`."""

    def __init__(self, group: "Group", url: str, dialer: Dialer, clock: Clock) -> None:
        self.opened_at: float | None = None
        self._group = group
        self._clock = clock
        self.link = Link(
            group.name,
            lambda: url,
            dialer,
            clock,
            self,
            timeout=TIMEOUT_S,
            quiet=QUIET_S,
            backoff=Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S),
            senseless=group.senseless,
            steady_seconds=STEADY_S,
        )

    def opened(self) -> None:
        self.opened_at = self._clock.monotonic()
        self.link.steady()

    def received(self, document: dict[str, Any]) -> None:
        name = document.get("stream")
        if name is not None:
            self._group.received(name, document["data"])

    def lost(self) -> None:
        self.opened_at = None
        self._group.lost()

    def probe(self) -> None:
        self.link.send({"method": "LIST_SUBSCRIPTIONS", "id": 1})


class Group:
    """Streams that come over one connection, or over two while one replaces the other.

    Args:
        name: for messages.
        address: such as wss://stream.binance.com:9443.
        streams: such as btcusdt@aggTrade.
        dialer: makes what opens one connection.
        clock: the time.
        inbox: where messages go.
        longest_s: a connection is replaced after so long (seconds).
    """

    def __init__(
        self,
        name: str,
        address: str,
        streams: list[str],
        *,
        dialer: Callable[[], Dialer],
        clock: Clock,
        inbox: Inbox,
        longest_s: float = LONGEST_S,
    ) -> None:
        self.name = name
        self.losses = 0
        self._due = False
        self.streams = streams
        self._url = f"{address}/stream?streams={'/'.join(streams)}"
        self._keys = {stream: _key(stream) for stream in streams}
        self._dialer = dialer
        self._clock = clock
        self._inbox = inbox
        self._longest_s = longest_s
        self._lines = [self._line()]

    def _line(self) -> _Line:
        return _Line(self, self._url, self._dialer(), self._clock)

    @property
    def open(self) -> bool:
        """Whether a connection is there."""
        return any(line.link.open for line in self._lines)

    def pump(self, wait: float) -> None:
        """Connect, take what has come, waiting for it at most so long, and replace what is old."""
        for line in list(self._lines):
            line.link.dial(0.0)
            line.link.receive(wait)
            line.link.pump()
        current = self._lines[0].opened_at
        now = self._clock.monotonic()
        if len(self._lines) == 1:
            if current is not None and (self._due or now - current >= self._longest_s):
                self._due = False
                self._lines.append(self._line())
            return
        newer = self._lines[1].opened_at
        if current is None or (newer is not None and now - newer >= OVERLAP_S):
            self._lines.pop(0).link.close()

    def replace(self) -> None:
        """Open another connection, and close this one once it is there. Any thread may call it."""
        self._due = True

    def close(self) -> None:
        """Close the connections."""
        for line in self._lines:
            line.link.close()

    def received(self, stream: str, data: Any) -> None:
        """A message has come."""
        key = self._keys.get(stream)
        if key is not None:
            self._inbox.put(key, (stream, data), self._clock.now_ms())

    def lost(self) -> None:
        """A connection is gone."""
        self.losses += 1
        if not self.open:
            self._tell(Lost(self.streams, CONNECTION_LOST, connection=True))

    def senseless(self, text: str) -> None:
        """A message cannot be read, so nobody knows of which stream it was."""
        LOG.warning("%s: a message makes no sense: %s", self.name, text[:80])
        self._tell(Lost(self.streams, SENSELESS, connection=False))

    def _tell(self, lost: Lost) -> None:
        self._inbox.tell(("", lost), self._clock.now_ms())


def _key(stream: str) -> tuple[str, str]:
    symbol, _, kind = stream.partition("@")
    return symbol.upper(), kind
