"""The broker for Binance: one account's view of one symbol; `BinanceAccount` makes it."""

from collections.abc import Collection
from decimal import Decimal
from typing import Any

from gridbase.candles.series import Candle
from gridbase.errors import UserError
from gridbase.market import Market, plain

from gridbot.core.orders import Order
from gridbot.core.prices import LEAST_MINUTES, Minute, PriceRange, Seen
from gridbot.exchanges.access.request_gate import AnsweredError
from gridbot.exchanges.binance.answers import (
    Json,
    above_zero,
    read_candle,
    read_market,
    read_order,
    read_trade,
    read_weight_limit,
)
from gridbot.exchanges.binance.connection import BinanceConnection, Operation
from gridbot.exchanges.binance.key_permissions import refuse_withdrawals
from gridbot.exchanges.binance.market_stream import PRICE_INTERVAL, read_kline
from gridbot.exchanges.binance.rest import RECEIVE_WINDOW_MS
from gridbot.exchanges.port import (
    BrokerError,
    Failure,
    Push,
    RemoteOrder,
    RemoteTrade,
    StreamEvent,
)

_NO_INTERVAL = -1120  # "Invalid interval."
PAGE = 1000  # most orders, trades or candles that one request returns

_RULES = Operation("exchangeInfo", "publicGetExchangeInfo", signed=False, weight=20)
_TICKER = Operation("bookTicker", "publicGetTickerBookTicker", signed=False, weight=2)
_PRICE = Operation("price", "publicGetTickerPrice", signed=False, weight=2)
_CANDLES = Operation("klines", "publicGetKlines", signed=False, weight=2)
_MINUTES = Operation("klines", "publicGetKlines", "klines", signed=False, urgent=True, weight=2)
_LATEST = Operation(
    "price", "publicGetTickerPrice", "ticker.price", signed=False, urgent=True, weight=2
)
_PLACE = Operation("order", "privatePostOrder", "order.place", once=True)
_CANCEL = Operation("cancel", "privateDeleteOrder", "order.cancel", once=True, urgent=True)
_FIND = Operation("order", "privateGetOrder", "order.status", weight=4)
_OPEN = Operation("openOrders", "privateGetOpenOrders", "openOrders.status", weight=6)
_ORDERS = Operation("allOrders", "privateGetAllOrders", "allOrders", weight=20)
_TRADES = Operation("myTrades", "privateGetMyTrades", "myTrades", weight=20)
_BALANCES = Operation("account", "privateGetAccount", "account.status", weight=20)


class BinanceBroker:
    """One account on one symbol; made by `BinanceAccount.broker`.

    Args:
        account: makes the requests and hears the streams.
        symbol: unified name, such as ``BTC/USDT``.

    Attributes:
        id: the symbol as the exchange spells it.
    """

    receive_window_ms = RECEIVE_WINDOW_MS
    closed_until: int | None = None  # coins trade at all hours

    def __init__(self, account: BinanceConnection, symbol: str) -> None:
        self.account = account
        self.symbol = symbol
        self.id = symbol.replace("/", "")
        self._free: dict[str, Decimal] = {}
        self._price: tuple[float, Decimal] = float("-inf"), Decimal(0)
        self._range = PriceRange()
        self._looked = account.monotonic()
        self._has_minutes = True
        self._push: Push = lambda _interval, _candle: None
        # When the newest closed candle opened, by interval; none where the stream may lack some.
        self._newest: dict[str, int] = {}

    @property
    def address(self) -> str:
        """Where REST requests go."""
        return self.account.address

    @property
    def market_label(self) -> str:
        """What the exchange says about its market: recorded, synthetic, or empty for a real one."""
        return self.account.rest.market_label

    def close(self) -> None:
        """Close the account's connections; no symbol can be traded then."""
        self.account.close()

    # The streams.

    @property
    def streaming(self) -> bool:
        """Whether the exchange tells of orders by itself now, so that nobody has to ask."""
        return self.account.streaming

    @property
    def news(self) -> bool:
        """Whether the stream has said something that `events` has not handed out yet."""
        return self.account.has_events(self.id)

    def events(self) -> list[StreamEvent]:
        """What the stream has said since the last call, as it arrived. Makes no request."""
        return self.account.events(self.id)

    def wait(self, seconds: float) -> None:
        """Wait that long, until an event arrives, or until stopped."""
        self.account.wait(seconds)

    def take_kline(self, kline: Json) -> None:
        """Note what the price did, and hand on a candle that has closed."""
        if kline["i"] == PRICE_INTERVAL:
            self._range.take([_minute(kline["t"], kline["h"], kline["l"], kline["c"])])
        interval = kline["i"]
        if kline["x"] is True and interval in self._newest:
            candle = read_kline(kline)
            self._newest[interval] = max(candle.time, self._newest[interval])
            self._push(interval, candle)

    def spoil_candles(self) -> None:
        """The market stream was interrupted: candles may be missing."""
        self._newest.clear()

    # The market.

    def connect(self) -> Market:
        """Synchronise time and read the symbol's rules.

        Raises:
            UserError: the exchange does not trade the symbol.
            BrokerError: see `Failure`.
        """
        try:
            market = self.account.ask(_RULES, {"symbol": self.id}, self._read_rules)
        except AnsweredError as error:
            if error.failure is Failure.REJECTED and error.code in {-1121, -1100}:
                raise UserError(
                    f'market.symbol = "{self.symbol}" is not traded on '
                    f"{self.account.exchange} at {self.address}"
                ) from error
            raise
        # It has been opened meanwhile, and tells the time.
        self.account.wait_for_stream()
        if self.account.time.due:
            self.account.synchronise()
        return market

    def check_key(self) -> None:
        """Refuse a live key that may withdraw; see `refuse_withdrawals`."""
        refuse_withdrawals(self.account)

    def _read_rules(self, document: Json) -> Market:
        row = document["symbols"][0]
        if row["status"] != "TRADING":
            raise BrokerError(
                Failure.REJECTED,
                f"{self.symbol} is not trading on {self.address} now (status {row['status']})",
            )
        self.account.weight.limit = read_weight_limit(document)
        return read_market(self.symbol, row)

    def ask_price(self) -> Decimal:
        """What a buy pays now (quote)."""
        return self.account.ask(
            _TICKER, {"symbol": self.id}, lambda document: above_zero(document["askPrice"])
        )

    def bid_price(self) -> Decimal:
        """What a sell brings now (quote)."""
        return self.account.ask(
            _TICKER, {"symbol": self.id}, lambda document: above_zero(document["bidPrice"])
        )

    def last_price(self) -> Decimal:
        """Price of the latest trade on the market (quote).

        The market stream knows it; while it does not, the exchange is asked, once in a poll.
        """
        market = self.account.market
        if market is None:
            return self._ask_last_price()
        self.account.pump()
        price = market.price(self.id)
        asked, latest = self._price
        if price is None and self.account.monotonic() - asked < self.account.poll_seconds:
            return latest
        if price is None:
            price = self._ask_last_price()
            self._price = self.account.monotonic(), price
            # The stream is subscribed to by now: what it will say is newer than this.
            market.believe(self.id, price)
        return price

    def _ask_last_price(self) -> Decimal:
        return self.account.ask(_PRICE, {"symbol": self.id}, _read_price)

    def told(self) -> Seen | None:
        """What the price did since the look before, by the stream. Makes no request.

        What a stream said before it was cut counts: nobody else may tell it.
        """
        market = self.account.market
        if market is None:
            return None
        self.account.pump()
        price = market.price(self.id)
        return self._range.rest() if price is None else self._range.seen(price)

    def look(self) -> Seen:
        """What the price did since the look before; the exchange is asked now."""
        price = self._ask_minutes() if self._has_minutes else None
        if price is None:
            price = self.account.ask(_LATEST, {"symbol": self.id}, _read_price)
        if self.account.market is not None:
            self.account.market.believe(self.id, price)
        return self._range.seen(price)

    def look_anew(self) -> None:
        """Forget what the price did until now; the exchange is asked where it stands."""
        self._range.begin()
        self.look()

    def _ask_minutes(self) -> Decimal | None:
        """Ask for the minutes since the look before; the latest price (quote).

        None where the market has none, as a recording of longer candles.
        """
        now = self.account.monotonic()
        limit = min(LEAST_MINUTES + int((now - self._looked) / 60), PAGE)
        parameters = {"symbol": self.id, "interval": PRICE_INTERVAL, "limit": limit}
        try:
            minutes = self.account.ask(_MINUTES, parameters, _read_minutes)
        except AnsweredError as error:
            if error.code != _NO_INTERVAL:
                raise
            self._has_minutes = False
            return None
        self._looked = now
        self._range.take(minutes)
        return minutes[-1].close

    def stream_candles(self, interval: str, push: Push) -> int | None:
        """Have candles pushed as they close; see `Broker.stream_candles`."""
        market = self.account.market
        if market is None:
            return None
        self._push = push
        market.watch(self.id, interval)
        self.account.pump()
        return self._newest.get(interval) if market.up else None

    def now_ms(self) -> int:
        """Unix time in milliseconds, at the exchange."""
        return self.account.time.now_ms()

    def candles(self, interval: str, count: int) -> list[Candle]:
        """The latest closed candles, oldest first, at most `count` and at most 999."""

        def read(document: list[list[Any]]) -> list[Candle]:
            # The latest row is the candle that has not closed yet. On a real market, where the
            # candles' time is the exchange's, it may have closed with no trade since.
            rows = document[:-1]
            if not self.market_label and int(document[-1][6]) < self.account.time.now_ms():
                rows = document
            return [read_candle(row) for row in rows[-count:]]

        limit = min(count + 1, PAGE)
        parameters = {"symbol": self.id, "interval": interval, "limit": limit}
        candles = self.account.ask(_CANDLES, parameters, read)
        if candles and self.account.market is not None and self.account.market.up:
            self._newest[interval] = candles[-1].time
        return candles

    # The account.

    def balances(self) -> dict[str, Decimal]:
        """Free plus locked of every coin that the account holds."""

        def read(document: Json) -> dict[str, tuple[Decimal, Decimal]]:
            return {
                row["asset"]: (Decimal(row["free"]), Decimal(row["locked"]))
                for row in document["balances"]
            }

        rows = self.account.ask(_BALANCES, {}, read)
        self._free = {coin: free for coin, (free, _) in rows.items()}
        return {coin: free + locked for coin, (free, locked) in rows.items() if free or locked}

    def free_balance(self, coin: str) -> Decimal:
        """What orders may still spend of a coin, as of the latest `balances`."""
        return self._free.get(coin, Decimal(0))

    def place(self, order: Order, *, post_only: bool = False) -> RemoteOrder:
        """Send a limit order under its client order ID.

        Args:
            order: what to send.
            post_only: have it refused rather than trade at once.
        """
        self.account.pace_order()
        parameters = {
            "symbol": self.id,
            "side": order.side.upper(),
            "type": "LIMIT_MAKER" if post_only else "LIMIT",
            "quantity": plain(order.quantity),
            "price": plain(order.price),
            "newClientOrderId": order.client_id,
            "newOrderRespType": "RESULT",
        }
        if not post_only:
            parameters["timeInForce"] = "GTC"
        return self.account.ask(_PLACE, parameters, read_order)

    def cancel(self, client_id: str) -> None:
        """Cancel an order. `NOT_FOUND` where it is not open any more."""
        parameters = {"symbol": self.id, "origClientOrderId": client_id}
        self.account.ask(_CANCEL, parameters, lambda document: document["orderId"])

    def find(self, client_id: str) -> RemoteOrder:
        """The order with this client order ID. `NOT_FOUND` where there is none."""
        parameters = {"symbol": self.id, "origClientOrderId": client_id}
        return self.account.ask(_FIND, parameters, read_order)

    def open_orders(self) -> list[RemoteOrder]:
        """All open orders of the account on the symbol."""
        return self.account.ask(_OPEN, {"symbol": self.id}, _read_orders)

    def orders_since(self, known: Collection[str]) -> list[RemoteOrder]:
        """All orders of the account on the symbol since the oldest of some: IDs rise with time."""
        orders: list[RemoteOrder] = []
        number = min(map(int, known), default=0)
        while True:
            parameters = {"symbol": self.id, "orderId": number, "limit": PAGE}
            page = self.account.ask(_ORDERS, parameters, _read_orders)
            orders += page
            if len(page) < PAGE:
                return orders
            number = max(int(order.exchange_id) for order in page) + 1

    # A cursor is the ID of the latest trade that it is after; IDs rise with time. 0: of none.

    def trades_after(self, cursor: str) -> tuple[list[RemoteTrade], str]:
        """All trades of the account on the symbol after a cursor, and the cursor after them."""
        trades: list[RemoteTrade] = []
        while True:
            page = self._ask_trades(fromId=int(cursor) + 1, limit=PAGE)
            trades += page
            cursor = page[-1].trade_id if page else cursor
            if len(page) < PAGE:
                return trades, cursor

    def latest_cursor(self) -> str:
        """The cursor after the account's latest trade on the symbol."""
        latest = self._ask_trades(limit=1)
        return latest[-1].trade_id if latest else "0"

    def trades_of(self, exchange_id: str) -> list[RemoteTrade]:
        """All trades of one order, oldest first; of more than 1,000 the first ones."""
        return self._ask_trades(orderId=int(exchange_id), limit=PAGE)

    def _ask_trades(self, **parameters: int) -> list[RemoteTrade]:
        def read(document: list[Json]) -> list[RemoteTrade]:
            return sorted(map(read_trade, document), key=lambda trade: int(trade.trade_id))

        return self.account.ask(_TRADES, {"symbol": self.id, **parameters}, read)


def _read_price(document: Json) -> Decimal:
    return above_zero(document["price"])


def _read_minutes(document: list[list[Any]]) -> list[Minute]:
    if not document:
        raise ValueError("no candle")
    return [_minute(row[0], row[2], row[3], row[4]) for row in document]


def _minute(start_ms: object, high: str, low: str, close: str) -> Minute:
    return Minute(int(str(start_ms)), above_zero(low), above_zero(high), above_zero(close))


def _read_orders(document: list[Json]) -> list[RemoteOrder]:
    return [read_order(row) for row in document]
