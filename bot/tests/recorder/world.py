"""The recorder and a practice exchange in one process, under a clock that the test moves."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import requests
from gridbase.public_rest import Away, Rest
from gridbase.sockets.dialer import DirectDialer
from gridexchange.config import load_config
from gridexchange.faults.plan import Severed
from gridexchange.market import tape
from gridexchange.protocol import market_answers
from gridexchange.server import build_api
from recorder.core.inbox import Inbox
from recorder.core.rows import Kind
from recorder.core.steps import Steps
from recorder.files.store import Store
from recorder.recording.asking import Answer, put
from recorder.recording.connections import Group
from recorder.recording.messages import levels, sizes_of
from recorder.recording.session import Session, streams_of
from recorder.recording.symbol import Request

from bot.tests.exchange.conftest import KEY, SECRET, FakeClock
from bot.tests.exchange.live import Wire
from bot.tests.together.in_process import unreachable_error

ALL = tuple(Kind)
COINS = ("BTC", "ETH", "BNB", "SOL", "XRP", "ADA", "DOGE", "AVAX", "DOT", "TRX")
COINS += ("LTC", "LINK", "ATOM", "UNI", "ETC", "XLM", "FIL", "NEAR", "APT", "ARB")
START_MS = 1_764_028_800_000  # 2025-11-25 00:00 UTC
EVENT_FAULTS = ("lost", "duplicate", "reordered", "late", "cut", "crossed")


class DirectAsker:
    """Asks while the caller waits: for simulations, where that takes no time.

    Args:
        rest: asks.
    """

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._answers: list[Answer] = []
        self.trouble = ""

    def ask(self, request: Request) -> None:
        """Ask, and keep the answer."""
        try:
            self._answers.append((request, put(self._rest, request)))
            self.trouble = ""
        except Away as error:
            self.trouble = str(error)
            self._answers.append((request, None))

    def answers(self) -> list[Answer]:
        """What has been answered since the last call."""
        answers, self._answers = self._answers, []
        return answers


class Clock(FakeClock):
    stopping = False

    def __init__(self) -> None:
        super().__init__()
        self.wall_ms = START_MS


class Line(Wire):
    """The way to the exchange, on which connections break on purpose."""

    def real(self, request):
        try:
            return super().real(request)
        except Severed as error:
            raise unreachable_error() from error


def fingerprint(bids: dict[int, int], asks: dict[int, int]) -> int:
    """What differs where books differ."""
    return hash((frozenset(bids.items()), frozenset(asks.items())))


@dataclass
class World:
    """An exchange of some symbols, and a recorder of them.

    Attributes:
        directory: of both.
        symbols: how many.
        faults: probability of each kind of fault, by kind.
        step_ms: how often everybody does what is due; divides a second.
    """

    directory: Path
    symbols: int = 2
    faults: dict[str, float] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    kinds: tuple[Kind, ...] = ALL
    seed: int = 1
    longest_s: float = 23.5 * 3600
    step_ms: int = 250

    def __post_init__(self) -> None:
        self.api = build_api(self._config(), self.clock)
        self.exchange = self.api.exchange
        self.wire = Line(self.api)
        self.books: dict[tuple[str, int], int] = {}  # an hour of whole ones would not fit
        self.truth: dict[str, int] = {}
        self.open()

    def _config(self):
        home = self.directory / "exchange"
        home.mkdir()
        for name, content in (("key", KEY), ("secret", SECRET)):
            (home / name).touch(mode=0o600)
            (home / name).write_text(content)
        rules = [
            f'[[faults.rules]]\nkind = "{kind}"\nprobability = {rate}'
            for kind, rate in self.faults.items()
        ]
        symbols = [
            f'[[symbols]]\nsymbol = "{coin}/USDT"\nseed = {number}\nspread = "0.0002"\n'
            f'book_levels = 20\ntick_size = "0.01"\nlot_size = "0.00001"'
            for number, coin in enumerate(COINS[: self.symbols])
        ]
        text = [
            f'state_directory = "{home}"',
            f'api_key_file = "{home / "key"}"',
            f'api_secret_file = "{home / "secret"}"',
            "weight_per_minute = 1000000000\nspeed = 60\nbalances = {USDT = '1'}",
            *([f"[faults]\nseed = {self.seed}", *rules] if rules else []),
            *symbols,
        ]
        path = home / "exchange.toml"
        path.write_text("\n".join(text))
        return load_config(path, {})

    def open(self) -> None:
        """Start the recorder."""
        session = requests.Session()
        session.mount("http://", self.wire)
        self.rest = Rest("http://upstream.test", lambda _name, _number: None, session)
        active, self.api.faults.active = self.api.faults.active, False
        listed = self.rest.ask("exchangeInfo")["symbols"]
        self.api.faults.active = active
        self.sizes = {each["symbol"]: sizes_of(each) for each in listed}
        self.inbox = Inbox()
        self.store = Store(self.directory / "data", self.clock, rotate_bytes=10**8)
        self.session = Session(
            "binance",
            self.sizes,
            self.kinds,
            store=self.store,
            asker=DirectAsker(self.rest),
            inbox=self.inbox,
            clock=self.clock,
        )
        self.store.open(streams_of("binance", self.sizes, self.kinds))
        self.store.on_new_journal = self.new_journal
        self.group = Group(
            "streams",
            "ws://upstream.test",
            self.session.streams,
            dialer=lambda: DirectDialer(self.wire.connect),
            clock=self.clock,
            inbox=self.inbox,
            longest_s=self.longest_s,
        )

    def new_journal(self, kind: Kind) -> None:
        if kind == Kind.DEPTH:
            self.session.checkpoint()

    def kill(self) -> None:
        """The recorder is gone without a word."""
        self.group.close()
        self.store._lock.close()

    def close(self) -> None:
        """The recorder stops in an orderly way."""
        self.group.close()
        self.store.close()

    def step(self, milliseconds: int = 0) -> None:
        """Let time pass; everybody does what is due."""
        milliseconds = milliseconds or self.step_ms
        self.clock.pass_ms(milliseconds)
        self.exchange.advance()
        self.note()
        self.group.pump(0.0)
        self.session.step(0.0)
        if self.clock.passed_ms % 1_000 < milliseconds:
            self.store.flush()

    def run(self, seconds: float) -> None:
        """Let so many seconds pass."""
        for _ in range(round(seconds * 1_000 / self.step_ms)):
            self.step()

    def settle(self) -> None:
        """Without faults for so long that what is missing has been noticed."""
        self.api.faults.active = False
        self.run(5)
        self.step(61_000)
        self.run(4)

    def note(self) -> None:
        """Note what the exchange's books are."""
        for symbol, listing in self.exchange.listings.items():
            key = (symbol, listing.update)
            if key not in self.books:
                self.books[key] = fingerprint(*self.book_of(symbol))

    def book_of(self, symbol: str) -> tuple[dict, dict]:
        listing = self.exchange.listings[symbol]
        steps = Steps(self.sizes[symbol])
        answer = market_answers.depth(listing.engine, listing.update, 5_000, listing.rungs())
        return dict(levels(answer["bids"], steps)), dict(levels(answer["asks"], steps))

    def made(self, symbol: str) -> int:
        """Number of the last trade that the exchange made."""
        return tape.last_number(self.exchange.listings[symbol].position)

    def manifest(self, day: str) -> dict:
        return json.loads((self.directory / "data/ready/manifest" / f"{day}.json").read_text())
