from decimal import Decimal

import pytest
from gridbase.market import floor_to_lot, plain, round_to_tick


@pytest.mark.parametrize(
    ("price", "tick", "expected"),
    [
        ("100.005", "0.01", "100.01"),
        ("100.0049999999", "0.01", "100.00"),
        ("100.015", "0.01", "100.02"),
        ("7", "5", "5"),
        ("7.5", "5", "10"),
        ("0.0000000149", "0.00000001", "0.00000001"),
    ],
)
def test_prices_round_to_the_nearest_tick_half_up(price, tick, expected):
    assert round_to_tick(Decimal(price), Decimal(tick)) == Decimal(expected)


@pytest.mark.parametrize(
    ("quantity", "lot", "expected"),
    [
        ("0.0879", "0.001", "0.087"),
        ("0.087", "0.001", "0.087"),
        ("0.0009", "0.001", "0"),
        ("1E+3", "0.00001", "1000"),
        ("12345678901234567890.123456789", "0.00000001", "12345678901234567890.12345678"),
    ],
)
def test_quantities_are_floored_to_the_lot(quantity, lot, expected):
    assert floor_to_lot(Decimal(quantity), Decimal(lot)) == Decimal(expected)


def test_a_step_of_zero_is_refused():
    with pytest.raises(ValueError, match="step must be above 0"):
        round_to_tick(Decimal(1), Decimal(0))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1E-8", "0.00000001"), ("1.500", "1.5"), ("100", "100"), ("0E-8", "0"), ("-0.10", "-0.1")],
)
def test_amounts_are_written_plainly(value, expected):
    assert plain(Decimal(value)) == expected
