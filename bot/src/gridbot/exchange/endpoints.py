"""What the exchange answers, whichever way it is asked: security, weights, answers.

`api` asks on behalf of HTTP requests, `trading_stream` on behalf of the WebSocket API.
"""

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus

from gridbot.exchange import answers
from gridbot.exchange.errors import ApiError, invalid_symbol
from gridbot.exchange.faults import NO_FAULT, Plan
from gridbot.exchange.limits import Limits, OrderLimiter, Usage, WeightLimiter
from gridbot.exchange.listing import Listing
from gridbot.exchange.market_data import day_window, klines
from gridbot.exchange.orders import LIMIT_MAKER, Order
from gridbot.exchange.requests import (
    CLIENT_ORDER_ID,
    SYMBOL,
    Credentials,
    Parameters,
    read_order,
)
from gridbot.exchange.service import Exchange

DAY_MS = 86_400_000
DETAILS = ("ACK", "RESULT", "FULL")
DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))


@dataclass
class Request:
    """One request on its way.

    Attributes:
        method: such as GET.
        name: the endpoint's path below /api/v3.
        parameters: what was sent.
        address: who asks.
        api_key: what the client says its key is; None where it says nothing.
        now_ms: the server's time.
        usage: the limits that it has counted towards.
        plan: what goes wrong with it on purpose.
    """

    method: str
    name: str
    parameters: Parameters
    address: str
    api_key: str | None
    now_ms: int
    usage: list[Usage] = field(default_factory=list)
    plan: Plan = NO_FAULT


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


class Endpoints:
    """Everything that can be asked of the exchange.

    Args:
        exchange: what it speaks for.
        credentials: the account's key and secret.
        limits: weights and order counts allowed.
    """

    def __init__(self, exchange: Exchange, credentials: Credentials, limits: Limits) -> None:
        self.exchange = exchange
        self._credentials = credentials
        self._limits = limits
        self._weights = WeightLimiter(limits)
        self._orders = OrderLimiter(limits)
        self._routes = self._make_routes()
        self._names = {name for _, name in self._routes}

    def knows(self, method: str, name: str) -> bool:
        """Whether there is such an endpoint."""
        return (method, name) in self._routes

    def answer(self, request: Request) -> object:
        """Do what is asked.

        Returns:
            What JSON is to be made of.

        Raises:
            ApiError: it is refused.
        """
        return self.carry_out(request, self._answer)

    @staticmethod
    def carry_out(request: Request, act: Callable[[Request], object]) -> object:
        """Let a request act as far as its plan allows.

        Raises:
            ApiError: it is refused, or its plan has it fail although it has acted.
        """
        if request.plan.refusal is not None:
            raise request.plan.refusal
        answer = act(request)
        if request.plan.failure is not None:
            raise request.plan.failure
        return answer

    def _answer(self, request: Request) -> object:
        route = self._routes.get((request.method, request.name))
        if route is None:
            known = request.name in self._names
            status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
            raise ApiError(-1020, "This operation is not supported.", status)
        weight = route.weight
        self.charge(request, weight if isinstance(weight, int) else weight(request.parameters))
        if route.signed:
            self.authenticate(request)
        return route.answer(request)

    def charge(self, request: Request, weight: int) -> None:
        """Count a request.

        Raises:
            ApiError: -1003 with 429 or 418, its address has used too much.
        """
        with self.exchange.lock:
            used = self._weights.charge(request.address, weight, request.now_ms)
        request.usage.append(used)

    def authenticate(self, request: Request) -> None:
        """Check key, time and signature; see `Parameters.authenticate`."""
        request.parameters.authenticate(request.api_key, self._credentials, request.now_ms)

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

    @staticmethod
    def _ping(request: Request) -> object:
        request.parameters.finish()
        return {}

    @staticmethod
    def _time(request: Request) -> object:
        request.parameters.finish()
        return {"serverTime": request.now_ms}

    def _exchange_info(self, request: Request) -> object:
        parameters = request.parameters
        listings = self._asked_for(parameters)
        for name in ("permissions", "showPermissionSets", "symbolStatus"):
            parameters.text(name)
        parameters.finish()
        rules = [listing.rules for listing in listings]
        return answers.exchange_info(rules, self._limits, request.now_ms)

    def _depth(self, request: Request) -> object:
        listing = self._listing(request.parameters)
        limit = request.parameters.limit(100, 5000)
        request.parameters.finish()
        with self.exchange.looking():
            return answers.depth(listing.engine, listing.position, limit)

    def _klines(self, request: Request) -> object:
        parameters = request.parameters
        listing = self._listing(parameters)
        interval = parameters.required("interval")
        start, end = parameters.integer("startTime"), parameters.integer("endTime")
        limit = parameters.limit(500, 1000)
        parameters.finish()
        with self.exchange.looking():
            return klines(
                listing.feed,
                listing.position,
                interval,
                start_ms=start,
                end_ms=end,
                limit=limit,
            )

    def _day_ticker(self, request: Request) -> object:
        return self._tickers(
            request,
            lambda listing: answers.day_ticker(
                listing.engine, day_window(listing.feed, listing.position)
            ),
        )

    def _price_ticker(self, request: Request) -> object:
        return self._tickers(request, lambda listing: answers.price_ticker(listing.engine))

    def _book_ticker(self, request: Request) -> object:
        return self._tickers(request, lambda listing: answers.book_ticker(listing.engine))

    def _tickers(self, request: Request, ticker: Callable[[Listing], answers.Json]) -> object:
        """The ticker itself when its symbol was asked for, else a list of tickers."""
        listings = self._asked_for(request.parameters)
        request.parameters.finish()
        with self.exchange.looking():
            found = [ticker(listing) for listing in listings]
        return found if request.parameters.text("symbol") is None else found[0]

    def _account(self, request: Request) -> object:
        omit = request.parameters.boolean("omitZeroBalances", default=False)
        request.parameters.finish()
        with self.exchange.looking() as exchange:
            # Every symbol has the same commission.
            rules = next(iter(exchange.listings.values())).rules
            return answers.account(rules, exchange.balances, request.now_ms, all_coins=not omit)

    def _commission(self, request: Request) -> object:
        listing = self._listing(request.parameters)
        request.parameters.finish()
        return answers.commission(listing.rules)

    def _new_order(self, request: Request) -> object:
        parameters = request.parameters
        listing = self._listing(parameters)
        wanted = read_order(parameters, _new_id())
        detail = parameters.text("newOrderRespType")
        if detail is None:
            detail = "ACK" if wanted.type == LIMIT_MAKER else "FULL"
        elif detail not in DETAILS:
            raise ApiError(-1130, "Data sent for parameter 'newOrderRespType' is not valid.")
        parameters.finish()
        with self.exchange.lock:
            self._orders.check(request.now_ms)
            order, trades = self.exchange.place(listing, wanted)
            request.usage.extend(self._orders.count(request.now_ms))
            return answers.new_order(listing.symbol, order, trades, detail)

    def _test_order(self, request: Request) -> object:
        parameters = request.parameters
        listing = self._listing(parameters)
        wanted = read_order(parameters, _new_id())
        parameters.text("newOrderRespType")
        parameters.finish()
        self.exchange.check(listing, wanted)
        return {}

    def _get_order(self, request: Request) -> object:
        parameters = request.parameters
        symbol = self._listing(parameters).symbol
        order_id, client_id = _order_names(parameters)
        parameters.finish()
        with self.exchange.looking() as exchange:
            if order_id is not None:
                order = exchange.store.order(symbol, order_id)
            else:
                order = exchange.store.order_by_client_id(symbol, client_id or "")
        if order is None or client_id not in (None, order.client_order_id):
            raise ApiError(-2013, "Order does not exist.")
        return answers.order(symbol, order)

    def _cancel(self, request: Request) -> object:
        parameters = request.parameters
        listing = self._listing(parameters)
        order_id, client_id = _order_names(parameters)
        cancel_id = parameters.text("newClientOrderId", CLIENT_ORDER_ID) or _new_id()
        parameters.finish()
        order = self.exchange.cancel(listing, order_id, client_id, cancel_id)
        return answers.cancelled(listing.symbol, order, cancel_id)

    def _open_orders(self, request: Request) -> object:
        listings: Iterable[Listing] = self.exchange.listings.values()
        if request.parameters.text("symbol") is not None:
            listings = [self._listing(request.parameters)]
        request.parameters.finish()
        with self.exchange.looking():
            return [
                answers.order(listing.symbol, listing.engine.orders[number])
                for listing in listings
                for number in sorted(listing.engine.orders)
            ]

    def _cancel_all(self, request: Request) -> object:
        listing = self._listing(request.parameters)
        request.parameters.finish()
        cancel_id = _new_id()
        return [
            answers.cancelled(listing.symbol, order, cancel_id)
            for order in self.exchange.cancel_all(listing, cancel_id)
        ]

    def _all_orders(self, request: Request) -> object:
        parameters = request.parameters
        symbol = self._listing(parameters).symbol
        order_id = parameters.integer("orderId")
        start, end = _window(parameters)
        limit = parameters.limit(500, 1000)
        parameters.finish()
        with self.exchange.looking() as exchange:
            orders = exchange.store.orders(symbol, order_id, start, end, limit)
        return _list(symbol, orders)

    def _my_trades(self, request: Request) -> object:
        parameters = request.parameters
        symbol = self._listing(parameters).symbol
        order_id, from_id = parameters.integer("orderId"), parameters.integer("fromId")
        start, end = _window(parameters)
        if from_id is not None and (start or end is not None):
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        limit = parameters.limit(500, 1000)
        parameters.finish()
        with self.exchange.looking() as exchange:
            trades = exchange.store.trades(
                symbol,
                order_id=order_id,
                from_id=from_id,
                start_ms=start,
                end_ms=end,
                limit=limit,
            )
        return [answers.trade(symbol, trade) for trade in trades]

    def _listing(self, parameters: Parameters) -> Listing:
        """What the mandatory parameter `symbol` names."""
        return self.exchange.listing(parameters.required("symbol", SYMBOL))

    def _asked_for(self, parameters: Parameters) -> list[Listing]:
        """What `symbol` or `symbols` name; everything where neither is sent."""
        symbols = parameters.text("symbols")
        if parameters.text("symbol") is not None:
            return [self._listing(parameters)]
        if symbols is None:
            return list(self.exchange.listings.values())
        try:
            names = json.loads(symbols)
        except ValueError:
            names = None
        if not isinstance(names, list):
            raise ApiError(-1100, "Illegal characters found in parameter 'symbols'.")
        if not names or not all(isinstance(name, str) for name in names):
            raise invalid_symbol()
        return [self.exchange.listing(name) for name in names]


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


def _list(symbol: str, orders: Iterable[Order]) -> list[answers.Json]:
    return [answers.order(symbol, order) for order in orders]


def _new_id() -> str:
    """A client order ID for who sends none."""
    return secrets.token_hex(11)
