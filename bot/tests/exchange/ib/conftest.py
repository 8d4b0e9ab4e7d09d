"""A practice Gateway on a clock that a test moves, and the unmodified client on a real socket."""

import asyncio
import contextlib
import threading
from datetime import datetime
from decimal import Decimal

import pytest
from gridexchange.ib.account import AccountSettings
from gridexchange.ib.gateway import GatewaySettings
from gridexchange.ib.messages import NEW_YORK
from gridexchange.ib.opening import MarketSettings, open_gateway
from gridexchange.ib.records import Stock
from gridexchange.ib.server import listen

# A Tuesday in November, an hour after the opening.
OPENED_MS = round(datetime(2026, 11, 10, 10, 30, tzinfo=NEW_YORK).timestamp() * 1000)


class GatewayClock:
    def __init__(self, now_ms=OPENED_MS):
        self.ms = now_ms

    def now_ms(self):
        return self.ms


class MemoryPeer:
    """The other end of a connection without a socket; keeps what it was sent."""

    def __init__(self):
        self.data = b""
        self.closed = False
        self.backlog = 0

    def send(self, data):
        self.data += data

    def unread(self):
        return self.backlog

    def close(self):
        self.closed = True

    def take(self):
        """Messages since the last call, as lists of fields."""
        found = []
        while len(self.data) >= 4:
            size = int.from_bytes(self.data[:4], "big")
            found.append(self.data[4 : 4 + size].decode().split("\0")[:-1])
            self.data = self.data[4 + size :]
        return found


def frame(*fields):
    body = "".join(f"{field}\0" for field in fields).encode()
    return len(body).to_bytes(4, "big") + body


def greeting(versions="v157..178"):
    body = versions.encode()
    return b"API\0" + len(body).to_bytes(4, "big") + body


@pytest.fixture
def clock():
    return GatewayClock()


@pytest.fixture
def make_gateway(tmp_path, clock):
    def make(*, read_only=False, faults=None, candles=None, others=(), snapshot_ms=300, **account):
        settings = GatewaySettings(
            AccountSettings(**({"cash": Decimal(100_000)} | account)),
            Stock(),
            read_only,
            others,
            snapshot_ms,
        )
        market = MarketSettings(candles=candles)
        return open_gateway(settings, market, tmp_path / "gateway", clock, faults)

    return make


@pytest.fixture
def connect():
    """A client without a socket, logged in."""

    def log_in(gateway, client_id=1, versions="v157..178"):
        peer = MemoryPeer()
        connection = gateway.accept(peer)
        connection.feed(greeting(versions))
        connection.feed(frame(71, 2, client_id, ""))
        return connection, peer

    return log_in


@contextlib.contextmanager
def serving(gateway):
    """Serve a Gateway on a port of its own, in a thread; yields the port and a way to call it."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    found = {}

    async def run():
        server = await listen(gateway, "127.0.0.1", 0)
        found["port"] = server.sockets[0].getsockname()[1]
        found["stop"] = asyncio.Event()
        ready.set()
        while not found["stop"].is_set():
            gateway.advance()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(found["stop"].wait(), 0.02)
        for connection in list(gateway.connections):
            connection.hang_up("over")
        server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert ready.wait(10)

    def call(action):
        done, result = threading.Event(), []

        def act():
            result.append(action())
            done.set()

        loop.call_soon_threadsafe(act)
        assert done.wait(10)
        return result[0]

    try:
        yield found["port"], call
    finally:
        loop.call_soon_threadsafe(found["stop"].set)
        thread.join(10)
        loop.close()
