"""From a fault to its alert: which message, after how long, exactly one, and its recovery.

python -m benchmarks.monitoring faults
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.monitoring.world import (
    CHECKER,
    FACTOR,
    NAMESPACE,
    SERVER,
    World,
    firing,
    fleet,
    say,
    series,
)

LONGEST = 90  # seconds until a message has come
SETTLED = 4  # seconds in which no further message may come
DISK_MB = 64


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        what: It is in words.
        alert: The only one that may come.
        cause: Makes it.
        cure: Takes it back.
    """

    what: str
    alert: str
    cause: Callable[[World], object]
    cure: Callable[[World], object]


def bot(**told: int) -> Callable[[World], None]:
    """Return what makes the bot of the second Pi tell something."""
    return lambda world: world.pis[CHECKER].bot.update(told)


def plug_in(world: World) -> None:
    """Give the second Pi its power back."""
    world.start_pi(world.pis[CHECKER], inside=own_disk(world))


def fill(world: World) -> None:
    """Fill the disk of the second Pi."""
    with contextlib.suppress(OSError), (disk(world) / "full").open("wb", buffering=0) as file:
        while file.write(bytes(2**20)):
            pass


def disk(world: World) -> Path:
    """Return the second Pi's disk, as its node exporter sees it."""
    process = world.running[CHECKER, "node-exporter"].pid
    return Path(f"/proc/{process}/root") / str(world.place / "disk").lstrip("/")


def own_disk(world: World) -> tuple[str, ...]:
    """Return the command in whose mount namespace there is a disk of its own."""
    image, where = world.place / "disk.img", world.place / "disk"
    if not image.exists():
        where.mkdir()
        with image.open("wb") as file:
            file.truncate(DISK_MB * 2**20)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", str(image)], check=True)
    mount = f'mount -o loop {image} {where} && exec "$0" "$@"'
    # Its process number is 1 there: of that one it reads which disks are mounted.
    return ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *NAMESPACE[1:], mount)


FAULTS = (
    Fault("bot killed", "BotDown",
          lambda w: w.pis[CHECKER].kill_bot(), lambda w: w.pis[CHECKER].answer()),
    Fault("exchange away", "BreakerOpen",
          bot(open=1, closed=0, exchange=1, healthy=0),
          bot(open=0, closed=1, exchange=0, healthy=1)),
    Fault("books unequal", "BooksUnequal", bot(unequal=1, healthy=0), bot(unequal=0, healthy=1)),
    Fault("kill switch", "KillSwitchFired", bot(killed=1), bot(killed=0)),
    Fault("81 °C", "TemperatureCritical",
          lambda w: w.pis[CHECKER].temperature(81), lambda w: w.pis[CHECKER].temperature(50)),
    Fault("under-voltage", "UnderVoltage",
          lambda w: w.pis[CHECKER].supply(low=True), lambda w: w.pis[CHECKER].supply(low=False)),
    Fault("drive errors", "DriveErrors",
          lambda w: w.pis[CHECKER].incident("drive_error"),
          lambda w: w.pis[CHECKER].incident(None)),
    Fault("clock off", "ClockOff",
          lambda w: w.pis[CHECKER].clock(0.4), lambda w: w.pis[CHECKER].clock(0.001)),
    Fault("backup late", "BackupLate",
          lambda w: w.pis[CHECKER].backup(27), lambda w: w.pis[CHECKER].backup(1)),
    Fault("disk full", "DiskFull", fill, lambda w: (disk(w) / "full").unlink()),
    Fault("Pi unplugged", "PiUnreachable", lambda w: w.unplug(w.pis[CHECKER]), plug_in),
    Fault("monitoring Pi gone", "MonitoringSilent",
          lambda w: w.stop_server(), lambda w: w.start_server()),
)  # fmt: skip


class Looks:
    """What timers do on a Pi: the health program and the checker, again and again."""

    def __init__(self, world: World) -> None:
        self._world, self._end = world, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(60 / FACTOR):
            for one in self._world.pis.values():
                one.look()
            self._world.watch()

    def close(self) -> None:
        """End it."""
        self._end.set()
        self._thread.join()


def message(world: World, since: int, words: str) -> float | None:
    """Wait for a message with these words, and return when it came; None where it does not."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        for at, text in world.discord.messages[since:]:
            if words in text:
                return at
        time.sleep(0.05)
    return None


def calm(world: World) -> bool:
    """Wait until no alert has fired, or been about to, for a while."""
    end, since = time.monotonic() + LONGEST, time.monotonic()
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if not series(world, "up") or firing(world):
                since = time.monotonic()
            elif time.monotonic() - since > SETTLED:
                return True
        time.sleep(0.5)
    return False


def try_out(world: World, fault: Fault) -> tuple[bool, str]:
    """Cause a fault and cure it; returns whether all was well, and a row of the table."""
    if not calm(world):
        return False, f"| {fault.what} | not tried: {firing(world)} still fires | | | |"
    since, begun = len(world.discord.messages), time.monotonic()
    fault.cause(world)
    came = message(world, since, f"🔴 {fault.alert}")
    cured = time.monotonic()
    fault.cure(world)
    over = message(world, since, f"🟢 Recovered: {fault.alert}") if came else None
    time.sleep(SETTLED)
    all_came = [text.splitlines()[0] for _, text in world.discord.messages[since:]]
    well = came is not None and over is not None and len(all_came) == 2
    after = f"{came - begun:.1f}" if came else "-"
    recovery = f"{over - cured:.1f}" if over else "-"
    extra = "" if well else f" {all_came}"
    count = sum(fault.alert in one and "🔴" in one for one in all_came)
    return well, f"| {fault.what} | {fault.alert} | {after} | {count}{extra} | {recovery} |"


def main() -> int:
    """Try the faults; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="part of a fault's name")
    asked = parser.parse_args()
    chosen = [fault for fault in FAULTS if not asked.only or asked.only in fault.what]
    good = 0
    with tempfile.TemporaryDirectory(prefix="gridberry-fleet.") as name, fleet(Path(name)) as world:
        world.start_server()
        world.start_pi(world.pis[SERVER])
        world.start_pi(world.pis[CHECKER], inside=own_disk(world))
        looks = Looks(world)
        say(f"All times are {FACTOR} times shorter than on a Pi. Seconds here:\n")
        say("| fault | alert | after | messages | recovery after |")
        say("| --- | --- | ---: | ---: | ---: |")
        try:
            for fault in chosen:
                well, row = try_out(world, fault)
                good += well
                say(row)
        finally:
            looks.close()
    say(f"{good} of {len(chosen)} faults: one alert and one recovery each")
    return 0 if good == len(chosen) else 1
