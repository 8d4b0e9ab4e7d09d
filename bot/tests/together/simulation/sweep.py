"""Kills the bot at every boundary of one run, each time in a copy of the whole world.

The run itself goes on undisturbed: at a boundary the process forks, the copy is the machine that
has just lost its power, and starts again from a copy of the bot's files.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from .boundaries import Boundaries, watched
from .chance import dice
from .invariants import problems
from .workers import Report, Workers
from .world import Setup, World, seed_chance

DOWN_SECONDS = (0.0, 0.3, 2.0, 8.0, 40.0)
RECOVERY_SECONDS = 6.0  # with everything still going wrong; then all is calm
SETTLE_SECONDS = 2_000.0
# Every so many crashes a second one follows during recovery.
SECOND_CRASH_EVERY = 5


class Sweep:
    """One run and its crashes.

    Args:
        setup: the world.
        seconds: how long the run lasts (world seconds).
        pick: which boundaries to crash at.
        workers: run the crashes.
        trace: for people.
        make_world: makes the world.
        judge: finds what is wrong with a settled one.
    """

    def __init__(
        self,
        setup: Setup,
        seconds: float,
        pick: Callable[[int], bool],
        workers: Workers,
        trace: Callable[[str], None] | None = None,
        *,
        make_world: Callable[..., World] = World,
        judge: Callable[[World], list[str]] = problems,
    ) -> None:
        self.setup = setup
        self.seconds = seconds
        self.pick = pick
        self.workers = workers
        self.boundaries = Boundaries()
        self.fills = 0
        self.picked: Counter[str] = Counter()
        self.own_problems: list[str] = []
        self.faults: Counter[str] = Counter()
        self._trace = trace
        self._make_world, self._judge = make_world, judge
        self._world: World

    def run(self) -> None:
        """Run, crash, and wait for all copies."""
        with (
            memory_directory() as directory,
            watched(self.boundaries, directory / "bot", directory / "exchange"),
        ):
            world = self._world = self._make_world(
                directory, self.setup, self.boundaries, self._trace
            )
            self.boundaries.hook = self._at
            world.start_bot()
            world.live(self.seconds)
            self.boundaries.hook = lambda _number, _kind: None
            self.faults = world.fault_counts
            # The copies share the bot's lock with this process until they end.
            self.workers.finish()
            settle(world)
            self.own_problems = self._judge(world)
            self.fills = world.engine.next_trade_id - 1
            world.exchange.close()

    def _at(self, number: int, kind: str) -> None:
        if not self.pick(number):
            return
        self.picked[kind] += 1
        copy = self._world.directory / "bot" / f"crash-{number}"
        self._world.copy_state(copy)
        self.workers.start(
            f"{number} {kind}", lambda report: self._crash(number, kind, copy, report)
        )

    def _crash(self, number: int, kind: str, copy: Path, report: Report) -> None:
        """In the copy: the machine that has just lost its power."""
        world = self._world
        world.state = copy
        seed_chance(self.setup.seed, number)
        chance = dice(self.setup.seed, number)
        second = chance.randrange(1, 60) if number % SECOND_CRASH_EVERY == 0 else None
        seen = {"crashes": 1}

        def recover(dead_kind: str) -> None:
            world.faults.dice = dice(self.setup.seed, number, "faults")
            world.deliver_late(dead_kind, chance.uniform(0.0, 5.5))
            world.time.sleep(chance.choice(DOWN_SECONDS))
            world.start_bot()
            settle(world, RECOVERY_SECONDS)
            found = self._judge(world)
            remove(world.directory if self.workers.alone else copy)
            report({"problems": found, "crashes": seen["crashes"]})

        def again(later: int, later_kind: str) -> None:
            if second is None or later != number + second:
                return
            self.boundaries.hook = lambda _number, _kind: None
            seen["crashes"] = 2
            world.note(f"second crash at {later} {later_kind}")
            world.cut()
            recover(later_kind)

        self.boundaries.hook = again
        world.note(f"crash at {number} {kind}")
        world.die()
        recover(kind)


def settle(world: World, seconds: float = 0.0) -> None:
    """Let a started bot go on for so long, and then catch up with a world in which all is calm."""
    calm = []

    def make_calm() -> None:
        world.calm()
        calm.append(True)

    world.time.after(seconds, make_calm)
    if world.clock.stopping:
        world.start_bot()
    world.live(SETTLE_SECONDS, until=lambda: bool(calm) and world.settled)


class memory_directory(tempfile.TemporaryDirectory):  # noqa: N801  used as the function it extends
    """A directory in memory where that is possible: SQLite waits for a disk at every commit."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        super().__init__(prefix="gridberry-", dir=memory if memory.is_dir() else None)

    def __enter__(self) -> Path:
        return Path(super().__enter__())


def remove(directory: Path) -> None:
    """Remove a world's files, of which a dead process may have left any."""
    shutil.rmtree(directory, ignore_errors=True)
