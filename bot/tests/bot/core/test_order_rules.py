"""What the exchange's rules refuse of a grid's prices, at their exact bounds."""

from dataclasses import replace
from decimal import Decimal

import pytest
from gridbase.errors import UserError
from gridbot.core.order_rules import check_orders

from .conftest import BTC

LINES = tuple(map(Decimal, ("45000", "55000", "65000")))
PRICE = Decimal(55_000)


def check(price=PRICE, empty=1, **rules):
    market = replace(BTC, max_orders=None, buy_band=None, sell_band=None, **rules)
    check_orders(market, LINES, price, empty)


def test_the_exchanges_own_bounds_are_allowed():
    check(min_price=Decimal(45_000), max_price=Decimal(65_000))
    check(min_price=None, max_price=None)


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_lines_beyond_them_are_refused_wherever_the_grid_begins(empty):
    with pytest.raises(
        UserError, match=r"^grid\.upper = 65000 is above .*: use 64999\.99 or less$"
    ):
        check(empty=empty, max_price=Decimal("64999.99"))
    with pytest.raises(
        UserError, match=r"^grid\.lower = 45000 is below .*: use 45000\.01 or more$"
    ):
        check(empty=empty, min_price=Decimal("45000.01"))
