"""Commands that only read, while the bot is connected: its client ID stays the bot's."""

import random
from dataclasses import replace

import pytest
from gridbot.accounting.audit import audit
from gridbot.cli import main
from gridbot.exchanges import open_account as opening
from gridbot.store import Store
from gridexchange.ib.account import AccountSettings
from gridexchange.ib.gateway import GatewaySettings
from gridexchange.ib.opening import MarketSettings, open_gateway
from gridexchange.ib.records import Stock

from bot.tests.exchange.ib.conftest import GatewayClock, MemoryPeer, frame, greeting, serving
from bot.tests.together.simulation.boundaries import Boundaries
from bot.tests.together.simulation.ib.loop import WorldLoop
from bot.tests.together.simulation.ib.sizes import stock_setup
from bot.tests.together.simulation.ib.world import SYMBOL, IbWorld

CONFIG = """bot_name = "pi1"
[exchange]
name = "ib"
gateway = "127.0.0.1:{port}"
account = "DU1234567"
client_id = 7
[market]
symbol = "SPY/USD"
[grid]
lower = "480"
upper = "520"
grids = 8
quantity = "5"
[fees]
rate = "0.001"
in = "quote"
"""


@pytest.fixture
def world(tmp_path):
    chance = random._urandom
    yield IbWorld(tmp_path, replace(stock_setup(1), fault_rate=0.0), Boundaries())
    random._urandom = chance


def test_books_are_compared_while_the_bot_trades(world, monkeypatch):
    world.start_bot()
    world.clock.stop_at = 60.0
    world.runner.run()
    loop = WorldLoop(world.network)
    monkeypatch.setattr("gridbot.exchanges.ib.connection.asyncio.new_event_loop", lambda: loop)
    beside = opening.open_account(world.config.account, world.clock, beside=True)
    broker = beside.broker(SYMBOL)
    broker.connect()
    store = Store(world.state, read_only=True)
    assert audit(broker, store, world.clock, SYMBOL, patience_seconds=0.0).differences == []
    store.close()
    ids = sorted(connection.client_id for connection in world.gateway.connections)
    assert ids == [7, 1_000_007]
    beside.close()
    world.account.close()


def test_a_configuration_is_checked_while_the_bot_is_connected(tmp_path, capsys):
    settings = GatewaySettings(AccountSettings(), Stock())
    gateway = open_gateway(settings, MarketSettings(), tmp_path / "gateway", GatewayClock())

    def the_bot():
        gateway.accept(MemoryPeer()).feed(greeting() + frame(71, 2, 7, ""))

    with serving(gateway) as (port, call):
        call(the_bot)
        config = tmp_path / "bot.toml"
        config.write_text(CONFIG.format(port=port))
        assert main(["check", "--config", str(config), "--price", "500"]) == 0
    assert "SPY" in capsys.readouterr().out
    assert "client ID in use" not in gateway.hang_ups
