"""The order book of others, between two times that it is shown. Pure.

What trades, and what the account takes, is gone from it until it is shown again.
"""

from collections.abc import Iterator
from decimal import Decimal

from gridexchange.live.events import Shown, Traded
from gridexchange.matching.amounts import ZERO, subtract
from gridexchange.matching.matching import Level
from gridexchange.matching.orders import BUY


class Depth:
    """Bids and asks, the best first; empty at first."""

    def __init__(self) -> None:
        self._bids: list[Level] = []
        self._asks: list[Level] = []

    def show(self, shown: Shown) -> None:
        """Take the book as it is shown."""
        self._bids, self._asks = list(shown.bids), list(shown.asks)

    def offered(self, side: str) -> list[Level]:
        """What a taker on one side can have, the best first: the asks for a BUY."""
        return self._asks if side == BUY else self._bids

    def walk(self, side: str, limit: Decimal | None, quantity: Decimal) -> Iterator[Level]:
        """What a taker would trade, level by level.

        Args:
            side: the taker's.
            limit: the worst price that it takes (quote); None for any.
            quantity: most that it takes (base).
        """
        for price, there in list(self.offered(side)):
            beyond = limit is not None and (price > limit if side == BUY else price < limit)
            if beyond or quantity <= 0:
                return
            share = min(there, quantity)
            quantity = subtract(quantity, share)
            if share > 0:
                yield price, share

    def take(self, side: str, quantity: Decimal) -> None:
        """A taker has had so much (base) of the best levels."""
        levels = self.offered(side)
        while levels and quantity > 0:
            price, there = levels.pop(0)
            if there > quantity:
                levels.insert(0, (price, subtract(there, quantity)))
            quantity = subtract(quantity, there)

    def trade(self, trade: Traded) -> None:
        """Others have traded: what was better than their price must have gone before."""
        side = "SELL" if trade.seller_took else BUY
        levels = self.offered(side)
        while levels and _better(levels[0][0], trade.price, side):
            levels.pop(0)
        if levels and levels[0][0] == trade.price:
            self.take(side, min(trade.quantity, levels[0][1]))

    def ahead(self, side: str, price: Decimal) -> Decimal | None:
        """How much rests at a price already (base); None where the book is not shown so far.

        Args:
            side: of the order that is to rest there.
            price: its price (quote).
        """
        levels = self._bids if side == BUY else self._asks
        if not levels or _better(levels[-1][0], price, "SELL" if side == BUY else BUY):
            return None
        return next((there for level, there in levels if level == price), ZERO)


def _better(price: Decimal, than: Decimal, side: str) -> bool:
    """Whether a price is better for a taker on one side."""
    return price < than if side == BUY else price > than
