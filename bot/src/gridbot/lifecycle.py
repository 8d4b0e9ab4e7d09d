"""How a grid begins and ends: starts it, takes over from the one before, winds it down."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from gridbot.atr_range import atr_range, candles_for_range
from gridbot.broker import Broker, BrokerError, Failure
from gridbot.candle_cache import CandlesMissingError
from gridbot.config import Config
from gridbot.desk import Desk, Ending
from gridbot.engine import GridEngine
from gridbot.errors import UserError
from gridbot.grid import GridSpec, Plan, grid_lines, make_plan, plan_warnings
from gridbot.intents import give_up, latest_arrival, settle
from gridbot.market import EXACT, Market, plain
from gridbot.orders import Order, OrderState, Role, Side, generation_tag
from gridbot.reconcile import Reconciler
from gridbot.stops import check as check_stops
from gridbot.store import Closing, Generation, Store

log = logging.getLogger(__name__)

# An order of the initial trade or the liquidation rests this long before it is tried at the price
# of the moment.
RESTING_SECONDS = 10.0
# What a grid's orders are found by: also where it is only to be ended.
_WHERE = ("mode", "bot_name", "exchange.name", "market.symbol")


def settings_of(config: Config) -> dict[str, str]:
    """What a running grid depends on: a change of any needs a new grid."""
    grid = config.grid
    settings = {
        "mode": config.mode,
        "bot_name": config.bot_name,
        "exchange.name": config.exchange.name,
        "market.symbol": config.symbol,
        "grid.grids": str(grid.grids),
        "grid.spacing": str(grid.spacing),
    }
    amounts = {
        "grid.lower": grid.lower,
        "grid.upper": grid.upper,
        "grid.investment": grid.investment,
        "grid.quantity": grid.quantity,
    }
    settings |= {key: plain(amount) for key, amount in amounts.items() if amount is not None}
    if grid.atr is not None:
        settings |= {
            "grid.range": "atr",
            "grid.atr_interval": grid.atr.interval,
            "grid.atr_period": str(grid.atr.period),
            "grid.atr_multiple": plain(grid.atr.multiple),
        }
    return settings


def check_settings(config: Config, generation: Generation, *, to_end: bool = False) -> None:
    """Refuse a configuration that is not the running grid's.

    Args:
        config: the configuration.
        generation: the running grid.
        to_end: it is only to be ended: its lines may be other ones.

    Raises:
        UserError: names the first setting that differs and what would do.
    """
    now = settings_of(config)
    for key in [*now, *(key for key in generation.settings if key not in now)]:
        value, before = now.get(key, "not set"), generation.settings.get(key, "not set")
        where = key in _WHERE
        if before != value and (where or not to_end):
            end = "" if where else f", or end that grid with: gridbot close --config {config.path}"
            raise UserError(
                f"{key} = {value} differs from {before}, with which the running grid was started: "
                f"set it back{end}"
            )


def check_running(config: Config, store: Store) -> None:
    """Refuse a configuration that would not go on with the grids that run.

    Raises:
        UserError: a running grid is left out, or its settings differ.
    """
    configured = {one.symbol: one for one in config.each}
    for generation in store.generations():
        if generation.closed_ms is not None:
            continue
        if generation.symbol not in configured:
            raise UserError(
                f"market.symbol: the running grid of {generation.symbol} is left out: add it "
                "again, or end it first, with the configuration that has it: gridbot close"
            )
        check_settings(configured[generation.symbol], generation)


def check_funds(config: Config, broker: Broker, needed: Decimal) -> None:
    """Refuse to begin a grid that the account can not pay.

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
            f"{asked} needs {plain(needed)} "
            f"{config.quote}, and the account has {plain(free)} free; deposit more or invest less",
        )


def load(desk: Desk, generation: Generation, *, to_end: bool = False) -> None:
    """Take up a stored grid that has not ended, to trade it on or only to end it."""
    check_settings(desk.config, generation, to_end=to_end)
    engine = desk.new_engine(generation)
    desk.store.restore(generation.id, engine)
    desk.generation, desk.engine = generation, engine
    desk.cursor = generation.trade_cursor
    desk.booked = desk.store.known_trades(generation.id, generation.trade_cursor)
    desk.trades_due = True
    desk.traded_since = desk.clock.monotonic()
    # A request of the process before may still be on its way.
    desk.arrived_by = dict.fromkeys(engine.live, latest_arrival(desk))
    log.info(
        "%s grid %s loaded: %d orders live, %d buys and %d sells done",
        generation.symbol,
        generation.tag,
        len(engine.live),
        engine.books.buys,
        engine.books.sells,
    )


def start(desk: Desk, reconciler: Reconciler, previous: Generation | None) -> None:
    """Write down a new grid; its first orders are sent when the intents are settled.

    Raises:
        UserError: the grid will not do at this price.
        BrokerError: the account can not pay it, the exchange failed, or a grid that goes on from
            the one before will not do at this price.
        MismatchError: the exchange holds orders of this bot that are in no books.
    """
    broker, market = desk.broker, desk.market
    if market is None:
        raise AssertionError("the exchange's rules are read first")
    price = broker.ask_price()
    plan, carried = _first_plan(desk, market, previous, price)
    reconciler.refuse_strays(broker.open_orders())
    first_trade = broker.latest_trade_id() + 1
    opening = broker.balances()
    carried_cost = EXACT.multiply(carried, price)
    check_funds(desk.config, broker, EXACT.subtract(plan.investment, carried_cost))
    now = desk.clock.now_ms()
    newest = desk.store.newest_generation()
    generation = Generation(
        id=1 if newest is None else newest.id + 1,
        symbol=desk.config.symbol,
        tag=generation_tag(now, None if newest is None else newest.tag),
        settings=settings_of(desk.config),
        market=market,
        plan=plan,
        investment=plan.investment,
        opening=opening,
        first_trade_id=first_trade,
        trade_cursor=first_trade,
        started_ms=now,
        carried=carried,
        carried_cost=carried_cost,
        watch=_watch_goes_on(previous),
    )
    engine = desk.new_engine(generation)
    changes = desk.changes()
    engine.begin(changes)
    desk.store.start_generation(generation, changes)
    desk.generation, desk.engine, desk.cursor = generation, engine, first_trade
    desk.booked = set()
    desk.committed(changes)
    _say_started(generation, plan_warnings(plan, market, desk.config.fees))


def _say_started(generation: Generation, warnings: Sequence[str]) -> None:
    plan = generation.plan
    for warning in warnings:
        log.warning("%s", warning)
    log.info(
        "%s grid %s started at %s, lines from %s to %s: %d buys, %d sells of %s %s",
        generation.symbol,
        generation.tag,
        plain(plan.start_price),
        plain(plan.lines[0]),
        plain(plan.lines[-1]),
        len(plan.buy_lines),
        len(plan.sell_lines),
        plain(plan.quantity),
        generation.market.base,
    )


def _watch_goes_on(previous: Generation | None) -> dict[str, Any] | None:
    """What the stops remember: a move changes the range, not what a loss is measured by."""
    if previous is None or previous.closing is None or previous.closing.next_range is None:
        return None
    return {key: value for key, value in (previous.watch or {}).items() if key != "ending"}


def _first_plan(
    desk: Desk, market: Market, previous: Generation | None, price: Decimal
) -> tuple[Plan, Decimal]:
    """The plan to begin with, and the base that it takes over (base).

    Settings with which a grid has run before will do again at another price: that is waited for.
    """
    try:
        spec, carried = _first_spec(desk, previous, price)
        plan = make_plan(spec, market, desk.config.fees, price)
        check_stops(desk.config.stop, plan.lines[0], plan.lines[-1])
    except UserError as error:
        closing = None if previous is None else previous.closing
        goes_on = closing is not None and closing.takes_over
        if previous is None or not goes_on or settings_of(desk.config) != previous.settings:
            raise
        raise _passing(error) from error
    return plan, carried


def _passing(error: UserError) -> BrokerError:
    """An error of which the next price may be free; one of the exchange is so already."""
    return error if isinstance(error, BrokerError) else BrokerError(Failure.REJECTED, str(error))


def _first_spec(
    desk: Desk, previous: Generation | None, price: Decimal
) -> tuple[GridSpec, Decimal]:
    """The grid to begin, and the base that it takes over (base).

    After a move or a cleared stop it begins with what the grid before left; where its settings
    have changed since, with the investment that they say.
    """
    closing = None if previous is None else previous.closing
    if previous is None or closing is None or not closing.takes_over:
        return _configured(desk, price), Decimal(0)
    if closing.next_range is not None:
        spec = desk.config.grid.spec(*closing.next_range)
    else:
        spec = _configured(desk, price)
        if settings_of(desk.config) != previous.settings:
            return spec, closing.base
    left = EXACT.subtract(closing.equity, EXACT.multiply(closing.base, closing.price))
    investment = EXACT.add(left, EXACT.multiply(closing.base, price))
    return replace(spec, investment=investment, quantity=None), closing.base


def _configured(desk: Desk, price: Decimal) -> GridSpec:
    """The grid that the configuration asks for, at a price (quote)."""
    grid = desk.config.grid
    if grid.fixed is not None:
        return grid.fixed
    if grid.atr is None:
        raise AssertionError("a range is fixed or taken from the market")
    atr = grid.atr
    try:
        window = desk.candles(atr.interval, candles_for_range(atr.period))
    except CandlesMissingError as error:
        raise BrokerError(Failure.UNREACHABLE, str(error)) from error
    return grid.spec(*atr_range(window, price, atr.period, atr.multiple))


def reprice(desk: Desk, engine: GridEngine) -> None:
    """Write down the next order of an initial trade that did not come off."""
    generation = desk.generation
    if generation is None:
        raise AssertionError("an engine has a generation")
    leg = engine.initial_leg()
    selling = leg is not None and leg.side is Side.SELL
    price = desk.broker.bid_price() if selling else desk.broker.ask_price()
    plan = _plan_again(desk, generation, engine, price)
    desk.broker.balances()
    if not selling:
        spent = EXACT.subtract(engine.books.initial_cost, generation.carried_cost)
        left = EXACT.subtract(generation.investment, generation.carried_cost)
        check_funds(desk.config, desk.broker, EXACT.subtract(left, spent))
    changes = desk.changes()
    engine.reprice(changes, plan)
    desk.commit(changes)


def _plan_again(desk: Desk, generation: Generation, engine: GridEngine, price: Decimal) -> Plan:
    """The plan at another price: on the grid's own lines, with what it may spend.

    Where the initial trade has come off in part, only the price is another one.

    Raises:
        BrokerError: it will not do at this price.
    """
    leg, grid, lines = engine.initial_leg(), desk.config.grid, generation.plan.lines
    if leg is not None and engine.books.legs[leg.id].executed > 0:
        return replace(engine.plan, start_price=price)
    spec = grid.fixed
    if spec is None or grid_lines(spec, engine.market.tick_size) != lines:
        spec = grid.spec(lines[0], lines[-1])
    if spec.quantity != generation.plan.quantity:
        spec = replace(spec, investment=generation.investment, quantity=None)
    try:
        return make_plan(spec, engine.market, desk.config.fees, price)
    except UserError as error:
        raise _passing(error) from error


def hurry(desk: Desk, engine: GridEngine) -> None:
    """Take back an order of the initial trade or the liquidation that rests."""
    if desk.clock.monotonic() - desk.traded_since < RESTING_SECONDS:
        return
    for order in list(engine.live.values()):
        if order.role is not Role.GRID and order.state is OrderState.OPEN:
            log.info("order %s rests; trying again at the price of now", order.client_id)
            cancel(desk, order)


def cancel(desk: Desk, order: Order) -> None:
    """Cancel an order, or learn that it is closed already."""
    desk.canceling[order.client_id] = desk.clock.monotonic()
    desk.trades_due = True
    try:
        desk.broker.cancel(order.client_id)
    except BrokerError as error:
        if error.failure is not Failure.NOT_FOUND:
            del desk.canceling[order.client_id]
            raise


def wind_down(desk: Desk, engine: GridEngine, reconciler: Reconciler, ending: Ending) -> bool:
    """Take the next step of a grid's end: cancel, book what traded, sell what is held, close.

    Returns:
        Whether the grid has ended.

    Raises:
        BrokerError: the exchange failed; the next call goes on.
        MismatchError: books and exchange disagree.
    """
    engine.closing = True
    settle(desk, engine)
    give_up(
        desk,
        engine,
        [
            order.client_id
            for order in engine.live.values()
            if order.client_id in desk.unsent and order.role is not Role.LIQUIDATION
        ],
    )
    refused = _cancel_all(desk, engine)
    reconciler.follow(engine)
    for client_id, error in refused.items():
        if client_id in engine.live:
            raise error
    hurry(desk, engine)
    if engine.live:
        return False
    if ending.liquidate:
        changes = desk.changes()
        ordered = engine.liquidate(changes, desk.broker.bid_price())
        desk.commit(changes)
        if ordered:
            settle(desk, engine)
            return False
    _close(desk, engine, ending)
    return True


def _cancel_all(desk: Desk, engine: GridEngine) -> dict[str, BrokerError]:
    """Cancel what is open; one order that is refused does not hold up the others.

    Returns:
        Why, by client order ID, for those that the exchange did not cancel: they may be closed.

    Raises:
        BrokerError: the exchange failed.
    """
    refused = {}
    for order in list(engine.live.values()):
        asked = order.client_id in desk.canceling
        if order.state is OrderState.OPEN and order.role is not Role.LIQUIDATION and not asked:
            try:
                cancel(desk, order)
            except BrokerError as error:
                if error.failure is not Failure.REJECTED:
                    raise
                refused[order.client_id] = error
    return refused


def _close(desk: Desk, engine: GridEngine, ending: Ending) -> None:
    generation = desk.generation
    if generation is None:
        raise AssertionError("an engine has a generation")
    price = desk.broker.last_price()
    books = engine.books
    closing = Closing(
        equity=books.equity(price),
        price=price,
        grid_profit=books.grid_profit,
        liquidation_profit=books.liquidation_profit,
        reason=ending.reason,
        base=books.base_held,
        takes_over=ending.takes_over,
        next_range=ending.next_range,
    )
    desk.store.close_generation(generation.id, desk.clock.now_ms(), closing)
    log.info(
        "%s grid %s ended (%s): equity %s %s, grid profit %s",
        generation.symbol,
        generation.tag,
        ending.reason,
        plain(closing.equity),
        generation.market.quote,
        plain(closing.grid_profit),
    )
    desk.forget()


def rules_of(desk: Desk) -> Market:
    """The exchange's rules, asked for once."""
    if desk.market is None:
        desk.market = desk.broker.connect()
        log.info("connected: %s", desk.config.symbol)
    return desk.market
