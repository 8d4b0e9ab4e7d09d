"""Kill the bot at every I/O boundary of one run, restart it, and compare books and exchange.

    python bot/benchmarks/crash_sweep.py [--world W] [--seed S] [--every K]
    python bot/benchmarks/crash_sweep.py --seed S --boundary B     # one crash again, with a trace

Prints kill points by kind, fills, faults, failures and wall time. Exits 1 on any failure.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter
from pathlib import Path

BOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BOT / "src"), str(BOT / "tests" / "together")]

from simulation.ib.invariants import problems as stock_problems  # noqa: E402  the path is set above
from simulation.ib.sizes import stock_setup  # noqa: E402  the path is set above
from simulation.ib.world import IbSetup, IbWorld  # noqa: E402  the path is set above
from simulation.sizes import SWEPT  # noqa: E402  the path is set above
from simulation.sweep import Sweep  # noqa: E402  the path is set above
from simulation.workers import Workers, fix_hash_order, progress, settle_memory, show_log  # noqa: E402  the path is set above
from simulation.world import Setup  # noqa: E402  the path is set above

STOCK = "stock"  # a grid on a stock, at the practice Gateway
# Kill points and fills of a whole sweep.
NEEDED = {"swing": (5_000, 200), STOCK: (3_000, 100)}
SECONDS = 1_150.0


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", choices=[*SWEPT, STOCK], default="swing")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of the run")
    parser.add_argument("--every", type=int, default=1, help="crash at every K-th boundary only")
    parser.add_argument("--boundary", type=int, help="crash at this one only, and show everything")
    return parser.parse_args()


def again(setup: Setup | IbSetup, seconds: float, boundary: int) -> int:
    """One crash again, in this process, with a trace."""
    show_log()
    workers = Workers(alone=True)
    pick = lambda number: number == boundary  # noqa: E731  the choice of one
    sweep = Sweep(setup, seconds, pick, workers, trace=print, **world_of(setup))
    sweep.run()
    print(f"there is no boundary {boundary}: the run has {sweep.boundaries.count}")
    return 2


def world_of(setup: Setup | IbSetup) -> dict[str, object]:
    """Which world is made of a setup, and who judges it."""
    if isinstance(setup, IbSetup):
        return {"make_world": IbWorld, "judge": stock_problems}
    return {}


def main() -> int:
    """Sweep, print the table; 1 on any failure."""
    arguments = options()
    setup = (SWEPT | {STOCK: stock_setup})[arguments.world](arguments.seed)
    if arguments.boundary is not None:
        return again(setup, arguments.seconds, arguments.boundary)
    logging.disable(logging.CRITICAL)
    workers = Workers()
    workers.heard = progress(workers, None)
    sweep = Sweep(
        setup,
        arguments.seconds,
        lambda number: number % arguments.every == 0,
        workers,
        **world_of(setup),
    )
    settle_memory()
    started = time.perf_counter()
    sweep.run()
    wall = time.perf_counter() - started
    return told(sweep, wall, arguments)


def told(sweep: Sweep, wall: float, arguments: argparse.Namespace) -> int:
    """Print the result; the exit status."""
    points = sum(sweep.picked.values())
    crashes = sum(int(str(result.get("crashes", 1))) for result in sweep.workers.results)
    failed = [result for result in sweep.workers.results if result["problems"]]
    for kind, count in sorted(sweep.picked.items()):
        print(f"{kind:<22} {count:>7}")
    least = NEEDED.get(arguments.world, (0, 0)) if arguments.every == 1 else (0, 0)
    needed = [f"   limit: at least {count}" if count else "" for count in least]
    print(f"{'kill points':<22} {points:>7}{needed[0]}")
    print(f"{'second crashes':<22} {crashes - points:>7}")
    print(f"{'fills':<22} {sweep.fills:>7}{needed[1]}")
    print(f"{'faults in the run':<22} {_words(sweep.faults)}")
    print(f"{'failures':<22} {len(failed):>7}   limit: 0")
    print(f"{'wall time':<22} {wall:>7.1f} s on {sweep.workers.most} cores")
    for problem in sweep.own_problems:
        print(f"FAILED without a crash: {problem}")
    for result in failed:
        number = str(result["name"]).split()[0]
        again = f"--world {arguments.world} --seed {arguments.seed} --seconds {arguments.seconds}"
        print(f"FAILED {again} --boundary {number}: {result['problems']}")
    failures = len(failed) + len(sweep.own_problems)
    print(f"{points} kill points, {crashes - points} second crashes: {failures} failures")
    enough = points >= least[0] and sweep.fills >= least[1]
    return int(bool(failed or sweep.own_problems or not enough))


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counts.most_common())


if __name__ == "__main__":
    fix_hash_order()
    sys.exit(main())
