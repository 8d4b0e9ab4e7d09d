"""The search: which grids are tried, and what one trial finds.

The space is finite: every value of every dimension is listed. A grid search tries all of it, a
random search a sample without repetition, drawn by a seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from gridbase.candles.price_units import from_units
from gridbase.errors import UserError
from gridbase.market import EXACT, Market, round_to_tick

from gridbot.backtest.data import Candles
from gridbot.backtest.run import run_backtest
from gridbot.core.grid import Fees, GridSpec, Spacing

HUNDRED = Decimal(100)


class Goal(StrEnum):
    """What makes one trial better than another."""

    PROFIT = "profit"
    GRID_PROFIT = "grid_profit"
    PROFIT_PER_DRAWDOWN = "profit_per_drawdown"


@dataclass(frozen=True)
class Terms:
    """What is the same in every trial.

    Attributes:
        market: the exchange's rules.
        fees: what a trade costs.
        investment: what the grid may spend (quote).
    """

    market: Market
    fees: Fees
    investment: Decimal


@dataclass(frozen=True)
class Combination:
    """One grid to try: either `width`, or `lower` and `upper`, is given.

    Attributes:
        grids: number of intervals.
        spacing: how the lines divide the range.
        width: how far the range reaches from the start price to each side (percent).
        lower: price of the lowest line (quote).
        upper: price of the highest line (quote).
    """

    grids: int
    spacing: Spacing
    width: Decimal | None = None
    lower: Decimal | None = None
    upper: Decimal | None = None

    def range_at(self, price: Decimal, tick_size: Decimal) -> tuple[Decimal, Decimal]:
        """The range for a start price (all in quote)."""
        if self.lower is not None and self.upper is not None:
            return self.lower, self.upper
        reach = EXACT.multiply(price, EXACT.divide(self.width or HUNDRED, HUNDRED))
        lower, upper = EXACT.subtract(price, reach), EXACT.add(price, reach)
        return round_to_tick(lower, tick_size), round_to_tick(upper, tick_size)


@dataclass(frozen=True)
class Space:
    """All combinations of some values: either `widths`, or `lowers` and `uppers`, has some."""

    grids: tuple[int, ...]
    spacings: tuple[Spacing, ...]
    widths: tuple[Decimal, ...] = ()
    lowers: tuple[Decimal, ...] = ()
    uppers: tuple[Decimal, ...] = ()

    @property
    def _dimensions(self) -> tuple[Sequence[object], ...]:
        ranges = (self.widths,) if self.widths else (self.lowers, self.uppers)
        return (*ranges, self.spacings, self.grids)

    def __len__(self) -> int:
        return math.prod(len(values) for values in self._dimensions)

    def __getitem__(self, number: int) -> Combination:
        """Combination `number`, counted with the number of grids running fastest."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        number, grids = divmod(number, len(self.grids))
        number, spacing = divmod(number, len(self.spacings))
        chosen = (self.grids[grids], self.spacings[spacing])
        if self.widths:
            return Combination(*chosen, width=self.widths[number])
        lower, upper = divmod(number, len(self.uppers))
        return Combination(*chosen, lower=self.lowers[lower], upper=self.uppers[upper])

    def sample(self, count: int, seed: int) -> list[Combination]:
        """`count` different combinations, or all where there are no more; the same for a seed."""
        size = len(self)
        if count >= size:
            return [self[number] for number in range(size)]
        numbers = random.Random(seed).sample(range(size), count)  # noqa: S311 - a search, no secret
        return [self[number] for number in sorted(numbers)]


@dataclass(frozen=True)
class Outcome:
    """What a grid did on a market; see `gridbot.backtest.tariff.Account` for the words."""

    buys: int
    sells: int
    grid_profit: Decimal
    profit: Decimal
    fees: Decimal
    drawdown: Decimal
    drawdown_quote: Decimal

    def score(self, goal: Goal) -> Decimal:
        """How good it is; more is better."""
        if goal is Goal.PROFIT:
            return self.profit
        if goal is Goal.GRID_PROFIT:
            return self.grid_profit
        if self.drawdown_quote == 0:
            return Decimal("Infinity") if self.profit > 0 else Decimal(0)
        return EXACT.divide(self.profit, self.drawdown_quote)


@dataclass(frozen=True)
class Trial:
    """One combination on one market.

    Attributes:
        combination: what was tried.
        lower: price of the lowest line (quote).
        upper: price of the highest line (quote).
        outcome: what it did; None where no such grid can be placed.
        refusal: why it cannot; empty where it can.
    """

    combination: Combination
    lower: Decimal
    upper: Decimal
    outcome: Outcome | None
    refusal: str = ""


def run_trial(candles: Candles, combination: Combination, terms: Terms) -> Trial:
    """Try one combination from the first candle's open on."""
    price = from_units(int(candles.opens[0]))
    lower, upper = combination.range_at(price, terms.market.tick_size)
    if lower >= upper:
        return Trial(combination, lower, upper, None, "grid.lower is not below grid.upper")
    spec = GridSpec(lower, upper, combination.grids, combination.spacing, terms.investment)
    try:
        result = run_backtest(candles, spec, terms.market, terms.fees)
    except UserError as error:
        return Trial(combination, lower, upper, None, str(error))
    account = result.account
    outcome = Outcome(
        buys=account.buys,
        sells=account.sells,
        grid_profit=account.grid_profit,
        profit=EXACT.subtract(result.equity, terms.investment),
        fees=account.fees_in_quote,
        drawdown=result.drawdown.share,
        drawdown_quote=result.drawdown.quote,
    )
    return Trial(combination, lower, upper, outcome)


def ranked(trials: Sequence[Trial], goal: Goal) -> list[tuple[Trial, Outcome]]:
    """The trials that could be run, best first; of equal ones, the one tried first."""
    done = [(trial, trial.outcome) for trial in trials if trial.outcome is not None]
    return sorted(done, key=lambda pair: -pair[1].score(goal))
