"""Stories of the fault world: one for each seed, each with faults, deaths and restarts.

    python bot/benchmarks/fault_world.py [--seeds 10000] [--from 0]
    python bot/benchmarks/fault_world.py --seed S                  # one story again, with a trace

Prints runs, fills, kills, faults by kind, failures and wall time. Exits 1 on any failure.
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

from simulation.ib.story import StockStory  # noqa: E402  the path is set above
from simulation.story import Story  # noqa: E402  the path is set above
from simulation.workers import (  # noqa: E402  the path is set above
    Report,
    Workers,
    fix_hash_order,
    here,
    progress,
    settle_memory,
    show_log,
)


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10_000, help="how many")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first one")
    parser.add_argument("--seed", type=int, help="this one only, and show everything")
    parser.add_argument("--stock", action="store_true", help="of a grid on a stock")
    return parser.parse_args()


def story(seed: int, report: Report, kind: type[Story]) -> None:
    """Tell one seed's story."""
    kind(seed, report).tell()


def main() -> int:
    """Tell all stories, print the table; 1 on any failure."""
    arguments = options()
    kind = StockStory if arguments.stock else Story
    if arguments.seed is not None:
        show_log()
        here(lambda report: kind(arguments.seed, report, print).tell())
    logging.disable(logging.CRITICAL)
    workers = Workers()
    workers.heard = progress(workers, arguments.seeds)
    settle_memory()
    started = time.perf_counter()
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        workers.start(str(seed), lambda report, seed=seed: story(seed, report, kind))
    workers.finish()
    return told(workers, time.perf_counter() - started)


def told(workers: Workers, wall: float) -> int:
    """Print the result; the exit status."""
    results = workers.results
    faults: Counter[str] = Counter()
    for result in results:
        faults.update(result.get("faults", {}))
    for kind, count in faults.most_common():
        print(f"{kind:<26} {count:>9}")
    for what in ("fills", "kills", "stops", "grids", "halted", "boundaries", "seconds"):
        total = sum(float(result.get(what, 0)) for result in results)
        print(f"{what:<26} {total:>9.0f}   {total / len(results):.1f} a story")
    failed = [result for result in results if result["problems"]]
    print(f"{'stories':<26} {len(results):>9}")
    print(f"{'failures':<26} {len(failed):>9}   limit: 0")
    each = wall / len(results) * workers.most
    print(f"{'wall time':<26} {wall:>9.1f} s on {workers.most} cores, {each:.3f} s a story")
    for result in failed:
        print(f"FAILED --seed {result['name']}: {result['problems']}")
    fills, kills = (
        sum(int(float(result.get(what, 0))) for result in results) for what in ("fills", "kills")
    )
    print(f"{len(results)} stories, {fills} fills, {kills} deaths: {len(failed)} failures")
    return int(bool(failed))


if __name__ == "__main__":
    fix_hash_order()
    sys.exit(main())
