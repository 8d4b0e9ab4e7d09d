"""What goes wrong between bot and exchange, by chance from one seed, counted by kind.

Faults of a single request are drawn when it leaves; faults of the world (the exchange cancels an
order, the bot's clock jumps, the network or the exchange is gone for a while) are drawn with time.
"""

from collections import Counter
from random import Random

# Each kind with how often it is drawn beside the others.
BEFORE = {
    "unreachable": 2,
    "lost before": 2,
    "broken before": 1,
    "5xx before": 1,
    "page before": 1,
    "429": 1,
    "418": 1,
    "-1021": 1,
}
AFTER = {
    "lost after": 3,
    "broken after": 2,
    "-1007 after": 2,
    "page after": 1,
    "half an answer": 1,
}
ON_THE_WAY = {"delay": 2, "late arrival": 2}
ORDER_ONLY = {"-1013": 2, "-2010": 2}
CANCEL_ONLY = {"-2011": 2}
MESSAGE = {
    "message lost": 1,
    "cut before": 1,
    "cut after": 2,
    "message late": 2,
    "answer lost": 2,
    "hung": 1,
}
EVENT = {"event lost": 2, "event doubled": 2, "events swapped": 2}
WORLD = {
    "canceled by the exchange": 4,
    "clock jump": 1,
    "network down": 1,
    "maintenance": 1,
    "connections dropped": 2,
    "connections hung": 1,
}


# What the exchange itself does wrong, and how often beside the others.
EXCHANGE = {
    "lost_request": 1,
    "lost_answer": 2,
    "delay": 1,
    "error_before": 1,
    "error_after": 2,
    "rate_limit": 0.5,
    "ban": 0.2,
    "clock_skew": 1,
    "reject": 3,
    "hang": 0.5,
    "maintenance": 0.1,
    "partial_fill": 40,
    "exchange_cancel": 3,
    "lost_event": 5,
    "duplicate_event": 5,
    "reordered_event": 5,
    "drop": 1,
}
SECONDS = {"maintenance": 10.0, "ban": 20.0, "hang": 8.0, "delay": 6.0}


def exchange_rules(rate: float) -> list[dict[str, object]]:
    """Rules for the exchange's own faults, at a rate like that of the network's."""
    rules = []
    for kind, weight in EXCHANGE.items() if rate else ():
        rule: dict[str, object] = {"kind": kind, "probability": min(rate * weight / 10, 0.5)}
        if kind in SECONDS:
            rule["seconds"] = SECONDS[kind]
        rules.append(rule)
    if rate:
        # Of those that the exchange ends, some meet an order of another account of the owner.
        met = {"kind": "exchange_cancel", "status": "EXPIRED_IN_MATCH"}
        rules.append(met | {"probability": min(rate / 10, 0.5)})
    return rules


class Faults:
    """Chance of one world.

    Args:
        dice: source of chance.
        rate: share of requests that something happens to.
        world_seconds: seconds between two faults of the world, on average.

    Attributes:
        on: whether anything goes wrong at all.
        counts: how often each kind has happened.
    """

    def __init__(self, dice: Random, rate: float, world_seconds: float) -> None:
        self.dice = dice
        self.rate = rate
        self.world_seconds = world_seconds
        self.on = True
        self.counts: Counter[str] = Counter()

    def of_request(self, method: str, path: str) -> str | None:
        """What happens to a request; None for nothing."""
        order, cancel = ((kind, "order") == (method, path) for kind in ("POST", "DELETE"))
        if not self.on or self.dice.random() >= self.rate * (1.5 if order else 1.0):
            return None
        kinds = BEFORE | AFTER | ON_THE_WAY
        kinds |= ORDER_ONLY if order else CANCEL_ONLY if cancel else {}
        return self.count(self._draw(kinds))

    def of_message(self, method: str) -> str | None:
        """What happens to a message over a connection; None for nothing."""
        rate = self.rate * (1.5 if method.startswith("order.") else 1.0)
        if not self.on or self.dice.random() >= rate:
            return None
        return self.count(self._draw(MESSAGE))

    def of_event(self) -> str | None:
        """What happens to an event of the account; None for nothing."""
        if not self.on or self.dice.random() >= self.rate:
            return None
        return self.count(self._draw(EVENT))

    def of_world(self) -> str | None:
        """What happens in the world now; None for nothing."""
        return self.count(self._draw(WORLD)) if self.on else None

    def seconds_to_next(self) -> float:
        """World seconds until the next fault of the world."""
        return self.dice.expovariate(1 / self.world_seconds)

    def count(self, kind: str) -> str:
        self.counts[kind] += 1
        return kind

    def _draw(self, kinds: dict[str, int]) -> str:
        return self.dice.choices(list(kinds), list(kinds.values()))[0]
