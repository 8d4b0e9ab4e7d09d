"""Takes what the Gateway says from ib_async's decoder, and hands it to whoever waits for it.

One request of a kind is under way at a time: the bot asks for one thing after the other.
"""

import asyncio
from datetime import UTC
from types import SimpleNamespace
from typing import Any

from gridbase.gateway.shared import Slot

from gridbot.exchanges.ib.answers import (
    CANCELED,
    CLOSED,
    IN_USE,
    LINK_BACK,
    LINK_BACK_WITHOUT_DATA,
    LINK_LOST,
    UNSET,
    is_notice,
)

BID, ASK, LAST = 1, 2, 4
# Prices of a delayed feed, for accounts that have not bought the live one.
DELAYED = {66: BID, 67: ASK, 68: LAST}


class GatewayError(Exception):
    """The Gateway answers with an error.

    Args:
        code: its code.
        text: its message.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code


class Line:
    """A stream of one contract's prices.

    Args:
        slot: its place among all lines of the Gateway, as long as it is open.

    Attributes:
        prices: the latest, by kind.
        low: the lowest trade since the look before; None before one.
        high: the highest.
    """

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self.prices: dict[int, float] = {}
        self.low: float | None = None
        self.high: float | None = None

    def tick(self, kind: int, price: float) -> None:
        """A price; -1, 0, the largest of all floats and what is no number are none."""
        kind = DELAYED.get(kind, kind)
        if not 0 < price < UNSET:
            return
        self.prices[kind] = price
        if kind == LAST:
            self.low = price if self.low is None else min(self.low, price)
            self.high = price if self.high is None else max(self.high, price)


class Listener:
    """Methods bear the names that the decoder calls them by.

    Attributes:
        news: whether something was told since somebody last asked for all.
        arrived: set when something was told; whoever waits for it clears it.
        link_up: whether the Gateway reaches IB.
        refusal: why a connection was not accepted.
        accounts: names, as the Gateway told them.
        commissions: reports by execution ID.
        lines: streams by request.
    """

    defaultTimezone = UTC  # noqa: N815  the decoder's name
    ib = SimpleNamespace(TimezoneTWS="America/New_York")

    def __init__(self) -> None:
        self.news = False
        self.arrived = asyncio.Event()
        self.link_up = True
        self.refusal: GatewayError | None = None
        self.accounts: list[str] = []
        self.commissions: dict[str, Any] = {}
        self.lines: dict[int, Line] = {}
        self.waiting: dict[object, asyncio.Future[Any]] = {}
        self.rows: dict[object, list[Any]] = {}
        self._opened: dict[int, Any] = {}  # orders by their ID, until their state follows
        self._told: set[int] = set()  # whose state was told since a list was asked for

    def tell(self) -> None:
        """There is news: an order, a trade, a new or a lost connection."""
        self.news = True
        self.arrived.set()

    def expect(self, key: object) -> "asyncio.Future[Any]":
        """What ends with an answer to a request of this kind or ID."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting[key], self.rows[key] = future, []
        if key == "open orders":
            self._told.clear()
        return future

    def drop(self, key: object) -> None:
        """Nobody waits for it any more."""
        self.waiting.pop(key, None)
        self.rows.pop(key, None)

    def garbled(self, error: Exception) -> None:
        """A message could not be read: no answer that it may belong to is believed."""
        for key in list(self.waiting):
            self._fail(key, ValueError(f"a message that cannot be read: {error}"))

    def _add(self, key: object, row: Any) -> None:
        if key in self.rows:
            self.rows[key].append(row)

    def _end(self, key: object) -> None:
        self._answer(key, self.rows.get(key))

    def _answer(self, key: object, result: Any) -> None:
        future = self.waiting.get(key)
        if future is not None and not future.done():
            future.set_result(result)

    def _fail(self, key: object, error: Exception) -> None:
        future = self.waiting.get(key)
        if future is not None and not future.done():
            future.set_exception(error)

    # The connection.

    def connectAck(self) -> None:  # noqa: N802
        """The handshake is done."""
        self.refusal, self.link_up = None, True

    def connectionClosed(self) -> None:  # noqa: N802
        """The connection is gone: nobody will be answered."""
        self.setEventsDone()

    def setEventsDone(self) -> None:  # noqa: N802
        """The same, before it was ready."""
        for key in list(self.waiting):
            self._fail(key, ConnectionError("the connection broke"))
        self.lines.clear()
        self.tell()

    def managedAccounts(self, names: str) -> None:  # noqa: N802
        """Names of the accounts."""
        self.accounts = [name for name in names.split(",") if name]

    def error(self, request: int, code: int, text: str, _reject: str = "") -> None:
        """An error, or a notice."""
        if code == IN_USE:
            self.refusal = GatewayError(code, text)
        elif code == LINK_LOST:
            self.link_up = False
        elif code in {LINK_BACK, LINK_BACK_WITHOUT_DATA}:
            self.link_up = True
            if code == LINK_BACK_WITHOUT_DATA:
                self.lines.clear()
            self.tell()
        elif code == CANCELED:
            self._answer(("cancel", request), None)
        elif not is_notice(code):
            self.lines.pop(request, None)
            for key in (request, ("order", request), ("cancel", request)):
                self._fail(key, GatewayError(code, text))

    # Orders.

    def openOrder(self, number: int, contract: Any, order: Any, state: Any) -> None:  # noqa: N802
        """An order as it stands, without how far it has come: that follows."""
        self._opened[order.permId] = (contract.conId, order)
        if state.status == "Inactive":
            self._fail(("order", number), GatewayError(201, state.warningText or "Inactive"))

    def orderStatus(  # noqa: N802
        self, number: int, status: str, filled: float, *rest: Any
    ) -> None:
        """How far an order has come."""
        perm_id = rest[2]
        opened = self._opened.pop(perm_id, None)
        self._told.add(perm_id)
        if opened is not None:
            row = (*opened, status, filled)
            self._add("open orders", row)
            self._answer(("order", number), row)
        if status in CLOSED:
            self._answer(("cancel", number), None)
        if "open orders" not in self.waiting:
            self.tell()

    def openOrderEnd(self) -> None:  # noqa: N802
        """That was all. An order without its state, or a state without its order: not believed."""
        rows = self.rows.get("open orders", [])
        odd = set(self._opened) | (self._told - {order.permId for _, order, *_ in rows})
        self._opened.clear()
        self._told.clear()
        if odd:
            self._fail("open orders", ValueError(f"half of an order ({min(odd)})"))
        self._end("open orders")

    def completedOrder(self, contract: Any, order: Any, state: Any) -> None:  # noqa: N802
        """An order that is done. Its ``completedStatus`` is words for people."""
        row = (contract.conId, order, state.status, order.filledQuantity)
        self._add("completed orders", row)

    def completedOrdersEnd(self) -> None:  # noqa: N802
        """That was all."""
        self._end("completed orders")

    # Trades.

    def execDetails(self, request: int, contract: Any, execution: Any) -> None:  # noqa: N802
        """A trade."""
        if request in self.rows:
            self._add(request, (contract.conId, execution))
        else:
            self.tell()

    def execDetailsEnd(self, request: int) -> None:  # noqa: N802
        """That was all."""
        self._end(request)

    def commissionReport(self, report: Any) -> None:  # noqa: N802
        """What a trade cost."""
        self.commissions[report.execId] = report
        self._answer("commission", None)

    # The account.

    def updateAccountValue(  # noqa: N802
        self, key: str, value: str, currency: str, account: str
    ) -> None:
        """A figure of the account."""
        self._add("account", (key, value, currency, account))

    def accountDownloadEnd(self, _account: str) -> None:  # noqa: N802
        """That was all."""
        self._end("account")

    def updatePortfolio(self, *_: Any) -> None:  # noqa: N802
        """A holding with its value, which `position` tells as well."""

    def position(self, account: str, contract: Any, shares: float, _cost: float) -> None:
        """A holding."""
        self._add("positions", (account, contract.conId, shares))

    def positionEnd(self) -> None:  # noqa: N802
        """That was all."""
        self._end("positions")

    # The market.

    def contractDetails(self, request: int, details: Any) -> None:  # noqa: N802
        """A contract."""
        self._add(request, details)

    def contractDetailsEnd(self, request: int) -> None:  # noqa: N802
        """That was all."""
        self._end(request)

    def priceSizeTick(  # noqa: N802
        self, request: int, kind: int, price: float, _size: float
    ) -> None:
        """A price."""
        line = self.lines.get(request)
        if line is not None:
            line.tick(kind, price)
            if LAST in line.prices:
                self._answer(request, None)

    def historicalData(self, request: int, bar: Any) -> None:  # noqa: N802
        """A candle."""
        self._add(request, bar)

    def historicalDataEnd(self, request: int, _first: str, _last: str) -> None:  # noqa: N802
        """That was all."""
        self._end(request)

    def currentTime(self, seconds: int) -> None:  # noqa: N802
        """What time it is."""
        self._answer("time", seconds)
