"""What matching does to the account: coins move, and every change is noted. Pure."""

from dataclasses import dataclass, field
from decimal import Decimal

from gridexchange.matching.amounts import ZERO, add, commission_on, multiply, subtract
from gridexchange.matching.orders import (
    BUY,
    EXPIRED_IN_MATCH,
    FILLED,
    NEW,
    PARTIALLY_FILLED,
    SELL,
    TRADE,
    TRADE_PREVENTION,
    Balance,
    Order,
    Prevention,
    Report,
    Trade,
)
from gridexchange.matching.rules import BNB, QUOTE, Rules


@dataclass
class Changes:
    """What one or several operations changed, to be stored together."""

    orders: dict[int, Order] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    assets: set[str] = field(default_factory=set)
    reports: list[Report] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.orders or self.trades or self.assets)


class Ledger:
    """The account's coins, and what has happened to them and to its orders.

    Args:
        rules: what trades cost.
        balances: coins by name; the ledger keeps and changes this mapping.
        next_trade_id: number of the next trade.
        next_match_id: number of the next match that self-trade prevention forbids.

    Attributes:
        changes: what changed since somebody took it.
    """

    def __init__(
        self, rules: Rules, balances: dict[str, Balance], next_trade_id: int, next_match_id: int
    ) -> None:
        self.balances = balances
        self.next_trade_id = next_trade_id
        self.changes = Changes()
        self._rules = rules
        self._next_match_id = next_match_id
        for coin in rules.coins:
            balances.setdefault(coin, Balance())

    def learn(self, rules: Rules) -> None:
        """Go on with other rules."""
        self._rules = rules
        for coin in rules.coins:
            self.balances.setdefault(coin, Balance())

    def accept(self, order: Order) -> None:
        """Lock what a new order needs."""
        balance = self.balances[self.coin_spent(order.side)]
        balance.free = subtract(balance.free, order.locked)
        balance.locked = add(balance.locked, order.locked)
        self._touch(order)
        self.report(NEW, order)

    def next_match(self) -> int:
        """A number for a match that does not happen."""
        self._next_match_id += 1
        return self._next_match_id - 1

    def execute(
        self, order: Order, quantity: Decimal, price: Decimal, time_ms: int, *, is_maker: bool
    ) -> None:
        """Trade some of an order: move the coins, keep the commission.

        Args:
            order: which.
            quantity: how much (base).
            price: at which price (quote).
            time_ms: when.
            is_maker: whether the order was resting.
        """
        market = self._rules.market
        notional = multiply(price, quantity)
        is_buy = order.side == BUY
        order.executed = add(order.executed, quantity)
        order.executed_quote = add(order.executed_quote, notional)
        self._spend(order, notional if is_buy else quantity)
        balance = self.balances[market.base if is_buy else market.quote]
        balance.free = add(balance.free, quantity if is_buy else notional)
        bnb = self.balances[BNB].free if BNB in self._rules.coins else ZERO
        commission, coin = self._rules.commission(order.side, quantity, notional, bnb)
        if is_buy and self._rules.fee_in == QUOTE:
            self._spend(order, commission)
        else:
            self.balances[coin].free = subtract(self.balances[coin].free, commission)
        trade = Trade(
            trade_id=self.next_trade_id,
            order_id=order.order_id,
            price=price,
            quantity=quantity,
            quote_quantity=notional,
            commission=commission,
            commission_asset=coin,
            time_ms=time_ms,
            is_buyer=is_buy,
            is_maker=is_maker,
        )
        self.changes.trades.append(trade)
        self.next_trade_id += 1
        if order.remaining == 0:
            self.finish(order, FILLED, time_ms)
        else:
            order.status, order.updated_ms = PARTIALLY_FILLED, time_ms
            self._touch(order)
        self.report(TRADE, order, trade=trade)

    def _spend(self, order: Order, spent: Decimal) -> None:
        """Take what a trade costs out of what the order has locked."""
        balance = self.balances[self.coin_spent(order.side)]
        order.locked = subtract(order.locked, spent)
        balance.locked = subtract(balance.locked, spent)

    def finish(self, order: Order, status: str, time_ms: int) -> None:
        """Close an order and give back what it still holds."""
        self._release(order, order.locked)
        order.parts = 0
        order.status, order.updated_ms = status, time_ms
        self._touch(order)

    def _release(self, order: Order, amount: Decimal) -> None:
        """Give back some of what an order has locked."""
        balance = self.balances[self.coin_spent(order.side)]
        order.locked = subtract(order.locked, amount)
        balance.locked = subtract(balance.locked, amount)
        balance.free = add(balance.free, amount)

    def _touch(self, order: Order) -> None:
        self.changes.orders[order.order_id] = order
        self.changes.assets.update(self._rules.coins)

    def report(
        self,
        kind: str,
        order: Order,
        *,
        trade: Trade | None = None,
        cancel_id: str = "",
        prevention: Prevention | None = None,
    ) -> None:
        """Note what has happened to an order; see `Report`."""
        balances = {
            coin: (self.balances[coin].free, self.balances[coin].locked)
            for coin in self._rules.coins
        }
        then = Order(**vars(order))
        self.changes.reports.append(Report(kind, then, trade, cancel_id, balances, prevention))

    def prevent(self, order: Order, prevention: Prevention, time_ms: int) -> None:
        """Take something off an order that would have traded with its own account."""
        order.prevented = add(order.prevented, prevention.quantity)
        order.prevented_match_id = prevention.match_id
        if order.remaining == 0:
            self.finish(order, EXPIRED_IN_MATCH, time_ms)
        else:
            self.trim(order)
            order.updated_ms = time_ms
            self._touch(order)
        self.report(TRADE_PREVENTION, order, prevention=prevention)

    def trim(self, order: Order) -> None:
        """Give back what an order holds beyond the need of what remains of it."""
        if order.price:  # a MARKET order ends before anybody sees what it locks
            kept = self.needed(order.side, order.price, order.remaining)
            self._release(order, max(ZERO, subtract(order.locked, kept)))

    def needed(self, side: str, price: Decimal, quantity: Decimal) -> Decimal:
        """What an order holds back: base for a sell, quote (with a quote fee) for a buy."""
        if side == SELL:
            return quantity
        notional = multiply(price, quantity)
        if self._rules.fee_in == QUOTE:
            return add(notional, commission_on(notional, self._rules.fee_rate))
        return notional

    def coin_spent(self, side: str) -> str:
        """The coin that an order gives."""
        return self._rules.market.quote if side == BUY else self._rules.market.base
