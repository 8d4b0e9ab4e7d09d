"""Where the owner takes the quote that the next buys need, the bot says so: once, in one line."""

import logging
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import pytest
from gridbot.core.engine import GridEngine
from gridbot.core.grid import Fees, FeesIn, Plan
from gridbot.core.orders import Order, OrderState, Role, Side
from gridbot.core.orders_in_flight import State
from gridbot.trading.funds import LOOK_SECONDS, Funds, next_buys_need
from gridbot.trading.risk_guard import RiskGuard
from gridbot.trading.session import WindDown
from gridbot.trading.submission import settle

from bot.tests.bot.core.conftest import BTC

from .conftest import World
from .test_policies import path

# Up through two lines, and still.
RISE = path(50_000, 50_000, 50_700, *[50_700] * 40, minutes=3)
LINE = "USDT free, and the grid's next buys need "


def looks(world: World) -> int:
    return world.wire.requests.count(("GET", "account"))


def take(world: World, amount: str) -> None:
    (listing,) = world.api.exchange.listings.values()
    listing.engine.balances["USDT"].free -= Decimal(amount)


@pytest.fixture
def pause(monkeypatch):
    """Holds buys back from now on."""

    def hold() -> None:
        monkeypatch.setattr(
            RiskGuard, "pause", lambda self: setattr(self._session, "paused", "a test")
        )

    return hold


@pytest.fixture
def held_back(make_world, pause):
    """A grid whose sells have traded while buys are held back; its world and trader."""
    world = make_world(RISE, at_end="hold")
    trader = world.trader()
    for _ in range(5):
        trader.step()
        world.clock.sleep(0.5)
    pause()
    for _ in range(6):
        world.clock.sleep(5)
        trader.step()
    assert trader.engine.books.sells == 2
    assert trader.funds_missing == ""
    return world, trader


def wait(world: World, trader) -> None:
    for _ in range(2):
        world.clock.sleep(LOOK_SECONDS)
        trader.step()


def test_what_is_missing_is_told_once_and_is_over_when_it_is_back(held_back, caplog):
    world, trader = held_back
    buys = [
        order
        for order in trader.engine.live.values()
        if order.client_id in trader.session.orders.in_state(State.UNSENT)
    ]
    assert len(buys) == 2
    need = sum(order.quantity * order.price for order in buys)
    (listing,) = world.api.exchange.listings.values()
    take(world, str(listing.engine.balances["USDT"].free - need))
    wait(world, trader)
    assert trader.funds_missing == ""  # to the last digit
    take(world, "0.01")
    wait(world, trader)
    assert LINE in trader.funds_missing
    assert trader.funds_missing.endswith(": deposit 0.01 USDT, or those buys are not placed")
    take(world, "5")
    wait(world, trader)
    assert "deposit 5.01 USDT" in trader.funds_missing
    told = [record for record in caplog.records if LINE in record.message]
    assert [record.levelno for record in told] == [logging.WARNING]
    take(world, "-5.01")
    wait(world, trader)
    assert trader.funds_missing == ""


def test_health_and_status_say_so_until_the_grid_ends(held_back):
    world, _ = held_back
    take(world, "1800")
    runner = world.runner()
    (worker,) = runner._workers
    store = world.open_store()
    for _ in range(4):  # a restart asks for intents first
        worker._advance(store)
        world.clock.sleep(10)
    (reason,) = runner.health()["reasons"]
    assert LINE in reason
    assert runner.status()["funds_missing"] == reason
    worker.trader.session.wind_down = WindDown("a test")
    worker.publish("ending", "")
    assert runner.status()["funds_missing"] == ""


def test_between_two_grids_nothing_is_missing():
    between = SimpleNamespace(engine=None, wind_down=None)
    assert Funds(between, "a line of the grid before").missing == ""
    trading = SimpleNamespace(engine="a grid", wind_down=None)
    assert Funds(trading, "a line").missing == "a line"


def test_the_account_is_asked_now_and_then_and_only_while_buys_wait(held_back):
    world, trader = held_back
    before = looks(world)
    for _ in range(40):
        world.clock.sleep(3)
        trader.step()
    assert looks(world) - before == 2
    trader.session.paused = ""
    settle(trader.session, trader.engine)
    world.clock.sleep(LOOK_SECONDS)
    trader.step()
    assert looks(world) - before == 2


def engine_with(traded: str) -> tuple[GridEngine, Order]:
    """A grid from 100 to 105, of which a sell of 1 at 103 has traded in part."""
    lines = tuple(map(Decimal, range(100, 106)))
    plan = Plan(lines, Decimal(102), 2, Decimal(1), Decimal(1000))
    market = replace(BTC, tick_size=Decimal(1))
    engine = GridEngine(
        bot_name="pi1", tag="abc", market=market, plan=plan, investment=Decimal(1000)
    )
    order = Order(
        *("pi1-BTCUSDT-abc-3s1", "leg", Role.GRID, Side.SELL, 3, 1, Decimal(103), Decimal(1)),
        OrderState.OPEN,
        7,
        0,
    )
    engine.live = {order.client_id: order}
    engine.executed = lambda _client_id: Decimal(traded)
    return engine, order


@pytest.mark.parametrize(
    ("traded", "taken_in", "need"),
    [
        ("0", FeesIn.RECEIVED, "0"),
        ("0.005", FeesIn.RECEIVED, "0"),  # the rest brings more than the buy costs
        ("0.5", FeesIn.RECEIVED, "50.5515"),  # 102 - 0.5 * 103 * 0.999
        ("0.5", FeesIn.QUOTE, "50.6535"),  # 102 * 1.001 - 0.5 * 103 * 0.999
    ],
)
def test_a_sell_that_has_traded_in_part_needs_what_its_rest_will_not_bring(traded, taken_in, need):
    fees = Fees(Decimal("0.001"), taken_in)
    engine, sell = engine_with(traded)
    assert next_buys_need(engine, set(), fees) == Decimal(need)
    buy = replace(sell, client_id="b", side=Side.BUY, line=1, price=Decimal(101))
    engine.live = {"b": buy}
    assert next_buys_need(engine, set(), fees) == 0  # it is on the exchange: paid
    cost = "101.101" if taken_in is FeesIn.QUOTE else "101"
    assert next_buys_need(engine, {"b"}, fees) == Decimal(cost)
    engine.live = {"b": replace(buy, role=Role.INITIAL)}
    assert next_buys_need(engine, {"b"}, fees) == 0
