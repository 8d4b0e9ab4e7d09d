"""What the practice Gateway knows: the contract, orders, executions. Pure data."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

PENDING = "PendingSubmit"  # the Gateway has it, and could not hand it on
DONE = ("Filled", "Cancelled", "Inactive")


@dataclass(frozen=True)
class Stock:
    """The one stock that is traded, or another one whose prices are told.

    Attributes:
        con_id: the Gateway's number of the contract.
        symbol: such as ``SPY``.
        primary: exchange it is listed on.
        currency: of its prices.
        min_tick: step of prices (currency).
        long_name: for people.
        ratio: its price, as a multiple of that of the stock that is traded.
    """

    con_id: int = 756733
    symbol: str = "SPY"
    primary: str = "ARCA"
    currency: str = "USD"
    min_tick: Decimal = Decimal("0.01")
    long_name: str = "PRACTICE STOCK"
    ratio: Decimal = Decimal(1)


def followers(symbols: Iterable[str]) -> tuple[Stock, ...]:
    """Stocks whose prices follow that of the traded one: nine, eight, ... tenths of it."""
    return tuple(
        Stock(con_id=1_000_001 + number, symbol=symbol, ratio=Decimal(9 - number % 8) / 10)
        for number, symbol in enumerate(symbols)
    )


@dataclass
class StockOrder:
    """An order.

    Attributes:
        perm_id: the Gateway's own number of it, for good.
        client_id: connection that placed it.
        order_id: the client's number of it.
        action: ``BUY`` or ``SELL``.
        quantity: shares.
        kind: ``LMT`` or ``MKT``.
        limit: price (currency); 0 for a market order.
        tif: ``DAY`` or ``GTC``.
        outside_rth: whether it may trade outside of regular hours.
        reference: the client's text about it (``orderRef``).
        created_ms: Unix milliseconds.
        status: the Gateway's word.
        filled: shares.
        spent: sum of price times shares (currency).
        closed_ms: Unix milliseconds; 0 while it is open.
    """

    perm_id: int
    client_id: int
    order_id: int
    action: str
    quantity: Decimal
    kind: str
    limit: Decimal
    tif: str
    outside_rth: bool
    reference: str
    created_ms: int
    status: str = "Submitted"
    filled: Decimal = field(default=Decimal(0))
    spent: Decimal = field(default=Decimal(0))
    closed_ms: int = 0

    @property
    def remaining(self) -> Decimal:
        """Shares that have not traded."""
        return self.quantity - self.filled

    @property
    def average(self) -> Decimal:
        """Average price of what has traded (currency); 0 before."""
        return self.spent / self.filled if self.filled else Decimal(0)

    @property
    def done(self) -> bool:
        """Whether nothing more will trade."""
        return self.status in DONE


@dataclass(frozen=True)
class Execution:
    """A trade.

    Attributes:
        exec_id: text; a correction has the same one but for its last part.
        perm_id: of the order.
        price: currency per share.
        shares: how many.
        cumulative: of the order, with this one.
        commission: currency.
        time_ms: Unix milliseconds.
    """

    exec_id: str
    perm_id: int
    price: Decimal
    shares: Decimal
    cumulative: Decimal
    commission: Decimal
    time_ms: int

    @property
    def stem(self) -> str:
        """What all corrections of the trade share."""
        return self.exec_id.rpartition(".")[0]
