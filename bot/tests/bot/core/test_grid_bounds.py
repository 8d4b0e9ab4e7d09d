"""Rules of the grid where they just hold and where they just do not."""

from dataclasses import replace
from decimal import Decimal

import pytest
from gridbase.errors import UserError
from gridbot.core.grid import (
    GridSettings,
    Plan,
    check_spacing,
    grid_lines,
    make_plan,
    pair_profit,
    plan_warnings,
    sell_quantity,
    smallest_order,
)

TICK = Decimal("0.01")
# A fee at which break-even is a price: 1.2 / 0.8, and 1 / 0.8².
DEAR = "0.2"


@pytest.mark.parametrize(("taken_in", "even"), [("quote", "150"), ("received", "156.25")])
@pytest.mark.parametrize("spacing", ["arithmetic", "geometric"])
def test_a_pair_that_earns_exactly_nothing_is_refused(
    *, make_spec, make_fees, btc, taken_in, even, spacing
):
    charge = make_fees(DEAR, taken_in)
    grid = make_spec(lower="100", upper=even, grids=1, spacing=spacing)
    lines = grid_lines(grid, TICK)
    plan = Plan(lines, Decimal(100), 1, quantity=Decimal(1), investment=Decimal(1000))
    assert pair_profit(plan, 0, btc, charge) == 0
    with pytest.raises(
        UserError, match=r"too close to pay a fee of 20 % twice.*; widen the range$"
    ):
        check_spacing(grid, lines, charge)
    wider = replace(grid, upper=grid.upper + TICK)
    check_spacing(wider, grid_lines(wider, TICK), charge)


@pytest.mark.parametrize(("spacing", "upper"), [("arithmetic", "300"), ("geometric", "225")])
def test_the_most_grids_named_leave_out_the_one_at_break_even(make_spec, make_fees, spacing, upper):
    grid = make_spec(lower="100", upper=upper, grids=2, spacing=spacing)
    with pytest.raises(UserError, match="use at most 1 grids in this range"):
        check_spacing(grid, grid_lines(grid, TICK), make_fees(DEAR, "quote"))


def test_the_price_ratio_named_is_the_nearest(make_spec, make_fees):
    grid = make_spec(lower="50000", upper="50010", grids=1)
    with pytest.raises(UserError, match=r"pays is 0\.1001 % \(a price ratio above 1\.001001\)"):
        check_spacing(grid, grid_lines(grid, TICK), make_fees("0.0005"))  # 1.00100075…


@pytest.mark.parametrize("missing", [{"lower"}, {"upper"}, {"lower", "upper"}])
def test_a_range_is_fixed_where_both_its_ends_are_set(make_spec, missing):
    grid = make_spec()
    ends = {"lower": grid.lower, "upper": grid.upper}
    others = {"grids": 5, "spacing": grid.spacing, "investment": grid.investment}
    assert GridSettings(**ends, **others).fixed == grid
    assert not GridSettings(**ends, **others).post_only
    assert GridSettings(**ends, **others).outside_range_purchase is None
    assert not GridSettings(**ends, **others).allow_losing_pairs
    assert GridSettings(**(ends | dict.fromkeys(missing)), **others).fixed is None


def test_a_pair_that_earns_exactly_nothing_is_told(btc, make_fees):
    lines = (Decimal(100), Decimal(150))
    plan = Plan(lines, Decimal(100), 1, quantity=Decimal(1), investment=Decimal(1000))
    (warning,) = plan_warnings(plan, btc, make_fees(DEAR, "quote"))
    assert warning.startswith("1 of 1 pairs show no profit in USDT")
    better = replace(plan, lines=(Decimal(100), Decimal("150.01")))
    assert plan_warnings(better, btc, make_fees(DEAR, "quote")) == []


def test_a_lowest_line_that_rounds_to_nothing_is_refused(make_spec):
    with pytest.raises(UserError, match=r"grid\.lower = 0\.004 rounds to a price of 0 at the tick"):
        grid_lines(make_spec(lower="0.004", upper="1"), TICK)
    assert grid_lines(make_spec(lower="0.005", upper="1"), TICK)[0] == TICK


@pytest.mark.parametrize(
    ("taken_in", "least", "rules"),
    [
        # The minimum is a value: it takes most on the lowest line.
        ("received", "0.00011112", {}),
        # The minimum is a quantity: what a buy brings after the fee must reach it as well.
        ("received", "0.00100101", {"min_quantity": Decimal("0.001")}),
        ("quote", "0.001", {"min_quantity": Decimal("0.001")}),
        # What is sold is a whole number of lots.
        ("received", "0.0002", {"lot_size": Decimal("0.0001"), "min_notional": Decimal(0)}),
        ("quote", "0.0001", {"lot_size": Decimal("0.0001"), "min_notional": Decimal(0)}),
        # The first sell is on 49,000, where a lot is not worth 5 yet; on 53,000 it is.
        ("received", "0.0003", {"lot_size": Decimal("0.0001")}),
    ],
)
def test_the_smallest_buy_brings_enough_to_sell(
    *, make_spec, make_fees, btc, taken_in, least, rules
):
    charge, market = make_fees(taken_in=taken_in), replace(btc, **rules)
    grid = replace(make_spec(), investment=None, quantity=Decimal(least))
    assert make_plan(grid, market, charge, Decimal(55_000)).quantity == Decimal(least)
    less = replace(grid, quantity=Decimal(least) - market.lot_size)
    with pytest.raises(UserError, match=f"the smallest quantity that is allowed is {least}$"):
        make_plan(less, market, charge, Decimal(55_000))


def test_the_smallest_investment_named_is_rounded_up(make_spec, make_fees, btc):
    grid, price = make_spec(investment="10"), Decimal("54999.99")
    with pytest.raises(UserError, match=r"investment that is allowed is 28\.78007667$"):  # …6664
        make_plan(grid, btc, make_fees(), price)
    enough = replace(grid, investment=Decimal("28.78007667"))
    assert make_plan(enough, btc, make_fees(), price).quantity == Decimal("0.00011112")


def test_neither_investment_nor_quantity_is_refused(make_spec, make_fees, btc):
    grid = replace(make_spec(), investment=None)
    with pytest.raises(UserError, match="are both missing; set one of them"):
        make_plan(grid, btc, make_fees(), Decimal(55_000))


def test_the_smallest_order_is_a_lot_where_the_exchange_asks_for_nothing_else(btc):
    free = replace(btc, lot_size=Decimal("0.001"), min_quantity=Decimal(0), min_notional=Decimal(0))
    assert smallest_order(free, Decimal(50_000)) == Decimal("0.001")
    coarse = replace(free, min_quantity=Decimal("0.0015"), min_notional=Decimal(50))
    assert smallest_order(coarse, Decimal(50_000)) == Decimal("0.002")
    assert smallest_order(coarse, Decimal(20_000)) == Decimal("0.003")
    assert smallest_order(coarse, Decimal(25_000)) == Decimal("0.002")
    assert sell_quantity(Decimal("0.0029"), free.lot_size) == Decimal("0.002")


def test_a_quantity_that_is_no_multiple_of_the_lot_is_refused(make_spec, make_fees, btc):
    grid = replace(make_spec(), investment=None, quantity=Decimal("0.001000005"))
    with pytest.raises(UserError, match=r"no multiple of .* 0\.00000001; use 0\.00100001$"):
        make_plan(grid, btc, make_fees(), Decimal(55_000))
    plan = make_plan(
        replace(grid, quantity=Decimal("0.00100001")), btc, make_fees(), Decimal(55_000)
    )
    assert (plan.quantity, plan.investment) == (Decimal("0.00100001"), Decimal("259.00259"))
    assert plan.initial_cost == Decimal("165.00165")


@pytest.mark.parametrize(
    ("just", "not_quite", "price"),
    [
        ({"max_orders": 5}, {"max_orders": 4}, 50_000),
        ({"max_quantity": Decimal("0.1")}, {"max_quantity": Decimal("0.09999999")}, 50_000),
        # 45,000 is 0.9 times the price, and 65,000 is 1.3 times.
        ({"buy_band": ("0.9", "1")}, {"buy_band": ("0.90001", "1")}, 50_000),
        ({"sell_band": ("1", "1.3")}, {"sell_band": ("1", "1.29999")}, 50_000),
        # The lowest line stays empty: no buy is so far away. One line higher, one is.
        ({"buy_band": ("0.99", "1")}, None, 47_000),
        ({}, {"buy_band": ("0.99", "1")}, "47000.01"),
        # The highest line stays empty: no sell is so far away.
        ({"sell_band": ("1", "1.01")}, None, "63000.01"),
        ({}, {"sell_band": ("1", "1.01")}, 63_000),
    ],
)
def test_the_exchanges_own_bounds_are_still_allowed(
    *, make_spec, make_fees, btc, just, not_quite, price
):
    grid = replace(make_spec(), investment=None, quantity=Decimal("0.1"))

    def plan(rules):
        bands = {
            name: tuple(map(Decimal, rule)) if name.endswith("band") else rule
            for name, rule in rules.items()
        }
        return make_plan(grid, replace(btc, **bands), make_fees(), Decimal(price))

    assert plan(just).quantity == grid.quantity
    if not_quite is not None:
        with pytest.raises(UserError, match="exchange"):
            plan(not_quite)
