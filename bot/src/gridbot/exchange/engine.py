"""Matching: orders against one moving price. Pure: no I/O, no clock, exact decimals.

The market is one price that anybody can trade at in any quantity. It moves in straight legs (see
`feed`), and a resting order fills whole, at its own price, when a leg reaches it.
"""

from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from gridbot.exchange.amounts import (
    ZERO,
    add,
    commission_on,
    is_multiple,
    multiply,
    subtract,
)
from gridbot.exchange.errors import cancel_rejected, filter_failure, order_rejected
from gridbot.exchange.orders import (
    BUY,
    CANCELED,
    EXPIRED,
    FILLED,
    FOK,
    IOC,
    LIMIT_MAKER,
    MARKET,
    NEW,
    PARTIALLY_FILLED,
    SELL,
    TRADE,
    Balance,
    Order,
    OrderRequest,
    Report,
    Trade,
)
from gridbot.market import EXACT, Market, floor_to_lot, round_to_tick

RECEIVED = "received"
QUOTE = "quote"


@dataclass(frozen=True)
class PriceBand:
    """Between which multiples of the last price a limit price lies, by side.

    Attributes:
        bid_up: highest price of a buy.
        bid_down: lowest price of a buy.
        ask_up: highest price of a sell.
        ask_down: lowest price of a sell.
    """

    bid_up: Decimal = Decimal(5)
    bid_down: Decimal = Decimal("0.2")
    ask_up: Decimal = Decimal(5)
    ask_down: Decimal = Decimal("0.2")


@dataclass(frozen=True)
class Rules:
    """What the exchange holds its clients to.

    Attributes:
        market: tick, lot, smallest and largest order, most open orders.
        fee_rate: commission, as a share of what a trade moves.
        fee_in: `received` takes it from the coin received, `quote` always from the quote coin.
        max_price: highest limit price (quote).
        max_notional: largest price times quantity of a limit order (quote).
        band: how far limit prices may be from the last price.
    """

    market: Market
    fee_rate: Decimal
    fee_in: str = RECEIVED
    max_price: Decimal = Decimal(1_000_000)
    max_notional: Decimal = Decimal(9_000_000)
    band: PriceBand = PriceBand()


@dataclass
class Changes:
    """What one or several operations changed, to be stored together."""

    orders: dict[int, Order] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    assets: set[str] = field(default_factory=set)
    reports: list[Report] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.orders or self.trades or self.assets)


class Engine:
    """The books of one account on one symbol.

    Args:
        rules: what orders must keep to.
        balances: coins by name; the engine keeps and changes this mapping.
        open_orders: resting orders to go on with.
        next_order_id: number of the next order.
        next_trade_id: number of the next trade.
        price: the market's price now, in quote, as exact as the market's data.

    Attributes:
        parts_of: in how many trades, one a leg, an order fills that the market has just reached;
            None for one.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        balances: dict[str, Balance],
        open_orders: Iterable[Order],
        next_order_id: int,
        next_trade_id: int,
        price: Decimal,
    ) -> None:
        self.rules = rules
        self.balances = balances
        self.orders: dict[int, Order] = {}
        self.next_order_id = next_order_id
        self.next_trade_id = next_trade_id
        self.price = price
        self.changes = Changes()
        # Price levels in the order in which a falling (buys) or rising (sells) price meets them.
        self._buys: list[tuple[Decimal, int]] = []
        self._sells: list[tuple[Decimal, int]] = []
        self._by_client_id: dict[str, int] = {}
        # Orders that the market has reached and that fill in parts: how many are still to come.
        self._parts: dict[int, int] = {}
        self.parts_of: Callable[[], int] | None = None
        for coin in (rules.market.base, rules.market.quote):
            balances.setdefault(coin, Balance())
        for order in open_orders:
            self._rest(order)
            if order.status == PARTIALLY_FILLED:
                self._leave_level(order)
                self._parts[order.order_id] = 1

    @property
    def last_price(self) -> Decimal:
        """The price that is quoted and that takers trade at: `price` on the tick."""
        return round_to_tick(self.price, self.rules.market.tick_size)

    @property
    def best_buy(self) -> Decimal | None:
        """Highest resting buy, or None."""
        return -self._buys[0][0] if self._buys else None

    @property
    def best_sell(self) -> Decimal | None:
        """Lowest resting sell, or None."""
        return self._sells[0][0] if self._sells else None

    @property
    def is_filling(self) -> bool:
        """Whether an order that the market has reached still fills, leg by leg."""
        return bool(self._parts)

    def take_changes(self) -> Changes:
        """What changed since the last call."""
        changes, self.changes = self.changes, Changes()
        return changes

    def open_order(self, client_order_id: str) -> Order | None:
        """The open order that carries this client order ID."""
        order_id = self._by_client_id.get(client_order_id)
        return None if order_id is None else self.orders[order_id]

    def move(self, price: Decimal, time_ms: int) -> None:
        """Move the market in a straight line and fill what it touches, in that order.

        Args:
            price: where the line ends (quote).
            time_ms: when.
        """
        for order_id, parts in list(self._parts.items()):
            self._fill_part(self.orders[order_id], parts, time_ms)
        while self._sells and self._sells[0][0] <= price:
            self._fill_resting(self._sells[0][1], time_ms)
        while self._buys and -self._buys[0][0] >= price:
            self._fill_resting(self._buys[0][1], time_ms)
        self.price = price

    def check(self, request: OrderRequest) -> None:
        """Hold a request against the filters and the account, changing nothing.

        Raises:
            ApiError: -1013 for a filter, -2010 for what matching refuses.
        """
        self._check_filters(request)
        if request.client_order_id in self._by_client_id:
            raise order_rejected("Duplicate order sent.")
        if request.type == LIMIT_MAKER and self._is_marketable(request):
            raise order_rejected("Order would immediately match and take.")
        coin = self._coin_spent(request.side)
        if self.balances[coin].free < self._needed(request):
            raise order_rejected("Account has insufficient balance for requested action.")

    def place(self, request: OrderRequest, time_ms: int) -> tuple[Order, list[Trade]]:
        """Accept an order; what can execute now does, at the market's price, as taker.

        Args:
            request: what the client asks for.
            time_ms: when.

        Returns:
            The order, and its trades so far.

        Raises:
            ApiError: see `check`; nothing has changed then.
        """
        self.check(request)
        order = self._accept(request, time_ms)
        first_trade = len(self.changes.trades)
        if self._is_marketable(request):
            self._execute(order, order.quantity, self.last_price, time_ms, is_maker=False)
        elif request.time_in_force in (IOC, FOK):
            self._finish(order, EXPIRED, time_ms)
            self._report(EXPIRED, order)
        else:
            self._rest(order)
        return order, self.changes.trades[first_trade:]

    def cancel(
        self, order_id: int, time_ms: int, *, cancel_id: str = "", status: str = CANCELED
    ) -> Order:
        """Take an open order off the book.

        Args:
            order_id: its number.
            time_ms: when.
            cancel_id: what the client calls the cancellation.
            status: EXPIRED where the exchange itself ends the order.

        Raises:
            ApiError: -2011, there is no such open order.
        """
        order = self.orders.get(order_id)
        if order is None:
            raise cancel_rejected("Unknown order sent.")
        self._unrest(order)
        self._finish(order, status, time_ms)
        self._report(status, order, cancel_id=cancel_id)
        return order

    def _accept(self, request: OrderRequest, time_ms: int) -> Order:
        order = Order(
            order_id=self.next_order_id,
            client_order_id=request.client_order_id,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            price=request.price or ZERO,
            quantity=self._quantity(request),
            quote_quantity=request.quote_quantity or ZERO,
            executed=ZERO,
            executed_quote=ZERO,
            locked=self._needed(request),
            status=NEW,
            created_ms=time_ms,
            updated_ms=time_ms,
        )
        self.next_order_id += 1
        balance = self.balances[self._coin_spent(order.side)]
        balance.free = subtract(balance.free, order.locked)
        balance.locked = add(balance.locked, order.locked)
        self._touch(order)
        self._report(NEW, order)
        return order

    def _fill_resting(self, order_id: int, time_ms: int) -> None:
        order = self.orders[order_id]
        parts = 1 if self.parts_of is None else self.parts_of()
        self._leave_level(order)
        self._fill_part(order, parts, time_ms)

    def _fill_part(self, order: Order, parts: int, time_ms: int) -> None:
        """Fill one of the parts that are left of an order which the market has reached."""
        share = order.remaining
        if parts > 1:
            share = floor_to_lot(EXACT.divide(share, parts), self.rules.market.lot_size)
        if ZERO < share < order.remaining:
            self._parts[order.order_id] = parts - 1
        else:
            share = order.remaining
            self._forget(order)
        self._execute(order, share, order.price, time_ms, is_maker=True)

    def _execute(
        self, order: Order, quantity: Decimal, price: Decimal, time_ms: int, *, is_maker: bool
    ) -> None:
        """Trade `quantity` of an order at `price`: move the coins, keep the commission."""
        market = self.rules.market
        notional = multiply(price, quantity)
        is_buy = order.side == BUY
        received = quantity if is_buy else notional
        in_quote = self.rules.fee_in == QUOTE or not is_buy
        commission = commission_on(notional if in_quote else received, self.rules.fee_rate)
        order.executed = add(order.executed, quantity)
        order.executed_quote = add(order.executed_quote, notional)
        spent = notional if is_buy else quantity
        if is_buy and in_quote:
            spent = add(spent, commission)
        else:
            received = subtract(received, commission)
        self._spend(order, spent)
        balance = self.balances[market.base if is_buy else market.quote]
        balance.free = add(balance.free, received)
        trade = Trade(
            trade_id=self.next_trade_id,
            order_id=order.order_id,
            price=price,
            quantity=quantity,
            quote_quantity=notional,
            commission=commission,
            commission_asset=market.quote if in_quote else market.base,
            time_ms=time_ms,
            is_buyer=is_buy,
            is_maker=is_maker,
        )
        self.changes.trades.append(trade)
        self.next_trade_id += 1
        if order.remaining == 0:
            self._finish(order, FILLED, time_ms)
        else:
            order.status, order.updated_ms = PARTIALLY_FILLED, time_ms
            self._touch(order)
        self._report(TRADE, order, trade)

    def _spend(self, order: Order, spent: Decimal) -> None:
        """Take what a trade costs out of what the order has locked."""
        balance = self.balances[self._coin_spent(order.side)]
        order.locked = subtract(order.locked, spent)
        balance.locked = subtract(balance.locked, spent)

    def _finish(self, order: Order, status: str, time_ms: int) -> None:
        """Close an order and give back what it still holds."""
        balance = self.balances[self._coin_spent(order.side)]
        balance.locked = subtract(balance.locked, order.locked)
        balance.free = add(balance.free, order.locked)
        order.locked = ZERO
        order.status, order.updated_ms = status, time_ms
        self._touch(order)

    def _touch(self, order: Order) -> None:
        self.changes.orders[order.order_id] = order
        self.changes.assets.update((self.rules.market.base, self.rules.market.quote))

    def _report(
        self, kind: str, order: Order, trade: Trade | None = None, *, cancel_id: str = ""
    ) -> None:
        market = self.rules.market
        balances = {
            coin: (self.balances[coin].free, self.balances[coin].locked)
            for coin in (market.base, market.quote)
        }
        then = Order(**vars(order))
        self.changes.reports.append(Report(kind, then, trade, cancel_id, balances))

    def _rest(self, order: Order) -> None:
        self.orders[order.order_id] = order
        self._by_client_id[order.client_order_id] = order.order_id
        insort(self._side(order), self._level(order))

    def _unrest(self, order: Order) -> None:
        if order.order_id not in self._parts:
            self._leave_level(order)
        self._forget(order)

    def _leave_level(self, order: Order) -> None:
        self._side(order).remove(self._level(order))

    def _forget(self, order: Order) -> None:
        del self.orders[order.order_id]
        del self._by_client_id[order.client_order_id]
        self._parts.pop(order.order_id, None)

    def _side(self, order: Order) -> list[tuple[Decimal, int]]:
        return self._sells if order.side == SELL else self._buys

    @staticmethod
    def _level(order: Order) -> tuple[Decimal, int]:
        return (order.price if order.side == SELL else -order.price, order.order_id)

    def _coin_spent(self, side: str) -> str:
        return self.rules.market.quote if side == BUY else self.rules.market.base

    def _is_marketable(self, request: OrderRequest) -> bool:
        if request.price is None:
            return True
        if request.side == BUY:
            return request.price >= self.last_price
        return request.price <= self.last_price

    def _quantity(self, request: OrderRequest) -> Decimal:
        """Base to trade; for an amount of quote, as much as it buys or as must be sold for it."""
        if request.quantity is not None:
            return request.quantity
        if request.quote_quantity is None:
            raise ValueError("an order needs a quantity or a quote quantity")
        wanted = EXACT.divide(request.quote_quantity, self.last_price)
        return floor_to_lot(wanted, self.rules.market.lot_size)

    def _needed(self, request: OrderRequest) -> Decimal:
        """What the order must lock: base for a sell, quote (with a quote fee) for a buy."""
        quantity = self._quantity(request)
        if request.side == SELL:
            return quantity
        notional = multiply(request.price or self.last_price, quantity)
        if self.rules.fee_in == QUOTE:
            return add(notional, commission_on(notional, self.rules.fee_rate))
        return notional

    def _check_filters(self, request: OrderRequest) -> None:
        market = self.rules.market
        if request.price is not None:
            self._check_price(request.side, request.price)
        quantity = self._quantity(request)
        too_large = market.max_quantity is not None and quantity > market.max_quantity
        if quantity < market.min_quantity or too_large:
            raise filter_failure("LOT_SIZE")
        if not is_multiple(quantity, market.lot_size):
            raise filter_failure("LOT_SIZE")
        notional = multiply(request.price or self.last_price, quantity)
        if notional < market.min_notional:
            raise filter_failure("NOTIONAL")
        if request.type != MARKET and notional > self.rules.max_notional:
            raise filter_failure("NOTIONAL")
        full = market.max_orders is not None and len(self.orders) >= market.max_orders
        if full and request.type != MARKET:
            raise filter_failure("MAX_NUM_ORDERS")

    def _check_price(self, side: str, price: Decimal) -> None:
        tick = self.rules.market.tick_size
        if not tick <= price <= self.rules.max_price or not is_multiple(price, tick):
            raise filter_failure("PRICE_FILTER")
        band, last = self.rules.band, self.last_price
        up, down = (band.bid_up, band.bid_down) if side == BUY else (band.ask_up, band.ask_down)
        if not multiply(last, down) <= price <= multiply(last, up):
            raise filter_failure("PERCENT_PRICE_BY_SIDE")
