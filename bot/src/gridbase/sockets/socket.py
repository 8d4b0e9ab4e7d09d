"""What a WebSocket connection is to the bot: injected, so that simulations own the wire."""

from collections.abc import Callable
from typing import Protocol


class SocketClosed(Exception):  # noqa: N818 - a state, as StopIteration is one
    """The connection is gone."""


class Socket(Protocol):
    """One open connection that carries texts."""

    def send(self, text: str) -> None:
        """Send one message. Raises `SocketClosed`."""

    def receive(self, timeout: float) -> str | None:
        """The next message; None where none comes within `timeout` seconds.

        Raises `SocketClosed` once the connection is gone and every message has been handed out.
        """

    def close(self) -> None:
        """Close the connection. Raises nothing."""


# URL and timeout in seconds; raises `SocketClosed` or OSError where it cannot connect.
Connect = Callable[[str, float], Socket]
