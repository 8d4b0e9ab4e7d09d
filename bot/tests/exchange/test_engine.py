from decimal import Decimal

import pytest
from gridexchange.errors import ApiError
from gridexchange.matching.matching import Engine
from gridexchange.matching.orders import Balance, OrderRequest

from .conftest import make_rules

D = Decimal


def make_engine(price="100", usdt="10000", btc="10", **rules) -> Engine:
    balances = {"USDT": Balance(D(usdt)), "BTC": Balance(D(btc))}
    return Engine(
        make_rules(**rules),
        balances=balances,
        open_orders=[],
        next_order_id=1,
        next_trade_id=1,
        price=D(price),
    )


def limit(side, price, quantity="1", *, client="", kind="LIMIT", tif="GTC") -> OrderRequest:
    return OrderRequest(side, kind, tif, client or f"{side}-{price}", D(price), D(quantity))


def market(side, **amount) -> OrderRequest:
    return OrderRequest(side, "MARKET", "GTC", "m", **{k: D(v) for k, v in amount.items()})


def filled(engine: Engine) -> list[str]:
    by_id = {t.order_id: t for t in engine.changes.trades}
    return [engine.changes.orders[number].client_order_id for number in by_id]


def test_resting_order_fills_at_its_own_price_when_touched():
    engine = make_engine()
    order, trades = engine.place(limit("BUY", "90"), 1)
    assert (order.status, trades) == ("NEW", [])
    engine.move(D("90.01"), 2)
    assert order.status == "NEW"
    engine.move(D("90"), 3)
    assert (order.status, order.executed, order.executed_quote) == ("FILLED", 1, 90)
    (trade,) = engine.changes.trades
    assert (trade.price, trade.is_maker, trade.time_ms) == (90, True, 3)
    assert (trade.commission, trade.commission_asset) == (D("0.001"), "BTC")
    assert engine.balances["BTC"].free == D("10.999")
    assert engine.balances["USDT"] == Balance(D("9910"), D(0))


def test_orders_crossed_in_one_leg_fill_in_the_order_the_walk_meets_them():
    engine = make_engine()
    for price in ("104", "102", "106"):
        engine.place(limit("SELL", price), 1)
    engine.place(limit("SELL", "102", client="second at 102"), 1)
    engine.place(limit("BUY", "95"), 1)
    engine.place(limit("BUY", "98"), 1)
    engine.move(D("105"), 2)
    assert filled(engine) == ["SELL-102", "second at 102", "SELL-104"]
    engine.move(D("94"), 3)
    assert filled(engine)[3:] == ["BUY-98", "BUY-95"]
    assert engine.best_sell == 106
    assert engine.best_buy is None


def test_marketable_limit_executes_at_the_market_price_as_taker():
    engine = make_engine()
    order, (trade,) = engine.place(limit("BUY", "101", "2"), 1)
    assert (order.status, trade.price, trade.is_maker) == ("FILLED", 100, False)
    assert engine.balances["USDT"] == Balance(D(9800), D(0))
    order, (trade,) = engine.place(limit("SELL", "100", "2"), 1)
    assert (trade.price, trade.commission, trade.commission_asset) == (100, D("0.2"), "USDT")


def test_price_between_ticks_is_quoted_on_the_tick_and_reached_exactly():
    engine = make_engine(price="100.005")
    assert engine.last_price == D("100.01")
    engine.place(limit("SELL", "100.03"), 1)
    engine.move(D("100.025"), 2)  # quoted as 100.03, but the walk did not reach it
    assert not engine.changes.trades
    engine.move(D("100.03"), 3)
    assert engine.changes.trades


def test_fee_in_quote():
    engine = make_engine(fee_in="quote")
    engine.place(limit("BUY", "90", "1"), 1)
    assert engine.balances["USDT"] == Balance(D("9909.91"), D("90.09"))
    engine.move(D("90"), 2)
    assert engine.balances == {
        "USDT": Balance(D("9909.91"), D(0)),
        "BTC": Balance(D("11"), D(0)),
    }
    engine.place(market("SELL", quantity="1"), 3)
    assert engine.balances["USDT"].free == D("9909.91") + 90 - D("0.09")


def test_fee_in_quote_counts_towards_the_balance_needed():
    engine = make_engine(usdt="100", fee_in="quote")
    with pytest.raises(ApiError, match="insufficient balance"):
        engine.place(limit("BUY", "50", "2"), 1)
    engine.place(limit("BUY", "50", "1.99"), 1)


def test_commission_is_rounded_up_at_eight_decimals():
    # The reference of the grid: 0.08795882 bought brings 0.08787086, not ...087.
    engine = make_engine(lot_size=D("0.00000001"))
    engine.place(market("BUY", quantity="0.08795882"), 1)
    assert engine.balances["BTC"].free == D("10.08787086")


def test_market_order_by_quote_buys_whole_lots_within_the_amount():
    engine = make_engine(price="33333.33")
    order, (trade,) = engine.place(market("BUY", quote_quantity="1000"), 1)
    assert trade.quantity == D("0.03")  # 0.0300000030 floored to the lot
    assert order.quote_quantity == 1000
    assert engine.balances["USDT"].free == D("10000") - D("999.9999")


def test_cancel_gives_back_what_was_locked():
    engine = make_engine()
    order, _ = engine.place(limit("SELL", "110", "3"), 1)
    assert engine.balances["BTC"] == Balance(D(7), D(3))
    assert engine.cancel(order.order_id, 2).status == "CANCELED"
    assert engine.balances["BTC"] == Balance(D(10), D(0))
    with pytest.raises(ApiError, match="Unknown order sent"):
        engine.cancel(order.order_id, 3)


def test_immediate_or_cancel_and_fill_or_kill_never_rest():
    engine = make_engine()
    for tif in ("IOC", "FOK"):
        order, trades = engine.place(limit("BUY", "99", tif=tif), 1)
        assert (order.status, trades) == ("EXPIRED", [])
        order, trades = engine.place(limit("BUY", "100", tif=tif), 1)
        assert (order.status, len(trades)) == ("FILLED", 1)
    assert engine.balances["USDT"].locked == 0


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (limit("BUY", "99.999"), "PRICE_FILTER"),
        (limit("BUY", "2000000"), "PRICE_FILTER"),
        (limit("BUY", "501"), "PERCENT_PRICE_BY_SIDE"),
        (limit("SELL", "19.99"), "PERCENT_PRICE_BY_SIDE"),
        (limit("BUY", "99", "0.000001"), "LOT_SIZE"),
        (limit("BUY", "99", "1.000001"), "LOT_SIZE"),
        (limit("BUY", "99", "9001"), "LOT_SIZE"),
        (limit("BUY", "99", "0.05"), "NOTIONAL"),
        (market("BUY", quantity="0.04"), "NOTIONAL"),
        (market("BUY", quote_quantity="0.0001"), "LOT_SIZE"),
        (limit("BUY", "99", "102"), "insufficient balance"),
        (limit("SELL", "101", "10.1"), "insufficient balance"),
        (limit("BUY", "100", kind="LIMIT_MAKER"), "immediately match and take"),
        (limit("SELL", "100", kind="LIMIT_MAKER"), "immediately match and take"),
        (limit("SELL", "120", client="first"), "Duplicate order sent"),
    ],
)
def test_refusal_changes_nothing(request_, message):
    engine = make_engine()
    engine.place(limit("BUY", "80", client="first"), 1)
    engine.take_changes()
    before = {coin: (b.free, b.locked) for coin, b in engine.balances.items()}
    with pytest.raises(ApiError, match=message):
        engine.place(request_, 2)
    assert not engine.changes
    assert {coin: (b.free, b.locked) for coin, b in engine.balances.items()} == before
    assert (engine.next_order_id, engine.next_trade_id) == (2, 1)


def test_client_order_id_is_free_again_once_the_order_is_closed():
    engine = make_engine()
    order, _ = engine.place(limit("BUY", "80", client="same"), 1)
    engine.cancel(order.order_id, 2)
    engine.place(limit("BUY", "80", client="same"), 3)


def test_most_open_orders():
    engine = make_engine(max_orders=2)
    engine.place(limit("BUY", "80"), 1)
    engine.place(limit("BUY", "81"), 1)
    with pytest.raises(ApiError, match="MAX_NUM_ORDERS"):
        engine.place(limit("BUY", "82"), 1)
    engine.place(market("BUY", quantity="1"), 1)
