"""What an exchange allows of a grid's orders: how many, and at which prices. Pure."""

from collections.abc import Sequence
from decimal import Decimal

from gridbase.errors import UserError
from gridbase.market import EXACT, Market, plain


def check_orders(market: Market, lines: Sequence[Decimal], price: Decimal, empty: int) -> None:
    """Refuse a grid with more orders than the exchange takes, or at prices that it does not take.

    Args:
        market: the exchange's rules.
        lines: the grid's prices, from the lowest to the highest (quote).
        price: the start price (quote).
        empty: index of the line without an order.

    Raises:
        UserError: names the setting, its value and what is allowed.
    """
    grids = len(lines) - 1
    if market.max_orders is not None and grids > market.max_orders:
        raise UserError(
            f"grid.grids = {grids} needs as many open orders, and the exchange allows "
            f"{market.max_orders} of a symbol; use at most {market.max_orders} grids"
        )
    _check_limits(market, lines)
    _check_band(market, lines, price, empty)


def _check_limits(market: Market, lines: Sequence[Decimal]) -> None:
    """Every line holds an order sooner or later, the empty one as well."""
    lowest, highest = market.min_price, market.max_price
    if lowest is not None and lines[0] < lowest:
        raise UserError(
            f"grid.lower = {plain(lines[0])} is below the lowest price that the exchange takes: "
            f"use {plain(lowest)} or more"
        )
    if highest is not None and lines[-1] > highest:
        raise UserError(
            f"grid.upper = {plain(lines[-1])} is above the highest price that the exchange takes: "
            f"use {plain(highest)} or less"
        )


def _check_band(market: Market, lines: Sequence[Decimal], price: Decimal, empty: int) -> None:
    """Orders must not be too far from the market's price."""
    if empty > 0 and market.buy_band is not None:
        lowest = EXACT.multiply(price, market.buy_band[0])
        if lines[0] < lowest:
            raise UserError(
                f"grid.lower = {plain(lines[0])} is outside the exchange's price band: at a price "
                f"of {plain(price)} it takes a buy only at or above {plain(lowest)}; use a "
                "narrower range"
            )
    if empty < len(lines) - 1 and market.sell_band is not None:
        highest = EXACT.multiply(price, market.sell_band[1])
        if lines[-1] > highest:
            raise UserError(
                f"grid.upper = {plain(lines[-1])} is outside the exchange's price band: at a price "
                f"of {plain(price)} it takes a sell only at or below {plain(highest)}; use a "
                "narrower range"
            )
