"""The Gateway's published limits: when a request may leave. Pure.

================================================ ===============
limit                                            here
================================================ ===============
60 historical requests in 10 minutes             `HISTORY`
no identical one within 15 s                     `SAME_SECONDS`
fewer than 6 for one contract and kind in 2 s    `CONTRACT`
BID_ASK counts twice                             `weight_of`
50 historical requests open                      one at a time
50 messages a second                             `MESSAGES`
20 active orders a contract and side             `ACTIVE_ORDERS`
================================================ ===============
"""

from collections import deque
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
SAME_SECONDS = 15.5
ACTIVE_ORDERS = 20


def weight_of(what: str) -> int:
    """How often a historical request counts, by what it shows."""
    return 2 if what == "BID_ASK" else 1


class Pacer:
    """What has left lately. Times are seconds of one clock that never goes back."""

    def __init__(self) -> None:
        self._history: deque[float] = deque()
        self._messages: deque[float] = deque()
        self._contracts: dict[str, deque[float]] = {}
        self._same: dict[str, float] = {}

    def message(self, now: float) -> float:
        """Seconds until a message may leave; where that is 0, it counts as sent."""
        pause = _pause(self._messages, MESSAGES, now)
        if pause <= 0:
            self._messages.append(now)
        return pause

    def history(self, contract: str, request: str, what: str, now: float) -> float:
        """Seconds until a historical request may leave; where that is 0, it counts as sent.

        Args:
            contract: which one.
            request: everything that makes two requests identical.
            what: ``TRADES``, ``BID_ASK``, ...
            now: seconds.
        """
        weight = weight_of(what)
        kind = f"{contract} {what}"
        recent = self._contracts.setdefault(kind, deque())
        same = self._same.get(f"{contract} {request}", float("-inf")) + SAME_SECONDS - now
        pause = max(
            same, _pause(self._history, HISTORY, now, weight), _pause(recent, CONTRACT, now)
        )
        if pause > 0:
            return pause
        self._history.extend([now] * weight)
        recent.append(now)
        self._same[f"{contract} {request}"] = now
        self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        """Keep the tables bounded."""
        self._same = {key: at for key, at in self._same.items() if now - at < SAME_SECONDS}
        self._contracts = {
            kind: times
            for kind, times in self._contracts.items()
            if times and now - times[-1] < CONTRACT.seconds
        }


def _pause(times: deque[float], limit: Limit, now: float, weight: int = 1) -> float:
    """Seconds until some more may happen."""
    while times and now - times[0] >= limit.seconds:
        times.popleft()
    surplus = len(times) + weight - limit.most
    return max(0.0, times[surplus - 1] + limit.seconds - now) if surplus > 0 else 0.0
