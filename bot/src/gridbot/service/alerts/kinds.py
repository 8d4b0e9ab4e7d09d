"""Of what the bot alerts, what that means, and what to do. Pure."""

import re
from dataclasses import dataclass

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS


@dataclass(frozen=True)
class Kind:
    """One kind of alert.

    Attributes:
        name: Alertmanager's `alertname`; the runbook page has it with hyphens.
        title: a few words for people.
        severity: critical or warning.
        meaning: what it means, one sentence.
        remedy: what to do first, one sentence.
        waits_ms: it must hold for so long before it is an alert.
        clears_ms: it must be gone for so long before it is over.
    """

    name: str
    title: str
    severity: str
    meaning: str
    remedy: str
    waits_ms: int = 0
    clears_ms: int = 0

    @property
    def page(self) -> str:
        """Name of its runbook page."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", self.name).lower() + ".md"


KILL_SWITCH = Kind(
    "KillSwitchFired",
    "Kill switch fired",
    "critical",
    "The grid has been ended, and the bot stays off.",
    "Find out why before you resume it: ./gridberry resume shows the switch.",
)
BOOKS_UNEQUAL = Kind(
    "BooksUnequal",
    "Books unequal",
    "critical",
    "The bot's books and the exchange disagree, so nothing is traded.",
    "Run ./gridberry audit, and look for orders that somebody else placed or canceled.",
    waits_ms=30 * SECOND_MS,
)
BREAKER_OPEN = Kind(
    "BreakerOpen",
    "Exchange does not answer",
    "warning",
    "The circuit breaker is open: the grid's orders rest, and nothing new is sent.",
    "Check the Pi's network, then the exchange's status page; the bot goes on by itself.",
    waits_ms=30 * SECOND_MS,
    clears_ms=MINUTE_MS,
)
OUT_OF_RANGE = Kind(
    "OutOfRange",
    "Price out of range",
    "warning",
    "The price has left the grid's range, so the grid earns nothing there.",
    "Wait, or end the grid and begin one around the price.",
    waits_ms=MINUTE_MS,
    clears_ms=MINUTE_MS,
)
KEY_REFUSED = Kind(
    "KeyRefused",
    "API key refused",
    "critical",
    "The exchange does not accept the bot's API key: orders rest, and nobody watches them.",
    "Check the key on the exchange (expired, removed, new address), then ./gridberry rotate-keys.",
)
_ALL = (KILL_SWITCH, BOOKS_UNEQUAL, BREAKER_OPEN, OUT_OF_RANGE, KEY_REFUSED)
KINDS = {kind.name: kind for kind in _ALL}
