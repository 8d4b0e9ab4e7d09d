"""Counts what clients ask for against every published pacing rule. Pure.

The Gateway itself acts on some of them (162, a closed connection, throttling); here every call that
breaks one is counted, whether or not it has a consequence, so that a test can say: none.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Hashable

HISTORY_COUNT, HISTORY_SECONDS = 60, 600.0
SAME_SECONDS = 15.0
CONTRACT_COUNT, CONTRACT_SECONDS = 6, 2.0
OPEN_HISTORY = 50
MESSAGES, MESSAGE_SECONDS = 50, 1.0
ACTIVE_ORDERS = 20
CYCLE_SECONDS = 300.0
QUIET_SECONDS = 20.0  # a pause so long ends a cycle
SHORT_CYCLES = 3
THROTTLED_SECONDS = 3600.0
SYMBOL_SECONDS = 0.2
LINES = 100


class Window:
    """How much happened within the latest seconds.

    Args:
        seconds: how long something counts.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._times: deque[float] = deque()

    def add(self, now: float, weight: int = 1) -> int:
        """Something happens; returns how much there is now."""
        self._times.extend([now] * weight)
        return self.count(now)

    def count(self, now: float) -> int:
        """How much there is."""
        while self._times and now - self._times[0] >= self.seconds:
            self._times.popleft()
        return len(self._times)


class PacingRules:
    """All clients of one Gateway.

    Attributes:
        calls: what was asked, by kind.
        broken: rules that a call broke, by name.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self._history = Window(HISTORY_SECONDS)
        self._same: dict[Hashable, float] = {}
        self._contracts: defaultdict[Hashable, Window] = defaultdict(
            lambda: Window(CONTRACT_SECONDS)
        )
        self._all_messages = Window(MESSAGE_SECONDS)
        self._messages: defaultdict[int, Window] = defaultdict(lambda: Window(MESSAGE_SECONDS))
        self._cycle_began: dict[int, float] = {}
        self._cycle_seen: dict[int, tuple[float, Hashable]] = {}
        self._short: Counter[int] = Counter()
        self._throttled_until: dict[int, float] = {}

    def message(self, client: int, now: float) -> bool:
        """A message of a client arrives; whether it may send so many.

        That all of them together stay within the limit is counted as well.
        """
        self._judge("messages of all", self._all_messages.add(now) <= MESSAGES)
        return self._judge("messages", self._messages[client].add(now) <= MESSAGES)

    def history(self, key: Hashable, what: str, now: float, under_way: int) -> bool:
        """A historical request; whether it is within all rules.

        Args:
            key: contract and everything else that makes two requests identical.
            what: ``TRADES``, ``BID_ASK``, ...
            now: monotonic seconds.
            under_way: such requests without an answer, with this one.
        """
        self.calls["history"] += 1
        weight = 2 if what == "BID_ASK" else 1
        count = self._history.add(now, weight)
        contract = self._contracts[(key[0] if isinstance(key, tuple) else key, what)]
        fine = self._judge("60 in 10 minutes", count <= HISTORY_COUNT)
        same = now - self._same.get(key, float("-inf"))
        self._same[key] = now
        fine = self._judge("identical within 15 s", same >= SAME_SECONDS) and fine
        fine = self._judge("6 in 2 s", contract.add(now) < CONTRACT_COUNT) and fine
        return self._judge("50 open", under_way <= OPEN_HISTORY) and fine

    def snapshot(self, client: int, contract: Hashable, now: float) -> None:
        """A snapshot is asked for; a pause before it begins another cycle of the client."""
        self.calls["snapshot"] += 1
        seen, other = self._cycle_seen.get(client, (float("-inf"), None))
        self._cycle_seen[client] = (now, contract)
        if contract != other:
            self._judge("200 ms between symbols", now - seen >= SYMBOL_SECONDS)
        if now - seen < QUIET_SECONDS:
            return
        began = self._cycle_began.get(client, float("-inf"))
        self._cycle_began[client] = now
        short = not self._judge("300 s between cycles", now - began >= CYCLE_SECONDS)
        self._short[client] = self._short[client] + 1 if short else 0
        if self._short[client] >= SHORT_CYCLES:
            self._throttled_until[client] = now + THROTTLED_SECONDS
            self.broken["throttled"] += 1

    def throttled(self, client: int, now: float) -> bool:
        """Whether a client's snapshots are not answered for a while."""
        return now < self._throttled_until.get(client, float("-inf"))

    def lines(self, count: int) -> bool:
        """A line of prices is opened, or a snapshot asked for; whether there may be so many."""
        return self._judge("100 lines", count <= LINES)

    def active_orders(self, count: int) -> bool:
        """An order is placed; whether its contract and side may have so many."""
        return self._judge("20 orders a side", count <= ACTIVE_ORDERS)

    def _judge(self, rule: str, fine: bool) -> bool:
        self.broken[rule] += not fine
        return fine

    def document(self) -> dict[str, object]:
        """All numbers, for people and tests."""
        return {"calls": dict(self.calls), "broken": dict(+self.broken)}
