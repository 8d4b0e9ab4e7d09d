"""What the bot asks of an exchange, and how an exchange can fail. No I/O here.

`gridbot.exchanges.binance.symbol` is a real one.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from gridbase.candles.series import Candle
from gridbase.errors import ExitCode, UserError
from gridbase.market import Market

from gridbot.core.orders import Order
from gridbot.core.prices import Seen


class Failure(StrEnum):
    """Kinds of failure; what to do depends on nothing else.

    REJECTED: the exchange refused, nothing happened. WOULD_TAKE: it refused a post-only order that
    would have traded at once. NOT_FOUND: it does not know the order.
    AMBIGUOUS: it may or may not have acted; ask before anything else. UNREACHABLE: the request
    never arrived. AUTH: it does not accept the key. RATE_LIMITED: wait. CLOCK: the request's time
    was off, nothing happened; where it is an order's, the time has been set.
    """

    REJECTED = "rejected"
    WOULD_TAKE = "would take"
    NOT_FOUND = "not found"
    AMBIGUOUS = "ambiguous"
    UNREACHABLE = "unreachable"
    AUTH = "auth"
    RATE_LIMITED = "rate limited"
    CLOCK = "clock"


class BrokerError(UserError):
    """A request to the exchange failed.

    Args:
        failure: the kind.
        message: one clear line.
        retry_after: seconds that the exchange asks to wait; None where it does not say.
    """

    def __init__(self, failure: Failure, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message, ExitCode.EXCHANGE)
        self.failure = failure
        self.retry_after = retry_after


@dataclass(frozen=True)
class RemoteOrder:
    """An order as the exchange reports it.

    Attributes:
        exchange_id: the exchange's own ID, of which nothing is known but that it is the order's.
        client_id: the name it was given.
        side: ``buy`` or ``sell``.
        price: limit price (quote).
        quantity: base ordered.
        executed: base traded.
        closed: nothing more will trade.
    """

    exchange_id: str
    client_id: str
    side: str
    price: Decimal
    quantity: Decimal
    executed: Decimal
    closed: bool


@dataclass(frozen=True)
class RemoteTrade:
    """A trade as the exchange reports it; see `gridbot.core.orders.Fill`."""

    trade_id: str
    exchange_id: str
    side: str
    price: Decimal
    quantity: Decimal
    quote: Decimal
    commission: Decimal
    commission_coin: str
    time_ms: int
    maker: bool


@dataclass(frozen=True)
class OrderEvent:
    """What the exchange's stream said about one order.

    Events may be lost, doubled or out of order: `executed` tells whether one is missing.

    Attributes:
        order: the order after the event; `executed` is all that has traded so far.
        trade: the trade that the event reports; None for one without (accepted, canceled).
    """

    order: RemoteOrder
    trade: RemoteTrade | None


@dataclass(frozen=True)
class StreamGap:
    """The stream has begun or was cut: events may be missing from before this point."""


StreamEvent = OrderEvent | StreamGap
# Takes the interval of a candle that has closed, and the candle.
Push = Callable[[str, Candle], None]


class Broker(Protocol):
    """One account's view of one symbol. Every method may raise `BrokerError`."""

    @property
    def streaming(self) -> bool:
        """Whether the exchange tells of orders by itself now, so that nobody has to ask."""

    @property
    def news(self) -> bool:
        """Whether the stream has said something that `events` has not handed out yet."""

    @property
    def closed_until(self) -> int | None:
        """When the market opens again (Unix milliseconds); None while it is open. No request."""

    def events(self) -> list[StreamEvent]:
        """What the stream has said since the last call, as it arrived. Makes no request."""

    def wait(self, seconds: float) -> None:
        """Wait that long, until an event arrives, or until stopped. Raises nothing."""

    def candles(self, interval: str, count: int) -> list[Candle]:
        """The latest closed candles, oldest first, at most `count`.

        Args:
            interval: the exchange's name of their length, such as ``1h``.
            count: how many.
        """

    def stream_candles(self, interval: str, push: Push) -> int | None:
        """Have closed candles pushed from now on, as far as a stream tells of them.

        Args:
            interval: as for `candles`.
            push: takes them, and those of every other interval that is streamed.

        Returns:
            When the newest closed candle opens (Unix milliseconds), if all since the latest
            `candles` were pushed; None where they have to be asked for.
        """

    def trades_of(self, exchange_id: str) -> list[RemoteTrade]:
        """All trades of one order, oldest first."""

    @property
    def market_label(self) -> str:
        """What the exchange says about its market: recorded, synthetic, or empty for a real one."""

    def now_ms(self) -> int:
        """Unix time in milliseconds, at the exchange."""

    @property
    def receive_window_ms(self) -> int:
        """A request that is older than this when it arrives is refused by the exchange."""

    def connect(self) -> Market:
        """Synchronise time and read the symbol's rules."""

    def check_key(self) -> None:
        """Refuse a key for real money that may withdraw, where the exchange can tell; asked once.

        Raises:
            UserError: it may.
        """

    def balances(self) -> dict[str, Decimal]:
        """Free plus locked of every coin that the account holds."""

    def free_balance(self, coin: str) -> Decimal:
        """What orders may still spend of a coin, as of the latest `balances`."""

    def ask_price(self) -> Decimal:
        """What a buy pays now (quote)."""

    def last_price(self) -> Decimal:
        """Price of the latest trade on the market (quote), as of the latest poll."""

    def told(self) -> Seen | None:
        """What the price did since the look before, by the stream. Makes no request.

        None where no stream tells of it now, and nothing that one has told is left to be seen.
        """

    def look(self) -> Seen:
        """What the price did since the look before; the exchange is asked now.

        It is asked though reads have to wait, or it is left in peace for a while, if not as often.
        """

    def look_anew(self) -> None:
        """Forget what the price did until now.

        The exchange is asked: without a look at where it stands, the next one could not tell what
        it did in between.
        """

    def bid_price(self) -> Decimal:
        """What a sell brings now (quote)."""

    def place(self, order: Order, *, post_only: bool = False) -> RemoteOrder:
        """Send a limit order under its client order ID.

        Args:
            order: the order.
            post_only: have it refused rather than trade at once.
        """

    def cancel(self, client_id: str) -> None:
        """Cancel an order. `NOT_FOUND` where it is not open any more."""

    def find(self, client_id: str) -> RemoteOrder:
        """The order with this client order ID. `NOT_FOUND` where there is none."""

    def open_orders(self) -> list[RemoteOrder]:
        """All open orders of the account on the symbol."""

    def orders_since(self, known: Collection[str]) -> list[RemoteOrder]:
        """All orders of the account on the symbol since the oldest of some; older ones may come.

        Args:
            known: exchange IDs of those; where there are none, all orders are meant.
        """

    def trades_after(self, cursor: str) -> tuple[list[RemoteTrade], str]:
        """All trades of the account on the symbol after a cursor, oldest first.

        A cursor is a text that only the exchange's adapter understands. It is stored, and outlives
        the process. Some trades from before it may come again.

        Returns:
            The trades, and the cursor after them: the same one where there are none.
        """

    def latest_cursor(self) -> str:
        """The cursor after the account's latest trade on the symbol."""
