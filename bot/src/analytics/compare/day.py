"""One symbol of a bot over a stretch of time: every grid of it, explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from gridbase.candles.price_units import from_units
from gridbase.market import EXACT
from gridbot.core.grid import Fees
from gridbot.core.orders import Role, Side
from gridbot.store import GridRun, Store

from analytics.compare.books import FOREVER, Stretch, Traded, halts, pauses, traded
from analytics.compare.expected import Begin, expect, fresh
from analytics.compare.match import done_step, pair
from analytics.compare.prices import Prices
from analytics.compare.reasons import Difference, Reasons
from analytics.compare.steps import ZERO, Leg, Step, Why, worth


@dataclass(frozen=True)
class Total:
    """What one of both came to.

    Attributes:
        buys: steps of the grid that bought.
        sells: steps of the grid that sold.
        result: change of equity at the last price by all steps (quote).
    """

    buys: int
    sells: int
    result: Decimal


@dataclass(frozen=True)
class Comparison:
    """One grid in a stretch of time.

    Attributes:
        run: the grid.
        stretch: from when to when.
        last_price: what steps are valued at (quote).
        differences: every step of both, each once.
    """

    run: GridRun
    stretch: Stretch
    last_price: Decimal
    differences: list[Difference]

    def side(self, *, done: bool) -> Total:
        """What the bot came to, or else the backtest."""
        steps: list[Step] = []
        for each in self.differences:
            pairing = each.pairing
            if done and pairing.done is not None:
                steps.append(done_step(pairing.done))
            if not done and pairing.expected is not None:
                steps.append(pairing.expected.step)
        grid = [step.side for step in steps if step.role is Role.GRID]
        result = ZERO
        market = self.run.market
        for step in steps:
            value = worth(step, self.last_price, market.base, market.quote)
            result = EXACT.add(result, value.total)
        return Total(grid.count(Side.BUY), grid.count(Side.SELL), result)

    def classes(self) -> dict[Why, tuple[int, Decimal]]:
        """Steps and money of each reason; the money adds up to what both differ by."""
        found: dict[Why, tuple[int, Decimal]] = {}
        for each in self.differences:
            count, money = found.get(each.why, (0, ZERO))
            found[each.why] = (count + 1, money)
            for why, amount in each.parts.items():
                count, money = found.get(why, (0, ZERO))
                found[why] = (count, EXACT.add(money, amount))
        return {why: found[why] for why in Why if why in found}


def compare_symbol(
    store: Store, symbol: str, prices: Prices, fees: Fees, stretch: Stretch
) -> list[Comparison]:
    """Compare all grids of a symbol that ran in a stretch of time.

    Args:
        store: the books, opened for reading.
        symbol: unified name.
        prices: recorded ones of that time.
        fees: what a trade is expected to cost.
        stretch: of time, its end exclusive.

    Raises:
        StoreError: the books cannot be read.
    """
    with store.transaction("DEFERRED"):
        runs = list(store.grid_runs(symbol))
        stops = pauses(store, symbol), halts(store, symbol)
        found = []
        for number, run in enumerate(runs):
            following = runs[number + 1].started_ms if number + 1 < len(runs) else FOREVER
            until = min(stretch.to_ms, _ends(run, stops[1], following))
            if until <= stretch.from_ms or run.started_ms >= stretch.to_ms:
                continue
            grid = traded(store, run)
            own = Stretch(max(stretch.from_ms, grid.start_ms), until)
            if own.from_ms < until:  # else it was planned, and nothing more
                found.append(_compare(grid, prices, fees, own, stops))
    return found


def _ends(run: GridRun, held: Sequence[Stretch], following: int) -> int:
    """Until when a backtest of a grid goes on: a kill switch is the bot's, not its."""
    if run.closed_ms is None:
        return following
    killed = any(each.meets(run.closed_ms, run.closed_ms) for each in held)
    return following if killed else run.closed_ms + 1


def _compare(
    grid: Traded,
    prices: Prices,
    fees: Fees,
    stretch: Stretch,
    stops: tuple[Sequence[Stretch], Sequence[Stretch]],
) -> Comparison:
    run, market = grid.run, grid.run.market
    fresh_one = grid.start_ms >= stretch.from_ms
    begin = (
        fresh(run.plan, market, fees, run.carried, stretch.from_ms)
        if fresh_one
        else _state(grid, stretch.from_ms)
    )
    rows = prices.between(stretch.from_ms, stretch.to_ms)
    last_price = run.plan.start_price if rows is None else from_units(int(rows.closes[-1]))
    expected = expect(rows, run.plan, market, fees, begin)
    done = [leg for leg in grid.legs if _counts(leg, run, stretch, fresh=fresh_one)]
    reasons = Reasons(
        grid, prices, fees, last_price, end_ms=stretch.to_ms, pauses=stops[0], halts=stops[1]
    )
    return Comparison(run, stretch, last_price, reasons.explain(pair(expected, done)))


def _counts(leg: Leg, run: GridRun, stretch: Stretch, *, fresh: bool) -> bool:
    """Whether a step counts in a stretch: that of its last trade."""
    if leg.step is None or not (leg.complete or run.closed_ms is not None):
        return False
    if leg.step.time_ms >= stretch.to_ms and (run.closed_ms or FOREVER) >= stretch.to_ms:
        return False
    return fresh or leg.step.time_ms >= stretch.from_ms


def _state(grid: Traded, time_ms: int) -> Begin:
    """What a grid that ran before was to have at a time."""
    empty = grid.run.plan.empty_line
    resting = {}
    for leg in grid.legs:
        if leg.role is not Role.GRID or leg.created_ms >= time_ms:
            continue
        if leg.complete and done_step(leg).time_ms < time_ms:
            empty += 1 if leg.side is Side.SELL else -1
        else:
            resting[leg.line] = leg.quantity
    return Begin(time_ms, empty, resting)
