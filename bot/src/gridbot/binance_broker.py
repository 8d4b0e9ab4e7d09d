"""The broker for Binance's spot REST API, through ccxt's own `binance` and `binanceus` classes.

ccxt signs and sends; its raw endpoint methods are used, because they make one request each and
keep every amount as the text the exchange wrote. No request is repeated here: who asked decides.
"""

import importlib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import requests

from gridbot.broker import BrokerError, Failure, RemoteOrder, RemoteTrade, StreamEvent
from gridbot.candles.series import Candle
from gridbot.candles.units import to_units
from gridbot.ccxt_class import exchange_class
from gridbot.clock import Clock
from gridbot.config import Config
from gridbot.errors import UserError
from gridbot.market import Market, plain
from gridbot.orders import Order

RECEIVE_WINDOW_MS = 5000
PAGE = 1000  # most orders or trades that one request returns
# Binance takes 100 orders in 10 seconds.
SECONDS_BETWEEN_ORDERS = 0.1
MARKET_HEADER = "X-Gridberry-Market"

_UNKNOWN_ORDER = {-2013, -2011}
_KEY_REFUSED = {-2014, -2015, -1022, -1002}
_TOO_MANY = {-1003, -1015, -1034}
_UNKNOWN_OUTCOME = {-1000, -1001, -1006, -1007, -1008}
_NEVER_SENT = (requests.exceptions.ConnectTimeout, ConnectionRefusedError, socket.gaierror)
_CLOSED = {"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"}


class BinanceBroker:
    """One account on one symbol.

    Args:
        config: names the exchange, its address and the symbol.
        api_key: sent with every signed request.
        api_secret: signs them.
        clock: time; ccxt's own clock is replaced by it.
        session: HTTP session, kept alive between requests.
    """

    receive_window_ms = RECEIVE_WINDOW_MS

    def __init__(
        self,
        config: Config,
        api_key: str,
        api_secret: str,
        *,
        clock: Clock,
        session: requests.Session | None = None,
    ) -> None:
        self._clock = clock
        self._config = config
        self._id = config.base + config.quote
        self._free: dict[str, Decimal] = {}
        self._last_order = float("-inf")
        self._response: requests.Response | None = None
        self.market_label = ""
        session = session or requests.Session()
        session.trust_env = False
        session.hooks["response"].append(self._seen)
        self._client = exchange_class(config.exchange.name)(
            {
                "apiKey": api_key,
                "secret": api_secret,
                "session": session,
                "timeout": int(config.exchange.timeout_seconds * 1000),
                "enableRateLimit": False,  # it would sleep by a clock that is not ours
                "options": {"recvWindow": RECEIVE_WINDOW_MS, "timeDifference": 0},
            }
        )
        self._client.milliseconds = clock.now_ms
        if config.exchange.url is not None:
            # These two and no others: a paper bot knows no address of a real exchange.
            address = config.exchange.url + "/api/v3"
            self._client.urls["api"] = {"public": address, "private": address}
        self.address = str(self._client.urls["api"]["private"])
        self._errors = importlib.import_module("ccxt.base.errors").BaseError

    def close(self) -> None:
        """Close the connections."""
        self._client.session.close()

    # The stream.

    @property
    def streaming(self) -> bool:
        """Whether the exchange tells of orders by itself now: it has to be asked."""
        return False

    def events(self) -> list[StreamEvent]:
        """What the stream has said since the last call: there is none."""
        return []

    def wait(self, seconds: float) -> None:
        """Wait that long, or until stopped."""
        self._clock.sleep(seconds)

    def _seen(self, response: requests.Response, *_args: Any, **_kwargs: Any) -> None:
        self._response = response
        self.market_label = response.headers.get(MARKET_HEADER, "")

    # Requests.

    def connect(self) -> Market:
        """Synchronise time and read the symbol's rules.

        Raises:
            UserError: the exchange does not trade the symbol.
            BrokerError: see `Failure`.
        """
        self._synchronise()
        try:
            document = self._ask(self._client.publicGetExchangeInfo, {"symbol": self._id})
        except BrokerError as error:
            if error.failure is Failure.REJECTED and self._code() in {-1121, -1100}:
                raise UserError(
                    f'market.symbol = "{self._config.symbol}" is not traded on '
                    f"{self._config.exchange.name} at {self.address}"
                ) from error
            raise
        with self._read("exchangeInfo"):
            return self._market(document["symbols"][0])

    def _synchronise(self) -> None:
        before = self._clock.now_ms()
        document = self._ask(self._client.publicGetTime, {})
        after = self._clock.now_ms()
        with self._read("time"):
            difference = (before + after) // 2 - int(document["serverTime"])
        self._client.options["timeDifference"] = difference

    def balances(self) -> dict[str, Decimal]:
        """Free plus locked of every coin that the account holds."""
        document = self._signed(self._client.privateGetAccount, {})
        with self._read("account"):
            rows = {
                row["asset"]: (Decimal(row["free"]), Decimal(row["locked"]))
                for row in document["balances"]
            }
        self._free = {coin: free for coin, (free, _) in rows.items()}
        return {coin: free + locked for coin, (free, locked) in rows.items() if free or locked}

    def free_balance(self, coin: str) -> Decimal:
        """What orders may still spend of a coin, as of the latest `balances`."""
        return self._free.get(coin, Decimal(0))

    def ask_price(self) -> Decimal:
        """What a buy pays now (quote)."""
        document = self._ask(self._client.publicGetTickerBookTicker, {"symbol": self._id})
        with self._read("bookTicker"):
            return _above_zero(document["askPrice"])

    def last_price(self) -> Decimal:
        """Price of the latest trade on the market (quote)."""
        document = self._ask(self._client.publicGetTickerPrice, {"symbol": self._id})
        with self._read("price"):
            return _above_zero(document["price"])

    def candles(self, interval: str, count: int) -> list[Candle]:
        """The latest closed candles, oldest first, at most `count` and at most 999."""
        # The latest row is the candle that has not closed yet.
        parameters = {"symbol": self._id, "interval": interval, "limit": min(count + 1, PAGE)}
        document = self._ask(self._client.publicGetKlines, parameters)
        now = self._clock.now_ms() - int(self._client.options["timeDifference"])
        with self._read("klines"):
            closed = [row for row in document if int(row[6]) < now]
            return [_candle(row) for row in closed[-count:]]

    def place(self, order: Order) -> RemoteOrder:
        """Send a limit order under its client order ID."""
        wait = self._last_order + SECONDS_BETWEEN_ORDERS - self._clock.monotonic()
        if wait > 0:
            self._clock.sleep(wait)
        self._last_order = self._clock.monotonic()
        parameters = {
            "symbol": self._id,
            "side": order.side.upper(),
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": plain(order.quantity),
            "price": plain(order.price),
            "newClientOrderId": order.client_id,
            "newOrderRespType": "RESULT",
        }
        document = self._signed(self._client.privatePostOrder, parameters)
        with self._read("order"):
            return _order(document)

    def cancel(self, client_id: str) -> None:
        """Cancel an order. `NOT_FOUND` where it is not open any more."""
        parameters = {"symbol": self._id, "origClientOrderId": client_id}
        self._signed(self._client.privateDeleteOrder, parameters)

    def find(self, client_id: str) -> RemoteOrder:
        """The order with this client order ID. `NOT_FOUND` where there is none."""
        parameters = {"symbol": self._id, "origClientOrderId": client_id}
        document = self._signed(self._client.privateGetOrder, parameters)
        with self._read("order"):
            return _order(document)

    def open_orders(self) -> list[RemoteOrder]:
        """All open orders of the account on the symbol."""
        document = self._signed(self._client.privateGetOpenOrders, {"symbol": self._id})
        with self._read("openOrders"):
            return [_order(row) for row in document]

    def orders_from(self, exchange_id: int) -> list[RemoteOrder]:
        """All orders of the account on the symbol from this number on."""
        orders: list[RemoteOrder] = []
        while True:
            parameters = {"symbol": self._id, "orderId": exchange_id, "limit": PAGE}
            document = self._signed(self._client.privateGetAllOrders, parameters)
            with self._read("allOrders"):
                page = [_order(row) for row in document]
            orders += page
            if len(page) < PAGE:
                return orders
            exchange_id = max(order.exchange_id for order in page) + 1

    def trades_from(self, trade_id: int) -> list[RemoteTrade]:
        """All trades of the account on the symbol from this ID on, oldest first."""
        trades: list[RemoteTrade] = []
        while True:
            parameters = {"symbol": self._id, "fromId": trade_id, "limit": PAGE}
            document = self._signed(self._client.privateGetMyTrades, parameters)
            with self._read("myTrades"):
                page = sorted(map(_trade, document), key=lambda trade: trade.trade_id)
            trades += page
            if len(page) < PAGE:
                return trades
            trade_id = page[-1].trade_id + 1

    def trades_of(self, exchange_id: int) -> list[RemoteTrade]:
        """All trades of one order, oldest first; of more than 1,000 the first ones."""
        parameters = {"symbol": self._id, "orderId": exchange_id, "limit": PAGE}
        document = self._signed(self._client.privateGetMyTrades, parameters)
        with self._read("myTrades"):
            return sorted(map(_trade, document), key=lambda trade: trade.trade_id)

    def latest_trade_id(self) -> int:
        """ID of the account's latest trade on the symbol; 0 where there is none."""
        parameters = {"symbol": self._id, "limit": 1}
        document = self._signed(self._client.privateGetMyTrades, parameters)
        with self._read("myTrades"):
            return max((int(row["id"]) for row in document), default=0)

    def _market(self, row: dict[str, Any]) -> Market:
        if row["status"] != "TRADING":
            raise BrokerError(
                Failure.REJECTED,
                f"{self._config.symbol} is not trading on {self.address} now "
                f"(status {row['status']})",
            )
        filters = {item["filterType"]: item for item in row["filters"]}
        notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {"minNotional": "0"}
        most = filters.get("MAX_NUM_ORDERS", {}).get("maxNumOrders")
        return Market(
            symbol=self._config.symbol,
            base=row["baseAsset"],
            quote=row["quoteAsset"],
            tick_size=_above_zero(filters["PRICE_FILTER"]["tickSize"]),
            lot_size=_above_zero(filters["LOT_SIZE"]["stepSize"]),
            min_quantity=Decimal(filters["LOT_SIZE"]["minQty"]),
            min_notional=Decimal(notional["minNotional"]),
            max_quantity=_above_zero(filters["LOT_SIZE"]["maxQty"]),
            max_orders=None if most is None else int(most),
        )

    # Failures.

    def _signed(self, method: Callable[[dict[str, Any]], Any], parameters: dict[str, Any]) -> Any:
        """A signed request; when the clock was off, it was refused and is sent once more."""
        try:
            return self._ask(method, parameters)
        except BrokerError as error:
            if error.failure is not Failure.CLOCK:
                raise
        self._synchronise()
        return self._ask(method, parameters)

    def _ask(self, method: Callable[[dict[str, Any]], Any], parameters: dict[str, Any]) -> Any:
        self._response = None
        # ccxt takes a refused key for a ban once a request has succeeded; the code decides here.
        self._client.options["hasAlreadyAuthenticatedSuccessfully"] = False
        try:
            return method(parameters)
        except self._errors as error:
            raise self._failure(error) from error
        finally:
            # ccxt keeps the last bodies; a day's worth of trades must not stay in memory.
            self._client.last_http_response = self._client.last_json_response = None

    @contextmanager
    def _read(self, what: str) -> Iterator[None]:
        """An answer that is not what was asked for is no answer."""
        try:
            yield
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError) as error:
            raise BrokerError(
                Failure.AMBIGUOUS, f"exchange {self.address}: its answer to {what} makes no sense"
            ) from error

    def _code(self) -> int | None:
        """Binance's error code in the latest answer."""
        document = self._document()
        code = document.get("code")
        return code if isinstance(code, int) else None

    def _document(self) -> dict[str, Any]:
        if self._response is None:
            return {}
        try:
            document = self._response.json()
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    def _failure(self, error: Exception) -> BrokerError:
        if self._response is None:
            return self._no_answer(error)
        status, code = self._response.status_code, self._code()
        said = self._document().get("msg") or f"HTTP {status} {self._response.reason}"
        detail = f"{said} ({code})" if code is not None else str(said)
        kind = _kind(status, code, detail)
        if kind is Failure.AUTH:
            files = self._config.exchange
            return BrokerError(
                kind,
                f"exchange {self.address} does not accept the API key of exchange.api_key_file = "
                f"{files.api_key_file} with exchange.api_secret_file = "
                f"{files.api_secret_file}: {detail}",
            )
        return BrokerError(
            kind, f"exchange {self.address}: {detail}", retry_after=self._retry_after()
        )

    def _retry_after(self) -> float | None:
        header = "" if self._response is None else self._response.headers.get("Retry-After", "")
        return float(header) if header.isdigit() else None

    def _no_answer(self, error: Exception) -> BrokerError:
        chain = list(_causes(error))
        never_sent = any(
            isinstance(cause, _NEVER_SENT)
            or type(cause).__name__ in {"NewConnectionError", "NameResolutionError"}
            for cause in chain
        )
        reasons = [
            cause.strerror for cause in chain if isinstance(cause, OSError) and cause.strerror
        ]
        if reasons:
            reason = str(reasons[-1])
        elif any(isinstance(cause, requests.exceptions.Timeout) for cause in chain):
            reason = f"no answer within {plain(self._config.exchange.timeout_seconds)} s"
        else:
            reason = "the connection broke"
        kind = Failure.UNREACHABLE if never_sent else Failure.AMBIGUOUS
        return BrokerError(kind, f"exchange {self.address} can not be reached: {reason}")


def _kind(status: int, code: int | None, detail: str) -> Failure:
    """Kind of a failure that the exchange answered with."""
    table = (
        (code in _UNKNOWN_ORDER, Failure.NOT_FOUND),
        (code in _KEY_REFUSED or status == 401, Failure.AUTH),
        (code == -1021, Failure.CLOCK),
        (code in _TOO_MANY or status in {403, 418, 429}, Failure.RATE_LIMITED),
        (code in _UNKNOWN_OUTCOME or status >= 500 or status < 400, Failure.AMBIGUOUS),
        # The first attempt did arrive: the order has to be asked for.
        (code == -2010 and "Duplicate order" in detail, Failure.AMBIGUOUS),
        (code is not None, Failure.REJECTED),
    )
    return next((kind for holds, kind in table if holds), Failure.UNREACHABLE)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and everything behind it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = error.args[0] if error.args else None
        reason = getattr(inner, "reason", None)
        if isinstance(reason, BaseException):
            yield from _causes(reason)
        error = error.__cause__ or error.__context__


def _above_zero(text: str) -> Decimal:
    value = Decimal(text)
    if not value > 0:
        raise ValueError(text)
    return value


def _order(row: dict[str, Any]) -> RemoteOrder:
    return RemoteOrder(
        exchange_id=int(row["orderId"]),
        client_id=str(row["clientOrderId"]),
        side=str(row["side"]).lower(),
        price=Decimal(row["price"]),
        quantity=Decimal(row["origQty"]),
        executed=Decimal(row["executedQty"]),
        closed=row["status"] in _CLOSED,
    )


def _trade(row: dict[str, Any]) -> RemoteTrade:
    return RemoteTrade(
        trade_id=int(row["id"]),
        exchange_id=int(row["orderId"]),
        side="buy" if row["isBuyer"] else "sell",
        price=Decimal(row["price"]),
        quantity=Decimal(row["qty"]),
        quote=Decimal(row["quoteQty"]),
        commission=Decimal(row["commission"]),
        commission_coin=str(row["commissionAsset"]),
        time_ms=int(row["time"]),
        maker=bool(row["isMaker"]),
    )


def _candle(row: list[Any]) -> Candle:
    first, highest, lowest, last = (to_units(text)[0] for text in row[1:5])
    return Candle(int(row[0]), first, highest, lowest, last, float(row[5]))
