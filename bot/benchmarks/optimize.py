"""The search's speed, beside its limit: 1,000 combinations over a year of minutes.

    python bot/benchmarks/optimize.py CANDLES.csv [--jobs N]

CANDLES.csv is a market of minutes; it is repeated until it is a year long. What is timed is the
whole search with the start of its processes, not the reading of the file. Exits 1 where the limit
is missed, or where several processes find something else than one.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from gridbase.market import Market
from gridbot.backtest import Candles, read_candles
from gridbot.backtest.pool import run_trials, usable_cores
from gridbot.backtest.search import Combination, Goal, Space, Terms, ranked
from gridbot.core.grid import Fees, Spacing

CANDLES = 525_600
LIMIT_SECONDS = 120
AGAIN = 20
STEP = Decimal("0.00000001")
MARKET = Market("base/quote", "base", "quote", Decimal("0.01"), STEP, Decimal(0), Decimal(0))
TERMS = Terms(MARKET, Fees(Decimal("0.0005")), Decimal(10_000))
SPACE = Space(
    grids=tuple(range(10, 101, 10)),
    spacings=tuple(Spacing),
    widths=tuple(map(Decimal, range(10, 60))),
)


def a_year(candles: Candles) -> Candles:
    """The market, repeated and cut to a year of minutes."""
    times = -(-CANDLES // len(candles))
    return candles.repeated(times).window(0, CANDLES)


def silent(done: int) -> None:
    """A benchmark's output is its numbers."""


def search(candles: Candles, combinations: list[Combination], jobs: int) -> bool:
    """Run the search and print it; whether it is good enough."""
    window = [(0, len(candles))]
    started = time.perf_counter()
    (trials,) = run_trials(candles, window, combinations, TERMS, jobs=jobs, progress=silent)
    seconds = time.perf_counter() - started
    best = ranked(trials, Goal.PROFIT)
    fills = sum(outcome.buys + outcome.sells for _, outcome in best)
    fast = seconds <= LIMIT_SECONDS
    print(
        f"optimize: {len(combinations):,} combinations over {len(candles):,} candles by {jobs} "
        f"processes: {seconds:.1f} s; limit {LIMIT_SECONDS} s{'' if fast else '  MISSED'}"
    )
    print(
        f"  {len(combinations) * len(candles) / seconds:,.0f} candles/s, {fills:,} fills, "
        f"{len(trials) - len(best)} combinations refused"
    )
    process = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"  largest process: {process:.0f} MB, of which candles (shared): "
        f"{len(candles) * 7 * 8 / 2**20:.0f} MB"
    )
    few = combinations[:: len(combinations) // AGAIN]
    (alone,) = run_trials(candles, window, few, TERMS, jobs=1, progress=silent)
    same = alone == trials[:: len(combinations) // AGAIN]
    print(f"  {len(few)} of them again by one process: {'identical' if same else 'DIFFERENT'}")
    return fast and same and len(best) == len(combinations)


def main() -> int:
    """Print the table; 1 if the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=Path, metavar="CANDLES.csv")
    parser.add_argument("--jobs", type=int, default=usable_cores(), metavar="N")
    args = parser.parse_args()
    candles = a_year(read_candles(args.data))
    combinations = [SPACE[number] for number in range(len(SPACE))]
    return 0 if search(candles, combinations, args.jobs) else 1


if __name__ == "__main__":
    sys.exit(main())
