"""A month in one process, in virtual time: does memory or disk grow with it?

    python bot/benchmarks/month.py [--days 30] [--seed S]

Bot and exchange trade 30 days, 20,000 fills, with streams, and closed positions are settled. Prints
memory after the first day and after the last one, and the size of the database. Exits 1 where
memory has grown by more than the limit, or where there were too few fills.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import time
from pathlib import Path

BOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BOT / "src"), str(BOT / "tests" / "together")]

from simulation.boundaries import Boundaries  # noqa: E402  the path is set above
from simulation.chance import dice  # noqa: E402  the path is set above
from simulation.markets import market  # noqa: E402  the path is set above
from simulation.sweep import memory_directory  # noqa: E402  the path is set above
from simulation.workers import fix_hash_order  # noqa: E402  the path is set above
from simulation.world import Setup, World  # noqa: E402  the path is set above

DAY_SECONDS = 86_400
CANDLES_A_DAY = 1_440
FILLS_A_DAY = 667
MOST_GROWTH_PERCENT = 5.0
REACH = 600  # how far a candle may go (quote): about 30 fills an hour
KILOBYTE = 1024


def resident_kilobytes() -> int:
    """Memory of this process that is in RAM."""
    gc.collect()
    text = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in text.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1])


def kilobytes(directory: Path) -> int:
    """Size of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) // KILOBYTE


def print_row(world: World, day: int) -> int:
    """Say how it stands; returns the memory."""
    resident = resident_kilobytes()
    fills = world.engine.next_trade_id - 1
    print(f"{day:>4} {fills:>7} {resident:>9} {kilobytes(world.state):>12}", flush=True)
    return resident


def main() -> int:
    """Let the month pass; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    count = CANDLES_A_DAY * arguments.days + 60
    setup = Setup(
        candles=market("swing", count, dice("month", arguments.seed), reach=REACH),
        grid={"lower": "47000", "upper": "53000", "grids": 20, "investment": "9000"},
        exchange={"speed": "1"},
        seed=arguments.seed,
    )
    resident: list[int] = []
    started = time.perf_counter()
    print(f"{'DAY':>4} {'FILLS':>7} {'RSS KB':>9} {'DATABASE KB':>12}")
    with memory_directory() as directory:
        world = World(directory, setup, Boundaries())
        setup.candles.clear()
        # The exchange is in this process as well, but it is the bot whose memory is asked for.
        world.exchange.store._database.execute("PRAGMA cache_size = -64")  # noqa: SLF001  the exchange's own cache
        for day in range(1, arguments.days + 1):
            world.time.after(
                day * DAY_SECONDS, lambda day=day: resident.append(print_row(world, day))
            )
        world.start_bot()
        world.live(arguments.days * DAY_SECONDS + 1)
        fills = world.engine.next_trade_id - 1
        world.exchange.close()
    growth = 100 * (resident[-1] - resident[0]) / resident[0]
    needed = FILLS_A_DAY * arguments.days
    print(f"fills   {fills:>8}   limit: at least {needed}")
    print(
        f"memory  {growth:>+7.2f} %   limit: at most +{MOST_GROWTH_PERCENT} % after the first day"
    )
    print(f"wall    {time.perf_counter() - started:>7.1f} s")
    return int(growth > MOST_GROWTH_PERCENT or fills < needed)


if __name__ == "__main__":
    fix_hash_order()
    sys.exit(main())
