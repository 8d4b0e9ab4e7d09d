"""What the exchange answers, whichever way it is asked: security, weights, answers.

`rest` asks on behalf of HTTP requests, `streams` on behalf of the WebSocket API.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from http import HTTPStatus

from gridexchange.errors import ApiError, invalid_symbol
from gridexchange.exchange import Exchange
from gridexchange.limits import Limits, WeightLimiter
from gridexchange.market import tape
from gridexchange.market.klines import day_window, klines
from gridexchange.market.listing import Listing
from gridexchange.matching.orders import Order
from gridexchange.protocol import answers, market_answers
from gridexchange.protocol.order_endpoints import OrderEndpoints, order_names
from gridexchange.protocol.requests import SYMBOL, Credentials, Parameters
from gridexchange.protocol.routes import Request, Route
from gridexchange.protocol.time_unit import answer_in_microseconds

KEY_PATH = "/sapi/v1/account/apiRestrictions"
DAY_MS = 86_400_000
DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))


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
        self._routes = self._make_routes() | OrderEndpoints(exchange, limits).routes()
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
        if not request.microseconds:
            return route.answer(request)
        try:
            return answer_in_microseconds(route.answer(request))
        except ApiError as error:
            error.data = answer_in_microseconds(error.data)
            raise

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
            ("GET", "aggTrades"): Route(self._aggregate_trades, 4),
            ("GET", "avgPrice"): Route(self._average_price, 2),
            ("GET", "ticker/24hr"): Route(self._day_ticker, by_symbol(2, 80)),
            ("GET", "ticker/price"): Route(self._price_ticker, by_symbol(2, 4)),
            ("GET", "ticker/bookTicker"): Route(self._book_ticker, by_symbol(2, 4)),
            ("GET", "account"): Route(self._account, 20, signed=True),
            ("GET", "account/commission"): Route(self._commission, 20, signed=True),
            ("GET", KEY_PATH): Route(self._key, 1, signed=True),
            ("GET", "order"): Route(self._get_order, 4, signed=True),
            ("GET", "openOrders"): Route(self._open_orders, by_symbol(6, 80), signed=True),
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
            return market_answers.depth(listing.engine, listing.update, limit, listing.rungs())

    def _klines(self, request: Request) -> object:
        parameters = request.parameters
        listing = self._listing(parameters)
        interval = parameters.required("interval")
        start, end = parameters.moment("startTime"), parameters.moment("endTime")
        limit = parameters.limit(500, 1000)
        parameters.finish()
        window: dict[str, int | None] = {"start_ms": start, "end_ms": end}
        if listing.past is not None:
            return listing.past(interval, limit=limit, **window)
        with self.exchange.looking():
            return klines(listing.feed, listing.position, interval, limit=limit, **window)

    def _aggregate_trades(self, request: Request) -> object:
        listing = self._listing(request.parameters)
        from_id = request.parameters.integer("fromId")
        start, end = request.parameters.moment("startTime"), request.parameters.moment("endTime")
        limit = request.parameters.limit(500, 1000)
        request.parameters.finish()
        if from_id is not None and (start, end) != (None, None):
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        if listing.past is not None:  # the trades are another exchange's, which tells them itself
            raise ApiError(-1020, "This operation is not supported.")
        with self.exchange.looking():

            def due(number: int) -> int:
                return listing.due_at(tape.position_of(number))

            numbers = range(tape.last_number(listing.position) + 1)
            after = len(numbers) if end is None else bisect_right(numbers, end, key=due)
            first = max(0, after - limit) if from_id is None else from_id
            if start is not None:
                first = bisect_left(numbers, start, key=due)
            return [
                market_answers.aggregate_trade(
                    tape.trade(listing.feed, listing.rules, number), due(number)
                )
                for number in range(first, min(first + limit, after))
            ]

    def _average_price(self, request: Request) -> object:
        listing = self._listing(request.parameters)
        request.parameters.finish()
        with self.exchange.looking():
            return market_answers.average_price(listing.average_minutes, listing.average())

    def _day_ticker(self, request: Request) -> object:
        return self._tickers(
            request,
            lambda listing: market_answers.day_ticker(
                listing.engine, day_window(listing.feed, listing.position)
            ),
        )

    def _price_ticker(self, request: Request) -> object:
        return self._tickers(request, lambda listing: market_answers.price_ticker(listing.engine))

    def _book_ticker(self, request: Request) -> object:
        return self._tickers(request, lambda listing: market_answers.book_ticker(listing.engine))

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

    def _key(self, request: Request) -> object:
        request.parameters.finish()
        return answers.key_permissions(withdrawals=self._credentials.withdrawals)

    def _get_order(self, request: Request) -> object:
        parameters = request.parameters
        symbol = self._listing(parameters).symbol
        order_id, client_id = order_names(parameters, "orderId", "origClientOrderId")
        parameters.finish()
        with self.exchange.looking() as exchange:
            if order_id is not None:
                order = exchange.store.order(symbol, order_id)
            else:
                order = exchange.store.order_by_client_id(symbol, client_id or "")
        if order is None or client_id not in (None, order.client_order_id):
            raise ApiError(-2013, "Order does not exist.")
        return answers.order(symbol, order)

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


def _window(parameters: Parameters) -> tuple[int, int | None]:
    """The parameters startTime (0 when absent) and endTime."""
    start, end = parameters.moment("startTime"), parameters.moment("endTime")
    if start is not None and end is not None and end - start > DAY_MS:
        raise ApiError(-1127, "More than 24 hours between startTime and endTime.")
    return start or 0, end


def _list(symbol: str, orders: Iterable[Order]) -> list[answers.Json]:
    return [answers.order(symbol, order) for order in orders]
