"""Sums over pairs that are settled: what the books begin with after a restart. Pure."""

import json
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

ZERO = Decimal(0)


@dataclass(frozen=True)
class Totals:
    """What settled pairs of one grid add to its books.

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
    document = asdict(totals)
    document["cycles"] = document.pop("attempts")
    return json.dumps(document, default=str)


def totals_of(text: str) -> Totals:
    """Stored totals read back."""
    document = json.loads(text, object_hook=_exact)
    document["attempts"] = document.pop("cycles")
    return Totals(**document)


def _exact(document: dict[str, Any]) -> dict[str, Any]:
    """Amounts are texts, and nothing else is."""
    return {key: Decimal(cell) if isinstance(cell, str) else cell for key, cell in document.items()}
