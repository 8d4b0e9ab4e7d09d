"""Which bought coins a sale disposes of, and what they had cost. Pure, exact, streamed.

A buy opens a lot: what it brought (a fee in the base coin makes it smaller) at what it cost (a fee
in the quote coin makes it dearer). A sale takes from open lots in the order of its method. Parts of
a cost are cut at 18 decimals and always add up to the whole.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Any, Protocol

from gridbase.errors import ExitCode, UserError
from gridbase.market import EXACT, Market, plain

ZERO = Decimal(0)
_PART = Decimal("1E-18")
DAY_MS = 86_400_000
LONG_TERM_MS = 365 * DAY_MS


class Method(StrEnum):
    """Which lots a sale takes first: the oldest, the newest, or those that cost most per coin."""

    FIFO = "fifo"
    LIFO = "lifo"
    HIFO = "hifo"


class Trade(Protocol):
    """What a book of lots reads of a trade."""

    @property
    def trade_id(self) -> str:
        """The exchange's ID."""

    @property
    def side(self) -> str:
        """``buy`` or ``sell``."""

    @property
    def quantity(self) -> Decimal:
        """Base traded."""

    @property
    def quote(self) -> Decimal:
        """Price times quantity (quote)."""

    @property
    def commission(self) -> Decimal:
        """Fee, in `commission_coin`."""

    @property
    def commission_coin(self) -> str:
        """Coin that the fee was taken in."""

    @property
    def time_ms(self) -> int:
        """Unix milliseconds."""


@dataclass
class Lot:
    """What is left of one buy.

    Attributes:
        acquired_ms: when it was bought (Unix milliseconds).
        trade_id: the exchange's ID of that trade.
        quantity: base that is left.
        cost: what that has cost, fees in quote included (quote).
        other_fees: fees of the buy in other coins, by coin; beside the cost.
    """

    acquired_ms: int
    trade_id: str
    quantity: Decimal
    cost: Decimal
    other_fees: dict[str, Decimal] = field(default_factory=dict)

    def take(self, quantity: Decimal) -> "Lot":
        """Part of this lot (base); the rest stays."""
        part = Lot(
            self.acquired_ms,
            self.trade_id,
            quantity,
            _part(self.cost, quantity, self.quantity),
            _parts(self.other_fees, quantity, self.quantity),
        )
        self.quantity = EXACT.subtract(self.quantity, quantity)
        self.cost = EXACT.subtract(self.cost, part.cost)
        self.other_fees = _less(self.other_fees, part.other_fees)
        return part


@dataclass(frozen=True)
class Disposal:
    """One lot, or a part of it, sold.

    Attributes:
        acquired_ms: when it was bought (Unix milliseconds).
        sold_ms: when it was sold.
        buy_trade: the exchange's ID of the buy.
        sell_trade: the exchange's ID of the sale.
        quantity: base.
        proceeds: what the sale brought, before fees (quote).
        cost: what it had cost, the buy's fees in quote included (quote).
        fees: the sale's fees in quote (quote).
        other_fees: fees of buy and sale in other coins, by coin; in none of the sums.
    """

    acquired_ms: int
    sold_ms: int
    buy_trade: str
    sell_trade: str
    quantity: Decimal
    proceeds: Decimal
    cost: Decimal
    fees: Decimal
    other_fees: dict[str, Decimal]

    @property
    def gain(self) -> Decimal:
        """Proceeds less cost and fees (quote)."""
        return EXACT.subtract(EXACT.subtract(self.proceeds, self.cost), self.fees)

    @property
    def days(self) -> int:
        """Whole days between buy and sale."""
        return (self.sold_ms - self.acquired_ms) // DAY_MS

    @property
    def year(self) -> int:
        """Of the sale (UTC)."""
        return datetime.fromtimestamp(self.sold_ms / 1000, UTC).year

    @property
    def is_long_term(self) -> bool:
        """Held for more than 365 days. What that means is for the law of one's country."""
        return self.sold_ms - self.acquired_ms > LONG_TERM_MS


@dataclass
class Sums:
    """What the disposals of one symbol in one year add up to (quote)."""

    disposals: int = 0
    proceeds: Decimal = ZERO
    cost_basis: Decimal = ZERO
    fees: Decimal = ZERO
    gain_short: Decimal = ZERO
    gain_long: Decimal = ZERO
    other_fees: dict[str, Decimal] = field(default_factory=dict)

    @property
    def gain(self) -> Decimal:
        """All gains (quote)."""
        return EXACT.add(self.gain_short, self.gain_long)

    def add(self, disposal: Disposal) -> None:
        """Count one more."""
        self.disposals += 1
        self.proceeds = EXACT.add(self.proceeds, disposal.proceeds)
        self.cost_basis = EXACT.add(self.cost_basis, disposal.cost)
        self.fees = EXACT.add(self.fees, disposal.fees)
        if disposal.is_long_term:
            self.gain_long = EXACT.add(self.gain_long, disposal.gain)
        else:
            self.gain_short = EXACT.add(self.gain_short, disposal.gain)
        for coin, amount in disposal.other_fees.items():
            self.other_fees[coin] = EXACT.add(self.other_fees.get(coin, ZERO), amount)

    def document(self) -> dict[str, Any]:
        """As a JSON object; amounts are texts."""
        amounts = ("proceeds", "cost_basis", "fees", "gain", "gain_short", "gain_long")
        return {
            "disposals": self.disposals,
            **{name: plain(getattr(self, name)) for name in amounts},
            "other_fees": {coin: plain(amount) for coin, amount in self.other_fees.items()},
        }


class _OpenLots(Protocol):
    """Open lots in the order in which a method takes them."""

    def add(self, lot: Lot) -> None:
        """Open a lot."""

    def first(self) -> Lot:
        """The lot to take from; there must be one."""

    def drop(self) -> None:
        """The first lot is used up."""

    def __iter__(self) -> Iterator[Lot]: ...

    def __len__(self) -> int: ...


class _Oldest:
    def __init__(self) -> None:
        self._lots: deque[Lot] = deque()

    def add(self, lot: Lot) -> None:
        self._lots.append(lot)

    def first(self) -> Lot:
        return self._lots[0]

    def drop(self) -> None:
        self._lots.popleft()

    def __iter__(self) -> Iterator[Lot]:
        return iter(self._lots)

    def __len__(self) -> int:
        return len(self._lots)


class _Newest(_Oldest):
    def first(self) -> Lot:
        return self._lots[-1]

    def drop(self) -> None:
        self._lots.pop()


class _Dearest:
    """A heap by cost per coin, the highest first; on a tie the oldest."""

    def __init__(self) -> None:
        self._heap: list[tuple[Decimal, int, Lot]] = []
        self._count = 0

    def add(self, lot: Lot) -> None:
        price = EXACT.divide(lot.cost, lot.quantity)
        heapq.heappush(self._heap, (EXACT.minus(price), self._count, lot))
        self._count += 1

    def first(self) -> Lot:
        return self._heap[0][2]

    def drop(self) -> None:
        heapq.heappop(self._heap)

    def __iter__(self) -> Iterator[Lot]:
        return (lot for _, _, lot in self._heap)

    def __len__(self) -> int:
        return len(self._heap)


def _open_lots(method: Method) -> _OpenLots:
    if method is Method.FIFO:
        return _Oldest()
    return _Newest() if method is Method.LIFO else _Dearest()


class LotBook:
    """Lots of one symbol.

    Args:
        market: names the coins.
        method: which lots a sale takes first.
    """

    def __init__(self, market: Market, method: Method) -> None:
        self._market = market
        self._open = _open_lots(method)

    def __iter__(self) -> Iterator[Lot]:
        """Lots that are not sold."""
        return iter(self._open)

    def reopen(self, lot: Lot) -> None:
        """Open a lot of an earlier book; in the order in which that one opened them."""
        self._open.add(lot)

    @property
    def open_lots(self) -> int:
        """Number of lots that are not sold."""
        return len(self._open)

    @property
    def open_quantity(self) -> Decimal:
        """Base in them."""
        return _sum(lot.quantity for lot in self._open)

    @property
    def open_cost(self) -> Decimal:
        """What they have cost (quote)."""
        return _sum(lot.cost for lot in self._open)

    def book(self, fill: Trade) -> Iterator[Disposal]:
        """Take one trade, in the order of time; the disposals of a sale.

        Raises:
            UserError: more is sold than was bought: trades are missing.
        """
        fee_in_base = fill.commission if fill.commission_coin == self._market.base else ZERO
        fee_in_quote = fill.commission if fill.commission_coin == self._market.quote else ZERO
        other = {}
        if fill.commission and not (fee_in_base or fee_in_quote):
            other = {fill.commission_coin: fill.commission}
        if fill.side == "buy":
            quantity = EXACT.subtract(fill.quantity, fee_in_base)
            cost = EXACT.add(fill.quote, fee_in_quote)
            if quantity > 0:
                self._open.add(Lot(fill.time_ms, fill.trade_id, quantity, cost, other))
            return
        # A fee in base is sold with the rest and brings nothing; what of it the bot has not bought
        # (an exchange's own coin, kept for its discount) is a fee like one in any other coin.
        own = fee_in_base
        if fee_in_base:
            bought = EXACT.subtract(self.open_quantity, fill.quantity)
            own = min(fee_in_base, max(ZERO, bought))
        if own < fee_in_base:
            other = {fill.commission_coin: EXACT.subtract(fee_in_base, own)}
        sold = Lot(fill.time_ms, fill.trade_id, EXACT.add(fill.quantity, own), fill.quote, other)
        yield from self._sell(sold, fee_in_quote)

    def _sell(self, sold: Lot, fees: Decimal) -> Iterator[Disposal]:
        while sold.quantity > 0:
            if not len(self._open):
                raise UserError(
                    f"trade {sold.trade_id} sells {plain(sold.quantity)} {self._market.base} that "
                    "no trade in these books has bought: the state of an earlier bot is missing",
                    ExitCode.STATE,
                )
            lot = self._open.first()
            quantity = min(lot.quantity, sold.quantity)
            fee = _part(fees, quantity, sold.quantity)
            fees = EXACT.subtract(fees, fee)
            part, proceeds = lot.take(quantity), sold.take(quantity)
            if lot.quantity == 0:
                self._open.drop()
            yield Disposal(
                acquired_ms=part.acquired_ms,
                sold_ms=sold.acquired_ms,
                buy_trade=part.trade_id,
                sell_trade=sold.trade_id,
                quantity=quantity,
                proceeds=proceeds.cost,
                cost=part.cost,
                fees=fee,
                other_fees=_more(part.other_fees, proceeds.other_fees),
            )


def _sum(amounts: Iterator[Decimal]) -> Decimal:
    total = ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def _part(total: Decimal, quantity: Decimal, whole: Decimal) -> Decimal:
    if quantity == whole:
        return total
    part = EXACT.divide(EXACT.multiply(total, quantity), whole)
    return part.quantize(_PART, rounding=ROUND_HALF_EVEN, context=EXACT)


def _parts(amounts: dict[str, Decimal], quantity: Decimal, whole: Decimal) -> dict[str, Decimal]:
    return {coin: _part(amount, quantity, whole) for coin, amount in amounts.items()}


def _more(left: dict[str, Decimal], right: dict[str, Decimal]) -> dict[str, Decimal]:
    return left | {coin: EXACT.add(left.get(coin, ZERO), add) for coin, add in right.items()}


def _less(left: dict[str, Decimal], right: dict[str, Decimal]) -> dict[str, Decimal]:
    return {coin: EXACT.subtract(amount, right[coin]) for coin, amount in left.items()}
