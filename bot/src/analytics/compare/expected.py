"""What a backtest of recorded prices expects of a grid, from the state that it began with. Pure.

A stretch begins with the orders that a plan places, or, for a grid that has run before, with those
that its bot was to have then. From there on the walk of docs/backtest.md decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from gridbase.candles.price_units import PRICE_DECIMALS
from gridbase.market import EXACT, Market, floor_to_lot
from gridbot.backtest.crossings import find_crossings
from gridbot.backtest.data import Candles, Columns
from gridbot.core.grid import Fees, FeesIn, Plan, brought_by, sell_quantity
from gridbot.core.orders import Role, Side

from analytics.compare.steps import ZERO, Step


@dataclass(frozen=True)
class Begin:
    """The state that a stretch begins with.

    Attributes:
        time_ms: Unix milliseconds.
        empty_line: index of the line without an order.
        resting: quantities of the orders of lines, by line (base).
        initial: the purchase or sale that begins the grid; None where there is none.
    """

    time_ms: int
    empty_line: int
    resting: Mapping[int, Decimal]
    initial: Step | None = None


@dataclass(frozen=True)
class Expected:
    """A step that the backtest took.

    Attributes:
        step: the step.
        at_once: the price was beyond its line when the stretch began.
    """

    step: Step
    at_once: bool = False


def fresh(plan: Plan, market: Market, fees: Fees, carried: Decimal, time_ms: int) -> Begin:
    """A grid that begins now.

    Args:
        plan: the grid.
        market: the exchange's rules.
        fees: what a trade costs.
        carried: base of the grid before (base).
        time_ms: Unix milliseconds.
    """
    missing = EXACT.subtract(plan.initial_quantity, carried)
    side = Side.BUY if missing > 0 else Side.SELL
    quantity = floor_to_lot(abs(missing), market.lot_size)
    initial = None
    held = carried
    if quantity:
        place = (plan.empty_line, side, Role.INITIAL)
        initial = _step(time_ms, place, plan.start_price, quantity, (market, fees))
        brought = brought_by(quantity, fees) if side is Side.BUY else -quantity
        held = EXACT.add(held, brought)
    resting = dict.fromkeys(plan.buy_lines, plan.quantity)
    sells = plan.sell_lines
    if sells:
        share = sell_quantity(EXACT.divide(held, Decimal(len(sells))), market.lot_size)
        resting |= dict.fromkeys(sells, share)
    return Begin(time_ms, plan.empty_line, resting, initial)


def expect(
    candles: Candles | None, plan: Plan, market: Market, fees: Fees, begin: Begin
) -> list[Expected]:
    """Every step of a grid on recorded prices, in their order.

    Args:
        candles: the prices from the beginning on; None for none.
        plan: the grid.
        market: the exchange's rules.
        fees: what a trade costs.
        begin: what it begins with.
    """
    found = [] if begin.initial is None else [Expected(begin.initial)]
    if candles is None:
        return found
    crossings = find_crossings(_from_empty(candles, plan, begin), plan.lines, begin.empty_line)
    resting = dict(begin.resting)
    sold = sell_quantity(brought_by(plan.quantity, fees), market.lot_size)
    rows = zip(
        crossings.candle.tolist(), crossings.line.tolist(), crossings.sell.tolist(), strict=True
    )
    for candle, line, sell in rows:
        side = Side.SELL if sell else Side.BUY
        quantity = resting.pop(line, sold if sell else plan.quantity)
        time_ms = int(candles.times[max(0, candle - 1)])
        place = (line, side, Role.GRID)
        step = _step(time_ms, place, plan.lines[line], quantity, (market, fees))
        found.append(Expected(step, at_once=candle <= 1 and begin.initial is None))
        if sell:
            resting[line - 1] = plan.quantity
        else:
            resting[line + 1] = sell_quantity(brought_by(quantity, fees), market.lot_size)
    return found


def _from_empty(candles: Candles, plan: Plan, begin: Begin) -> Candles:
    """The prices, after one that stands at the empty line: orders passed meanwhile fill at once."""
    price = int(plan.lines[begin.empty_line].scaleb(PRICE_DECIMALS))
    times, *prices = candles.columns
    ahead = [np.concatenate(([begin.time_ms], times))]
    ahead += [np.concatenate(([price], column)) for column in prices]
    return Candles(candles.name, Columns(*ahead), interval_ms=candles.interval_ms)


def _step(
    time_ms: int,
    place: tuple[int, Side, Role],
    price: Decimal,
    quantity: Decimal,
    costs: tuple[Market, Fees],
) -> Step:
    """A step that trades whole at a price."""
    market, fees = costs
    line, side, role = place
    quote = EXACT.multiply(quantity, price)
    in_base = side is Side.BUY and fees.taken_in is FeesIn.RECEIVED
    fee = EXACT.multiply(quantity if in_base else quote, fees.rate)
    coin = market.base if in_base else market.quote
    paid = {coin: fee} if fee != ZERO else {}
    return Step(time_ms, line, side, role, quantity, quote, paid)
