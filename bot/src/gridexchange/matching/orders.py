"""Orders, trades and balances: the records that matching, storage and the API share."""

from dataclasses import dataclass
from decimal import Decimal

from gridexchange.matching.amounts import ZERO, subtract

BUY = "BUY"
SELL = "SELL"

LIMIT = "LIMIT"
LIMIT_MAKER = "LIMIT_MAKER"
MARKET = "MARKET"

GTC = "GTC"
IOC = "IOC"
FOK = "FOK"

NEW = "NEW"
PARTIALLY_FILLED = "PARTIALLY_FILLED"
FILLED = "FILLED"
CANCELED = "CANCELED"
EXPIRED = "EXPIRED"
EXPIRED_IN_MATCH = "EXPIRED_IN_MATCH"
TRADE = "TRADE"
TRADE_PREVENTION = "TRADE_PREVENTION"
OPEN_STATUSES = (NEW, PARTIALLY_FILLED)

NO_PREVENTION = "NONE"
EXPIRE_TAKER = "EXPIRE_TAKER"
EXPIRE_MAKER = "EXPIRE_MAKER"
EXPIRE_BOTH = "EXPIRE_BOTH"
DECREMENT = "DECREMENT"
PREVENTION_MODES = (NO_PREVENTION, EXPIRE_TAKER, EXPIRE_MAKER, EXPIRE_BOTH, DECREMENT)
NO_MATCH = -1  # number of a prevented match that there is not
NO_ORDER = -1  # the same of an order


@dataclass(frozen=True)
class OrderRequest:
    """What a client asks for.

    Attributes:
        side: BUY or SELL.
        type: LIMIT, LIMIT_MAKER or MARKET.
        time_in_force: GTC, IOC or FOK.
        client_order_id: the client's name for the order.
        price: limit in quote per base; None for MARKET.
        quantity: base; None when `quote_quantity` is given.
        quote_quantity: quote to spend or receive with a MARKET order, or None.
        self_trade_prevention: what happens where it would meet an order of its own account; None
            for what the symbol does.
    """

    side: str
    type: str
    time_in_force: str
    client_order_id: str
    price: Decimal | None = None
    quantity: Decimal | None = None
    quote_quantity: Decimal | None = None
    self_trade_prevention: str | None = None


@dataclass
class Order:
    """An order as the exchange knows it.

    Attributes:
        order_id: the exchange's number, rising.
        client_order_id: the client's name for it.
        side: BUY or SELL.
        type: LIMIT, LIMIT_MAKER or MARKET.
        time_in_force: GTC, IOC or FOK.
        price: limit; 0 for MARKET.
        quantity: base ordered.
        quote_quantity: quote asked for by a MARKET order; else 0.
        executed: base executed so far.
        executed_quote: quote executed so far, before commission.
        locked: what it holds back of the account: quote for a buy, base for a sell.
        status: one of Binance's order statuses.
        created_ms: when it was accepted.
        updated_ms: when it changed last.
        self_trade_prevention: what happens where it would meet an order of its own account.
        prevented: base that was not traded because of that.
        prevented_match_id: number of the latest match that did not happen; NO_MATCH for none.
        parts: in how many parts the market still fills it; 0 where it has not reached it.
    """

    order_id: int
    client_order_id: str
    side: str
    type: str
    time_in_force: str
    price: Decimal
    quantity: Decimal
    quote_quantity: Decimal
    executed: Decimal
    executed_quote: Decimal
    locked: Decimal
    status: str
    created_ms: int
    updated_ms: int
    self_trade_prevention: str = NO_PREVENTION
    prevented: Decimal = ZERO
    prevented_match_id: int = NO_MATCH
    parts: int = 0

    @property
    def remaining(self) -> Decimal:
        """Base that can still execute."""
        return subtract(subtract(self.quantity, self.executed), self.prevented)


@dataclass(frozen=True)
class Trade:
    """One execution of an order.

    Attributes:
        trade_id: the exchange's number, rising.
        order_id: the order executed.
        price: quote per base.
        quantity: base.
        quote_quantity: price times quantity, before commission.
        commission: what the exchange kept.
        commission_asset: the coin it kept it in.
        time_ms: when.
        is_buyer: whether the order bought.
        is_maker: whether the order was resting.
    """

    trade_id: int
    order_id: int
    price: Decimal
    quantity: Decimal
    quote_quantity: Decimal
    commission: Decimal
    commission_asset: str
    time_ms: int
    is_buyer: bool
    is_maker: bool


@dataclass(frozen=True)
class Prevention:
    """What self-trade prevention did to an order.

    Attributes:
        match_id: number of the match that did not happen, rising.
        quantity: base that it took off the order.
        counter_order_id: the order on the other side; NO_ORDER for one of another account.
        price: at which they would have traded (quote).
    """

    match_id: int
    quantity: Decimal
    counter_order_id: int
    price: Decimal


@dataclass(frozen=True)
class Report:
    """One thing that happened to an order, as it was right then.

    Attributes:
        kind: NEW (accepted), TRADE, TRADE_PREVENTION, CANCELED or EXPIRED.
        order: the order after it; a copy that does not change any more.
        trade: the execution, for a TRADE.
        cancel_id: the name of the cancellation that a client asked for; empty otherwise.
        balances: free and locked of the coins that it may have changed.
        prevention: what was prevented, for a TRADE_PREVENTION.
    """

    kind: str
    order: Order
    trade: Trade | None
    cancel_id: str
    balances: dict[str, tuple[Decimal, Decimal]]
    prevention: Prevention | None = None


@dataclass
class Balance:
    """What an account has of one coin: `free` to use, `locked` in open orders."""

    free: Decimal = ZERO
    locked: Decimal = ZERO
