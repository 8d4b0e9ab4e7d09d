"""A real WebSocket connection, by the package `websockets`, which is imported when one is opened.

A thread of that package reads; answers and sends pings; and closes a connection whose other end is
gone. What was read waits in a queue, and when that is full, on the network.
"""

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gridbase.sockets.socket import SocketClosed

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

LARGEST_MESSAGE = 4 * 1024 * 1024  # 1,000 trades are 250 kB
LONGEST_QUEUE = 1024
PING_SECONDS = 20.0
CLOSE_SECONDS = 1.0


class WebSocket:
    """One open connection; see `gridbase.sockets.socket.Socket`."""

    def __init__(self, connection: "ClientConnection") -> None:
        self._connection = connection

    def send(self, text: str) -> None:
        """Send one message."""
        from websockets.exceptions import ConnectionClosed

        try:
            self._connection.send(text)
        except (ConnectionClosed, OSError) as error:
            raise SocketClosed(_words(error)) from error

    def receive(self, timeout: float) -> str | None:
        """The next message; None where none comes within `timeout` seconds."""
        from websockets.exceptions import ConnectionClosed

        try:
            message = self._connection.recv(timeout)
        except TimeoutError:
            return None
        except (ConnectionClosed, OSError) as error:
            raise SocketClosed(_words(error)) from error
        if isinstance(message, bytes):
            raise SocketClosed("the exchange sent bytes instead of text")
        return message

    def close(self) -> None:
        """Close the connection; waits for the other end for a second at most."""
        with contextlib.suppress(OSError):
            self._connection.close()


def connect(url: str, timeout: float) -> WebSocket:
    """Open a connection.

    No proxy is asked, whatever the environment says, and no redirection is followed: a bot talks
    to the address in its configuration and to no other.

    Args:
        url: ``ws://`` or ``wss://`` with host, port, path and query.
        timeout: seconds for everything together, and once more for the handshake.

    Raises:
        SocketClosed: there is no WebSocket server.
        OSError: nobody can be reached.
    """
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect as open_connection

    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    plain = socket.create_connection((parts.hostname or "", port), timeout)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = open_connection(
            url,
            sock=plain,
            ssl=_tls() if parts.scheme == "wss" else None,
            proxy=None,
            open_timeout=timeout,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
            close_timeout=CLOSE_SECONDS,
            max_size=LARGEST_MESSAGE,
            max_queue=LONGEST_QUEUE,
            compression=None,
            legacy=True,
        )
    except (WebSocketException, ValueError, EOFError) as error:
        plain.close()
        raise SocketClosed(_words(error)) from error
    except OSError:
        plain.close()
        raise
    return WebSocket(connection)


def _tls() -> ssl.SSLContext:
    """Trusts whom `requests` trusts; an image need not have certificates of its own."""
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


def _words(error: BaseException) -> str:
    """What went wrong, in a line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
