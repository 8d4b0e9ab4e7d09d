"""A watcher at a practice Gateway, both on one simulated time, without a bot."""

import asyncio
import random
from dataclasses import dataclass, field
from datetime import datetime

from gridexchange.ib.account import AccountSettings
from gridexchange.ib.faults import GatewayFaults
from gridexchange.ib.gateway import GatewaySettings
from gridexchange.ib.messages import NEW_YORK
from gridexchange.ib.opening import MarketSettings, open_gateway
from gridexchange.ib.records import Stock, followers
from watcher.config import Config
from watcher.files import Files
from watcher.service import Watcher

from bot.tests.together.simulation.boundaries import Boundaries
from bot.tests.together.simulation.clocks import START_MS, BotClock, WorldTime
from bot.tests.together.simulation.ib.loop import Network, WorldLoop

# Half an hour after an opening.
OPENED_MS = round(datetime(2026, 9, 22, 10, 0, tzinfo=NEW_YORK).timestamp() * 1000)


class NoFaults:
    def of_message(self):
        return False


@dataclass
class WatcherWorld:
    """What the network needs of a world; what arrives at the Gateway is kept."""

    directory: object
    start_ms: int = OPENED_MS
    restart: int | None = None
    symbols: tuple = ("SPY", "QQQ", "IWM")
    write: bool = True
    faults: NoFaults = field(default_factory=NoFaults)
    fault_rate: float = 0.0
    config: dict = field(default_factory=dict)

    def __post_init__(self):
        self.time, self.boundaries = WorldTime(), Boundaries()
        self.time.sleep((self.start_ms - START_MS) / 1000)
        self.clock = BotClock(self.time)
        self.gateway = open_gateway(
            GatewaySettings(
                AccountSettings(), Stock(), others=followers(["QQQ", "IWM"]), snapshot_ms=11_000
            ),
            MarketSettings(),
            self.directory / "gateway",
            self.time,
            GatewayFaults(self.fault_rate, random.Random(5)),  # noqa: S311  faults, no secrets
        )
        self.kinds = []  # of messages that arrived
        arrived = self.gateway._handle

        def handle(connection, fields):
            self.kinds.append(int(fields[0]))
            arrived(connection, fields)

        self.gateway._handle = handle
        self.network = Network(self)
        self.data = self.directory / "data"
        self.data.mkdir(exist_ok=True)
        self.loop = WorldLoop(self.network)
        self._step()
        self.watcher = self.new_watcher()

    def note(self, text):
        pass

    def check_open_orders(self):
        pass

    def _step(self):
        self.time.after(1.0, self._step)
        self.gateway.advance()

    def new_watcher(self):
        config = Config(
            gateway=("gateway.test", 4002),
            symbols=self.symbols,
            directory=self.data,
            restart=self.restart,
            **self.config,
        )
        files = Files(self.data) if self.write else None
        return Watcher(config, self.clock, files)

    def watch(self, seconds=float("inf"), *, once=False):
        """Run the watcher for so long, or for one cycle."""
        watcher = self.watcher

        async def run():
            if seconds < float("inf"):
                asyncio.get_running_loop().call_later(seconds, watcher.stop)
            await watcher.run(once=once)

        self.loop.run_until_complete(run())
