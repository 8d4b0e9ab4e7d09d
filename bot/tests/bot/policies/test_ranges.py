"""Where a grid goes: after the price, onto levels, and by how much the market moves."""

from decimal import Decimal

import pytest
from gridbase.errors import ExitCode, UserError
from gridbot.core.grid import Spacing
from gridbot.indicators.candle_cache import MOST_CANDLES
from gridbot.indicators.window import CandleWindow
from gridbot.policies.atr_range import atr_range, candles_for_range
from gridbot.policies.range_moves import CONFIRM_MS, Reposition, left, new_range
from gridbot.policies.support_resistance import Level, find_levels
from hypothesis import given
from hypothesis import strategies as st

from .conftest import HOUR, MINUTE, candle, from_closes, talib_candles, walk, window_of

LOWER, UPPER = Decimal(40_000), Decimal(60_000)
NOW = 1_000_000 * HOUR
BOTH = Reposition(direction="both", margin_percent=Decimal(1), cooldown_minutes=60)


def move(rules=BOTH, price="70000", **changes):
    arguments = {
        "spacing": Spacing.ARITHMETIC,
        "now_ms": NOW,
        "left_since_ms": NOW - CONFIRM_MS,
        "last_ms": None,
        "levels": [],
    } | changes
    return new_range(rules, LOWER, UPPER, Decimal(price), **arguments)


@pytest.mark.parametrize(
    ("direction", "ways"),
    [
        ("off", [None, None, None, None, None]),
        ("up", [None, None, None, None, "up"]),
        ("down", ["down", None, None, None, None]),
        ("both", ["down", None, None, None, "up"]),
    ],
)
def test_which_way_the_price_has_left(direction, ways):
    rules = Reposition(direction=direction, margin_percent=Decimal(1))
    prices = ["39599.99", "39600", "50000", "60600", "60600.01"]
    assert [left(rules, LOWER, UPPER, Decimal(price)) for price in prices] == ways


def test_the_width_is_kept_and_the_price_is_in_the_middle():
    assert move(price="70000") == (Decimal(60_000), Decimal(80_000))
    assert move(price="35000") == (Decimal(25_000), Decimal(45_000))


def test_a_geometric_range_keeps_its_ratio():
    lower, upper = move(price="70000", spacing=Spacing.GEOMETRIC)
    assert upper / lower == pytest.approx(Decimal("1.5"), rel=Decimal("1e-30"))
    assert lower * upper == pytest.approx(Decimal(70_000) ** 2, rel=Decimal("1e-25"))


@pytest.mark.parametrize("price", ["10000", "15000"])
def test_a_width_that_could_reach_below_zero_becomes_a_ratio(price):
    lower, upper = move(price=price)
    assert lower > 0
    assert upper / lower == pytest.approx(Decimal("1.5"), rel=Decimal("1e-25"))


@pytest.mark.parametrize(
    ("changes", "moves"),
    [
        ({"left_since_ms": None}, False),
        ({"left_since_ms": NOW - CONFIRM_MS + 1}, False),
        ({"left_since_ms": NOW - CONFIRM_MS}, True),
        ({"last_ms": NOW - HOUR + 1}, False),
        ({"last_ms": NOW - HOUR}, True),
        ({"price": "60600"}, False),
        ({"rules": Reposition()}, False),
        ({"rules": Reposition(direction="down")}, False),
    ],
)
def test_when_it_moves(changes, moves):
    assert (move(**changes) is not None) == moves


LEVELS = Reposition(direction="both", margin_percent=Decimal(1), at="levels")


@pytest.mark.parametrize(
    ("price", "levels", "bounds"),
    [
        # Risen to 70,000: the bottom would be 60,000, and may rest from 55,000 to 65,000.
        ("70000", ["61000", "58000"], ("61000", "81000")),
        ("70000", ["55000"], ("55000", "75000")),
        ("70000", ["65000"], ("65000", "85000")),
        ("70000", ["54999", "65001"], ("60000", "80000")),
        ("70000", ["59000", "61000"], ("59000", "79000")),
        # Fallen to 35,000: the top would be 45,000.
        ("35000", ["44000", "60000"], ("24000", "44000")),
        ("35000", [], ("25000", "45000")),
    ],
)
def test_at_levels_the_range_rests_on_the_nearest_one(price, levels, bounds):
    found = move(LEVELS, price, levels=[Decimal(level) for level in levels])
    assert found == tuple(Decimal(bound) for bound in bounds)


NOISE = Decimal("1e-20")
prices = st.decimals(min_value=Decimal("0.01"), max_value=10**6, places=8)


@given(
    price=prices,
    levels=st.lists(prices, max_size=20),
    spacing=st.sampled_from(Spacing),
    rules=st.sampled_from([BOTH, LEVELS]),
)
def test_wherever_it_moves_the_price_is_in_the_middle_half(price, levels, spacing, rules):
    found = move(rules, price, levels=levels, spacing=spacing)
    if found is None:
        return
    lower, upper = found
    assert 0 < lower < price < upper
    if spacing is Spacing.ARITHMETIC and price > 15_000:
        place = (price - lower) / (upper - lower)
        assert upper - lower == UPPER - LOWER
    else:
        place = (price / lower).ln() / (upper / lower).ln()
        assert upper / lower == pytest.approx(UPPER / LOWER, rel=Decimal("1e-20"))
    assert Decimal("0.25") - NOISE <= place <= Decimal("0.75") + NOISE


def test_levels_are_where_the_market_turned_twice():
    # Two tops at 110, a dip to 100 between them, one lonely top at 130.
    path = [
        100,
        103,
        106,
        110,
        106,
        103,
        100,
        103,
        106,
        110,
        106,
        103,
        100,
        115,
        125,
        130,
        125,
        115,
    ]
    window = window_of(from_closes(path, HOUR), interval=HOUR)
    assert find_levels(window, 100) == [Level(Decimal(100), 2), Level(Decimal(110), 2)]
    assert find_levels(window, 8) == []


def test_six_candles_suffice_for_a_level_and_fewer_have_none():
    """A top and a low a candle later, closer together than half a mean true range.

    Of the first candle only the close counts: it makes the second one's true range.
    """
    calm = ("109.4", "109.8", "109.2", "109.5")
    top, low = ("109.4", "110", "109.2", "109.5"), ("109.4", "109.8", "109", "109.5")
    path = [(50, 51, 49, 50), calm, top, low, calm, calm]
    candles = [candle(index, *prices, interval=HOUR) for index, prices in enumerate(path)]
    for count in range(1, 6):
        assert find_levels(window_of(candles[-count:], interval=HOUR), 100) == []
    window = window_of(candles, interval=HOUR)
    assert find_levels(window, 100) == [Level(Decimal("109.5"), 2)]


def test_swings_close_together_are_one_level_at_their_mean():
    path = [100, 103, 106, 110, 106, 103, 100, 103, 106, 111, 106, 103, 101, 103, 106]
    window = window_of(from_closes(path, HOUR), interval=HOUR)
    assert find_levels(window, 100) == [Level(Decimal("100.5"), 2), Level(Decimal("110.5"), 2)]


def test_levels_do_not_grow_into_each_other():
    """110 and 111.5 are one level; 113 is too far from 110, though not from 111.5."""
    tops = [[104, 107, top, 106, 101] for top in (110, 111.5, 113)]
    path = [100, *tops[0], 95, *tops[1], 90, *tops[2]]
    window = window_of(from_closes(path, HOUR), interval=HOUR)
    assert 1.5 < window.true_ranges(17).mean() / 2 < 3
    assert find_levels(window, 100) == [Level(Decimal("110.75"), 2)]


def test_no_levels_in_a_market_that_only_rises_or_stands_still():
    assert find_levels(window_of(from_closes(range(1, 50))), 100) == []
    assert find_levels(window_of([candle(index, 7) for index in range(50)]), 100) == []
    assert find_levels(CandleWindow(MINUTE, 10), 100) == []
    assert find_levels(window_of(from_closes([1, 2, 3, 2])), 100) == []


def test_levels_are_the_same_whenever_they_are_asked_for():
    window = window_of(walk(500, seed=8))
    found = find_levels(window, 200)
    assert found == find_levels(window, 200)
    assert found == sorted(found, key=lambda level: level.price)
    lows, highs = window.lows(200), window.highs(200)
    assert found
    assert all(float(min(lows)) <= level.price <= float(max(highs)) for level in found)
    assert all(level.touches >= 2 for level in found)


def test_the_range_reaches_so_many_atr_to_each_side():
    window = window_of(talib_candles())
    average = window.atr(14).line.decimal
    assert f"{average:.4f}" == "3.2608"
    lower, upper = atr_range(window, Decimal("107.87"), 14, Decimal(3))
    assert (lower, upper) == (Decimal("107.87") - 3 * average, Decimal("107.87") + 3 * average)


def test_a_coin_of_little_worth_has_a_range_too():
    window = window_of(from_closes([0.5, 0.6] * 20))
    lower, upper = atr_range(window, Decimal("0.6"), 14, Decimal(2))
    assert (round(lower, 4), round(upper, 4)) == (Decimal("0.4"), Decimal("0.8"))


def test_the_candles_of_a_range_are_enough():
    """A restart that fetches so many finds the range of a longer run to a thousandth."""
    candles = walk(1_000, seed=2)
    long = window_of(candles).atr(14).line.value
    short = window_of(candles[-candles_for_range(14) :]).atr(14).line.value
    assert short == pytest.approx(long, rel=1e-3)


def test_a_range_asks_for_no_more_candles_than_it_needs_or_one_answer_holds():
    assert candles_for_range(14) == 11 * 14 + 1
    assert candles_for_range(MOST_CANDLES) == MOST_CANDLES


def test_too_few_candles_for_a_range():
    window = window_of(from_closes([1, 2, 3]))
    with pytest.raises(UserError, match=r"grid\.atr_period = 14 needs 15 closed candles") as error:
        atr_range(window, Decimal(3), 14, Decimal(3))
    assert error.value.exit_code == ExitCode.EXCHANGE


def test_a_market_that_stands_still_has_no_range():
    window = window_of([candle(index, 7) for index in range(50)])
    with pytest.raises(UserError, match="the ATR over 14 candles is 0"):
        atr_range(window, Decimal(7), 14, Decimal(3))


def test_a_range_that_would_reach_zero_is_refused():
    window = window_of(from_closes([10, 20] * 20))
    with pytest.raises(UserError, match=r"grid.atr_multiple = 2 times .* use less than 1\.5$"):
        atr_range(window, Decimal(15), 14, Decimal(2))
    with pytest.raises(UserError, match="reaches 0 or less"):
        atr_range(window, Decimal(15), 14, Decimal("1.5"))
    assert atr_range(window, Decimal(15), 14, Decimal("1.4"))[0] == 1
