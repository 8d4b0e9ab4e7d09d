"""The search: what is tried, on which candles, by how many processes, and what is chosen."""

import io
import itertools
import random
from decimal import Decimal

import numpy as np
import pytest
from gridbase.errors import UserError
from gridbase.market import Market
from gridbot.backtest import Candles, run_backtest
from gridbot.backtest.data import Columns
from gridbot.backtest.forward import DAY_MS, compounded, judge, make_folds
from gridbot.backtest.pool import run_trials
from gridbot.backtest.progress import Progress
from gridbot.backtest.search import (
    Combination,
    Goal,
    Outcome,
    Space,
    Terms,
    Trial,
    ranked,
    run_trial,
)
from gridbot.core.grid import Fees, GridSpec, Spacing

from .conftest import make_candles

BOTH = tuple(Spacing)
MARKET = Market("B/Q", "B", "Q", Decimal("0.01"), Decimal("0.0001"), Decimal(0), Decimal(0))
TERMS = Terms(MARKET, Fees(Decimal("0.001")), Decimal(10_000))


@pytest.fixture(scope="module")
def market():
    """Two thousand minutes that wander."""
    rng = random.Random(7)  # noqa: S311 - a market, no secret
    rows, close = [], 1000.0
    for _ in range(2_000):
        opening, close = close, close * (1 + rng.gauss(0, 0.004))
        ends = (opening, close, close * (1 + rng.gauss(0, 0.004)))
        rows.append([round(price, 2) for price in (opening, max(ends), min(ends), close)])
        close = rows[-1][3]
    return make_candles(rows)


def profits(trials):
    return [trial.outcome and trial.outcome.profit for trial in trials]


def test_a_space_is_all_combinations_of_its_values():
    widths = (Decimal(5), Decimal(10))
    space = Space((10, 20, 30), BOTH, widths=widths)
    expected = set(itertools.product((10, 20, 30), BOTH, widths))
    found = [space[number] for number in range(len(space))]
    assert len(found) == 12
    assert {(each.grids, each.spacing, each.width) for each in found} == expected


def test_a_space_of_prices_pairs_every_lower_with_every_upper():
    space = Space((10,), BOTH[:1], lowers=(Decimal(1), Decimal(2)), uppers=(Decimal(3), Decimal(4)))
    found = [(space[number].lower, space[number].upper) for number in range(len(space))]
    assert found == [(1, 3), (1, 4), (2, 3), (2, 4)]


def test_a_random_search_repeats_itself_by_its_seed_and_never_a_combination():
    space = Space(tuple(range(1, 999)), BOTH, widths=tuple(map(Decimal, range(1, 99))))
    first = space.sample(500, 1)
    assert len(set(first)) == 500
    assert space.sample(500, 1) == first
    assert space.sample(500, 2) != first


def test_a_sample_larger_than_the_space_is_the_space():
    space = Space((10, 20), BOTH, widths=(Decimal(5),))
    assert space.sample(100, 1) == [space[number] for number in range(4)]


def test_a_width_reaches_to_both_sides_of_the_start_and_lies_on_the_tick():
    combination = Combination(10, Spacing.ARITHMETIC, width=Decimal("2.5"))
    assert combination.range_at(Decimal("1000.37"), Decimal("0.01")) == (
        Decimal("975.36"),
        Decimal("1025.38"),
    )


def test_a_trial_is_a_backtest(market):
    combination = Combination(12, Spacing.GEOMETRIC, lower=Decimal(900), upper=Decimal(1100))
    trial = run_trial(market, combination, TERMS)
    spec = GridSpec(Decimal(900), Decimal(1100), 12, Spacing.GEOMETRIC, TERMS.investment)
    result = run_backtest(market, spec, MARKET, TERMS.fees)
    assert trial.outcome.profit == result.equity - TERMS.investment
    assert trial.outcome.drawdown == result.drawdown.share
    assert trial.outcome.buys + trial.outcome.sells == len(result.ledger) > 50


def test_a_trial_that_can_not_be_placed_says_why(market):
    narrow = Combination(500, Spacing.ARITHMETIC, width=Decimal(1))
    upside_down = Combination(5, Spacing.ARITHMETIC, lower=Decimal(5), upper=Decimal(4))
    for combination, reason in ((narrow, "grid.grids = 500"), (upside_down, "is not below")):
        trial = run_trial(market, combination, TERMS)
        assert trial.outcome is None
        assert reason in trial.refusal


def test_any_number_of_processes_finds_the_same(market):
    space = Space((5, 10, 30, 700), BOTH, widths=(Decimal(5), Decimal(20), Decimal(40)))
    combinations = [space[number] for number in range(len(space))]
    windows = [(0, 1500), (500, 2000)]
    counts: list[int] = []
    alone = run_trials(market, windows, combinations, TERMS, jobs=1, progress=counts.append)
    shared = run_trials(market, windows, combinations, TERMS, jobs=2, progress=counts.append)
    assert alone == shared
    assert [len(trials) for trials in alone] == [24, 24]
    assert counts == [8, 16, 24, 32, 40, 48] * 2


def test_a_window_is_tried_as_if_nothing_had_been_before_it(market):
    """The candle before a window is not walked from: a copy of the window gives the same."""
    combination = Combination(30, Spacing.ARITHMETIC, width=Decimal(8))
    for start in range(100, 1900, 90):
        stop = start + 100
        copied = Candles("copy", Columns(*(column[start:stop] for column in market.columns)))
        window = market.window(start, stop)
        assert run_trial(window, combination, TERMS) == run_trial(copied, combination, TERMS)


def outcome(profit, drawdown_quote=1, grid_profit=0):
    amounts = map(Decimal, (grid_profit, profit, 0, 0, drawdown_quote))
    return Outcome(0, 0, *amounts)


def trial(number, found):
    combination = Combination(number, Spacing.ARITHMETIC, width=Decimal(5))
    return Trial(combination, Decimal(1), Decimal(2), found)


@pytest.mark.parametrize(
    ("goal", "order"),
    [
        (Goal.PROFIT, [2, 1, 3]),
        (Goal.GRID_PROFIT, [3, 1, 2]),
        (Goal.PROFIT_PER_DRAWDOWN, [1, 2, 3]),
    ],
)
def test_goals_rank_differently(goal, order):
    trials = [
        trial(1, outcome(5, 1, 5)),
        trial(2, outcome(10, 4, 1)),
        trial(3, outcome(-1, 1, 9)),
        trial(4, None),
    ]
    assert [each.combination.grids for each, _ in ranked(trials, goal)] == order


def test_profit_without_any_fall_is_best_of_all():
    trials = [trial(1, outcome(9, 1)), trial(2, outcome(1, 0)), trial(3, outcome(0, 0))]
    order = [each.combination.grids for each, _ in ranked(trials, Goal.PROFIT_PER_DRAWDOWN)]
    assert order == [2, 1, 3]


def daily(hours, missing=()):
    """One candle an hour, flat."""
    times = np.array([hour for hour in range(hours) if hour not in missing], dtype=np.int64)
    prices = np.full(len(times), 10**10, dtype=np.int64)
    columns = Columns(times * 3_600_000, prices, prices, prices, prices)
    return Candles("daily", columns, interval_ms=3_600_000)


def test_each_test_follows_its_training_and_every_candle_is_tested_once():
    folds = make_folds(daily(24 * 10), Decimal(4), Decimal(2))
    assert [(fold.train, fold.test) for fold in folds] == [
        ((0, 96), (96, 144)),
        ((48, 144), (144, 192)),
        ((96, 192), (192, 240)),
    ]


def test_a_stretch_that_the_file_has_no_candles_of_is_left_out():
    folds = make_folds(daily(24 * 8, missing=range(96, 144)), Decimal(2), Decimal(2))
    times = [fold.test for fold in folds]
    assert times == [(48, 96)]
    assert DAY_MS == 24 * 3_600_000


def test_a_file_too_short_for_a_fold_is_refused():
    with pytest.raises(UserError, match=r"need 12 days of candles; the file has 10.00"):
        make_folds(daily(24 * 10), Decimal(10), Decimal(2))


def test_the_choice_is_made_on_the_training_alone():
    (fold,) = make_folds(daily(48), Decimal(1), Decimal(1))
    trained = [trial(1, outcome(5)), trial(2, outcome(7)), trial(3, None)]
    tested = [trial(1, outcome(100)), trial(2, outcome(-3)), trial(3, outcome(50))]
    result = judge(fold, trained, tested, Goal.PROFIT)
    assert result.best.combination.grids == 2
    assert (result.test_profit, result.rank, result.of) == (-3, 3, 3)


def test_a_choice_that_the_test_refuses_earns_nothing():
    (fold,) = make_folds(daily(48), Decimal(1), Decimal(1))
    result = judge(fold, [trial(1, outcome(5))], [trial(1, None)], Goal.PROFIT)
    assert (result.test_profit, result.rank) == (0, None)
    assert judge(fold, [trial(1, None)], [trial(1, None)], Goal.PROFIT).best is None


def test_stretches_compound():
    assert compounded([Decimal(10), Decimal(-50)], Decimal(100)) == Decimal("-0.45")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_silent_while_it_is_quick_and_then_draws_a_bar():
    now, stream = [0.0], Terminal()
    progress = Progress("trials", 200, stream=stream, clock=lambda: now[0])
    for done, now[0] in ((10, 1.0), (20, 4.9), (50, 5.0), (51, 5.1), (100, 10.0)):
        progress(done)
    progress.finish()
    first, second, _, rest = stream.getvalue().removeprefix("\r").split("\r")
    assert first == "[#######.......................] 50 of 200 trials, 15 s left"
    assert second.rstrip() == "[###############...............] 100 of 200 trials, 10 s left"
    assert rest == ""


def test_progress_in_a_log_is_a_line_now_and_then():
    now, stream = [0.0], io.StringIO()
    progress = Progress("candles read", stream=stream, clock=lambda: now[0])
    for second in range(30):
        now[0] = float(second)
        progress(second * 100_000)
    progress.finish()
    assert stream.getvalue().splitlines() == [
        "500,000 candles read, 5 s",
        "1,500,000 candles read, 15 s",
        "2,500,000 candles read, 25 s",
    ]
