"""What must hold in every settled world of a stock, found from outside; see `..invariants`."""

import itertools
from collections import defaultdict
from decimal import Decimal

from gridbot.accounting import trade_history
from gridbot.accounting.audit import audit
from gridbot.core.orders import Side
from gridbot.store import Store

from .world import CASH, SYMBOL

PRICE = Decimal("101.23")


def problems(world):
    """Everything that is wrong with a settled world; empty where nothing is."""
    if not world.settled:
        return [*world.violations, *_unexpected(world), f"did not settle: {_state(world)}"]
    orders, fills = _stored(world)
    return [
        *world.violations,
        *_unexpected(world),
        *_doubled_orders(world, orders),
        *_lost_fills(world, fills),
        *_audit(world),
        *_equation(world.trader.engine),
        *_flows(world, fills),
        *_pacing(world),
    ]


def _state(world):
    trader = world.trader
    if trader is None or trader.engine is None:
        return f"no grid; {world.runner.health()['reasons']}"
    states = [str(order.state) for order in trader.engine.live.values()]
    return (
        f"{states.count('open')} open and {states.count('intended')} intended orders, "
        f"{len(world.gateway.account.open_orders)} at the Gateway; "
        f"{world.runner.health()['reasons']}"
    )


def _unexpected(world):
    return [
        worker.unexpected.reason
        for runner in world.runners
        for worker in runner._workers
        if worker.unexpected is not None
    ]


def _stored(world):
    """All orders and fills of all grids in the bot's files, settled or not."""
    reader = Store(world.state, read_only=True)
    try:
        rows = list(trade_history.rows(reader, SYMBOL))
    finally:
        reader.close()
    orders = {row.order.client_id: row.order for row in rows}
    return list(orders.values()), [row.fill for row in rows if row.fill is not None]


def _doubled_orders(world, stored):
    """Each name once, and never two orders at work for one leg."""
    found = []
    orders = list(world.gateway.account.orders.values())
    names = [order.reference for order in orders]
    if len(names) != len(set(names)):
        found.append(f"{len(names) - len(set(names))} names were used twice")
    by_name = {order.reference: order for order in orders}
    unknown = set(by_name) - {order.client_id for order in stored}
    if unknown:
        found.append(f"not in the books: {sorted(unknown)}")
    legs = defaultdict(list)
    for order in stored:
        if order.client_id in by_name:
            legs[order.leg].append((order, by_name[order.client_id]))
    for leg, pairs in legs.items():
        parts = sorted((order for _, order in pairs), key=lambda order: order.perm_id)
        for first, second in itertools.pairwise(parts):
            if not first.done or first.closed_ms > second.created_ms:
                found.append(f"leg {leg}: {second.reference} while {first.reference} was open")
        if sum(order.filled for order in parts) > parts[0].quantity:
            found.append(f"leg {leg}: traded too much")
    return found


def booked(world):
    """The executions that are in the books."""
    return sorted(fill.trade_id for fill in _stored(world)[1])


def _lost_fills(world, fills):
    """Every execution of the account is booked, once, as it was last corrected."""
    executions = world.gateway.account.executions
    there = sorted(fill.trade_id for fill in fills)
    found = []
    if there != sorted(executions):
        found.append(
            f"executions lost: {sorted(set(executions) - set(there))}, booked {len(there)}"
        )
    for fill in fills:
        trade = executions.get(fill.trade_id)
        if trade is not None and (fill.price, fill.commission) != (trade.price, trade.commission):
            found.append(f"execution {fill.trade_id} booked at {fill.price}, is {trade.price}")
    return found


def _audit(world):
    account = world.new_account()
    broker = account.broker(SYMBOL)
    broker.connect()
    reader = Store(world.state, read_only=True)
    try:
        report = audit(broker, reader, world.clock, SYMBOL, patience_seconds=0.0)
    finally:
        reader.close()
        account.close()
    return [
        f"{difference.what}: books {difference.books}, account {difference.exchange}"
        for difference in report.differences
    ]


def _equation(engine):
    books = engine.books
    earned = books.grid_profit + books.unrealised_profit(PRICE)
    if books.equity(PRICE) - books.investment == earned:
        return []
    return [f"equity less investment {books.equity(PRICE) - books.investment}, profit {earned}"]


def _flows(world, fills):
    """What the fills of all grids say is what the account has gained and lost."""
    cash = shares = Decimal(0)
    for fill in fills:
        sign = 1 if fill.side is Side.BUY else -1
        shares += sign * fill.quantity
        cash -= sign * fill.quote + fill.commission
    account = world.gateway.account
    gained = (account.shares, account.cash - CASH)
    return [] if gained == (shares, cash) else [f"account {gained}, fills {(shares, cash)}"]


def _pacing(world):
    return [f"pacing rule broken: {rule}" for rule in +world.gateway.rules.broken]
