"""Kill switches with streams up: what they tell, and what they keep to themselves."""

import json
from decimal import Decimal
from types import SimpleNamespace

from gridbot.core.orders import Order, OrderState, Role, Side
from gridbot.core.prices import Seen
from gridbot.trading.passed_orders import AGAIN_SECONDS, PassedOrders
from gridbot.trading.reconciliation import RECONCILE_SECONDS

from bot.tests.together.trading.test_policies import START_MS, path

from .conftest import trading
from .test_streams import rest

OPEN = OrderState.OPEN
RULES = {"loss_price": "46500"}


def lose_reports(text: str) -> str:
    """The exchange tells of no order any more; all else goes on."""
    return '{"event":{"e":"other"}}' if '"executionReport"' in text else text


def asked(world, method: str) -> int:
    return sum(json.loads(text)["method"] == method for _, text in world.network.sent)


def test_a_price_beyond_an_own_order_has_the_exchange_asked_at_once(make_world):
    candles = path(50_000, *[50_000] * 3, 49_650, *[49_650] * 10)
    world = make_world(candles, at_end="hold", speed=6)
    begins = 40.0  # the price falls below the first buy ten seconds later
    world.network.on_message = lambda text: (
        lose_reports(text) if world.clock.seconds > begins else text
    )
    runner = world.run(world.runner(), begins + 30.0)
    (listing,) = world.api.exchange.listings.values()
    assert listing.engine.last_price == 49_650
    assert runner.status()["buys"] == 1
    assert begins + 30.0 < RECONCILE_SECONDS / 5


def test_an_order_that_is_open_all_the_same_is_not_asked_for_all_the_time():
    order = Order("a", "a", Role.GRID, Side.BUY, 1, 1, Decimal(90), Decimal(1), OPEN, 7, 0)
    engine = SimpleNamespace(live={"a": order})
    passed = PassedOrders()
    for price, due in ((90, False), (89, True)):  # one that was only touched need not have traded
        passed.see(engine, Seen.at(Decimal(price)), now=0.0)
        assert passed.due(engine) is due
    passed.asked(engine, now=1.0)
    assert not passed.due(engine)
    for now, due in ((1.0 + AGAIN_SECONDS - 0.001, False), (1.0 + AGAIN_SECONDS, True)):
        passed.see(engine, Seen.at(Decimal(89)), now)
        assert passed.due(engine) is due
    engine.live.clear()
    assert not passed.due(engine)


def test_a_dip_that_is_over_before_the_next_message_stops_the_grid(make_world):
    rows = [f"{START_MS + number * 60_000},50000,50000,50000,50000,1" for number in range(60)]
    rows[40] = f"{START_MS + 40 * 60_000},50000,50000,46400,50000,1"
    candles = ["timestamp,open,high,low,close,volume", *rows]
    world = make_world(candles, at_end="hold", speed=60)
    world.document |= {"stop": RULES}
    runner = world.run(world.runner(), 50.0)
    assert runner.status()["halt"]["price"] == "46400"


def test_a_buy_asks_for_the_price_over_the_connection_that_is_there(make_world):
    world = make_world(trading.zigzag(), speed=20)
    world.document |= {"stop": RULES}
    runner = world.run(world.runner(), 10.0)
    assert runner.status()["orders"]
    before = asked(world, "klines"), len(rest(world))
    runner = world.run(world.runner(), 400.0)
    assert runner.status()["sells"] > 3
    assert asked(world, "klines") > before[0]
    assert "klines" not in rest(world)
