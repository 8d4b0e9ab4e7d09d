"""Status and metrics over HTTP: on loopback, or for who has the token."""

import hmac
import json
import logging
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gridbase.errors import ExitCode, UserError
from prometheus_client import CollectorRegistry, generate_latest

from recorder.service.status import Metrics, Status

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

LOG = logging.getLogger("recorder")
LOOPBACK = ("127.", "::1")
JSON = "application/json"
Answer = tuple[str, bytes, str]  # status, body, its type


class Web:
    """The WSGI application.

    Args:
        status: what is told.
        token: what readers from elsewhere must send; empty where there are none.
    """

    def __init__(self, status: Status, token: str) -> None:
        self._status = status
        self._token = token
        self._registry = CollectorRegistry()
        self._registry.register(Metrics(status))
        self._paths: dict[str, Callable[[], Answer]] = {
            "/health": self._health,
            "/status": self._document,
            "/metrics": self._metrics,
        }

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer a request."""
        path = environ["PATH_INFO"]
        answer = self._paths.get(path)
        if answer is None or environ["REQUEST_METHOD"] != "GET":
            status, body, kind = "404 Not Found", b"", "text/plain"
        elif path != "/health" and not self._allowed(environ):
            status, body, kind = "401 Unauthorized", b"", "text/plain"
        else:
            status, body, kind = self._answered(path, answer)
        length = ("Content-Length", str(len(body)))
        start_response(status, [("Content-Type", kind), length, ("Cache-Control", "no-store")])
        return [body]

    def _answered(self, path: str, answer: Callable[[], Answer]) -> Answer:
        """An answer; a disk that cannot be read, or a recorder that stops, is told in a line."""
        try:
            return answer()
        except (OSError, sqlite3.Error) as error:
            reason = f"the data directory cannot be read: {error}"
        LOG.error("%s: %s", path, reason)
        return "503 Service Unavailable", json.dumps({"reasons": [reason]}).encode(), JSON

    def _allowed(self, environ: Any) -> bool:
        if environ.get("REMOTE_ADDR", "").startswith(LOOPBACK):
            return True
        given = environ.get("HTTP_AUTHORIZATION", "")
        return bool(self._token) and hmac.compare_digest(
            given.encode(), f"Bearer {self._token}".encode()
        )

    def _health(self) -> Answer:
        reasons = self._status.reasons()
        status = "503 Service Unavailable" if reasons else "200 OK"
        return status, json.dumps({"reasons": reasons}).encode(), JSON

    def _document(self) -> Answer:
        return "200 OK", json.dumps(self._status.document()).encode(), JSON

    def _metrics(self) -> Answer:
        return "200 OK", generate_latest(self._registry), "text/plain; version=0.0.4"


def serve(web: Web, listen: str) -> int:
    """Serve in a thread of its own; returns the port.

    Raises:
        UserError: the address cannot be listened on.
    """
    from waitress.server import create_server

    host, _, port = listen.rpartition(":")
    try:
        listener = _listener(host.strip("[]"), int(port))
        server = create_server(web, sockets=[listener], threads=2, ident=None)
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"listen = {listen}: {reason}", ExitCode.USAGE) from error
    threading.Thread(target=server.run, name="status", daemon=True).start()
    bound: int = listener.getsockname()[1]
    return bound


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener
