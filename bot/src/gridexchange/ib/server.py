"""Serves a practice Gateway on a port: asyncio around `Gateway`."""

import asyncio
import logging
import signal

from gridexchange.ib.connection import Connection
from gridexchange.ib.gateway import Gateway

log = logging.getLogger(__name__)

ADVANCE_SECONDS = 0.05


class _Client(asyncio.Protocol):
    """One client's socket."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._connection: Connection | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  asyncio's promise for TCP
        self._transport = transport
        self._connection = self._gateway.accept(self)
        if self._connection is None:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.feed(data)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._connection is not None:
            self._connection.lost()

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def unread(self) -> int:
        return self._transport.get_write_buffer_size()

    def close(self) -> None:
        self._transport.close()


async def listen(gateway: Gateway, host: str, port: int) -> asyncio.Server:
    """Let clients connect; somebody has to call `Gateway.advance` now and then."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Client(gateway), host, port)


async def serve(gateway: Gateway, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; says on which port once it listens."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await listen(gateway, host, port)
    print(f"practice Gateway on {host}:{server.sockets[0].getsockname()[1]}", flush=True)
    while not stop.is_set():
        gateway.advance()
        try:
            await asyncio.wait_for(stop.wait(), ADVANCE_SECONDS)
        except TimeoutError:
            continue
    for connection in list(gateway.connections):
        connection.hang_up("the Gateway stops")
    server.close()
