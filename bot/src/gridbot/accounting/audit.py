"""Compares the bot's own books with the exchange's, to the last digit, while the bot trades.

The exchange is read between two looks at its trades that see the same last one, T. The books are
then waited for until they hold everything up to T, and are compared as they were at T.
"""

from collections import defaultdict
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from decimal import Decimal

from gridbase.clock import Clock
from gridbase.errors import ExitCode, UserError
from gridbase.market import plain

from gridbot.accounting.trade_history import archive_rows
from gridbot.core.orders import Fill, Order, OrderState, Side, client_prefix
from gridbot.exchanges.port import Broker, BrokerError, Failure, RemoteOrder, RemoteTrade
from gridbot.store import FileRecord, GridRun, Store, TradeRow, acknowledged, archived
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
        trade: last trade ID compared.
        orders: number of orders compared.
        trades: number of trades compared.
        balances: coins whose balances were compared.
        differences: empty where everything is equal.
        grid_run: the grid, by its number in the database.
        acknowledged: what the owner has said of the balances; it is counted in.
    """

    trade: int
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
        trade: last trade ID.
        orders: the grid's orders, by client order ID.
        newest_order: highest exchange ID of any order that was there.
        trades: all trades of the account since the grid's start, by ID.
        balances: free plus locked, by coin.
    """

    trade: int
    orders: dict[str, RemoteOrder]
    newest_order: int
    trades: dict[int, RemoteTrade]
    balances: dict[str, Decimal]


@dataclass(frozen=True)
class StoredBooks:
    """The bot's books as of one trade, and what the owner has said of the balances."""

    orders: dict[str, Order]
    fills: dict[int, Fill]
    acknowledged: list[Acknowledgement]


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
    reader = BooksReader(store, grid_run)
    snapshot = take_snapshot(broker, grid_run, reader.first_order())
    while True:
        books = reader.read(snapshot.trade)
        if is_complete(books, snapshot) or clock.monotonic() > deadline:
            return compare(grid_run, books, snapshot, _shared_coins(store, grid_run))
        clock.sleep(POLL_SECONDS)


def take_snapshot(broker: Broker, grid_run: GridRun, first_order: int) -> Snapshot:
    """Read orders and balances between two looks at the trades that see the same last one.

    Args:
        broker: the exchange, connected.
        grid_run: the grid.
        first_order: the grid's orders have this exchange ID or a higher one.

    Raises:
        BrokerError: the account never stood still for long enough.
    """
    prefix = client_prefix(grid_run.settings["bot_name"], grid_run.market.exchange_symbol)
    prefix += grid_run.tag + "-"
    trades = {trade.trade_id: trade for trade in broker.trades_from(grid_run.first_trade_id)}
    for _ in range(SNAPSHOT_TRIES):
        last = max(trades, default=grid_run.first_trade_id - 1)
        orders = broker.orders_from(first_order)
        balances = broker.balances()
        news = broker.trades_from(last + 1)
        if not news:
            return Snapshot(
                trade=last,
                orders={o.client_id: o for o in orders if o.client_id.startswith(prefix)},
                newest_order=max((order.exchange_id for order in orders), default=0),
                trades=trades,
                balances=balances,
            )
        trades |= {trade.trade_id: trade for trade in news}
    raise BrokerError(
        Failure.AMBIGUOUS,
        f"the account traded during each of {SNAPSHOT_TRIES} looks at it; try again later",
    )


class BooksReader:
    """Reads a grid's books again and again; the archive only where it has grown.

    Args:
        store: the books, opened for reading.
        grid_run: the grid.
    """

    def __init__(self, store: Store, grid_run: GridRun) -> None:
        self._store = store
        self._grid_run = grid_run
        self._files: list[FileRecord] = []
        self._archived: list[TradeRow] = []

    def read(self, trade: int) -> StoredBooks:
        """The books as of one trade: every order and trade of the grid, archived or not.

        Raises:
            StoreError: database or archive can not be read.
        """
        with self._store.transaction("DEFERRED") as connection:
            files = archived.records(connection, self._grid_run.symbol)
            rows = list(archived.symbol_rows(connection, self._grid_run.symbol))
            said = acknowledged.of_grid(connection, self._grid_run.id)
        if files != self._files:
            every = archive_rows(self._store, files)
            self._archived = [row for row in every if row.grid_run == self._grid_run.id]
            self._files = files
        orders, fills = {}, {}
        for row in (*self._archived, *rows):
            if row.grid_run != self._grid_run.id:
                continue
            orders[row.order.client_id] = row.order
            if row.fill is not None and row.fill.trade_id <= trade:
                fills[row.fill.trade_id] = row.fill
        return StoredBooks(orders, fills, said)

    def first_order(self) -> int:
        """Lowest exchange ID of the grid's orders; 0 where it has none."""
        orders = self.read(0).orders.values()
        return min((o.exchange_id for o in orders if o.exchange_id is not None), default=0)


def is_complete(books: StoredBooks, snapshot: Snapshot) -> bool:
    """Whether the books already hold everything that the snapshot shows of this grid."""
    ours = {order.exchange_id for order in snapshot.orders.values()}
    if any(t.exchange_id in ours and t.trade_id not in books.fills for t in _all(snapshot)):
        return False
    for remote in snapshot.orders.values():
        order = books.orders.get(remote.client_id)
        if order is None or order.exchange_id is None:
            return False
        canceled = remote.closed and remote.executed < remote.quantity
        if canceled and order.state is not OrderState.CANCELED:
            return False
    return True


def _all(snapshot: Snapshot) -> list[RemoteTrade]:
    return list(snapshot.trades.values())


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
    shared: AbstractSet[str] = frozenset(),
) -> Report:
    """All differences between the books and the exchange, as of the snapshot's last trade.

    Args:
        grid_run: the grid.
        books: its stored books.
        snapshot: the exchange.
        shared: coins whose balance is not this grid's alone; it is not compared.
    """
    differences: list[Difference] = []

    def check(what: str, ours: str, theirs: str) -> None:
        if ours != theirs:
            differences.append(Difference(what, ours, theirs))

    orders = _compare_orders(books, snapshot, check)
    trades = _compare_trades(books, snapshot, check)
    coins = _compare_balances(grid_run, books, snapshot, shared, check)
    return Report(
        snapshot.trade, orders, trades, coins, differences, grid_run.id, books.acknowledged
    )


Check = Callable[[str, str, str], None]


def _compare_orders(books: StoredBooks, snapshot: Snapshot, check: Check) -> int:
    executed: defaultdict[str, Decimal] = defaultdict(Decimal)
    for fill in books.fills.values():
        executed[fill.client_id] += fill.quantity
    names = set(snapshot.orders) | {
        order.client_id
        for order in books.orders.values()
        if order.exchange_id is not None and order.exchange_id <= snapshot.newest_order
    }
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
    number: int | None,
    side: str,
    price: Decimal,
    quantity: Decimal,
    executed: Decimal,
    *,
    canceled: bool,
) -> str:
    state = "canceled" if canceled else "filled" if executed == quantity else "open"
    return f"{number} {side} {plain(quantity)} at {plain(price)}, {plain(executed)} traded, {state}"


def _compare_trades(books: StoredBooks, snapshot: Snapshot, check: Check) -> int:
    ours_by_number = {remote.exchange_id: name for name, remote in snapshot.orders.items()}
    for order in books.orders.values():
        if order.exchange_id is not None:
            ours_by_number[order.exchange_id] = order.client_id
    remote = {
        number: trade
        for number, trade in snapshot.trades.items()
        if trade.exchange_id in ours_by_number
    }
    for number in sorted(remote.keys() | books.fills.keys()):
        fill, trade = books.fills.get(number), remote.get(number)
        ours = "no such trade" if fill is None else _trade_text(fill.client_id, fill)
        theirs = "no such trade"
        if trade is not None:
            theirs = _trade_text(ours_by_number[trade.exchange_id], trade)
        check(f"trade {number}", ours, theirs)
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
