"""A month of live prices in one process, in virtual time: are the books equal, and every fill real?

    python bot/benchmarks/live_month.py [--days 30] [--seed S]

Bot and practice exchange trade while the practice exchange follows another one, which plays the
real one. Its connections end every day; every eight hours or so something goes wrong: a cut, an
hour's outage or maintenance, trades that are forgotten, a loss of power. In the end the books of
bot and exchange must be equal, and each fill of a resting order must have traded on the other
exchange, at its price or beyond and once. Exits 1 otherwise, or where memory has grown by more than
the limit since the second day: by then the day of candles and the databases' caches are full.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

BOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [
    *(str(BOT / name) for name in ("src", "tests/together", "benchmarks")),
    str(BOT.parent),
]

import pytest  # noqa: E402  the path is set above
from month import MOST_GROWTH_PERCENT, resident_kilobytes  # noqa: E402  the path is set above
from simulation.boundaries import Boundaries  # noqa: E402  the path is set above
from simulation.chance import dice  # noqa: E402  the path is set above
from simulation.invariants import problems  # noqa: E402  the path is set above
from simulation.live_world import LiveWorld  # noqa: E402  the path is set above
from simulation.markets import market  # noqa: E402  the path is set above
from simulation.sweep import memory_directory  # noqa: E402  the path is set above
from simulation.workers import fix_hash_order  # noqa: E402  the path is set above
from simulation.world import Setup  # noqa: E402  the path is set above

DAY_SECONDS = 86_400
LOOK_SECONDS = 15.0  # as long as the other market needs for its next eight trades
CANDLES_A_DAY = 1_440
FILLS_A_DAY = 100
TROUBLE_HOURS = 8.0
FULL_DAYS = 2
REACH = 400  # how far a candle may go (quote)


def print_row(world: LiveWorld, day: int) -> int:
    """Say how it stands; returns the memory."""
    resident = resident_kilobytes()
    row = (day, world.fills, world.cuts, world.restarts, world.gaps, resident)
    print("{:>4} {:>7} {:>5} {:>9} {:>5} {:>9}".format(*row), flush=True)
    return resident


def live(world: LiveWorld, days: int) -> list[int]:
    """Let the days pass; returns the memory after each."""
    resident: list[int] = []
    for day in range(1, days + 1):
        world.time.after(day * DAY_SECONDS, lambda day=day: resident.append(print_row(world, day)))
    world.watch_fills(pytest.MonkeyPatch())
    world.disturb(TROUBLE_HOURS)
    world.start_bot()
    world.live(days * DAY_SECONDS + 1)
    world.calm()
    world.start_bot()
    world.live(DAY_SECONDS, until=lambda: world.settled)
    return resident


def main() -> int:
    """Let the month pass; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    count = CANDLES_A_DAY * (arguments.days + 2)
    setup = Setup(
        candles=market("swing", count, dice("live month", arguments.seed), reach=REACH),
        grid={"lower": "47000", "upper": "53000", "grids": 20, "investment": "9000"},
        seed=arguments.seed,
    )
    started = time.perf_counter()
    print(f"{'DAY':>4} {'FILLS':>7} {'CUTS':>5} {'RESTARTS':>9} {'GAPS':>5} {'RSS KB':>9}")
    LiveWorld.look_seconds = LOOK_SECONDS
    with memory_directory() as directory:
        world = LiveWorld(directory, setup, Boundaries())
        setup.candles.clear()
        resident = live(world, arguments.days)
        found = problems(world) + world.fill_problems()
        fills = world.fills
        counted = world.exchange.counters.answer()["upstream"]
        world.exchange.close()
    full = resident[min(FULL_DAYS, len(resident)) - 1]
    growth = 100 * (resident[-1] - full) / full
    needed = FILLS_A_DAY * arguments.days
    for problem in found:
        print(problem)
    print(f"fills     {fills:>8}   limit: at least {needed}")
    print(f"problems  {len(found):>8}   limit: 0")
    print(f"memory    {growth:>+7.2f} %   limit: at most +{MOST_GROWTH_PERCENT} %")
    print(f"asked since the last restart: {counted}")
    print(f"wall      {time.perf_counter() - started:>7.1f} s")
    print(
        f"{arguments.days} days, {fills} fills, {world.cuts} cuts, {world.restarts} restarts,"
        f" {world.gaps} gaps: {len(found)} problems"
    )
    return int(bool(found) or growth > MOST_GROWTH_PERCENT or fills < needed)


if __name__ == "__main__":
    fix_hash_order()
    sys.exit(main())
