"""Time of a simulated world. It passes only where somebody waits, so a month takes a minute."""

import heapq
import itertools
from collections.abc import Callable

START_MS = 1_790_000_000_000
STEADY_SECONDS = 5.0


class WorldTime:
    """The time that the exchange goes by; what is due on the way happens on the way."""

    stopping = False

    def __init__(self) -> None:
        self.seconds = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def now_ms(self) -> int:
        return START_MS + round(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        end = self.seconds + max(0.0, seconds)
        while self._due and self._due[0][0] <= end:
            at, _, action = heapq.heappop(self._due)
            self.seconds = max(self.seconds, at)
            action()
        self.seconds = max(self.seconds, end)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Let something happen so many seconds from now."""
        heapq.heappush(self._due, (self.seconds + seconds, next(self._numbers), action))


class BotClock:
    """The bot's own clock: it may be wrong about the date, and it ends the bot's run.

    Args:
        time: the world's.
        waited: told of every end of a wait.

    Attributes:
        offset_ms: how far the bot's wall clock is ahead.
        stop_at: world seconds at which the bot is told to stop.
        until: asked after every wait; once it has been true for a while, the bot is stopped.
    """

    def __init__(self, time: WorldTime, waited: Callable[[], None] = lambda: None) -> None:
        self.time = time
        self._waited = waited
        self.offset_ms = 0
        self.stop_at = float("inf")
        self.until: Callable[[], bool] | None = None
        self._stopped = False
        self._since: float | None = None

    @property
    def stopping(self) -> bool:
        return self._stopped or self.time.seconds >= self.stop_at

    def now_ms(self) -> int:
        return self.time.now_ms() + self.offset_ms

    def monotonic(self) -> float:
        return self.time.seconds

    def sleep(self, seconds: float) -> None:
        self.time.sleep(min(seconds, max(0.0, self.stop_at - self.time.seconds)))
        self.look()

    def look(self) -> None:
        """Find out whether it is time to stop."""
        self._waited()
        if self.until is None or not self.until():
            self._since = None
        elif self._since is None:
            self._since = self.time.seconds
        elif self.time.seconds - self._since >= STEADY_SECONDS:
            self._stopped = True
