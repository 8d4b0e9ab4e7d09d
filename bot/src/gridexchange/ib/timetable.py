"""What is to happen later, in the order of time. Pure."""

import heapq
import itertools
from collections.abc import Callable

Action = Callable[[], None]


class Timetable:
    """Actions that are due at a time."""

    def __init__(self) -> None:
        self._due: list[tuple[int, int, Action]] = []
        self._numbers = itertools.count()

    def at(self, time_ms: int, action: Action) -> None:
        """Have something done at a time (Unix milliseconds)."""
        heapq.heappush(self._due, (time_ms, next(self._numbers), action))

    def run(self, now_ms: int) -> None:
        """Do what is due."""
        while self._due and self._due[0][0] <= now_ms:
            heapq.heappop(self._due)[2]()

    def clear(self) -> None:
        """Forget all of it: the process that would have done it is gone."""
        self._due.clear()
