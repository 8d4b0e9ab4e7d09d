"""The Gateway's published limits: when a request may leave. Pure.

================================================ =======================
limit                                            here
================================================ =======================
60 historical requests in 10 minutes             `HISTORY`
BID_ASK counts twice                             `history`
no identical one within 15 s                     `SAME`
fewer than 6 for one contract and kind in 2 s    `CONTRACT`
50 historical requests open                      `OPEN_HISTORY`
50 messages a second                             `MESSAGES`
100 lines of prices, snapshots among them        `LINES`
20 active orders a contract and side             `ACTIVE_ORDERS`
cycles of snapshots under 300 s are throttled    `CYCLES` (seen in use)
================================================ =======================
"""

import math
from collections.abc import Mapping
from typing import NamedTuple


class Limit(NamedTuple):
    """So many within so long.

    Attributes:
        most: how many.
        seconds: how long.
    """

    most: int
    seconds: float


# A little below what is published: clocks differ, and messages travel.
HISTORY = Limit(58, 602.0)
CONTRACT = Limit(5, 2.2)
MESSAGES = Limit(45, 1.1)
SAME = Limit(1, 15.5)
CYCLES = Limit(1, 301.0)
OPEN_HISTORY, LINES = 48, 95
ACTIVE_ORDERS = 20
# By the first word of what is counted.
LIMITS = {
    "messages": MESSAGES,
    "history": HISTORY,
    "contract": CONTRACT,
    "same": SAME,
    "cycles": CYCLES,
}

# What a request counts for: how often, by what is counted.
Request = Mapping[str, int]
MESSAGE: Request = {"messages": 1}
CYCLE: Request = {"cycles": 1}


def history(contract: str, request: str, what: str) -> Request:
    """A historical request.

    Args:
        contract: which one.
        request: everything that makes two requests identical.
        what: ``TRADES``, ``BID_ASK``, ...
    """
    return {
        "history": 2 if what == "BID_ASK" else 1,
        f"contract {contract} {what}": 1,
        f"same {contract} {request}": 1,
    }


class Pacer:
    """What has left lately. Times are seconds of one clock that never goes back.

    Args:
        times: when it left, by what is counted.
    """

    def __init__(self, times: Mapping[str, list[float]] | None = None) -> None:
        self.times = {name: sorted(each) for name, each in (times or {}).items()}

    @staticmethod
    def full(now: float) -> "Pacer":
        """Nothing is known: as much as is allowed may have left just now."""
        names = ("messages", "history", "cycles")
        return Pacer({name: [now] * LIMITS[name].most for name in names})

    def pause(self, request: Request, now: float, share: float = 1.0) -> float:
        """Seconds until a request may leave; 0: now.

        Args:
            request: what it counts for.
            now: seconds.
            share: of each limit.
        """
        return max(
            _pause(self.times.get(name, []), limit_of(name), now, weight, share)
            for name, weight in request.items()
        )

    def add(self, request: Request, now: float) -> None:
        """A request leaves now."""
        for name, weight in request.items():
            self.times.setdefault(name, []).extend([now] * weight)
        for name, times in list(self.times.items()):
            seconds = limit_of(name).seconds
            self.times[name] = [at for at in times if now - at < seconds]
            if not self.times[name]:
                del self.times[name]


def limit_of(name: str) -> Limit:
    """The limit of what is counted. KeyError: there is none."""
    return LIMITS[name.partition(" ")[0]]


def _pause(times: list[float], limit: Limit, now: float, weight: int, share: float) -> float:
    """Seconds until some more may happen."""
    recent = [at for at in times if now - at < limit.seconds]
    most = max(weight, math.floor(limit.most * share))
    surplus = len(recent) + weight - most
    return max(0.0, recent[surplus - 1] + limit.seconds - now) if surplus > 0 else 0.0
