"""How a grid begins and ends: starts it, takes over from the one before, winds it down."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from gridbase.errors import UserError, named
from gridbase.market import EXACT, Market, plain

from gridbot.config.load import GridConfig
from gridbot.core.engine import GridEngine
from gridbot.core.grid import (
    GridSpec,
    Plan,
    grid_lines,
    make_plan,
    plan_warnings,
    smallest_order,
)
from gridbot.core.orders import Role, Side, grid_run_tag
from gridbot.core.orders_in_flight import State
from gridbot.exchanges.port import Broker, BrokerError, Failure
from gridbot.indicators.candle_cache import CandlesMissingError
from gridbot.policies.atr_range import atr_range, candles_for_range
from gridbot.store import GridResult, GridRun
from gridbot.trading.cancels import cancel_all, hurry
from gridbot.trading.handover import Takeover, base_to_carry, elsewhere, takeover_of, watch_goes_on
from gridbot.trading.reconciliation import Reconciler
from gridbot.trading.run_settings import check_settings, settings_of
from gridbot.trading.session import Session, WindDown, engine_of
from gridbot.trading.start_range import check_first, first_purchase, wait_for_range
from gridbot.trading.submission import give_up, latest_arrival, settle

log = logging.getLogger(__name__)


def check_funds(config: GridConfig, broker: Broker, needed: Decimal) -> None:
    """Refuse to begin a grid that the account cannot pay.

    Args:
        config: says what the grid may spend.
        broker: has read the balances.
        needed: what the grid still has to spend (quote).

    Raises:
        BrokerError: names what is there and what is needed.
    """
    free = broker.free_balance(config.quote)
    if free < needed:
        grid = config.grid
        asked = (
            f"grid.quantity = {plain(grid.quantity or Decimal(0))}"
            if grid.investment is None
            else f"grid.investment = {plain(grid.investment)}"
        )
        raise BrokerError(
            Failure.REJECTED,
            f"{config.symbol}: {asked} needs {plain(needed)} "
            f"{config.quote}, and the account has {plain(free)} free; deposit more or invest less",
        )


def load(session: Session, grid_run: GridRun, *, to_end: bool = False) -> None:
    """Take up a stored grid that has not ended, to trade it on or only to end it."""
    check_settings(session.account, session.config, grid_run, to_end=to_end)
    engine = engine_of(session.account, grid_run)
    session.store.restore(grid_run.id, engine)
    session.grid_run, session.engine = grid_run, engine
    session.cursor = grid_run.trade_cursor
    session.compared, session.newer = False, None
    session.traded_since = session.clock.monotonic()
    # A request of the process before may still be on its way.
    session.orders.load(engine.live.values(), latest_arrival(session))
    log.info(
        "%s grid %s loaded: %d orders live, %d buys and %d sells done",
        grid_run.symbol,
        grid_run.tag,
        len(engine.live),
        engine.books.buys,
        engine.books.sells,
    )


def start(session: Session, reconciler: Reconciler, previous: GridRun | None) -> None:
    """Write down a new grid; its first orders are sent when the intents are settled.

    Args:
        session: where it trades.
        reconciler: knows which orders are the bot's.
        previous: the grid before; where it has not ended in the store, its end is written down
            together with the new grid.

    Raises:
        UserError: the grid does not fit this price.
        BrokerError: the account cannot pay it or lacks what is to be taken over, the exchange
            failed, or a grid that goes on from the one before does not fit this price.
        MismatchError: the exchange holds orders of this bot that are in no books.
    """
    broker, market = session.broker, session.market
    if market is None:
        raise AssertionError("the exchange's rules are read first")
    if session.config.stop.enabled:
        # No kill switch fires by what the price did before. From the price that the grid is planned
        # at, all counts: until it is written down and looked at, seconds may pass.
        broker.look_anew()
    price = broker.ask_price()
    opening = broker.balances()
    takeover, carried = _taken_over(session, market, previous, price, opening)
    plan = _first_plan(session, market, takeover, carried, price)
    reconciler.refuse_strays(broker.open_orders())
    cursor = broker.latest_cursor()
    carried_cost = EXACT.multiply(carried, price)
    check_funds(session.config, broker, EXACT.subtract(plan.investment, carried_cost))
    now = session.clock.now_ms()
    newest = session.store.newest_grid_run()
    grid_run = GridRun(
        id=1 if newest is None else newest.id + 1,
        symbol=session.config.symbol,
        tag=grid_run_tag(now, None if newest is None else newest.tag),
        settings=settings_of(session.account, session.config),
        market=market,
        plan=plan,
        investment=plan.investment,
        opening=opening,
        first_cursor=cursor,
        trade_cursor=cursor,
        started_ms=now,
        carried=carried,
        carried_cost=carried_cost,
        watch=watch_goes_on(previous, takeover),
    )
    engine = engine_of(session.account, grid_run)
    changes = session.changes()
    engine.begin(changes)
    session.store.start_grid_run(grid_run, changes, previous if takeover else None)
    session.forget()  # the grid before
    session.grid_run, session.engine, session.cursor = grid_run, engine, cursor
    session.compared = True
    session.orders.take(changes)
    session.committed(changes)
    _say_started(grid_run, plan_warnings(plan, market, session.config.fees))


def _say_started(grid_run: GridRun, warnings: Sequence[str]) -> None:
    plan = grid_run.plan
    for warning in warnings:
        log.warning("%s", warning)
    log.info(
        "%s grid %s started at %s, lines from %s to %s: %d buys, %d sells of %s %s",
        grid_run.symbol,
        grid_run.tag,
        plain(plan.start_price),
        plain(plan.lines[0]),
        plain(plan.lines[-1]),
        len(plan.buy_lines),
        len(plan.sell_lines),
        plain(plan.quantity),
        grid_run.market.base,
    )


def _taken_over(
    session: Session,
    market: Market,
    previous: GridRun | None,
    price: Decimal,
    balances: dict[str, Decimal],
) -> tuple[Takeover | None, Decimal]:
    """What the grid before left to this one, and how much base of that is there (base)."""
    settings = settings_of(session.account, session.config)
    takeover = takeover_of(previous, settings)
    if takeover is not None:
        held = balances.get(market.base, Decimal(0))
        return takeover, base_to_carry(takeover, market, price, held)
    if previous is not None and previous.result is not None and previous.result.takes_over:
        log.warning("%s takes nothing over: %s", market.symbol, elsewhere(previous, settings))
    return None, Decimal(0)


def _first_plan(
    session: Session, market: Market, takeover: Takeover | None, carried: Decimal, price: Decimal
) -> Plan:
    """The plan to begin with.

    Settings with which a grid has run before will do again at another price: that is waited for.
    """
    try:
        spec = _first_spec(session, takeover, carried, price)
        plan = make_plan(spec, market, session.config.fees, price)
        check_first(session.config, plan, market, takeover, carried)
    except UserError as error:
        if takeover is None or takeover.quote is None:
            raise
        raise _passing(session, error) from error
    return plan


def refuse_unwatched(session: Session, previous: GridRun | None) -> None:
    """Refuse to wait as if all were well while the coins of a move are in no grid.

    Older versions ended a grid before the one that went on with its coins had begun.

    Raises:
        BrokerError: there are such coins.
    """
    takeover = takeover_of(previous, settings_of(session.account, session.config))
    if takeover is not None and takeover.next_range is not None and takeover.base > 0:
        raise BrokerError(
            Failure.REJECTED,
            f"{plain(takeover.base)} {session.config.base} of a grid that moved are watched by no "
            f"stop, as {session.paused}; sell them, and begin without them: gridbot resume "
            "--take-nothing",
        )


def _passing(session: Session, error: UserError) -> BrokerError:
    """An error of which the next price may be free; one of the exchange is so already."""
    if isinstance(error, BrokerError):
        return error
    return BrokerError(Failure.REJECTED, named(session.config.symbol, str(error)))


def _first_spec(
    session: Session, takeover: Takeover | None, carried: Decimal, price: Decimal
) -> GridSpec:
    """The grid to begin.

    After a move or a cleared halt it begins with what the grid before left; where its settings
    have changed since, with the investment that they say.
    """
    if takeover is None or takeover.next_range is None:
        spec = _configured(session, price)
    else:
        spec = session.config.grid.spec(*takeover.next_range)
    if takeover is None or takeover.quote is None:
        return spec
    investment = EXACT.add(takeover.quote, EXACT.multiply(carried, price))
    return replace(spec, investment=investment, quantity=None)


def _configured(session: Session, price: Decimal) -> GridSpec:
    """The grid that the configuration asks for, at a price (quote)."""
    grid = session.config.grid
    if grid.fixed is not None:
        return grid.fixed
    if grid.atr is None:
        raise AssertionError("a range is fixed or taken from the market")
    atr = grid.atr
    try:
        window = session.candles(atr.interval, candles_for_range(atr.period))
    except CandlesMissingError as error:
        raise BrokerError(Failure.UNREACHABLE, str(error)) from error
    return grid.spec(*atr_range(window, price, atr.period, atr.multiple))


def reprice(session: Session, engine: GridEngine) -> None:
    """Write down the next order of an initial trade that did not come off."""
    grid_run = session.grid_run
    if grid_run is None:
        raise AssertionError("an engine has a grid run")
    leg = engine.initial_leg()
    selling = leg is not None and leg.side is Side.SELL
    price = session.broker.bid_price() if selling else session.broker.ask_price()
    plan = _plan_again(session, grid_run, engine, price)
    session.broker.balances()
    spent = EXACT.subtract(engine.books.initial_cost, grid_run.carried_cost)
    bought = _bought_again(engine, plan, grid_run.carried)
    if not selling or bought > 0:
        wait_for_range(session.config, plan, engine.market, bought, spent)
    if not selling:
        left = EXACT.subtract(grid_run.investment, grid_run.carried_cost)
        check_funds(session.config, session.broker, EXACT.subtract(left, spent))
    changes = session.changes()
    engine.reprice(changes, plan)
    session.commit(changes)


def _bought_again(engine: GridEngine, plan: Plan, carried: Decimal) -> Decimal:
    """What the next order of the initial trade would buy at the plan's price (base)."""
    leg = engine.initial_leg()
    executed = Decimal(0) if leg is None else engine.books.legs[leg.id].executed
    if leg is None or executed == 0:
        return first_purchase(plan, engine.market, carried)
    if leg.side is Side.SELL:
        return Decimal(0)
    rest = EXACT.subtract(leg.quantity, executed)
    return max(rest, smallest_order(engine.market, plan.start_price))


def _plan_again(session: Session, grid_run: GridRun, engine: GridEngine, price: Decimal) -> Plan:
    """The plan at another price: on the grid's own lines, with what it may spend.

    Where the initial trade has come off in part, only the price is another one.

    Raises:
        BrokerError: it does not fit this price.
    """
    leg, grid, lines = engine.initial_leg(), session.config.grid, grid_run.plan.lines
    if leg is not None and engine.books.legs[leg.id].executed > 0:
        return replace(engine.plan, start_price=price)
    spec = grid.fixed
    if spec is None or grid_lines(spec, engine.market.tick_size) != lines:
        spec = grid.spec(lines[0], lines[-1])
    if spec.quantity != grid_run.plan.quantity:
        spec = replace(spec, investment=grid_run.investment, quantity=None)
    try:
        return make_plan(spec, engine.market, session.config.fees, price)
    except UserError as error:
        raise _passing(session, error) from error


def continue_wind_down(
    session: Session, engine: GridEngine, reconciler: Reconciler, wind_down: WindDown
) -> bool:
    """Take the next step of a grid's end: cancel, book what traded, sell what is held.

    What is open is canceled before anything else is asked, which might fail.

    Returns:
        Whether nothing is left to be done, and it can be closed, or moved.

    Raises:
        BrokerError: the exchange failed; the next call goes on.
        MismatchError: books and exchange disagree.
    """
    engine.winding_down = True
    failed = cancel_all(session, engine)
    settle(session, engine)
    give_up(
        session,
        engine,
        [
            client_id
            for client_id in session.orders.in_state(State.UNSENT)
            if engine.live[client_id].role is not Role.LIQUIDATION
        ],
    )
    reconciler.follow(engine)
    refuse_open(engine, failed)
    hurry(session, engine)
    if engine.live:
        return False
    if wind_down.liquidate:
        changes = session.changes()
        ordered = engine.liquidate(changes, session.broker.bid_price())
        session.commit(changes)
        if ordered:
            settle(session, engine)
            return False
    return True


def refuse_open(engine: GridEngine, failed: Mapping[str, BrokerError]) -> None:
    """Stop at the first order that may not be canceled, and is open, as all was read since.

    Args:
        engine: the grid.
        failed: why, by client order ID; see `cancel_all`.

    Raises:
        BrokerError: there is one.
    """
    for client_id, error in failed.items():
        if client_id in engine.live:
            raise error


def close(session: Session, engine: GridEngine, wind_down: WindDown) -> None:
    """Write down that a grid has ended, once it is wound down."""
    grid_run = _ended(session, engine, wind_down)
    if grid_run.closed_ms is None or grid_run.result is None:
        raise AssertionError("it has ended")
    session.store.close_grid_run(grid_run.id, grid_run.closed_ms, grid_run.result)
    _say_ended(grid_run, grid_run.result)
    session.forget()


def move(session: Session, engine: GridEngine, reconciler: Reconciler, wind_down: WindDown) -> None:
    """End a grid that is wound down, and begin the one that goes on with what it held.

    Both are written down at once: until the next one can begin this one has not ended, so that
    the kill switches go on watching what it holds.

    Raises:
        BrokerError: the exchange failed, or no grid can begin at this price or with what the
            account has.
        MismatchError: the exchange holds orders of this bot that are in no books.
    """
    grid_run = _ended(session, engine, wind_down)
    start(session, reconciler, grid_run)
    if grid_run.result is not None:
        _say_ended(grid_run, grid_run.result)


def _ended(session: Session, engine: GridEngine, wind_down: WindDown) -> GridRun:
    """The grid as it ends now, with what is remembered of it; not written down yet."""
    grid_run = session.store.grid_run(session.config.symbol)
    if grid_run is None:
        raise AssertionError("an engine has a grid run")
    account = None
    if wind_down.takes_over and wind_down.next_range is None and not wind_down.liquidate:
        account = session.broker.balances().get(grid_run.market.base, Decimal(0))
    price = session.broker.last_price()
    books = engine.books
    result = GridResult(
        equity=books.equity(price),
        price=price,
        grid_profit=books.grid_profit,
        liquidation_profit=books.liquidation_profit,
        reason=wind_down.reason,
        base=books.base_held,
        takes_over=wind_down.takes_over,
        next_range=wind_down.next_range,
        account=account,
    )
    return replace(grid_run, closed_ms=session.clock.now_ms(), result=result)


def _say_ended(grid_run: GridRun, result: GridResult) -> None:
    log.info(
        "%s grid %s ended (%s): equity %s %s, grid profit %s",
        grid_run.symbol,
        grid_run.tag,
        result.reason,
        plain(result.equity),
        grid_run.market.quote,
        plain(result.grid_profit),
    )


def rules_of(session: Session) -> Market:
    """The exchange's rules, asked for once."""
    if session.market is None:
        market = session.broker.connect()
        session.broker.check_key()
        session.market = market
        prices = session.broker.market_label or f"those of {session.account.exchange.name}"
        log.info("connected: %s, prices: %s", session.config.symbol, prices)
    return session.market
