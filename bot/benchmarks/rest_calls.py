"""REST calls of a bot with streams, counted by the exchange, in virtual time.

    python bot/benchmarks/rest_calls.py [--hours 3] [--seed S]

Once in a quiet market with 20 lines, once in one that fills about 100 orders an hour. Prints the
first hour, with the start in it, and the most of any other. Exits 1 where a limit is exceeded.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path

BOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BOT / "src"), str(BOT / "tests" / "together")]

from simulation.boundaries import Boundaries  # noqa: E402  the path is set above
from simulation.chance import dice  # noqa: E402  the path is set above
from simulation.markets import market  # noqa: E402  the path is set above
from simulation.sweep import memory_directory  # noqa: E402  the path is set above
from simulation.workers import fix_hash_order  # noqa: E402  the path is set above
from simulation.world import Setup, World  # noqa: E402  the path is set above

HOUR_SECONDS = 3600
LINES = 20
LATENCY_SECONDS = 0.05
LIMITS = {"quiet": 30, "busy": 60}
# How far a candle of each market may go (quote); lines are 300 apart.
REACH = {"quiet": 5, "busy": 1250}


@dataclass
class Hour:
    """What one hour saw.

    Attributes:
        rest: REST requests, by name.
        sent: messages of the bot over WebSockets.
        told: messages of the exchange.
        fills: trades.
    """

    rest: dict[str, int] = field(default_factory=dict)
    sent: int = 0
    told: int = 0
    fills: int = 0

    @property
    def calls(self) -> int:
        """REST requests in all."""
        return sum(self.rest.values())


def totals(world: World) -> Hour:
    """What the exchange has counted so far."""
    counted = world.exchange.counters.answer()
    return Hour(
        rest=dict(counted["rest"]),
        sent=sum(counted["socket"].values()),
        told=sum(counted["messages"].values()),
        fills=world.engine.next_trade_id - 1,
    )


def difference(after: Hour, before: Hour) -> Hour:
    """What was between two totals."""
    rest = {name: count - before.rest.get(name, 0) for name, count in after.rest.items()}
    return Hour(
        {name: count for name, count in rest.items() if count},
        after.sent - before.sent,
        after.told - before.told,
        after.fills - before.fills,
    )


def hours_of(kind: str, hours: int, seed: int) -> list[Hour]:
    """Run a bot for so many hours, from its start."""
    setup = Setup(
        candles=market("swing", 60 * hours + 10, dice("calls", kind, seed), reach=REACH[kind]),
        grid={"lower": "47000", "upper": "53000", "grids": LINES, "investment": "9000"},
        exchange={"speed": "1"},
        seed=seed,
    )
    marks = [Hour()]
    with memory_directory() as directory:
        world = World(directory, setup, Boundaries())
        world.wire.latency = world.network.latency = LATENCY_SECONDS
        for hour in range(1, hours + 1):
            world.time.after(hour * HOUR_SECONDS, lambda: marks.append(totals(world)))
        world.start_bot()
        world.live(hours * HOUR_SECONDS + 1)
        world.exchange.close()
    return [difference(after, before) for before, after in itertools.pairwise(marks)]


def main() -> int:
    """Print both markets; 1 where a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    over = False
    print(
        f"{'MARKET':<8} {'HOUR':<12} {'REST':>6} {'LIMIT':>6} {'SENT':>7} {'TOLD':>7} {'FILLS':>6}"
    )
    for kind, limit in LIMITS.items():
        first, *others = hours_of(kind, arguments.hours, arguments.seed)
        most = max(others, key=lambda hour: hour.calls) if others else first
        for name, hour in (("first", first), ("most later", most)):
            over = over or hour.calls > limit
            print(
                f"{kind:<8} {name:<12} {hour.calls:>6} {limit:>6} {hour.sent:>7} {hour.told:>7} "
                f"{hour.fills:>6}" + ("  OVER" if hour.calls > limit else "")
            )
            print(f"         {', '.join(f'{key} {count}' for key, count in hour.rest.items())}")
    print("more calls than allowed" if over else "no market needs more calls than allowed")
    return int(over)


if __name__ == "__main__":
    fix_hash_order()
    sys.exit(main())
