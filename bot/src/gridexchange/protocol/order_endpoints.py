"""Endpoints that place and cancel orders, and count them."""

import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from gridexchange.errors import ApiError
from gridexchange.exchange import Exchange
from gridexchange.limits import Limits, OrderLimiter
from gridexchange.market.listing import Listing
from gridexchange.matching.orders import (
    LIMIT_MAKER,
    NEW,
    PARTIALLY_FILLED,
    OrderRequest,
    Report,
)
from gridexchange.protocol import answers
from gridexchange.protocol.requests import CLIENT_ORDER_ID, SYMBOL, Parameters, read_order
from gridexchange.protocol.routes import Request, Route

DETAILS = ("ACK", "RESULT", "FULL")
STOP_ON_FAILURE = "STOP_ON_FAILURE"
REPLACE_MODES = (STOP_ON_FAILURE, "ALLOW_FAILURE")
CANCEL_ONLY = "CANCEL_ONLY"
EXCEEDED_MODES = ("DO_NOTHING", CANCEL_ONLY)
_Result = TypeVar("_Result")
RESTRICTIONS = {"ONLY_NEW": NEW, "ONLY_PARTIALLY_FILLED": PARTIALLY_FILLED}


class OrderEndpoints:
    """What changes the account's orders.

    Args:
        exchange: what it speaks for.
        limits: order counts allowed.
    """

    def __init__(self, exchange: Exchange, limits: Limits) -> None:
        self._exchange = exchange
        self._counts = OrderLimiter(limits)
        self._latest: list[Report] = []
        exchange.listeners.append(self._take)

    def routes(self) -> dict[tuple[str, str], Route]:
        """What answers which method of which path."""
        return {
            ("POST", "order"): Route(self._new_order, 1, signed=True),
            ("POST", "order/test"): Route(self._test_order, 1, signed=True),
            ("POST", "order/cancelReplace"): Route(self._replace, 1, signed=True),
            ("DELETE", "order"): Route(self._cancel, 1, signed=True),
            ("DELETE", "openOrders"): Route(self._cancel_all, 1, signed=True),
            ("GET", "rateLimit/order"): Route(self._order_counts, 40, signed=True),
        }

    def _take(self, _listing: Listing, reports: list[Report]) -> None:
        """Count accepted orders, and those that trade for the first time."""
        self._latest = reports
        now_ms = self._exchange.clock.now_ms()
        for report in reports:
            if report.kind == NEW:
                self._counts.add(now_ms)
            trade = report.trade
            if trade is not None and report.order.executed == trade.quantity:
                self._counts.filled(now_ms, is_maker=trade.is_maker)

    def _order_counts(self, request: Request) -> object:
        request.parameters.finish()
        with self._exchange.looking():
            used = self._counts.usages(self._exchange.clock.now_ms())
        return [answers.rate_limit(usage) for usage in used]

    def _new_order(self, request: Request) -> object:
        listing, wanted, detail = self._wanted(request.parameters)
        request.parameters.finish()
        with self._exchange.lock:
            self._exchange.advance()
            self._counts.check(self._exchange.clock.now_ms())
            answer = self._place(listing, wanted, detail)
            request.usage.extend(self._counts.usages(self._exchange.clock.now_ms()))
            return answer

    def _wanted(self, parameters: Parameters) -> tuple[Listing, OrderRequest, str]:
        listing = self._exchange.listing(parameters.required("symbol", SYMBOL))
        wanted = read_order(parameters, new_id())
        default = "ACK" if wanted.type == LIMIT_MAKER else "FULL"
        detail = parameters.choice("newOrderRespType", DETAILS) or default
        return listing, wanted, detail

    def _place(self, listing: Listing, wanted: OrderRequest, detail: str) -> answers.Json:
        order, trades = self._exchange.place(listing, wanted)
        return answers.new_order(listing.symbol, order, trades, self._latest, detail)

    def _test_order(self, request: Request) -> object:
        listing, wanted, _ = self._wanted(request.parameters)
        request.parameters.finish()
        self._exchange.check(listing, wanted)
        return {}

    def _cancel(self, request: Request) -> object:
        parameters = request.parameters
        listing = self._exchange.listing(parameters.required("symbol", SYMBOL))
        cancel = self._cancellation(
            parameters, listing, ("orderId", "origClientOrderId", "newClientOrderId")
        )
        parameters.finish()
        return cancel()

    def _cancellation(
        self, parameters: Parameters, listing: Listing, names: tuple[str, str, str]
    ) -> Callable[[], answers.Json]:
        """What cancels the order that parameters name, and answers for it.

        Args:
            parameters: of the request.
            listing: the symbol.
            names: of the parameters for number, client order ID and the cancellation's own ID.
        """
        order_id, client_id = order_names(parameters, names[0], names[1])
        cancel_id = parameters.text(names[2], CLIENT_ORDER_ID) or new_id()
        only = parameters.choice("cancelRestrictions", tuple(RESTRICTIONS))
        status = None if only is None else RESTRICTIONS[only]

        def cancel() -> answers.Json:
            order = self._exchange.cancel(listing, order_id, client_id, cancel_id, only=status)
            return answers.cancelled(listing.symbol, order, cancel_id)

        return cancel

    def _cancel_all(self, request: Request) -> object:
        listing = self._exchange.listing(request.parameters.required("symbol", SYMBOL))
        request.parameters.finish()
        cancel_id = new_id()
        return [
            answers.cancelled(listing.symbol, order, cancel_id)
            for order in self._exchange.cancel_all(listing, cancel_id)
        ]

    def _replace(self, request: Request) -> object:
        """Cancel an order and place another one; filters and counts are looked at first."""
        parameters = request.parameters
        parameters.required("cancelReplaceMode")
        stops = parameters.choice("cancelReplaceMode", REPLACE_MODES) == STOP_ON_FAILURE
        exceeded = parameters.choice("orderRateLimitExceededMode", EXCEEDED_MODES)
        listing, wanted, detail = self._wanted(parameters)
        names = ("cancelOrderId", "cancelOrigClientOrderId", "cancelNewClientOrderId")
        cancel = self._cancellation(parameters, listing, names)
        parameters.finish()
        clock = self._exchange.clock
        with self._exchange.lock:
            self._exchange.check_filters(listing, wanted)
            too_many = _attempt(lambda: self._counts.check(clock.now_ms()))
            if too_many is not None and exceeded != CANCEL_ONLY:
                raise too_many
            cancelled = _attempt(cancel)
            placed: answers.Json | ApiError | None = too_many
            if stops and isinstance(cancelled, ApiError):
                placed = None
            elif too_many is None:
                placed = _attempt(lambda: self._place(listing, wanted, detail))
            if not isinstance(placed, dict) and too_many is None:
                self._counts.add(clock.now_ms())
            request.usage.extend(self._counts.usages(clock.now_ms()))
        answer = answers.replaced(cancelled, placed)
        failures = [isinstance(cancelled, ApiError), not isinstance(placed, dict)]
        if not any(failures):
            return answer
        status = HTTPStatus.BAD_REQUEST if all(failures) else HTTPStatus.CONFLICT
        if too_many is not None and stops:
            status = HTTPStatus.TOO_MANY_REQUESTS
        if all(failures):
            raise ApiError(-2022, "Order cancel-replace failed.", status, data=answer)
        raise ApiError(-2021, "Order cancel-replace partially failed.", status, data=answer)


def _attempt(act: Callable[[], _Result]) -> _Result | ApiError:
    """What comes of it, or why it is refused; a failure of the exchange itself goes on."""
    try:
        return act()
    except ApiError as error:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        return error


def order_names(
    parameters: Parameters, by_number: str, by_client_id: str
) -> tuple[int | None, str | None]:
    """Number and client order ID that name an order; at least one of them.

    Args:
        parameters: of the request.
        by_number: the parameter for the number.
        by_client_id: the parameter for the client order ID.

    Raises:
        ApiError: -1102, neither was sent.
    """
    order_id, client_id = parameters.integer(by_number), parameters.text(by_client_id)
    if order_id is None and client_id is None:
        raise ApiError(
            -1102,
            f"Param '{by_client_id}' or '{by_number}' must be sent, but both were empty/null!",
        )
    return order_id, client_id


def new_id() -> str:
    """A client order ID for who sends none."""
    return secrets.token_hex(11)
