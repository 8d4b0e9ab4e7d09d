"""The REST API as a WSGI application: routes, security, weights, answers.

It can be served (see `server`) or called in the same process with a clock of one's own.
"""

import json
import secrets
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from gridbot.exchange import answers
from gridbot.exchange.errors import ApiError, mandatory
from gridbot.exchange.limits import Limits, OrderLimiter, WeightLimiter, weight_headers
from gridbot.exchange.market_data import day_window, klines
from gridbot.exchange.orders import LIMIT_MAKER, Order
from gridbot.exchange.requests import (
    CLIENT_ORDER_ID,
    Credentials,
    Parameters,
    read_order,
    read_symbol,
)
from gridbot.exchange.service import Exchange

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

LARGEST_BODY = 65_536
DAY_MS = 86_400_000
HEALTH_PATH = "/gridberry/health"
BASES = ("/api/v3/", "/api/v1/")
DETAILS = ("ACK", "RESULT", "FULL")
DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))


@dataclass
class Request:
    """One request on its way.

    Attributes:
        parameters: what was sent.
        now_ms: the server's time.
        headers: headers of the answer.
    """

    parameters: Parameters
    now_ms: int
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Route:
    """What answers one method of one path.

    Attributes:
        answer: makes the answer.
        weight: request weight, or how it follows from the parameters.
        signed: whether key, time and signature are needed.
    """

    answer: Callable[[Request], object]
    weight: int | Callable[[Parameters], int]
    signed: bool = False


class Api:
    """The application.

    Args:
        exchange: what it speaks for.
        credentials: the account's key and secret.
        limits: weights and order counts allowed.
        market_label: value of the header X-Gridberry-Market.
    """

    def __init__(
        self, exchange: Exchange, credentials: Credentials, limits: Limits, market_label: str
    ) -> None:
        self.exchange = exchange
        self._credentials = credentials
        self._limits = limits
        self._label = market_label
        self._weights = WeightLimiter(limits)
        self._orders = OrderLimiter(limits)
        self._symbol = exchange.rules.market.exchange_symbol
        self._routes = self._make_routes()

    def _make_routes(self) -> dict[tuple[str, str], Route]:
        def by_symbol(one: int, every: int) -> Callable[[Parameters], int]:
            return lambda parameters: one if parameters.text("symbol") else every

        def my_trades(parameters: Parameters) -> int:
            return 5 if parameters.text("orderId") else 20

        return {
            ("GET", "ping"): Route(self._ping, 1),
            ("GET", "time"): Route(self._time, 1),
            ("GET", "exchangeInfo"): Route(self._exchange_info, 20),
            ("GET", "depth"): Route(self._depth, _depth_weight),
            ("GET", "klines"): Route(self._klines, 2),
            ("GET", "ticker/24hr"): Route(self._day_ticker, by_symbol(2, 80)),
            ("GET", "ticker/price"): Route(self._price_ticker, by_symbol(2, 4)),
            ("GET", "ticker/bookTicker"): Route(self._book_ticker, by_symbol(2, 4)),
            ("GET", "account"): Route(self._account, 20, signed=True),
            ("GET", "account/commission"): Route(self._commission, 20, signed=True),
            ("POST", "order"): Route(self._new_order, 1, signed=True),
            ("POST", "order/test"): Route(self._test_order, 1, signed=True),
            ("GET", "order"): Route(self._get_order, 4, signed=True),
            ("DELETE", "order"): Route(self._cancel, 1, signed=True),
            ("GET", "openOrders"): Route(self._open_orders, by_symbol(6, 80), signed=True),
            ("DELETE", "openOrders"): Route(self._cancel_all, 1, signed=True),
            ("GET", "allOrders"): Route(self._all_orders, 20, signed=True),
            ("GET", "myTrades"): Route(self._my_trades, my_trades, signed=True),
        }

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""
        headers: list[tuple[str, str]] = []
        try:
            status, answer = self._dispatch(environ, headers)
        except ApiError as error:
            status, answer = error.status, {"code": error.code, "msg": error.message}
            headers.extend(error.headers)
        except Exception:  # noqa: BLE001  the client gets Binance's answer, the log gets the trace
            traceback.print_exc(file=sys.stderr)
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            message = "An unknown error occurred while processing the request."
            answer = {"code": -1000, "msg": message}
        body = json.dumps(answer, separators=(",", ":")).encode()
        headers += [
            ("Content-Type", "application/json;charset=UTF-8"),
            ("Content-Length", str(len(body))),
            ("X-Gridberry-Market", self._label),
        ]
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    def _dispatch(
        self, environ: "WSGIEnvironment", headers: list[tuple[str, str]]
    ) -> tuple[HTTPStatus, object]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path == HEALTH_PATH and method == "GET":
            return self._health()
        route = self._route(method, path)
        parameters = Parameters(environ.get("QUERY_STRING", ""), _body(environ))
        now_ms = self.exchange.clock.now_ms()
        weight = route.weight if isinstance(route.weight, int) else route.weight(parameters)
        with self.exchange.lock:
            used = self._weights.charge(environ.get("REMOTE_ADDR", ""), weight, now_ms)
        headers.extend(weight_headers(used))
        if route.signed:
            parameters.authenticate(environ.get("HTTP_X_MBX_APIKEY"), self._credentials, now_ms)
        return HTTPStatus.OK, route.answer(Request(parameters, now_ms, headers))

    def _route(self, method: str, path: str) -> Route:
        name = next((path.removeprefix(base) for base in BASES if path.startswith(base)), None)
        route = self._routes.get((method, name or ""))
        if route is None:
            known = any(name == known_path for _, known_path in self._routes)
            status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
            raise ApiError(-1020, "This operation is not supported.", status)
        return route

    def _health(self) -> tuple[HTTPStatus, object]:
        reasons = []
        try:
            self.exchange.advance()
        except ApiError:
            reasons.append(self.exchange.trouble)
        else:
            if self.exchange.trouble:
                reasons.append(self.exchange.trouble)
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return status, {"ok": not reasons, "reasons": reasons, "market": self._label}

    @staticmethod
    def _ping(request: Request) -> object:
        request.parameters.finish()
        return {}

    @staticmethod
    def _time(request: Request) -> object:
        request.parameters.finish()
        return {"serverTime": request.now_ms}

    def _exchange_info(self, request: Request) -> object:
        for name in ("symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"):
            value = request.parameters.text(name)
            if value is None:
                continue
            if name == "symbol":
                read_symbol(request.parameters, self._symbol)
            elif name == "symbols":
                self._check_symbols(value)
        request.parameters.finish()
        return answers.exchange_info(self.exchange.rules, self._limits, request.now_ms)

    def _depth(self, request: Request) -> object:
        read_symbol(request.parameters, self._symbol)
        limit = request.parameters.limit(100, 5000)
        request.parameters.finish()
        with self.exchange.looking() as exchange:
            return answers.depth(exchange.engine, exchange.position, limit)

    def _klines(self, request: Request) -> object:
        parameters = request.parameters
        read_symbol(parameters, self._symbol)
        interval = parameters.required("interval")
        start, end = parameters.integer("startTime"), parameters.integer("endTime")
        limit = parameters.limit(500, 1000)
        parameters.finish()
        with self.exchange.looking() as exchange:
            return klines(
                exchange.feed,
                exchange.position,
                interval,
                start_ms=start,
                end_ms=end,
                limit=limit,
            )

    def _day_ticker(self, request: Request) -> object:
        with self.exchange.looking() as exchange:
            window = day_window(exchange.feed, exchange.position)
            return self._tickers(request, answers.day_ticker(exchange.engine, window))

    def _price_ticker(self, request: Request) -> object:
        with self.exchange.looking() as exchange:
            return self._tickers(request, answers.price_ticker(exchange.engine))

    def _book_ticker(self, request: Request) -> object:
        with self.exchange.looking() as exchange:
            return self._tickers(request, answers.book_ticker(exchange.engine))

    def _tickers(self, request: Request, ticker: answers.Json) -> object:
        """The ticker itself when its symbol was asked for, else a list of all tickers."""
        parameters = request.parameters
        symbol, symbols = parameters.text("symbol"), parameters.text("symbols")
        if symbol is not None:
            read_symbol(parameters, self._symbol)
        elif symbols is not None:
            self._check_symbols(symbols)
        parameters.finish()
        return ticker if symbol is not None else [ticker]

    def _account(self, request: Request) -> object:
        omit = request.parameters.boolean("omitZeroBalances", default=False)
        request.parameters.finish()
        with self.exchange.looking() as exchange:
            balances = exchange.engine.balances
            return answers.account(exchange.rules, balances, request.now_ms, all_coins=not omit)

    def _commission(self, request: Request) -> object:
        read_symbol(request.parameters, self._symbol)
        request.parameters.finish()
        return answers.commission(self.exchange.rules)

    def _new_order(self, request: Request) -> object:
        parameters = request.parameters
        wanted = read_order(parameters, self._symbol, _new_id())
        detail = parameters.text("newOrderRespType")
        if detail is None:
            detail = "ACK" if wanted.type == LIMIT_MAKER else "FULL"
        elif detail not in DETAILS:
            raise ApiError(-1130, "Data sent for parameter 'newOrderRespType' is not valid.")
        parameters.finish()
        with self.exchange.lock:
            self._orders.check(request.now_ms)
            order, trades = self.exchange.place(wanted)
            request.headers.extend(self._orders.count(request.now_ms))
            return answers.new_order(self._symbol, order, trades, detail)

    def _test_order(self, request: Request) -> object:
        parameters = request.parameters
        wanted = read_order(parameters, self._symbol, _new_id())
        parameters.text("newOrderRespType")
        parameters.finish()
        self.exchange.check(wanted)
        return {}

    def _get_order(self, request: Request) -> object:
        parameters = request.parameters
        read_symbol(parameters, self._symbol)
        order_id, client_id = _order_names(parameters)
        parameters.finish()
        with self.exchange.looking() as exchange:
            if order_id is not None:
                order = exchange.store.order(order_id)
            else:
                order = exchange.store.order_by_client_id(client_id or "")
        if order is None or client_id not in (None, order.client_order_id):
            raise ApiError(-2013, "Order does not exist.")
        return answers.order(self._symbol, order)

    def _cancel(self, request: Request) -> object:
        parameters = request.parameters
        read_symbol(parameters, self._symbol)
        order_id, client_id = _order_names(parameters)
        cancel_id = parameters.text("newClientOrderId", CLIENT_ORDER_ID) or _new_id()
        parameters.finish()
        return answers.cancelled(self._symbol, self.exchange.cancel(order_id, client_id), cancel_id)

    def _open_orders(self, request: Request) -> object:
        if request.parameters.text("symbol") is not None:
            read_symbol(request.parameters, self._symbol)
        request.parameters.finish()
        with self.exchange.looking() as exchange:
            orders = exchange.engine.orders
            return self._list(orders[number] for number in sorted(orders))

    def _cancel_all(self, request: Request) -> object:
        read_symbol(request.parameters, self._symbol)
        request.parameters.finish()
        cancel_id = _new_id()
        return [
            answers.cancelled(self._symbol, order, cancel_id)
            for order in self.exchange.cancel_all()
        ]

    def _all_orders(self, request: Request) -> object:
        parameters = request.parameters
        read_symbol(parameters, self._symbol)
        order_id = parameters.integer("orderId")
        start, end = _window(parameters)
        limit = parameters.limit(500, 1000)
        parameters.finish()
        with self.exchange.looking() as exchange:
            return self._list(exchange.store.orders(order_id, start, end, limit))

    def _my_trades(self, request: Request) -> object:
        parameters = request.parameters
        read_symbol(parameters, self._symbol)
        order_id, from_id = parameters.integer("orderId"), parameters.integer("fromId")
        start, end = _window(parameters)
        if from_id is not None and (start or end is not None):
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        limit = parameters.limit(500, 1000)
        parameters.finish()
        with self.exchange.looking() as exchange:
            trades = exchange.store.trades(
                order_id=order_id, from_id=from_id, start_ms=start, end_ms=end, limit=limit
            )
        return [answers.trade(self._symbol, trade) for trade in trades]

    def _list(self, orders: Iterable[Order]) -> list[answers.Json]:
        return [answers.order(self._symbol, order) for order in orders]

    def _check_symbols(self, text: str) -> None:
        try:
            symbols = json.loads(text)
        except ValueError:
            symbols = None
        if not isinstance(symbols, list):
            raise ApiError(-1100, "Illegal characters found in parameter 'symbols'.")
        if symbols != [self._symbol]:
            raise ApiError(-1121, "Invalid symbol.")


def _depth_weight(parameters: Parameters) -> int:
    limit = parameters.limit(100, 5000)
    return next(weight for most, weight in DEPTH_WEIGHTS if limit <= most)


def _order_names(parameters: Parameters) -> tuple[int | None, str | None]:
    """Number and client order ID that name an order; at least one of them."""
    order_id = parameters.integer("orderId")
    client_id = parameters.text("origClientOrderId")
    if order_id is None and client_id is None:
        raise ApiError(
            -1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!"
        )
    return order_id, client_id


def _window(parameters: Parameters) -> tuple[int, int | None]:
    """The parameters startTime (0 when absent) and endTime."""
    start, end = parameters.integer("startTime"), parameters.integer("endTime")
    if start is not None and end is not None and end - start > DAY_MS:
        raise ApiError(-1127, "More than 24 hours between startTime and endTime.")
    return start or 0, end


def _body(environ: "WSGIEnvironment") -> str:
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError as error:
        raise mandatory("Content-Length") from error
    if length > LARGEST_BODY:
        raise ApiError(
            -1101,
            "Too many parameters sent for this endpoint.",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )
    body: bytes = environ["wsgi.input"].read(length) if length else b""
    return body.decode("utf-8", "replace")


def _new_id() -> str:
    """A client order ID for who sends none."""
    return secrets.token_hex(11)
