"""The figures that people ask for: exact money, percentages for reading."""

from dataclasses import replace
from decimal import Decimal

import pytest
from gridbot.accounting.grid_figures import (
    DAY_MS,
    Profit,
    average_cost,
    distance_percent,
    next_orders,
    profit,
)
from gridbot.core.orders import Order, OrderState, Role, Side

D = Decimal


def test_profit_is_exact_and_its_percentages_are_cut():
    assert profit(D(9000), D("9123.456789012345678"), DAY_MS - 1) == Profit(
        D("123.456789012345678"), D("1.37")
    )


@pytest.mark.parametrize(
    ("days", "per_day", "per_year"), [("1", "12", "438.00"), ("2.5", "4.8", "175.20")]
)
def test_average_day_and_year(days, per_day, per_year):
    earned = profit(D(1000), D(1012), int(D(days) * DAY_MS))
    assert (earned.per_day, earned.per_year_percent) == (D(per_day), D(per_year))


def test_a_loss_is_one():
    assert profit(D(1000), D(990), 10 * DAY_MS) == Profit(D(-10), D(-1), D(-1), D("-36.5"))


def test_parts_of_a_minute_change_nothing():
    assert profit(D(7), D(9), 2 * DAY_MS + 59_999) == profit(D(7), D(9), 2 * DAY_MS)
    assert profit(D(7), D(9), 2 * DAY_MS + 60_000) != profit(D(7), D(9), 2 * DAY_MS)


def test_an_investment_of_less_than_one_coin_has_a_percentage():
    assert profit(D("0.5"), D("0.6"), 1) == Profit(D("0.1"), D(20))


def test_nothing_invested_has_no_percentage():
    assert profit(D(0), D(5), 2 * DAY_MS) == Profit(D(5), None, D("2.5"), None)


def test_average_cost():
    assert average_cost(D("0.3"), D("15000.01")) == D("50000.03333333")
    assert average_cost(D(0), D(3)) is None


def test_distance():
    assert distance_percent(D(50_000), D(49_000)) == D(-2)
    assert distance_percent(D(3), D(4)) == D("33.33")


def order(side, price, state=OrderState.OPEN):
    place = f"{price}{side[0]}"
    return Order(place, place, Role.GRID, side, 1, 1, D(price), D(1), state, "1", 0)


def test_the_next_orders_are_the_open_ones_next_to_the_price():
    orders = [order(Side.BUY, 47), order(Side.BUY, 49), order(Side.BUY, 48)]
    orders += [order(Side.SELL, 53), order(Side.SELL, 51), order(Side.SELL, 52)]
    assert next_orders(orders) == {Side.BUY: orders[1], Side.SELL: orders[4]}
    orders[1] = replace(orders[1], state=OrderState.INTENDED)
    assert next_orders(orders)[Side.BUY] == orders[2]
    assert next_orders([]) == {}
