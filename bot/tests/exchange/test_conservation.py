"""Whatever is asked of the engine: coins are neither made nor lost."""

import itertools
from dataclasses import replace
from decimal import Decimal

from gridexchange.errors import ApiError
from gridexchange.matching.matching import Engine
from gridexchange.matching.orders import PREVENTION_MODES, Balance, OrderRequest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import make_rules

D = Decimal
START = {"USDT": D(10_000), "BTC": D("0.5"), "BNB": D("0.01")}

prices = st.integers(4_000_00, 6_000_00).map(lambda cents: D(cents).scaleb(-2))
walk_prices = st.integers(4_000_000, 6_000_000).map(lambda units: D(units).scaleb(-3))
quantities = st.integers(1, 60_000).map(lambda lots: D(lots).scaleb(-5))
placing = st.tuples(
    st.just("place"),
    st.sampled_from(["BUY", "SELL"]),
    st.sampled_from(["LIMIT", "LIMIT_MAKER", "MARKET", "MARKET-QUOTE"]),
    st.sampled_from(["GTC", "IOC", "FOK"]),
    prices,
    quantities,
    st.sampled_from([None, *PREVENTION_MODES]),
)
moving = st.tuples(st.just("move"), walk_prices)
statuses = st.sampled_from(["CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"])
cancelling = st.tuples(st.just("cancel"), st.integers(0, 30), statuses)


def request(number: int, values: list) -> OrderRequest:
    side, kind, tif, price, quantity, mode = values
    name = f"order-{number}"
    if kind == "MARKET":
        wanted = OrderRequest(side, "MARKET", "GTC", name, quantity=quantity)
    elif kind == "MARKET-QUOTE":
        wanted = OrderRequest(side, "MARKET", "GTC", name, quote_quantity=price)
    else:
        tif = "GTC" if kind == "LIMIT_MAKER" else tif
        wanted = OrderRequest(side, kind, tif, name, price, quantity)
    return replace(wanted, self_trade_prevention=mode)


@given(
    steps=st.lists(st.one_of(placing, moving, cancelling), max_size=40),
    fee_in=st.sampled_from(["received", "quote", "bnb"]),
    fee_rate=st.sampled_from(["0", "0.001", "0.00075", "0.5"]),
    spread=st.sampled_from(["0", "0.001", "0.2"]),
    parts=st.lists(st.integers(1, 5), min_size=1, max_size=5),
)
def test_coins_are_conserved(steps, fee_in, fee_rate, spread, parts):
    engine = Engine(
        replace(make_rules(fee_rate=fee_rate, fee_in=fee_in), spread=D(spread)),
        balances={coin: Balance(amount) for coin, amount in START.items()},
        open_orders=[],
        next_order_id=1,
        next_trade_id=1,
        price=D(5000),
    )
    engine.parts_of = itertools.cycle(parts).__next__
    for number, (action, *values) in enumerate(steps):
        try:
            if action == "place":
                engine.place(request(number, values), number)
            elif action == "move":
                engine.move(values[0], number)
            else:
                engine.cancel(values[0], number, status=values[1])
        except ApiError:
            pass
        check(engine)


def check(engine: Engine) -> None:
    expected = dict(START)
    for trade in engine.changes.trades:
        sign = 1 if trade.is_buyer else -1
        assert trade.quote_quantity == trade.price * trade.quantity
        expected["BTC"] += sign * trade.quantity
        expected["USDT"] -= sign * trade.quote_quantity
        expected[trade.commission_asset] -= trade.commission
    locked = {"BTC": D(0), "USDT": D(0), "BNB": D(0)}
    for order in engine.orders.values():
        assert order.remaining > 0
        locked["USDT" if order.side == "BUY" else "BTC"] += order.locked
        if order.parts:
            assert order.status == "PARTIALLY_FILLED"
            continue
        # Whatever else rests, the market has not reached.
        if not engine.rules.spread:
            assert order.price < engine.price if order.side == "BUY" else order.price > engine.price
    for order in engine.changes.orders.values():
        assert order.executed + order.prevented <= order.quantity
        assert order.executed == sum(
            trade.quantity for trade in engine.changes.trades if trade.order_id == order.order_id
        )
        assert order.order_id in engine.orders or order.locked == 0
    buy, sell = engine.best_buy, engine.best_sell
    assert buy is None or sell is None or buy < sell
    for coin, balance in engine.balances.items():
        assert balance.free + balance.locked == expected[coin]
        assert balance.locked == locked[coin]
        assert balance.free >= 0
