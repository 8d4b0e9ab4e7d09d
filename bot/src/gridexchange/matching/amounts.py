"""Exact decimal arithmetic of the exchange's books, and how amounts are printed."""

from decimal import ROUND_UP, Decimal
from functools import lru_cache

from gridbase.market import EXACT

ZERO = Decimal(0)
COMMISSION_UNIT = Decimal("0.00000001")
PRINTED_DECIMALS = 8
NOTHING = "0.00000000"
# The same prices and quantities are printed over and over.
AMOUNTS_KEPT = 1024


def add(left: Decimal, right: Decimal) -> Decimal:
    """Exact sum."""
    return EXACT.add(left, right)


def subtract(left: Decimal, right: Decimal) -> Decimal:
    """Exact difference."""
    return EXACT.subtract(left, right)


def multiply(left: Decimal, right: Decimal) -> Decimal:
    """Exact product."""
    return EXACT.multiply(left, right)


def commission_on(amount: Decimal, rate: Decimal) -> Decimal:
    """Commission at eight decimals, rounded up.

    Rounded up, what is left of a bought quantity is exactly the floor of ``q * (1 - rate)`` at
    eight decimals, which is what the grid's own arithmetic (floored to the lot) expects.

    Args:
        amount: what the rate applies to, in the coin the commission is paid in.
        rate: share of it, such as 0.001.
    """
    return EXACT.multiply(amount, rate).quantize(COMMISSION_UNIT, ROUND_UP, EXACT)


@lru_cache(AMOUNTS_KEPT)
def printed(amount: Decimal) -> str:
    """An amount as the API prints it: at least eight decimals, never rounded."""
    if not amount:
        return NOTHING  # of either sign: equal amounts share what is kept
    text = format(amount, "f")
    whole, _, fraction = text.partition(".")
    if len(fraction) > PRINTED_DECIMALS:
        fraction = fraction[:PRINTED_DECIMALS] + fraction[PRINTED_DECIMALS:].rstrip("0")
    return f"{whole}.{fraction.ljust(PRINTED_DECIMALS, '0')}"


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Whether `value` is a whole number of `step`s."""
    return EXACT.remainder(value, step) == 0
