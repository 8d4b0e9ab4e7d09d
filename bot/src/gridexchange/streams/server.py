"""The exchange's WebSocket side over real sockets, see `registry` for what it says."""

import json
import logging
import socket
import struct
import threading
import time
from http import HTTPStatus
from urllib.parse import urlsplit
from weakref import WeakSet

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection
from websockets.sync.server import serve as serve_sockets

from gridexchange.errors import ApiError
from gridexchange.faults.plan import Severed
from gridexchange.streams.connection import Connection
from gridexchange.streams.registry import Streams

LOG = logging.getLogger("gridexchange")
SOCKET_LOG = logging.getLogger("gridexchange.sockets")
SOCKET_LOG.setLevel(logging.WARNING)
# Whoever is no WebSocket's client gets an answer; a trace of it in the log helps nobody.
SOCKET_LOG.addFilter(lambda record: record.msg != "opening handshake failed")
LARGEST_MESSAGE = 65_536
# A client that takes nothing for this long is cut.
SEND_LIMIT_S = 5
CLOSE_LIMIT_S = 2


class Socket(ServerConnection):
    """A client's socket, and the connection that it carries."""

    side: Connection | None = None
    sender: threading.Thread | None = None

    def close_socket(self) -> None:
        """Close the socket; the exchange need not tell it anything any more."""
        super().close_socket()
        if self.side is not None:
            self.side.close()


class StreamServer:
    """Serves `Streams` on a listening socket, in threads of its own.

    Args:
        streams: what is served.
        listener: where; closed by `stop`.
    """

    def __init__(self, streams: Streams, listener: socket.socket) -> None:
        self._streams = streams
        self._stopping = threading.Event()
        self._sockets: WeakSet[Socket] = WeakSet()
        self._server: Server = serve_sockets(
            _carry,
            sock=listener,
            process_response=self._open,
            compression=None,
            create_connection=Socket,
            max_size=LARGEST_MESSAGE,
            close_timeout=CLOSE_LIMIT_S,
            server_header=None,
            logger=SOCKET_LOG,
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tell all clients, and close their sockets and the listening one."""
        self._stopping.set()
        self._streams.shut_down()
        # The server's own end would overtake what the clients are told.
        last = time.monotonic() + CLOSE_LIMIT_S
        for sender in [one.sender for one in list(self._sockets) if one.sender is not None]:
            sender.join(max(0.0, last - time.monotonic()))
        self._server.shutdown()
        self._thread.join()

    def _open(
        self, websocket: ServerConnection, request: Request, response: Response
    ) -> Response | None:
        """Connect a client whose handshake is good, or say why not."""
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return None
        url = urlsplit(request.path)
        address = str(websocket.remote_address[0])
        try:
            side = self._streams.connect(url.path, url.query, address)
        except ApiError as error:
            return _refusal(error)
        except Severed as error:
            self._stopping.wait(error.hang_s)
            websocket.close_socket()
            return None
        if isinstance(websocket, Socket):
            websocket.side = side
            self._sockets.add(websocket)
        return None


def _refusal(error: ApiError) -> Response:
    body = json.dumps({"code": error.code, "msg": error.message}).encode()
    headers = Headers([*error.headers, ("Content-Length", str(len(body))), ("Connection", "close")])
    return Response(error.status, error.status.phrase, headers, body)


def _carry(websocket: ServerConnection) -> None:
    """Carry messages both ways until one side ends the connection."""
    if not isinstance(websocket, Socket) or websocket.side is None:
        return
    side = websocket.side
    limit = struct.pack("ll", SEND_LIMIT_S, 0)
    websocket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    ready = threading.Event()
    side.on_ready = ready.set
    ready.set()
    sender = threading.Thread(target=_send, args=(websocket, side, ready), daemon=True)
    sender.start()
    websocket.sender = sender
    try:
        for message in websocket:
            if isinstance(message, str):
                side.receive(message)
    except ConnectionClosed:
        LOG.debug("connection lost")
    finally:
        side.close()
        ready.set()
        sender.join()


def _send(websocket: ServerConnection, side: Connection, ready: threading.Event) -> None:
    """Send what there is whenever there is some."""
    try:
        while True:
            ready.wait()
            ready.clear()
            ends = side.closed
            for text in side.outgoing():
                websocket.send(text)
            if ends:
                websocket.close()
                return
    except ConnectionClosed as error:
        if isinstance(error.__cause__, BlockingIOError):
            LOG.info("cut a client that takes nothing")
        side.close()
