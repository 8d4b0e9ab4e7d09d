"""What the price did between two looks, told by the candles of minutes."""

from decimal import Decimal

import pytest
from gridbot.core.prices import MINUTE_MS, REWOUND_MS, Minute, PriceRange, Seen

START = 100 * REWOUND_MS


def minute(number: float, low: int, high: int, close: int) -> Minute:
    start = START + round(number * MINUTE_MS)
    return Minute(start, Decimal(low), Decimal(high), Decimal(close))


def seen(prices: PriceRange, last: int) -> tuple[int, int, int]:
    found = prices.seen(Decimal(last))
    return int(found.last), int(found.low), int(found.high)


@pytest.fixture
def prices():
    """A market of which a minute is known, and seen."""
    prices = PriceRange()
    prices.take([minute(0, 95, 105, 100)])
    assert seen(prices, 100) == (100, 100, 100)  # when in that minute the low was, nobody knows
    return prices


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([], (100, 100, 100)),
        ([minute(0, 95, 105, 101)], (100, 100, 101)),
        ([minute(0, 94, 105, 100)], (100, 94, 100)),
        ([minute(0, 95, 106, 100)], (100, 100, 106)),
        ([minute(1, 90, 110, 100)], (100, 90, 110)),
        ([minute(0, 93, 105, 100), minute(1, 98, 102, 100)], (100, 93, 102)),
        ([minute(3, 90, 110, 100), minute(2, 80, 120, 100)], (100, 90, 110)),  # a late one
        ([minute(3, 90, 110, 100), minute(2, 80, 120, 80)], (100, 90, 110)),
        ([minute(0, 94, 105, 100), minute(0, 94, 105, 100)], (100, 94, 100)),
        ([minute(-REWOUND_MS / MINUTE_MS, 1, 999, 98)], (100, 100, 100)),
        ([minute(-REWOUND_MS / MINUTE_MS - 1, 1, 999, 98)], (100, 98, 100)),  # set back
    ],
)
def test_what_is_told_anew_counts(prices, told, expected):
    prices.take(told)
    assert seen(prices, 100) == expected
    assert seen(prices, 100) == (100, 100, 100)


def test_a_market_that_was_set_back_goes_on(prices):
    prices.take([minute(-REWOUND_MS / MINUTE_MS - 1, 1, 999, 98)])
    prices.take([minute(-REWOUND_MS / MINUTE_MS, 90, 99, 98)])
    assert seen(prices, 98) == (98, 90, 99)


def test_what_was_before_a_grid_does_not_count(prices):
    prices.take([minute(1, 1, 999, 100)])
    prices.begin()
    prices.take([minute(0, 1, 999, 100), minute(1, 1, 999, 100)])
    assert seen(prices, 100) == (100, 100, 100)
    prices.take([minute(1, 1, 999, 97), minute(2, 96, 99, 98)])
    assert seen(prices, 98) == (98, 96, 99)
    prices.begin()
    prices.take([minute(3, 1, 999, 98)])
    assert seen(prices, 98) == (98, 98, 98)


def test_a_low_that_was_told_twice_is_seen_once(prices):
    for _ in range(2):
        prices.take([minute(0, 94, 105, 100)])
        low = seen(prices, 100)[1]
    assert low == 100


def test_what_is_left_of_a_stream_that_was_cut_is_seen_once(prices):
    prices.take([minute(0, 98, 105, 99), minute(1, 90, 103, 97)])
    assert prices.rest() == Seen(Decimal(97), Decimal(90), Decimal(103))
    assert prices.rest() is None
    prices.take([minute(1, 90, 103, 95)])
    assert seen(prices, 98) == (98, 95, 98)
    prices.begin()
    assert prices.rest() is None


def test_one_price_is_all_three():
    assert Seen.at(Decimal(7)) == Seen(Decimal(7), Decimal(7), Decimal(7))
