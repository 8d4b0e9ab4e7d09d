"""The broker for any spot exchange of ccxt: one account's view of one symbol, over REST.

ccxt's unified methods cannot ask for trades from an ID on. They are read by time, and believed to
be complete only when one is among them that was known before; else nothing is traded.
"""

import itertools
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from gridbase.candles.series import Candle
from gridbase.errors import ExitCode, UserError
from gridbase.market import Market, plain

from gridbot.core.orders import Order
from gridbot.core.prices import LEAST_MINUTES, Minute, PriceRange, Seen
from gridbot.exchanges.ccxt.answers import (
    is_whole,
    order_number,
    read_candle,
    read_market,
    read_minute,
    read_order,
    read_trade,
)
from gridbot.exchanges.ccxt.connection import CcxtConnection
from gridbot.exchanges.port import (
    BrokerError,
    Failure,
    Push,
    RemoteOrder,
    RemoteTrade,
    StreamEvent,
)

# How long after it was sent an order may still arrive; exchanges differ, and few say.
RECEIVE_WINDOW_MS = 60_000
PAGE = 100  # every exchange returns so many
DAY_MS = 86_400_000
# How far back trades are looked for after a restart, step by step (days).
LOOK_BACK_DAYS = (1, 7, 30)
MOST_NUMBERS = 1000  # orders whose IDs are remembered; of others, trades are found by time


class CcxtBroker:
    """One account on one symbol; made by `CcxtAccount.broker`.

    Args:
        account: makes the requests.
        symbol: unified name, such as ``BTC/USDT``.
    """

    receive_window_ms = RECEIVE_WINDOW_MS
    closed_until: int | None = None  # coins trade at all hours

    def __init__(self, account: CcxtConnection, symbol: str) -> None:
        self.account = account
        self.symbol = symbol
        self._free: dict[str, Decimal] = {}
        self._range = PriceRange()
        self._looked = account.monotonic()
        self._names: dict[str, str] = {}  # the exchange's order IDs by client order ID
        self._numbers: dict[str, str] = {}  # and by the number that stands for them
        self._mark: tuple[int, int] | None = None  # ID and time of a trade that was read

    @property
    def address(self) -> str:
        """Where requests go."""
        return self.account.address

    @property
    def market_label(self) -> str:
        """What the exchange says about its market: recorded, synthetic, or empty for a real one."""
        return self.account.market_label

    def close(self) -> None:
        """Close the account's connections; no symbol can be traded then."""
        self.account.close()

    @property
    def streaming(self) -> bool:
        """Whether the exchange tells of orders by itself now: it has to be asked."""
        return False

    def events(self) -> list[StreamEvent]:
        """What the stream has said since the last call: there is none."""
        return []

    @property
    def news(self) -> bool:
        """Whether the stream has said something: there is none."""
        return False

    def wait(self, seconds: float) -> None:
        """Wait that long, or until stopped."""
        self.account.wait(seconds)

    # The market.

    def connect(self) -> Market:
        """Synchronise time and read the symbol's rules.

        Raises:
            UserError: the exchange does not trade the symbol, or numbers its trades by names.
            BrokerError: see `Failure`.
        """
        self.account.synchronise()
        row = self.account.market(self.symbol)
        if row.get("active") is False:
            raise BrokerError(
                Failure.REJECTED, f"{self.symbol} is not trading on {self.address} now"
            )
        self._page(None)  # refused here if it cannot be read, rather than after the first order
        price = self.last_price()
        try:
            return read_market(row, self.account.client.precisionMode, price)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise UserError(
                f'exchange.name = "{self.account.exchange}" does not say the steps of prices and '
                f"quantities of {self.symbol}",
                ExitCode.EXCHANGE,
            ) from error

    def check_key(self) -> None:
        """Nothing: ccxt has no common way to ask what a key may do."""

    def ask_price(self) -> Decimal:
        """What a buy pays now (quote)."""
        return self._price("ask")

    def bid_price(self) -> Decimal:
        """What a sell brings now (quote)."""
        return self._price("bid")

    def last_price(self) -> Decimal:
        """Price of the latest trade on the market (quote)."""
        return self._price("last")

    def told(self) -> Seen | None:
        """What the price did since the look before, by the stream: there is none."""
        return None

    def look(self) -> Seen:
        """What the price did since the look before; the exchange is asked now."""
        now = self.account.monotonic()
        count = min(LEAST_MINUTES + int((now - self._looked) / 60), PAGE)

        def read(document: list[list[Any]]) -> list[Minute]:
            return [read_minute(row) for row in document[-count:]]

        fetch = self.account.client.fetch_ohlcv
        minutes = self.account.ask(fetch, self.symbol, "1m", None, count, read=read, urgent=True)
        self._looked = now
        self._range.take(minutes)
        return self._range.seen(self.last_price())

    def look_anew(self) -> None:
        """Forget what the price did until now; the exchange is asked where it stands."""
        self._range.begin()
        self.look()

    def now_ms(self) -> int:
        """Unix time in milliseconds, at the exchange."""
        return self.account.time.now_ms()

    def _price(self, name: str) -> Decimal:
        def read(document: dict[str, Any]) -> Decimal:
            price = Decimal(document[name])
            if not price > 0:
                raise ValueError(document[name])
            return price

        price: Decimal = self.account.ask(self.account.client.fetch_ticker, self.symbol, read=read)
        return price

    def candles(self, interval: str, count: int) -> list[Candle]:
        """The latest closed candles, oldest first, at most `count`."""

        def read(document: list[list[Any]]) -> list[Candle]:
            # The latest may not have closed yet.
            return [read_candle(row) for row in document[:-1][-count:]]

        fetch = self.account.client.fetch_ohlcv
        candles: list[Candle] = self.account.ask(
            fetch, self.symbol, interval, None, count + 1, read=read
        )
        return candles

    def stream_candles(self, _interval: str, _push: Push) -> None:
        """Have candles pushed: there is no stream."""

    # The account.

    def balances(self) -> dict[str, Decimal]:
        """Free plus locked of every coin that the account holds."""

        def read(document: dict[str, Any]) -> dict[str, tuple[Decimal, Decimal]]:
            return {
                coin: (Decimal(document["free"][coin] or 0), Decimal(total or 0))
                for coin, total in document["total"].items()
            }

        rows = self.account.ask(self.account.client.fetch_balance, read=read)
        self._free = {coin: free for coin, (free, _) in rows.items()}
        return {coin: total for coin, (_, total) in rows.items() if total}

    def free_balance(self, coin: str) -> Decimal:
        """What orders may still spend of a coin, as of the latest `balances`."""
        return self._free.get(coin, Decimal(0))

    def place(self, order: Order, *, post_only: bool = False) -> RemoteOrder:
        """Send a limit order under its client order ID.

        Args:
            order: what to send.
            post_only: have it refused rather than trade at once.
        """
        parameters = {"clientOrderId": order.client_id} | ({"postOnly": True} if post_only else {})
        row = self.account.ask(
            self.account.client.create_order,
            self.symbol,
            "limit",
            str(order.side),
            plain(order.quantity),
            plain(order.price),
            parameters,
            read=lambda row: row | {"id": row["id"]},
            once=True,
        )
        if is_whole(row):
            return self._read_order(row)
        return self.find(order.client_id)

    def cancel(self, client_id: str) -> None:
        """Cancel an order. `NOT_FOUND` where it is not open any more."""
        if client_id not in self._names and self.find(client_id).closed:
            raise BrokerError(
                Failure.NOT_FOUND, f"exchange {self.address}: order {client_id} is not open"
            )
        number = self._names[client_id]
        cancel = self.account.client.cancel_order
        self.account.ask(cancel, number, self.symbol, once=True, urgent=True)

    def find(self, client_id: str) -> RemoteOrder:
        """The order with this client order ID. `NOT_FOUND` where there is none."""
        parameters = {"clientOrderId": client_id}
        order: RemoteOrder = self.account.ask(
            self.account.client.fetch_order, None, self.symbol, parameters, read=self._read_order
        )
        if order.client_id != client_id:
            raise BrokerError(
                Failure.AMBIGUOUS,
                f"exchange {self.address}: asked for order {client_id}, it told of "
                f"{order.client_id}",
            )
        return order

    def open_orders(self) -> list[RemoteOrder]:
        """All open orders of the account on the symbol."""
        return self._orders("fetch_open_orders")

    def orders_since(self, _known: Collection[str]) -> list[RemoteOrder]:
        """All orders of the account on the symbol, as far as they are kept."""
        if self.account.client.has.get("fetchOrders") is True:
            return self._orders("fetch_orders")
        closed = {order.exchange_id: order for order in self._orders("fetch_closed_orders")}
        still_open = [order for order in self.open_orders() if order.exchange_id not in closed]
        return [*closed.values(), *still_open]

    def _orders(self, method: str) -> list[RemoteOrder]:
        orders: list[RemoteOrder] = self.account.ask(
            getattr(self.account.client, method),
            self.symbol,
            read=lambda rows: [self._read_order(row) for row in rows],
        )
        return orders

    def _read_order(self, row: dict[str, Any]) -> RemoteOrder:
        order = read_order(row)
        self._names[order.client_id] = row["id"]
        self._numbers[order.exchange_id] = row["id"]
        if order.closed:
            del self._names[order.client_id], self._numbers[order.exchange_id]
        self._forget_oldest()
        return order

    def _forget_oldest(self) -> None:
        """Keep the tables bounded: of an order that traded whole nobody asks again."""
        # Those that were met first.
        while len(self._names) > MOST_NUMBERS:
            del self._names[next(iter(self._names))]
        while len(self._numbers) > MOST_NUMBERS:
            del self._numbers[next(iter(self._numbers))]

    # Trades.

    # A cursor is the ID of the latest trade that it is after. 0: of none.

    def trades_after(self, cursor: str) -> tuple[list[RemoteTrade], str]:
        """All trades of the account on the symbol after a cursor, and the cursor after them.

        Raises:
            BrokerError: `AMBIGUOUS` where it is not certain that none is missing.
        """
        known = int(cursor)
        trades, proven = self._read_trades_after(known)
        if not proven:
            raise BrokerError(
                Failure.AMBIGUOUS,
                f"exchange {self.address}: it does not list trade {cursor}, the last that is "
                "known, any more; what was traded since cannot be told completely",
            )
        if trades:
            self._mark = _number(trades[-1]), trades[-1].time_ms
        news = [trade for trade in trades if _number(trade) > known]
        return news, news[-1].trade_id if news else cursor

    def _read_trades_after(self, known: int) -> tuple[list[RemoteTrade], bool]:
        """Trades, and whether all after the one with this ID are among them."""
        if self._mark is not None and self._mark[0] <= known:
            return self._trades_since(self._mark[1]), True
        trades = self._page(None)
        for days in LOOK_BACK_DAYS:
            if any(_number(trade) <= known for trade in trades):
                return trades, True
            trades = self._trades_since(self.account.time.now_ms() - days * DAY_MS)
        return trades, known <= 0 or any(_number(trade) <= known for trade in trades)

    def trades_of(self, exchange_id: str) -> list[RemoteTrade]:
        """All trades of one order, oldest first, as far as they are among the latest."""
        client, name = self.account.client, self._numbers.get(exchange_id)
        if client.has.get("fetchOrderTrades") is True and name is not None:
            trades: list[RemoteTrade] = self.account.ask(
                client.fetch_order_trades, name, self.symbol, read=self._read_trades
            )
            return trades
        since = self.account.time.now_ms() - LOOK_BACK_DAYS[0] * DAY_MS
        return [trade for trade in self._trades_since(since) if trade.exchange_id == exchange_id]

    def latest_cursor(self) -> str:
        """The cursor after the account's latest trade on the symbol."""
        trades = self._page(None)
        if not trades:
            trades = self._trades_since(self.account.time.now_ms() - LOOK_BACK_DAYS[-1] * DAY_MS)
        if not trades:
            return "0"
        self._mark = _number(trades[-1]), trades[-1].time_ms
        return trades[-1].trade_id

    def _trades_since(self, since_ms: int) -> list[RemoteTrade]:
        """All trades from a time on, however small the exchange's windows and pages are."""
        known: dict[str, RemoteTrade] = {}
        window_ms = self._window_ms()
        while True:
            page = self._page(since_ms)
            new = [trade for trade in page if trade.trade_id not in known]
            known.update({trade.trade_id: trade for trade in new})
            if new:
                since_ms = max(trade.time_ms for trade in new)
            elif len(page) >= PAGE:
                raise BrokerError(
                    Failure.AMBIGUOUS,
                    f"exchange {self.address}: more than {PAGE} trades of one moment",
                )
            elif window_ms is None or since_ms + window_ms > self.account.time.now_ms():
                return sorted(known.values(), key=_number)
            else:
                since_ms += window_ms

    def _window_ms(self) -> int | None:
        """Longest time that one request for trades looks at; None where there is no bound."""
        features = (self.account.client.features or {}).get("spot") or {}
        days = (features.get("fetchMyTrades") or {}).get("untilDays")
        return None if days is None else int(days) * DAY_MS

    def _page(self, since_ms: int | None) -> list[RemoteTrade]:
        fetch = self.account.client.fetch_my_trades
        trades: list[RemoteTrade] = self.account.ask(
            fetch, self.symbol, since_ms, PAGE, read=self._read_trades
        )
        return trades

    def _read_trades(self, rows: list[dict[str, Any]]) -> list[RemoteTrade]:
        trades = [read_trade(row, self.account.exchange) for row in rows]
        for row in rows:
            self._numbers.setdefault(order_number(row["order"]), row["order"])
        self._forget_oldest()
        trades.sort(key=_number)
        if any(later.time_ms < earlier.time_ms for earlier, later in itertools.pairwise(trades)):
            raise UserError(
                f'exchange.name = "{self.account.exchange}" does not number its trades in the '
                "order of time, which the bot needs",
                ExitCode.EXCHANGE,
            )
        return trades


def _number(trade: RemoteTrade) -> int:
    return int(trade.trade_id)
