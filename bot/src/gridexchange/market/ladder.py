"""What others offer behind the best price: levels that change now and then. Pure.

Each level's quantity follows from its price and from how far the market has come, so that the book
at any moment can be worked out again, and little of it changes from one moment to the next.
"""

from decimal import Decimal
from zlib import crc32

from gridbase.market import EXACT

from gridexchange.matching.matching import Level
from gridexchange.matching.rules import Rules

TICKS_APART = 10
CHANGES_EVERY = 16  # legs that a level keeps its quantity
MOST_LOTS = 5_000


def rungs(
    rules: Rules, position: int, bid: Decimal, ask: Decimal, count: int
) -> tuple[list[Level], list[Level]]:
    """Bids and asks behind the best ones, the best first.

    Args:
        rules: of the symbol.
        position: how many legs the market has made.
        bid: the best bid (quote).
        ask: the best ask (quote).
        count: how many on each side, at most: none is at 0 or below.
    """
    step = EXACT.multiply(rules.market.tick_size, Decimal(TICKS_APART))
    below = int(EXACT.divide(bid, step).to_integral_value(rounding="ROUND_CEILING")) - 1
    above = int(EXACT.divide(ask, step).to_integral_value(rounding="ROUND_FLOOR")) + 1
    lot = rules.market.lot_size

    def level(number: int) -> Level:
        turn = (position + crc32(b"%d" % number)) // CHANGES_EVERY
        lots = 1 + crc32(b"%d %d" % (number, turn)) % MOST_LOTS
        return EXACT.multiply(step, Decimal(number)), EXACT.multiply(lot, Decimal(lots))

    bids = [level(number) for number in range(below, max(0, below - count), -1)]
    return bids, [level(number) for number in range(above, above + count)]
