"""What Binance's matching does besides filling orders: the bot meets it, over streams and REST."""

from decimal import Decimal

import pytest
from gridbot.core.orders import OrderState, Side
from gridexchange.matching.orders import OrderRequest

from .conftest import trading

D = Decimal
STILL = ["timestamp,open,high,low,close,volume", "1640995200000" + ",50000" * 4 + ",1"]


def make_still(make_world, channel: str, **settings):
    """A market that stands still at 50,000 between 49,000 and 51,000."""
    world = make_world(STILL, at_end="hold", spread="0.04", **settings)
    if channel == "REST":
        del world.document["exchange"]["stream_url"]
    trader = world.trader()
    world.settle(trader)
    return world, trader


def first_sell(trader):
    sells = [order for order in trader.engine.live.values() if order.side is Side.SELL]
    return min(sells, key=lambda order: order.price)


def of_the_owner(world, mode: str, order, quantity: Decimal):
    """The account's owner buys by hand what an order of the bot offers."""
    price = order.price
    request = OrderRequest(
        "BUY", "LIMIT", "IOC", "web_1", price, quantity, self_trade_prevention=mode
    )
    exchange = world.api.exchange
    return exchange.place(exchange.listing("BTCUSDT"), request)[0]


def state_of(world, order) -> dict:
    exchange = world.api.exchange
    found = exchange.store.order_by_client_id("BTCUSDT", order.client_id)
    return {"status": found.status, "executed": found.executed}


@pytest.mark.parametrize("channel", ["streams", "REST"])
def test_an_order_that_expires_in_match_is_ordered_again(make_world, channel):
    world, trader = make_still(make_world, channel)
    order = first_sell(trader)
    assert of_the_owner(world, "EXPIRE_BOTH", order, order.quantity).status == "EXPIRED_IN_MATCH"
    assert state_of(world, order) == {"status": "EXPIRED_IN_MATCH", "executed": 0}
    world.clock.sleep(10.0)
    world.settle(trader)
    assert order.client_id not in trader.engine.live
    (again,) = [one for one in trader.engine.live.values() if one.line == order.line]
    assert again.attempt == order.attempt + 1
    assert (again.side, again.price, again.quantity) == (order.side, order.price, order.quantity)
    assert again.state is OrderState.OPEN
    assert state_of(world, again)["status"] == "NEW"
    assert world.audit().differences == []


@pytest.mark.parametrize("channel", ["streams", "REST"])
def test_what_was_decremented_is_ordered_again_when_the_rest_has_traded(make_world, channel):
    world, trader = make_still(make_world, channel)
    order = first_sell(trader)
    part = D("0.00100")
    assert of_the_owner(world, "DECREMENT", order, part).status == "EXPIRED_IN_MATCH"
    world.settle(trader)
    assert trader.engine.live[order.client_id].state is OrderState.OPEN
    exchange = world.api.exchange
    engine = exchange.listing("BTCUSDT").engine
    with exchange._changing(exchange.listing("BTCUSDT")):
        engine.move(order.price, world.clock.now_ms())
        engine.move(D(50_000), world.clock.now_ms())
    filled = state_of(world, order)
    assert filled == {"status": "FILLED", "executed": order.quantity - part}
    world.settle(trader)
    (again,) = [one for one in trader.engine.live.values() if one.line == order.line]
    assert (again.side, again.quantity, again.attempt) == (Side.SELL, part, order.attempt + 1)
    assert world.audit().differences == []


@pytest.mark.parametrize("channel", ["streams", "REST"])
@pytest.mark.parametrize("bnb", ["1", "0.005"])
def test_books_are_equal_with_fees_in_bnb_and_a_spread(make_world, channel, bnb):
    world = make_world(
        trading.zigzag(60),
        at_end="hold",
        fee_in="bnb",
        bnb_price="611.7",
        spread="0.0004",
        balances={"USDT": "10000", "BNB": bnb},
    )
    if channel == "REST":
        del world.document["exchange"]["stream_url"]
    trader = world.trader()
    for _ in range(25):
        trader.step()
        world.clock.sleep(2.0)
    world.api.exchange.advance()
    world.clock.sleep(10_000)
    world.settle(trader)
    trading.check_books(world, trader)
    fees = trader.engine.books.fees
    assert fees["BNB"] > 0
    assert ("BTC" in fees or "USDT" in fees) is (bnb != "1")  # that was too little for all
    balances = world.api.exchange.balances
    assert balances["BNB"].free == D(bnb) - fees["BNB"]
    report = world.audit()
    assert "BNB" in report.balances
    assert report.differences == []
