"""Bytes that the bot writes to the disk per fill and per idle hour, beside their limits.

    python bot/benchmarks/disk_writes.py [--directory DIR] [--fills N] [--hours H]

The real bot trades on the practice exchange in one process under virtual time. Its state lies in
DIR, on a real disk; the exchange's lies in memory. What is counted is `write_bytes` of
/proc/self/io: bytes that this process caused to be sent to the disk, in whole pages of the kernel
(4 KiB), as every commit waits for the disk. Files in memory do not count there. Written pages of a
file that is deleted before they leave are counted all the same: the card sees less, never more,
but for what the file system adds for itself (its journal).

Exits 1 where a limit is exceeded or nothing could be measured.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridbot.commands.run import settling
from gridbot.service.bot import Runner
from gridbot.store.database import Database

from bot.tests.together.trading import conftest as trading

KIB = 1024
LIMITS = {"a fill": 64 * KIB, "an idle hour": 64 * KIB}
# Few, so that positions are settled from the first hundred pairs on.
KEPT = 60
MINUTE = 60.0


def written() -> int:
    """Bytes that this process has sent to disks."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


class Transactions:
    """Counts the transactions that write."""

    def __init__(self) -> None:
        self.count = 0
        transaction = Database.transaction

        @contextmanager
        def counted(store: Database, mode: str = "IMMEDIATE") -> Iterator[Any]:
            self.count += mode == "IMMEDIATE"
            with transaction(store, mode) as connection:
                yield connection

        Database.transaction = counted  # type: ignore[method-assign]  # counted on purpose


@dataclass(frozen=True)
class Mark:
    """The counters at one moment of the bot's life."""

    written: int
    commits: int
    fills: int


class Life:
    """One bot that lives through all that is measured: a restart would write as well.

    Args:
        world: the bot's exchange and clock.
    """

    def __init__(self, world: Any) -> None:
        self._transactions = Transactions()
        self._world = world
        self._until = 0.0
        config, account = world.config, world.account()
        self._runner = Runner(config, account, world.open_store, world.clock, settling(KEPT))

    def mark(self) -> Mark:
        """The counters now."""
        status = self._runner.status()
        fills = int(status["buys"]) + int(status["sells"])
        return Mark(written(), self._transactions.count, fills)

    def live(self, story: Iterator[float]) -> None:
        """Run the bot; `story` is taken on whenever the seconds that it named have passed."""
        clock, sleep = self._world.clock, self._world.clock.sleep

        def watched(seconds: float) -> None:
            sleep(seconds)
            if clock.seconds >= self._until:
                passes = next(story, None)
                self._until = clock.seconds + (passes or 0)
                if passes is None:
                    clock.stop_at = clock.seconds

        clock.sleep = watched
        self._runner.run()


def measure(directory: Path, memory: Path, fills: int, hours: int) -> list[tuple[str, float, str]]:
    """Rows of what, bytes, and how it came about."""
    flags = {"state_directory": str(memory), "speed": "10", "at_end": "hold"}
    world = trading.World(directory, trading.zigzag(fills * 2), **flags)
    life, marks = Life(world), []

    def story() -> Iterator[float]:
        yield MINUTE  # the start is not what is measured
        marks.append(life.mark())
        while life.mark().fills - marks[0].fills < fills:
            yield MINUTE
        marks.append(life.mark())
        world.clock.seconds += 100_000  # the market's end: from here on it stands still
        yield 20 * MINUTE
        marks.append(life.mark())
        yield hours * 60 * MINUTE
        marks.append(life.mark())

    life.live(story())
    world.api.exchange.close()
    if marks[2].fills != marks[3].fills:
        raise SystemExit("the market did not stand still")
    count = marks[1].fills - marks[0].fills
    return [
        _row("a fill", f"{count} fills", count, marks[0], marks[1]),
        _row("an idle hour", f"{hours} hours", hours, marks[2], marks[3]),
    ]


def _row(what: str, how: str, count: int, first: Mark, last: Mark) -> tuple[str, float, str]:
    commits = (last.commits - first.commits) / count
    return what, (last.written - first.written) / count, f"{how}, {commits:.1f} commits each"


def main() -> int:
    """Print the table; 1 if anything is over its limit or could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path.cwd(), help="on a real disk")
    parser.add_argument("--fills", type=int, default=400)
    parser.add_argument("--hours", type=int, default=3)
    args = parser.parse_args()
    for name in ("gridbase", "gridbot"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - the exchange's
    if memory is None:
        print("not measured: there is no /dev/shm to keep the exchange's state in memory")
        return 1
    with (
        tempfile.TemporaryDirectory(dir=args.directory, prefix=".disk-writes-") as disk,
        tempfile.TemporaryDirectory(dir=memory) as exchange,
    ):
        rows = measure(Path(disk), Path(exchange), args.fills, args.hours)
    over = False
    print(f"{'WRITTEN PER':<14} {'MEASURED':>12} {'LIMIT':>10}")
    for what, count, how in rows:
        if what == "a fill" and count == 0:
            print(f"not measured: {args.directory} is in memory; name one on a disk (--directory)")
            return 1
        exceeded = count > LIMITS[what]
        over = over or exceeded
        sizes = f"{count / KIB:>8.1f} KiB {LIMITS[what] / KIB:>6.0f} KiB"
        print(f"{what:<14} {sizes}  {how}" + ("  OVER" if exceeded else ""))
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
