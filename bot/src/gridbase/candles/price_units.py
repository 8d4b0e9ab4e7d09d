"""Prices as whole numbers of 10^-8 of the quote coin.

Exchanges print at most eight decimals, so a 64-bit integer of this unit holds every printed price
up to 92 billion exactly, compares in one machine instruction, and prints back digit by digit.
"""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

PRICE_DECIMALS = 8
UNITS_PER_QUOTE = 10**PRICE_DECIMALS
MAX_UNITS = 2**63 - 1


def to_units(text: str) -> tuple[int, bool]:
    """Price in units of 10^-8.

    Args:
        text: a printed decimal number, such as ``46319.0`` or ``1.2e-05``.

    Returns:
        The units, and whether digits beyond the eighth decimal had to be rounded (half up).

    Raises:
        ValueError: `text` is no finite number, or too large for 64 bits.
    """
    whole, _, fraction = text.partition(".")
    if len(fraction) <= PRICE_DECIMALS and (whole + fraction).isdigit() and text.isascii():
        units, rounded = int(whole + fraction.ljust(PRICE_DECIMALS, "0")), False
    else:
        units, rounded = _slow_units(text)
    if units > MAX_UNITS:
        raise ValueError("too large")
    return units, rounded


def _slow_units(text: str) -> tuple[int, bool]:
    try:
        exact = Decimal(text.strip()).scaleb(PRICE_DECIMALS)
        units = int(exact.to_integral_value(rounding=ROUND_HALF_UP))
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise ValueError("not a number") from error
    return units, units != exact


def from_units(units: int) -> Decimal:
    """Price in the quote coin, exactly."""
    return Decimal(units).scaleb(-PRICE_DECIMALS)


def print_units(units: int) -> str:
    """Price as text without trailing zeros, such as ``46319`` or ``0.00001234``."""
    whole, fraction = divmod(units, UNITS_PER_QUOTE)
    text = f"{whole}.{fraction:08d}".rstrip("0")
    return text.rstrip(".")
