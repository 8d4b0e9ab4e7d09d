"""Breaks HTTP connections on purpose, which an application alone cannot."""

import contextlib
import socket
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from waitress.channel import ClientDisconnected

from gridexchange.faults.plan import Severed
from gridexchange.rest.application import Api

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

# Waitress offers no way to break a connection, but this function is a method of what has one.
CHANNEL = "waitress.client_disconnected"


class Breakable:
    """The exchange's application, for a server that can lose what it says.

    Args:
        api: the application.
        stopping: ends what hangs.
    """

    def __init__(self, api: Api, stopping: threading.Event) -> None:
        self._api = api
        self._stopping = stopping

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request, or break its connection."""
        try:
            return self._api(environ, start_response)
        except Severed as error:
            self._stopping.wait(error.hang_s)
            # It is shut down and not closed: whose it is closes it, once it reads the end.
            with contextlib.suppress(OSError):
                environ[CHANNEL].__self__.socket.shutdown(socket.SHUT_RDWR)
            raise ClientDisconnected from error
