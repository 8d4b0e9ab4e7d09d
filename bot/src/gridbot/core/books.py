"""The books: what the grid spent, received, holds and earned. Pure and exact.

For every state, to the last digit:
``equity - investment = grid profit + liquidation profit + unrealised profit``.
Equity comes from the flows of the coins, the profits from the legs: neither is computed from
the other, so the equation is a check and not a definition.
"""

from collections import deque
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

from gridbase.market import EXACT

from gridbot.core.orders import Fill, Leg, Role, Side
from gridbot.core.settled_totals import Totals

ZERO = Decimal(0)
# Finer than any price or quantity: shares of the initial cost are cut here, and add up exactly.
_SHARE = Decimal("1E-18")
RECENT_FILLS = 50


def add(left: Decimal, right: Decimal) -> Decimal:
    """Exact sum."""
    return EXACT.add(left, right)


@dataclass
class LegBook:
    """What one leg has traded so far.

    Attributes:
        leg: the leg.
        executed: base traded.
        base: net flow of base, fees included; positive for a buy.
        quote: net flow of quote, fees included; negative for a buy.
        complete: the next step has been taken.
        shares: for the completed initial purchase, the sells that share its cost.
        matched: for the initial purchase, the cost that completed sells have taken (quote).
    """

    leg: Leg
    executed: Decimal = ZERO
    base: Decimal = ZERO
    quote: Decimal = ZERO
    complete: bool = False
    shares: int = 0
    matched: Decimal = ZERO


@dataclass
class Books:
    """Books of one grid.

    Attributes:
        base: coin that is traded.
        quote: coin that prices are in.
        investment: what the grid may spend (quote).
        flows: net flow of every coin since the start, fees included.
        fees: fees by coin.
        fees_in_quote: fees in base and quote, each at its fill's price (quote).
        grid_profit: what matched pairs earned (quote).
        liquidation_profit: what selling the rest at the end earned (quote).
        buys: completed buy legs, without the initial purchase.
        sells: completed sell legs; each completes a pair.
        recent: the latest fills, oldest first.
    """

    base: str
    quote: str
    investment: Decimal
    flows: dict[str, Decimal] = field(default_factory=dict)
    fees: dict[str, Decimal] = field(default_factory=dict)
    fees_in_quote: Decimal = ZERO
    grid_profit: Decimal = ZERO
    liquidation_profit: Decimal = ZERO
    buys: int = 0
    sells: int = 0
    initial_base: Decimal = ZERO
    initial_cost: Decimal = ZERO
    legs: dict[str, LegBook] = field(default_factory=dict)
    recent: deque[Fill] = field(default_factory=lambda: deque(maxlen=RECENT_FILLS))

    def restore_totals(self, totals: Totals) -> None:
        """Begin with the sums over pairs that are settled."""
        self.flows = dict(totals.flows)
        self.fees = dict(totals.fees)
        self.fees_in_quote = totals.fees_in_quote
        self.grid_profit = totals.grid_profit
        self.buys, self.sells = totals.buys, totals.sells

    def restore_matched(self, leg_id: str, cost: Decimal) -> None:
        """Take back what settled sells have taken of an initial leg's cost (quote)."""
        book = self.legs[leg_id]
        book.matched = add(book.matched, cost)

    def open_leg(self, leg: Leg) -> None:
        """Begin a leg. Its id must be new."""
        if leg.id in self.legs:
            raise ValueError(f"leg {leg.id} is already open")
        self.legs[leg.id] = LegBook(leg)

    def carry(self, leg_id: str, base: Decimal, cost: Decimal) -> None:
        """Give the initial leg what the grid before left.

        Args:
            leg_id: the leg.
            base: base taken over; negative to take it back.
            cost: what it counts for in the investment (quote).
        """
        book = self.legs[leg_id]
        for coin, amount in ((self.base, base), (self.quote, -cost)):
            self._flow(coin, amount)
        book.base = add(book.base, base)
        book.quote = EXACT.subtract(book.quote, cost)
        self.initial_base = add(self.initial_base, base)
        self.initial_cost = add(self.initial_cost, cost)

    def apply(self, leg_id: str, fill: Fill) -> None:
        """Book one fill of a leg."""
        book = self.legs[leg_id]
        sign = 1 if book.leg.side is Side.BUY else -1
        base = EXACT.multiply(fill.quantity, Decimal(sign))
        quote = EXACT.multiply(fill.quote, Decimal(-sign))
        if fill.commission_coin == self.base:
            base = EXACT.subtract(base, fill.commission)
            in_quote = EXACT.multiply(fill.commission, fill.price)
        elif fill.commission_coin == self.quote:
            quote = EXACT.subtract(quote, fill.commission)
            in_quote = fill.commission
        else:
            # A third coin (a discount coin): counted in its own flow, outside the equity.
            in_quote = ZERO
            self._flow(fill.commission_coin, -fill.commission)
        self._flow(self.base, base)
        self._flow(self.quote, quote)
        book.executed = add(book.executed, fill.quantity)
        book.base = add(book.base, base)
        book.quote = add(book.quote, quote)
        if fill.commission:
            coin = fill.commission_coin
            self.fees[coin] = add(self.fees.get(coin, ZERO), fill.commission)
            self.fees_in_quote = add(self.fees_in_quote, in_quote)
        if book.leg.role is Role.INITIAL:
            self.initial_base = add(self.initial_base, base)
            self.initial_cost = EXACT.subtract(self.initial_cost, quote)
        else:
            self.recent.append(fill)

    def _flow(self, coin: str, amount: Decimal) -> None:
        self.flows[coin] = add(self.flows.get(coin, ZERO), amount)

    def complete(self, leg_id: str, shares: int = 0) -> None:
        """Close a leg whose next step is taken.

        Args:
            leg_id: the leg.
            shares: for the initial purchase, the number of sells that share its cost.
        """
        book = self.legs[leg_id]
        book.complete = True
        book.shares = shares
        if book.leg.role is Role.INITIAL:
            if book.executed == 0 and book.base == 0:
                del self.legs[leg_id]
            return
        if book.leg.role is Role.LIQUIDATION:
            # All that is held was for sale: nothing is left that could still be matched.
            self.liquidation_profit = EXACT.subtract(self.liquidation_profit, self.held_cost)
            self.legs.clear()
            return
        if book.leg.side is Side.BUY:
            self.buys += 1
            return
        self.sells += 1
        cost = self._take_cost(book)
        self.grid_profit = add(self.grid_profit, EXACT.subtract(book.quote, cost))
        del self.legs[leg_id]

    def _take_cost(self, sell: LegBook) -> Decimal:
        """Cost of the buy that a sell answers (quote); the buy is not held any more."""
        buy = self.legs[sell.leg.parent or ""]
        if buy.leg.role is Role.GRID:
            del self.legs[buy.leg.id]
            return -buy.quote
        # The initial sells are on the lines right above the empty one.
        cost = share_of(-buy.quote, buy.shares, sell.leg.line - buy.leg.line - 1)
        buy.matched = add(buy.matched, cost)
        return cost

    @property
    def quote_flow(self) -> Decimal:
        """Net flow of quote since the start, fees included."""
        return self.flows.get(self.quote, ZERO)

    @property
    def base_held(self) -> Decimal:
        """Base that the grid holds."""
        return self.flows.get(self.base, ZERO)

    @property
    def held_cost(self) -> Decimal:
        """What the base held has cost (quote), from the legs.

        Proceeds of a sell that is not complete lower it: they are no profit before the pair is
        matched.
        """
        total = ZERO
        for book in self.legs.values():
            total = EXACT.subtract(total, add(book.quote, book.matched))
        return total

    def equity(self, price: Decimal) -> Decimal:
        """Quote left plus base held at `price` (quote)."""
        held = EXACT.multiply(self.base_held, price)
        return add(add(self.investment, self.quote_flow), held)

    def unrealised_profit(self, price: Decimal) -> Decimal:
        """What the base held is worth at `price` more than it has cost (quote)."""
        return EXACT.subtract(EXACT.multiply(self.base_held, price), self.held_cost)


def share_of(total: Decimal, shares: int, index: int) -> Decimal:
    """One of `shares` equal parts of `total`; all of them add up to it exactly."""
    if not 0 <= index < shares:
        raise ValueError(f"share {index} of {shares}")

    def up_to(count: int) -> Decimal:
        if count == shares:
            return total
        part = EXACT.divide(EXACT.multiply(total, Decimal(count)), Decimal(shares))
        return part.quantize(_SHARE, rounding=ROUND_HALF_EVEN, context=EXACT)

    return EXACT.subtract(up_to(index + 1), up_to(index))
