"""What a fleet's size costs the controller: checks, looks, and a whole rollout.

    python -m benchmarks.fleet_size [--hosts 50 200 500] [--kinds 20] [--json FILE]

Real Ansible and the real modules; each simulated host is this machine with a directory of its own
and a stand-in for Docker. A shell around all that runs on hosts adds up its processor time, so that
the controller's is what remains. The wall clock depends on what else runs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from benchmarks.fleet_rollout import docker, variables

ROOT = Path(__file__).resolve().parents[1]
SIZES = (50, 200, 500)
LINEAR = 1.2  # a growth up to here counts as linear: the largest that was measured is 1.04
# What a host runs goes through this, and Ansible nests it. `times` writes two lines: of the shell
# itself and of what it ran.
SHELL = """#!/bin/bash
[ -z "$NOTED" ] || exec /bin/sh "$@"
NOTED=1 /bin/sh "$@"
status=$?
times >>{noted}
exit $status
"""


@dataclass
class Cost:
    """What one command cost.

    Attributes:
        what: The command.
        hosts: How many the fleet has.
        seconds: Wall clock.
        controller, targets: Processor time (seconds).
        memory: Of the largest process (MiB).
    """

    what: str
    hosts: int
    seconds: float
    controller: float
    targets: float
    memory: float


class Fleet:
    """An inventory of simulated hosts.

    Args:
        place: A directory.
        size: How many hosts.
        kinds: How many different grids they have.
    """

    def __init__(self, place: Path, size: int, kinds: int) -> None:
        self.place, self.size = place, size
        self.noted, self.inventory = place / "noted", place / "hosts.yml"
        for name in ("bin", "notes", "state"):
            (place / name).mkdir(parents=True)
        for name, text in (
            ("docker", docker(place / "notes")),
            ("shell", SHELL.format(noted=self.noted)),
        ):
            (place / "bin" / name).write_text(text)
            (place / "bin" / name).chmod(0o755)
        hosts = {
            f"pi{number:03}": {"grid_bot_investment": str(10_000 + 100 * (number % kinds))}
            for number in range(size)
        }
        common = {"ansible_connection": "local", "ansible_become": False}
        common |= {"ansible_python_interpreter": "/usr/bin/python3", "grid_bot_prices": "live"}
        common |= {"grid_bot_directory": f"{place}/{{{{ inventory_hostname }}}}"}
        common |= variables(place)
        document = {"trading": {"hosts": hosts, "vars": common}}
        self.inventory.write_text(yaml.safe_dump(document))

    def cost(self, what: str, module: str, *words: str) -> Cost:
        """Run a command on all hosts and return its cost.

        Raises:
            RuntimeError: It failed.
        """
        self.noted.write_text("")
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_EXECUTABLE": str(self.place / "bin/shell"),
            "GRIDBERRY_STATE": str(self.place / "state"),
            "PATH": f"{self.place}/bin:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{ROOT}/bot/src",
        }
        log, begun = self.place / "log", time.monotonic()
        with log.open("wb") as output:
            command = [sys.executable, "-m", module, *words, "-i", os.fspath(self.inventory)]
            with subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=output
            ) as process:
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{what}: {log.read_text(errors='replace')[-2000:]}")
        targets = sum(map(seconds_of, self.noted.read_text().split()))
        controller = used.ru_utime + used.ru_stime - targets
        cost = Cost(
            what, self.size, time.monotonic() - begun, controller, targets, used.ru_maxrss / 1024
        )
        print(f"{self.size} hosts: {what}: {cost.seconds:.0f} s", file=sys.stderr, flush=True)
        return cost

    def costs(self) -> Iterator[Cost]:
        """Yield the cost of each command.

        Raises:
            RuntimeError: One failed.
        """
        look = json.dumps({"look_output": str(self.place / "look.json")})
        yield self.cost("settings", "ansible", "playbook", "playbooks/settings.yml")
        yield self.cost("plan", "fleet.cli", "rollout", "--plan")
        yield self.cost("look", "ansible", "playbook", "playbooks/look.yml", "-e", look)
        yield self.cost("preflight", "ansible", "playbook", "playbooks/preflight.yml")
        yield self.cost("rollout", "benchmarks.fleet_rollout")


def seconds_of(text: str) -> float:
    """Return the seconds of what a shell writes as 0m1.234s."""
    minutes, _, seconds = text.strip("s").partition("m")
    return int(minutes) * 60 + float(seconds.replace(",", "."))


def exponent(small: Cost, large: Cost) -> float:
    """Return by which power of the number of hosts the controller's time grows: 1 is linear."""
    return math.log(large.controller / small.controller) / math.log(large.hosts / small.hosts)


def growths(costs: Sequence[Cost]) -> dict[tuple[str, int], float]:
    """Return each command's growth since the next smaller size, by command and size."""
    before: dict[str, Cost] = {}
    found = {}
    for one in sorted(costs, key=lambda cost: cost.hosts):
        if (last := before.get(one.what)) is not None:
            found[one.what, one.hosts] = exponent(last, one)
        before[one.what] = one
    return found


def report(costs: Sequence[Cost]) -> str:
    """Return a table, with the growth between one size and the next."""
    grown = growths(costs)
    lines = ["what      hosts  controller s  a host ms  targets s  memory MiB  wall s  growth"]
    for one in sorted(costs, key=lambda cost: (cost.what, cost.hosts)):
        since = grown.get((one.what, one.hosts))
        growth = "" if since is None else f"{since:.2f}"
        each = one.controller * 1000 / one.hosts
        lines.append(
            f"{one.what:9} {one.hosts:5}  {one.controller:12.1f}  {each:9.0f}  {one.targets:9.1f}"
            f"  {one.memory:10.0f}  {one.seconds:6.1f}  {growth:>6}"
        )
    return "\n".join(lines)


def verdict(costs: Sequence[Cost]) -> tuple[str, bool]:
    """Return what came of it in a line, and whether the controller's time grows linearly."""
    grown = growths(costs)
    if not grown:
        return "one size: no growth", True
    what, hosts = max(grown, key=lambda key: grown[key])
    worst = grown[what, hosts]
    most = max(hosts for _, hosts in grown)
    line = f"up to {most} hosts: growth at most {worst:.2f} ({what}), linear up to {LINEAR}"
    return line, worst <= LINEAR


def main() -> int:
    """Run the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_size", description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=SIZES, help="sizes of fleets")
    parser.add_argument("--kinds", type=int, default=20, help="how many different grids (20)")
    parser.add_argument("--json", type=Path, help="also write the costs there")
    options = parser.parse_args()
    costs: list[Cost] = []
    failed = ""
    page = subprocess.Popen([sys.executable, "-m", "benchmarks.fleet_rollout", "--serve"], cwd=ROOT)
    try:
        with tempfile.TemporaryDirectory() as directory:
            for size in options.hosts:
                # One at a time: what was measured before a failure is reported.
                for cost in Fleet(Path(directory) / str(size), size, options.kinds).costs():
                    costs.append(cost)  # noqa: PERF402
    except RuntimeError as error:
        failed = str(error)
    finally:
        page.terminate()
        page.wait()
    print(report(costs))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in costs], indent=2) + "\n")
    if failed:
        print(failed, file=sys.stderr)
        return 1
    line, linear = verdict(costs)
    print(line)
    return int(not linear)


if __name__ == "__main__":
    sys.exit(main())
