"""Bot and exchange in one process, with both of the exchange's surfaces: HTTP and WebSocket.

Only the wire is not real: `SimulatedSocket` carries texts between the bot and the exchange's
`Connection`, and can be cut, hang or garble on the way.
"""

import random
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from gridbase.sockets.socket import SocketClosed
from gridbot.config.load import parse_config
from gridbot.exchanges.binance.account import BinanceAccount
from gridexchange.errors import ApiError

from bot.tests.together.trading import conftest as trading

# The world of tests/trading: these tests add streams to it.
tmp_path = trading.tmp_path

STREAM_URL = "ws://streams.test"
STEP_SECONDS = 0.25


class SimulatedSocket:
    """One connection to the exchange in this process."""

    def __init__(self, network, url):
        self.network = network
        self.path = urlsplit(url).path
        parts = urlsplit(url)
        try:
            self.connection = network.api.streams.connect(parts.path, parts.query, "127.0.0.1")
        except ApiError as error:
            raise SocketClosed(error.message) from error
        self.arrived = []
        self.broken = False
        self.hanging = network.mute

    def send(self, text):
        self._check()
        self.network.clock.sleep(0.001)
        self.network.sent.append((self.path, text))
        action = self.network.on_send(text)
        if action == "lost":
            return
        if not self.hanging:
            self.network.api.exchange.advance()
            self.connection.receive(text)
        if action == "cut after":
            self.broken = True

    def receive(self, timeout):
        clock = self.network.clock
        deadline = clock.monotonic() + timeout
        while True:
            self._fetch()
            if self.arrived:
                return self.arrived.pop(0)
            self._check()
            remaining = deadline - clock.monotonic()
            # Of the bot's end it knows nothing, as little as a real one.
            if remaining <= 0:
                return None
            clock.sleep(min(remaining, STEP_SECONDS))

    def _fetch(self):
        if self.broken or self.hanging:
            return
        self.network.api.exchange.advance()
        texts = self.connection.outgoing()
        self.arrived += [self.network.on_message(text) for text in texts]

    def _check(self):
        if self.broken or (self.connection.closed and not self.arrived):
            raise SocketClosed("connection reset")

    def close(self):
        self.broken = True
        self.connection.close()


class Network:
    """All connections of one world, and what goes wrong with them."""

    def __init__(self, api, clock):
        self.api = api
        self.clock = clock
        self.sockets = []
        self.sent = []
        self.dials = []
        self.refusing = False
        self.mute = False  # new connections say nothing
        self.on_send = lambda _text: None
        self.on_message = lambda text: text

    def connect(self, url, _timeout):
        self.dials.append((self.clock.monotonic(), url))
        if self.refusing:
            raise ConnectionRefusedError(111, "Connection refused")
        socket = SimulatedSocket(self, url)
        self.sockets.append(socket)
        return socket

    def socket(self, path):
        """The latest connection to a path."""
        return next(item for item in reversed(self.sockets) if item.path == path)

    @property
    def account(self):
        return self.socket("/ws-api/v3")

    @property
    def market(self):
        return self.socket("/stream")


class StreamWorld(trading.World):
    """A world whose bot hears streams."""

    def __init__(self, directory, candles, **exchange_flags):
        super().__init__(directory, candles, **exchange_flags)
        self.document["exchange"]["stream_url"] = STREAM_URL
        self.network = Network(self.api, self.clock)

    @property
    def config(self):
        return parse_config(self.document, Path("bot.toml"))

    def account(self, secret=trading.SECRET, **options):
        session = requests.Session()
        session.mount("http://", self.wire)
        return BinanceAccount(
            self.config.account,
            trading.KEY,
            secret,
            clock=self.clock,
            session=session,
            connect=self.network.connect,
            dice=random.Random(7),  # noqa: S311 - pauses, no secret
            **options,
        )


@pytest.fixture
def make_world(tmp_path):
    worlds = []

    def make(candles=None, **flags):
        world = StreamWorld(tmp_path, candles or trading.zigzag(), **flags)
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        world.close()
