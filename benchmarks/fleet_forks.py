"""How many hosts Ansible should ask at a time: a look at all of a fleet, with different forks.

    python -m benchmarks.fleet_forks [--hosts 100] [--forks 10 25 50 100] [--answer 1.0]

The hosts are those of `benchmarks.fleet_size`, but each takes a while for every command, as a Pi
does over SSH: with too few forks the controller waits, with too many it has no memory or processor
left. Memory is the sum over its processes, with what they share divided among them: the largest
that was seen.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleet_size import ROOT, Cost, Fleet

SAMPLE_SECONDS = 1.0
# Around what runs on hosts: once for each command, however often Ansible nests its shells.
SLOW = """#!/bin/bash
[ -z "$NOTED" ] || exec /bin/sh "$@"
sleep {answer}
exec {shell} "$@"
"""


@dataclass
class Memory:
    """The controller's memory while something runs.

    Attributes:
        largest: The largest sum that was seen (MiB).
    """

    largest: float = 0.0

    def watch(self, marker: str, done: threading.Event) -> None:
        """Look at the processes whose command line has a marker, until told to end."""
        while not done.wait(SAMPLE_SECONDS):
            self.largest = max(self.largest, sum(own_memory(marker)) / 1024)


def own_memory(marker: str) -> Iterator[int]:
    """Yield the proportional memory of each process with a marker in its command line (KiB)."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            if b"ansible" not in words or marker.encode() not in words:
                continue
            lines = (process / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it has ended
        yield sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def measure(fleet: Fleet, forks: int) -> tuple[Cost, float]:
    """Look at all hosts with so many forks; the cost, and the controller's memory (MiB)."""
    memory, done = Memory(), threading.Event()
    watching = threading.Thread(target=memory.watch, args=(os.fspath(fleet.inventory), done))
    watching.start()
    try:
        look = json.dumps({"look_output": str(fleet.place / "look.json")})
        words = ("playbooks/look.yml", "-e", look, "--forks", str(forks))
        cost = fleet.cost(f"{forks} forks", "ansible", "playbook", *words)
    finally:
        done.set()
        watching.join()
    return cost, memory.largest


def slow_down(fleet: Fleet, answer: float) -> None:
    """Let every command of a host take so many seconds more."""
    shell = fleet.place / "bin/shell"
    counted = shell.rename(shell.with_name("counted"))
    shell.write_text(SLOW.format(answer=answer, shell=counted))
    shell.chmod(0o755)


def report(found: Sequence[tuple[int, Cost, float]]) -> str:
    """Return a table."""
    lines = ["forks  wall s  controller s  memory MiB"]
    lines += [
        f"{forks:5}  {cost.seconds:6.1f}  {cost.controller:12.1f}  {memory:10.0f}"
        for forks, cost, memory in found
    ]
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_forks", description=__doc__)
    parser.add_argument("--hosts", type=int, default=100, help="of the fleet (100)")
    parser.add_argument("--forks", type=int, nargs="+", default=[10, 25, 50, 100])
    parser.add_argument("--answer", type=float, default=1.0, help="seconds of each command (1.0)")
    options = parser.parse_args()
    page = subprocess.Popen([sys.executable, "-m", "benchmarks.fleet_rollout", "--serve"], cwd=ROOT)
    try:
        with tempfile.TemporaryDirectory() as directory:
            fleet = Fleet(Path(directory) / "fleet", options.hosts, 1)
            slow_down(fleet, options.answer)
            time.sleep(1)  # the page answers by then
            found = [(forks, *measure(fleet, forks)) for forks in options.forks]
    finally:
        page.terminate()
        page.wait()
    print(report(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
