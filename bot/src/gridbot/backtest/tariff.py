"""What each fill of a grid moves, and the exact books of any number of them. Pure.

All fills of one kind on one line are alike: the same price, quantity and fee. So the books follow
from how often each has happened, in exact decimals, and no sum of floats comes near them. The sums
are those of `gridbot.core.books`, which books one fill after the other; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from enum import IntEnum

from gridbase.market import EXACT, Market

from gridbot.core.books import ZERO, add, share_of
from gridbot.core.grid import Fees, FeesIn, Plan, sell_quantity
from gridbot.core.orders import Side


class Kind(IntEnum):
    """What a fill is: a buy, a sell that answers a buy, or a sell of the initial purchase."""

    BUY = 0
    SELL = 1
    INITIAL_SELL = 2


@dataclass(frozen=True)
class Move:
    """One fill of a kind on a line.

    Attributes:
        side: which way it trades.
        price: quote per base.
        quantity: base traded.
        fee: in `fee_coin`.
        fee_coin: coin that the fee is taken in.
        fee_in_quote: the fee at the fill's price (quote).
        base: flow of base, fee included; positive for a buy.
        quote: flow of quote, fee included; negative for a buy.
    """

    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_coin: str
    fee_in_quote: Decimal
    base: Decimal
    quote: Decimal


@dataclass(frozen=True)
class Account:
    """Books after some fills; see `gridbot.core.books.Books` for the words.

    Attributes:
        base: base that the grid holds.
        quote: what is left of the investment, with what sells brought (quote).
        buys: filled buys, without the initial purchase.
        sells: filled sells; each completes a pair.
        grid_profit: what matched pairs earned (quote).
        held_cost: what the base held has cost (quote).
        fees_in_quote: all fees, the initial purchase's too, each at its fill's price (quote).
    """

    base: Decimal
    quote: Decimal
    buys: int
    sells: int
    grid_profit: Decimal
    held_cost: Decimal
    fees_in_quote: Decimal

    def equity(self, price: Decimal) -> Decimal:
        """Quote left plus base held at `price` (quote)."""
        return add(self.quote, EXACT.multiply(self.base, price))

    def unrealised_profit(self, price: Decimal) -> Decimal:
        """What the base held is worth at `price` more than it has cost (quote)."""
        return EXACT.subtract(EXACT.multiply(self.base, price), self.held_cost)


class Tariff:
    """What the fills of one plan move.

    Args:
        plan: the grid.
        market: the exchange's rules.
        fees: what a trade costs.
        fee_unit: every fee is rounded up to a multiple of it, as an exchange does that books so
            many decimals; None leaves fees as they are.

    Attributes:
        initial: the initial purchase; None where the grid starts without a sell.
    """

    def __init__(
        self,
        plan: Plan,
        market: Market,
        fees: Fees,
        fee_unit: Decimal | None = None,
    ) -> None:
        self.plan = plan
        self.initial: Move | None = None
        self._market = market
        self._fees = fees
        self._fee_unit = fee_unit
        self._moves: dict[tuple[Kind, int], Move] = {}
        brought = self._move(Side.BUY, plan.lines[0], plan.quantity).base
        self._sold = {Kind.SELL: sell_quantity(brought, market.lot_size)}
        if plan.sell_lines:
            self.initial = self._move(Side.BUY, plan.start_price, plan.initial_quantity)
            share = EXACT.divide(self.initial.base, Decimal(len(plan.sell_lines)))
            self._sold[Kind.INITIAL_SELL] = sell_quantity(share, market.lot_size)

    def move(self, kind: Kind, line: int) -> Move:
        """What a fill of this kind on this line moves."""
        if (kind, line) not in self._moves:
            side, quantity = Side.SELL, self._sold.get(kind, self.plan.quantity)
            if kind is Kind.BUY:
                side = Side.BUY
            self._moves[kind, line] = self._move(side, self.plan.lines[line], quantity)
        return self._moves[kind, line]

    def _move(self, side: Side, price: Decimal, quantity: Decimal) -> Move:
        value = EXACT.multiply(quantity, price)
        in_base = side is Side.BUY and self._fees.taken_in is FeesIn.RECEIVED
        fee = EXACT.multiply(quantity if in_base else value, self._fees.rate)
        if self._fee_unit is not None:
            fee = fee.quantize(self._fee_unit, ROUND_UP, EXACT)
        sign = Decimal(1 if side is Side.BUY else -1)
        base, quote = EXACT.multiply(sign, quantity), EXACT.multiply(-sign, value)
        return Move(
            side=side,
            price=price,
            quantity=quantity,
            fee=fee,
            fee_coin=self._market.base if in_base else self._market.quote,
            fee_in_quote=EXACT.multiply(fee, price) if in_base else fee,
            base=EXACT.subtract(base, fee) if in_base else base,
            quote=quote if in_base else EXACT.subtract(quote, fee),
        )

    def initial_share(self, line: int) -> Decimal:
        """What the initial sell on a line cost, fee included (quote)."""
        if self.initial is None:
            raise ValueError(f"no initial sell on line {line}")
        sells = self.plan.sell_lines
        return share_of(-self.initial.quote, len(sells), line - sells.start)

    def account(self, counts: Sequence[Sequence[int]]) -> Account:
        """The books after some fills.

        Args:
            counts: `counts[kind][line]`, how often each has happened.
        """
        base, quote, fees, held = ZERO, self.plan.investment, ZERO, ZERO
        if self.initial is not None:
            base, fees = self.initial.base, self.initial.fee_in_quote
            quote, held = add(quote, self.initial.quote), -self.initial.quote
        profit = ZERO
        for kind in Kind:
            for line, count in enumerate(counts[kind]):
                if not count:
                    continue
                move, times = self.move(kind, line), Decimal(count)
                flow = EXACT.multiply(move.quote, times)
                base = add(base, EXACT.multiply(move.base, times))
                quote = add(quote, flow)
                fees = add(fees, EXACT.multiply(move.fee_in_quote, times))
                if kind is Kind.BUY:
                    held = EXACT.subtract(held, flow)
                    continue
                cost = EXACT.multiply(self._cost(kind, line), times)
                held = EXACT.subtract(held, cost)
                profit = add(profit, EXACT.subtract(flow, cost))
        return Account(
            base=base,
            quote=quote,
            buys=sum(counts[Kind.BUY]),
            sells=sum(counts[Kind.SELL]) + sum(counts[Kind.INITIAL_SELL]),
            grid_profit=profit,
            held_cost=held,
            fees_in_quote=fees,
        )

    def _cost(self, kind: Kind, line: int) -> Decimal:
        """What was paid for what a sell on this line sells (quote)."""
        if kind is Kind.INITIAL_SELL:
            return self.initial_share(line)
        return -self.move(Kind.BUY, line - 1).quote
