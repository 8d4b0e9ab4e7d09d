"""Matching against the trades and the book of others. Pure: no I/O, no clock, exact decimals.

A resting order fills from trades of others that came after it, never from a price that is only
quoted, and never for more than they traded:

- trades beyond its price (a buy: below it) fill it, whoever took;
- trades at its price fill it only where the taker was on the other side, and only with what they
  traded beyond the quantity that was shown at that price before the order came (its queue). Where
  the book was not shown so far, the queue is what is shown there for the first time. Until then
  trades at the price do not fill it.

It fills at its own price. What others traded is given once, to the better price first, then to the
older order. A taker has what the book shows, level by level, and no more.
"""

from collections.abc import Iterable
from decimal import Decimal

from gridbase.market import EXACT, floor_to_lot

from gridexchange.live.depth import Depth
from gridexchange.live.events import Traded
from gridexchange.matching.amounts import ZERO, add, multiply, subtract
from gridexchange.matching.matching import Engine, Level
from gridexchange.matching.orders import BUY, FOK, OPEN_STATUSES, SELL, Order, OrderRequest, Trade


class LiveEngine(Engine):
    """The books of one account on one symbol, beside a market of others; see `Engine`.

    Attributes:
        depth: the book of others.
    """

    depth: Depth

    def follow(self, depth: Depth) -> None:
        """Say where the book of others is."""
        self.depth = depth
        self._ahead: dict[int, Decimal | None] = dict.fromkeys(self.orders)

    def offer(self, side: str) -> Decimal:
        """Best ask of a BUY, best bid of a SELL; the last price where there is none."""
        return next((price for price, _ in self.depth.offered(side)), self.last_price)

    def levels(self, side: str) -> list[Level]:
        """What others offer a taker, the best first."""
        return list(self.depth.offered(side))

    def seen(self) -> None:
        """The book is shown anew: find the queue of orders that it was not shown for so far."""
        self._ahead = {number: self._queue(order) for number, order in self.orders.items()}

    def trade(self, trade: Traded, time_ms: int) -> None:
        """Others have traded.

        Args:
            trade: what.
            time_ms: when, by the exchange's own time.
        """
        left = trade.quantity
        for side in (BUY, SELL):
            first = self._book.first(side)
            if first is None or _is_better(trade.price, first.price, side):
                continue
            reached = [
                order
                for order in self.orders.values()
                if order.side == side
                and not _is_better(trade.price, order.price, side)
                and order.created_ms <= trade.time_ms
            ]
            left = self._give(trade, self._in_turn(reached, side), left, time_ms)
        self.depth.trade(trade)
        self.price = trade.price

    def _give(
        self, trade: Traded, reached: Iterable[Order], left: Decimal, time_ms: int
    ) -> Decimal:
        """Fill orders with what is left of a trade (base); returns what is left then."""
        for order in reached:
            share = left
            if order.price != trade.price:
                self._ahead[order.order_id] = ZERO
            elif trade.seller_took != (order.side == BUY):
                continue
            else:
                share = self._past_queue(order, trade, left)
            share = floor_to_lot(min(share, order.remaining), self.rules.market.lot_size)
            if share > 0:
                left = subtract(left, share)
                if share == order.remaining:
                    self._book.remove(order)
                    self._ahead.pop(order.order_id, None)
                self._ledger.execute(order, share, order.price, time_ms, is_maker=True)
        return left

    def _past_queue(self, order: Order, trade: Traded, left: Decimal) -> Decimal:
        """How much of a trade at an order's price is left once those before it have had theirs."""
        ahead = self._ahead.get(order.order_id)
        if ahead is None:
            return ZERO
        self._ahead[order.order_id] = max(ZERO, subtract(ahead, trade.quantity))
        return max(ZERO, subtract(left, ahead))

    @staticmethod
    def _in_turn(orders: list[Order], side: str) -> list[Order]:
        """Orders of one side, the best price first, then the oldest."""
        sign = -1 if side == BUY else 1
        return sorted(orders, key=lambda order: (sign * order.price, order.order_id))

    def _queue(self, order: Order) -> Decimal | None:
        known = self._ahead.get(order.order_id)
        return self.depth.ahead(order.side, order.price) if known is None else known

    def _take(self, order: Order, time_ms: int) -> None:
        limit = order.price or None
        for price, share in self.depth.walk(order.side, limit, order.remaining):
            self.depth.take(order.side, share)
            self._ledger.execute(order, share, price, time_ms, is_maker=False)
        if order.status in OPEN_STATUSES:
            self._ledger.trim(order)

    def place(self, request: OrderRequest, time_ms: int) -> tuple[Order, list[Trade]]:
        """Accept an order; see `Engine.place`."""
        order, trades = super().place(request, time_ms)
        if order.order_id in self.orders:
            self._ahead[order.order_id] = self.depth.ahead(order.side, order.price)
        return order, trades

    def _trades_at_once(self, request: OrderRequest) -> bool:
        quantity = self._quantity(request)
        taken = list(self.depth.walk(request.side, request.price, quantity))
        if request.time_in_force == FOK:
            return sum((share for _, share in taken), ZERO) >= quantity
        return bool(taken)

    def _quantity(self, request: OrderRequest) -> Decimal:
        if request.quantity is not None or request.quote_quantity is None:
            return super()._quantity(request)
        left, wanted = request.quote_quantity, ZERO
        for price, there in self.depth.offered(request.side):
            share = min(there, EXACT.divide(left, price))
            left = subtract(left, multiply(share, price))
            wanted = add(wanted, share)
            if share < there:
                break
        return floor_to_lot(wanted, self.rules.market.lot_size)

    def _needed(self, request: OrderRequest) -> Decimal:
        if request.price is not None or request.side == SELL:
            return super()._needed(request)
        taken = self.depth.walk(BUY, None, self._quantity(request))
        costs = [self._ledger.needed(BUY, price, share) for price, share in taken]
        return sum(costs, ZERO)


def _is_better(price: Decimal, than: Decimal, side: str) -> bool:
    """Whether a price is out of reach of a resting order: above a buy, below a sell."""
    return price > than if side == BUY else price < than
