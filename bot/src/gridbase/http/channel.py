"""Events for many clients: made once, handed over to the server's loop, never waited for."""

import threading
from collections.abc import Callable, Iterator


class Channel:
    """Where events are published, from any thread.

    Attributes:
        most: clients at a time; more are refused.
        clients: those that listen now; the server counts them.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.clients = 0
        self._deliver: Callable[[Channel, bytes], None] | None = None
        self._lock = threading.Lock()

    def connect(self, deliver: Callable[["Channel", bytes], None]) -> None:
        """Have a server deliver what is published: it hands it over and does not wait.

        Args:
            deliver: given the channel and the event.
        """
        with self._lock:
            self._deliver = deliver

    def publish(self, event: bytes) -> None:
        """Send an event to all clients; without any, it is gone.

        Args:
            event: as it goes over the wire.
        """
        with self._lock:
            deliver = self._deliver
        if deliver is not None and self.clients:
            deliver(self, event)


class EventStream:
    """The body of an answer that does not end: what is published on a channel from now on.

    Args:
        channel: whose events.
        first: what the client gets at once.
    """

    def __init__(self, channel: Channel, first: bytes = b"") -> None:
        self.channel = channel
        self.first = first

    def __iter__(self) -> Iterator[bytes]:
        """For a server that knows nothing of channels: the beginning, and then the end."""
        yield self.first
