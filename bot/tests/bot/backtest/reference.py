"""A plain, slow grid: a dictionary of orders, walked leg by leg. Knows nothing of the package.

Written from the conventions alone (docs/backtest.md): what it says and what `gridbot backtest` says
are two opinions.
"""

from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal, localcontext


@dataclass
class Order:
    side: str
    quantity: Decimal
    cost: Decimal | None = None  # of what a sell sells


@dataclass
class Outcome:
    lines: list
    quantity: Decimal
    initial_base: Decimal = Decimal(0)
    initial_cost: Decimal = Decimal(0)
    fills: list = field(default_factory=list)  # time, side, price, quantity, fee, fee coin
    fill_candles: list = field(default_factory=list)
    base: Decimal = Decimal(0)
    quote: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    grid_profit: Decimal = Decimal(0)
    held_cost: Decimal = Decimal(0)
    drawdown: Decimal = Decimal(0)
    drawdown_quote: Decimal = Decimal(0)


def grid_lines(lower, upper, grids, spacing, tick):
    lines = []
    for i in range(grids + 1):
        if spacing == "arithmetic":
            price = lower + i * (upper - lower) / grids
        else:
            price = lower * (upper / lower) ** (Decimal(i) / grids)
            price = price.quantize(Decimal("1E-40"))  # the root's noise
        lines.append((price / tick).quantize(Decimal(1), ROUND_HALF_UP) * tick)
    lines[0] = (lower / tick).quantize(Decimal(1), ROUND_HALF_UP) * tick
    lines[-1] = (upper / tick).quantize(Decimal(1), ROUND_HALF_UP) * tick
    return lines


def floor_to(value, step):
    return (value / step).quantize(Decimal(1), ROUND_FLOOR) * step


class Grid:
    """One grid and its books. `fee_in` is `received` or `quote`."""

    def __init__(self, price, lines, *, investment, fee, fee_in, lot):
        self.fee, self.fee_in, self.lot, self.lines = fee, fee_in, lot, lines
        empty = min(range(len(lines)), key=lambda i: (abs(lines[i] - price), i))
        buys, sells = list(range(empty)), list(range(empty + 1, len(lines)))
        each = sum((lines[i] for i in buys), Decimal(0)) + len(sells) * price
        if fee_in == "quote":
            each *= 1 + fee
        quantity = floor_to(investment / each, lot)
        self.now = Outcome(lines, quantity, quote=investment)
        self.peak = investment
        self.orders = {i: Order("buy", quantity) for i in buys}
        if sells:
            amount = quantity * len(sells)
            brought, cost, _ = self.buy(amount, price)
            self.now.initial_base, self.now.initial_cost = brought, cost
            self.now.held_cost = cost
            for i in sells:
                share = floor_to(brought / len(sells), lot)
                self.orders[i] = Order("sell", share, cost / len(sells))

    def buy(self, quantity, price):
        if self.fee_in == "received":
            fee = quantity * self.fee
            brought, cost, coin, in_quote = quantity - fee, quantity * price, "base", fee * price
        else:
            fee = quantity * price * self.fee
            brought, cost, coin, in_quote = quantity, quantity * price + fee, "quote", fee
        self.now.base += brought
        self.now.quote -= cost
        self.now.fees += in_quote
        return brought, cost, (fee, coin)

    def sell(self, quantity, price):
        fee = quantity * price * self.fee
        self.now.base -= quantity
        self.now.quote += quantity * price - fee
        self.now.fees += fee
        return quantity * price - fee, (fee, "quote")

    def mark(self, price):
        """Equity at this price, for the drawdown."""
        equity = self.now.quote + self.now.base * price
        self.peak = max(self.peak, equity)
        self.now.drawdown = max(self.now.drawdown, (self.peak - equity) / self.peak)
        self.now.drawdown_quote = max(self.now.drawdown_quote, self.peak - equity)

    def fill(self, line, time, candle):
        order = self.orders.pop(line)
        price = self.lines[line]
        if order.side == "buy":
            brought, cost, paid = self.buy(order.quantity, price)
            self.now.held_cost += cost
            assert line + 1 not in self.orders
            self.orders[line + 1] = Order("sell", floor_to(brought, self.lot), cost)
        else:
            proceeds, paid = self.sell(order.quantity, price)
            self.now.grid_profit += proceeds - order.cost
            self.now.held_cost -= order.cost
            assert line - 1 not in self.orders
            self.orders[line - 1] = Order("buy", self.now.quantity)
        self.now.fills.append((time, order.side, price, order.quantity, *paid))
        self.now.fill_candles.append(candle)
        self.mark(price)


def run(candles, *, lower, upper, grids, spacing, investment, fee, fee_in, tick, lot):
    """Walk through `candles`, rows of time, open, high, low and close."""
    with localcontext(prec=80):
        lines = grid_lines(lower, upper, grids, spacing, tick)
        price = candles[0][1]
        grid = Grid(price, lines, investment=investment, fee=fee, fee_in=fee_in, lot=lot)
        for number, (time, opening, high, low, close) in enumerate(candles):
            turns = (low, high) if close >= opening else (high, low)
            for target in (opening, *turns, close):
                if target != price:
                    walk_leg(grid, price, target, time, number)
                price = target
            grid.mark(close)
        return grid.now


def walk_leg(grid, price, target, time, number):
    """From `price` to `target`: fill what is met, in that order, new orders too."""
    while True:
        if target < price:
            met = [i for i, o in grid.orders.items() if o.side == "buy" and grid.lines[i] >= target]
            met.sort(reverse=True)
        else:
            met = [
                i for i, o in grid.orders.items() if o.side == "sell" and grid.lines[i] <= target
            ]
            met.sort()
        if not met:
            return
        grid.fill(met[0], time, number)
