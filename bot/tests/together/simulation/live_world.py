"""A world whose exchange follows another one, which nothing but its network can disturb.

Connections end after 24 hours; the way to the other exchange is away for minutes, or it is in
maintenance; it forgets trades; the exchange itself loses power and starts again. What resting
orders get is held against the trades of the other exchange, trade by trade.
"""

from array import array
from collections import defaultdict, deque
from decimal import Decimal
from pathlib import Path

import requests
from gridbase.sockets.dialer import DirectDialer
from gridexchange.config import load_config
from gridexchange.live.engine import LiveEngine
from gridexchange.market import tape
from gridexchange.matching.orders import BUY
from gridexchange.server import build_api, build_follower

from bot.tests.exchange.live import Wire as UpstreamWire
from bot.tests.exchange.live import page_of

from .chance import dice
from .world import World

DAY_SECONDS = 86_400.0
ENTRY_BYTES = 8
UPSTREAM = {"live_rest": "http://upstream.test", "live_streams": "ws://upstream.test"}


class Sources:
    """What each of the account's trades was filled from, by its ID; 0: from the book.

    Args:
        path: of a file, which is made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        path.touch()

    def note(self, first: int, numbers: list[int]) -> None:
        """The trades from `first` on; after a loss of power they are filled again."""
        if not numbers and self._count <= first:
            return
        self._count = first + len(numbers)
        with self._path.open("r+b") as file:
            file.truncate(first * ENTRY_BYTES)  # where it was shorter, what is between is 0
            file.seek(first * ENTRY_BYTES)
            array("q", numbers).tofile(file)

    def all(self) -> array:
        """Numbers of trades of others, by the account's trade ID."""
        return array("q", self._path.read_bytes())


class LiveWorld(World):
    """See the module's text; `disturb` lets things go wrong."""

    look_seconds = 5.0  # between two looks at what the other exchange says

    def _exchange_config(self):
        files = {name: str(self.directory / name) for name in ("key", "secret")}
        config = load_config(
            None,
            {
                "live": "binance",
                "state_directory": str(self.directory / "exchange"),
                "api_key_file": files["key"],
                "api_secret_file": files["secret"],
                **UPSTREAM,
            },
        )
        if not hasattr(self, "upstream"):
            self._begin_upstream(files)
        return config

    def _begin_upstream(self, files) -> None:
        """Start the exchange that plays the real one."""
        flags = {
            "state_directory": ":memory:",
            "api_key_file": files["key"],
            "api_secret_file": files["secret"],
            "candles": str(self.directory / "candles.csv"),
            "at_end": "hold",
            "speed": "1",
            "spread": "0.0001",
            "max_quantity": "0.5",
        }
        self.upstream = build_api(load_config(None, flags), self.time)
        self.way = UpstreamWire(self.upstream)
        self.way.asked = deque(maxlen=1)  # of no use here, and a month of it is memory
        self.chance = dice("live", self.setup.seed)
        self.calmed = False
        self.gaps = self.restarts = self.cuts = 0
        # In a file: a month of them would count as the bot's memory.
        self.sources = Sources(self.directory / "sources")

    def _connect_networks(self) -> None:
        self._follow()
        while self.follower.closed:
            self.time.sleep(self.look_seconds)
        super()._connect_networks()

    def _follow(self) -> None:
        session = requests.Session()
        session.mount("http://", self.way)
        dialer = DirectDialer(self.way.connect)
        config = self._exchange_config()
        self.follower = build_follower(self.api, config, self.time, session, dialer)
        self.time.after(self.look_seconds, lambda follower=self.follower: self._look(follower))

    def _look(self, follower) -> None:
        if follower is not self.follower or self.calmed:
            return
        follower.step(0.0)
        self.time.after(self.look_seconds, lambda: self._look(follower))

    def restart_exchange(self) -> None:
        """The exchange loses power, and is there again after some minutes."""
        self.restarts += 1
        self.network.drop_all()
        self.wire.down = self.network.down = "unreachable"
        self.follower.close()
        self.follower = None
        self.exchange.store.close()
        self.time.after(self.chance.uniform(10, 1_800), self._start_exchange)

    def _start_exchange(self) -> None:
        self.api = build_api(self._exchange_config(), self.time)
        self.exchange = self.api.exchange
        self.listing = self.exchange.listing(self.listing.symbol)
        self.wire.application = self.network.api = self.api
        self.wire.down = self.network.down = None
        self._follow()

    def disturb(self, hours: float) -> None:
        """Let something go wrong every so many hours, and end connections every day."""
        self.time.after(DAY_SECONDS, self._end_of_day)
        self.time.after(self.chance.uniform(0, 2 * hours) * 3600, lambda: self._strike(hours))

    def _end_of_day(self) -> None:
        self.cuts += 1
        self.way.cut()
        self.time.after(DAY_SECONDS, self._end_of_day)

    def _strike(self, hours: float) -> None:
        self.time.after(self.chance.uniform(0, 2 * hours) * 3600, lambda: self._strike(hours))
        if self.calmed or self.follower is None or self.way.down or self.way.refusing:
            return
        kind = self.chance.choice(("cut", "away", "maintenance", "power", "forgets"))
        self.note(kind)
        if kind == "power":
            self.restart_exchange()
            return
        self.cuts += 1
        self.way.cut()
        if kind == "cut":
            return
        if kind == "maintenance":
            self.way.answer, self.way.refusing = page_of(503), True
        else:
            self.way.down = True
        self.time.after(self.chance.uniform(5, 3_600), lambda: self._back(kind))

    def _back(self, kind: str) -> None:
        if kind == "forgets":
            self.gaps += 1
            listing = self.upstream.exchange.listings[self.listing.symbol]
            self.upstream.exchange.advance()
            self.way.forget = tape.last_number(listing.position)
        self.way.down = self.way.refusing = False
        self.way.answer = None

    def calm(self) -> None:
        """From here on nothing goes wrong and the market stands still."""
        self.way.down = self.way.refusing = False
        self.way.answer = None
        while self.follower is None or not (self.listing.following and not self.listing.behind):
            self.time.sleep(self.look_seconds)
        self.calmed = True

    # What resting orders get.

    @property
    def fills(self) -> int:
        """How many trades of resting orders there are."""
        return sum(number > 0 for number in self.sources.all())

    def watch_fills(self, monkeypatch) -> None:
        """Note which trade of others each of the account's trades was filled from."""
        trade = LiveEngine.trade
        sources = self.sources

        def noting(engine, traded, time_ms):
            first = engine.next_trade_id
            trade(engine, traded, time_ms)
            sources.note(first, [traded.number] * (engine.next_trade_id - first))

        monkeypatch.setattr(LiveEngine, "trade", noting)

    def fill_problems(self) -> list[str]:
        """What the account got that did not trade at its price or beyond, or got twice."""
        found: list[str] = []
        given: defaultdict[int, Decimal] = defaultdict(Decimal)
        sources = self.sources.all()
        there = self.upstream.exchange.listings[self.listing.symbol]
        trades = self.exchange.store.trades(
            self.listing.symbol, order_id=None, from_id=1, start_ms=0, end_ms=None, limit=10**9
        )
        taken = {(own.time_ms, own.price, own.quantity) for own in trades if not own.is_maker}
        for own in trades:
            if not own.is_maker:
                continue
            if not sources[own.trade_id]:
                # The account's own order took it, as it may where nothing prevents that.
                if (own.time_ms, own.price, own.quantity) not in taken:
                    found.append(f"trade {own.trade_id} is from nowhere")
                continue
            other = tape.trade(there.feed, there.rules, sources[own.trade_id])
            order = self.exchange.store.order(self.listing.symbol, own.order_id)
            given[other.number] += own.quantity
            worse = other.price <= own.price if order.side == BUY else other.price >= own.price
            if not worse or own.price != order.price:
                found.append(f"trade {own.trade_id} at {own.price}, others at {other.price}")
            if there.due_at(tape.position_of(other.number)) < order.created_ms:
                found.append(f"trade {own.trade_id} is older than its order")
            if given[other.number] > other.quantity:
                found.append(f"{given[other.number]} filled of {other.quantity} that traded")
        return found
