from fractions import Fraction
from itertools import pairwise

import pytest
from gridexchange.market.feed import HOLD, REPEAT, Feed, Pace

from .conftest import MINUTE_MS, make_series

UNIT = 10**8
RISING = (10, 14, 8, 12)  # open, high, low, close
FALLING = (12, 15, 7, 9)


def walk(feed: Feed, legs: int) -> list[int]:
    return [feed.price(position) // UNIT for position in range(legs)]


def test_rising_candle_goes_low_first_and_falling_candle_high_first():
    assert walk(Feed(make_series(RISING, FALLING)), 8) == [10, 8, 14, 12, 12, 15, 7, 9]


def test_candle_that_closes_where_it_opened_counts_as_rising():
    assert walk(Feed(make_series((10, 14, 8, 10))), 4) == [10, 8, 14, 10]


def test_recording_repeats_with_times_going_on():
    feed = Feed(make_series(RISING, FALLING), REPEAT)
    assert walk(feed, 12)[8:] == [10, 8, 14, 12]
    times = [feed.candle(number).time for number in range(5)]
    assert [later - earlier for earlier, later in pairwise(times)] == [MINUTE_MS] * 4


def test_recording_holds_at_its_last_close():
    feed = Feed(make_series(RISING, FALLING), HOLD)
    assert [feed.limit(position) for position in (0, 7, 8, 1000)] == [0, 7, 7, 7]


def test_forming_candle_knows_only_what_was_walked():
    feed = Feed(make_series(RISING))
    seen = [tuple(price // UNIT for price in feed.forming(leg)[1:5]) for leg in range(4)]
    assert seen == [(10, 10, 10, 10), (10, 10, 8, 8), (10, 14, 8, 14), (10, 14, 8, 12)]


@pytest.mark.parametrize("speed", [Fraction(1), Fraction(60), Fraction(600), Fraction(7, 3)])
def test_leg_is_due_exactly_at_its_time(speed):
    pace = Pace(speed, MINUTE_MS)
    for legs in (1, 2, 3, 41, 1000):
        due = pace.due_ms(legs)
        assert pace.legs(due) == legs
        assert pace.legs(due - 1) == legs - 1


def test_legs_are_quarters_of_the_candle():
    pace = Pace(Fraction(60), MINUTE_MS)
    assert [pace.legs(ms) for ms in (0, 249, 250, 999, 1000)] == [0, 0, 1, 3, 4]
