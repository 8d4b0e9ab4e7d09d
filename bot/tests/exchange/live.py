"""Two practice exchanges in one process: one plays the real one, the other follows it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import requests
from gridbase.sockets.dialer import DirectDialer
from gridbase.sockets.socket import SocketClosed
from gridexchange.config import load_config
from gridexchange.errors import ApiError
from gridexchange.live.follower import Follower
from gridexchange.live.listing import LiveListing
from gridexchange.server import build_api, build_follower

from bot.tests.together.in_process import answer_of, deliver, unreachable_error

from .conftest import KEY, SECRET, World


class Socket:
    """A connection to the exchange that is followed."""

    def __init__(self, api, url: str) -> None:
        parts = urlsplit(url)
        self._api = api
        try:
            self.connection = api.streams.connect(parts.path, parts.query, "10.0.0.9")
        except ApiError as error:
            raise SocketClosed(f"HTTP {error.status.value}") from error
        self._arrived: list[str] = []

    def send(self, text: str) -> None:
        self.connection.receive(text)

    def receive(self, timeout: float) -> str | None:  # noqa: ARG002  nobody waits
        if not self._arrived:
            self._api.exchange.advance()
            self._arrived = self.connection.outgoing()
        if self._arrived:
            return self._arrived.pop(0)
        if self.connection.closed:
            raise SocketClosed("connection reset")
        return None

    def close(self) -> None:
        self.connection.close()


@dataclass
class Wire(requests.adapters.BaseAdapter):
    """The way to the exchange that is followed.

    Attributes:
        api: that exchange.
        down: whether nobody can reach it.
        refusing: whether it takes no connections.
        answer: what answers instead of it; None for itself.
        sockets: connections so far.
        asked: what was asked over REST.
        forget: number of the first trade that it still tells.
    """

    api: object
    down: bool = False
    refusing: bool = False
    answer: object = None
    sockets: list[Socket] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    forget: int = 0

    def send(self, request, **_options):
        self.asked.append(request.url.partition("/api/v3/")[2])
        if self.down:
            raise unreachable_error()
        return self.answer(request) if self.answer else self.real(request)

    def real(self, request):
        """What the exchange itself answers, without the trades that it has forgotten."""
        answer = deliver(self.api, request)
        if "/aggTrades" in request.url and answer.status_code == 200:
            rows = [row for row in answer.json() if row["a"] >= self.forget]
            answer = page_of(200, json.dumps(rows))(request)
        return answer

    def connect(self, url: str, _timeout: float) -> Socket:
        if self.down or self.refusing:
            raise ConnectionRefusedError(111, "Connection refused")
        self.sockets.append(Socket(self.api, url))
        return self.sockets[-1]

    def cut(self) -> None:
        """Every connection breaks, as it does after 24 hours."""
        while self.sockets:
            self.sockets.pop().connection.close()

    def close(self) -> None:
        pass


class Paper(World):
    """The exchange that follows another one, in this process; see `World`."""

    def __init__(self, directory: Path, upstream, clock, **settings) -> None:
        self.wire = Wire(upstream)
        self.directory, self.clock = directory, clock
        directory.mkdir(exist_ok=True)
        for name, content in (("key", KEY), ("secret", SECRET)):
            (directory / name).touch(mode=0o600)
            (directory / name).write_text(content)
        self.settings = settings
        self.open()

    def open(self) -> None:
        flags = {
            "live": "binance",
            "live_rest": "http://upstream.test",
            "live_streams": "ws://upstream.test",
            "state_directory": str(self.directory),
            "api_key_file": str(self.directory / "key"),
            "api_secret_file": str(self.directory / "secret"),
            "balances": {"USDT": "10000", "BTC": "1"},
        }
        config = load_config(None, flags | self.settings)
        self.api = build_api(config, self.clock)
        self.exchange = self.api.exchange
        self.store = self.exchange.store
        session = requests.Session()
        session.mount("http://", self.wire)
        dialer = DirectDialer(self.wire.connect)
        self.follower: Follower = build_follower(self.api, config, self.clock, session, dialer)

    @property
    def live(self) -> LiveListing:
        listing = self.listing
        assert isinstance(listing, LiveListing)
        return listing

    def trades(self) -> list[dict]:
        """The account's trades."""
        return self.signed("GET", "myTrades", symbol="BTCUSDT").json

    def told(self) -> dict:
        """How following goes, by the health endpoint."""
        return self.get("/gridberry/health").json["live"]["symbols"]["BTCUSDT"]


def page_of(status: int, text: str = "<html>maintenance</html>"):
    """What answers every request the same."""
    return lambda _request: answer_of(f"{status} Answer", text.encode())
