"""The real `GridEngine`, told of each fill that a walk through candles brings."""

import itertools
from decimal import Decimal

from gridbase.market import EXACT
from gridbot.core.engine import Changes, GridEngine
from gridbot.core.grid import Fees, FeesIn, make_plan
from gridbot.core.orders import Fill, Order, OrderState, Role, Side

from .conftest import Case


class EngineLoop:
    def __init__(self, case: Case, start: Decimal) -> None:
        plan = make_plan(case.spec, case.market, case.fees, start)
        self.fees: Fees = case.fees
        self.engine = GridEngine(
            bot_name="pi1",
            tag="abc123",
            market=case.market,
            plan=plan,
            investment=case.investment,
        )
        self.fills: list[tuple] = []
        self._numbers = itertools.count(1)
        self._resting: dict[Side, dict[Decimal, Order]] = {Side.BUY: {}, Side.SELL: {}}
        changes = Changes(0)
        self.engine.begin(changes)
        self._accept(changes)
        for order in list(self.engine.live.values()):
            if order.role is Role.INITIAL:
                self._fill(order, 0)

    def _accept(self, changes: Changes) -> None:
        for order in changes.orders:
            self.engine.accept(Changes(0), order.client_id, str(next(self._numbers)))
            if order.role is Role.GRID:
                prices = self._resting[order.side]
                assert order.price not in prices
                prices[order.price] = order

    def _fill(self, order: Order, time_ms: int) -> None:
        buying = order.side is Side.BUY
        quote = EXACT.multiply(order.quantity, order.price)
        in_base = buying and self.fees.taken_in is FeesIn.RECEIVED
        commission = EXACT.multiply(order.quantity if in_base else quote, self.fees.rate)
        coin = "base" if in_base else "quote"
        assert self.engine.live[order.client_id].state is OrderState.OPEN
        fill = Fill(
            trade_id=str(next(self._numbers)),
            client_id=order.client_id,
            side=order.side,
            price=order.price,
            quantity=order.quantity,
            quote=quote,
            commission=commission,
            commission_coin=coin,
            time_ms=time_ms,
            maker=order.role is Role.GRID,
        )
        if order.role is Role.GRID:
            del self._resting[order.side][order.price]
            row = (time_ms, str(order.side), order.price, order.quantity, commission, coin)
            self.fills.append(row)
        changes = Changes(time_ms)
        self.engine.record_fill(changes, fill)
        self._accept(changes)

    def walk(self, rows: list) -> None:
        price = rows[0][1]
        for time, opening, high, low, close in rows:
            turns = (low, high) if close >= opening else (high, low)
            for target in (opening, *turns, close):
                self._leg(price, target, time)
                price = target

    def _leg(self, price: Decimal, target: Decimal, time_ms: int) -> None:
        if target < price:
            buys = self._resting[Side.BUY]
            while buys and (highest := max(buys)) >= target:
                self._fill(buys[highest], time_ms)
        elif target > price:
            sells = self._resting[Side.SELL]
            while sells and (lowest := min(sells)) <= target:
                self._fill(sells[lowest], time_ms)
