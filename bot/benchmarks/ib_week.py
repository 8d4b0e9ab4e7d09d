"""A simulated week of a grid on a stock and the option watcher at one practice Gateway.

    bot/benchmarks/ib_week.py [--days 7.1] [--seed 2]

Sessions, nightly restarts, and a Sunday after which the Gateway waits for a person. No order may
leave while the order gate is closed, every state is announced at its time, every call is within
every pacing rule of the Gateway, and the books have what the account has. A virtual clock; a week
takes some minutes.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

BOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BOT / "src"), str(BOT / "tests/together"), str(BOT.parent)]

from simulation.ib.week import Week  # noqa: E402  the path is set above
from simulation.workers import fix_hash_order  # noqa: E402  the path is set above

DAY_SECONDS = 86_400


def main() -> int:
    """Let the week pass; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=float, default=7.1)
    parser.add_argument("--seed", type=int, default=2)
    arguments = parser.parse_args()
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)
    logging.getLogger("gridexchange").setLevel(logging.CRITICAL)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        week = Week(Path(directory), seed=arguments.seed)

        def tell(day: int) -> None:
            rules = week.gateway.rules
            print(f"day {day}: {dict(rules.calls)}, broken {dict(+rules.broken)}", flush=True)

        for day in range(1, int(arguments.days) + 1):
            week.time.after(day * DAY_SECONDS, lambda day=day: tell(day))
        week.pass_time(arguments.days * DAY_SECONDS)
        found = week.problems()
        for problem in found:
            print(problem)
        calls, fills = week.gateway.rules.calls, len(week.gateway.account.executions)
        rows = (
            f"{arguments.days:g} days, {len(week.arrived)} messages, {calls['snapshot']} snapshots"
        )
        took = f"{time.monotonic() - began:.0f} s"
        print(f"{rows}, {calls['history']} requests for bars, {fills} fills in {took}: ", end="")
        print(f"{len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    fix_hash_order()
    sys.exit(main())
