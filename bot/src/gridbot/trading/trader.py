"""Keeps one grid and the exchange in step.

All I/O of trading happens in the parts that this module puts in order:

1. every intent without an answer is settled: the exchange is asked for its client order ID
   (`submission`);
2. what happened is read, from the stream or by asking (`reconciliation`);
3. what happened and the orders that answer it are committed in one transaction;
4. only then are those orders sent, and no buy before the kill switches were judged at the price of
   now (`RiskGuard.clears`);
5. the policies look at the grid: they may pause buys, end it or move it (`risk_guard`,
   `start_grid`).

A step may stop at any point, by an error or by a power cut: the next one begins with 1. The kill
switches are judged whatever stops it.
"""

import logging
from decimal import Decimal

from gridbase.errors import MismatchError, UserError

from gridbot.core.engine import GridEngine
from gridbot.core.orders import OrderState, Role
from gridbot.core.orders_in_flight import Refusal
from gridbot.exchanges.port import Broker, BrokerError, Failure
from gridbot.store import GridResult, GridRun, HaltRow
from gridbot.trading import start_grid
from gridbot.trading.cancels import cancel_all, hurry
from gridbot.trading.funds import Funds
from gridbot.trading.reconciliation import Reconciler
from gridbot.trading.risk_guard import RiskGuard
from gridbot.trading.session import Session, WindDown
from gridbot.trading.submission import settle

log = logging.getLogger(__name__)

# A grid that cannot move now tries again after this time; its kill switches are checked meanwhile.
MOVE_AGAIN_SECONDS = 30.0


class Trader:
    """One grid on one account.

    Args:
        session: of a grid that nobody else trades.

    Attributes:
        session: what its parts share.
        halt: the kill switch that has fired; None where none has.
        result: what the latest grid that has ended came to; None where none has.
        held_back: why a grid that moves cannot go on in its new range yet; empty where it can.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.halt: HaltRow | None = None
        self.result: GridResult | None = None
        self.held_back = ""
        self._move_at = float("-inf")
        self._reconciler = Reconciler(self.session)
        self._risk_guard = RiskGuard(self.session, self._reconciler)
        self._funds = Funds(self.session)

    @property
    def price(self) -> Decimal | None:
        """The latest price that was seen (quote); None before the first look."""
        return self.session.price

    @property
    def broker(self) -> Broker:
        """The exchange."""
        return self.session.broker

    @property
    def engine(self) -> GridEngine | None:
        """The grid in memory; None until it is loaded or started, and after its end."""
        return self.session.engine

    @property
    def grid_run(self) -> GridRun | None:
        """The stored grid; None where there is none under way."""
        return self.session.grid_run

    @property
    def refused(self) -> dict[str, Refusal]:
        """Orders that the exchange refused, by client order ID."""
        return self.session.orders.refused

    @property
    def foreign_orders(self) -> int:
        """Open orders on the account that are not this bot's."""
        return self._reconciler.foreign.count

    @property
    def funds_missing(self) -> str:
        """Why the account cannot pay the grid's next buys; empty where it can."""
        return self._funds.missing

    @property
    def unsettled(self) -> int:
        """Number of orders of which it is not known yet whether the exchange has them."""
        return self.session.unsettled

    @property
    def paused(self) -> str:
        """Why new buys wait; empty where they do not."""
        return self.session.paused

    @property
    def paused_by_hand(self) -> bool:
        """Whether a person has paused the grid."""
        return self.session.pause is not None

    @property
    def wind_down(self) -> WindDown | None:
        """Why the grid comes to its end; None while it runs."""
        return self.session.wind_down

    def forget(self) -> None:
        """Drop what is in memory; the next step loads it from the store again."""
        self.session.forget()
        self.held_back = ""
        self._reconciler.forget()

    def step(self) -> bool:
        """Bring grid and exchange in step once.

        Returns:
            Whether there is more to do at once.

        Raises:
            BrokerError: the exchange failed; try again later.
            MismatchError: books and exchange disagree; nothing is traded.
            StoreError: the state cannot be written; `forget` before trying again.
            UserError: the configuration is wrong.
        """
        if self.session.engine is None:
            self._load()
        try:
            return self._step()
        except (BrokerError, MismatchError) as error:
            if not self._halted_after(error):
                raise
            return True

    def look(self, *, asks: bool) -> bool:
        """Look whether a kill switch fires, where a step has to wait; nothing is sent.

        Args:
            asks: the exchange may be asked; else only what its streams have told counts.

        Returns:
            Whether one has fired: there is something to do at once.

        Raises:
            BrokerError: the exchange failed.
            MismatchError: books and exchange disagree.
            StoreError: the state cannot be written; `forget` before trying again.
        """
        engine = self.session.engine
        if engine is None or not self._is_watched:
            return False
        try:
            if asks and self.session.config.stop.by_equity:
                self._reconciler.follow(engine)
            self._risk_guard.look(engine, asks=asks)
        except (BrokerError, MismatchError) as error:
            if not self._halted_after(error):
                raise
        return not self._is_watched

    @property
    def is_halting(self) -> bool:
        """Whether a kill switch has fired, and its grid has not ended yet."""
        wind_down = self.session.wind_down
        return wind_down is not None and wind_down.next_range is None

    @property
    def _is_watched(self) -> bool:
        """Whether a kill switch may still fire for the grid."""
        wind_down = self.session.wind_down
        running = wind_down is None or wind_down.next_range is not None
        return running and self.session.config.stop.enabled

    def _halted_after(self, error: BrokerError | MismatchError) -> bool:
        """Whether a kill switch fires though a step has failed."""
        engine = self.session.engine
        if engine is None or not self._is_watched:
            return False
        if isinstance(error, MismatchError):
            self._reconciler.forget()
        limited = isinstance(error, BrokerError) and error.failure is Failure.RATE_LIMITED
        try:
            self._risk_guard.look(engine, asks=not limited)
        except BrokerError as also:
            log.debug("%s: no price either: %s", self.session.config.symbol, also)
        if not self._is_watched:
            log.warning("%s: %s", self.session.config.symbol, error)
        return not self._is_watched

    def _step(self) -> bool:
        session, engine = self.session, self.session.engine
        self._risk_guard.listen(engine)
        wind_down = session.wind_down
        if engine is not None and wind_down is not None and wind_down.next_range is None:
            return self._wind_down(engine)  # which needs nothing else to be in order
        start_grid.rules_of(session)
        self._risk_guard.pause()
        if engine is None and not self._begin():
            return False
        engine = session.engine
        if engine is None:
            raise AssertionError("a grid was loaded or started")
        return self._trade(engine) if session.wind_down is None else self._wind_down(engine)

    def _load(self) -> None:
        """Load the grid that is stored, where it has not ended."""
        session = self.session
        grid_run = session.store.grid_run(session.config.symbol)
        self.halt = session.store.open_halt(session.config.symbol)
        self.result = None if grid_run is None else grid_run.result
        if grid_run is None or grid_run.closed_ms is not None:
            return
        start_grid.load(session, grid_run)
        self._reconciler.forget()
        unfinished = (grid_run.watch or {}).get("ending")
        session.wind_down = None if unfinished is None else WindDown.from_document(unfinished)
        if session.engine is not None:
            session.engine.winding_down = session.wind_down is not None

    def _begin(self) -> bool:
        """Start a new grid; whether one may begin now."""
        session = self.session
        session.price = self.broker.last_price()
        if self.halt is not None:
            return False
        grid_run = session.store.grid_run(session.config.symbol)
        if session.paused or not self._risk_guard.may_begin(session.price):
            start_grid.refuse_unwatched(session, grid_run)
            return False
        start_grid.start(session, self._reconciler, grid_run)
        return True

    def _trade(self, engine: GridEngine) -> bool:
        session = self.session
        settle(session, engine)
        if engine.waiting_for_price and session.compared:
            # The rest may have to wait for money; the kill switches of what is bought do not.
            self._risk_guard.look(engine)
            if session.wind_down is not None:
                return True
            if session.pause is None:
                start_grid.reprice(session, engine)
                settle(session, engine)
        failed = cancel_all(session, engine) if session.pause and session.pause.cancel else {}
        self._reconciler.follow(engine)
        start_grid.refuse_open(engine, failed)
        settle(session, engine)
        self._risk_guard.look(engine)
        if not engine.grid_started and session.wind_down is None:
            hurry(session, engine)
        self._funds.look(engine)
        doubtful = self._reconciler.passed.due(engine)
        return session.again or doubtful or session.wind_down is not None

    def _wind_down(self, engine: GridEngine) -> bool:
        session = self.session
        wind_down = self._watched_wind_down(engine)
        if not start_grid.continue_wind_down(session, engine, self._reconciler, wind_down):
            self._risk_guard.look(engine)
            return True
        if wind_down.next_range is None:
            start_grid.close(session, engine, wind_down)
            ended = session.store.grid_run(session.config.symbol)
            self.result = None if ended is None else ended.result
        elif self._watched_wind_down(engine) is not wind_down:
            return True  # what is held may be for sale now
        elif not self._move(engine, wind_down):
            return False  # no grid begins now: this one stays, and is watched
        self.halt = session.store.open_halt(session.config.symbol)
        self._reconciler.forget()
        return self.halt is None

    def _move(self, engine: GridEngine, wind_down: WindDown) -> bool:
        """Begin the grid in the new range; whether one may begin now."""
        if self.session.paused:
            self.held_back = ""
            return False
        if self.session.clock.monotonic() < self._move_at:
            return False
        try:
            start_grid.move(self.session, engine, self._reconciler, wind_down)
        except BrokerError as error:
            if error.failure is not Failure.REJECTED:
                raise
            self._hold_back(str(error))
            return False
        self.held_back = ""
        return True

    def _hold_back(self, reason: str) -> None:
        if reason != self.held_back:
            symbol = self.session.config.symbol
            log.error("%s cannot move yet: %s", symbol, reason.removeprefix(f"{symbol}: "))
        self.held_back = reason
        self._move_at = self.session.clock.monotonic() + MOVE_AGAIN_SECONDS

    def _watched_wind_down(self, engine: GridEngine) -> WindDown:
        """Why the grid ends: a move becomes an end for good where a kill switch fires meanwhile."""
        wind_down = self.session.wind_down
        if wind_down is not None and wind_down.next_range is not None:
            self._risk_guard.look(engine)
            wind_down = self.session.wind_down
        if wind_down is None:
            raise AssertionError("the grid comes to its end")
        if wind_down.next_range is None:
            self.held_back = ""
        return wind_down

    def close_grid(self, patience_seconds: float) -> int:
        """Cancel this grid's open orders, book what they traded, and end it.

        Args:
            patience_seconds: how long to wait for the exchange to confirm everything.

        Returns:
            Number of orders that were canceled.

        Raises:
            UserError: there is no running grid, or the exchange does not confirm in time.
        """
        session = self.session
        start_grid.rules_of(session)
        grid_run = session.store.grid_run(session.config.symbol)
        if grid_run is None or grid_run.closed_ms is not None:
            raise UserError(f"state.directory = {session.store.directory}: no grid is running")
        start_grid.load(session, grid_run, to_end=True)
        engine = session.engine
        if engine is None:
            raise AssertionError("the grid was loaded")
        deadline = session.clock.monotonic() + patience_seconds
        canceled = {
            order.client_id
            for order in engine.live.values()
            if order.state is OrderState.OPEN and order.role is not Role.LIQUIDATION
        }
        wind_down = WindDown("closed by hand")
        while not start_grid.continue_wind_down(session, engine, self._reconciler, wind_down):
            if session.clock.monotonic() > deadline:
                raise BrokerError(
                    Failure.AMBIGUOUS,
                    f"{len(engine.live)} orders are not confirmed as closed yet; run this again",
                )
            session.broker.wait(1.0)
        start_grid.close(session, engine, wind_down)
        return len(canceled)
