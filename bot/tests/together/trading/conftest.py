"""Bot and exchange in one process under virtual time: both real, ccxt and HTTP's forms included.

Only the wire is not: `Wire` hands each request of ccxt's session to the exchange's WSGI
application, and can lose, break or delay it on the way.
"""

import contextlib
import os
import random
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from gridbot.accounting.audit import Report, audit
from gridbot.config.load import BotConfig, GridConfig, parse_config
from gridbot.exchanges.binance.account import BinanceAccount
from gridbot.exchanges.binance.symbol import BinanceBroker
from gridbot.service.bot import Runner
from gridbot.store import Store
from gridbot.trading.session import Session
from gridbot.trading.trader import Trader
from gridexchange.config import load_config as load_exchange_config
from gridexchange.server import build_api

from bot.tests.together.in_process import deliver, unreachable_error

KEY = "test-key"
SECRET = "test-secret"
START_MS = 1_790_000_000_000


class Crash(BaseException):
    """The power is cut."""


class VirtualClock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.stop_at = float("inf")

    @property
    def stopping(self) -> bool:
        return self.seconds >= self.stop_at

    def now_ms(self) -> int:
        return START_MS + round(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += max(0.0, seconds)


@dataclass
class Wire(requests.adapters.BaseAdapter):
    """Carries requests to a WSGI application.

    `before` and `after` see each request (method, path) on its way out and its answer on its way
    back; what they raise is what the bot sees.
    """

    application: Callable
    clock: VirtualClock
    database: Path | None  # None: orders of others are sent as well
    before: Callable[[str, str], requests.Response | None] = lambda _method, _path: None
    after: Callable[[str, str], requests.Response | None] = lambda _method, _path: None
    requests: list[tuple[str, str]] = field(default_factory=list)
    seconds_per_request: float = 0.01

    def send(self, request, **_options):
        parts = urlsplit(request.url)
        path = parts.path.removeprefix("/api/v3/")
        self.requests.append((request.method, path))
        self.clock.sleep(self.seconds_per_request)
        if (request.method, path) == ("POST", "order"):
            self._check_written(parse_qs(request.body)[b"newClientOrderId"][0].decode())
        answer = self.before(request.method, path)
        if answer is None:
            answer = deliver(self.application, request)
            instead = self.after(request.method, path)
            answer = answer if instead is None else instead  # a refusal counts as false
        answer.request, answer.url = request, request.url
        return answer

    def _check_written(self, client_id):
        """An order leaves only once its intent is committed, for anyone to read."""
        if not client_id.startswith("pi1-") or self.database is None:
            return
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            row = connection.execute(
                "SELECT state FROM orders WHERE client_id = ?", (client_id,)
            ).fetchone()
        if row != ("intended",):
            # No `Exception`: those the bot outlives.
            pytest.fail(f"order {client_id} leaves, and is {row} in the books")

    def close(self) -> None:
        pass


def lost(*_request):
    """The answer never comes."""
    raise requests.exceptions.ReadTimeout("Read timed out.")


def unreachable(*_request):
    """Nobody listens."""
    raise unreachable_error()


def zigzag(count: int = 400, seed: int = 5, centre: int = 50000) -> list[str]:
    """Rows of candles which swing through the grid again and again."""
    dice = random.Random(seed)  # noqa: S311 - a market, no secret
    rows, close = ["timestamp,open,high,low,close,volume"], centre
    for minute in range(count):
        pull = (centre - close) // 20
        target = close + pull + dice.randint(-700, 700)
        high = max(close, target) + dice.randint(0, 150)
        low = min(close, target) - dice.randint(0, 150)
        rows.append(f"{1_640_995_200_000 + minute * 60_000},{close},{high},{low},{target},1")
        close = target
    return rows


class World:
    """One exchange, one bot, one clock."""

    def __init__(
        self, directory: Path, candles: list[str], *, symbols: str = "", **exchange_flags: object
    ) -> None:
        self.directory = directory
        self.clock = VirtualClock()
        for name, text in (("key", KEY), ("secret", SECRET)):
            (directory / name).touch(mode=0o600)
            (directory / name).write_text(text)
        (directory / "candles.csv").write_text("\n".join(candles) + "\n")
        for name in ("exchange", "bot"):
            (directory / name).mkdir(exist_ok=True)
        flags = {
            "state_directory": str(directory / "exchange"),
            "api_key_file": str(directory / "key"),
            "api_secret_file": str(directory / "secret"),
            "candles": str(directory / "candles.csv"),
        } | exchange_flags
        if symbols:
            del flags["candles"]
            (directory / "exchange.toml").write_text(symbols)
        path = directory / "exchange.toml" if symbols else None
        self.api = build_api(load_exchange_config(path, flags), self.clock)
        self.wire = Wire(self.api, self.clock, directory / "bot" / "gridbot.sqlite3")
        self.document = {
            "bot_name": "pi1",
            "exchange": {
                "name": "binance",
                "url": "http://exchange.test",
                "api_key_file": str(directory / "key"),
                "api_secret_file": str(directory / "secret"),
            },
            "market": {"symbol": "BTC/USDT"},
            "grid": {"lower": "47000", "upper": "53000", "grids": 20, "investment": "9000"},
            "state": {"directory": str(directory / "bot")},
        }
        self.store: Store | None = None

    @property
    def config(self) -> BotConfig:
        return parse_config(self.document, Path("bot.toml"))

    @property
    def grid(self) -> GridConfig:
        """The first of the bot's."""
        return self.config.grids[0]

    def account(self, secret: str = SECRET) -> BinanceAccount:
        session = requests.Session()
        session.mount("http://", self.wire)
        return BinanceAccount(self.config.account, KEY, secret, clock=self.clock, session=session)

    def broker(self, secret: str = SECRET, symbol: str | None = None) -> BinanceBroker:
        return self.account(secret).broker(symbol or self.grid.symbol)

    def open_store(self) -> Store:
        self.store = Store(self.config.state_directory)
        return self.store

    def session(self) -> Session:
        config = self.config
        return Session(
            config.account, config.grids[0], self.broker(), self.open_store(), self.clock
        )

    def trader(self) -> Trader:
        """A bot that has just been started, on whatever state there is."""
        self.power_off()
        return Trader(self.session())

    def runner(self, secret: str = SECRET) -> Runner:
        self.power_off()
        return Runner(self.config, self.account(secret), self.open_store, self.clock)

    def power_off(self) -> None:
        """What was not committed is lost."""
        if self.store is not None:
            self.store.close()
            self.store = None

    def run(self, runner: Runner, seconds: float) -> Runner:
        self.clock.stop_at = self.clock.seconds + seconds
        try:
            runner.run()
        finally:
            self.store = None
            self.clock.stop_at = float("inf")
        return runner

    def audit(self, symbol: str | None = None, patience: float = 5.0) -> Report:
        self.wire.before = self.wire.after = lambda _method, _path: None
        reader = Store(self.config.state_directory, read_only=True)
        symbol = symbol or self.grid.symbol
        broker = self.broker(symbol=symbol)
        broker.connect()
        try:
            return audit(broker, reader, self.clock, symbol, patience_seconds=patience)
        finally:
            reader.close()

    def stand_still(self) -> None:
        """No market moves any more: what has traded can be booked."""
        for listing in self.api.exchange.listings.values():
            listing.feed.limit = partial(min, listing.position)

    def settle(self, trader: Trader) -> None:
        """Let the bot catch up with a market that stands still."""
        for _ in range(20):
            trader.step()
            self.clock.sleep(8.0)
            if not trader.step():
                break

    def exchange_orders(self, symbol: str | None = None) -> list[str]:
        broker = self.broker(symbol=symbol)
        broker.connect()
        return [order.client_id for order in broker.orders_since(())]

    def close(self) -> None:
        self.power_off()
        self.api.exchange.close()
        for thread in threading.enumerate():
            if thread.name == "books":  # reads for the page, and makes files while it does
                thread.join()


def check_books(world: World, trader: Trader) -> None:
    """The equation of the grid, and no order doubled."""
    books, price = trader.engine.books, Decimal("51234.56")
    earned = books.grid_profit + books.unrealised_profit(price)
    assert books.equity(price) - books.investment == earned
    names = world.exchange_orders()
    assert len(names) == len(set(names))
    places = [(order.line, order.side) for order in trader.engine.live.values()]
    assert len(places) == len(set(places)) == world.grid.grid.grids


@pytest.fixture
def tmp_path():
    """In memory where that is possible: SQLite waits for the disk at every commit."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    with tempfile.TemporaryDirectory(dir=memory if usable else None) as directory:
        yield Path(directory)


@pytest.fixture
def make_world(tmp_path):
    worlds = []

    def make(candles: list[str] | None = None, **flags: object) -> World:
        world = World(tmp_path, zigzag() if candles is None else candles, **flags)
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        world.close()
