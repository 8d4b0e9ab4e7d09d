"""Questions for an exchange: asked in a thread of their own, within its limits."""

import logging
import queue
import threading
from typing import Any, Protocol

from gridbase.backoff import Backoff
from gridbase.clock import Clock
from gridbase.public_rest import Away, Rest, weight_of

from recorder.core.numbered import PAGE
from recorder.core.rows import Kind
from recorder.recording.messages import INTERVAL, INTERVAL_MS
from recorder.recording.symbol import Request

LOG = logging.getLogger("recorder")
SNAPSHOT_LEVELS = 1_000
WEIGHT_PER_MINUTE = 1_200  # of Binance's 6,000, and Binance.US's 1,200, a bot may need the rest
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0

Answer = tuple[Request, Any]  # None where there is none


class Asker(Protocol):
    """Asks an exchange."""

    def ask(self, request: Request) -> None:
        """Ask; the answer comes later."""

    def answers(self) -> list[Answer]:
        """What has been answered since the last call; None for a question that failed."""


class ThreadAsker:
    """Asks one question after the other, at most so much request weight in a minute.

    Args:
        rest: asks.
        clock: the time; a stop ends the thread's waits.
        weight_per_minute: how much request weight it may use.

    Attributes:
        trouble: why the last question was not answered; empty where it was.
    """

    def __init__(
        self, rest: Rest, clock: Clock, weight_per_minute: int = WEIGHT_PER_MINUTE
    ) -> None:
        self.trouble = ""
        self._rest = rest
        self._clock = clock
        self._seconds_a_weight = 60.0 / weight_per_minute
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._questions: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._answered: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="ask", daemon=True).start()

    def ask(self, request: Request) -> None:
        """Ask; the answer comes later."""
        self._questions.put(request)

    def answers(self) -> list[Answer]:
        """What has been answered since the last call; None for a question that failed."""
        found = []
        while True:
            try:
                found.append(self._answered.get_nowait())
            except queue.Empty:
                return found

    def _run(self) -> None:
        failures = 0
        while not self._clock.stopping:
            request = self._questions.get()
            try:
                answer = put(self._rest, request)
                failures, self.trouble = 0, ""
                pause = weight_of(*question(request)) * self._seconds_a_weight
            except Away as error:
                answer, failures, self.trouble = None, failures + 1, str(error)
                pause = self._backoff.pause(failures, error.wait_s)
            except Exception as error:
                # Without this thread nothing that is missing would ever be asked for.
                LOG.exception("a question about %s failed", request.symbol)
                answer, failures, self.trouble = None, failures + 1, repr(error)
                pause = self._backoff.pause(failures)
            self._answered.put((request, answer))
            self._clock.sleep(pause)


def put(rest: Rest, request: Request) -> Any:
    """Ask one question.

    Raises:
        Away: the exchange does not answer, or refuses.
    """
    name, parameters = question(request)
    return rest.ask(name, **parameters)


def question(request: Request) -> tuple[str, dict[str, object]]:
    """How a question is put: the endpoint and its parameters."""
    if request.kind == Kind.DEPTH:
        return "depth", {"symbol": request.symbol, "limit": SNAPSHOT_LEVELS}
    if request.kind == Kind.TRADES:
        until = request.until
        limit = PAGE if until is None else min(PAGE, until - request.first + 1)
        return "aggTrades", {"symbol": request.symbol, "fromId": request.first, "limit": limit}
    return "klines", {
        "symbol": request.symbol,
        "interval": INTERVAL,
        "startTime": request.first * INTERVAL_MS,
        "endTime": None if request.until is None else request.until * INTERVAL_MS,
        "limit": PAGE,
    }
