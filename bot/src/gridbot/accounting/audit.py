"""Compares the bot's own books with the exchange's, to the last digit, while the bot trades.

The exchange is read between two looks at its trades that see no new one. The books are then waited
for until they hold all that it has shown. What they hold beyond that has to have happened since:
its trades are asked for once more. Nothing is concluded from what its IDs look like.
"""

from collections import defaultdict
from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from decimal import Decimal

from gridbase.clock import Clock
from gridbase.errors import ExitCode, UserError
from gridbase.market import plain

from gridbot.accounting import trade_history
from gridbot.core.orders import Fill, Order, OrderState, Side, client_prefix, padded
from gridbot.exchanges.port import Broker, BrokerError, Failure, RemoteOrder, RemoteTrade
from gridbot.store import GridRun, Store, acknowledged
from gridbot.store.acknowledged import Acknowledgement

SNAPSHOT_TRIES = 100
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same on both sides.

    Attributes:
        what: what is compared, such as ``balance BTC``.
        books: what the bot says.
        exchange: what the exchange says.
    """

    what: str
    books: str
    exchange: str


@dataclass(frozen=True)
class Report:
    """Result of an audit.

    Attributes:
        trade: the cursor after the last trade compared, which is its ID on most exchanges.
        orders: number of orders compared.
        trades: number of trades compared.
        balances: coins whose balances were compared.
        differences: empty where everything is equal.
        grid_run: the grid, by its number in the database.
        acknowledged: what the owner has said of the balances; it is counted in.
    """

    trade: str
    orders: int
    trades: int
    balances: list[str]
    differences: list[Difference]
    grid_run: int
    acknowledged: list[Acknowledgement]


@dataclass(frozen=True)
class Snapshot:
    """The exchange at one moment between two of its trades.

    Attributes:
        cursor: after the last trade.
        orders: the grid's orders, by client order ID.
        trades: all trades of the account since the grid's start, by ID.
        balances: free plus locked, by coin.
    """

    cursor: str
    orders: dict[str, RemoteOrder]
    trades: dict[str, RemoteTrade]
    balances: dict[str, Decimal]


@dataclass(frozen=True)
class StoredBooks:
    """The bot's books, and what the owner has said of the balances."""

    orders: dict[str, Order]
    fills: dict[str, Fill]
    acknowledged: list[Acknowledgement]

    @property
    def accepted(self) -> dict[str, str]:
        """The exchange's IDs of the orders that it has accepted, by client order ID."""
        orders = self.orders.values()
        return {one.client_id: one.exchange_id for one in orders if one.exchange_id is not None}


def audit(
    broker: Broker, store: Store, clock: Clock, symbol: str, *, patience_seconds: float = 60.0
) -> Report:
    """Compare books and exchange.

    Args:
        broker: the exchange, connected.
        store: the books, opened for reading.
        clock: time.
        symbol: whose latest grid is compared, such as ``BTC/USDT``.
        patience_seconds: how long the books may take to hold what the exchange has.

    Raises:
        UserError: there is nothing to compare, or no quiet moment was found.
    """
    grid_run = store.grid_run(symbol)
    if grid_run is None:
        raise UserError(
            f"{store.path} holds no grid of {symbol} yet; nothing to compare", ExitCode.STATE
        )
    deadline = clock.monotonic() + patience_seconds
    accepted = read_books(store, grid_run).accepted
    snapshot = take_snapshot(broker, grid_run, accepted.values())
    books = read_books(store, grid_run)
    while not is_complete(books, snapshot) and clock.monotonic() <= deadline:
        clock.sleep(POLL_SECONDS)
        books = read_books(store, grid_run)
    books = _before_later_trades(broker, snapshot, books)
    shared = _shared_coins(store, grid_run)
    return compare(grid_run, books, snapshot, accepted.keys(), shared)


def _before_later_trades(broker: Broker, snapshot: Snapshot, books: StoredBooks) -> StoredBooks:
    """The books without the trades that the exchange tells of since the snapshot."""
    unknown = books.fills.keys() - snapshot.trades.keys()
    if not unknown:
        return books
    later = unknown & {trade.trade_id for trade in broker.trades_after(snapshot.cursor)[0]}
    fills = {identity: fill for identity, fill in books.fills.items() if identity not in later}
    return replace(books, fills=fills)


def take_snapshot(broker: Broker, grid_run: GridRun, accepted: Collection[str]) -> Snapshot:
    """Read orders and balances between two looks at the trades that see no new one.

    Args:
        broker: the exchange, connected.
        grid_run: the grid.
        accepted: exchange IDs of the grid's orders.

    Raises:
        BrokerError: the account never stood still for long enough.
    """
    prefix = client_prefix(grid_run.settings["bot_name"], grid_run.market.exchange_symbol)
    prefix += grid_run.tag + "-"
    listed, cursor = broker.trades_after(grid_run.first_cursor)
    trades = {trade.trade_id: trade for trade in listed}
    for _ in range(SNAPSHOT_TRIES):
        orders = broker.orders_since(accepted)
        balances = broker.balances()
        listed, cursor = broker.trades_after(cursor)
        news = {trade.trade_id: trade for trade in listed if trade.trade_id not in trades}
        if not news:
            return Snapshot(
                cursor=cursor,
                orders={o.client_id: o for o in orders if o.client_id.startswith(prefix)},
                trades=trades,
                balances=balances,
            )
        trades |= news
    raise BrokerError(
        Failure.AMBIGUOUS,
        f"the account traded during each of {SNAPSHOT_TRIES} looks at it; try again later",
    )


def read_books(store: Store, grid_run: GridRun) -> StoredBooks:
    """A grid's books as of now: every order and trade of it.

    Raises:
        StoreError: the database cannot be read.
    """
    orders, fills = {}, {}
    with store.transaction("DEFERRED") as connection:
        for row in trade_history.rows(store, grid_run.symbol, grid_run.id):
            orders[row.order.client_id] = row.order
            if row.fill is not None:
                fills[row.fill.trade_id] = row.fill
        return StoredBooks(orders, fills, acknowledged.of_grid(connection, grid_run.id))


def is_complete(books: StoredBooks, snapshot: Snapshot) -> bool:
    """Whether the books already hold everything that the snapshot shows of this grid."""
    ours = {order.exchange_id for order in snapshot.orders.values()}
    trades = snapshot.trades.values()
    if any(t.exchange_id in ours and t.trade_id not in books.fills for t in trades):
        return False
    for remote in snapshot.orders.values():
        order = books.orders.get(remote.client_id)
        if order is None or order.exchange_id is None:
            return False
        canceled = remote.closed and remote.executed < remote.quantity
        if canceled and order.state is not OrderState.CANCELED:
            return False
    return True


def _shared_coins(store: Store, grid_run: GridRun) -> set[str]:
    """Coins whose balance grids of other symbols have changed since this grid's start.

    What this grid did to them is in its trades, which are compared one by one.
    """
    shared: set[str] = set()
    for other in store.grid_runs():
        ended = other.closed_ms is not None and other.closed_ms < grid_run.started_ms
        if other.symbol != grid_run.symbol and not ended:
            shared |= {other.market.base, other.market.quote}
    return shared


def compare(
    grid_run: GridRun,
    books: StoredBooks,
    snapshot: Snapshot,
    accepted: AbstractSet[str],
    shared: AbstractSet[str] = frozenset(),
) -> Report:
    """All differences between the books and the exchange, as of the snapshot's last trade.

    Args:
        grid_run: the grid.
        books: its stored books, without the trades that came after the snapshot.
        snapshot: the exchange.
        accepted: client order IDs of orders that it had accepted before the snapshot.
        shared: coins whose balance is not this grid's alone; it is not compared.
    """
    differences: list[Difference] = []

    def check(what: str, ours: str, theirs: str) -> None:
        if ours != theirs:
            differences.append(Difference(what, ours, theirs))

    orders = _compare_orders(books, snapshot, accepted, check)
    trades = _compare_trades(books, snapshot, check)
    coins = _compare_balances(grid_run, books, snapshot, shared, check)
    return Report(
        snapshot.cursor, orders, trades, coins, differences, grid_run.id, books.acknowledged
    )


Check = Callable[[str, str, str], None]


def _compare_orders(
    books: StoredBooks, snapshot: Snapshot, accepted: AbstractSet[str], check: Check
) -> int:
    executed: defaultdict[str, Decimal] = defaultdict(Decimal)
    for fill in books.fills.values():
        executed[fill.client_id] += fill.quantity
    names = snapshot.orders.keys() | accepted
    for name in sorted(names):
        order, remote = books.orders.get(name), snapshot.orders.get(name)
        ours = "no such order"
        if order is not None:
            ours = _order_text(
                order.exchange_id,
                order.side,
                order.price,
                order.quantity,
                executed[name],
                canceled=order.state is OrderState.CANCELED and (remote is None or remote.closed),
            )
        theirs = "no such order"
        if remote is not None:
            theirs = _order_text(
                remote.exchange_id,
                remote.side,
                remote.price,
                remote.quantity,
                remote.executed,
                canceled=remote.closed and remote.executed < remote.quantity,
            )
        check(f"order {name}", ours, theirs)
    return len(names)


def _order_text(
    exchange_id: str | None,
    side: str,
    price: Decimal,
    quantity: Decimal,
    executed: Decimal,
    *,
    canceled: bool,
) -> str:
    state = "canceled" if canceled else "filled" if executed == quantity else "open"
    terms = f"{exchange_id} {side} {plain(quantity)} at {plain(price)}"
    return f"{terms}, {plain(executed)} traded, {state}"


def _compare_trades(books: StoredBooks, snapshot: Snapshot, check: Check) -> int:
    ours_by_id = {remote.exchange_id: name for name, remote in snapshot.orders.items()}
    ours_by_id |= {exchange_id: name for name, exchange_id in books.accepted.items()}
    remote = {
        identity: trade
        for identity, trade in snapshot.trades.items()
        if trade.exchange_id in ours_by_id
    }
    for identity in sorted(remote.keys() | books.fills.keys(), key=padded):
        fill, trade = books.fills.get(identity), remote.get(identity)
        ours = "no such trade" if fill is None else _trade_text(fill.client_id, fill)
        theirs = "no such trade"
        if trade is not None:
            theirs = _trade_text(ours_by_id[trade.exchange_id], trade)
        check(f"trade {identity}", ours, theirs)
    return len(remote.keys() | books.fills.keys())


def _trade_text(order: str, trade: Fill | RemoteTrade) -> str:
    return (
        f"{order} {trade.side} {plain(trade.quantity)} at {plain(trade.price)} for "
        f"{plain(trade.quote)}, fee {plain(trade.commission)} {trade.commission_coin}"
    )


def _compare_balances(
    grid_run: GridRun,
    books: StoredBooks,
    snapshot: Snapshot,
    shared: AbstractSet[str],
    check: Check,
) -> list[str]:
    """Opening balance, what the fills brought and cost, and what the owner did, against it."""
    flows: defaultdict[str, Decimal] = defaultdict(Decimal)
    for one in books.acknowledged:
        flows[one.coin] += one.amount
    market = grid_run.market
    for fill in books.fills.values():
        sign = 1 if fill.side is Side.BUY else -1
        flows[market.base] += sign * fill.quantity
        flows[market.quote] -= sign * fill.quote
        flows[fill.commission_coin] -= fill.commission
    coins = sorted({market.base, market.quote, *flows} - shared)
    for coin in coins:
        expected = grid_run.opening.get(coin, Decimal(0)) + flows[coin]
        actual = snapshot.balances.get(coin, Decimal(0))
        check(f"balance {coin}", plain(expected), plain(actual))
    return coins
