"""A search on a pool of three worker processes beside one process: the same, and how much faster.

    python bot/benchmarks/analytics_pool.py [--candles N] [--combinations N] [--workers N]

In a second run on the pool, workers are killed meanwhile. Exits 1 where any result differs by a
bit. How much faster depends on the processors: three workers on two of them gain less than two,
and nothing where others use these. So processor time is printed as well.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "bot/src")]

from analytics.pool.membership import security  # noqa: E402
from analytics.pool.spread import spread_over  # noqa: E402
from gridbot.backtest.pool import run_trials, usable_cores  # noqa: E402

from bot.tests.analytics.pool import TERMS, Pool, market, space  # noqa: E402


def main() -> int:
    """Search three times, compare, and return the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--candles", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--combinations", type=int, default=400, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=3, help="default: %(default)s")
    args = parser.parse_args()
    candles, combinations = market(args.candles), space(args.combinations)
    half = args.candles // 2
    windows = [(0, half), (half, args.candles)]

    def search(progress: Callable[[int], None], workers=None) -> tuple[list, float]:
        began = time.monotonic()
        found = run_trials(
            candles, windows, combinations, TERMS, jobs=1, progress=progress, workers=workers
        )
        return found, time.monotonic() - began

    began = time.process_time()
    alone, seconds = search(lambda _: None)
    own = time.process_time() - began
    with tempfile.TemporaryDirectory() as name, closing(Pool(Path(name), args.workers)) as pool:
        workers = spread_over(pool.address, security(pool.tls))
        search(lambda _: None, workers)  # they load their modules
        before = pool.processor_seconds()
        shared, shared_s = search(lambda _: None, workers)
        used = pool.processor_seconds() - before
        due = [args.combinations // 4, args.combinations]

        def kill(done: int) -> None:
            if due and done >= due[0]:
                due.pop(0)
                pool.kill_one()

        disturbed, disturbed_s = search(kill, workers)
    differing = sum(repr(each) != repr(alone) for each in (shared, disturbed))
    print(f"one process: {seconds:.1f} s, {own:.1f} s of a core; {usable_cores()} cores")
    print(f"{args.workers} workers: {used:.1f} s of a core")
    print(f"{args.workers} workers, 2 of them killed: {disturbed_s:.1f} s")
    print(
        f"{args.workers} workers: {shared_s:.1f} s, {seconds / shared_s:.2f} times as fast;"
        f" {differing} of 2 results differ"
    )
    return int(differing > 0 or bool(due))


if __name__ == "__main__":
    sys.exit(main())
