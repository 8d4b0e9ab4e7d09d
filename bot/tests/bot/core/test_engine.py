from dataclasses import replace
from decimal import Decimal

import pytest
from gridbase.errors import MismatchError
from gridbot.core.books import share_of
from gridbot.core.engine import Changes
from gridbot.core.grid import make_plan
from gridbot.core.orders import (
    CLIENT_ID_LENGTH,
    OrderState,
    Role,
    client_order_id,
    client_prefix,
    grid_run_tag,
)


def order_at(walk, line):
    return next(order for order in walk.engine.live.values() if order.line == line)


def test_the_base_for_the_sells_is_bought_first_and_then_the_grid_is_placed(make_walk):
    walk = make_walk("55000")
    first = walk.changes[0]
    assert [(o.role, o.quantity, o.price) for o in first.orders] == [
        (Role.INITIAL, walk.plan.initial_quantity, Decimal(55000))
    ]
    assert walk.live() == {0: "buy", 1: "buy", 3: "sell", 4: "sell", 5: "sell"}
    assert walk.engine.books.buys == 0
    walk.check()


def test_an_initial_sell_is_of_what_the_purchase_brought(make_walk):
    walk = make_walk("55000")
    assert order_at(walk, 3).quantity == Decimal("0.08871427")  # 0.08880308 * 0.999, floored


def test_a_grid_above_the_range_buys_nothing_first(make_walk):
    walk = make_walk("70000")
    assert walk.live() == dict.fromkeys(range(5), "buy")
    assert walk.fills == []
    assert walk.engine.grid_started


def test_a_bought_line_is_sold_one_line_above_and_bought_back(make_walk):
    walk = make_walk("55000")
    walk.go("49000")
    assert walk.live() == {0: "buy", 2: "sell", 3: "sell", 4: "sell", 5: "sell"}
    walk.go("53000")
    assert walk.live() == {0: "buy", 1: "buy", 3: "sell", 4: "sell", 5: "sell"}
    assert (walk.engine.books.buys, walk.engine.books.sells) == (1, 1)
    walk.check()


def test_grid_profit_of_a_pair_is_what_the_sell_brought_less_what_the_buy_cost(make_walk):
    walk = make_walk("55000")
    walk.go("49000")
    walk.go("53000")
    bought = Decimal("0.08880308")
    sold = Decimal("0.08871427")
    expected = sold * 53000 * Decimal("0.999") - bought * 49000
    assert walk.engine.books.grid_profit == expected


def test_an_initial_sell_costs_the_start_price_for_each_unit_bought(make_walk):
    walk = make_walk("55000")
    walk.go("57000")
    sold = Decimal("0.08871427")
    expected = sold * 57000 * Decimal("0.999") - Decimal("0.08880308") * 55000
    assert walk.engine.books.grid_profit == expected
    walk.check()


def test_every_line_is_crossed_up_and_down_and_the_books_stay_equal(make_walk):
    walk = make_walk("55000")
    for price in ("45000", "65000", "40000", "70000", "52999.99", "57000.01"):
        walk.go(price)
        walk.check()
        assert len(walk.engine.live) == 5
    assert walk.engine.books.sells == sum(fill.side == "sell" for fill in walk.fills)


def test_partial_fills_wait_for_the_order_to_close(make_walk):
    walk = make_walk("55000")
    order = order_at(walk, 1)
    walk.fill(order.client_id, order.price, Decimal("0.03"))
    walk.check()
    assert 2 not in walk.live()
    walk.fill(order.client_id, order.price)
    assert walk.live()[2] == "sell"
    walk.check()


def test_a_partly_sold_order_counts_no_profit_before_its_pair_is_matched(make_walk):
    walk = make_walk("55000")
    order = order_at(walk, 3)
    walk.fill(order.client_id, order.price, order.quantity / 2)
    assert walk.engine.books.grid_profit == 0
    walk.check()


def test_the_rest_of_a_canceled_order_is_ordered_again_under_a_new_name(make_walk):
    walk = make_walk("55000")
    order = order_at(walk, 1)
    half = order.quantity / 2
    walk.fill(order.client_id, order.price, half)
    changes = walk.step(walk.engine.record_canceled, order.client_id)
    (again,) = changes.orders
    assert (again.leg, again.line, again.quantity) == (order.leg, 1, half)
    assert again.client_id != order.client_id
    walk.accept_all()
    walk.fill(again.client_id, again.price)
    assert walk.live()[2] == "sell"
    assert walk.engine.books.buys == 1
    walk.check()


def test_a_rest_too_small_to_order_ends_a_sell(make_walk):
    walk = make_walk("55000")
    order = order_at(walk, 3)
    walk.fill(order.client_id, order.price, order.quantity - Decimal("0.00000001"))
    walk.step(walk.engine.record_canceled, order.client_id)
    assert walk.live()[2] == "buy"
    walk.check()


def test_a_canceled_buy_that_brought_too_little_to_sell_buys_the_minimum(make_walk, btc):
    walk = make_walk("55000", market=replace(btc, min_notional=Decimal(3900)))
    order = order_at(walk, 1)
    walk.fill(order.client_id, order.price, Decimal("0.07"))
    changes = walk.step(walk.engine.record_canceled, order.client_id)
    (again,) = changes.orders
    assert again.price * again.quantity >= 3900
    assert again.quantity > order.quantity - Decimal("0.07")


def test_an_initial_purchase_that_did_not_trade_is_planned_again(make_walk, make_spec, make_fees):
    walk = make_walk("55000")
    engine, changes = walk.engine, Changes(0)
    fresh = type(engine)(
        bot_name="pi1", tag="abc123", market=walk.market, plan=walk.plan, investment=walk.investment
    )
    fresh.begin(changes)
    (first,) = changes.orders
    fresh.record_canceled(Changes(1), first.client_id)
    assert fresh.waiting_for_price
    plan = make_plan(make_spec(), walk.market, make_fees(), Decimal(60000))
    changes = Changes(2)
    fresh.reprice(changes, plan)
    assert changes.plan is plan
    (second,) = changes.orders
    assert (second.price, second.quantity) == (Decimal(60000), plan.initial_quantity)
    assert second.client_id != first.client_id


def test_an_initial_purchase_that_traded_in_part_buys_the_rest(make_walk, make_spec, make_fees):
    walk = make_walk("55000")
    again = make_walk("55000")
    engine = type(walk.engine)(
        bot_name="pi1", tag="abc123", market=walk.market, plan=walk.plan, investment=walk.investment
    )
    again.engine, changes = engine, Changes(0)
    engine.begin(changes)
    (first,) = changes.orders
    again.step(engine.accept, first.client_id, "1001")
    again.fill(first.client_id, first.price, Decimal("0.1"))
    again.step(engine.record_canceled, first.client_id)
    plan = make_plan(make_spec(), walk.market, make_fees(), Decimal(56000))
    changes = again.step(engine.reprice, plan)
    (rest,) = changes.orders
    assert changes.plan is None
    assert (rest.price, rest.quantity) == (56000, walk.plan.initial_quantity - Decimal("0.1"))


def test_fees_in_a_third_coin_are_counted_beside_the_grid(make_walk):
    walk = make_walk("55000")
    walk.commission_coin = "BNB"
    walk.go("49000")
    assert order_at(walk, 2).quantity == walk.plan.quantity  # nothing was taken from the base
    assert walk.engine.books.fees["BNB"] == Decimal("0.0001")
    walk.check()


def test_more_traded_than_ordered_stops_the_bot(make_walk):
    walk = make_walk("55000")
    order = order_at(walk, 1)
    with pytest.raises(MismatchError, match="traded"):
        walk.fill(order.client_id, order.price, order.quantity * 2)


def test_while_winding_down_no_further_step_is_taken(make_walk):
    walk = make_walk("55000")
    walk.engine.winding_down = True
    for order in list(walk.engine.live.values()):
        if order.line:
            walk.step(walk.engine.record_canceled, order.client_id)
    last = order_at(walk, 0)
    walk.fill(last.client_id, last.price)
    assert walk.engine.live == {}
    assert not walk.changes[-1].orders
    walk.check()


def test_names_never_repeat_and_fit(make_walk):
    walk = make_walk("55000")
    for _ in range(3):
        walk.go("40000")
        walk.go("70000")
    names = [order.client_id for changes in walk.changes for order in changes.orders]
    assert len(names) == len(set(names))
    longest = client_order_id(
        client_prefix("twelve-chars", "LONGBASELONGQUOTE"), "zzzzzz", "999s", 99999
    )
    assert len(longest) == CLIENT_ID_LENGTH
    with pytest.raises(ValueError, match="longer than"):
        client_order_id("twelve-chars-BTCUSD-", "zzzzzz", "999s", 100000)


def test_a_name_says_where_its_order_belongs(make_walk):
    walk = make_walk("55000")
    walk.go("49000")
    walk.go("53000")
    assert order_at(walk, 1).client_id == "pi1-BTCUSDT-abc123-1b2"


def test_grid_run_tags_rise_even_when_the_clock_does_not():
    first = grid_run_tag(1_790_000_000_000, None)
    second = grid_run_tag(1_600_000_000_000, first)
    assert len(first) == len(second) == 6
    assert int(second, 36) == int(first, 36) + 1


def test_shares_add_up_to_the_last_digit():
    total = Decimal("1000.01")
    shares = [share_of(total, 3, index) for index in range(3)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= Decimal("1E-18")
    with pytest.raises(ValueError, match="share 3 of 3"):
        share_of(total, 3, 3)


def test_an_order_knows_nothing_of_another_grids_number(make_walk):
    walk = make_walk("55000")
    order = order_at(walk, 1)
    assert order.state is OrderState.OPEN
    assert walk.engine.client_id_of(order.exchange_id) == order.client_id
    assert walk.engine.client_id_of(999999) is None
