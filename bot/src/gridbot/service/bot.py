"""Runs a bot until it is stopped: all its grids in turn, on one account."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from gridbase.clock import Clock
from gridbase.errors import UserError, named, of_grid

from gridbot.accounting.trade_history import Place
from gridbot.config.load import BotConfig
from gridbot.exchanges.account import Account
from gridbot.service.books_reader import BooksReader, Fills
from gridbot.service.grid_state import STATES
from gridbot.service.grid_worker import AfterStep, GridWorker
from gridbot.service.machine import machine
from gridbot.service.metrics import Timings
from gridbot.service.status import totals
from gridbot.store import Store, StoreError
from gridbot.trading.account_guard import AccountGuard, Judge
from gridbot.trading.run_settings import check_running

log = logging.getLogger(__name__)


MACHINE_SECONDS = 30.0


class Runner:
    """One bot.

    Args:
        config: a valid configuration.
        account: on the exchange.
        open_store: opens the state; it may fail for a while (a full disk).
        clock: time; its stop ends the run.
        after_step: told of every completed step of a grid.
        guard: what is known of the account as a whole; None: nobody judges it.
        judge: judges the account, where this bot is to; it tells `guard`.
    """

    def __init__(
        self,
        config: BotConfig,
        account: Account,
        open_store: Callable[[], Store],
        clock: Clock,
        after_step: AfterStep | None = None,
        *,
        guard: AccountGuard | None = None,
        judge: Judge | None = None,
    ) -> None:
        self._guard, self._judge = guard, judge
        hold = str if guard is None else guard.hold
        self._config = config
        self._account = account
        self._open_store = open_store
        self._clock = clock
        self._store: Store | None = None
        self._started = clock.monotonic()
        self._has_been_well = False
        self._workers = [
            GridWorker(
                config.account,
                grid,
                account.broker(grid.symbol),
                clock,
                after_step,
                account_hold=hold,
            )
            for grid in config.grids
        ]
        self._connection: dict[str, object] = {}
        self._machine: dict[str, Any] = {}
        self._machine_at = float("-inf")
        self._books = BooksReader(
            config.state_directory, [grid.symbol for grid in config.grids], clock
        )
        self._lock = threading.Lock()  # the page's threads read what the loop publishes

    def run(self) -> None:
        """Trade until the clock is stopped. Orders are left resting on the exchange.

        Raises:
            UserError: what waiting cannot heal.
        """
        try:
            while not self._clock.stopping:
                self._account.wait(self._step())
        finally:
            try:
                for worker in self._workers:
                    worker.finish(self._store)
            finally:
                if self._store is not None:
                    self._store.close()
        log.info("stopped; open orders are left on the exchange")

    def _step(self) -> float:
        """Let every grid have its turn; returns the seconds until one has to be again."""
        self._step_guard()
        pauses = [self._step_worker(worker) for worker in self._workers]
        with self._lock:
            self._connection = self._account.document()
        return min(pauses)

    def _step_guard(self) -> None:
        """Judge the account, and fire the kill switches where its limit was passed."""
        if self._guard is None or self._store is None:
            return  # before the books are open nothing is bought: the guard has heard nothing
        try:
            if self._judge is not None:
                self._judge.turn(self._store)
            self._guard.enforce(self._store, self._config.grids, self._clock.now_ms())
        except StoreError as error:
            if error.lasting:
                raise
            log.warning("the account's guard waits: %s", error)

    def _step_worker(self, worker: GridWorker) -> float:
        try:
            return worker.turn(self._opened)
        except UserError:
            if self._store is None:
                raise  # nothing of one grid: the books were not opened
            with of_grid(worker.config.symbol):
                raise

    def _opened(self) -> Store:
        if self._store is None:
            store = self._open_store()
            try:
                check_running(self._config, store)
            except UserError:
                store.close()
                raise
            self._store = store
        return self._store

    # For the page, from other threads.

    @property
    def revision(self) -> int:
        """Another one once there may be something new to say."""
        return sum(worker.published for worker in self._workers)

    def health(self) -> dict[str, Any]:
        """Whether the bot is well, and if not, why; and whether it has been since it began."""
        several = len(self._workers) > 1
        reasons = [
            named(worker.config.symbol, reason) if several else reason
            for worker in self._workers
            for reason in worker.troubles()
        ]
        if self._guard is not None and self._guard.silent:
            reasons.append(self._guard.hold())
        self._has_been_well |= not reasons
        state = {"state": self._state(), "started": self._has_been_well}
        return {"ok": not reasons, **state, "reasons": reasons}

    def _state(self) -> str:
        """The state that most asks for attention."""
        states = {worker.state for worker in self._workers}
        return next(state for state in STATES if state in states)

    def status(self) -> dict[str, Any]:
        """The document behind `/api/status`: the first grid's fields, and `grids` with all."""
        health = self.health()
        grids = [worker.document() for worker in self._workers]
        with self._lock:
            connection = self._connection
        return {
            **grids[0],
            "state": health["state"],
            "uptime_seconds": int(self._clock.monotonic() - self._started),
            "connection": connection,
            "health": {"ok": health["ok"], "reasons": health["reasons"]},
            "totals": totals(grids),
            "grids": grids,
        }

    def timings(self) -> Timings:
        """How long things took, for `/metrics`."""
        store = self._store
        return Timings(
            acknowledgements={one.config.symbol: one.answers.durations for one in self._workers},
            steps={one.config.symbol: one.steps for one in self._workers},
            commits=None if store is None else store.commits,
            books_bytes={} if store is None else store.sizes(),
        )

    def history(self) -> dict[str, Any]:
        """The document behind `/api/history`: times (Unix milliseconds) and prices."""
        books = self._books.document()["grids"]
        return {
            "hours": {symbol: grid["hours"] for symbol, grid in books.items()},
            "prices": self._workers[0].prices(),
            "grids": {worker.config.symbol: worker.prices() for worker in self._workers},
        }

    def books(self) -> dict[str, Any]:
        """The document behind `/api/books`: days and ended grids, read from the books."""
        return self._books.document()

    def machine(self) -> dict[str, Any]:
        """Machine and container; looked at twice a minute at most."""
        now = self._clock.monotonic()
        if now - self._machine_at > MACHINE_SECONDS:
            self._machine, self._machine_at = machine(self._config.state_directory), now
        return self._machine

    def fills(self, symbol: str, count: int, after: Place | None) -> Fills:
        """A page of the trades of a symbol's latest grid, newest first.

        Args:
            symbol: unified name.
            count: how many at most.
            after: where the page before ended.

        Raises:
            UserError: the books cannot be read.
        """
        store = self._store
        commits = None if store is None else store.commits.total[0]
        return self._books.fills(symbol, commits, count, after)
