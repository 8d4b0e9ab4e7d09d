"""The Gateway's published limits: when a request may leave. Pure.

================================================ ===============
limit                                            here
================================================ ===============
60 historical requests in 10 minutes             `HISTORY`
no identical one within 15 s                     `SAME_SECONDS`
fewer than 6 for one contract and kind in 2 s    `CONTRACT`
BID_ASK counts twice                             `weight_of`
50 historical requests open                      `OPEN_HISTORY`
50 messages a second                             `MESSAGES`
20 active orders a contract and side             `ACTIVE_ORDERS`
300 s between two cycles of snapshots            `CYCLE_SECONDS`
200 ms between two symbols                       `SYMBOL_SECONDS`
2 symbols at once                                `SYMBOLS_AT_ONCE`
================================================ ===============
"""

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple


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
OPEN_HISTORY = 50
ACTIVE_ORDERS = 20
CYCLE_SECONDS = 300.0
SYMBOL_SECONDS = 0.2
SYMBOLS_AT_ONCE = 2


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
        self._cycle = float("-inf")
        self._symbol: tuple[float, str] = (float("-inf"), "")

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

    def cycle(self, now: float) -> float:
        """Seconds until a cycle of snapshots may begin; where that is 0, it has begun."""
        pause = self._cycle + CYCLE_SECONDS - now
        if pause <= 0:
            self._cycle = now
        return max(0.0, pause)

    def symbol(self, symbol: str, now: float) -> float:
        """Seconds until a snapshot of a symbol may leave; where that is 0, it counts as sent."""
        at, latest = self._symbol
        pause = 0.0 if symbol == latest else at + SYMBOL_SECONDS - now
        if pause <= 0:
            self._symbol = (now, symbol)
        return max(0.0, pause)

    def _forget(self, now: float) -> None:
        """Keep the tables bounded."""
        self._same = {key: at for key, at in self._same.items() if now - at < SAME_SECONDS}
        self._contracts = {
            kind: times
            for kind, times in self._contracts.items()
            if times and now - times[-1] < CONTRACT.seconds
        }

    # For whatever else is on the same Gateway: see `SharedPacer`.

    def document(self) -> dict[str, Any]:
        """All of it, for a file."""
        return {
            "history": list(self._history),
            "messages": list(self._messages),
            "contracts": {kind: list(times) for kind, times in self._contracts.items()},
            "same": self._same,
            "cycle": None if self._cycle == float("-inf") else self._cycle,
            "symbol": None if self._symbol[0] == float("-inf") else list(self._symbol),
        }

    @staticmethod
    def of(document: Mapping[str, Any], now: float) -> "Pacer":
        """A pacer from a file; what is later than now is of another boot, and forgotten."""
        pacer = Pacer()
        times = [*document["history"], *document["messages"], document["cycle"] or 0.0]
        if any(at > now for at in times):
            return pacer
        pacer._history.extend(document["history"])
        pacer._messages.extend(document["messages"])
        pacer._contracts = {kind: deque(rows) for kind, rows in document["contracts"].items()}
        pacer._same = dict(document["same"])
        if document["cycle"] is not None:
            pacer._cycle = document["cycle"]
        if document["symbol"] is not None:
            pacer._symbol = (document["symbol"][0], document["symbol"][1])
        return pacer


def _pause(times: deque[float], limit: Limit, now: float, weight: int = 1) -> float:
    """Seconds until some more may happen."""
    while times and now - times[0] >= limit.seconds:
        times.popleft()
    surplus = len(times) + weight - limit.most
    return max(0.0, times[surplus - 1] + limit.seconds - now) if surplus > 0 else 0.0
