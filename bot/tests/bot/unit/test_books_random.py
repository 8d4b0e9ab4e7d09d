"""Random markets, partial fills and cancels: the books equal a plain ledger to the last digit."""

from decimal import Decimal

from gridbase.market import EXACT
from gridbot.core.engine import GridEngine
from gridbot.core.grid import make_plan, pair_profit
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.tests.bot.core import conftest as walk_module

grids = st.fixed_dictionaries(
    {
        "grids": st.integers(2, 12),
        "spacing": st.sampled_from(["arithmetic", "geometric"]),
        "investment": st.integers(5_000, 50_000).map(str),
    }
)
charges = st.builds(
    walk_module.fees,
    st.sampled_from(["0", "0.00075", "0.001", "0.0025"]),
    st.sampled_from(["received", "quote"]),
)
prices = st.integers(40_000_00, 70_000_00).map(lambda cents: str(Decimal(cents) / 100))
moves = st.lists(
    st.tuples(st.sampled_from(["go", "part", "cancel", "part and cancel"]), prices), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(grid=grids, charge=charges, start=prices, moves=moves)
def test_books_equal_a_plain_ledger_after_every_event(grid, charge, start, moves):
    walk = walk_module.Walk(walk_module.spec(**grid), charge, start)
    walk.check()
    for number, (move, price) in enumerate(moves):
        if move == "go":
            walk.go(price)
        else:
            disturb(walk, move, number)
        walk.check()
    places = [(order.line, order.side) for order in walk.engine.live.values()]
    assert len(places) == len(set(places)) == len(walk.plan.lines) - 1


def disturb(walk, move, number):
    orders = sorted(walk.engine.live.values(), key=lambda order: order.client_id)
    order = orders[number % len(orders)]
    if "part" in move:
        rest = order.quantity - walk.engine.executed(order.client_id)
        part = (rest / 3).quantize(Decimal("0.00000001"))
        if 0 < part < rest:
            walk.fill(order.client_id, order.price, part)
    if "cancel" in move:
        walk.step(walk.engine.record_canceled, order.client_id)
    walk.accept_all()


@settings(max_examples=60, deadline=None)
@given(grid=grids, charge=charges, start=prices, moves=moves)
def test_an_engine_restored_from_what_was_written_is_the_same(grid, charge, start, moves):
    walk = walk_module.Walk(walk_module.spec(**grid), charge, start)
    for number, (move, price) in enumerate(moves):
        if move == "go":
            walk.go(price)
        else:
            disturb(walk, move, number)
    again = restore(walk)
    assert again.live == walk.engine.live
    assert {key: value for key, value in vars(again.books).items() if key != "recent"} == {
        key: value for key, value in vars(walk.engine.books).items() if key != "recent"
    }
    assert again._attempts == walk.engine._attempts
    assert again._executed == walk.engine._executed


def restore(walk):
    """Replay what the changes said, leg by leg, as the store does."""
    engine = GridEngine(
        bot_name="pi1",
        tag="abc123",
        market=walk.market,
        plan=walk.plan,
        investment=walk.investment,
    )
    legs = [leg for changes in walk.changes for leg in changes.legs]
    complete = {leg: shares for changes in walk.changes for leg, shares in changes.complete}
    orders = {}
    for changes in walk.changes:
        orders |= {order.client_id: order for order in changes.orders}
        orders |= {order.client_id: order for order in changes.updated}
    for leg in legs:
        engine.restore_leg(leg)
        for order in (order for order in orders.values() if order.leg == leg.id):
            fills = [fill for fill in walk.fills if fill.client_id == order.client_id]
            for fill in fills:
                engine.restore_fill(leg.id, fill)
            engine.restore_order(order, sum((fill.quantity for fill in fills), Decimal(0)))
        if leg.id in complete:
            engine.restore_complete(leg.id, complete[leg.id])
    return engine


@settings(max_examples=60, deadline=None)
@given(grid=grids, charge=charges, start=prices)
def test_a_plan_never_costs_more_than_the_investment(grid, charge, start):
    spec = walk_module.spec(**grid)
    plan = make_plan(spec, walk_module.BTC, charge, Decimal(start))
    factor = 1 + charge.rate if charge.taken_in == "quote" else Decimal(1)
    buys = sum((plan.lines[line] for line in plan.buy_lines), Decimal(0)) * plan.quantity
    cost = EXACT.multiply(buys + plan.initial_cost, factor)
    assert cost <= spec.investment
    one_lot_more = cost / plan.quantity * (plan.quantity + walk_module.BTC.lot_size)
    assert one_lot_more > spec.investment
    assert all(pair_profit(plan, line, walk_module.BTC, charge) > 0 for line in range(spec.grids))
