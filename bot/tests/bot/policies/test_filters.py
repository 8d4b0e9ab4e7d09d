"""The filters: when they pause buys, when they end it, and that they do not flap."""

import itertools
import math
from decimal import Decimal

import pytest
from gridbot.config.settings import SETTINGS
from gridbot.indicators.candle_cache import INTERVALS, MOST_CANDLES
from gridbot.indicators.window import CandleWindow
from gridbot.policies.buy_filters import (
    LOOK_BACK,
    TrendFilter,
    VolatilityFilter,
)

from .conftest import MINUTE, candle, from_closes, walk, window_of

TREND = TrendFilter(enabled=True, adx_period=14, adx_above=Decimal(25), fast=5, slow=20)
CALM = VolatilityFilter(enabled=True, atr_period=14, atr_above_percent=Decimal(3))


def falling(count: int, start: float = 50_000) -> list[float]:
    return [start - 40 * index for index in range(count)]


def sideways(count: int, around: float = 50_000) -> list[float]:
    return [
        around + 60 * math.sin(1.3 * index) + 20 * math.sin(3.1 * index) for index in range(count)
    ]


def test_a_downtrend_pauses_and_says_why():
    window = window_of(from_closes(sideways(100) + falling(60)))
    assert TREND.verdict(window) == "downtrend: ADX 93.9 above 25, EMA 5 below EMA 20"


@pytest.mark.parametrize("average", ["ema", "sma"])
@pytest.mark.parametrize(
    ("closes", "buys"),
    [
        (sideways(200), True),
        (sideways(100) + falling(60), False),
        (sideways(100) + [50_000 + 40 * index for index in range(60)], True),
        (sideways(100) + falling(60) + sideways(60, 47_600), True),
    ],
    ids=["sideways", "down", "up", "down and over"],
)
def test_which_markets_pause(average, closes, buys):
    rules = TrendFilter(enabled=True, average=average, fast=5, slow=20)
    verdict = rules.verdict(window_of(from_closes(closes)))
    assert (verdict is None) == buys
    assert buys or average.upper() in verdict


def test_a_turn_ends_a_downtrend_however_strong_it_was():
    turned = sideways(100) + falling(60) + [47_640 + 300 * index for index in range(4)]
    window = window_of(from_closes(turned))
    assert window.adx(14).line.latest(1)[-1] > 75
    assert TREND.verdict(window) is None
    window = window_of(from_closes(turned[:-1]))
    assert TREND.verdict(window).startswith("downtrend: ")


def test_a_filter_that_is_off_says_nothing_and_computes_nothing():
    window = window_of(from_closes(falling(100)))
    before = window.nbytes
    assert TrendFilter().verdict(window) is None
    assert VolatilityFilter().verdict(window) is None
    assert window.nbytes == before


def test_too_few_candles_pause():
    window = window_of(from_closes(sideways(27)))
    assert TREND.verdict(window) == "trend filter waits for candles: 27 of 28"
    assert CALM.verdict(window_of(from_closes(sideways(14)))) == (
        "volatility filter waits for candles: 14 of 15"
    )
    assert TREND.verdict(window_of(from_closes(sideways(28)))) is None
    assert CALM.verdict(window_of(from_closes(sideways(15)))) is None


def ranges(percents: list[float]) -> list:
    """Candles around 1000 that are so many percent of it high."""
    return [
        candle(index, 1000, 1000 + 5 * percent, 1000 - 5 * percent, 1000)
        for index, percent in enumerate(percents)
    ]


def test_volatility_pauses_and_says_why():
    assert CALM.verdict(window_of(ranges([1] * 30 + [9] * 10))) == (
        "volatile: ATR 5.19 % above 3 %"
    )
    assert CALM.verdict(window_of(ranges([1] * 30))) is None


def verdicts(rules, candles) -> list[bool]:
    """Whether buys are paused after each candle."""
    window = CandleWindow(MINUTE, 500)
    paused = []
    for each in candles:
        window.append(each)
        paused.append(rules.verdict(window) is not None)
    return paused


def switches(paused: list[bool]) -> int:
    return sum(before != after for before, after in itertools.pairwise(paused))


def test_volatility_around_the_threshold_does_not_flap():
    """The ATR swings between 2.8 and 3.2 %: one pause, until it is clearly below."""
    rules = VolatilityFilter(enabled=True, atr_period=1, atr_above_percent=Decimal(3))
    paused = verdicts(rules, ranges([2.8, 3.2] * 20 + [2.71] * 5 + [2.69, 2.9]))
    # The first candle has no true range yet, and the second is where it begins.
    assert paused == [True] + [True] * 44 + [False, False]


def test_the_reason_says_that_a_pause_is_only_held():
    rules = VolatilityFilter(enabled=True, atr_period=1, atr_above_percent=Decimal(3))
    assert rules.verdict(window_of(ranges([1, 3.2, 2.8]))) == (
        "volatile: ATR 2.80 % not below 2.7 %"
    )
    recovering = [47_640 + 10 * index for index in range(20)]
    window = window_of(from_closes(sideways(100) + falling(60) + recovering))
    assert TREND.verdict(window) == (
        "downtrend not over: ADX 55.0 not below 22.5, EMA 5 not clearly above EMA 20"
    )


def test_the_reason_is_that_of_the_latest_candle():
    window, told = CandleWindow(MINUTE, 500), []
    for each in walk(1_000, seed=11, step=0.004):
        window.append(each)
        verdict = TREND.verdict(window)
        if verdict is None or "waits for candles" in verdict:
            continue
        adx = window.adx(14).line.value
        begins = adx > 25 and window.ema(5).line.value < window.ema(20).line.value
        told.append(begins)
        assert verdict.startswith("downtrend: " if begins else "downtrend not over: ")
    assert switches(told) > 4


def test_a_pause_that_nothing_confirms_is_over_after_the_look_back():
    rules = VolatilityFilter(enabled=True, atr_period=1, atr_above_percent=Decimal(3))
    paused = verdicts(rules, ranges([1, 3.2] + [2.8] * 60))
    assert paused == [True] + [True] * LOOK_BACK + [False] * (61 - LOOK_BACK)


def test_hysteresis_switches_less_than_the_bare_threshold():
    candles = walk(2_000, seed=11, step=0.004)
    window = CandleWindow(MINUTE, 2_000)
    bare = []
    for each in candles:
        window.append(each)
        adx = window.adx(14).line.value
        fast, slow = window.ema(5).line.value, window.ema(20).line.value
        bare.append(adx is not None and slow is not None and adx > 25 and fast < slow)
    paused = verdicts(TREND, candles)[28:]
    assert any(paused)
    assert not all(paused)
    assert switches(paused) < switches(bare[28:])


@pytest.mark.parametrize("seed", range(4))
def test_a_restart_judges_as_an_uninterrupted_run_does(seed):
    """A verdict is a function of the candles that `needs` names: nothing else is remembered."""
    candles = walk(1_200, seed=seed, step=0.004)
    running = CandleWindow(MINUTE, MOST_CANDLES)
    _, count = TREND.needs()
    different = 0
    for index, each in enumerate(candles):
        running.append(each)
        verdict = TREND.verdict(running)
        if index >= count and index % 20 == 0:
            restarted = window_of(candles[index + 1 - count : index + 1])
            different += (verdict is None) != (TREND.verdict(restarted) is None)
    assert different == 0


def test_the_largest_periods_fit_into_one_answer_of_the_exchange():
    assert TrendFilter(adx_period=79, slow=211).needs()[1] < MOST_CANDLES
    assert VolatilityFilter(atr_period=86).needs()[1] < MOST_CANDLES
    for widest in (TrendFilter(adx_period=200, slow=500), VolatilityFilter(atr_period=200)):
        assert widest.needs()[1] == MOST_CANDLES
    assert TrendFilter().needs() == ("1h", 225 + LOOK_BACK)
    assert TrendFilter(average="sma", adx_period=2).needs() == ("1h", 50 + LOOK_BACK)
    assert TrendFilter(adx_period=20, slow=10).needs() == ("1h", 240 + LOOK_BACK)
    assert VolatilityFilter().needs() == ("15m", 155 + LOOK_BACK)


@pytest.mark.parametrize(
    ("table", "policy"), [("trend", TrendFilter()), ("volatility", VolatilityFilter())]
)
def test_defaults_are_those_of_the_settings(table, policy):
    own = {f"{table}.{name}": value for name, value in vars(policy).items()}
    assert own == {name: SETTINGS[name].default for name in own}
    assert {TrendFilter().interval, VolatilityFilter().interval} <= set(INTERVALS)
