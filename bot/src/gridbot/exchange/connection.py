"""One WebSocket connection without its socket: texts come in, texts go out."""

import json
from collections import deque
from collections.abc import Callable

from gridbot.exchange.service import Exchange

# A client that leaves more than this unread is cut: memory stays bounded.
MOST_WAITING = 10_000


class Connection:
    """A client's connection; what it means is up to the class that derives from this one.

    Any thread may call it.

    Args:
        exchange: who it talks to.

    Attributes:
        closed: the exchange has cut it, or the client has closed it; what `outgoing` still gives
            is delivered first.
        on_ready: called, by any thread and maybe with the exchange's lock held, when `outgoing`
            may have something or the connection is cut.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.closed = False
        self.on_ready: Callable[[], None] | None = None
        self._exchange = exchange
        self._waiting: deque[str] = deque()

    def receive(self, text: str) -> None:
        """Take one message from the client."""
        with self._exchange.lock:
            if not self.closed:
                self._handle(text)
        self.ready()

    def outgoing(self) -> list[str]:
        """Take the messages that are to be sent now; call `Exchange.advance` before."""
        with self._exchange.lock:
            if not self.closed:
                self._gather()
            messages = list(self._waiting)
            self._waiting.clear()
            return messages

    def close(self) -> None:
        """The client is gone."""
        with self._exchange.lock:
            self._waiting.clear()
            self.closed = True

    def cut(self) -> None:
        """End the connection from the exchange's side."""
        self.closed = True
        self.ready()

    def ready(self) -> None:
        """Tell whoever carries the messages that there may be some."""
        if self.on_ready is not None:
            self.on_ready()

    def shut_down(self, now_ms: int) -> None:
        """Say that the exchange stops, and cut."""
        self.send(self._shutdown({"e": "serverShutdown", "E": now_ms}))
        self.cut()

    def send(self, message: object) -> None:
        """Queue one message."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.clear()
            self.cut()
        if not self.closed:
            self._waiting.append(json.dumps(message, separators=(",", ":")))

    def _handle(self, text: str) -> None:
        """Act on a message; the lock is held."""
        raise NotImplementedError

    def _gather(self) -> None:
        """Queue what has become due; the lock is held."""

    def _shutdown(self, event: dict[str, object]) -> object:
        """How this kind of connection words the exchange's end."""
        raise NotImplementedError
