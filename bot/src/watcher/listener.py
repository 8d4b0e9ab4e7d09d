"""Takes what the Gateway says from ib_async's decoder, and hands it to whoever waits for it.

Each snapshot has a record of its own, which is read once its end was told: ib_async's ticker of a
contract is shared by all requests, and still shows an earlier one's prices until then.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import UTC
from types import SimpleNamespace
from typing import Any

from ib_async.decoder import Decoder

IN_USE, LINK_LOST, LINK_BACK = 326, 1100, (1101, 1102)
NOT_LISTED = 200
# What looks like an error and is none: farms, delayed prices.
NOTICES = {*range(2100, 2170), 10167}
# The Gateway's numbers of ticks, live and delayed.
PRICES = {1: "bid", 2: "ask", 4: "last", 9: "close", 66: "bid", 67: "ask", 68: "last", 75: "close"}
MODEL = (13, 83)
# What the model tells, in its order; and what stands for a number that it has not computed.
COMPUTED = ("volatility", "delta", "price", "dividend", "gamma", "vega", "theta", "under_price")
UNKNOWN = {"volatility": -1, "delta": -2, "price": -1, "gamma": -2, "vega": -2, "theta": -2}
MOST = 1e9  # what is not below it is not set


class GatewayError(Exception):
    """The Gateway answers with an error.

    Args:
        code: its code.
        text: its message.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text[:200]} ({code})".replace("\n", " "))
        self.code = code


@dataclass
class Snapshot:
    """What one snapshot has told.

    Attributes:
        prices: by kind: ``bid``, ``ask``, ``last``, ``close``.
        model: ``volatility``, ``delta``, ``price``, ``gamma``, ``vega`` (a point of volatility),
            ``theta`` (a day), of the Gateway's model, those that it has computed; empty without
            volatility and delta.
    """

    prices: dict[str, float] = field(default_factory=dict)
    model: dict[str, float] = field(default_factory=dict)


class StrictDecoder(Decoder):
    """Tells of a message that it cannot read, where ib_async's only logs it."""

    def __init__(self, listener: Any) -> None:
        super().__init__(listener, 0)
        self._listener = listener

    def interpret(self, fields: list[str]) -> None:
        """Hand a message on."""
        try:
            handler = self.handlers.get(int(fields[0]))
            if handler is not None:
                handler(fields)
        except Exception as error:  # noqa: BLE001  whatever it was, the message is not understood
            logging.getLogger(__name__).warning("message %s: %r", fields[:1], error)
            self._listener.fail_all(ValueError(f"a message that cannot be read: {error}"))


class Listener:
    """Methods bear the names that the decoder calls them by.

    Attributes:
        link_up: whether the Gateway reaches IB.
        in_use: whether the client ID was refused because somebody has it.
        snapshots: records of those under way, by request.
    """

    defaultTimezone = UTC  # noqa: N815  the decoder's name
    ib = SimpleNamespace(TimezoneTWS="America/New_York")

    def __init__(self) -> None:
        self.link_up, self.in_use = True, False
        self.snapshots: dict[int, Snapshot] = {}
        self._waiting: dict[int, asyncio.Future[list[Any]]] = {}
        self._rows: dict[int, list[Any]] = {}

    def expect(self, request: int) -> "asyncio.Future[list[Any]]":
        """What ends with the end of a request's answer: its rows."""
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting[request], self._rows[request] = future, []
        return future

    def drop(self, request: int) -> None:
        """Nobody waits for it any more."""
        self._waiting.pop(request, None)
        self._rows.pop(request, None)
        self.snapshots.pop(request, None)

    def fail_all(self, error: Exception) -> None:
        """No answer under way is believed, or comes."""
        for request in list(self._waiting):
            self._fail(request, error)

    def _fail(self, request: int, error: Exception) -> None:
        future = self._waiting.get(request)
        if future is not None and not future.done():
            future.set_exception(error)

    def _add(self, request: int, row: Any) -> None:
        if request in self._rows:
            self._rows[request].append(row)

    def _end(self, request: int, *_: Any) -> None:
        future = self._waiting.get(request)
        if future is not None and not future.done():
            future.set_result(self._rows[request])

    # What the decoder calls.

    def connectAck(self) -> None:  # noqa: N802
        """The handshake is done."""
        self.link_up, self.in_use = True, False

    def setEventsDone(self) -> None:  # noqa: N802
        """The connection is gone."""
        self.fail_all(ConnectionError("the connection broke"))

    connectionClosed = setEventsDone  # noqa: N815

    def error(self, request: int, code: int, text: str, _reject: str = "") -> None:
        """An error, or a notice."""
        if code == IN_USE:
            self.in_use = True
        elif code == LINK_LOST:
            self.link_up = False
            self.fail_all(GatewayError(code, text))
        elif code in LINK_BACK:
            self.link_up = True
        elif code not in NOTICES:
            self._fail(request, GatewayError(code, text))

    def contractDetails(self, request: int, details: Any) -> None:  # noqa: N802
        """A contract."""
        self._add(request, details)

    def securityDefinitionOptionParameter(  # noqa: N802
        self, request: int, exchange: str, _under: Any, *chain: Any
    ) -> None:
        """A chain of one exchange: trading class, multiplier, expiries, strikes."""
        self._add(request, (exchange, *chain))

    def priceSizeTick(self, request: int, kind: int, price: float, _size: float) -> None:  # noqa: N802
        """A price; -1, 0 and the largest of all floats are none."""
        snapshot = self.snapshots.get(request)
        if snapshot is not None and kind in PRICES:
            if 0 < price < MOST:
                snapshot.prices[PRICES[kind]] = price
            else:
                snapshot.prices.pop(PRICES[kind], None)

    def tickOptionComputation(  # noqa: N802
        self, request: int, kind: int, _attribute: int, *values: float
    ) -> None:
        """What the Gateway's model says, as far as it has computed it."""
        snapshot = self.snapshots.get(request)
        if snapshot is None or kind not in MODEL:
            return
        told = dict(zip(COMPUTED, values, strict=True))
        model = {
            name: told[name]
            for name, unknown in UNKNOWN.items()
            if abs(told[name]) < MOST and told[name] != unknown
        }
        computed = model.get("volatility", 0) > 0 and abs(model.get("delta", MOST)) <= 1
        snapshot.model = model if computed else {}

    def historicalData(self, request: int, bar: Any) -> None:  # noqa: N802
        """A bar."""
        self._add(request, bar)

    contractDetailsEnd = securityDefinitionOptionParameterEnd = _end  # noqa: N815
    tickSnapshotEnd = historicalDataEnd = _end  # noqa: N815
