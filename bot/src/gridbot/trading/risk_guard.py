"""Watches over one grid: pauses buys, stops it for good, moves it. Decides by the pure policies."""

import logging
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from gridbase.errors import UserError
from gridbase.market import plain

from gridbot.core.engine import GridEngine
from gridbot.core.grid import make_plan
from gridbot.core.prices import Seen
from gridbot.exchanges.port import BrokerError, Failure
from gridbot.indicators.candle_cache import CandlesMissingError
from gridbot.policies.buy_filters import TrendFilter, VolatilityFilter
from gridbot.policies.kill_switches import Halt, KillSwitchState, KillSwitchWatch, at_price
from gridbot.policies.kill_switches import check as check_stops
from gridbot.policies.range_moves import CONFIRM_MS, left, new_range
from gridbot.policies.support_resistance import find_levels
from gridbot.store import GridRun, PauseRow
from gridbot.trading.reconciliation import Reconciler
from gridbot.trading.session import Session, WindDown

log = logging.getLogger(__name__)

# A price that was asked for so long ago is not the price of now: no buy leaves by it.
FRESH_SECONDS = 3.0
# Without a stream the price is asked for no more often than this, unless for a buy.
ASKED_AGAIN_SECONDS = 1.0
# A new range that cannot be traded is looked for again after this time.
REFUSED_PAUSE_MS = 600_000


class RiskGuard:
    """The policies of one grid, and what they remember.

    Args:
        session: the grid.
        reconciler: knows whether its books are up to date.
    """

    def __init__(self, session: Session, reconciler: Reconciler) -> None:
        self._session = session
        self._reconciler = reconciler
        self._asked_at = float("-inf")  # when the latest price that came was asked for (monotonic)
        self._asked_news = -1  # and what was known then
        session.clears = self.clears
        self._watched: int | None = None  # grid run whose kill switches are watched
        self._stops = KillSwitchWatch(session.config.stop, KillSwitchState())
        self._written = KillSwitchState()
        self._investment = Decimal(0)
        self._filtered = ""  # what the filters said at the latest look
        self._held_back = ""  # why no grid began at the latest look
        self._left_since_ms: int | None = None
        self._refused_ms = (
            -REFUSED_PAUSE_MS
        )  # when the latest new range was found not to be tradable

    def listen(self, engine: GridEngine | None) -> None:
        """Take what a person has written down beside this process: a pause, or an end.

        Before anything is done about an end it is written down beside the grid, too: see `_halt`.
        """
        session = self._session
        before, session.pause = session.pause, session.store.open_pause(session.config.symbol)
        if session.pause is None and before is not None:
            log.info("%s goes on", session.config.symbol)
        elif session.pause is not None and before is None:
            log.warning("%s %s", session.config.symbol, paused_by_hand(session.pause))
        grid_run, wind_down = session.grid_run, session.wind_down
        if engine is None or grid_run is None or (wind_down and wind_down.next_range is None):
            return
        halt = session.store.open_halt(session.config.symbol)
        if halt is not None:
            if self._watched != grid_run.id:
                self._take_up(grid_run)
            wind_down = WindDown(halt.text, liquidate=halt.liquidate, takes_over=True)
            document = self._document() | {"ending": wind_down.document()}
            session.store.set_watch(grid_run.id, document)
            log.error("%s stopped by %s: %s", halt.symbol, halt.reason_code, halt.text)
            session.wind_down = wind_down  # which this step begins with

    def pause(self) -> None:
        """Find out whether new buys wait, and why.

        Without candles they do: a filter that is switched on must not be blind.
        """
        config = self._session.config
        if self._session.pause is not None:
            self._session.paused = paused_by_hand(self._session.pause)
            return
        reasons = [self._verdict(rule) for rule in (config.trend, config.volatility)]
        reasons.append(self._session.account_hold())
        paused = "; ".join(reason for reason in reasons if reason)
        if _kind(paused) != _kind(self._filtered):
            log.info(
                "%s: new buys %s", config.symbol, f"pause: {paused}" if paused else "go on again"
            )
        self._session.paused = self._filtered = paused

    def _verdict(self, rule: TrendFilter | VolatilityFilter) -> str | None:
        if not rule.enabled:
            return None
        try:
            return rule.verdict(self._session.candles(*rule.needs()))
        except CandlesMissingError as error:
            return f"no candles: {error}"
        except BrokerError as error:
            if error.failure in {Failure.RATE_LIMITED, Failure.AUTH}:
                raise  # the whole bot has to wait
            return f"no candles: {error}"

    def may_begin(self, price: Decimal) -> bool:
        """Whether a grid that began at this price (quote) would not be halted at once."""
        found = at_price(self._session.config.stop, price)
        if found is None:
            self._held_back = ""
            return True
        code, text = found
        reason = f"no grid begins while stop.{code} holds: {text}"
        if _kind(reason) != _kind(self._held_back):
            log.info("%s: %s", self._session.config.symbol, reason)
        self._session.paused = self._held_back = reason
        return False

    def clears(self, engine: GridEngine) -> bool:
        """Whether an order that adds risk may leave now.

        It may while no kill switch fires at the price of now: one that was asked for after all
        that is known became known. What the stream has told since counts as well. Rules that
        count equity must know what has traded.
        """
        rules = self._session.config.stop
        if not rules.enabled:
            return True
        if rules.by_equity and not self._reconciler.current:
            return False
        self.look(engine, asks=False)
        if not self._is_fresh and not engine.winding_down:
            self._ask(engine)
        return self._is_fresh and not engine.winding_down

    @property
    def _is_fresh(self) -> bool:
        """Whether the price that was asked for last is the price of now."""
        return self._asked_news == self._session.news and self._asked_ago <= FRESH_SECONDS

    @property
    def _asked_ago(self) -> float:
        """Seconds since the latest price that came was asked for."""
        return self._session.clock.monotonic() - self._asked_at

    def _ask(self, engine: GridEngine) -> None:
        asked_at = self._session.clock.monotonic()
        seen = self._session.broker.look()
        self._asked_news, self._asked_at = self._session.news, asked_at
        self.watch(engine, seen)

    def look(self, engine: GridEngine, *, asks: bool = True) -> None:
        """Look at the grid at the prices since the last look; end it where a rule says so.

        Args:
            engine: the grid.
            asks: the exchange may be asked where no stream tells the price.
        """
        session = self._session
        seen = session.broker.told()
        if seen is not None:
            self.watch(engine, seen)
        elif not asks:
            return
        elif not session.config.stop.enabled:
            self.watch(engine, Seen.at(session.broker.last_price()))
        elif session.price is not None and self._asked_ago < ASKED_AGAIN_SECONDS:
            self.watch(engine, Seen.at(session.price))
        else:
            self._ask(engine)

    def watch(self, engine: GridEngine, seen: Seen) -> None:
        """Look at the grid at prices; also while it is given up for a move.

        What it holds is still to be watched then.
        """
        grid_run, price = self._session.grid_run, seen.last
        self._session.price = price
        self._reconciler.passed.see(engine, seen, self._session.clock.monotonic())
        if grid_run is None or (engine.winding_down and self._moves is None):
            return
        if self._watched != grid_run.id:
            self._take_up(grid_run)
        halt = self._stop(engine, grid_run, seen)
        if halt is not None:
            self._halt(engine, grid_run, halt)
            return
        if engine.grid_started and not engine.winding_down:
            self._move(engine, grid_run, price)

    @property
    def _moves(self) -> WindDown | None:
        """The end of a grid that is given up for a move; None where it is not."""
        wind_down = self._session.wind_down
        return None if wind_down is None or wind_down.next_range is None else wind_down

    # Kill switches.

    def _take_up(self, grid_run: GridRun) -> None:
        """Begin to watch a grid, with what was remembered of it."""
        watch = grid_run.watch or {}
        state = KillSwitchState()
        self._investment = grid_run.investment
        if "stop" in watch:
            state = KillSwitchState.from_document(watch["stop"])
            self._investment = Decimal(watch["investment"])
        self._stops = KillSwitchWatch(self._session.config.stop, state)
        self._written = state
        self._left_since_ms = None
        self._watched = grid_run.id

    def _stop(self, engine: GridEngine, grid_run: GridRun, seen: Seen) -> Halt | None:
        if not self._session.config.stop.enabled:
            return None
        equity = engine.books.equity if self._reconciler.current else None
        now = self._session.clock.now_ms()
        halt = self._stops.observe(seen, equity, self._investment, now)
        if halt is None and self._stops.state.worth_writing(self._written):
            self._session.store.set_watch(grid_run.id, self._document())
            self._written = self._stops.state
        return halt

    def _document(self) -> dict[str, object]:
        document: dict[str, object] = {
            "stop": self._stops.state.document(),
            "investment": plain(self._investment),
        }
        if self._moves is not None:
            document["ending"] = self._moves.document()
        return document

    def _halt(self, engine: GridEngine, grid_run: GridRun, halt: Halt) -> None:
        """Write down that the grid is halted, before anything is done about it.

        Its end is written down beside the switch: a person may clear that before the grid has
        ended, and a grid whose orders are half canceled cannot go on.
        """
        session = self._session
        wind_down = WindDown(halt.text, liquidate=session.config.stop.liquidate, takes_over=True)
        session.store.halt(
            session.config.symbol,
            reason_code=halt.reason_code,
            text=halt.text,
            price=halt.price,
            at_ms=halt.at_ms,
            liquidate=wind_down.liquidate,
            ends=(grid_run.id, self._document() | {"ending": wind_down.document()}),
        )
        log.error("%s stopped by %s: %s", session.config.symbol, halt.reason_code, halt.text)
        session.wind_down = wind_down
        engine.winding_down = True

    # The range.

    def _move(self, engine: GridEngine, grid_run: GridRun, price: Decimal) -> None:
        session, rules = self._session, self._session.config.reposition
        if rules.direction == "off":
            return
        lower, upper = engine.plan.lines[0], engine.plan.lines[-1]
        now = session.clock.now_ms()
        way = left(rules, lower, upper, price)
        if way is None:
            self._left_since_ms = None
            return
        if self._left_since_ms is None:
            self._left_since_ms = now
        if now - self._refused_ms < REFUSED_PAUSE_MS or session.paused:
            return  # a grid that is given up while no other may begin leaves its base unwatched
        moved = new_range(
            rules,
            lower,
            upper,
            price,
            spacing=session.config.grid.spacing,
            now_ms=now,
            left_since_ms=self._left_since_ms,
            last_ms=grid_run.started_ms,
            levels=self._levels(now),
        )
        if moved is None or not self._is_tradable(engine, price, moved):
            return
        wind_down = WindDown(f"moved {way}", takes_over=True, next_range=moved)
        session.store.set_watch(grid_run.id, self._document() | {"ending": wind_down.document()})
        log.info("%s moves %s: the price is %s", session.config.symbol, way, plain(price))
        session.wind_down = wind_down
        engine.winding_down = True

    def _is_tradable(
        self, engine: GridEngine, price: Decimal, ends: tuple[Decimal, Decimal]
    ) -> bool:
        """Whether a grid could begin in this range (quote); a running one is not given up else."""
        session = self._session
        spec = replace(
            session.config.grid.spec(*ends), investment=engine.books.equity(price), quantity=None
        )
        try:
            plan = make_plan(spec, engine.market, session.config.fees, price)
            check_stops(session.config.stop, plan.lines[0], plan.lines[-1])
        except UserError as error:
            log.warning("%s stays in its range: %s", session.config.symbol, error)
            self._refused_ms = session.clock.now_ms()
            return False
        return True

    def _levels(self, now: int) -> list[Decimal]:
        """Supports and resistances (quote), once the move is confirmed; none without candles."""
        rules = self._session.config.reposition
        since = self._left_since_ms
        if rules.at != "levels" or since is None or now - since < CONFIRM_MS:
            return []
        try:
            window = self._session.candles(rules.levels_interval, rules.levels_candles)
        except (BrokerError, CandlesMissingError) as error:
            log.warning("%s moves without levels: %s", self._session.config.symbol, error)
            return []
        return [level.price for level in find_levels(window, rules.levels_candles)]


def paused_by_hand(pause: PauseRow) -> str:
    """What a person is told of a pause."""
    since = datetime.fromtimestamp(pause.at_ms / 1000, UTC)
    return f"paused by hand since {since:%Y-%m-%d %H:%M} UTC: {pause.reason}"


def _kind(reason: str) -> str:
    """A reason without its numbers, which change from one look to the next."""
    return re.sub(r"[0-9.]+", "", reason)
