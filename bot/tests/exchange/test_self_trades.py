"""Orders of one account that would meet: with a spread, between best bid and best ask."""

from dataclasses import replace
from decimal import Decimal

import pytest
from gridexchange.errors import ApiError
from gridexchange.matching.matching import Engine
from gridexchange.matching.orders import Balance

from .conftest import make_rules
from .test_engine import limit, market

D = Decimal
FLAT = (100, 100, 100, 100)
WIDE = replace(make_rules(), spread=D("0.02"))  # 99 to 101


@pytest.fixture
def world(make_world):
    return make_world(FLAT, FLAT, FLAT, rules=WIDE)


def make_engine(**rules) -> Engine:
    return Engine(
        replace(WIDE, **rules),
        balances={"USDT": Balance(D(10_000)), "BTC": Balance(D(10))},
        open_orders=[],
        next_order_id=1,
        next_trade_id=1,
        price=D(100),
    )


def sells(engine: Engine, *prices: str) -> list:
    return [engine.place(limit("SELL", price), 1)[0] for price in prices]


def with_mode(request, mode: str):
    return replace(request, self_trade_prevention=mode)


def states(*orders) -> list[tuple[str, Decimal, Decimal]]:
    return [(order.status, order.executed, order.prevented) for order in orders]


@pytest.mark.parametrize(
    ("mode", "maker", "taker", "price"),
    [
        ("EXPIRE_TAKER", ("NEW", 0, 0), ("EXPIRED_IN_MATCH", 0, 3), None),
        ("EXPIRE_BOTH", ("EXPIRED_IN_MATCH", 0, 1), ("EXPIRED_IN_MATCH", 0, 3), None),
        # What is left of the taker goes on to the market.
        ("EXPIRE_MAKER", ("EXPIRED_IN_MATCH", 0, 1), ("FILLED", 3, 0), 303),
        ("DECREMENT", ("EXPIRED_IN_MATCH", 0, 1), ("FILLED", 2, 1), 202),
        ("NONE", ("FILLED", 1, 0), ("FILLED", 3, 0), 100 + 202),
    ],
)
def test_the_takers_mode_decides(mode, maker, taker, price):
    engine = make_engine()
    (sell,) = sells(engine, "100")
    buy, trades = engine.place(with_mode(limit("BUY", "101", "3"), mode), 2)
    assert states(sell, buy) == [maker, taker]
    assert buy.executed_quote == (price or 0)
    assert all(trade.order_id == buy.order_id for trade in trades)
    assert engine.balances["USDT"].locked == 0
    assert engine.balances["BTC"].locked == (1 if sell.status == "NEW" else 0)


def test_own_orders_come_best_price_first_and_only_before_the_market():
    engine = make_engine(self_trade_prevention="EXPIRE_MAKER")
    dear, cheap, beyond = sells(engine, "100.50", "100", "101")
    buy, _ = engine.place(limit("BUY", "100.60", "2"), 2)
    assert [order.status for order in (cheap, dear, beyond)] == ["EXPIRED_IN_MATCH"] * 2 + ["NEW"]
    assert (cheap.prevented_match_id, dear.prevented_match_id) == (0, 1)
    # Nothing else stands between the limit and the best ask: it rests.
    assert (buy.status, engine.best_buy) == ("NEW", D("100.60"))
    # At the best ask the market's offer is as good as its own order, and older.
    taken, _ = engine.place(market("BUY", quantity="1"), 3)
    assert (taken.status, taken.executed_quote, beyond.status) == ("FILLED", 101, "NEW")


def test_a_decremented_order_stays_with_what_is_left_and_what_that_locks():
    engine = make_engine(self_trade_prevention="DECREMENT", fee_in="quote")
    buy, _ = engine.place(limit("BUY", "100.50", "3"), 1)
    sell, _ = engine.place(limit("SELL", "100", "1"), 2)
    assert states(buy, sell) == [("NEW", 0, 1), ("EXPIRED_IN_MATCH", 0, 1)]
    assert buy.remaining == 2
    assert engine.balances["USDT"].locked == D("201") * D("1.001")
    engine.move(D("100.50"), 3)
    assert states(buy) == [("FILLED", 2, 1)]
    assert engine.balances["USDT"] == Balance(10_000 - D("201") * D("1.001"), D(0))


@pytest.mark.parametrize(
    ("tif", "price", "status", "kept"),
    [
        ("IOC", "100.50", "EXPIRED", False),
        ("FOK", "100.50", "EXPIRED", True),  # it cannot fill whole: it meets nobody
        ("FOK", "101", "FILLED", False),
    ],
)
def test_orders_that_never_rest(tif, price, status, kept):
    engine = make_engine(self_trade_prevention="EXPIRE_MAKER")
    (sell,) = sells(engine, "100")
    buy, _ = engine.place(limit("BUY", price, "2", tif=tif), 2)
    assert buy.status == status
    assert (sell.status == "NEW") is kept


def test_a_post_only_order_does_not_meet_its_own_either():
    engine = make_engine()
    sells(engine, "100")
    with pytest.raises(ApiError, match="immediately match and take"):
        engine.place(limit("BUY", "100", kind="LIMIT_MAKER"), 2)
    order, _ = engine.place(limit("BUY", "99.99", kind="LIMIT_MAKER"), 2)
    assert order.status == "NEW"


def test_without_a_spread_own_orders_never_meet():
    engine = make_engine(spread=D(0), self_trade_prevention="EXPIRE_BOTH")
    engine.move(D("100.006"), 1)  # quoted as 100.01
    (sell,) = sells(engine, "100.02")
    engine.move(D("100.016"), 2)  # quoted as 100.02, and not reached
    buy, _ = engine.place(limit("BUY", "100.02"), 3)
    assert (buy.status, sell.status) == ("FILLED", "NEW")


def test_answers_and_events_tell_what_was_prevented(world):
    assert world.order("SELL", price="100", quantity="0.1").status == 200
    client = world.connect()
    client.signed("userDataStream.subscribe.signature")
    taker = world.order(price="100", quantity="0.3", selfTradePreventionMode="EXPIRE_BOTH").json
    assert (taker["status"], taker["selfTradePreventionMode"]) == (
        "EXPIRED_IN_MATCH",
        "EXPIRE_BOTH",
    )
    assert (taker["preventedMatchId"], taker["preventedQuantity"]) == (0, "0.30000000")
    assert taker["preventedMatches"] == [
        {
            "preventedMatchId": 0,
            "makerOrderId": 1,
            "price": "100.00000000",
            "makerPreventedQuantity": "0.10000000",
            "takerPreventedQuantity": "0.30000000",
        }
    ]
    maker = world.signed("GET", "order", symbol="BTCUSDT", orderId=1).json
    assert (maker["status"], maker["selfTradePreventionMode"]) == ("EXPIRED_IN_MATCH", "NONE")
    assert (maker["preventedMatchId"], maker["preventedQuantity"]) == (0, "0.10000000")
    events = [message["event"] for message in client.messages()]
    told = [event for event in events if event.get("x") == "TRADE_PREVENTION"]
    assert [
        (event["i"], event["X"], event["v"], event["A"], event["B"], event["U"], event["V"])
        for event in told
    ] == [
        (1, "EXPIRED_IN_MATCH", 0, "0.10000000", "0.10000000", 2, "NONE"),
        (2, "EXPIRED_IN_MATCH", 0, "0.30000000", "0.30000000", 1, "EXPIRE_BOTH"),
    ]
    assert world.account()["USDT"] == (10_000, 0)


def test_modes_that_a_symbol_knows(world):
    symbol = world.get("exchangeInfo", symbol="BTCUSDT").json["symbols"][0]
    assert symbol["defaultSelfTradePreventionMode"] == "NONE"
    assert "DECREMENT" in symbol["allowedSelfTradePreventionModes"]
    refused = world.order(price="99", quantity="0.1", selfTradePreventionMode="TRANSFER")
    assert refused.error == (
        400,
        -1013,
        "This symbol does not allow the specified self-trade prevention mode.",
    )
    unknown = world.order(price="99", quantity="0.1", selfTradePreventionMode="EXPIRE")
    assert unknown.json["code"] == -1130


def test_what_was_prevented_survives_a_power_cut(world):
    modes = {"selfTradePreventionMode": "DECREMENT"}
    world.order(price="99.50", quantity="0.3", **modes)
    world.order("SELL", price="99.20", quantity="0.1", **modes)
    before = world.signed("GET", "allOrders", symbol="BTCUSDT").json
    assert [order["status"] for order in before] == ["NEW", "EXPIRED_IN_MATCH"]
    world.reopen()
    assert world.signed("GET", "allOrders", symbol="BTCUSDT").json == before
    assert world.account()["USDT"] == (D("9980.1"), D("19.9"))
    world.order("SELL", price="99.20", quantity="0.1", **modes)
    orders = world.signed("GET", "allOrders", symbol="BTCUSDT").json
    assert [order["preventedMatchId"] for order in orders] == [1, 0, 1]
    assert orders[0]["preventedQuantity"] == "0.20000000"
    # It has traded with an order of its own, and the market has still not reached it.
    world.order("SELL", price="99.20", quantity="0.06", selfTradePreventionMode="NONE")
    world.reopen()
    world.legs(4)
    (order,) = world.signed("GET", "openOrders").json
    assert (order["status"], order["executedQty"]) == ("PARTIALLY_FILLED", "0.06000000")


def test_an_order_may_meet_one_of_another_account_of_its_owner(make_world):
    rules = [{"kind": "exchange_cancel", "status": "EXPIRED_IN_MATCH", "at_s": 1}]
    world = make_world(FLAT, FLAT, FLAT, faults=rules)
    client = world.connect()
    client.signed("userDataStream.subscribe.signature")
    world.order(price="80", quantity="0.1")
    world.legs(5)
    order = world.signed("GET", "order", symbol="BTCUSDT", orderId=1).json
    assert (order["status"], order["preventedQuantity"]) == ("EXPIRED_IN_MATCH", "0.10000000")
    events = [message["event"] for message in client.messages()]
    (event,) = [event for event in events if event.get("X") == "EXPIRED_IN_MATCH"]
    assert (event["x"], event["U"], event["C"]) == ("TRADE_PREVENTION", -1, "")
    assert world.account()["USDT"] == (10_000, 0)
