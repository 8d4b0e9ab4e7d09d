from decimal import Decimal
from itertools import pairwise

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
        4_718_869_000_000,
        4_721_639_000_000,
        4_716_259_000_000,
        4_721_639_000_000,
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


def test_volatility_is_that_of_a_market_and_the_price_comes_back():
    series = make()
    closes = [series.candle(index).close / 10**8 for index in range(CANDLES)]
    changes = [b / a - 1 for a, b in pairwise(closes)]
    per_minute = (sum(x * x for x in changes) / len(changes)) ** 0.5
    assert 0.0004 < per_minute < 0.0015
    assert 42_000 < min(closes) < 49_000
    assert 51_000 < max(closes) < 58_000
    assert 48_000 < sum(closes) / len(closes) < 52_000
