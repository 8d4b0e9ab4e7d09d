"""Proposes a grid from recorded candles, and says what it would have earned there."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path

import numpy as np
from gridbase.candles.price_units import PRICE_DECIMALS, from_units
from gridbase.errors import UserError
from gridbase.market import Market, coins_of, plain
from gridbot.backtest.data import Candles, read_candles
from gridbot.backtest.result import Result
from gridbot.backtest.run import run_backtest
from gridbot.backtest.times import iso
from gridbot.core.grid import Fees, GridSpec, Spacing
from gridexchange.opening import fitting_rules

from fleet.new_inventory.answers import Grid

DAY_MS = 86_400_000
DAYS = 90
# The range leaves out the lowest and the highest twentieth of prices ...
QUANTILE = 0.05
# ... and reaches so far to each side of the last price, where it would not.
REACH = Decimal("0.05")
# A pair earns its step less two fees; at 1 % fees of 0.1 % take a fifth.
STEP = Decimal("0.01")
FEE_RATE = Decimal("0.001")
FEWEST, MOST = 2, 100
LARGEST_UNITS = 2**63 - 1


def last_days(candles: Candles, days: int = DAYS) -> Candles:
    """Return the latest candles.

    Args:
        candles: All.
        days: How many days of them.
    """
    first = np.searchsorted(candles.times, candles.times[-1] - days * DAY_MS)
    return candles.window(int(first), len(candles))


def market_of(symbol: str, price: Decimal) -> Market:
    """Return the practice exchange's rules of a market.

    Args:
        symbol: The market.
        price: Of its coin (quote).
    """
    base, quote = coins_of(symbol)
    rules = fitting_rules(price)
    nothing = Decimal(0)
    return Market(symbol, base, quote, rules.tick_size, rules.lot_size, nothing, nothing)


def propose_range(candles: Candles) -> Grid:
    """Return a range in which most prices were, with the last one inside, in steps of about 1 %.

    Args:
        candles: The market.

    Raises:
        UserError: Its price is too low for a grid.
    """
    last = from_units(int(candles.closes[-1]))
    low = from_units(int(np.quantile(candles.lows, QUANTILE)))
    high = from_units(int(np.quantile(candles.highs, 1 - QUANTILE)))
    low, high = min(low, last * (1 - REACH)), max(high, last * (1 + REACH))
    tick = fitting_rules(last).tick_size
    step = max(tick, Decimal(1).scaleb(last.adjusted() - 2))
    lower = (low / step).to_integral_value(ROUND_FLOOR) * step
    upper = (high / step).to_integral_value(ROUND_CEILING) * step
    grids = min(int((upper - lower) / (last * STEP)), int((upper - lower) / tick), MOST)
    if lower <= 0 or grids < FEWEST:
        raise UserError(f"no grid fits a price of {plain(last)}: exchanges print prices in steps of"
                        f" {plain(tick)}; use a coin with a higher price")  # fmt: skip
    return Grid(lower, upper, grids)


def backtest(candles: Candles, symbol: str, budget: Decimal, grid: Grid) -> Result:
    """Return what a grid would have done.

    Args:
        candles: The market.
        symbol: Its name.
        budget: What the grid may spend (quote).
        grid: The grid.

    Raises:
        UserError: The grid cannot be placed there.
    """
    market = market_of(symbol, from_units(int(candles.closes[-1])))
    # As a bot begins: not before the price is in the range.
    inside = (candles.opens >= _units(grid.lower)) & (candles.opens <= _units(grid.upper))
    if not inside.any():
        raise UserError(
            f"no candle begins between {plain(grid.lower)} and {plain(grid.upper)}; use a range"
            " that the price has been in"
        )
    candles = candles.window(int(inside.argmax()), len(candles))
    spec = GridSpec(grid.lower, grid.upper, grid.grids, Spacing.ARITHMETIC, budget)
    return run_backtest(candles, spec, market, Fees(FEE_RATE))


def _units(price: Decimal) -> int:
    """Return a price in the candles' units, at most the largest that they have."""
    return min(int(price.scaleb(PRICE_DECIMALS)), LARGEST_UNITS)


def read_last_days(path: Path) -> Candles:
    """Return the latest candles of a file.

    Args:
        path: The file.

    Raises:
        UserError: It cannot be read.
    """
    return last_days(read_candles(path))


def in_words(result: Result, symbol: str) -> str:
    """Return what a grid would have done, for people.

    Args:
        result: The backtest's.
        symbol: The market.
    """
    candles, plan = result.candles, result.plan
    _, quote = coins_of(symbol)
    held = from_units(int(candles.closes[-1])) / from_units(int(candles.opens[0])) - 1
    earned = result.equity / plan.investment - 1
    begin, end = (iso(int(candles.times[place]))[:10] for place in (0, -1))
    return (
        f"On {symbol} from {begin} to {end}, with {plain(plan.investment)} {quote} and fees of"
        f" 0.1 %: {earned * 100:+.2f} % ({result.account.sells} pairs), largest drawdown"
        f" {result.drawdown.share * 100:.2f} %; the coin alone {held * 100:+.2f} %.\n"
        "The range was chosen with these prices known: expect less of those to come."
    )
