"""Open orders on the account that are not this bot's: left alone, and counted."""

import logging
from collections.abc import Iterable

from gridbot.exchanges.port import RemoteOrder

log = logging.getLogger(__name__)


class ForeignOrders:
    """The owner's open orders on one symbol, as listed or as the stream says.

    Args:
        prefix: client order IDs of this bot begin with it.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._open: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._open)

    def listed(self, orders: Iterable[RemoteOrder]) -> None:
        """Take the whole list of open orders."""
        self._set(frozenset(order.exchange_id for order in orders if self._is_foreign(order)))

    def heard(self, order: RemoteOrder) -> None:
        """Take an order that the stream tells of."""
        if self._is_foreign(order):
            one = {order.exchange_id}
            self._set(self._open - one if order.closed else self._open | one)

    def _is_foreign(self, order: RemoteOrder) -> bool:
        return not order.client_id.startswith(self._prefix)

    def _set(self, found: frozenset[str]) -> None:
        if len(found) != len(self._open):
            log.warning("%d open orders on the account are not this bot's", len(found))
        self._open = found
