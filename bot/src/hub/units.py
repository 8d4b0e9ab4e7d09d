"""Amounts as whole ticks and lots. Pure and exact."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from gridbase.market import EXACT


@dataclass(frozen=True)
class Units:
    """What a market's amounts are counted in.

    Attributes:
        base: coin that is traded.
        quote: coin that prices are in.
        tick_size: quote per base.
        lot_size: base.
    """

    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal

    def ticks(self, price: Decimal) -> int:
        """A price as ticks; it must be whole."""
        return _count(price, self.tick_size)

    def lots(self, quantity: Decimal) -> int:
        """A quantity as lots; it must be whole."""
        return _count(quantity, self.lot_size)

    def price(self, ticks: int) -> Decimal:
        """Ticks as a price (quote)."""
        return EXACT.multiply(self.tick_size, Decimal(ticks))

    def quantity(self, lots: int) -> Decimal:
        """Lots as a quantity (base)."""
        return EXACT.multiply(self.lot_size, Decimal(lots))

    def finer(self, prices: Iterable[Decimal], quantities: Iterable[Decimal]) -> "Units":
        """These units, or finer ones in which all of these amounts are whole.

        An exchange may make a market's ticks finer while a grid runs.
        """
        return Units(
            self.base,
            self.quote,
            _finer(self.tick_size, prices),
            _finer(self.lot_size, quantities),
        )


def _finer(step: Decimal, amounts: Iterable[Decimal]) -> Decimal:
    for amount in amounts:
        if EXACT.remainder(amount, step) != 0:
            step = Decimal(1).scaleb(min(_exponent(amount), _exponent(step)))
    return step


def _exponent(amount: Decimal) -> int:
    return int(amount.normalize().as_tuple().exponent)


def _count(amount: Decimal, step: Decimal) -> int:
    count = EXACT.divide(amount, step)
    whole = int(count)
    if whole != count:
        raise ValueError(f"{amount} is no multiple of {step}")
    return whole
