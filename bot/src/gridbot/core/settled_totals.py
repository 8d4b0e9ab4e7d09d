"""Sums over pairs that are archived: what the books begin with after a restart. Pure."""

import json
from dataclasses import dataclass, field
from decimal import Decimal

ZERO = Decimal(0)


@dataclass(frozen=True)
class Totals:
    """What archived pairs of one grid add to its books.

    Attributes:
        flows: net flow of every coin, fees included; base that lots left over is in it.
        fees: fees by coin.
        fees_in_quote: fees in base and quote, each at its fill's price (quote).
        grid_profit: what the pairs earned (quote).
        buys: their buy legs.
        sells: their sell legs.
        matched: cost that their sells have taken of an initial leg (quote), by its id.
        attempts: highest running number of their orders, by place (see `orders.order_place`).
    """

    flows: dict[str, Decimal] = field(default_factory=dict)
    fees: dict[str, Decimal] = field(default_factory=dict)
    fees_in_quote: Decimal = ZERO
    grid_profit: Decimal = ZERO
    buys: int = 0
    sells: int = 0
    matched: dict[str, Decimal] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)


def totals_text(totals: Totals) -> str:
    """Totals as stored."""
    return json.dumps(
        {
            "flows": _texts(totals.flows),
            "fees": _texts(totals.fees),
            "fees_in_quote": str(totals.fees_in_quote),
            "grid_profit": str(totals.grid_profit),
            "buys": totals.buys,
            "sells": totals.sells,
            "matched": _texts(totals.matched),
            "cycles": totals.attempts,
        },
        sort_keys=True,
    )


def totals_of(text: str) -> Totals:
    """Stored totals read back."""
    document = json.loads(text)
    return Totals(
        flows=_amounts(document["flows"]),
        fees=_amounts(document["fees"]),
        fees_in_quote=Decimal(document["fees_in_quote"]),
        grid_profit=Decimal(document["grid_profit"]),
        buys=document["buys"],
        sells=document["sells"],
        matched=_amounts(document["matched"]),
        attempts=document["cycles"],
    )


def _texts(amounts: dict[str, Decimal]) -> dict[str, str]:
    return {key: str(amount) for key, amount in amounts.items()}


def _amounts(texts: dict[str, str]) -> dict[str, Decimal]:
    return {key: Decimal(text) for key, text in texts.items()}
