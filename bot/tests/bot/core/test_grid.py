import itertools
from dataclasses import replace
from decimal import Decimal

import pytest
from gridbase.errors import UserError
from gridbot.core.grid import (
    break_even_ratio,
    grid_lines,
    make_plan,
    nearest_line,
    pair_profit,
    plan_warnings,
)

TICK = Decimal("0.01")


def test_arithmetic_lines(make_spec):
    lines = grid_lines(make_spec(), TICK)
    assert lines == tuple(map(Decimal, (45000, 49000, 53000, 57000, 61000, 65000)))


def test_arithmetic_lines_round_half_up(make_spec):
    lines = grid_lines(make_spec(lower="1", upper="2", grids=8), Decimal("0.01"))
    expected = ("1", "1.13", "1.25", "1.38", "1.5", "1.63", "1.75", "1.88", "2")
    assert lines == tuple(map(Decimal, expected))


def test_geometric_lines(make_spec):
    lines = grid_lines(make_spec(lower="100", upper="1600", grids=4, spacing="geometric"), TICK)
    assert lines == tuple(map(Decimal, (100, 200, 400, 800, 1600)))


def test_geometric_lines_keep_both_ends(make_spec):
    lines = grid_lines(make_spec(grids=7, spacing="geometric"), TICK)
    assert (lines[0], lines[-1]) == (45000, 65000)
    ratios = [float(above / below) for below, above in itertools.pairwise(lines)]
    assert max(ratios) - min(ratios) < 1e-6


def test_lines_on_the_same_tick_are_refused(make_spec):
    with pytest.raises(UserError, match=r"grid\.grids = 5 puts two lines on the same price"):
        grid_lines(make_spec(lower="1", upper="1.02"), TICK)


@pytest.mark.parametrize(
    ("price", "line"),
    [("45000", 0), ("47000", 0), ("47000.01", 1), ("1", 0), ("99999", 5), ("55000", 2)],
)
def test_the_nearest_line_stays_empty_and_on_a_tie_the_lower(make_spec, price, line):
    assert nearest_line(grid_lines(make_spec(), TICK), Decimal(price)) == line


def test_a_plan_places_one_order_fewer_than_lines(make_spec, make_fees, btc):
    plan = make_plan(make_spec(), btc, make_fees(), Decimal(55000))
    assert list(plan.buy_lines) == [0, 1]
    assert list(plan.sell_lines) == [3, 4, 5]
    assert plan.quantity == Decimal("0.08880308")  # 23000 / (45000 + 49000 + 3 * 55000)
    assert plan.initial_quantity == 3 * plan.quantity


def test_bybits_example(make_spec, make_fees, btc):
    """45,000 to 65,000, 5 grids, 0.1 % of the asset received: a 53,000 to 57,000 pair."""
    # Bybit's quantity follows from its investment; this one gives the same quantity.
    grid = make_spec(investment=str(Decimal("0.08795882") * (45000 + 49000 + 3 * 55000)))
    plan = make_plan(grid, btc, make_fees(), Decimal(55000))
    assert plan.quantity == Decimal("0.08795882")
    earned = pair_profit(plan, 2, btc, make_fees())
    assert earned.quantize(Decimal("0.01")) == Decimal("341.81")


def test_fees_in_quote_leave_less_for_the_quantity(make_spec, make_fees, btc):
    charge = make_fees(taken_in="quote")
    plan = make_plan(make_spec(), btc, charge, Decimal(55000))
    assert plan.quantity == Decimal("0.08871437")  # 23000 / (259000 * 1.001)


@pytest.mark.parametrize(("price", "buys"), [("40000", 0), ("70000", 5)])
def test_a_start_outside_the_range_leaves_the_outermost_line_empty(
    make_spec, make_fees, btc, price, buys
):
    plan = make_plan(make_spec(), btc, make_fees(), Decimal(price))
    assert (len(plan.buy_lines), len(plan.sell_lines)) == (buys, 5 - buys)


def test_break_even_ratio(make_fees):
    in_quote = break_even_ratio(make_fees(taken_in="quote"))
    assert in_quote.quantize(Decimal("1E-6")) == Decimal("1.002002")
    received = break_even_ratio(make_fees())
    assert received.quantize(Decimal("1E-6")) == Decimal("1.002003")


def test_a_grid_too_fine_to_pay_its_fees_is_refused(make_spec, make_fees, btc):
    grid = make_spec(lower="50000", upper="51000", grids=10)
    with pytest.raises(UserError) as refused:
        make_plan(grid, btc, make_fees(), Decimal(50500))
    text = str(refused.value)
    assert "grid.grids = 10 puts lines at 50000 and 50100" in text
    assert "smallest spacing that pays is 0.2004 %" in text
    assert "use at most 9 grids" in text
    make_plan(make_spec(lower="50000", upper="51000", grids=9), btc, make_fees(), Decimal(50500))


@pytest.mark.parametrize("spacing", ["arithmetic", "geometric"])
@pytest.mark.parametrize("taken_in", ["received", "quote"])
def test_the_most_grids_named_do_pay(make_spec, make_fees, btc, spacing, taken_in):
    charge = make_fees(taken_in=taken_in)
    grid = make_spec(grids=900, spacing=spacing, investment="10000000")
    with pytest.raises(UserError) as refused:
        make_plan(grid, btc, charge, Decimal(55000))
    most = int(str(refused.value).split("use at most ")[1].split()[0])
    plan = make_plan(replace(grid, grids=most), btc, charge, Decimal(55000))
    assert all(pair_profit(plan, line, btc, charge) > 0 for line in range(most))
    with pytest.raises(UserError):
        make_plan(replace(grid, grids=most + 1), btc, charge, Decimal(55000))


@pytest.mark.parametrize("taken_in", ["received", "quote"])
@pytest.mark.parametrize("lot", ["0.00000001", "0.0001"])
def test_too_small_an_investment_names_the_smallest_that_would_do(
    make_spec, make_fees, btc, taken_in, lot
):
    market = replace(btc, lot_size=Decimal(lot), min_quantity=Decimal("0.0001"))
    charge = make_fees(taken_in=taken_in)
    with pytest.raises(UserError) as refused:
        make_plan(make_spec(investment="10"), market, charge, Decimal(55000))
    assert "grid.investment = 10 is too small for 5 grids" in str(refused.value)
    smallest = Decimal(str(refused.value).split("allowed is ")[1])
    make_plan(make_spec(investment=str(smallest)), market, charge, Decimal(55000))
    less = make_spec(investment=str(smallest - Decimal("0.00000001")))
    with pytest.raises(UserError):
        make_plan(less, market, charge, Decimal(55000))


def test_more_orders_than_the_exchange_allows_are_refused(make_spec, make_fees, btc):
    market = replace(btc, max_orders=4)
    with pytest.raises(UserError, match="use at most 4 grids"):
        make_plan(make_spec(), market, make_fees(), Decimal(55000))


def test_orders_above_the_exchanges_maximum_are_refused(make_spec, make_fees, btc):
    market = replace(btc, max_quantity=Decimal("0.01"))
    with pytest.raises(UserError, match="above the exchange's maximum of 0\\.01"):
        make_plan(make_spec(), market, make_fees(), Decimal(55000))


def test_the_largest_notional_is_that_of_the_highest_line(make_spec, make_fees, btc):
    plan = make_plan(make_spec(), btc, make_fees(), Decimal(55000))
    most = plan.quantity * plan.lines[-1]
    allowed = replace(btc, max_notional=most)
    assert make_plan(make_spec(), allowed, make_fees(), Decimal(55000)) == plan
    less = replace(btc, max_notional=most - Decimal("0.01"))
    with pytest.raises(UserError, match="above the exchange's maximum of"):
        make_plan(make_spec(), less, make_fees(), Decimal(55000))


def test_a_lot_that_eats_the_profit_is_told(make_spec, make_fees, btc):
    coarse = replace(btc, lot_size=Decimal("0.0001"), min_notional=Decimal(5))
    grid = make_spec(investment="250", lower="50000", upper="56000", grids=5)
    plan = make_plan(grid, coarse, make_fees(), Decimal(53000))
    assert plan.quantity == Decimal("0.0009")
    (warning,) = plan_warnings(plan, coarse, make_fees())
    assert warning.startswith("5 of 5 pairs show no profit in USDT: of each buy of 0.0009 BTC, ")
    assert "0.0000991 cannot be sold at the lot size 0.0001" in warning
    fine = make_plan(grid, btc, make_fees(), Decimal(53000))
    assert plan_warnings(fine, btc, make_fees()) == []
