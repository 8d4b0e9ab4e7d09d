"""Runs a bot until it is stopped: waits out what passes, stops at what does not, and says why."""

import logging
import math
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gridbot.broker import Broker, BrokerError, Failure
from gridbot.clock import Clock
from gridbot.config import Config
from gridbot.errors import MismatchError
from gridbot.status import base_document, status_document
from gridbot.store import Store, StoreError
from gridbot.trader import Trader

log = logging.getLogger(__name__)

# Without a completed step for this long the bot is not healthy, whatever it believes.
STALE_SECONDS = 60.0
SHORT_PAUSE_SECONDS = 0.25
HISTORY = 300  # prices kept for the page
_RANDOM = random.SystemRandom()


@dataclass(frozen=True)
class Patience:
    """How long to wait before the next try: first pause, doubled up to the longest (seconds)."""

    first: float
    longest: float

    def pause(self, failures: int, asked: float | None = None) -> float:
        """Pause after a number of failures in a row, at least as long as the exchange asks.

        Spread by a fifth, so that a fleet which lost its exchange does not return as one.
        """
        doubled = min(math.ldexp(self.first, min(failures - 1, 20)), self.longest)
        return max(doubled * _RANDOM.uniform(0.8, 1.2), asked or 0.0)


_PATIENCE = {
    Failure.AUTH: Patience(60, 900),  # a person has to act: an exchange bans who hammers it
    Failure.RATE_LIMITED: Patience(10, 300),
    Failure.REJECTED: Patience(15, 300),
}
_NETWORK = Patience(1, 60)
_STORE = Patience(2, 30)
_MISMATCH = Patience(15, 300)


class Runner:
    """One bot.

    Args:
        config: a valid configuration.
        broker: the exchange.
        open_store: opens the state; it may fail for a while (a full disk).
        clock: time; its stop ends the run.
    """

    def __init__(
        self, config: Config, broker: Broker, open_store: Callable[[], Store], clock: Clock
    ) -> None:
        self._config = config
        self._broker = broker
        self._open_store = open_store
        self._clock = clock
        self._trader: Trader | None = None
        self._store: Store | None = None
        self._started = clock.monotonic()
        self._last_step = clock.monotonic()
        self._state = "starting"
        self._reason = "starting"
        self._failures = 0
        self._document = base_document(config)
        self._prices: deque[tuple[int, str]] = deque(maxlen=HISTORY)
        self._lock = threading.Lock()  # the page's threads read what the loop publishes

    def run(self) -> None:
        """Trade until the clock is stopped. Orders are left resting on the exchange.

        Raises:
            UserError: what waiting can not heal.
        """
        try:
            while not self._clock.stopping:
                self._clock.sleep(self._step())
        finally:
            self._publish("stopped", "stopped")
            if self._store is not None:
                self._store.close()
        log.info("stopped; open orders are left on the exchange")

    def _step(self) -> float:
        """One step; returns the seconds to wait before the next."""
        try:
            if self._trader is None:
                self._store = self._open_store()
                self._trader = Trader(self._config, self._broker, self._store, self._clock)
            again = self._trader.step()
        except BrokerError as error:
            patience = _PATIENCE.get(error.failure, _NETWORK)
            return self._wait(error, patience, asked=error.retry_after)
        except MismatchError as error:
            self._forget()
            return self._wait(error, _MISMATCH)
        except StoreError as error:
            if error.lasting:
                raise
            self._forget()
            return self._wait(error, _STORE)
        if self._failures:
            log.info("trading again")
        self._failures = 0
        self._last_step = self._clock.monotonic()
        reason = _unfinished(self._trader)
        self._publish("starting" if reason else "trading", reason)
        poll = float(self._config.poll_seconds)
        return min(poll, SHORT_PAUSE_SECONDS) if again else poll

    def _forget(self) -> None:
        if self._trader is not None:
            self._trader.forget()

    def _wait(self, error: Exception, patience: Patience, *, asked: float | None = None) -> float:
        self._failures += 1
        pause = patience.pause(self._failures, asked)
        reason = str(error)
        level = logging.ERROR if reason != self._reason else logging.DEBUG
        log.log(level, "waiting: %s (next try in %.0f s)", reason, pause)
        self._last_step = self._clock.monotonic() + pause
        self._publish("waiting", reason)
        return pause

    def _publish(self, state: str, reason: str) -> None:
        if self._trader is None or (self._trader.engine is None and self._document["lines"]):
            document = self._document  # what was known last is better than nothing
        else:
            document = status_document(self._config, self._trader)
        with self._lock:
            self._state, self._reason, self._document = state, reason, document
            if document["price"] is not None and state in {"starting", "trading"}:
                self._prices.append((self._clock.now_ms(), document["price"]))

    # For the page, from other threads.

    def health(self) -> dict[str, Any]:
        """Whether the bot is well, and if not, why."""
        with self._lock:
            state, reason, document = self._state, self._reason, self._document
        reasons = [reason] if reason else []
        refused = [order for order in document["orders"] if order["refused"]]
        reasons += [f"order {order['client_id']}: {order['refused']}" for order in refused[:3]]
        if len(refused) > 3:
            reasons.append(f"{len(refused) - 3} more orders are refused")
        silent = self._clock.monotonic() - self._last_step
        limit = max(STALE_SECONDS, 10 * float(self._config.poll_seconds))
        if state != "stopped" and silent > limit:
            reasons.append(f"the last step took place {silent:.0f} s ago")
        return {"ok": not reasons, "state": state, "reasons": reasons}

    def status(self) -> dict[str, Any]:
        """The document behind `/api/status`."""
        health = self.health()
        with self._lock:
            document, state = self._document, self._state
        return {
            "state": state,
            **document,
            "uptime_seconds": int(self._clock.monotonic() - self._started),
            "health": {"ok": health["ok"], "reasons": health["reasons"]},
        }

    def history(self) -> dict[str, Any]:
        """The document behind `/api/history`: times (Unix milliseconds) and prices."""
        with self._lock:
            return {"prices": list(self._prices)}


def _unfinished(trader: Trader) -> str:
    """What is still under way at the start, or after a request without an answer."""
    if trader.engine is None or not trader.engine.grid_started:
        return "the base for the sells is being bought"
    if trader.unsettled:
        return f"{trader.unsettled} orders are not confirmed by the exchange yet"
    return ""
