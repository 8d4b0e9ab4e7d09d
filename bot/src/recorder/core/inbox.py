"""The bounded queue between the sockets and the recording: what does not fit is counted."""

from collections import Counter, deque
from threading import Condition
from typing import Any

LONGEST = 10_000

Key = tuple[str, str]  # symbol and what the exchange calls the stream
Message = tuple[Any, int]  # what came, and when (Unix time in ms)


class Inbox:
    """Messages that wait; any thread may use it.

    Args:
        longest: most messages that wait.

    Attributes:
        dropped: how many did not fit since the start, by stream.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        self.dropped: Counter[Key] = Counter()
        self._longest = longest
        self._messages: deque[Message] = deque()
        self._fresh_drops: set[Key] = set()
        self._changed = Condition()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, key: Key, message: Any, now_ms: int) -> bool:
        """Add a message; False where it is dropped, which is counted and told to the reader."""
        with self._changed:
            if len(self._messages) >= self._longest:
                self.dropped[key] += 1
                self._fresh_drops.add(key)
                return False
            self._messages.append((message, now_ms))
            if len(self._messages) == 1:
                self._changed.notify()
            return True

    def tell(self, message: Any, now_ms: int) -> None:
        """Add a message that is never dropped, however many wait."""
        with self._changed:
            self._messages.append((message, now_ms))
            self._changed.notify()

    def take(self, wait: float) -> tuple[list[Message], set[Key]]:
        """All messages that wait, and the streams of which some were dropped after them.

        Args:
            wait: seconds to wait for the first message.
        """
        with self._changed:
            if not self._messages:
                self._changed.wait(wait)
            messages, self._messages = list(self._messages), deque()
            drops, self._fresh_drops = self._fresh_drops, set()
            return messages, drops
