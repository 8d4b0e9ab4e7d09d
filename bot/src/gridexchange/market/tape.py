"""The trades that a market's walk stands for: so many in each leg, numbered without holes. Pure.

They go in equal steps from where a leg begins to where it ends, on the tick. Where the price falls
the seller takes, where it rises the buyer does.
"""

from dataclasses import dataclass
from decimal import Decimal

from gridbase.candles.price_units import from_units
from gridbase.market import EXACT, floor_to_lot, round_to_tick

from gridexchange.market.feed import LEGS, Feed
from gridexchange.matching.rules import Rules

TRADES_OF_A_LEG = 8


@dataclass(frozen=True)
class TapeTrade:
    """A trade of others.

    Attributes:
        number: counts from 0, which the market's first leg begins with.
        price: quote.
        quantity: base.
        seller_took: whether the buyer's order was resting.
    """

    number: int
    price: Decimal
    quantity: Decimal
    seller_took: bool


def last_number(position: int) -> int:
    """Number of the last trade once the leg at `position` is done."""
    return (position + 1) * TRADES_OF_A_LEG - 1


def position_of(number: int) -> int:
    """The leg that a trade belongs to."""
    return number // TRADES_OF_A_LEG


def trade(feed: Feed, rules: Rules, number: int) -> TapeTrade:
    """The trade with a number, which a market with these rules has seen."""
    position, step = divmod(number, TRADES_OF_A_LEG)
    begin, end = feed.price(max(0, position - 1)), feed.price(position)
    units = begin + (end - begin) * (step + 1) // TRADES_OF_A_LEG
    price = round_to_tick(from_units(units), rules.market.tick_size)
    traded = Decimal(str(feed.candle(position // LEGS).volume))
    share = EXACT.divide(traded, LEGS * TRADES_OF_A_LEG)
    quantity = max(floor_to_lot(share, rules.market.lot_size), rules.market.min_quantity)
    return TapeTrade(number, price, quantity, end < begin)
