"""The account: orders, matching, executions, commissions, cash and shares. Pure but for its store.

Orders trade in regular hours only, whatever they say. One that the price crosses trades at its
limit, one that the opening price jumps over at that price.
"""

from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal

from gridexchange.ib.calendar import day_of, is_open
from gridexchange.ib.market import Leg
from gridexchange.ib.records import PENDING, Execution, Stock, StockOrder
from gridexchange.ib.store import GatewayStore

SHARE_FEE, LEAST_FEE = Decimal("0.005"), Decimal(1)
MOST_SHARE = Decimal("0.01")  # of an order's value
FIRST_PERM_ID = 1_700_000_001


class OrderRefusedError(Exception):
    """An order is not accepted.

    Args:
        code: the Gateway's.
        text: its message.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True)
class AccountSettings:
    """What an account begins with.

    Attributes:
        name: such as ``DU1234567``; DU: of a paper account.
        cash: at the beginning (currency).
        largest_fill: shares that one execution brings at most.
    """

    name: str = "DU1234567"
    cash: Decimal = Decimal(100_000)
    largest_fill: Decimal = Decimal(100)


class StockAccount:
    """One account on one stock.

    Args:
        settings: what it begins with.
        stock: what is traded.
        store: its books.

    Attributes:
        orders: all of them, by permanent ID.
        executions: by stem, as they were last corrected.
        cash: currency.
        shares: held.
        price: the latest.
    """

    def __init__(self, settings: AccountSettings, stock: Stock, store: GatewayStore) -> None:
        self.settings, self.stock, self._store = settings, stock, store
        facts = store.facts()
        self.orders = {order.perm_id: order for order in store.orders()}
        self.executions = {trade.stem: trade for trade in store.executions()}
        self.cash = Decimal(facts.get("cash", settings.cash))
        self.shares = Decimal(facts.get("shares", 0))
        self.position = int(facts.get("position", -1))
        self.began_ms = int(facts["began_ms"]) if "began_ms" in facts else None
        self.price = Decimal(0)
        self._changed: dict[int, StockOrder] = {}
        self._traded: dict[str, Execution] = {}
        self._numbers = {stem: number for number, stem in enumerate(self.executions)}

    def commit(self) -> None:
        """Make durable what has changed since the last time."""
        facts = {
            "cash": str(self.cash),
            "shares": str(self.shares),
            "position": str(self.position),
            "began_ms": str(self.began_ms),
        }
        trades = [(self._numbers[stem], trade) for stem, trade in self._traded.items()]
        self._store.save(self._changed.values(), trades, facts)
        self._changed, self._traded = {}, {}

    @property
    def open_orders(self) -> list[StockOrder]:
        """Orders that may still trade."""
        return [order for order in self.orders.values() if not order.done]

    def find(self, client_id: int, order_id: int) -> StockOrder | None:
        """The order that a client calls so."""
        for order in reversed(self.orders.values()):
            if (order.client_id, order.order_id) == (client_id, order_id):
                return order
        return None

    def next_order_id(self, client_id: int) -> int:
        """A number that no order of the client had yet."""
        own = (order.order_id for order in self.orders.values() if order.client_id == client_id)
        return max(own, default=0) + 1

    def place(self, order: StockOrder) -> StockOrder:
        """Accept an order, or the change of one.

        Raises:
            OrderRefusedError: with the Gateway's code.
        """
        self._check(order)
        known = self.find(order.client_id, order.order_id)
        if known is not None:
            if known.done:
                raise OrderRefusedError(103, "Duplicate order id")
            if (known.action, known.reference) != (order.action, order.reference):
                raise OrderRefusedError(105, "Order being modified does not match original order")
            known.quantity, known.limit = order.quantity, order.limit
            order = known
        else:
            self._check_means(order)
            order.perm_id = FIRST_PERM_ID + len(self.orders)
            self.orders[order.perm_id] = order
        self._changed[order.perm_id] = order
        return order

    def _check(self, order: StockOrder) -> None:
        if order.kind not in {"LMT", "MKT"}:
            raise OrderRefusedError(387, f"Unsupported order type {order.kind}")
        if order.quantity <= 0 or order.quantity % 1:
            raise OrderRefusedError(10318, "Only whole shares are traded here")
        if order.kind == "LMT" and (order.limit <= 0 or order.limit % self.stock.min_tick):
            raise OrderRefusedError(
                110, "The price does not conform to the minimum price variation for this contract."
            )

    def _check_means(self, order: StockOrder) -> None:
        """Cash account: nothing is lent."""
        peers = [other for other in self.open_orders if other.action == order.action]
        if order.action == "BUY":
            cost = order.quantity * (order.limit or self.price)
            bound = sum((other.remaining * other.limit for other in peers), Decimal(0))
            if cost + bound > self.cash:
                raise OrderRefusedError(201, "Order rejected - reason:insufficient cash")
        elif order.quantity + sum(other.remaining for other in peers) > self.shares:
            raise OrderRefusedError(201, "Order rejected - reason:no short positions")

    def cancel(self, order: StockOrder, now_ms: int) -> None:
        """Close an order that may still trade."""
        order.status, order.closed_ms = "Cancelled", now_ms
        self._changed[order.perm_id] = order

    def expire(self, now_ms: int) -> list[StockOrder]:
        """Close the day's orders of days that have ended; returns them."""
        expired = [
            order
            for order in self.open_orders
            if order.tif == "DAY" and day_of(order.created_ms) < day_of(now_ms)
        ]
        for order in expired:
            self.cancel(order, now_ms)
        return expired

    def walk(self, leg: Leg, now_ms: int) -> list[Execution]:
        """The price goes on; returns what traded, in the order in which it did."""
        before, self.price = self.price, leg.price
        buys = sorted(
            (order for order in self.open_orders if order.action == "BUY"),
            key=lambda order: (-order.limit, order.perm_id),
        )
        sells = sorted(
            (order for order in self.open_orders if order.action == "SELL"),
            key=lambda order: (order.limit, order.perm_id),
        )
        met = [order for order in buys + sells if self._crosses(order)]
        return [self._trade(order, self._price_of(order, leg, before), now_ms) for order in met]

    def take(self, order: StockOrder, now_ms: int) -> list[Execution]:
        """Trade an order that was just accepted as far as the market holds its price now."""
        if not is_open(now_ms) or order.done or not self._crosses(order):
            return []
        return [self._trade(order, self.price, now_ms)]

    def submit_pending(self) -> list[StockOrder]:
        """Hand on the orders that could not be; returns them."""
        pending = [order for order in self.open_orders if order.status == PENDING]
        for order in pending:
            order.status = "Submitted"
            self._changed[order.perm_id] = order
        return pending

    def _crosses(self, order: StockOrder) -> bool:
        if order.status == PENDING:
            return False
        if order.kind == "MKT":
            return True
        if order.action == "BUY":
            return self.price <= order.limit
        return self.price >= order.limit

    def _price_of(self, order: StockOrder, leg: Leg, before: Decimal) -> Decimal:
        """A leg that begins beyond the limit (a rest of a fill) or jumps there is better for it."""
        if order.kind == "MKT" or leg.opening:
            return leg.price
        beyond = before <= order.limit if order.action == "BUY" else before >= order.limit
        return leg.price if beyond and before else order.limit

    def _trade(self, order: StockOrder, price: Decimal, now_ms: int) -> Execution:
        shares = min(order.remaining, self.settings.largest_fill)
        order.filled += shares
        order.spent += price * shares
        if not order.remaining:
            order.status, order.closed_ms = "Filled", now_ms
        first = order.filled == shares
        least = LEAST_FEE if first else Decimal(0)
        fee = min(max(least, SHARE_FEE * shares), MOST_SHARE * price * shares)
        stem = f"{order.perm_id:08x}.{len(self.executions):08x}.01"
        trade = Execution(f"{stem}.01", order.perm_id, price, shares, order.filled, fee, now_ms)
        self._book(trade)
        self._numbers[trade.stem] = len(self._numbers)
        self.executions[trade.stem] = self._traded[trade.stem] = trade
        self._changed[order.perm_id] = order
        return trade

    def correct(self, trade: Execution, price: Decimal) -> Execution:
        """Correct a trade's price; returns it under its next ID."""
        self._book(replace(trade, shares=-trade.shares, commission=-trade.commission))
        number = int(trade.exec_id.rpartition(".")[2]) + 1
        corrected = replace(trade, exec_id=f"{trade.stem}.{number:02d}", price=price)
        self._book(corrected)
        order = self.orders[trade.perm_id]
        order.spent += (price - trade.price) * trade.shares
        self.executions[trade.stem] = self._traded[trade.stem] = corrected
        self._changed[order.perm_id] = order
        return corrected

    def _book(self, trade: Execution) -> None:
        sign = 1 if self.orders[trade.perm_id].action == "BUY" else -1
        self.shares += sign * trade.shares
        self.cash -= sign * trade.price * trade.shares + trade.commission

    def executions_of_today(self, now_ms: int) -> list[Execution]:
        """Trades since midnight at the exchange: no older ones are told."""
        today = day_of(now_ms)
        return [trade for trade in self.executions.values() if day_of(trade.time_ms) == today]

    def document(self) -> dict[str, object]:
        """State for people and tests."""
        return {
            "cash": str(self.cash),
            "shares": str(self.shares),
            "orders": dict(Counter(order.status for order in self.orders.values())),
            "executions": len(self.executions),
        }
