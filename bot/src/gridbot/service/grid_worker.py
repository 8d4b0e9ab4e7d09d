"""One grid of a running bot: steps it, waits out what passes, and says how it is."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from gridbase.backoff import Backoff
from gridbase.clock import Clock
from gridbase.errors import MismatchError, UserError
from gridbase.metrics import Durations

from gridbot.accounting.trade_history import Traded, latest
from gridbot.config.load import AccountConfig, GridConfig
from gridbot.exchanges.port import Broker, BrokerError, Failure
from gridbot.service.grid_state import Drawdown, cause_of, is_held, state_of
from gridbot.service.price_samples import Sampler
from gridbot.service.status import RECENT_FILLS, base_document, status_document
from gridbot.service.unexpected import Unexpected, trace, what
from gridbot.store import Store, StoreError
from gridbot.trading.reconciliation import check_listed
from gridbot.trading.session import Answers, Session
from gridbot.trading.trader import Trader

log = logging.getLogger(__name__)

# Without a completed step for this long the bot is not healthy, whatever it believes.
STALE_SECONDS = 60.0
SHORT_PAUSE_SECONDS = 0.25
# Kill switches are checked so often while a step has to wait, or is not due for long.
LOOK_SECONDS = 2.0
# A grid's end takes seconds: where it takes longer, something does not want to be canceled or sold.
WIND_DOWN_SECONDS = 300.0
# After a second error that nobody expected, the bot is not healthy for so long, whatever it does in
# between.
UNEXPECTED_SECONDS = 600.0
# States in which a grid does what it was told, though it does not trade.
AS_IT_SHOULD = frozenset({"closed", "ending", "halted", "paused"})
# States in which nobody looks at the price.
NOT_LOOKING = frozenset({"closed", "waiting", "stopped"})
STEP_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)  # seconds
HISTORY = 1440  # prices kept for the page
HISTORY_STEP_MS = 60_000  # apart; the latest comes as soon as it is seen

_PATIENCE = {
    Failure.AUTH: Backoff(60, 900),  # a person has to act: an exchange bans who hammers it
    Failure.RATE_LIMITED: Backoff(10, 300),
    Failure.REJECTED: Backoff(15, 300),
}
_NETWORK = Backoff(1, 60)
# A kill switch that has fired is carried out: what it cancels is at risk until then.
_HALTED = Backoff(1, 5)
_STORE = Backoff(2, 30)
_MISMATCH = Backoff(15, 300)
_UNEXPECTED = Backoff(15, 300)

AfterStep = Callable[[Trader, Store], None]


class GridWorker:
    """Runs one grid, and tries again after what passes.

    Args:
        account: whose account, and how often to look.
        config: of this grid.
        broker: the exchange.
        clock: time.
        after_step: told of every completed step, such as to settle.
        account_hold: see `Session`.

    Attributes:
        config: of this grid.
        state: starting, trading, paused, closed, ending, waiting, halted or stopped.
        reason: why it does not trade; empty where it does.
        blocked_until: no step before this time (monotonic seconds).
        trader: the grid; None before the state was opened, and after an unexpected error.
        cause: what a waiting grid waits for, in one word; empty where it does not.
        steps: how long completed steps took.
        answers: what came of the orders that were sent.
        unexpected: the latest unexpected error; None where there was none.
        published: how often it was told what is new.
    """

    def __init__(
        self,
        account: AccountConfig,
        config: GridConfig,
        broker: Broker,
        clock: Clock,
        after_step: AfterStep | None = None,
        *,
        account_hold: Callable[[], str] = str,
    ) -> None:
        self.config = config
        self.state = "starting"
        self.reason = "starting"
        self.cause = ""
        self.steps = Durations(STEP_BOUNDS)
        self.answers = Answers()
        self.blocked_until = clock.monotonic()
        self.trader: Trader | None = None
        self.unexpected: Unexpected | None = None
        self.published = 0
        self._account = account
        self._broker = broker
        self._clock = clock
        self._after_step = after_step
        self._account_hold = account_hold
        self._sampler = Sampler(config.symbol)
        self._failures = 0
        self._progress = 0  # of the trader, at the latest failure
        self._asks = True  # whether the exchange may be asked for the price while a step waits
        self._mistrusted = False  # whether the next step begins with what is stored
        self._due = clock.monotonic()
        self._last_step = clock.monotonic()
        self._winding_down_since: float | None = None
        self._document = base_document(account, config)
        self._drawdown = Drawdown()
        self._fall: float | None = None
        self._traded: list[Traded] = []
        self._traded_at: tuple[int, int] | None = None  # grid run and progress that they are of
        self._price_ms: int | None = None  # when the price was seen
        self._prices: deque[tuple[int, str]] = deque(maxlen=HISTORY)
        self._lock = threading.Lock()  # the page's threads read what `publish` writes

    def turn(self, open_store: Callable[[], Store]) -> float:
        """One step where it is time for one, else a check of the kill switches.

        Returns:
            Seconds to wait before the next turn.

        Raises:
            UserError: what waiting cannot heal.
        """
        if self._broker.closed_until is not None:
            return self._hold_still(self._broker.closed_until)
        now = self._clock.monotonic()
        waits = now < self.blocked_until
        if waits or (now < self._due and not self._broker.news):
            fired = self._look(asks=waits and self._asks)
            if not fired:
                next_step = self.blocked_until if waits else self._due
                return min(max(next_step - self._clock.monotonic(), 0.0), LOOK_SECONDS)
        pause = self.step(open_store)
        self._due = self._clock.monotonic() + pause
        return min(pause, LOOK_SECONDS)

    def _hold_still(self, opens_ms: int) -> float:
        """Send and ask nothing: stops are judged at the price that the market opens at."""
        self._last_step = self._due = self._clock.monotonic()
        opens = datetime.fromtimestamp(opens_ms / 1000, UTC)
        self.publish("closed", f"the market is closed until {opens:%Y-%m-%d %H:%M} UTC")
        return LOOK_SECONDS

    def _look(self, *, asks: bool) -> bool:
        """Look whether a kill switch fires; they do not wait for what a step waits for."""
        if self.trader is None:
            return False
        try:
            return self.trader.look(asks=asks)
        except (BrokerError, MismatchError) as error:
            log.debug("%s: the kill switches cannot be checked: %s", self.config.symbol, error)
        except StoreError as error:
            if error.lasting:
                raise
            self._forget()
            self._wait(error, _STORE)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001  as in a step
            self._start_over(error)
        return False

    def step(self, open_store: Callable[[], Store]) -> float:
        """One step; returns the seconds to wait before the next.

        Raises:
            UserError: what waiting cannot heal.
        """
        self._asks = True
        if self._mistrusted:
            self._forget()
        try:
            return self._advance(open_store())
        except BrokerError as error:
            self._asks = error.failure is not Failure.RATE_LIMITED
            return self._wait(error, self._patience(error), asked=error.retry_after)
        except MismatchError as error:
            self._mistrusted = True
            return self._wait(error, _MISMATCH)
        except StoreError as error:
            if error.lasting:
                raise
            self._forget()
            return self._wait(error, _STORE)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001  the log gets the trace, /health the reason
            return self._start_over(error)

    def _advance(self, store: Store) -> float:
        """One step that nothing stops."""
        began = self._clock.monotonic()
        if self.trader is None:
            session = Session(self._account, self.config, self._broker, store, self._clock)
            session.account_hold = self._account_hold
            session.answers = self.answers
            self.trader = Trader(session)
        again = self.trader.step()
        self._sample(self.trader, store)
        self._note_trades(self.trader, store)
        if self._after_step is not None:
            self._after_step(self.trader, store)
        # Last: the kill switches do not wait for what the exchange lists.
        check_listed(self.trader.session)
        if self._failures:
            log.info("%s: trading again", self.config.symbol)
        self._failures = 0
        self._last_step = self.blocked_until = self._clock.monotonic()
        self.steps.observe(self._last_step - began)
        self.publish(*state_of(self.trader))
        poll = float(self._account.poll_seconds)
        return min(poll, SHORT_PAUSE_SECONDS) if again else poll

    def _start_over(self, error: Exception) -> float:
        """Go on after an unexpected error as after a power cut, the last that there is to do.

        Nothing that is in memory is believed any more: the next step loads the grid from the store
        and asks the exchange for every intent and every trade before anything is sent.
        """
        self.trader = None
        before, now, times = self.unexpected, self._clock.monotonic(), 1
        if before is not None and now - before.at < UNEXPECTED_SECONDS:
            times += before.times
        self.unexpected = Unexpected(what(error), times, now)
        pause = _UNEXPECTED.pause(times)
        log.error(
            "%s waits: %s (next try in %.0f s)\n%s",
            self.config.symbol,
            self.unexpected.reason,
            pause,
            trace(error),
        )
        return self._pause(self.unexpected.reason, pause, "unexpected")

    def _forget(self) -> None:
        self._mistrusted = False
        if self.trader is not None:
            self.trader.forget()

    def _patience(self, error: BrokerError) -> Backoff:
        fired = self.trader is not None and self.trader.is_halting
        return _PATIENCE.get(error.failure, _HALTED if fired else _NETWORK)

    def _wait(self, error: Exception, patience: Backoff, *, asked: float | None = None) -> float:
        progress = 0 if self.trader is None else self.trader.session.progress
        if progress != self._progress:
            self._failures, self._progress = 0, progress
        pause = patience.pause(self._failures + 1, asked)
        reason = str(error)
        level = logging.ERROR if reason != self.reason else logging.DEBUG
        symbol = self.config.symbol
        text = reason.removeprefix(f"{symbol}: ")
        log.log(level, "%s waits: %s (next try in %.0f s)", symbol, text, pause)
        return self._pause(reason, pause, cause_of(error))

    def _pause(self, reason: str, pause: float, cause: str) -> float:
        self._failures += 1
        self._last_step = self.blocked_until = self._clock.monotonic() + pause
        self.publish("waiting", reason, cause)
        return pause

    def _note_trades(self, trader: Trader, store: Store) -> None:
        """Read the latest trades for the page, once there may be new ones."""
        grid_run = trader.grid_run or store.grid_run(self.config.symbol)
        if grid_run is None:
            return
        at = (grid_run.id, trader.session.progress)
        if at != self._traded_at:
            self._traded = latest(store, grid_run, RECENT_FILLS)
            self._traded_at = at

    def _sample(self, trader: Trader, store: Store) -> None:
        if trader.price is not None and trader.engine is not None:
            lines = trader.engine.plan.lines
            self._sampler.see(trader.price, lines[0], lines[-1], self._clock.now_ms())
        store.sample(self._sampler.take_finished(self._clock.now_ms()))

    def finish(self, store: Store | None) -> None:
        """Write down what is only in memory, at the end of the run."""
        if store is not None:
            store.sample(self._sampler.take_all())
        self.publish("stopped", "stopped")

    def publish(self, state: str, reason: str, cause: str = "") -> None:
        """Make the latest step visible."""
        document = self._document
        trader = self.trader
        # After an error that dropped the grid, what was known last is better than nothing.
        if trader is not None and (trader.engine or trader.halt or state != "waiting"):
            document = status_document(trader, self._traded)
        with self._lock:
            self._note_wind_down(state)
            self.state, self.reason, self.cause, self._document = state, reason, cause, document
            self._fall = self._drawdown.see(document)
            self.published += 1
            if document["price"] is not None and state not in NOT_LOOKING:
                self._price_ms = self._clock.now_ms()
                self._note_price(self._price_ms, document["price"])

    def _note_price(self, now_ms: int, price: str) -> None:
        """Keep a price for the chart: one for each step, and the latest."""
        seen = self._prices
        if len(seen) > 1 and seen[-1][0] - seen[-2][0] < HISTORY_STEP_MS:
            seen.pop()
        seen.append((now_ms, price))

    def _note_wind_down(self, state: str) -> None:
        """Remember since when the grid ends; an error in between does not begin it anew."""
        if state == "waiting":
            return
        if state != "ending" or (self.trader is not None and is_held(self.trader)):
            self._winding_down_since = None
        elif self._winding_down_since is None:
            self._winding_down_since = self._clock.monotonic()

    # For the page, from other threads.

    def document(self) -> dict[str, Any]:
        """What is known about the grid."""
        with self._lock:
            seen = self._price_ms
            if seen is not None and self.state not in NOT_LOOKING:
                seen -= seen % 60_000  # a look that finds nothing new changes nothing
            own = {"state": self.state, "reason": self.reason, "cause": self.cause}
            return {**own, "price_ms": seen, "drawdown": self._fall, **self._document}

    def prices(self) -> list[tuple[int, str]]:
        """Latest prices: times (Unix milliseconds) and prices."""
        with self._lock:
            return list(self._prices)

    def troubles(self) -> list[str]:
        """Why this grid is not well; empty where it is."""
        shown = self.document()
        reasons = (
            [shown["reason"]] if shown["reason"] and shown["state"] not in AS_IT_SHOULD else []
        )
        refused = [order for order in shown["orders"] if order["refused"]]
        reasons += self._lasting_troubles(shown)
        reasons += [shown["funds_missing"]] * bool(shown["funds_missing"])
        reasons += [f"order {order['client_id']}: {order['refused']}" for order in refused[:3]]
        if len(refused) > 3:
            reasons.append(f"{len(refused) - 3} more orders are refused")
        silent = self._clock.monotonic() - self._last_step
        limit = max(STALE_SECONDS, 10 * float(self._account.poll_seconds))
        if shown["state"] != "stopped" and silent > limit:
            reasons.append(f"the last step took place {silent:.0f} s ago")
        return reasons

    def _lasting_troubles(self, shown: dict[str, Any]) -> list[str]:
        """What one step that went well has not healed."""
        reasons, now = [], self._clock.monotonic()
        unexpected, since = self.unexpected, self._winding_down_since
        if unexpected is not None and unexpected.times > 1:
            lasts = now - unexpected.at < UNEXPECTED_SECONDS
            if lasts and shown["reason"] != unexpected.reason:
                reasons.append(unexpected.reason)
        if since is not None and now - since > WIND_DOWN_SECONDS:
            reasons.append(
                f"the grid has been winding down for {(now - since) / 60:.0f} min, "
                f"{shown['open_orders']} of its orders are open"
            )
        return reasons
