"""Whether the made-up market favors anybody: the role's grid on many of its seeds, beside its fees.

    python bot/benchmarks/made_up_market.py [--seeds 100] [--days 180] [--jobs 2]

Each seed is a market of its own; the backtest's engine trades it. Prints how many grids end with a
net loss (all coins valued at the last price), quartiles, and how soon the first order fills. Exits
1 unless 30 to 70 of 100 lose, and the median is at most the median of the fees.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import numpy as np

BOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BOT / "src"))

from gridbase.market import Market  # noqa: E402  the path is set above
from gridbot.backtest.data import Candles, Columns  # noqa: E402  the path is set above
from gridbot.backtest.run import run_backtest  # noqa: E402  the path is set above
from gridbot.core.grid import Fees, GridSpec, Spacing  # noqa: E402  the path is set above
from gridexchange.market.synthetic import (  # noqa: E402  the path is set above
    CANDLES_PER_DAY,
    SyntheticSeries,
    SyntheticSettings,
)

START_PRICE = Decimal(46_000)
# As roles/grid_bot/defaults has it.
INVESTMENT = Decimal(10_000)
GRID = GridSpec(Decimal(42_000), Decimal(50_000), 40, Spacing.ARITHMETIC, INVESTMENT)
TICK, LOT, SMALLEST = Decimal("0.01"), Decimal("0.00001"), Decimal(5)
MARKET = Market("BTC/USDT", "BTC", "USDT", TICK, LOT, LOT, SMALLEST)
FEES = Fees(Decimal("0.001"))
LOSERS_OF_100 = (30, 70)
SPEED = 60  # of the practice exchange: a minute passes in a second
LATE_SECONDS = 120


class Outcome(NamedTuple):
    """What became of one grid.

    Attributes:
        profit: equity at the end minus investment (quote).
        fees: paid in all (quote).
        fills: orders of the grid that filled.
        first_minute: of the first fill; None without one.
    """

    profit: Decimal
    fees: Decimal
    fills: int
    first_minute: int | None


def candles_of(seed: int, days: int) -> Candles:
    """Return the first days of a market."""
    series = SyntheticSeries(SyntheticSettings(seed, START_PRICE, TICK))
    rows = map(series.candle, range(days * CANDLES_PER_DAY))
    table = np.array([row[:5] for row in rows], dtype=np.int64)
    return Candles(series.name, Columns(*np.ascontiguousarray(table.T)))


def trade(seed: int, days: int) -> Outcome:
    """Return what the grid makes of a market."""
    candles = candles_of(seed, days)
    result = run_backtest(candles, GRID, MARKET, FEES)
    account = result.account
    first = int(result.ledger.candle[0]) if len(result.ledger) else None
    return Outcome(result.equity - INVESTMENT, account.fees_in_quote, len(result.ledger), first)


def main() -> int:
    """Trade all markets; returns 1 where the market favors somebody."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        outcomes = list(pool.map(partial(trade, days=arguments.days), range(arguments.seeds)))
    profits = [outcome.profit for outcome in outcomes]
    losers = sum(profit < 0 for profit in profits)
    middle, fees = median(profits), median(outcome.fees for outcome in outcomes)
    for name, value in zip(("lower", "middle", "upper"), quantiles(profits, n=4), strict=True):
        print(f"{name + ' quartile of the net profit, USDT':<44} {value:>10.2f}")
    print(f"{'mean of the net profit, USDT':<44} {sum(profits) / len(profits):>10.2f}")
    print(f"{'median of the fees, USDT':<44} {fees:>10.2f}")
    seconds = [outcome.first_minute for outcome in outcomes if outcome.first_minute is not None]
    late = sum(second * 60 / SPEED > LATE_SECONDS for second in seconds)
    late += len(outcomes) - len(seconds)
    print(
        f"first fill at speed {SPEED}: median {median(seconds) * 60 / SPEED:.0f} s,"
        f" after {LATE_SECONDS} s in {late} of {len(outcomes)}"
    )
    lowest, highest = (share * len(profits) / 100 for share in LOSERS_OF_100)
    fair = lowest <= losers <= highest and abs(middle) <= fees
    print(
        f"{arguments.seeds} seeds of {arguments.days} days: {losers} end with a net loss"
        f" (allowed: {lowest:.0f} to {highest:.0f}), the median is {middle:.2f} (at most"
        f" {fees:.2f}){'' if fair else ': UNFAIR'}"
    )
    return int(not fair)


if __name__ == "__main__":
    sys.exit(main())
