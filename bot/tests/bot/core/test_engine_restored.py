"""What a restart takes back, and what is said of a step: IDs are never used twice."""

from dataclasses import replace
from decimal import Decimal

import pytest
from gridbot.core.books import Books
from gridbot.core.engine import Carried, Changes, GridEngine
from gridbot.core.grid import make_plan
from gridbot.core.orders import Leg, Role, Side, order_place
from gridbot.core.settled_totals import Totals


@pytest.fixture
def make_engine(make_spec, make_fees, btc):
    """An engine that has not begun, at a price; `carried` is base of the grid before."""

    def make(price="55000", carried=None):
        plan = make_plan(make_spec(), btc, make_fees(), Decimal(price))
        return GridEngine(
            bot_name="pi1",
            tag="abc123",
            market=btc,
            plan=plan,
            investment=plan.investment,
            carried=carried,
        )

    return make


def test_orders_of_settled_pairs_keep_their_names(make_walk, make_engine):
    """The books no longer have them: their running numbers come with the totals."""
    (buy,) = [o for o in make_walk("55000").engine.live.values() if o.line == 1]
    place = order_place(buy.role, buy.line, buy.side)
    engine = make_engine()
    engine.restore_totals(Totals(attempts={place: 7, "i": 1}))
    engine.begin(changes := Changes(0))
    names = [order.client_id for order in changes.orders]
    assert names[0].endswith("i2")
    engine.record_canceled(Changes(1), names[0])
    engine = make_engine("70000")  # no initial trade: the grid at once
    engine.restore_totals(Totals(attempts={place: 7}))
    engine.begin(changes := Changes(0))
    (name,) = [order.client_id for order in changes.orders if order.line == 1]
    assert name != buy.client_id
    assert name.endswith(f"{place}8")


def test_a_liquidation_does_not_take_back_that_the_grid_began(make_engine):
    engine = make_engine()
    engine.restore_leg(Leg("one", Role.GRID, Side.BUY, 1, Decimal(1), None))
    engine.restore_leg(Leg("two", Role.LIQUIDATION, Side.SELL, 0, Decimal(1), None))
    assert engine.grid_started is True


def test_a_leg_that_is_complete_is_not_under_way(make_walk):
    walk = make_walk("55000")
    initial = [leg for leg in walk.engine.books.legs.values() if leg.leg.role is Role.INITIAL]
    assert [leg.complete for leg in initial] == [True]
    assert walk.engine.initial_leg() is None


def test_orders_of_the_start_begin_next_to_the_price(make_walk):
    walk = make_walk("55000")
    orders = [o for changes in walk.changes for o in changes.orders if o.role is Role.GRID]
    buys = [order.line for order in orders if order.side is Side.BUY]
    sells = [order.line for order in orders if order.side is Side.SELL]
    assert buys == sorted(buys, reverse=True)
    assert sells == sorted(sells)
    assert min(len(buys), len(sells)) > 1


def test_only_the_initial_purchase_is_shared(make_walk):
    walk = make_walk("55000")
    walk.go("49000")
    said = [one for changes in walk.changes for one in changes.complete]
    assert [shares for _, shares in said] == [3, 0]


def test_what_changes_nothing_says_so(make_engine):
    assert not Changes(0)
    assert Changes(0, plan=make_engine().plan)
    assert Changes(0, trade_cursor="1")


def test_a_purchase_that_was_given_up_leaves_no_flows(make_engine):
    engine = make_engine()
    engine.begin(changes := Changes(0))
    engine.record_canceled(Changes(1), changes.orders[0].client_id)
    engine.reprice(Changes(2), engine.plan)
    assert engine.books.flows == {}


def test_what_is_carried_and_sold_is_an_initial_trade(make_engine):
    """Base bought and sold is none: the leg did trade, and its books stay."""
    engine = make_engine("70000", Carried(Decimal("0.1"), Decimal(5000)))
    engine.begin(changes := Changes(0))
    (sale,) = changes.orders
    assert (sale.side, sale.quantity) == (Side.SELL, Decimal("0.1"))
    book = engine.books.legs[sale.leg]
    book.executed, book.base = sale.quantity, Decimal(0)
    engine.books.complete(sale.leg)
    assert sale.leg in engine.books.legs


def test_a_grid_without_sells_shares_nothing(make_engine, btc):
    engine = make_engine("70000", Carried(btc.lot_size, Decimal(1)))
    engine.begin(changes := Changes(0))
    assert {order.side for order in changes.orders} == {Side.BUY}
    assert changes.complete == [(changes.legs[0].id, 0)]


def test_a_leg_is_opened_once():
    books = Books("BTC", "USDT", Decimal(100))
    leg = Leg("one", Role.GRID, Side.BUY, 1, Decimal(1), None)
    books.open_leg(leg)
    with pytest.raises(ValueError, match="leg one is already open"):
        books.open_leg(replace(leg, line=2))


def test_orders_of_the_start_and_of_a_liquidation_have_names_of_their_own():
    assert order_place(Role.INITIAL, 3, Side.BUY) == "i"
    assert order_place(Role.LIQUIDATION, 3, Side.SELL) == "x"
    assert order_place(Role.GRID, 3, Side.SELL) == "3s"
