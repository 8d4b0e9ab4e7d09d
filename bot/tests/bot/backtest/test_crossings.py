"""What a walk crosses, where it is easy to get wrong."""

from decimal import Decimal

import numpy as np
import pytest
from gridbase.errors import UserError
from gridbot.backtest import run_backtest
from gridbot.backtest.crossings import find_crossings

from .conftest import MINUTE_MS, Case, make_candles

LINES = tuple(map(Decimal, (10, 20, 30, 40, 50)))


def crossed(rows, empty, lines=LINES):
    """Candle, side and line of each fill."""
    found = find_crossings(make_candles(rows), lines, empty)
    sides = np.where(found.sell, "sell", "buy").tolist()
    return list(zip(found.candle.tolist(), sides, found.line.tolist(), strict=True))


def test_touching_a_line_is_enough():
    assert crossed([(30, 40, 30, 30)], 2) == [(0, "sell", 3), (0, "buy", 2)]
    assert crossed([(30, "39.99999999", "20.00000001", 30)], 2) == []


def test_the_empty_line_itself_has_no_order():
    assert crossed([(30, 30, 30, 30), (30, 31, 29, 30), (30, 30, 30, 30)], 2) == []


def test_a_rising_candle_falls_first_and_a_falling_one_rises_first():
    assert crossed([(30, 40, 20, 31)], 2) == [(0, "buy", 1), (0, "sell", 2), (0, "sell", 3)]
    assert crossed([(30, 40, 20, 29)], 2) == [(0, "sell", 3), (0, "buy", 2), (0, "buy", 1)]


def test_a_candle_that_closes_where_it_opened_counts_as_rising():
    # It ends on line 2, where the sell on line 3 has put a buy.
    assert crossed([(30, 40, 20, 30)], 2) == [
        (0, "buy", 1),
        (0, "sell", 2),
        (0, "sell", 3),
        (0, "buy", 2),
    ]


def test_several_lines_in_one_leg_fill_in_the_order_in_which_they_are_met():
    assert crossed([(30, 50, 30, 50)], 2) == [(0, "sell", 3), (0, "sell", 4)]
    assert crossed([(30, 30, 5, 5)], 2) == [(0, "buy", 1), (0, "buy", 0)]


def test_the_way_from_a_close_to_the_next_open_is_walked():
    assert crossed([(30, 30, 30, 30), (45, 45, 45, 45), (15, 15, 15, 15)], 2) == [
        (1, "sell", 3),
        (2, "buy", 2),
        (2, "buy", 1),
    ]


def test_a_gap_over_the_whole_range_and_back():
    up = [(1, "sell", line) for line in (3, 4)]
    down = [(2, "buy", line) for line in (3, 2, 1, 0)]
    assert crossed([(30,) * 4, (99,) * 4, (1,) * 4], 2) == up + down


def test_a_start_below_the_range_has_sells_only():
    assert crossed([(5, 25, 5, 25)], 0) == [(0, "sell", 1)]
    assert crossed([(5, 10, 5, 5)], 0) == []


def test_a_start_above_the_range_has_buys_only():
    assert crossed([(60, 60, 30, 30)], 4) == [(0, "buy", 3), (0, "buy", 2)]
    assert crossed([(60, 60, 50, 60)], 4) == []


def test_lines_between_two_units_are_reached_from_either_side():
    """A tick finer than prices: no price is on the line, and both its neighbours matter."""
    lines = tuple(map(Decimal, ("1", "1.000000015", "2")))
    above, below = "1.00000002", "1.00000001"
    # The empty line is the middle one; then the lowest.
    assert crossed([(above, above, below, below), (1, 1, 1, 1)], 1, lines) == [(1, "buy", 0)]
    assert crossed([(1, below, 1, below)], 0, lines) == []
    assert crossed([(1, above, 1, above)], 0, lines) == [(0, "sell", 1)]
    assert crossed([(above,) * 4, (below,) * 4], 2, lines) == [(1, "buy", 1)]


def test_nothing_is_lost_between_windows():
    """A window of a market is that market's candles and nothing else."""
    candles = make_candles([(30,) * 4, (45,) * 4, (44,) * 4, (31, 31, 20, 25)])
    window = candles.window(2, 4)
    found = find_crossings(window, LINES, 3)
    assert (found.line.tolist(), found.candle.tolist()) == ([2, 1], [1, 1])


def test_repeated_candles_keep_their_prices_and_go_on_in_time():
    candles = make_candles([(30, 40, 30, 35), (35, 35, 20, 20)]).repeated(3)
    assert candles.times.tolist() == [number * MINUTE_MS for number in range(6)]
    assert candles.closes.tolist() == candles.closes[:2].tolist() * 3


def test_a_line_above_all_prices_is_refused():
    lines = (Decimal(1), Decimal(10) ** 12)
    with pytest.raises(UserError, match="is above 92233720368"):
        find_crossings(make_candles([(1,) * 4]), lines, 0)


def bybit(rows, fee_unit=None):
    """Bybit's own example: 45,000 to 65,000, five grids, 0.1 % of what is received."""
    case = Case(
        candles=make_candles(rows),
        lower=Decimal(45_000),
        upper=Decimal(65_000),
        grids=5,
        spacing="arithmetic",
        investment=Decimal("0.08795882") * (45_000 + 49_000 + 53_000 + 2 * 57_000),
        fee=Decimal("0.001"),
        fee_in="received",
        tick=Decimal("0.01"),
        lot=Decimal("0.00000001"),
    )
    return run_backtest(case.candles, case.spec, case.market, case.fees, fee_unit=fee_unit)


def test_bybits_pair_earns_what_bybit_says():
    result = bybit(
        [(57_000,) * 4, (57_000, 57_000, 53_000, 53_000), (53_000, 57_000, 53_000, 57_000)]
    )
    bought, sold = result.fills()
    assert (bought.quantity, sold.quantity) == (Decimal("0.08795882"), Decimal("0.08787086"))
    assert round(result.account.grid_profit, 2) == Decimal("341.81")


def test_fees_can_be_rounded_up_as_an_exchange_does():
    rows = [(57_000, 57_000, 53_000, 53_000)]
    (exact,), (rounded,) = bybit(rows).fills(), bybit(rows, fee_unit=Decimal("1E-8")).fills()
    assert exact.fee == Decimal("0.00008795882")
    assert rounded.fee == Decimal("0.00008796")


def test_the_largest_fall_counts_from_the_investment_and_from_every_peak():
    flat = bybit([(57_000,) * 4])
    fee = Decimal("0.08795882") * 2 * 57_000 * Decimal("0.001")
    assert flat.drawdown.quote == fee
    # 61,000 is a peak only within the candle, where a fill is.
    result = bybit([(57_000, 61_000, 57_000, 57_000)])
    top = result.curve().values.max()
    assert top > result.curve().at_closes().max()
    assert float(result.drawdown.quote) == pytest.approx(top - float(result.equity))
