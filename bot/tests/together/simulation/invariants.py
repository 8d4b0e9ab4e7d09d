"""What must hold in every settled world, found from outside the bot wherever that is possible."""

import itertools
from collections import defaultdict
from decimal import Decimal

from gridbot.accounting import trade_history
from gridbot.accounting.audit import audit
from gridbot.core.engine import GridEngine
from gridbot.core.orders import Fill, Order, Side
from gridbot.store import Store

from .world import SYMBOL, World

PRICE = Decimal("51234.56")


def problems(world: World) -> list[str]:
    """Everything that is wrong with a settled world; empty where nothing is."""
    if not world.settled:
        return [*world.violations, *_unexpected(world), f"did not settle: {_state(world)}"]
    return [
        *world.violations,
        *_unexpected(world),
        *_doubled_orders(world),
        *_lost_fills(world),
        *_audit(world),
        *_equation(world.trader.engine),
        *_flows(world),
        *world.person.problems(),
        *world.judge.problems(),
    ]


def _state(world: World) -> str:
    trader = world.trader
    if trader is None or trader.engine is None:
        return f"no grid; {world.runner.health()['reasons']}"
    states = [str(order.state) for order in trader.engine.live.values()]
    there = len(world.engine.orders)
    return (
        f"{states.count('open')} open and {states.count('intended')} intended orders, "
        f"{there} on the exchange; cursor {trader.session.cursor}, next trade "
        f"{world.engine.next_trade_id}; {world.runner.health()['reasons']}"
    )


def _unexpected(world: World) -> list[str]:
    """Errors that the bot has outlived, in any of its lives, though nobody knows why they came."""
    return [
        worker.unexpected.reason
        for runner in world.runners
        for worker in runner._workers
        if worker.unexpected is not None
    ]


def _doubled_orders(world: World) -> list[str]:
    """Each client order ID once, and never two orders at work for one leg."""
    found = []
    orders = world.exchange.store.orders(world.listing.symbol, 0, 0, None, 1_000_000)
    names = [order.client_order_id for order in orders]
    if len(names) != len(set(names)):
        found.append(f"{len(names) - len(set(names))} client order IDs were used twice")
    by_name = {order.client_order_id: order for order in orders}
    stored, _ = _stored(world)
    unknown = set(by_name) - {order.client_id for order in stored}
    if unknown:
        found.append(f"not in the books: {sorted(unknown)}")
    legs = defaultdict(list)
    for order in stored:
        if order.client_id in by_name:
            legs[order.leg].append(by_name[order.client_id])
    for leg, parts in legs.items():
        parts.sort(key=lambda order: order.order_id)
        for first, second in itertools.pairwise(parts):
            if first.updated_ms > second.created_ms or first.order_id in world.engine.orders:
                found.append(
                    f"leg {leg}: {second.client_order_id} while {first.client_order_id} was open"
                )
        # A rest below the exchange's minimum is bought as the minimum; no more than that.
        over = sum(order.executed for order in parts) - parts[0].quantity
        if over * parts[0].price > world.listing.rules.market.min_notional * 2:
            found.append(f"leg {leg}: traded {over} too much")
    return found


def _stored(world: World) -> tuple[list[Order], list[Fill]]:
    """All orders and fills of all grids in the bot's files, settled or not."""
    reader = Store(world.state, read_only=True)
    try:
        rows = list(trade_history.rows(reader, SYMBOL))
    finally:
        reader.close()
    orders = {row.order.client_id: row.order for row in rows}
    return list(orders.values()), [row.fill for row in rows if row.fill is not None]


def _lost_fills(world: World) -> list[str]:
    """Every trade of the account is booked, once."""
    trades = sorted(str(trade.trade_id) for trade in _trades(world))
    booked = [fill.trade_id for fill in _stored(world)[1]]
    if sorted(booked) == trades:
        return []
    return [f"trades lost: {sorted(set(trades) - set(booked))}, booked {len(booked)}"]


def _audit(world: World) -> list[str]:
    broker = world.new_account().broker(SYMBOL)
    broker.connect()
    reader = Store(world.state, read_only=True)
    try:
        if reader.grid_run(SYMBOL) is None:
            return []  # a filter has kept the first grid from beginning
        report = audit(broker, reader, world.clock, SYMBOL, patience_seconds=0.0)
    finally:
        reader.close()
    return [
        f"{difference.what}: books {difference.books}, exchange {difference.exchange}"
        for difference in report.differences
    ]


def _equation(engine: GridEngine | None) -> list[str]:
    if engine is None:
        return []  # the grid was stopped for good
    books = engine.books
    earned = books.grid_profit + books.unrealised_profit(PRICE)
    if books.equity(PRICE) - books.investment == earned:
        return []
    return [f"equity less investment {books.equity(PRICE) - books.investment}, profit {earned}"]


def _flows(world: World) -> list[str]:
    """What the fills of all grids say of the coins is what the account has gained and lost."""
    start = world.setup.exchange.get("balances", {"USDT": "10000"})
    found = []
    flows: defaultdict[str, Decimal] = defaultdict(Decimal)
    for fill in _stored(world)[1]:
        sign = 1 if fill.side is Side.BUY else -1
        flows["BTC"] += sign * fill.quantity
        flows["USDT"] -= sign * fill.quote
        flows[fill.commission_coin] -= fill.commission
    for coin, balance in world.engine.balances.items():
        gained = balance.free + balance.locked - Decimal(str(start.get(coin, "0")))
        if gained != flows[coin]:
            found.append(f"{coin}: account {gained}, fills {flows[coin]}")
    return found


def _trades(world: World):
    return world.exchange.store.trades(
        world.listing.symbol,
        order_id=None,
        from_id=0,
        start_ms=0,
        end_ms=None,
        limit=1_000_000,
    )
