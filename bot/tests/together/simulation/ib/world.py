"""A bot on a stock at a practice Gateway, both in one process and on one time; see `..world`."""

import asyncio
import shutil
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from gridbot.accounting.settle import KEPT
from gridbot.commands.run import settling
from gridbot.config.load import parse_config
from gridbot.core.orders import OrderState
from gridbot.core.orders_in_flight import State
from gridbot.exchanges.ib.account import IbAccount
from gridbot.service.bot import Runner
from gridbot.store import Store
from gridexchange.ib.account import AccountSettings
from gridexchange.ib.faults import GatewayFaults
from gridexchange.ib.gateway import GatewaySettings
from gridexchange.ib.opening import MarketSettings, open_gateway
from gridexchange.ib.records import Stock

from ..chance import dice
from ..clocks import BotClock, WorldTime
from ..world import seed_chance
from .loop import Network, WorldLoop

SYMBOL, ACCOUNT, BOT_NAME = "SPY/USD", "DU1234567", "pi1"
CASH = Decimal(100_000)
KINDS = (
    "restart",
    "link lost",
    "data lost",
    "connections dropped",
    "network down",
    "competing session",
    "canceled by hand",
    "clock jump",
)


@dataclass
class IbSetup:
    """What a world begins with; see `..world.Setup`."""

    candles: list[str]
    grid: dict[str, object]
    seed: int = 0
    fault_rate: float = 0.0
    world_seconds: float = 20.0
    speed: int = 20
    largest_fill: int = 7
    more: dict[str, object] = field(default_factory=dict)


class IbFaults:
    """Faults on the way to the Gateway, and those of the world."""

    def __init__(self, setup):
        self.dice, self.rate = dice("ib faults", setup.seed), setup.fault_rate
        self.mean = setup.world_seconds
        self.on = True
        self.counts = Counter()

    def of_message(self):
        broken = self.on and self.rate and self.dice.random() < self.rate / 4
        self.counts["connection broken"] += bool(broken)
        return broken

    def seconds_to_next(self):
        return self.dice.expovariate(1 / self.mean)

    def of_world(self):
        if not self.on:
            return None
        kind = self.dice.choice(KINDS)
        self.counts[kind] += 1
        return kind


class IbWorld:
    """See the module's text; what the sweep needs of it is what `..world.World` has."""

    step_seconds = 0.5

    def __init__(self, directory: Path, setup: IbSetup, boundaries, trace=None):
        self.directory, self.setup, self.boundaries = directory, setup, boundaries
        self.time = WorldTime()
        self.clock = BotClock(self.time)
        self.faults = IbFaults(setup)
        self.violations = []
        self.lives = 0
        self.runner = self.account = None
        self._dead = []
        self._trace = trace
        seed_chance(setup.seed)
        (directory / "candles.csv").write_text("\n".join(setup.candles) + "\n")
        self.gateway = open_gateway(
            GatewaySettings(AccountSettings(ACCOUNT, CASH, Decimal(setup.largest_fill)), Stock()),
            MarketSettings(directory / "candles.csv", speed=Fraction(setup.speed)),
            directory / "exchange",
            self.time,
            GatewayFaults(setup.fault_rate, dice("gateway", setup.seed)),
        )
        self.network = Network(self)
        self.state = directory / "bot" / "0"
        self.state.mkdir(parents=True)
        self._step()
        if setup.fault_rate:
            self.time.after(self.faults.seconds_to_next(), self._something_happens)

    def note(self, text):
        if self._trace is not None:
            self._trace(f"{self.time.seconds:9.3f} {text}")

    @property
    def config(self):
        document = {
            "bot_name": BOT_NAME,
            "exchange": {
                "name": "ib",
                "gateway": "gateway.test:4002",
                "account": ACCOUNT,
                "client_id": 7,
                "timeout_seconds": 5,
            },
            "market": {"symbol": SYMBOL},
            "grid": {
                "outside_range_purchase": "100000",
                "allow_losing_pairs": True,
                **self.setup.grid,
            },
            "fees": {"rate": "0.001", "in": "quote"},
            "state": {"directory": str(self.state)},
        }
        return parse_config(document | self.setup.more, Path("bot.toml"))

    # The bot's lives.

    def new_account(self):
        return IbAccount(
            self.config.account,
            clock=self.clock,
            loop=WorldLoop(self.network),
            dice=dice("pauses", self.setup.seed, self.lives),
        )

    def start_bot(self):
        # The loop of a dead bot runs for ever, as far as Python knows.
        asyncio._set_running_loop(None)
        self.lives += 1
        self.note(f"life {self.lives}: the bot starts")
        self._dead.append((self.runner, self.clock, self.account))
        self.clock = BotClock(self.time)
        self.account = self.new_account()
        state = self.state
        self.runner = Runner(
            self.config, self.account, lambda: Store(state), self.clock, settling(KEPT)
        )
        return self.runner

    def live(self, seconds, until=None):
        self.clock.stop_at = self.time.seconds + seconds
        self.clock.until = until
        self.runner.run()
        self.account.close()

    def cut(self):
        after = self.state.with_name(self.state.name + "+")
        self.copy_state(after)
        self.state = after
        self.die()

    def copy_state(self, target):
        shutil.copytree(self.state, target, ignore=shutil.ignore_patterns("*-shm"))

    def die(self):
        self.network.die()
        self.note("the bot is dead")

    def deliver_late(self, kind, seconds):
        if kind == "request under way":
            self.network.deliver_late(seconds)

    @property
    def fault_counts(self):
        return self.faults.counts + self.gateway.faults.counts

    @property
    def runners(self):
        lives = [*(runner for runner, _, _ in self._dead), self.runner]
        return [runner for runner in lives if runner is not None]

    @property
    def trader(self):
        return None if self.runner is None else self.runner._workers[0].trader

    @property
    def engine(self):
        return self

    @property
    def next_trade_id(self):
        return len(self.gateway.account.executions) + 1

    @property
    def exchange(self):
        return self.gateway.account._store

    @property
    def settled(self):
        """Whether the bot knows all that the Gateway knows, and all its orders are there."""
        trader = self.trader
        if trader is None or trader.engine is None or not trader.engine.grid_started:
            return False
        live = trader.engine.live
        if len(live) != trader.session.config.grid.grids or trader.session.unsettled:
            return False
        if any(order.state is not OrderState.OPEN for order in live.values()):
            return False
        there = {order.reference: order for order in self.gateway.account.open_orders}
        return set(there) == set(live) and all(
            trader.engine.executed(name) == order.filled for name, order in there.items()
        )

    def calm(self):
        """From here on nothing goes wrong and the market stands still."""
        self.faults.on = self.network.down = False
        gateway = self.gateway
        gateway.faults.rate, gateway.competing = 0.0, False
        gateway.down_until_ms = gateway.restarts_ms = 0
        if not gateway.link_up:
            gateway.restore_link(data_lost=False)
        self.clock.offset_ms = 0
        gateway.advance()
        position = gateway.account.position
        gateway.market.feed.limit = lambda wanted: min(wanted, position)
        self.note("all is calm")

    # What goes wrong in the world.

    def _step(self):
        """The Gateway's own clock."""
        self.time.after(self.step_seconds, self._step)
        self.gateway.advance()

    def _something_happens(self):
        self.time.after(self.faults.seconds_to_next(), self._something_happens)
        kind = self.faults.of_world()
        if kind is None:
            return
        self.note(kind)
        chance, gateway = self.faults.dice, self.gateway
        later = chance.uniform(0.5, 25.0)
        if kind == "restart":
            gateway.restart_at(self.time.now_ms() + 500, later)
        elif kind in {"link lost", "data lost"} and gateway.link_up:
            gateway.lose_link()
            self.time.after(later, lambda: self._link_back(kind))
        elif kind == "connections dropped":
            self.network.drop_all()
        elif kind == "network down":
            self.network.down = True
            self.network.drop_all()
            self.time.after(later, self._network_back)
        elif kind == "competing session":
            gateway.competing = True
            for connection in gateway.connections:
                for request in sorted(connection.lines):
                    gateway.error(connection, request, 10197, "competing live session")
                connection.lines.clear()
            self.time.after(later, self._alone_again)
        elif kind == "canceled by hand" and gateway.account.open_orders:
            order = chance.choice(gateway.account.open_orders)
            gateway.account.cancel(order, self.time.now_ms())
            gateway.account.commit()
            gateway.tell_order(order)
        elif kind == "clock jump":
            self.clock.offset_ms = chance.choice((-1, 1)) * chance.randint(1_000, 3_600_000)

    def _link_back(self, kind):
        if not self.gateway.link_up:
            self.gateway.restore_link(data_lost=kind == "data lost")

    def _network_back(self):
        self.network.down = False

    def _alone_again(self):
        self.gateway.competing = False

    # What is watched at every moment.

    def check_leaving(self, client_id, _side):
        """An order leaves only once its intent is committed, and while it is said to be sent."""
        reader = Store(self.state, read_only=True)
        try:
            if not reader.knows(client_id):
                self.violations.append(f"order {client_id} left before its intent was committed")
        finally:
            reader.close()
        states = self.trader.session.orders
        if states[client_id].state is not State.SENT:
            self.violations.append(f"order {client_id} left while {states[client_id].state}")

    def check_open_orders(self):
        """Seen by the Gateway: no place holds two orders of the bot."""
        orders = self.gateway.account.open_orders
        places = {(order.action, order.limit) for order in orders}
        if len(places) < len(orders):
            self.violations.append(f"{len(orders)} open orders at {len(places)} places")
        if len(orders) > int(str(self.setup.grid["grids"])):
            self.violations.append(f"{len(orders)} open orders")
