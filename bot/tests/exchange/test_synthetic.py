from decimal import Decimal
from itertools import pairwise
from math import log
from statistics import pstdev

from gridexchange.market.synthetic import SyntheticSeries, SyntheticSettings

DAYS = 20
CANDLES = DAYS * 1440


def make(seed=7, tick="0.01"):
    return SyntheticSeries(SyntheticSettings(seed, Decimal(50_000), Decimal(tick)))


def test_the_same_seed_gives_the_same_market_from_any_index():
    series = make()
    whole = [series.candle(index) for index in range(5000)]
    late = make()
    assert [late.candle(index) for index in range(4000, 5000)] == whole[4000:]
    assert make(seed=8).candle(100) != whole[100]


def test_known_candle():
    # Pinned: the market must not change between machines and releases.
    assert make().candle(1000)[:5] == (
        1_704_127_200_000,
        4_858_367_000_000,
        4_861_360_000_000,
        4_855_715_000_000,
        4_861_360_000_000,
    )


def test_candles_are_whole_and_continuous_and_on_the_tick():
    series = make(tick="0.5")
    previous = series.candle(-1)
    for index in range(3000):
        candle = series.candle(index)
        assert candle.low <= min(candle.open, candle.close)
        assert candle.high >= max(candle.open, candle.close)
        assert candle.open == previous.close
        assert candle.time == previous.time + 60_000
        assert all(price % (10**8 // 2) == 0 for price in candle[1:5])
        previous = candle


def test_volatility_is_that_of_a_market():
    series = make()
    closes = [series.candle(index).close / 10**8 for index in range(CANDLES)]
    changes = [b / a - 1 for a, b in pairwise(closes)]
    per_minute = (sum(x * x for x in changes) / len(changes)) ** 0.5
    assert 0.0004 < per_minute < 0.0015


def opening(seed, day):
    """The price at which a day begins, in start prices."""
    return make(seed=seed).candle(day * 1440).open / 10**8 / 50_000


def test_nobody_has_an_advantage():
    # A price without drift: its mean stays, its median falls behind by half the variance.
    later = sorted(opening(seed, 180) for seed in range(300))
    deviation = 0.028 * 180**0.5
    error = deviation / 300**0.5
    assert abs(sum(later) / 300 - 1) < 3 * error
    assert abs(log(later[150]) + deviation**2 / 2) < 3 * error
    spread = [log(price) for price in later]
    assert 0.85 < pstdev(spread) / deviation < 1.15


def test_days_change_alike_before_and_after_the_beginning_and_at_powers_of_two():
    days = [*range(-70, 70), *range(250, 260), *range(1020, 1028), *range(65_530, 65_540)]
    series = make()
    changes = [
        log(series.candle((day + 1) * 1440).open / series.candle(day * 1440).open) for day in days
    ]
    assert 0.022 < pstdev(changes) < 0.034
    assert max(map(abs, changes)) < 0.028 * 4.5
    assert len(set(changes)) == len(changes)


def test_the_price_stays_within_a_factor_of_seven_and_a_half():
    far = [opening(7, day) for day in range(10**6, 10**9, 10**7)]
    assert min(far) > 1 / 7.5
    assert max(far) < 7.5
    assert min(far) < 0.5
    assert max(far) > 2


def test_the_past_is_no_mirror_of_the_future():
    # In a mirror, the two would differ by the drift alone.
    apart = log(opening(7, -40) / opening(7, 40))
    assert abs(apart - 0.028**2 * 40) > 0.01
