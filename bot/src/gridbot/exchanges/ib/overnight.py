"""Open orders that are gone on the next day. Pure.

IB cancels what is good till canceled at the close of a quarter, and completed orders are told for
one day only.
"""

from collections.abc import Iterable
from typing import NamedTuple

from gridbot.exchanges.port import RemoteOrder


class Gone(NamedTuple):
    """An order that is not listed any more.

    Attributes:
        order: as it was listed last.
        since: when that was noticed (monotonic seconds).
    """

    order: RemoteOrder
    since: float


class Overnight:
    """Compares the first list of a day with the last one of the day before."""

    def __init__(self) -> None:
        self._day = ""
        self._open: dict[str, RemoteOrder] = {}
        self._gone: dict[str, Gone] = {}

    def listed(self, day: str, orders: Iterable[RemoteOrder], now: float) -> None:
        """All open orders were listed.

        Args:
            day: the exchange's.
            orders: all of them.
            now: monotonic seconds.
        """
        there = {order.client_id: order for order in orders}
        if day != self._day:
            before = self._open.items()
            self._gone = {name: Gone(order, now) for name, order in before if name not in there}
        self._day, self._open = day, there

    def gone(self, client_id: str) -> Gone | None:
        """The order with this client order ID, where it was open at the end of the day before."""
        return None if client_id in self._open else self._gone.get(client_id)
