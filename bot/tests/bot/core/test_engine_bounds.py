"""Steps of the engine where a quantity just suffices and where it just does not."""

from dataclasses import replace
from decimal import Decimal

import pytest
from gridbot.core.engine import Carried, Changes, GridEngine
from gridbot.core.grid import make_plan
from gridbot.core.orders import Role, Side

LOT = Decimal("0.00000001")
FIVE_AT_START = Decimal("0.00009091")  # 5 / 55,000, and the lot


@pytest.fixture
def begin(make_spec, make_fees, btc):
    """An engine that carries base of the grid before, and its first step."""

    def begin(base="0", price="55000", investment="23000", **rules):
        market = replace(btc, **rules)
        grid = make_spec(investment=investment)
        plan = make_plan(grid, market, make_fees(), Decimal(price))
        carried = Carried(Decimal(base), Decimal(base) * plan.start_price)
        engine = GridEngine(
            bot_name="pi1",
            tag="abc123",
            market=market,
            plan=plan,
            investment=plan.investment,
            carried=carried,
        )
        changes = Changes(0)
        engine.begin(changes)
        return engine, changes

    return begin


def placed(changes):
    """Side and quantity of the initial trade, and how many orders of the grid there are."""
    first = [(o.side, o.quantity) for o in changes.orders if o.role is Role.INITIAL]
    return first, sum(order.role is Role.GRID for order in changes.orders)


def traded_in_part(walk, line, quantity):
    """What follows once an order was closed after so much of it had traded."""
    order = next(order for order in walk.engine.live.values() if order.line == line)
    walk.fill(order.client_id, order.price, quantity)
    return order, walk.step(walk.engine.record_canceled, order.client_id)


NEEDED = 3 * Decimal("0.08880308")


@pytest.mark.parametrize(
    ("carried", "first", "orders"),
    [
        (NEEDED, [], 5),
        (NEEDED - FIVE_AT_START, [(Side.BUY, FIVE_AT_START)], 0),
        (NEEDED - FIVE_AT_START + LOT, [], 5),
        (NEEDED + FIVE_AT_START, [(Side.SELL, FIVE_AT_START)], 0),
        (NEEDED + FIVE_AT_START - LOT, [], 5),
        (LOT, [(Side.BUY, NEEDED - LOT)], 0),
    ],
)
def test_what_is_carried_is_brought_to_what_the_sells_need(begin, carried, first, orders):
    engine, changes = begin(carried)
    assert placed(changes) == (first, orders)
    assert engine.books.base_held == carried
    assert engine.books.quote_flow == -carried * 55_000
    assert engine.waiting_for_price is False


def test_carried_base_stays_in_the_books_of_a_leg_without_an_order(begin):
    """The leg has no order and so trades nothing, and yet it is not one that was given up."""
    engine, changes = begin(NEEDED)
    ((leg, shares),) = changes.complete
    book = engine.books.legs[leg]
    assert (shares, book.base, book.quote) == (3, NEEDED, -NEEDED * 55_000)
    assert (engine.books.initial_base, engine.books.held_cost) == (NEEDED, NEEDED * 55_000)
    assert engine.books.initial_cost == NEEDED * 55_000
    assert engine.books.equity(Decimal(55_000)) == 23_000
    assert changes.orders[-1].quantity == NEEDED / 3


def test_a_purchase_that_was_given_up_hands_on_what_was_carried(begin, make_spec, make_fees):
    engine, changes = begin("0.1")
    (first,) = changes.orders
    engine.record_canceled(Changes(1), first.client_id)
    plan = make_plan(make_spec(), engine.market, make_fees(), Decimal(60_000))
    changes = Changes(2)
    engine.reprice(changes, plan)
    assert changes.complete == [(first.leg, 0)]
    assert placed(changes) == ([(Side.SELL, Decimal("0.1") - plan.initial_quantity)], 0)
    assert (engine.books.base_held, engine.books.quote_flow) == (Decimal("0.1"), -5500)
    assert list(engine.books.legs) == [changes.legs[0].id]


def test_a_grid_that_carries_nothing_has_no_flows_before_it_trades(begin):
    engine, changes = begin()
    assert placed(changes) == ([(Side.BUY, NEEDED)], 0)
    assert engine.books.flows == {}
    engine, changes = begin(price="70000")
    assert placed(changes) == ([], 5)
    assert {leg.role for leg in changes.legs} == {Role.GRID}


@pytest.mark.parametrize(
    ("held", "bought", "sells"),
    [
        ("0.00026316", [], [Decimal("0.00008772")] * 3),  # 5 / 57,000 each
        ("0.00026315", [(Side.BUY, FIVE_AT_START)], []),
    ],
)
def test_sells_share_what_is_carried_if_each_share_can_be_sold(begin, held, bought, sells):
    engine, changes = begin(held, investment="28.78008")
    assert engine.plan.quantity == Decimal("0.00011112")
    assert placed(changes)[0] == bought
    assert [order.quantity for order in changes.orders if order.side is Side.SELL] == sells


@pytest.mark.parametrize(("left", "again"), [("0.00009091", True), ("0.00009090", False)])
def test_a_grid_that_ended_sells_the_least_that_can_be_sold(begin, left, again):
    engine, changes = begin(Decimal(left) + NEEDED, price="70000")
    for order in changes.orders:
        engine.record_canceled(Changes(1), order.client_id)
    engine.winding_down = True
    engine.books.carry(changes.legs[0].id, -NEEDED, Decimal(0))
    assert engine.books.base_held == Decimal(left)
    selling = Changes(2)
    assert engine.liquidate(selling, Decimal(55_000)) is again
    assert [o.quantity for o in selling.orders] == ([Decimal(left)] if again else [])
    assert engine.waiting_for_price is False


def test_a_liquidation_that_sold_all_is_behind_it(make_walk):
    walk = make_walk("55000")
    walk.engine.winding_down = True
    for client_id in list(walk.engine.live):
        walk.step(walk.engine.record_canceled, client_id)
    walk.step(walk.engine.liquidate, Decimal(54_000))
    (order,) = walk.engine.live.values()
    walk.fill(order.client_id, order.price)
    assert walk.changes[-1].complete == [(order.leg, 0)]
    assert walk.engine.liquidation_leg() is None
    assert not walk.engine.waiting_for_price


@pytest.mark.parametrize(("left", "again"), [("0.0000926", True), ("0.0000925", False)])
def test_a_liquidation_with_too_little_left_is_behind_it(make_walk, left, again):
    walk = make_walk("55000")
    walk.engine.winding_down = True
    for client_id in list(walk.engine.live):
        walk.step(walk.engine.record_canceled, client_id)
    walk.step(walk.engine.liquidate, Decimal(54_000))
    (order,) = walk.engine.live.values()
    walk.fill(order.client_id, order.price, order.quantity - Decimal(left))
    walk.step(walk.engine.record_canceled, order.client_id)
    walk.step(walk.engine.liquidate, Decimal(54_000))
    assert walk.changes[-1].complete == ([] if again else [(order.leg, 0)])
    assert (walk.engine.liquidation_leg() is not None) is again
    # What is left counts at its last cost no more: it was for sale.
    assert (walk.engine.books.held_cost > 0) is again


# Of a sell on 57,000 the least is 5 / 57,000, and of a buy on 49,000 it is 5 / 49,000.
@pytest.mark.parametrize(
    ("line", "rest", "again"),
    [
        (3, "0.00008772", "0.00008772"),
        (3, "0.00008771", None),
        (1, "0.00010205", "0.00010205"),
        (1, "0.00010204", None),
    ],
)
def test_a_rest_that_is_just_enough_is_ordered_again(make_walk, line, rest, again):
    walk = make_walk("55000")
    order = next(order for order in walk.engine.live.values() if order.line == line)
    order, changes = traded_in_part(walk, line, order.quantity - Decimal(rest))
    (follows,) = changes.orders
    if again is None:
        assert (follows.line, follows.side) == (2, Side.SELL if line == 1 else Side.BUY)
    else:
        assert (follows.leg, follows.quantity) == (order.leg, Decimal(again))
    walk.check()


@pytest.mark.parametrize(
    ("traded", "follows"),
    [
        ("0.07365857", (Side.SELL, Decimal("0.07358491"))),  # 3,900 / 53,000, less a fee of 0.1 %
        ("0.07365856", (Side.BUY, Decimal("0.07959184"))),  # 3,900 / 49,000
    ],
)
def test_a_buy_ends_once_it_brought_just_enough_to_sell(make_walk, btc, traded, follows):
    walk = make_walk("55000", market=replace(btc, min_notional=Decimal(3900)))
    _, changes = traded_in_part(walk, 1, Decimal(traded))
    assert [(order.side, order.quantity) for order in changes.orders] == [follows]


def test_a_buy_that_traded_in_full_is_answered_whatever_its_fee_took(make_walk, make_fees, btc):
    walk = make_walk("55000", market=replace(btc, min_notional=Decimal(3_900)))
    walk.fees = make_fees("0.3")
    order = next(order for order in walk.engine.live.values() if order.line == 1)
    walk.fill(order.client_id, order.price)
    (follows,) = walk.changes[-1].orders
    assert (follows.side, follows.line) == (Side.SELL, 2)


def test_one_order_has_no_more_than_the_exchange_takes_at_once(begin):
    engine, changes = begin(max_quantity=Decimal("0.1"))
    assert placed(changes) == ([(Side.BUY, Decimal("0.1"))], 0)
    assert changes.legs[0].quantity == NEEDED
    _, changes = begin(max_notional=Decimal(6000))
    assert placed(changes) == ([(Side.BUY, Decimal("0.1090909"))], 0)  # 6000 at 55,000
    _, whole = begin(max_quantity=NEEDED)
    assert placed(whole) == ([(Side.BUY, NEEDED)], 0)
    assert engine.live
