"""The account's resting orders on one symbol, in the order in which a price meets them. Pure."""

from bisect import insort
from collections.abc import Iterable
from decimal import Decimal

from gridexchange.matching.orders import BUY, SELL, Order


class Book:
    """Open orders.

    An order that the market has reached, and that still fills in parts, is open but stands at no
    price level any more: it trades with nobody else.

    Args:
        orders: those to begin with.

    Attributes:
        orders: all of them, by number.
        filling: those that the market has reached.
    """

    def __init__(self, orders: Iterable[Order]) -> None:
        self.orders: dict[int, Order] = {}
        self.filling: dict[int, Order] = {}
        # Price levels in the order in which a falling (buys) or rising (sells) price meets them.
        self._levels: dict[str, list[tuple[Decimal, int]]] = {BUY: [], SELL: []}
        self._by_client_id: dict[str, int] = {}
        for order in orders:
            self.add(order)

    def named(self, client_order_id: str) -> Order | None:
        """The open order that carries this client order ID."""
        order_id = self._by_client_id.get(client_order_id)
        return None if order_id is None else self.orders[order_id]

    def first(self, side: str) -> Order | None:
        """Highest resting buy, or lowest resting sell; the oldest of several at one price."""
        levels = self._levels[side]
        return self.orders[levels[0][1]] if levels else None

    def add(self, order: Order) -> None:
        """Let an order rest."""
        self.orders[order.order_id] = order
        self._by_client_id[order.client_order_id] = order.order_id
        if order.parts:
            self.filling[order.order_id] = order
        else:
            insort(self._levels[order.side], _level(order))

    def reach(self, order: Order) -> None:
        """The market has reached an order: it leaves its price level."""
        self._levels[order.side].remove(_level(order))
        self.filling[order.order_id] = order

    def remove(self, order: Order) -> None:
        """An order is closed."""
        if self.filling.pop(order.order_id, None) is None:
            self._levels[order.side].remove(_level(order))
        del self.orders[order.order_id]
        del self._by_client_id[order.client_order_id]


def _level(order: Order) -> tuple[Decimal, int]:
    return (order.price if order.side == SELL else -order.price, order.order_id)
