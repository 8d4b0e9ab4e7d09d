"""Ansible filter: the price at which a grid's synthetic market begins."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

UNKNOWN = "46000"  # the range comes from the market, or is no range: the bot says what is wrong
SMALLEST = Decimal("0.00000001")


def start_price(grid: dict, wanted: object = "") -> str | float:
    """Return the start price (quote) as text; an amount without quotes as it is, to be refused.

    Args:
        grid: C(lower) and C(upper) (quote), as the inventory has them.
        wanted: What the inventory sets; empty takes the middle of the range.
    """
    if isinstance(wanted, float):
        return wanted
    if str(wanted or ""):
        return str(wanted)
    try:
        lower, upper = (Decimal(str(grid.get(key) or "")) for key in ("lower", "upper"))
    except InvalidOperation:
        return UNKNOWN
    if not 0 < lower < upper < Decimal("Infinity"):
        return UNKNOWN
    middle = format(((lower + upper) / 2).quantize(SMALLEST), "f")
    return middle.rstrip("0").rstrip(".")


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"grid_bot_start_price": start_price}
