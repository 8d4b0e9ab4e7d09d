"""One exchange, one bot that can die at any boundary, and one time for both.

A bot is never ended by an exception: what is left of it stays where it stopped, for ever, and the
next one starts from a copy of its files as they were at that instant. Nothing of the dead one runs
again, no ``finally`` and no ``except``. That needs a process of its own, which ends by `os._exit`
(see `workers`).
"""

import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import requests
from gridbot.accounting.settle import KEPT
from gridbot.commands.run import settling
from gridbot.config.load import BotConfig, parse_config
from gridbot.core.orders import Order, OrderState, Role, Side
from gridbot.core.orders_in_flight import State
from gridbot.exchanges.binance.account import BinanceAccount
from gridbot.service.bot import Runner
from gridbot.store import Store
from gridexchange.config import load_config as load_exchange_config
from gridexchange.matching.matching import Engine
from gridexchange.server import build_api

from .boundaries import Boundaries
from .chance import dice
from .clocks import BotClock, WorldTime
from .faults import Faults, exchange_rules
from .judge import Judge
from .kill_switch import KillSwitch
from .person import Person
from .sockets import STREAM_ADDRESS, Network
from .start_purchase import SETTING, StartPurchase
from .wire import ADDRESS, Wire

KEY, SECRET = "test-key", "test-secret"
BOT_NAME = "pi1"
SYMBOL = "BTC/USDT"


@dataclass
class Setup:
    """What a world begins with.

    Attributes:
        candles: rows of its market.
        grid: settings of the bot's grid.
        exchange: settings of the exchange.
        fees: settings of the bot's fees.
        more: further tables of the bot's configuration.
        kept: closed positions of a grid that the bot does not settle.
        seed: of every chance in it.
        streams: whether the bot hears the exchange's streams, or asks over REST.
        fault_rate: share of requests and messages that something happens to.
        world_seconds: seconds between two faults of the world.
        script: further faults of the exchange's own.
        person: what a person says, and when (world seconds).
        judge: what the account's judge turns to, and when (world seconds); it has none without.
    """

    candles: list[str]
    grid: dict[str, object]
    exchange: dict[str, object] = field(default_factory=dict)
    fees: dict[str, object] = field(default_factory=dict)
    more: dict[str, object] = field(default_factory=dict)
    kept: int = KEPT
    seed: int = 0
    streams: bool = True
    fault_rate: float = 0.0
    world_seconds: float = 20.0
    script: list[dict[str, object]] = field(default_factory=list)
    person: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    judge: list[tuple[float, str]] = field(default_factory=list)


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
        self.account: BinanceAccount | None = None
        self.kill_switch = KillSwitch(self)
        self.start_purchase = StartPurchase(self)
        self.person = Person(self)
        self.judge = Judge(self)
        self._dead: list[tuple[Runner | None, BotClock, BinanceAccount | None]] = []
        self._trace = trace
        seed_chance(setup.seed)
        self._write_files()
        self.api = build_api(self._exchange_config(), self.time)
        self.exchange = self.api.exchange
        self.listing = self.exchange.listing(SYMBOL.replace("/", ""))
        self._connect_networks()
        self.state = directory / "bot" / "0"
        self.state.mkdir(parents=True)
        if setup.fault_rate:
            self.time.after(self.faults.seconds_to_next(), self._something_happens)

    def _connect_networks(self) -> None:
        watching = {
            "boundaries": self.boundaries,
            "faults": self.faults,
            "note": self.note,
            "leaving": self._check_leaving,
            "heard": self.kill_switch.heard,
            "accepted": self._check_open_orders,
        }
        self.wire = Wire(self.api, self.time, **watching)
        self.network = Network(self.api, clock=lambda: self.clock, **watching)

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
            "faults": {
                "seed": self.setup.seed,
                "rules": exchange_rules(self.setup.fault_rate) + self.setup.script,
            },
        }
        return load_exchange_config(None, flags | self.setup.exchange)

    def note(self, text: str) -> None:
        if self._trace is not None:
            self._trace(f"{self.time.seconds:9.3f} {text}")

    @property
    def grid(self) -> dict[str, object]:
        """The grid's settings, with what its user has confirmed."""
        # Faults may hold up the first grid until the price has left its range.
        said = {SETTING: "10000", "allow_losing_pairs": True} | self.setup.grid
        return {name: value for name, value in said.items() if value is not None}

    @property
    def config(self) -> BotConfig:
        exchange = {
            "name": "binance",
            "url": ADDRESS,
            "api_key_file": str(self.directory / "key"),
            "api_secret_file": str(self.directory / "secret"),
        }
        if self.setup.streams:
            exchange["stream_url"] = STREAM_ADDRESS
        document = {
            "bot_name": BOT_NAME,
            "exchange": exchange,
            "market": {"symbol": SYMBOL},
            "grid": self.grid,
            "fees": self.setup.fees,
            "state": {"directory": str(self.state)},
        }
        return parse_config(document | self.setup.more, Path("bot.toml"))

    # The bot's lives.

    def new_account(self) -> BinanceAccount:
        session = requests.Session()
        session.mount("http://", self.wire)
        account = BinanceAccount(
            self.config.account,
            KEY,
            SECRET,
            clock=self.clock,
            session=session,
            connect=self.network.connect,
            dice=dice("pauses", self.setup.seed, self.lives),
        )
        account.ask = self.kill_switch.watch(account.ask)
        account.synchronise = self.kill_switch.watch(account.synchronise)
        return account

    def start_bot(self) -> Runner:
        """A bot that has just been started, on whatever its directory holds."""
        self.lives += 1
        self.note(f"life {self.lives}: the bot starts")
        self._dead.append((self.runner, self.clock, self.account))
        self.kill_switch.begin_life()
        self.clock = BotClock(self.time, self.kill_switch.look)
        self.judge.begin_life()
        self.account = self.new_account()
        state = self.state
        self.runner = Runner(
            self.config,
            self.account,
            lambda: Store(state),
            self.clock,
            settling(self.setup.kept),
            guard=self.judge.guard,
        )
        return self.runner

    def live(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """Let the bot run for so long; then it is stopped in an orderly way."""
        self.clock.stop_at = self.time.seconds + seconds
        self.clock.until = until
        self.runner.run()
        self.account.close()

    def cut(self) -> None:
        """The bot is dead from here on: what is in its files now is all that is left of it."""
        after = self.state.with_name(self.state.name + "+")
        self.copy_state(after)
        self.state = after
        self.die()

    def copy_state(self, target: Path) -> None:
        """The bot's files as they are at this instant."""
        # The file of shared memory does not outlive its processes; all others do.
        shutil.copytree(self.state, target, ignore=shutil.ignore_patterns("*-shm"))

    def die(self) -> None:
        """The system closes what the dead one had open."""
        self.network.drop_all()
        self.note("the bot is dead")

    def deliver_late(self, kind: str, seconds: float) -> None:
        """What had left when the bot died at such a boundary arrives so much later."""
        if kind == "request under way":
            self.time.after(seconds, self.wire.under_way)
        elif kind == "message under way":
            self.time.after(seconds, self.network.under_way)

    @property
    def fault_counts(self) -> Counter[str]:
        """What has gone wrong so far, by kind."""
        return self.faults.counts + self.api.faults.struck

    @property
    def runners(self) -> list[Runner]:
        """The bot's lives, one after the other."""
        lives = [*(runner for runner, _, _ in self._dead), self.runner]
        return [runner for runner in lives if runner is not None]

    @property
    def trader(self):
        return None if self.runner is None else self.runner._workers[0].trader

    @property
    def engine(self) -> Engine:
        """The exchange's books of the symbol."""
        return self.listing.engine

    @property
    def settled(self) -> bool:
        """Whether the bot knows all that the exchange knows, and all its orders are there."""
        trader = self.trader
        if trader is None:
            return False
        if trader.engine is None and (trader.halt is not None or trader.paused):
            return not self.engine.orders
        if trader.wind_down is not None or (
            trader.engine is not None and self.kill_switch.halted()
        ):
            return False  # a bot that waits hears of its end at its next step
        if trader.engine is None or not trader.engine.grid_started:
            live = trader.engine is not None and trader.engine.live
            return self.start_purchase.waits(trader) and not live and not self.engine.orders
        live = trader.engine.live
        if len(live) != trader.session.config.grid.grids:
            return False
        resting = [order for order in live.values() if not self._may_wait(order)]
        if any(order.state is not OrderState.OPEN for order in resting):
            return False
        there = {order.client_order_id: order for order in self.engine.orders.values()}
        return set(there) == {order.client_id for order in resting} and all(
            trader.engine.executed(name) == order.executed for name, order in there.items()
        )

    def _may_wait(self, order: Order) -> bool:
        """Whether an order is held back: by a filter, or as it must rest and now could not.

        One that may have been sent is not: the bot is still to find out.
        """
        if order.state is not OrderState.INTENDED or order.role is not Role.GRID:
            return False
        if order.client_id not in self.trader.session.orders.in_state(State.UNSENT):
            return False
        if self.trader.paused and order.side is Side.BUY:
            return True
        if not self.trader.session.config.grid.post_only:
            return False
        last = self.engine.last_price
        return order.price >= last if order.side is Side.BUY else order.price <= last

    def calm(self) -> None:
        """From here on nothing goes wrong and the market stands still."""
        self.faults.on = self.api.faults.active = False
        self.wire.down = self.network.down = None
        self.network.hang_all(0.0)
        self.clock.offset_ms = 0
        self.person.calm()
        self.judge.calm()
        self.exchange.advance()
        position = self.listing.position
        self.listing.feed.limit = lambda wanted: min(wanted, position)
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
            self._cancel_one()
        elif kind == "clock jump":
            self.clock.offset_ms = chance.choice((-1, 1)) * chance.randint(1_000, 3_600_000)
        elif kind == "connections dropped":
            self.network.drop_all()
        elif kind == "connections hung":
            self.network.hang_all(chance.uniform(1.0, 30.0))
        else:
            self.wire.down = "unreachable" if kind == "network down" else "maintenance"
            self.network.down = kind
            self.network.drop_all()
            self.time.after(chance.uniform(0.5, 15.0), self._back)

    def _cancel_one(self) -> None:
        self.exchange.advance()
        orders = sorted(self.engine.orders)
        if orders:
            number = self.faults.dice.choice(orders)
            self.exchange.cancel(self.listing, number, None, "by-the-exchange")

    def _back(self) -> None:
        self.wire.down = self.network.down = None

    # What is watched at every moment.

    def _check_leaving(self, client_id: str, side: str) -> None:
        self._check_written(client_id)
        self._check_states(client_id)
        self.kill_switch.leaving(client_id, side)
        self.start_purchase.leaving(client_id)
        self.person.leaving(client_id)
        self.judge.leaving(client_id, side)

    def _check_written(self, client_id: str) -> None:
        """An order leaves only once its intent is committed, for anyone to read."""
        reader = Store(self.state, read_only=True)
        try:
            if not reader.knows(client_id):
                self.violations.append(f"order {client_id} left before its intent was committed")
        finally:
            reader.close()

    def _check_states(self, client_id: str) -> None:
        """What the bot says of the order that leaves, and of all others, agrees with its books."""
        if self.trader is None or self.trader.engine is None:
            return
        states = self.trader.session.orders
        if states[client_id].state is not State.SENT:
            self.violations.append(f"order {client_id} left while {states[client_id].state}")
        for name, order in self.trader.engine.live.items():
            is_open = states[name].state in {State.OPEN, State.CANCELING}
            if is_open != (order.state is OrderState.OPEN):
                self.violations.append(f"order {name} is {states[name].state} and {order.state}")

    def _check_open_orders(self) -> None:
        """Seen by the exchange: no place holds two orders of the bot."""
        open_orders = list(self.engine.orders.values())
        places = {(order.side, order.price) for order in open_orders}
        if len(places) < len(open_orders):
            self.violations.append(f"{len(open_orders)} open orders at {len(places)} places")
        if len(open_orders) > int(str(self.setup.grid["grids"])):
            self.violations.append(f"{len(open_orders)} open orders")


def seed_chance(*names: object) -> None:
    """Let the system's chance, of which pauses and names are made, come from a seed."""
    random._urandom = dice("system", *names).randbytes
