"""What goes wrong at the practice Gateway by itself: seeded, so that runs repeat. Pure."""

import random
from collections import Counter
from dataclasses import dataclass, field

# Share of each among the faults of its kind of call.
OF_ORDER = ("lost acknowledgement", "late acceptance", "lost order", "refused")
OF_TRADE = ("doubled execution", "corrected execution", "late commission", "lost report")
OF_QUESTION = ("no answer", "late answer", "hung up")
_KINDS = {"order": OF_ORDER, "trade": OF_TRADE, "question": OF_QUESTION}


@dataclass
class GatewayFaults:
    """Chooses the fault of each call.

    Attributes:
        rate: share of calls that something happens to.
        dice: chooses.
        planned: faults that come first, by kind of call.
        counts: what has happened, by fault.
    """

    rate: float = 0.0
    dice: random.Random = field(default_factory=random.Random)
    planned: dict[str, list[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def of(self, kind: str) -> str:
        """The fault of one call; empty for none.

        Args:
            kind: ``order``, ``trade`` or ``question``.
        """
        planned = self.planned.get(kind)
        fault = ""
        if planned:
            fault = planned.pop(0)
        elif self.rate and self.dice.random() < self.rate:
            fault = self.dice.choice(_KINDS[kind])
        if fault:
            self.counts[fault] += 1
        return fault
