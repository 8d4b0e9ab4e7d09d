"""One exchange, one bot that can die at any boundary, and one time for both.

A bot is never ended by an exception: what is left of it stays where it stopped, for ever, and the
next one starts from a copy of its files as they were at that instant. Nothing of the dead one runs
again, no ``finally`` and no ``except``. That needs a process of its own, which ends by `os._exit`
(see `workers`).
"""

import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import requests
from gridbot.binance_account import BinanceAccount
from gridbot.binance_broker import BinanceBroker
from gridbot.config import Config, parse_config
from gridbot.exchange.config import load_config as load_exchange_config
from gridbot.exchange.server import build_api
from gridbot.orders import OrderState
from gridbot.runner import Runner
from gridbot.store import Store

from .boundaries import Boundaries
from .chance import dice
from .clocks import BotClock, WorldTime
from .faults import Faults
from .wire import ADDRESS, Wire

KEY, SECRET = "test-key", "test-secret"
BOT_NAME = "pi1"


@dataclass
class Setup:
    """What a world begins with.

    Attributes:
        candles: rows of its market.
        grid: settings of the bot's grid.
        exchange: settings of the exchange.
        seed: of every chance in it.
        fault_rate: share of requests that something happens to.
        world_seconds: seconds between two faults of the world.
    """

    candles: list[str]
    grid: dict[str, object]
    exchange: dict[str, object] = field(default_factory=dict)
    fees: dict[str, object] = field(default_factory=dict)
    seed: int = 0
    fault_rate: float = 0.0
    world_seconds: float = 20.0


class World:
    """See the module's text.

    Args:
        directory: empty, and of this world alone; in memory where that is possible.
        setup: what it begins with.
        boundaries: watches the bot.
        trace: told of everything that happens, for people.
    """

    def __init__(
        self,
        directory: Path,
        setup: Setup,
        boundaries: Boundaries,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.directory = directory
        self.setup = setup
        self.boundaries = boundaries
        self.time = WorldTime()
        self.clock = BotClock(self.time)
        self.faults = Faults(dice("faults", setup.seed), setup.fault_rate, setup.world_seconds)
        self.violations: list[str] = []
        self.lives = 0
        self.runner: Runner | None = None
        self._dead: list[object] = []
        self._trace = trace
        self._write_files()
        self.api = build_api(self._exchange_config(), self.time)
        self.exchange = self.api.exchange
        self.wire = Wire(
            self.api,
            self.time,
            boundaries,
            self.faults,
            self.note,
            self._check_written,
            self._check_open_orders,
        )
        self.state = directory / "bot" / "0"
        self.state.mkdir(parents=True)
        self._spare: BinanceBroker | None = None
        seed_chance(setup.seed)
        if setup.fault_rate:
            self.time.after(self.faults.seconds_to_next(), self._something_happens)

    def _write_files(self) -> None:
        for name, text in (("key", KEY), ("secret", SECRET)):
            (self.directory / name).touch(mode=0o600)
            (self.directory / name).write_text(text)
        (self.directory / "candles.csv").write_text("\n".join(self.setup.candles) + "\n")
        (self.directory / "exchange").mkdir()

    def _exchange_config(self):
        flags = {
            "state_directory": str(self.directory / "exchange"),
            "api_key_file": str(self.directory / "key"),
            "api_secret_file": str(self.directory / "secret"),
            "candles": str(self.directory / "candles.csv"),
            "at_end": "hold",
        }
        return load_exchange_config(None, flags | self.setup.exchange)

    def note(self, text: str) -> None:
        if self._trace is not None:
            self._trace(f"{self.time.seconds:9.3f} {text}")

    @property
    def config(self) -> Config:
        document = {
            "bot_name": BOT_NAME,
            "exchange": {
                "name": "binance",
                "url": ADDRESS,
                "api_key_file": str(self.directory / "key"),
                "api_secret_file": str(self.directory / "secret"),
            },
            "market": {"symbol": "BTC/USDT"},
            "grid": self.setup.grid,
            "fees": self.setup.fees,
            "state": {"directory": str(self.state)},
        }
        return parse_config(document, Path("bot.toml"))

    # The bot's lives.

    def broker(self) -> BinanceBroker:
        session = requests.Session()
        session.mount("http://", self.wire)
        # The same pauses each time the world is run.
        account = BinanceAccount(
            self.config,
            KEY,
            SECRET,
            clock=self.clock,
            session=session,
            dice=dice("pauses", self.lives),
        )
        return account.broker(self.config.symbol)

    def start_bot(self) -> Runner:
        """A bot that has just been started, on whatever its directory holds."""
        self.lives += 1
        self.note(f"life {self.lives}: the bot starts")
        if self.runner is not None:
            self._dead.append((self.runner, self.clock))
        self.clock = BotClock(self.time)
        state = self.state
        self.runner = Runner(self.config, self.broker(), lambda: Store(state), self.clock)
        return self.runner

    def live(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """Let the bot run for so long; then it is stopped in an orderly way."""
        self.clock.stop_at = self.time.seconds + seconds
        self.clock.until = until
        self.runner.run()

    def cut(self) -> None:
        """The bot is dead from here on: what is in its files now is all that is left of it."""
        after = self.state.with_name(self.state.name + "+")
        self.copy_state(after)
        self.state = after
        self.note("the bot is dead")

    def copy_state(self, target: Path) -> None:
        """The bot's files as they are at this instant."""
        # The file of shared memory does not outlive its processes; all others do.
        shutil.copytree(self.state, target, ignore=shutil.ignore_patterns("*-shm"))

    @property
    def trader(self):
        return self.runner._trader

    @property
    def settled(self) -> bool:
        """Whether the bot knows all that the exchange knows, and all its orders are there."""
        trader = self.trader
        if trader is None or trader.engine is None or not trader.engine.grid_started:
            return False
        live = trader.engine.live
        if len(live) != trader.config.grid.grids:
            return False
        if any(order.state is not OrderState.OPEN for order in live.values()):
            return False
        names = {order.client_order_id for order in self.exchange.engine.orders.values()}
        return names == set(live) and trader._cursor == self.exchange.engine.next_trade_id

    def calm(self) -> None:
        """From here on nothing goes wrong and the market stands still."""
        self.faults.on = False
        self.wire.down = None
        self.clock.offset_ms = 0
        self.exchange.advance()
        position = self.exchange.position
        self.exchange.feed.limit = lambda wanted: min(wanted, position)
        self.note("all is calm")

    # What goes wrong in the world.

    def _something_happens(self) -> None:
        self.time.after(self.faults.seconds_to_next(), self._something_happens)
        kind = self.faults.of_world()
        if kind is None:
            return
        self.note(kind)
        chance = self.faults.dice
        if kind == "canceled by the exchange":
            self.exchange.advance()
            orders = sorted(self.exchange.engine.orders)
            if orders:
                self.exchange.cancel(chance.choice(orders), None)
        elif kind == "clock jump":
            self.clock.offset_ms = chance.choice((-1, 1)) * chance.randint(1_000, 3_600_000)
        else:
            self.wire.down = "unreachable" if kind == "network down" else "maintenance"
            self.time.after(chance.uniform(0.5, 15.0), self._back)

    def _back(self) -> None:
        self.wire.down = None

    def _check_written(self, client_id: str) -> None:
        """An order leaves only once its intent is committed, for anyone to read."""
        reader = Store(self.state, read_only=True)
        try:
            if not reader.knows(client_id):
                self.violations.append(f"order {client_id} left before its intent was committed")
        finally:
            reader.close()

    def _check_open_orders(self) -> None:
        """Seen by the exchange, at every moment: no place holds two orders of the bot."""
        open_orders = list(self.exchange.engine.orders.values())
        places = {(order.side, order.price) for order in open_orders}
        if len(places) < len(open_orders):
            self.violations.append(f"{len(open_orders)} open orders at {len(places)} places")
        if len(open_orders) > int(str(self.setup.grid["grids"])):
            self.violations.append(f"{len(open_orders)} open orders")


def seed_chance(seed: int) -> None:
    """Give every module of the bot that draws from the system's chance a seeded one."""
    for name, module in list(sys.modules.items()):
        if not name.startswith("gridbot."):
            continue
        for attribute, value in list(vars(module).items()):
            if isinstance(value, random.SystemRandom | SeededRandom):
                setattr(module, attribute, SeededRandom(seed))


class SeededRandom(Random):
    """Told apart from others, so that the next world can seed it anew."""
