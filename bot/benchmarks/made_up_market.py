"""What the default grid makes of made-up markets: do they let it win and lose alike?

    python bot/benchmarks/made_up_market.py [--seeds 100] [--days 180] [--jobs N]

Each seed is a market of the practice exchange, and the backtest's engine trades the role's default
grid on it, with the fees of paper mode. Profit is equity at the last price, less the investment.
Exits 1 where fewer than 30 or more than 70 % of the seeds end in a loss, where the median profit is
further from zero than the median of the fees, or where the mean profit is not minus the mean of the
fees, as it must be where nobody has an edge (within three standard errors).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "bot" / "src")]

from gridbase.market import Market  # noqa: E402  the path is set above
from gridbot.backtest import Candles, run_backtest  # noqa: E402  the path is set above
from gridbot.backtest.data import Columns  # noqa: E402  the path is set above
from gridbot.backtest.pool import usable_cores  # noqa: E402  the path is set above
from gridbot.core.grid import Fees, GridSpec, Spacing  # noqa: E402  the path is set above
from gridexchange.market.synthetic import (  # noqa: E402  the path is set above
    CANDLES_PER_DAY,
    SyntheticSeries,
    SyntheticSettings,
)
from gridexchange.opening import fitting_rules  # noqa: E402  the path is set above

from inventory.demo_market import demo_grid  # noqa: E402  the path is set above

START_PRICE = Decimal(46_000)
INVESTMENT = Decimal(10_000)
FEE_RATE = Decimal("0.001")
FEE_UNIT = Decimal("0.00000001")
MIN_NOTIONAL = Decimal(5)
LOSSES = (0.3, 0.7)  # shares of the seeds
ERRORS = 3


class Outcome(NamedTuple):
    """What came of one seed; amounts in quote.

    Attributes:
        profit: equity less the investment.
        grid_profit: of matched pairs alone.
        fees: paid.
        fills: of the grid's orders.
        first_fill: minutes of the market until the first; as many seconds, at the practice
            exchange's usual speed of 60.
        price: the last one, as a multiple of the first.
    """

    profit: float
    grid_profit: float
    fees: float
    fills: int
    first_fill: int
    price: float


def market_of(seed: int, days: int) -> Candles:
    """The first days of a made-up market."""
    tick = fitting_rules(START_PRICE).tick_size
    series = SyntheticSeries(SyntheticSettings(seed, START_PRICE, tick))
    rows = [series.candle(index)[:5] for index in range(days * CANDLES_PER_DAY)]
    return Candles(series.name, Columns(*np.array(rows, dtype=np.int64).T))


def trade(seed: int, days: int) -> Outcome:
    """Let the default grid trade a seed's market."""
    said = demo_grid(START_PRICE)
    spec = GridSpec(
        Decimal(said["grid_bot_lower"]),
        Decimal(said["grid_bot_upper"]),
        int(said["grid_bot_grids"]),
        Spacing.ARITHMETIC,
        INVESTMENT,
    )
    rules = fitting_rules(START_PRICE)
    market = Market(
        "BTC/USDT", "BTC", "USDT", rules.tick_size, rules.lot_size, rules.lot_size, MIN_NOTIONAL
    )
    result = run_backtest(market_of(seed, days), spec, market, Fees(FEE_RATE), fee_unit=FEE_UNIT)
    return Outcome(
        float(result.equity - INVESTMENT),
        float(result.account.grid_profit),
        float(result.account.fees_in_quote),
        len(result.ledger),
        int(result.ledger.candle[0]) if len(result.ledger) else len(result.candles),
        float(result.price / START_PRICE),
    )


def print_outcomes(outcomes: list[Outcome]) -> None:
    """Print quartiles of everything, and the mean."""
    heads = ("least", "quarter", "median", "3 quart.", "most", "mean")
    print(f"{'':<12}" + "".join(f"{head:>10}" for head in heads))
    for name, values in zip(Outcome._fields, zip(*outcomes, strict=True), strict=True):
        quartiles = statistics.quantiles(values, n=4, method="inclusive")
        cells = (min(values), *quartiles, max(values), statistics.fmean(values))
        digits = 3 if name == "price" else 0
        print(f"{name:<12}" + "".join(f"{cell:>10,.{digits}f}" for cell in cells))


def judge(outcomes: list[Outcome]) -> bool:
    """Print what is asked of the market; whether it holds."""
    losses = sum(outcome.profit < 0 for outcome in outcomes)
    least, most = (share * len(outcomes) for share in LOSSES)
    alike = least <= losses <= most
    print(
        f"losses  {losses} of {len(outcomes)}   limit: {least:g} to {most:g}"
        f"{'' if alike else '  MISSED'}"
    )
    profit = statistics.median(outcome.profit for outcome in outcomes)
    fees = statistics.median(outcome.fees for outcome in outcomes)
    small = abs(profit) <= fees
    print(
        f"median  {profit:+,.2f} of {INVESTMENT:,}   limit: fees, {fees:,.2f}"
        f"{'' if small else '  MISSED'}"
    )
    edges = [outcome.profit + outcome.fees for outcome in outcomes]
    edge, error = statistics.fmean(edges), statistics.stdev(edges) / len(edges) ** 0.5
    none = abs(edge) <= ERRORS * error
    print(
        f"edge    {edge:+,.2f}, the mean profit before fees   limit: {ERRORS * error:,.2f},"
        f" {ERRORS} standard errors{'' if none else '  MISSED'}"
    )
    fair = alike and small and none
    favored = "nobody" if fair else "somebody"
    print(
        f"{losses} of {len(outcomes)} seeds end with a loss, median {profit:+,.0f},"
        f" fees {fees:,.0f}: {favored} is favored"
    )
    return fair


def main() -> int:
    """Print the tables; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="0 to N-1")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="SEED")
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--jobs", type=int, default=usable_cores())
    args = parser.parse_args()
    started = time.perf_counter()
    seeds = range(args.first, args.first + args.seeds)
    with ProcessPoolExecutor(args.jobs) as pool:
        outcomes = list(pool.map(partial(trade, days=args.days), seeds))
    print(
        f"seeds {seeds[0]} to {seeds[-1]}, {args.days} days each, quote:"
        f" {time.perf_counter() - started:.1f} s"
    )
    print_outcomes(outcomes)
    return 0 if judge(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
