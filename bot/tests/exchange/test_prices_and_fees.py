"""A spread, the average price, and commissions paid in BNB."""

from dataclasses import replace
from decimal import Decimal

import pytest
from gridexchange.matching.matching import Engine
from gridexchange.matching.orders import Balance
from gridexchange.matching.rules import PriceBand

from .conftest import make_rules
from .test_engine import limit, market

D = Decimal
FLAT = (100, 100, 100, 100)
DIP = (100, 104, 90, 100)  # walks 100, 90, 104, 100
WIDE = replace(make_rules(), spread=D("0.0003"))


def make_engine(bnb="1", price="100", **rules) -> Engine:
    settings = {"fee_in": "bnb", "bnb_price": D(600)}
    return Engine(
        replace(make_rules(), **(settings | rules)),
        balances={"USDT": Balance(D(10_000)), "BTC": Balance(D(10)), "BNB": Balance(D(bnb))},
        open_orders=[],
        next_order_id=1,
        next_trade_id=1,
        price=D(price),
    )


def cost(trade) -> tuple[Decimal, str]:
    return trade.commission, trade.commission_asset


def test_fees_in_bnb_are_three_quarters_rounded_up():
    engine = make_engine()
    _, (bought,) = engine.place(market("BUY", quantity="1"), 1)
    assert cost(bought) == (D("0.000125"), "BNB")  # 100 / 600 * 0.001 * 0.75
    _, (sold,) = engine.place(market("SELL", quantity="0.07"), 2)
    assert cost(sold) == (D("0.00000875"), "BNB")
    _, (odd,) = engine.place(market("SELL", quantity="0.0701"), 2)
    assert cost(odd) == (D("0.00000877"), "BNB")
    assert engine.balances["BTC"].free == D("10.8599")
    assert engine.balances["USDT"].free == 10_000 - 100 + 7 + D("7.01")
    assert engine.balances["BNB"].free == 1 - D("0.00014252")
    report = engine.changes.reports[-1]
    assert report.balances["BNB"] == (engine.balances["BNB"].free, 0)


def test_without_enough_bnb_the_whole_fee_comes_from_what_was_received():
    engine = make_engine(bnb="0.00012500")
    _, (trade,) = engine.place(market("BUY", quantity="1"), 1)
    assert cost(trade) == (D("0.000125"), "BNB")
    assert engine.balances["BNB"].free == 0
    _, (trade,) = engine.place(market("BUY", quantity="1"), 2)
    assert cost(trade) == (D("0.001"), "BTC")
    _, (trade,) = engine.place(market("SELL", quantity="1"), 3)
    assert cost(trade) == (D("0.1"), "USDT")


@pytest.mark.parametrize(
    ("base", "quote", "fee"), [("BNB", "USDT", "0.00075"), ("BTC", "BNB", "0.075")]
)
def test_fees_of_a_symbol_of_bnb_need_no_price_of_it(base, quote, fee):
    rules = make_rules(base=base, quote=quote, symbol=f"{base}/{quote}")
    engine = Engine(
        replace(rules, fee_in="bnb", bnb_price=D(7)),
        balances={quote: Balance(D(1000))},
        open_orders=[],
        next_order_id=1,
        next_trade_id=1,
        price=D(100),
    )
    _, (trade,) = engine.place(market("BUY", quantity="1"), 1)
    # Where BNB is what was bought, that pays for it.
    assert cost(trade) == (D(fee), "BNB")


def test_bnb_is_part_of_the_account_and_survives_a_power_cut(make_world):
    balances = {"USDT": D(10_000), "BNB": D(1)}
    world = make_world(FLAT, FLAT, rules=make_rules(fee_in="bnb"), balances=balances)
    client = world.connect()
    client.signed("userDataStream.subscribe.signature")
    order = world.order("BUY", "MARKET", quantity="0.6").json
    assert order["fills"][0]["commissionAsset"] == "BNB"
    assert order["fills"][0]["commission"] == "0.00007500"
    (position,) = [
        message["event"]
        for message in client.messages()
        if message["event"]["e"] == "outboundAccountPosition"
        and any(row["a"] == "BTC" and row["f"] != "0.00000000" for row in message["event"]["B"])
    ]
    assert {"a": "BNB", "f": "0.99992500", "l": "0.00000000"} in position["B"]
    commission = world.signed("GET", "account/commission", symbol="BTCUSDT").json
    assert commission["discount"] == {
        "enabledForAccount": True,
        "enabledForSymbol": True,
        "discountAsset": "BNB",
        "discount": "0.75000000",
    }
    world.reopen()
    assert world.account()["BNB"] == (D("0.999925"), 0)
    assert world.account()["BTC"] == (D("0.6"), 0)


def test_an_account_that_never_had_bnb_pays_as_before(make_world):
    world = make_world(FLAT, rules=make_rules())
    world.rules = make_rules(fee_in="bnb")
    world.reopen()
    order = world.order("BUY", "MARKET", quantity="1").json
    assert order["fills"][0]["commissionAsset"] == "BTC"
    world.reopen()
    assert world.account()["BNB"] == (0, 0)


def test_takers_pay_the_spread_and_makers_do_not(make_world):
    world = make_world(FLAT, DIP, FLAT, at_end="hold", rules=WIDE)
    book = world.get("ticker/bookTicker", symbol="BTCUSDT").json
    assert (book["bidPrice"], book["askPrice"]) == ("99.99000000", "100.01000000")
    depth = world.get("depth", symbol="BTCUSDT").json
    assert (depth["bids"][0][0], depth["asks"][0][0]) == ("99.99000000", "100.01000000")
    day = world.get("ticker/24hr", symbol="BTCUSDT").json
    assert (day["bidPrice"], day["askPrice"]) == ("99.99000000", "100.01000000")
    assert world.get("ticker/price", symbol="BTCUSDT").json["price"] == "100.00000000"
    bought = world.order("BUY", "MARKET", quantity="1").json
    assert bought["fills"][0]["price"] == "100.01000000"
    sold = world.order("SELL", "MARKET", quoteOrderQty="99.99").json
    assert (sold["fills"][0]["price"], sold["executedQty"]) == ("99.99000000", "1.00000000")
    assert world.order(price="100", quantity="0.1").json["status"] == "NEW"
    assert world.order(price="90", quantity="0.1").json["status"] == "NEW"
    world.legs(5)
    trades = world.signed("GET", "myTrades", symbol="BTCUSDT", fromId=3).json
    assert [trade["price"] for trade in trades] == ["100.00000000", "90.00000000"]


def test_a_spread_is_quoted_on_whole_ticks_and_never_wider():
    engine = make_engine(spread=D("0.00019"))
    assert (engine.offer("BUY"), engine.offer("SELL")) == (100, 100)
    engine = make_engine(spread=D("0.0002"))
    assert (engine.offer("BUY"), engine.offer("SELL")) == (D("100.01"), D("99.99"))
    order, _ = engine.place(limit("BUY", "100"), 1)
    assert order.status == "NEW"
    order, _ = engine.place(market("BUY", quote_quantity="100.01"), 1)
    assert order.quantity == 1


def test_the_average_price_is_weighted_by_volume(make_world):
    world = make_world(FLAT, (200, 200, 200, 200), FLAT, FLAT, FLAT, FLAT, at_end="hold", speed=60)
    answer = world.get("avgPrice", symbol="BTCUSDT")
    assert answer.headers["X-MBX-USED-WEIGHT"] == "2"
    assert answer.json == {
        "mins": 5,
        "price": "100.00000000",
        "closeTime": world.series.start,
    }
    world.legs(4)  # a quarter of the second candle
    assert world.get("avgPrice", symbol="BTCUSDT").json["price"] == "120.00000000"
    world.legs(3)
    assert world.get("avgPrice", symbol="BTCUSDT").json["price"] == "150.00000000"
    world.legs(12)
    average = world.get("avgPrice", symbol="BTCUSDT").json
    assert average["price"] == "120.00000000"
    assert average["closeTime"] == world.series.start + 4 * 60_000 + 45_000
    world.legs(4)
    client = world.connect()
    assert client.ask("avgPrice", symbol="BTCUSDT")["result"]["price"] == "120.00000000"


def test_the_price_band_goes_by_the_average_where_the_symbol_says_so(make_world):
    band = PriceBand(bid_up=D("1.2"), minutes=2)
    world = make_world(
        FLAT, (200, 200, 200, 200), FLAT, at_end="hold", rules=replace(make_rules(), band=band)
    )
    filters = world.get("exchangeInfo").json["symbols"][0]["filters"]
    (listed,) = [item for item in filters if item["filterType"] == "PERCENT_PRICE_BY_SIDE"]
    assert listed["avgPriceMins"] == 2
    world.legs(7)
    # The last price is 200, the average of both candles 150.
    refused = world.order(price="180.01", quantity="0.1")
    assert refused.error[1:] == (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE")
    assert world.order(price="180", quantity="0.1").status == 200
