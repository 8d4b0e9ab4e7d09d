"""The broker for Interactive Brokers: one account's view of one stock or ETF."""

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from gridbase.candles.price_units import to_units
from gridbase.candles.series import Candle
from gridbase.errors import ExitCode, UserError
from gridbase.gateway.hours import Hours, restarted_at
from gridbase.market import EXACT, Market, coins_of

from gridbot.core.orders import Order
from gridbot.core.prices import Seen
from gridbot.exchanges.access.request_gate import AnsweredError
from gridbot.exchanges.ib.answers import Cursor, Trade, amount, read_market
from gridbot.exchanges.ib.connection import IbConnection
from gridbot.exchanges.ib.listener import ASK, BID, LAST, Line
from gridbot.exchanges.ib.overnight import Overnight
from gridbot.exchanges.ib.stock import BARS, Stock
from gridbot.exchanges.port import (
    BrokerError,
    Failure,
    Push,
    RemoteOrder,
    RemoteTrade,
    StreamEvent,
    StreamGap,
)

# How long an order that was sent may still be accepted.
RECEIVE_WINDOW_MS = 30_000
# A session counts so much longer: what traded in its last second is read before the bot rests.
GRACE_MS = 90_000
READ_AFTER_MS = 30_000
LISTED_MS = 3_600_000  # a grid asks for its open orders far more often
GONE_SECONDS = 60.0  # lists may lag
HOURS_SECONDS = 6 * 3600.0
TRIES = 3  # to see executions and holdings at one moment
NO_CONTRACT = 200


class IbBroker:
    """One account on one symbol; made by `IbAccount.broker`.

    Args:
        account: makes the requests.
        symbol: unified name, such as ``SPY/USD``.
    """

    receive_window_ms = RECEIVE_WINDOW_MS
    market_label = ""
    streaming = False

    def __init__(self, account: IbConnection, symbol: str) -> None:
        self.account, self.symbol = account, symbol
        self._base, self._quote = coins_of(symbol)
        self._stock = Stock(account, self._base, self._quote)
        self._hours: Hours | None = None
        self._hours_asked = float("-inf")
        self._free: dict[str, Decimal] = {}
        self._read_after: int | None = None  # the session after which all was read
        self._listed_ms = 0  # when a grid last asked for its open orders
        self._cursor = ""  # what the books hold
        self._overnight = Overnight()
        self._whole_from = ""  # the day of the session before which nothing was missed

    @property
    def address(self) -> str:
        """Where requests go."""
        return self.account.address

    def close(self) -> None:
        """Close the account's connection; no symbol can be traded then."""
        self.account.close()

    def wait(self, seconds: float) -> None:
        """Wait that long, until an event arrives, or until stopped."""
        self.account.wait(seconds)

    # What the Gateway tells by itself is a reason to ask, and is not booked from.

    @property
    def news(self) -> bool:
        """Whether the Gateway has told something, or a session has just ended."""
        return self.account.listener.news or self._ended() is not None

    def events(self) -> list[StreamEvent]:
        """A gap where there is news: all that matters is asked for then."""
        if not self.news:
            return []
        self.account.listener.news = False
        return [StreamGap()]

    def _ended(self) -> int | None:
        """Today's session, where it has ended and not all was read since."""
        now, hours = self.account.now_ms, self._hours
        ended = None if hours is None else hours.closed_since(now)
        if hours is None or ended is None or ended == self._read_after:
            return None
        today = hours.day(ended) == hours.day(now)
        return ended if today and now - ended >= READ_AFTER_MS else None

    @property
    def closed_until(self) -> int | None:
        """When the market opens again (Unix milliseconds); None while it is open. No request.

        A grid does not rest before what traded last is read: after midnight nobody tells it.
        """
        ended = self._ended()
        if ended is not None and self._listed_ms >= ended - LISTED_MS and not self._restarted:
            return None
        return self._opens

    @property
    def _restarted(self) -> int | None:
        """When the nightly restart that goes on now is over."""
        return restarted_at(self.account.now_ms, self.account.restart)

    @property
    def _opens(self) -> int | None:
        """When orders may leave again."""
        if self._hours is None:
            return None
        restarted = self._restarted
        opens = self._hours.opens_after(restarted or self.account.now_ms, GRACE_MS)
        return restarted if opens is None else opens

    @property
    def _today(self) -> str:
        """The exchange's day."""
        return "" if self._hours is None else self._hours.day(self.account.now_ms)

    # The market.

    def connect(self) -> Market:
        """Connect, and read the symbol's rules and hours.

        Raises:
            UserError: the Gateway does not know the symbol.
            BrokerError: see `Failure`.
        """
        try:
            details = self.account.ask(self._stock.details)
        except AnsweredError as error:
            if error.code != NO_CONTRACT:
                raise
            raise UserError(
                f'market.symbol = "{self.symbol}" is not known at Interactive Brokers: it needs a '
                "stock or ETF and its currency, such as SPY/USD",
                ExitCode.EXCHANGE,
            ) from error
        try:
            market, self._hours = read_market(self.symbol, details)
        except ValueError as error:
            raise BrokerError(
                Failure.AMBIGUOUS, f"Gateway {self.address}: rules of {self.symbol}: {error}"
            ) from error
        self._hours_asked = self.account.monotonic()
        return market

    def check_key(self) -> None:
        """Nothing: the Gateway's API cannot withdraw."""

    def now_ms(self) -> int:
        """Unix time in milliseconds, at the exchange."""
        return self.account.now_ms

    def ask_price(self) -> Decimal:
        """What a buy pays now (quote)."""
        return self._price(ASK)

    def bid_price(self) -> Decimal:
        """What a sell brings now (quote)."""
        return self._price(BID)

    def last_price(self) -> Decimal:
        """Price of the latest trade on the market (quote)."""
        return self._price(LAST)

    def _price(self, kind: int) -> Decimal:
        self._refuse_closed()
        line = self.account.ask(self._stock.line)
        return amount(line.prices.get(kind) or line.prices[LAST])

    def _refuse_closed(self) -> None:
        """There is no price of now, and no order is sent, while the market is closed.

        Raises:
            BrokerError: it is.
        """
        opens_ms = self._opens
        if opens_ms is not None:
            opens = datetime.fromtimestamp(opens_ms / 1000, UTC)
            raise BrokerError(
                Failure.REJECTED, f"{self.symbol} is closed until {opens:%Y-%m-%d %H:%M} UTC"
            )

    def told(self) -> Seen | None:
        """What the price did since the look before, by the line of prices. Makes no request."""
        line = self._stock.live_line()
        return None if line is None else _seen(line)

    def look(self) -> Seen:
        """What the price did since the look before; the Gateway is asked where no line is open."""
        return _seen(self.account.ask(self._stock.line, urgent=True))

    def look_anew(self) -> None:
        """Forget what the price did until now."""
        self.look()

    def candles(self, interval: str, count: int) -> list[Candle]:
        """The latest closed candles of regular hours, oldest first, at most `count`.

        Raises:
            UserError: the Gateway has no candles of this length.
        """
        if interval not in BARS:
            raise UserError(f"candles of {interval} are not offered at Interactive Brokers")
        rows = self.account.ask(lambda: self._stock.bars(interval, count))
        return [_candle(row) for row in rows[:-1]][-count:]

    def stream_candles(self, _interval: str, _push: Push) -> None:
        """Have candles pushed: there is no stream of them."""

    # The account.

    def balances(self) -> dict[str, Decimal]:
        """Shares held and cash."""
        cash = self.account.ask(self._stock.cash)
        held = self.account.ask(self._stock.held)
        free = {self._base: held, self._quote: cash}
        for order in self.open_orders():
            rest = EXACT.subtract(order.quantity, order.executed)
            if order.side == "buy":
                free[self._quote] -= EXACT.multiply(rest, order.price)
            else:
                free[self._base] -= rest
        self._free = free
        return {coin: total for coin, total in ((self._base, held), (self._quote, cash)) if total}

    def free_balance(self, coin: str) -> Decimal:
        """What orders may still spend of a coin, as of the latest `balances`."""
        return max(Decimal(0), self._free.get(coin, Decimal(0)))

    # Orders.

    def place(self, order: Order, *, post_only: bool = False) -> RemoteOrder:
        """Send a limit order, good till it is canceled, in regular hours.

        Args:
            order: what to send; its client order ID is the order's ``orderRef``.
            post_only: not offered for stocks.
        """
        if post_only:
            raise BrokerError(Failure.REJECTED, "post-only orders are not offered for stocks")
        self._refuse_closed()
        return self.account.ask(lambda: self._stock.place(order), once=True)

    def cancel(self, client_id: str) -> None:
        """Cancel an order. `NOT_FOUND` where it is not open any more."""
        self.account.ask(lambda: self._stock.cancel(client_id), once=True, urgent=True)

    def find(self, client_id: str) -> RemoteOrder:
        """The order with this client order ID. `NOT_FOUND` where there is none.

        Raises:
            BrokerError: `AMBIGUOUS` where it may have traded and nothing tells of it.
        """
        try:
            return self.account.ask(lambda: self._stock.find(client_id))
        except BrokerError as error:
            if error.failure is not Failure.NOT_FOUND or not self._cursor:
                raise
            self._after(self._cursor)
            gone = self._overnight.gone(client_id)
            if gone is None or self._today != self._whole_from:
                raise
            if self.account.monotonic() - gone.since < GONE_SECONDS:
                raise BrokerError(
                    Failure.AMBIGUOUS,
                    f"{self.symbol}: order {client_id} was open on the day before, and no list has "
                    "it; it is asked for once more",
                ) from error
            return replace(gone.order, closed=True)

    def open_orders(self) -> list[RemoteOrder]:
        """All open orders of the account on the symbol."""
        self._listed_ms = self.account.now_ms
        if self.account.monotonic() - self._hours_asked > HOURS_SECONDS:
            self.connect()
        orders = self.account.ask(self._stock.open_orders)
        self._overnight.listed(self._today, orders, self.account.monotonic())
        return orders

    def orders_since(self, _known: Collection[str]) -> list[RemoteOrder]:
        """All orders of the account on the symbol that the Gateway still tells of."""
        completed = self.account.ask(self._stock.completed_orders)
        orders = [*completed, *self.account.ask(self._stock.open_orders)]
        return list({order.exchange_id: order for order in orders}.values())

    # Trades. A cursor is explained at `Cursor`.

    def trades_after(self, cursor: str) -> tuple[list[RemoteTrade], str]:
        """All trades of the account on the symbol after a cursor, and the cursor after them.

        Raises:
            BrokerError: `AMBIGUOUS` where it is not certain that none is missing.
        """
        found = self._after(cursor)
        self._cursor = cursor
        self._read(self._ended())
        return found

    def _read(self, ended: int | None) -> None:
        """Nothing was missed of the session that has ended, nor will be before the next one."""
        if ended is not None and self._hours is not None:
            self._read_after = ended
            opens = self._hours.opens_after(self.account.now_ms)
            self._whole_from = "" if opens is None else self._hours.day(opens)

    def _after(self, cursor: str) -> tuple[list[RemoteTrade], str]:
        known, held = Cursor.read(cursor), Decimal(0)
        for _ in range(TRIES):
            day, trades, held = self._moment()
            news = known.news(day, trades)
            if known.explains(news, held):
                latest = str(Cursor.of(day, held, trades)) if news else cursor
                return [trade.trade for trade in news], latest
        raise BrokerError(
            Failure.AMBIGUOUS,
            f"{self.symbol}: the account held {known.held} shares on {known.day} and holds {held} "
            "now, which the executions of today do not explain: trades of an earlier day that "
            "were not read, a split, or a transfer",
        )

    def _moment(self) -> tuple[str, list[Trade], Decimal]:
        """The exchange's day, its executions, and the shares held."""
        if self._hours is None:
            self.connect()
        if self._hours is None:
            raise AssertionError("connecting reads the hours")
        day = self._hours.day(self.account.now_ms)
        return day, self.account.ask(self._stock.executions), self.account.ask(self._stock.held)

    def trades_of(self, exchange_id: str) -> list[RemoteTrade]:
        """All trades of one order, oldest first, as far as the Gateway tells them."""
        trades = self.account.ask(self._stock.executions)
        return [one.trade for one in trades if one.trade.exchange_id == exchange_id]

    def latest_cursor(self) -> str:
        """The cursor after the account's latest trade on the symbol."""
        before = self._moment()
        for _ in range(TRIES):
            now = self._moment()
            if now == before:
                day, trades, held = now
                self._cursor = str(Cursor.of(day, held, trades))
                return self._cursor
            before = now
        raise BrokerError(
            Failure.AMBIGUOUS, f"Gateway {self.address}: the account trades without a pause"
        )


def _seen(line: Line) -> Seen:
    """Prices since the look before; they are seen from here on."""
    last = amount(line.prices[LAST])
    low, high = line.low, line.high
    line.low = line.high = None
    return Seen(
        last,
        last if low is None else min(last, amount(low)),
        last if high is None else max(last, amount(high)),
    )


def _candle(bar: Any) -> Candle:
    first, high, low, last = (
        to_units(str(value))[0] for value in (bar.open, bar.high, bar.low, bar.close)
    )
    return Candle(int(bar.date) * 1000, first, high, low, last, float(bar.volume))
