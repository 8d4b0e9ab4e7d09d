"""One WebSocket connection without its socket: texts come in, texts go out."""

import heapq
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from itertools import count

from gridexchange.counters import ANSWERS, MESSAGES
from gridexchange.exchange import Exchange
from gridexchange.faults.plan import (
    CROSSED_EVENT,
    CUT_EVENT,
    DROP,
    DUPLICATE_EVENT,
    LATE_EVENT,
    LOST_EVENT,
    REORDERED_EVENT,
    Faults,
)
from gridexchange.protocol.time_unit import event_in_microseconds

# A client that leaves more than this unread is cut: memory stays bounded.
MOST_WAITING = 10_000
# An event that another one is to overtake waits no longer than this.
OVERTAKING_MS = 1_000


class Connection(ABC):
    """A client's connection; what it means is up to the class that derives from this one.

    Any thread may call it.

    Args:
        exchange: who it talks to.
        faults: what goes wrong on purpose.

    Attributes:
        closed: the exchange has cut it, or the client has closed it; what `outgoing` still gives
            is delivered first.
        microseconds: whether times are told in microseconds rather than milliseconds.
        on_ready: called, by any thread and maybe with the exchange's lock held, when `outgoing`
            may have something or the connection is cut.
    """

    def __init__(self, exchange: Exchange, faults: Faults) -> None:
        self.closed = False
        self.microseconds = False
        self.on_ready: Callable[[], None] | None = None
        self._exchange = exchange
        self._faults = faults
        self._waiting: deque[str] = deque()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        self._overtaken: list[tuple[str, str]] = []  # type and text
        self._mute = False

    def receive(self, text: str) -> None:
        """Take one message from the client."""
        with self._exchange.lock:
            if not self.closed and not self._mute:
                self._handle(text)
        self.ready()

    def outgoing(self) -> list[str]:
        """Take the messages that are to be sent now; call `Exchange.advance` before."""
        with self._exchange.lock:
            if not self.closed and self._faults.cuts():
                self.cut()
            self._run_timers()
            if not self.closed and not self._mute:
                self._gather()
            messages = [] if self._mute else list(self._waiting)
            self._waiting.clear()
            return messages

    def wait_ms(self) -> int | None:
        """Milliseconds until `outgoing` may have something that no market move brings."""
        with self._exchange.lock:
            if not self._timers:
                return None
            return max(0, self._timers[0][0] - self._monotonic_ms())

    def close(self) -> None:
        """The client is gone."""
        with self._exchange.lock:
            self._waiting.clear()
            self.closed = True

    def cut(self) -> None:
        """End the connection from the exchange's side."""
        self.closed = True
        self.ready()

    def ready(self) -> None:
        """Tell whoever carries the messages that there may be some."""
        if self.on_ready is not None:
            self.on_ready()

    def shut_down(self, now_ms: int) -> None:
        """Say that the exchange stops, and cut."""
        self.send(self._shutdown(self.worded({"e": "serverShutdown", "E": now_ms})))
        self.cut()

    def worded(self, event: dict[str, object]) -> dict[str, object]:
        """An event with its times in the unit that the client wants."""
        return event_in_microseconds(event) if self.microseconds else event

    def send(self, message: object) -> None:
        """Queue one message that is no event."""
        self._exchange.counters.add(MESSAGES, ANSWERS)
        self._queue(json.dumps(message, separators=(",", ":")))

    def send_event(self, stream: str, event: str, message: object) -> None:
        """Queue one event, unless something befalls it.

        Args:
            stream: what it belongs to, such as btcusdt@kline_1m.
            event: its type, such as executionReport.
            message: the event as this connection words it.
        """
        self._exchange.counters.add(MESSAGES, stream)
        kind, arguments = self._faults.of_event(event)
        if kind == DROP:
            self.cut()
        if self.closed or kind == LOST_EVENT:
            return
        if kind == CROSSED_EVENT:
            message = _crossed(message)
        text = json.dumps(message, separators=(",", ":"))
        if kind == LATE_EVENT:
            self.after(round(float(arguments["seconds"]) * 1000), lambda: self._queue(text))
            return
        if kind == CUT_EVENT:
            text = text[: len(text) // 2]
        if kind == REORDERED_EVENT:
            self._overtaken.append((event, text))
            self.after(OVERTAKING_MS, lambda: self._let_overtaken_go(event))
            return
        self._queue(text)
        if kind == DUPLICATE_EVENT:
            self._queue(text)
        self._let_overtaken_go(event)

    def after(self, milliseconds: int, act: Callable[[], None]) -> None:
        """Do something later; the lock is held then, as it must be now."""
        due = self._monotonic_ms() + milliseconds
        heapq.heappush(self._timers, (due, next(self._numbers), act))

    def hang(self, seconds: float) -> None:
        """Say nothing any more, and break after so many seconds."""
        self._mute = True
        self.after(round(seconds * 1000), self.cut)

    def _queue(self, text: str) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.clear()
            self.cut()
        if not self.closed:
            self._waiting.append(text)

    def _let_overtaken_go(self, event: str) -> None:
        """Queue what an event of its own type was to overtake."""
        for kind, text in self._overtaken:
            if kind == event:
                self._queue(text)
        self._overtaken = [item for item in self._overtaken if item[0] != event]

    def _run_timers(self) -> None:
        now = self._monotonic_ms()
        while self._timers and self._timers[0][0] <= now and not self.closed:
            heapq.heappop(self._timers)[2]()

    def _monotonic_ms(self) -> int:
        return round(self._exchange.clock.monotonic() * 1000)

    @abstractmethod
    def _handle(self, text: str) -> None:
        """Act on a message; the lock is held."""

    @abstractmethod
    def _gather(self) -> None:
        """Queue what has become due; the lock is held."""

    @abstractmethod
    def _shutdown(self, event: dict[str, object]) -> object:
        """How this kind of connection words the exchange's end."""


def _crossed(message: object) -> object:
    """An event with its bids and asks the wrong way round."""
    if not isinstance(message, dict):
        return message
    if "data" in message:
        return message | {"data": _crossed(message["data"])}
    swapped = {"a": "b", "b": "a", "A": "B", "B": "A"}
    return {swapped.get(name, name): value for name, value in message.items()}
