import math
import statistics
import subprocess
import sys
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from gridexchange.market import synthetic
from gridexchange.market.synthetic import SyntheticSeries, SyntheticSettings

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "made_up_market.py"
START = 50_000
DAY = 1440  # candles
MANY = range(0, 4000, 2)  # seeds, one of each mirrored pair
DEVIATION = 0.03  # of a day


def make(seed=7, tick="0.01"):
    return SyntheticSeries(SyntheticSettings(seed, Decimal(START), Decimal(tick)))


def log_price(series, day):
    """The logarithm of the price where a day begins, over the first one."""
    return series._day_span(day).first


@pytest.fixture(scope="module")
def many():
    return [make(seed=seed) for seed in MANY]


def test_the_same_seed_gives_the_same_market_from_any_index():
    series = make()
    whole = [series.candle(index) for index in range(5000)]
    late = make()
    assert [late.candle(index) for index in range(4000, 5000)] == whole[4000:]
    assert make(seed=8).candle(100) != whole[100]


def test_known_candles():
    # Pinned: the market must not change between machines and releases, unless its version does.
    assert make().fingerprint == "synthetic-2 7 50000 0.01"
    assert make().candle(1000)[:5] == (
        1_704_127_200_000,
        4_892_250_000_000,
        4_892_278_000_000,
        4_888_141_000_000,
        4_888_323_000_000,
    )
    assert make().candle(2000 * DAY + 1)[:5] == (
        1_876_867_260_000,
        464_177_000_000,
        464_466_000_000,
        464_109_000_000,
        464_202_000_000,
    )
    assert make().candle(-30 * DAY)[:5] == (
        1_701_475_200_000,
        5_395_461_000_000,
        5_411_228_000_000,
        5_393_911_000_000,
        5_407_803_000_000,
    )


def test_candles_are_whole_and_continuous_and_on_the_tick():
    series = make(tick="0.5")
    previous = series.candle(-DAY - 1)
    # Over the first era's beginning, and over its end.
    for index in (*range(-DAY, 2 * DAY), *range(1024 * DAY - DAY, 1024 * DAY + DAY)):
        if index == 1023 * DAY:
            previous = series.candle(index - 1)
        candle = series.candle(index)
        assert candle.low <= min(candle.open, candle.close)
        assert candle.high >= max(candle.open, candle.close)
        assert candle.open == previous.close
        assert candle.time == previous.time + 60_000
        assert all(price % (10**8 // 2) == 0 for price in candle[1:5])
        previous = candle


def test_a_day_ends_to_the_bit_where_the_next_one_opens():
    series, random = make(), Random(1)  # noqa: S311  a market, no secret
    for day in range(100):
        span = series._day_span(day)
        path = synthetic._minutes(random, span, 0.0008)
        assert (path[0], path[-1]) == (span.first, span.last)
        assert series._day_span(day + 1).first == span.last


def test_it_begins_at_the_start_price():
    assert make().candle(0).open == START * 10**8 == make(seed=6).candle(0).open


def test_days_are_calm_and_wild_by_three_per_cent_in_the_mean():
    spans = []
    for seed in range(0, 20, 2):
        series = make(seed=seed)
        spans += [series._day_span(day) for day in range(1024)]
    changes = [span.last - span.first + span.variance / 2 for span in spans]
    assert math.sqrt(statistics.fmean(x * x for x in changes)) == pytest.approx(0.03, rel=0.03)
    deciles = statistics.quantiles((math.sqrt(span.variance) for span in spans), n=10)
    assert 0.014 < deciles[0] < 0.02
    assert 0.037 < deciles[-1] < 0.045
    # Fat tails: 3 for a normal distribution.
    kurtosis = statistics.fmean(x**4 for x in changes) / DEVIATION**4
    assert 4 < kurtosis < 7


def test_minutes_have_the_volatility_of_their_day_and_highs_and_lows_of_a_walk_without_steps():
    ranges = []
    for seed in range(10):
        series = make(seed=seed)
        for day in range(3):
            span = series._day_span(day)
            candles = [series.candle(day * DAY + minute) for minute in range(DAY)]
            changes = [math.log(candle.close / candle.open) for candle in candles]
            assert sum(x * x for x in changes) == pytest.approx(span.variance, rel=0.2)
            least = math.sqrt(span.variance / DAY)
            ranges += [math.log(candle.high / candle.low) / least for candle in candles]
    # Of a Brownian motion: twice the square root of 2 / pi.
    assert statistics.fmean(ranges) == pytest.approx(2 * math.sqrt(2 / math.pi), rel=0.02)


def test_the_expected_price_stays_what_it_is(many):
    for day in (1, 30, 180, 1024):
        prices = [math.exp(log_price(series, day)) for series in many]
        error = statistics.stdev(prices) / math.sqrt(len(prices))
        assert statistics.fmean(prices) == pytest.approx(1, abs=3 * error)


def test_nothing_pulls_the_price_back(many):
    first = [log_price(series, 90) for series in many]
    then = [log_price(series, 180) - before for series, before in zip(many, first, strict=True)]
    assert abs(statistics.correlation(first, then)) < 3 / math.sqrt(len(many))
    assert statistics.stdev(first) == pytest.approx(DEVIATION * math.sqrt(90), rel=0.1)
    assert statistics.stdev(then) == pytest.approx(DEVIATION * math.sqrt(90), rel=0.1)
    past = [log_price(series, -30) for series in many]
    assert abs(statistics.correlation(past, first)) < 3 / math.sqrt(len(many))
    assert statistics.stdev(past) == pytest.approx(DEVIATION * math.sqrt(30), rel=0.1)
    # Backwards, the drift goes up.
    assert statistics.fmean(past) == pytest.approx(30 * DEVIATION**2 / 2, abs=0.005)


def test_seeds_come_in_mirrored_pairs():
    one, other = make(seed=6), make(seed=7)
    for day in (1, 100, 3000, -20):
        ends = [series._day_span(day) for series in (one, other)]
        assert ends[0].variance == ends[1].variance
        drifts = [span.last - span.first + span.variance / 2 for span in ends]
        assert drifts[0] == pytest.approx(-drifts[1], abs=1e-9)
    # And within the day.
    drift = ends[0].variance * 720 / DAY
    noons = [
        math.log(series.candle(-20 * DAY + 719).close / 10**8 / START) for series in (one, other)
    ]
    assert sum(noons) == pytest.approx(ends[0].first + ends[1].first - drift, abs=1e-6)
    assert make(seed=5)._day_span(1).variance != one._day_span(1).variance


def test_the_price_stays_within_bounds_for_centuries():
    for seed in range(4):
        series = make(seed=seed)
        ends = [log_price(series, era * 1024) for era in range(200)]
        assert max(map(abs, ends)) <= 3
        walk = [log_price(series, day) for day in range(0, 200_000, 50)]
        assert max(map(abs, walk)) < 5
        # It does not stop at a bound either.
        assert all(later != earlier for earlier, later in pairwise(ends))
    lowest = SyntheticSeries(SyntheticSettings(7, Decimal("0.00000003"), Decimal("0.00000001")))
    assert min(lowest.candle(day * DAY).low for day in range(0, 20_000, 500)) == 1


def test_exp():
    for x in (-5.0, -3.1, -0.2, 0.0, 1e-9, 0.7, 3.0, 5.0):
        assert synthetic._exp(x) == pytest.approx(math.exp(x), rel=1e-9)


def test_the_default_grid_wins_and_loses():
    # A tenth of the benchmark, which takes two minutes on one core.
    command = [sys.executable, BENCHMARK, "--seeds", "20", "--days", "90"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith(": nobody is favored\n")
