"""The fleet as one document: what every bot last said, and how long ago. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gridbase.market import EXACT, plain

# A bot that was not heard for so long is stale: its figures are old, and the page shows them so.
STALE_MS = 120_000
_GRID = (
    "symbol", "base", "quote", "state", "price", "price_ms", "prices", "equity", "investment",
    "grid_profit", "buys", "sells", "open_orders", "paused",
)  # fmt: skip
_AMOUNT = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True)
class Heard:
    """One bot as the hub knows it.

    Attributes:
        name: unique in the fleet.
        mode: paper or live; empty where it is not known yet.
        account: whose money it trades; empty where it is not known.
        exchange: its name.
        version: of the bot.
        heard_ms: when it was last heard (Unix milliseconds); None: never.
        status: what it said then: its /api/status.
        problem: why it cannot be asked; empty where it can.
    """

    name: str
    mode: str
    account: str
    exchange: str
    version: str
    heard_ms: int | None
    status: Mapping[str, Any] | None
    problem: str = ""


def fleet_document(bots: Iterable[Heard], now_ms: int) -> dict[str, Any]:
    """All bots, and sums by mode and currency over those that are not stale.

    Args:
        bots: as they were heard.
        now_ms: Unix milliseconds.
    """
    documents = [_bot(bot, now_ms) for bot in sorted(bots, key=lambda bot: bot.name)]
    return {"bots": documents, "totals": _totals(documents), "stale_after_ms": STALE_MS}


def breakers(bots: Iterable[Heard]) -> list[dict[str, Any]]:
    """The circuit breaker of each bot, as it last said."""
    found = []
    for bot in sorted(bots, key=lambda bot: bot.name):
        circuit = _circuit(bot.status)
        if circuit is not None:
            found.append({"bot": bot.name, "heard_ms": bot.heard_ms, **circuit})
    return found


def _circuit(status: Mapping[str, Any] | None) -> dict[str, Any] | None:
    connection = (status or {}).get("connection")
    circuit = connection.get("circuit") if isinstance(connection, dict) else None
    return dict(circuit) if isinstance(circuit, dict) else None


def _bot(bot: Heard, now_ms: int) -> dict[str, Any]:
    status = bot.status or {}
    health, grids = status.get("health"), status.get("grids")
    health = health if isinstance(health, dict) else {}
    reasons = health.get("reasons")
    grids = [one for one in grids if isinstance(one, dict)] if isinstance(grids, list) else []
    return {
        "name": bot.name,
        "mode": bot.mode,
        "account": bot.account,
        "exchange": bot.exchange,
        "version": bot.version,
        "heard_ms": bot.heard_ms,
        "stale": bot.heard_ms is None or now_ms - bot.heard_ms > STALE_MS,
        "problem": bot.problem,
        "state": status.get("state"),
        "healthy": health.get("ok"),
        "reasons": [str(one) for one in reasons] if isinstance(reasons, list) else [],
        "circuit": (_circuit(status) or {}).get("state"),
        "grids": [_grid(grid) for grid in grids],
    }


def _grid(grid: Mapping[str, Any]) -> dict[str, Any]:
    halt, profit = grid.get("halt"), grid.get("profit")
    return {
        **{name: grid.get(name) for name in _GRID},
        "profit": profit.get("total") if isinstance(profit, dict) else None,
        "halt": halt.get("text") if isinstance(halt, dict) else None,
    }


def _totals(bots: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sums over what was heard lately: paper and live are never added up."""
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    for bot in bots:
        for grid in bot["grids"]:
            key = (bot["mode"], str(grid["quote"]))
            total = sums.setdefault(
                key, {"grids": 0, "stale": 0, "equity": Decimal(0), "profit": Decimal(0)}
            )
            if bot["stale"] or not (_is(grid["equity"]) and _is(grid["profit"])):
                total["stale"] += 1
                continue
            total["grids"] += 1
            for name in ("equity", "profit"):
                total[name] = EXACT.add(total[name], Decimal(grid[name]))
    return [
        {
            "mode": mode,
            "currency": currency,
            "grids": total["grids"],
            "not_counted": total["stale"],
            "equity": plain(total["equity"]),
            "profit": plain(total["profit"]),
        }
        for (mode, currency), total in sorted(sums.items())
    ]


def _is(amount: Any) -> bool:
    return isinstance(amount, str) and _AMOUNT.fullmatch(amount) is not None
