"""Matching: orders against one moving price. Pure: no I/O, no clock, exact decimals.

The market is one price that anybody can trade at in any quantity, half the spread dearer or
cheaper. It moves in straight legs (see `feed`), and a resting order fills whole, at its own price,
when a leg reaches it. Between best bid and best ask only the account's own orders stand: a taker
meets them first, and self-trade prevention says what becomes of that.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal

from gridbase.market import EXACT, floor_to_lot, round_to_tick

from gridexchange.errors import cancel_rejected, order_rejected
from gridexchange.matching.amounts import ZERO, add, multiply, subtract
from gridexchange.matching.book import Book
from gridexchange.matching.ledger import Changes, Ledger
from gridexchange.matching.orders import (
    BUY,
    CANCELED,
    DECREMENT,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    EXPIRED,
    EXPIRED_IN_MATCH,
    FOK,
    IOC,
    LIMIT_MAKER,
    MARKET,
    NEW,
    NO_ORDER,
    NO_PREVENTION,
    OPEN_STATUSES,
    SELL,
    Balance,
    Order,
    OrderRequest,
    Prevention,
    Trade,
)
from gridexchange.matching.rules import TRADING, Rules

Level = tuple[Decimal, Decimal]  # price (quote) and quantity (base)
OPPOSITE = {BUY: SELL, SELL: BUY}


class Engine:
    """The books of one account on one symbol.

    Args:
        rules: what orders must keep to.
        balances: coins by name; the engine keeps and changes this mapping.
        open_orders: resting orders to go on with.
        next_order_id: number of the next order.
        next_trade_id: number of the next trade.
        next_match_id: number of the next match that self-trade prevention forbids.
        price: the market's price now, in quote, as exact as the market's data.

    Attributes:
        orders: open orders by number.
        parts_of: in how many trades, one a leg, an order fills that the market has just reached;
            None for one.
        average_price: what limit prices are held against; None for the last price.
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
        next_match_id: int = 0,
    ) -> None:
        self.rules = rules
        self.next_order_id = next_order_id
        self.price = price
        self._ledger = Ledger(rules, balances, next_trade_id, next_match_id)
        self._book = Book(open_orders)
        self.orders = self._book.orders
        self.parts_of: Callable[[], int] | None = None
        self.average_price: Callable[[], Decimal] | None = None

    @property
    def balances(self) -> dict[str, Balance]:
        """The account's coins by name."""
        return self._ledger.balances

    @property
    def changes(self) -> Changes:
        """What changed since `take_changes`."""
        return self._ledger.changes

    @property
    def next_trade_id(self) -> int:
        """Number of the next trade."""
        return self._ledger.next_trade_id

    @property
    def last_price(self) -> Decimal:
        """The price that is quoted: `price` on the tick."""
        return round_to_tick(self.price, self.rules.market.tick_size)

    def offer(self, side: str) -> Decimal:
        """The price at which the market trades with a taker: best ask of a BUY, best bid of a SELL.

        Args:
            side: the taker's.
        """
        last = self.last_price
        distance = EXACT.divide(multiply(last, self.rules.spread), 2)
        half = floor_to_lot(distance, self.rules.market.tick_size)
        return add(last, half) if side == BUY else subtract(last, half)

    def levels(self, side: str) -> list[Level]:
        """What the market offers a taker: prices (quote) and quantities (base), the best first.

        Args:
            side: the taker's.
        """
        return [(self.offer(side), self.rules.market.max_quantity or Decimal(1))]

    def learn(self, rules: Rules) -> None:
        """Go on with other rules; orders that rest stay."""
        self.rules = rules
        self._ledger.learn(rules)

    @property
    def best_buy(self) -> Decimal | None:
        """Highest resting buy, or None."""
        first = self._book.first(BUY)
        return None if first is None else first.price

    @property
    def best_sell(self) -> Decimal | None:
        """Lowest resting sell, or None."""
        first = self._book.first(SELL)
        return None if first is None else first.price

    @property
    def is_filling(self) -> bool:
        """Whether an order that the market has reached still fills, leg by leg."""
        return bool(self._book.filling)

    def take_changes(self) -> Changes:
        """What changed since the last call."""
        changes, self._ledger.changes = self._ledger.changes, Changes()
        return changes

    def open_order(self, client_order_id: str) -> Order | None:
        """The open order that carries this client order ID."""
        return self._book.named(client_order_id)

    def move(self, price: Decimal, time_ms: int) -> None:
        """Move the market in a straight line and fill what it touches, in that order.

        Args:
            price: where the line ends (quote).
            time_ms: when.
        """
        for order in list(self._book.filling.values()):
            self._fill_part(order, time_ms)
        while (sell := self._book.first(SELL)) is not None and sell.price <= price:
            self._reach(sell, time_ms)
        while (buy := self._book.first(BUY)) is not None and buy.price >= price:
            self._reach(buy, time_ms)
        self.price = price

    def check(self, request: OrderRequest) -> None:
        """Hold a request against the filters and the account, changing nothing.

        Raises:
            ApiError: -1013 for a filter, -2010 for what matching refuses.
        """
        self.check_filters(request)
        if self.rules.status != TRADING:
            raise order_rejected("Market is closed.")
        if self._book.named(request.client_order_id) is not None:
            raise order_rejected("Duplicate order sent.")
        if request.type == LIMIT_MAKER and self._is_marketable(request):
            raise order_rejected("Order would immediately match and take.")
        coin = self._ledger.coin_spent(request.side)
        if self.balances[coin].free < self._needed(request):
            raise order_rejected("Account has insufficient balance for requested action.")

    def check_filters(self, request: OrderRequest) -> None:
        """Hold a request against the filters, changing nothing.

        Raises:
            ApiError: -1013, see `Rules.check_filters`.
        """
        last = self.last_price
        self.rules.check_filters(
            request,
            self._quantity(request),
            last_price=last,
            average_price=last if self.average_price is None else self.average_price(),
            open_orders=len(self.orders),
        )

    def place(self, request: OrderRequest, time_ms: int) -> tuple[Order, list[Trade]]:
        """Accept an order; what can execute now does, as taker.

        Args:
            request: what the client asks for.
            time_ms: when.

        Returns:
            The order, and its own trades so far.

        Raises:
            ApiError: see `check`; nothing has changed then.
        """
        self.check(request)
        order = self._accept(request, time_ms)
        first_trade = len(self.changes.trades)
        in_reach = self._trades_at_once(request)
        # The market fills a FOK order whole, or it does not trade at all.
        if in_reach or order.time_in_force != FOK:
            self._meet_own(order, request, time_ms)
        if order.status in OPEN_STATUSES and in_reach:
            self._take(order, time_ms)
        if order.status in OPEN_STATUSES:
            if order.time_in_force in (IOC, FOK) or order.type == MARKET:
                self._ledger.finish(order, EXPIRED, time_ms)
                self._ledger.report(EXPIRED, order)
            else:
                self._book.add(order)
        trades = self.changes.trades[first_trade:]
        return order, [trade for trade in trades if trade.order_id == order.order_id]

    def cancel(
        self, order_id: int, time_ms: int, *, cancel_id: str = "", status: str = CANCELED
    ) -> Order:
        """Take an open order off the book.

        Args:
            order_id: its number.
            time_ms: when.
            cancel_id: what the client calls the cancellation.
            status: EXPIRED where the exchange itself ends the order, EXPIRED_IN_MATCH where it
                would have met an order of another account of the same owner.

        Raises:
            ApiError: -2011, there is no such open order.
        """
        order = self.orders.get(order_id)
        if order is None:
            raise cancel_rejected("Unknown order sent.")
        self._book.remove(order)
        if status == EXPIRED_IN_MATCH:
            match = self._ledger.next_match()
            prevention = Prevention(match, order.remaining, NO_ORDER, order.price)
            self._ledger.prevent(order, prevention, time_ms)
        else:
            self._ledger.finish(order, status, time_ms)
            self._ledger.report(status, order, cancel_id=cancel_id)
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
            self_trade_prevention=(
                request.self_trade_prevention or self.rules.self_trade_prevention
            ),
        )
        self.next_order_id += 1
        self._ledger.accept(order)
        return order

    def _take(self, order: Order, time_ms: int) -> None:
        """Let a new order that is in reach trade with the market."""
        price = self.offer(order.side)
        self._ledger.execute(order, order.remaining, price, time_ms, is_maker=False)

    def _trades_at_once(self, request: OrderRequest) -> bool:
        """Whether the market offers what a new order asks for; to one with FOK, all of it."""
        return self._is_in_reach(request, self.offer(request.side))

    def _meet_own(self, taker: Order, request: OrderRequest, time_ms: int) -> None:
        """Let a new order meet the account's own, as far as they offer more than the market."""
        while taker.status in OPEN_STATUSES:
            maker = self._own_in_reach(request)
            if maker is None:
                return
            mode = taker.self_trade_prevention
            shared = min(taker.remaining, maker.remaining)
            if mode == NO_PREVENTION:
                if shared == maker.remaining:
                    self._book.remove(maker)
                self._ledger.execute(maker, shared, maker.price, time_ms, is_maker=True)
                self._ledger.execute(taker, shared, maker.price, time_ms, is_maker=False)
                continue
            of_taker = {EXPIRE_MAKER: ZERO, DECREMENT: shared}.get(mode, taker.remaining)
            of_maker = {EXPIRE_TAKER: ZERO, DECREMENT: shared}.get(mode, maker.remaining)
            match = self._ledger.next_match()
            if of_maker:
                if of_maker == maker.remaining:
                    self._book.remove(maker)
                prevention = Prevention(match, of_maker, taker.order_id, maker.price)
                self._ledger.prevent(maker, prevention, time_ms)
            if of_taker:
                prevention = Prevention(match, of_taker, maker.order_id, maker.price)
                self._ledger.prevent(taker, prevention, time_ms)

    def _own_in_reach(self, request: OrderRequest) -> Order | None:
        """The account's own order that a taker meets before it meets the market."""
        maker = self._book.first(OPPOSITE[request.side])
        if maker is None or not self._is_in_reach(request, maker.price):
            return None
        offer = self.offer(request.side)
        better = maker.price < offer if request.side == BUY else maker.price > offer
        return maker if better else None

    def _reach(self, order: Order, time_ms: int) -> None:
        self._book.reach(order)
        order.parts = 1 if self.parts_of is None else self.parts_of()
        self._fill_part(order, time_ms)

    def _fill_part(self, order: Order, time_ms: int) -> None:
        """Fill one of the parts that are left of an order which the market has reached."""
        share = order.remaining
        if order.parts > 1:
            share = floor_to_lot(EXACT.divide(share, order.parts), self.rules.market.lot_size)
        if ZERO < share < order.remaining:
            order.parts -= 1
        else:
            share = order.remaining
            order.parts = 0
            self._book.remove(order)
        self._ledger.execute(order, share, order.price, time_ms, is_maker=True)

    def _is_marketable(self, request: OrderRequest) -> bool:
        """Whether an order would trade, with the market or with the account's own orders."""
        offer = self.offer(request.side)
        return self._is_in_reach(request, offer) or self._own_in_reach(request) is not None

    @staticmethod
    def _is_in_reach(request: OrderRequest, price: Decimal) -> bool:
        """Whether an order may trade at a price."""
        if request.price is None:
            return True
        return request.price >= price if request.side == BUY else request.price <= price

    def _quantity(self, request: OrderRequest) -> Decimal:
        """Base to trade; for an amount of quote, as much as it buys or as must be sold for it."""
        if request.quantity is not None:
            return request.quantity
        if request.quote_quantity is None:
            raise ValueError("an order needs a quantity or a quote quantity")
        wanted = EXACT.divide(request.quote_quantity, self.offer(request.side))
        return floor_to_lot(wanted, self.rules.market.lot_size)

    def _needed(self, request: OrderRequest) -> Decimal:
        """What the order must lock."""
        price = request.price or self.offer(request.side)
        return self._ledger.needed(request.side, price, self._quantity(request))
