import hashlib
import hmac
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlencode

import pytest
from gridbase.candles.price_units import to_units
from gridbase.candles.series import Candle, CandleSeries
from gridbase.market import Market
from gridexchange.exchange import Exchange
from gridexchange.faults.plan import Faults
from gridexchange.faults.settings import read_faults
from gridexchange.limits import Limits
from gridexchange.market.feed import Feed, Pace
from gridexchange.market.listing import Listing
from gridexchange.matching.rules import Rules
from gridexchange.protocol.requests import Credentials
from gridexchange.rest.application import Api
from gridexchange.store.store import Store

KEY = "test-key"
SECRET = "test-secret"
MINUTE_MS = 60_000
SOURCE = Path(__file__).parents[2] / "src"
START_LIMIT_S = 30


class FakeClock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.wall_ms = 1_700_000_000_000
        self.passed_ms = 0

    def now_ms(self) -> int:
        return self.wall_ms + self.passed_ms

    def monotonic(self) -> float:
        return self.passed_ms / 1000

    def sleep(self, seconds: float) -> None:
        self.pass_ms(round(seconds * 1000))

    def pass_ms(self, milliseconds: int) -> None:
        self.passed_ms += milliseconds


def make_market(**changes) -> Market:
    values = {
        "symbol": "BTC/USDT",
        "base": "BTC",
        "quote": "USDT",
        "tick_size": Decimal("0.01"),
        "lot_size": Decimal("0.00001"),
        "min_quantity": Decimal("0.00001"),
        "min_notional": Decimal(5),
        "max_quantity": Decimal(9000),
        "max_orders": 200,
        "max_price": Decimal(1_000_000),
        "max_notional": Decimal(9_000_000),
    }
    return Market(**(values | changes))


def make_rules(fee_rate: str = "0.001", fee_in: str = "received", **market) -> Rules:
    return Rules(make_market(**market), Decimal(fee_rate), fee_in)


def make_series(*candles: tuple, start_ms: int = 1_640_991_660_000) -> CandleSeries:
    """A series of (open, high, low, close), a minute each."""
    series = CandleSeries("test.csv")
    for number, prices in enumerate(candles):
        units = [to_units(str(price))[0] for price in prices]
        series.append(Candle(start_ms + number * MINUTE_MS, *units, 1.0))
    series.take_fingerprint()
    return series


@dataclass
class Answer:
    status: int
    json: object
    headers: dict[str, str]

    @property
    def error(self) -> tuple[int, int, str]:
        return (self.status, self.json["code"], self.json["msg"])


@dataclass
class World:
    """An exchange in this process under a clock that the test moves; no sockets."""

    directory: Path
    series: CandleSeries
    rules: Rules = field(default_factory=make_rules)
    at_end: str = "repeat"
    speed: Fraction = Fraction(60)
    limits: Limits = field(default_factory=Limits)
    balances: dict = field(default_factory=lambda: {"USDT": Decimal(10_000), "BTC": Decimal(1)})
    clock: FakeClock = field(default_factory=FakeClock)
    faults: list = field(default_factory=list)
    seed: int = 1

    def __post_init__(self) -> None:
        self.speed = Fraction(self.speed)
        self.open()

    def open(self) -> None:
        self.store = Store(self.directory)
        faults = Faults(read_faults({"seed": self.seed, "rules": self.faults}), self.clock)
        listing = Listing(
            self.rules,
            Feed(self.series, self.at_end),
            Pace(self.speed, self.series.interval_ms),
            faults,
        )
        self.exchange = Exchange(
            [listing],
            store=self.store,
            balances=self.balances,
            clock=self.clock,
        )
        self.api = Api(
            self.exchange, Credentials(KEY, SECRET), self.limits, "test market", faults=faults
        )

    def reopen(self, *, cleanly: bool = False) -> None:
        """As after a power cut: memory is lost, what was committed is there."""
        if cleanly:
            self.exchange.close()
        else:
            self.store.close()
        self.open()

    @property
    def listing(self) -> Listing:
        return next(iter(self.exchange.listings.values()))

    def legs(self, count: int) -> None:
        """Let the market go on by so many legs."""
        minute_ms = Fraction(self.series.interval_ms) / self.speed
        self.clock.pass_ms(int(count * minute_ms / 4))

    def call(
        self, method: str, path: str, key: str | None = None, text: str = "", body=b"", *, unit=None
    ):
        sent = {}
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path if path.startswith("/") else f"/api/v3/{path}",
            "QUERY_STRING": text,
            "REMOTE_ADDR": "10.0.0.1",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": _Body(body),
        }
        if key is not None:
            environ["HTTP_X_MBX_APIKEY"] = key
        if unit is not None:
            environ["HTTP_X_MBX_TIME_UNIT"] = unit

        def start_response(status, headers):
            sent["status"] = int(status.split()[0])
            sent["headers"] = dict(headers)

        content = b"".join(self.api(environ, start_response))
        return Answer(sent["status"], json.loads(content), sent["headers"])

    def get(self, path: str, **parameters) -> Answer:
        return self.call("GET", path, text=urlencode(parameters))

    def signed(self, method: str, path: str, **parameters) -> Answer:
        return self.call(method, path, KEY, sign(parameters, self.clock.now_ms()))

    def order(self, side="BUY", kind="LIMIT", **parameters) -> Answer:
        values = {"symbol": "BTCUSDT", "side": side, "type": kind}
        if kind == "LIMIT":
            values["timeInForce"] = "GTC"
        return self.signed("POST", "order", **(values | parameters))

    def connect(self, path: str = "/ws-api/v3", query: str = "") -> "Client":
        return Client(self, self.api.streams.connect(path, query, "10.0.0.2"))

    def account(self) -> dict[str, tuple[Decimal, Decimal]]:
        balances = self.signed("GET", "account").json["balances"]
        return {x["asset"]: (Decimal(x["free"]), Decimal(x["locked"])) for x in balances}


class Client:
    """A client of the streams, in this process."""

    def __init__(self, world: World, connection) -> None:
        self.world = world
        self.connection = connection

    def messages(self) -> list:
        self.world.exchange.advance()
        return [json.loads(text) for text in self.connection.outgoing()]

    def ask(self, method: str, **params) -> dict:
        """The answer to a request; events that come before it stay unread."""
        self.connection.receive(json.dumps({"id": 7, "method": method, "params": params}))
        messages = self.messages()
        answers = [message for message in messages if "id" in message]
        self.events = [message for message in messages if "id" not in message]
        (answer,) = answers
        assert answer["id"] == 7
        return answer

    def signed(self, method: str, **params) -> dict:
        return self.ask(method, **sign_json(params, self.world.clock.now_ms()))


class _Body:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, length: int) -> bytes:
        return self.content[:length]


def sign(parameters: dict, now_ms: int, secret: str = SECRET) -> str:
    text = urlencode({"timestamp": now_ms} | parameters)
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return f"{text}&signature={signature}"


def sign_json(params: dict, now_ms: int, secret: str = SECRET, key: str = KEY) -> dict:
    params = {"apiKey": key, "timestamp": now_ms} | params
    text = "&".join(f"{name}={params[name]}" for name in sorted(params))
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return params | {"signature": signature}


@pytest.fixture
def make_world(tmp_path):
    worlds = []

    def make(*candles, **settings) -> World:
        world = World(tmp_path / "state", make_series(*candles), **settings)
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        world.store.close()


class Server:
    """`gridexchange` in a process of its own, over loopback."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self.directory = directory
        self.flags = flags
        for name, content in (("key", KEY), ("secret", SECRET)):
            path = directory / name
            path.touch(mode=0o600)
            path.write_text(content)
        self.start()

    def start(self, *more_flags: str) -> None:
        self.log = (self.directory / "log").open("a+")
        self.log.seek(0, os.SEEK_END)
        position = self.log.tell()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gridexchange", "--port", "0"),
                *("--state-directory", self.directory / "state"),
                *("--api-key-file", self.directory / "key"),
                *("--api-secret-file", self.directory / "secret"),
                *self.flags,
                *more_flags,
            ],
            env=os.environ | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"},
            stdout=self.log,
            stderr=self.log,
        )
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            self.log.seek(position)
            text = self.log.read()
            if " on http://" in text:
                self.url = "http://" + text.split(" on http://")[1].split(",")[0]
                if " on ws://" in text:
                    self.stream_url = "ws://" + text.split(" on ws://")[1].split()[0]
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not start: {text}")
            time.sleep(0.02)

    @property
    def text(self) -> str:
        return (self.directory / "log").read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=START_LIMIT_S)
        self.log.close()
        return status

    def request(self, method: str, path: str, **parameters):
        """A signed request; raises OSError or HTTPException when the server goes away."""
        host = self.url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=START_LIMIT_S)
        try:
            text = sign(parameters, time.time_ns() // 1_000_000)
            connection.request(method, f"/api/v3/{path}?{text}", headers={"X-MBX-APIKEY": KEY})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


@pytest.fixture
def make_server(tmp_path):
    servers = []

    def make(*flags: str) -> Server:
        server = Server(tmp_path, *flags)
        servers.append(server)
        return server

    yield make
    for server in servers:
        if server.process.poll() is None:
            server.kill()
