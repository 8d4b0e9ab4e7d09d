"""What a client asks, read from the fields of its messages. Pure."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from gridexchange.ib.records import StockOrder
from gridexchange.ib.wire import WireError

UNSET = {"", "1.7976931348623157e+308", "2147483647"}


class WantedContract(NamedTuple):
    """How a client names a contract; the last three are an option's."""

    con_id: int
    symbol: str
    kind: str
    exchange: str
    currency: str
    expiry: str = ""
    strike: Decimal = Decimal(0)
    right: str = ""


class Reader:
    """Reads a message's fields one after the other.

    Args:
        fields: without the message's number.
    """

    def __init__(self, fields: list[str]) -> None:
        self._fields: Iterator[str] = iter(fields)

    def text(self) -> str:
        """The next field."""
        try:
            return next(self._fields)
        except StopIteration:
            raise WireError("a message is too short") from None

    def skip(self, count: int) -> None:
        """Leave out some fields."""
        for _ in range(count):
            self.text()

    def number(self) -> int:
        """A whole number; 0 where the field is empty."""
        text = self.text()
        try:
            return int(text or 0)
        except ValueError:
            raise WireError(f"no whole number: {text[:20]}") from None

    def amount(self) -> Decimal:
        """An amount; 0 where the field is empty or says that it is not set."""
        text = self.text()
        if text.lower() in UNSET:
            return Decimal(0)
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise WireError(f"no amount: {text[:20]}") from None
        if not value.is_finite():
            raise WireError(f"no amount: {text[:20]}")
        return value

    def switch(self) -> bool:
        """True for 1."""
        return self.text() == "1"

    def contract(self) -> WantedContract:
        """A contract with its primary exchange."""
        con_id, symbol, kind = self.number(), self.text(), self.text()
        expiry, strike, right = self.text(), self.amount(), self.text()
        self.skip(1)  # multiplier
        exchange = self.text()
        self.skip(1)
        currency = self.text()
        self.skip(2)  # local symbol, trading class
        return WantedContract(con_id, symbol, kind, exchange, currency, expiry, strike, right)


class PlacedOrder(NamedTuple):
    """An order with what it is for."""

    contract: WantedContract
    account: str
    order: StockOrder


def read_order(fields: list[str], client_id: int, now_ms: int) -> PlacedOrder:
    """An order that a client places; what a stock's limit order does not need is left out."""
    reader = Reader(fields)
    order_id, contract = reader.number(), reader.contract()
    reader.skip(2)  # other IDs of the security
    action, quantity, kind, limit = reader.text(), reader.amount(), reader.text(), reader.amount()
    reader.skip(1)  # second price
    tif = reader.text() or "DAY"
    reader.skip(1)  # group
    account = reader.text()
    reader.skip(2)
    reference = reader.text()
    if not reader.switch():
        raise WireError("an order that is not to be transmitted")
    reader.skip(5)  # parent, block, sweep, display size, trigger
    outside = reader.switch()
    if action not in {"BUY", "SELL"} or tif not in {"DAY", "GTC"}:
        raise WireError(f"an order {action[:8]} {tif[:8]}")
    order = StockOrder(
        perm_id=0,
        client_id=client_id,
        order_id=order_id,
        action=action,
        quantity=quantity,
        kind=kind,
        limit=limit if kind == "LMT" else Decimal(0),
        tif=tif,
        outside_rth=outside,
        reference=reference,
        created_ms=now_ms,
    )
    return PlacedOrder(contract, account, order)


class HistoryRequest(NamedTuple):
    """A request for candles.

    Attributes:
        request: its ID.
        contract: of what.
        until: end, as a text; empty: now.
        bar: length of a candle, such as ``1 min``.
        duration: how far back, such as ``1 D``.
        what: ``TRADES``, ``MIDPOINT``, ``BID``, ``ASK``, ``BID_ASK``.
    """

    request: int
    contract: WantedContract
    until: str
    bar: str
    duration: str
    what: str


def read_history(fields: list[str]) -> HistoryRequest:
    """A request for candles."""
    reader = Reader(fields)
    request, contract = reader.number(), reader.contract()
    reader.skip(1)  # expired ones as well
    until, bar, duration = reader.text(), reader.text(), reader.text()
    reader.skip(1)  # regular hours
    return HistoryRequest(request, contract, until, bar, duration, reader.text())
