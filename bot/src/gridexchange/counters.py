"""What the exchange has been asked and has told since it started."""

from collections import Counter
from threading import Lock

REST = "rest"
SOCKET = "socket"
MESSAGES = "messages"
ORDERS = "orders"
UPSTREAM = "upstream"  # what it has asked of the exchange that it follows
CONNECTIONS = "connections"
ANSWERS = "answers"
USER_DATA = "userData"
OTHER = "other"  # whatever the exchange does not know, so that names cannot fill the memory


class Counters:
    """Numbers by group and name, such as how many requests GET order were.

    Args:
        now_ms: when counting begins.
    """

    def __init__(self, now_ms: int) -> None:
        self._since_ms = now_ms
        self._lock = Lock()
        groups = (REST, SOCKET, MESSAGES, ORDERS, CONNECTIONS, UPSTREAM)
        self._groups: dict[str, Counter[str]] = {group: Counter() for group in groups}

    def add(self, group: str, name: str, number: int = 1) -> None:
        """Count one, or more. Any thread may call it."""
        with self._lock:
            self._groups[group][name] += number

    def answer(self) -> dict[str, object]:
        """All numbers, for GET /gridberry/counters."""
        with self._lock:
            numbers = {
                group: dict(sorted(counter.items()))
                for group, counter in self._groups.items()
                if counter or group != UPSTREAM
            }
        return {"since": self._since_ms, **numbers}
