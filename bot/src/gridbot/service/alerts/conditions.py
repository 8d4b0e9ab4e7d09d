"""What the bot's own status says of the things that it alerts of. Pure."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gridbot.service.alerts.kinds import (
    BOOKS_UNEQUAL,
    BREAKER_OPEN,
    KEY_REFUSED,
    KILL_SWITCH,
    OUT_OF_RANGE,
)
from gridbot.service.grid_state import BOOKS_UNEQUAL as UNEQUAL_CAUSE
from gridbot.service.grid_state import KEY_REFUSED as REFUSED_CAUSE

HALTING_MS = 10_000
BY_HAND = "by_hand"  # a person has ended the grid, and knows it
# States that say nothing of what held before: it may hold on.
_UNDECIDED = frozenset({"starting", "waiting", "stopped", "closed"})

Name = tuple[str, str]  # the kind's name, and the symbol; empty for the whole bot


@dataclass(frozen=True)
class Condition:
    """Something that holds now.

    Attributes:
        text: one line about it, in which others may have a word.
        at_ms: since when, where that is known (Unix milliseconds).
        waits_ms: it must hold for so long, where its kind does not say longer.
    """

    text: str
    at_ms: int | None = None
    waits_ms: int = 0


@dataclass
class Sight:
    """What holds, and what can be said neither way."""

    holds: dict[Name, Condition] = field(default_factory=dict)
    undecided: set[Name] = field(default_factory=set)

    def take(self, name: Name, condition: Condition | None, *, decided: bool) -> None:
        """Note a condition; None where there is none."""
        if condition is not None:
            self.holds[name] = condition
        elif not decided:
            self.undecided.add(name)


def sight_of(status: dict[str, Any]) -> Sight:
    """What the document behind `/api/status` says."""
    sight = Sight()
    connection = status["connection"]
    sight.take(
        (BREAKER_OPEN.name, ""),
        _breaker(connection["circuit"]) if connection else None,
        decided=bool(connection),
    )
    for grid in status["grids"]:
        symbol, decided = grid["symbol"], grid["state"] not in _UNDECIDED
        sight.take((KILL_SWITCH.name, symbol), _killed(grid), decided=decided)
        for kind, cause in ((BOOKS_UNEQUAL, UNEQUAL_CAUSE), (KEY_REFUSED, REFUSED_CAUSE)):
            found = Condition(grid["reason"]) if grid["cause"] == cause else None
            sight.take((kind.name, symbol), found, decided=decided)
        outside = _outside(grid) if decided else None
        sight.take((OUT_OF_RANGE.name, symbol), outside, decided=decided)
    return sight


def _breaker(circuit: dict[str, Any]) -> Condition | None:
    if circuit["state"] == "closed":
        return None
    text = f"the exchange did not answer {circuit['failures']} times in a row"
    return Condition(text, circuit["opened_ms"])


def _killed(grid: dict[str, Any]) -> Condition | None:
    halt = grid["halt"]
    if halt is None and grid["halting"]:
        # A person may have ended it: that is known only once it has ended.
        return Condition(grid["halting"], waits_ms=HALTING_MS)
    if halt is None or halt["reason"] == BY_HAND:
        return None
    return Condition(f"{halt['reason']}: {halt['text']}", halt["at_ms"])


def _outside(grid: dict[str, Any]) -> Condition | None:
    if not grid["lines"] or grid["price"] is None:
        return None
    price = Decimal(grid["price"])
    lower, upper = (Decimal(grid["lines"][end]["price"]) for end in (0, -1))
    if lower <= price <= upper:
        return None
    side = "below" if price < lower else "above"
    return Condition(
        f"the price {grid['price']} is {side} the range from {lower} to {upper} {grid['quote']}"
    )
