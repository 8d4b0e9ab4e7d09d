"""Binance's WebSocket API: requests and their answers, and the account's events, on one line."""

import json
import sys
import traceback
from collections.abc import Callable
from http import HTTPStatus

from gridexchange.counters import OTHER, USER_DATA
from gridexchange.errors import ApiError, unknown_error
from gridexchange.faults.plan import NO_FAULT, SOCKET, Fate, Faults, Plan
from gridexchange.limits import Usage
from gridexchange.market.listing import Listing
from gridexchange.matching.orders import Report
from gridexchange.protocol.answers import Json, rate_limit
from gridexchange.protocol.endpoints import Endpoints
from gridexchange.protocol.requests import Parameters
from gridexchange.protocol.routes import Request
from gridexchange.protocol.time_unit import answer_in_microseconds
from gridexchange.streams import events
from gridexchange.streams.connection import Connection

VERSION = "v3/"
SUBSCRIPTION_WEIGHT = 2
# The same endpoints as over HTTP, by the names that they have here.
METHODS = {
    "ping": ("GET", "ping"),
    "time": ("GET", "time"),
    "exchangeInfo": ("GET", "exchangeInfo"),
    "depth": ("GET", "depth"),
    "klines": ("GET", "klines"),
    "avgPrice": ("GET", "avgPrice"),
    "ticker.24hr": ("GET", "ticker/24hr"),
    "ticker.price": ("GET", "ticker/price"),
    "ticker.book": ("GET", "ticker/bookTicker"),
    "account.status": ("GET", "account"),
    "account.commission": ("GET", "account/commission"),
    "account.rateLimits.orders": ("GET", "rateLimit/order"),
    "order.place": ("POST", "order"),
    "order.test": ("POST", "order/test"),
    "order.status": ("GET", "order"),
    "order.cancel": ("DELETE", "order"),
    "order.cancelReplace": ("POST", "order/cancelReplace"),
    "openOrders.status": ("GET", "openOrders"),
    "openOrders.cancelAll": ("DELETE", "openOrders"),
    "allOrders": ("GET", "allOrders"),
    "myTrades": ("GET", "myTrades"),
}


class TradingConnection(Connection):
    """A connection to the WebSocket API.

    Args:
        endpoints: what answers.
        faults: what goes wrong on purpose.
        address: who is connected.
        tells_limits: whether answers carry `rateLimits` where a request does not say.
    """

    def __init__(
        self, endpoints: Endpoints, faults: Faults, address: str, *, tells_limits: bool
    ) -> None:
        super().__init__(endpoints.exchange, faults)
        self._endpoints = endpoints
        self._address = address
        self._tells_limits = tells_limits
        self._subscription: int | None = None
        self._next_subscription = 0
        self._ended: int | None = None  # a subscription whose end is still to be told
        self._own: dict[str, Callable[[Request], object]] = {
            "userDataStream.subscribe": self._subscribe,
            "userDataStream.subscribe.signature": self._subscribe_signed,
            "userDataStream.unsubscribe": self._unsubscribe,
            "session.subscriptions": self._list_subscriptions,
        }

    def tell(self, listing: Listing, reports: list[Report]) -> None:
        """Pass on what happened to orders, if the client listens."""
        if self._subscription is None:
            return
        now_ms = self._exchange.clock.now_ms()
        for report in reports:
            for event in events.of_report(listing.symbol, report, now_ms):
                message = {"subscriptionId": self._subscription, "event": self.worded(event)}
                self.send_event(USER_DATA, str(event["e"]), message)
        self.ready()

    def _gather(self) -> None:
        """Nothing: the account's events are queued as they happen."""

    def _handle(self, text: str) -> None:
        message = _parsed(text)
        name = str(message.get("method")).removeprefix(VERSION)
        known = name in METHODS or name in self._own
        self._exchange.counters.add(SOCKET, name if known else OTHER)
        plan = self._faults.plan(SOCKET, *METHODS.get(name, ("", name)))
        if plan.late_s:
            self.after(round(plan.late_s * 1000), lambda: self._serve(message, plan))
        else:
            self._serve(message, plan)

    def _serve(self, message: Json, plan: Plan) -> None:
        """Act on a request, and answer it as far as its plan allows."""
        if plan.fate is Fate.LOSE_REQUEST:
            self.cut()
        elif plan.fate is Fate.HANG_BEFORE:
            self.hang(plan.hang_s)
        else:
            before = len(self._waiting)
            answer = self._answer(message, plan)
            if plan.fate is Fate.ANSWER:
                self._give(answer, plan)
                return
            # What acting has brought is on the same line, and lost with the answer.
            while len(self._waiting) > before:
                self._waiting.pop()
            if plan.fate is Fate.HANG:
                self.hang(plan.hang_s)
            else:
                self.cut()

    def _give(self, answer: Json, plan: Plan) -> None:
        if plan.slow_s:
            self.after(round(plan.slow_s * 1000), lambda: self._give(answer, NO_FAULT))
            return
        self.send(answer)
        if answer["status"] == HTTPStatus.IM_A_TEAPOT:
            self.cut()
        if self._ended is not None:
            event = {"e": "eventStreamTerminated", "E": self._exchange.clock.now_ms()}
            self.send({"subscriptionId": self._ended, "event": self.worded(event)})
            self._ended = None

    def _answer(self, message: Json, plan: Plan) -> Json:
        answer: Json = {"id": message.get("id")}
        usage: list[Usage] = []
        tells_limits = self._tells_limits
        try:
            request = self._read(message, usage, plan)
            tells_limits = request.parameters.boolean("returnRateLimits", default=tells_limits)
            own = self._own.get(request.name)
            if own is None:
                result = self._endpoints.answer(request)
            else:
                result = self._endpoints.carry_out(request, own)
            answer |= {"status": HTTPStatus.OK, "result": result}
        except ApiError as error:
            answer |= self._refused(error)
        except Exception:  # noqa: BLE001  the client gets Binance's answer, the log gets the trace
            traceback.print_exc(file=sys.stderr)
            answer |= self._refused(unknown_error())
        if tells_limits and usage:
            answer["rateLimits"] = [rate_limit(item) for item in reversed(usage)]
        return answer

    def _read(self, message: Json, usage: list[Usage], plan: Plan) -> Request:
        method, values = message.get("method"), message.get("params", {})
        if not isinstance(method, str) or not isinstance(values, dict):
            raise ApiError(-1135, "Invalid JSON Request")
        parameters = Parameters.of_json(values)
        verb, name = METHODS.get(method.removeprefix(VERSION), ("", method))
        return Request(
            verb,
            name,
            parameters,
            self._address,
            parameters.text("apiKey"),
            self._exchange.clock.now_ms() + plan.skew_ms,
            usage,
            plan,
            self.microseconds,
        )

    def _refused(self, error: ApiError) -> Json:
        described = error.described()
        seconds = dict(error.headers).get("Retry-After")
        if seconds is not None:
            now_ms = self._exchange.clock.now_ms()
            retry_after = now_ms + int(seconds) * 1000
            data = {"serverTime": now_ms, "retryAfter": retry_after}
            described["data"] = answer_in_microseconds(data) if self.microseconds else data
        return {"status": error.status, "error": described}

    def _subscribe(self, request: Request) -> object:
        request.parameters.finish()
        self._endpoints.charge(request, SUBSCRIPTION_WEIGHT)
        # It needs a session, which only Ed25519 keys can open.
        raise ApiError(-1002, "You are not authorized to execute this request.")

    def _subscribe_signed(self, request: Request) -> object:
        self._endpoints.charge(request, SUBSCRIPTION_WEIGHT)
        self._endpoints.authenticate(request)
        request.parameters.finish()
        if self._subscription is not None:
            raise ApiError(-2035, "User Data Stream subscription already active.")
        self._subscription = self._next_subscription
        self._next_subscription += 1
        return {"subscriptionId": self._subscription}

    def _unsubscribe(self, request: Request) -> object:
        number = request.parameters.integer("subscriptionId")
        request.parameters.finish()
        self._endpoints.charge(request, SUBSCRIPTION_WEIGHT)
        if self._subscription is None or number not in (None, self._subscription):
            raise ApiError(-2036, "User Data Stream subscription not active.")
        self._ended, self._subscription = self._subscription, None
        return {}

    def _list_subscriptions(self, request: Request) -> object:
        request.parameters.finish()
        self._endpoints.charge(request, SUBSCRIPTION_WEIGHT)
        return [] if self._subscription is None else [{"subscriptionId": self._subscription}]

    def _shutdown(self, event: Json) -> object:
        return {"event": event}


def _parsed(text: str) -> Json:
    """The message as an object; an empty one where it is none."""
    try:
        message = json.loads(text)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
