"""What a second run costs on a Pi where nothing has changed, in units of one trivial task.

    python -m benchmarks.second_run [--playbook playbooks/site.yml] [--limit-units 45] [--markdown]
        [--inventory PATH] [--release bookworm] [--json FILE] [-- ARGUMENTS OF ANSIBLE-PLAYBOOK]

Without --inventory, a virtual Pi is created and converged first, and removed afterwards. A unit is
the median of ten tasks that run /bin/true, five before the run and five after it, on the same
machine: so a slow machine, or one that others use too, gives the same number of units. The whole
run counts, from the start of ansible-playbook to its end. Exits 1 where it takes more units than
the limit, changes anything, or fails.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.plays import ROOT, VIRTUAL, Outcome, Task, playbook_command, run_play
from virtual_pi import image, lifecycle
from virtual_pi.errors import VirtualPiError
from virtual_pi.machines import CreateOptions, create_machine
from virtual_pi.paths import make_private
from virtual_pi.rootfs import RELEASES

LIMIT = 45.0
TRIVIAL_TASKS = 5
DEAREST = 15
NAME = "pi1"
BOOT_SECONDS = 900
TRIVIAL = "/bin/true"

Table = tuple[Sequence[str], Sequence[Sequence[str]]]


@dataclass(frozen=True)
class Result:
    """What a second run cost.

    Attributes:
        seconds: From ansible-playbook's start to its end.
        unit: Seconds of one trivial task.
        tasks: The tasks that ran.
        changed: How many of them changed something.
        limit: The most units that are allowed.
    """

    seconds: float
    unit: float
    tasks: list[Task]
    changed: int
    limit: float

    @property
    def units(self) -> float:
        """The run's cost."""
        return self.seconds / self.unit

    @property
    def ok(self) -> bool:
        """Whether it changed nothing and kept to the limit."""
        return self.changed == 0 and self.units <= self.limit

    def totals(self) -> Table:
        """Return the table of the whole run."""
        return (
            ("second run", "measured", "limit"),
            [
                ("tasks", str(len(self.tasks)), ""),
                ("changed", str(self.changed), "0"),
                ("seconds", f"{self.seconds:.1f}", ""),
                ("seconds of one trivial task", f"{self.unit:.2f}", ""),
                ("units", f"{self.units:.1f}", f"{self.limit:g}"),
            ],
        )

    def by_role(self) -> Table:
        """Return the table of what each role cost; what no task explains is Ansible's own."""
        roles: dict[str, list[Task]] = {}
        for task in self.tasks:
            roles.setdefault(task.role or "(the play's own)", []).append(task)
        rows = sorted(
            (
                (sum(task.seconds for task in tasks), len(tasks), role)
                for role, tasks in roles.items()
            ),
            reverse=True,
        )
        rest = self.seconds - sum(seconds for seconds, _, _ in rows)
        return (
            ("role", "tasks", "seconds", "units"),
            [
                *(
                    (role, str(count), f"{seconds:.1f}", f"{seconds / self.unit:.1f}")
                    for seconds, count, role in rows
                ),
                ("(Ansible itself)", "", f"{rest:.1f}", f"{rest / self.unit:.1f}"),
            ],
        )

    def by_task(self) -> Table:
        """Return the table of the dearest tasks."""
        dearest = sorted(self.tasks, key=lambda task: task.seconds, reverse=True)[:DEAREST]
        return (
            ("task", "seconds", "units"),
            [
                (task.name, f"{task.seconds:.1f}", f"{task.seconds / self.unit:.1f}")
                for task in dearest
            ],
        )


def plain(table: Table) -> str:
    """Return a table in columns.

    Args:
        table: Its heads and rows.
    """
    heads, rows = table
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        first, *others = (cell for cell in row)
        numbers = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        return "  ".join([first.ljust(widths[0]), *numbers]).rstrip()

    return "\n".join([line(heads), *(line(row) for row in rows)])


def markdown(table: Table) -> str:
    """Return a table in Markdown.

    Args:
        table: Its heads and rows.
    """
    heads, rows = table
    rule = ["---", *("---:" for _ in heads[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *rows))


def write_trivial(path: Path) -> None:
    """Write the playbook of trivial tasks; the first opens the connection and does not count.

    Args:
        path: The file.
    """
    tasks = [
        {"name": f"Trivial {number}", "ansible.builtin.command": TRIVIAL, "changed_when": False}
        for number in range(TRIVIAL_TASKS + 1)
    ]
    play = {"hosts": "trading", "gather_facts": False, "become": True, "tasks": tasks}
    path.write_text(json.dumps([{"name": "Trivial tasks", **play}], indent=1))  # JSON is YAML


def require(outcome: Outcome, what: str) -> Outcome:
    """Return a play's outcome if it went through.

    Args:
        outcome: How it ended.
        what: What it was.

    Raises:
        VirtualPiError: It failed.
    """
    if not outcome.converged:
        raise VirtualPiError(f"{what} failed ({outcome.exit_status}): see {outcome.log}")
    return outcome


def measure(
    playbook: Path,
    inventory: Path,
    logs: Path,
    *,
    arguments: Sequence[str] = (),
    state: Path | None = None,
    limit: float = LIMIT,
) -> Result:
    """Run a playbook on hosts that it has converged before, and trivial tasks around it.

    Args:
        playbook: The playbook.
        inventory: The inventory.
        logs: Directory for what Ansible prints.
        arguments: Further arguments of ansible-playbook.
        state: The virtual Pis' state directory; None for that of the environment.
        limit: The most units that are allowed.

    Raises:
        VirtualPiError: A run failed.
    """
    trivial = logs / "trivial.yml"
    write_trivial(trivial)
    limits = [argument for argument in arguments if argument.startswith("--limit=")]

    def units(name: str) -> list[float]:
        command = playbook_command(trivial, inventory, *limits)
        outcome = require(run_play(command, logs / name, state), "the trivial tasks")
        return [task.seconds for task in outcome.tasks[1:]]

    before = units("trivial-before.log")
    command = playbook_command(playbook, inventory, *arguments)
    outcome = require(run_play(command, logs / "second.log", state), "the second run")
    unit = statistics.median([*before, *units("trivial-after.log")])
    ran = [task for task in outcome.tasks if task.ran]
    return Result(outcome.seconds, unit, ran, outcome.changed, limit)


@contextmanager
def converged_pi(
    playbook: Path, state: Path, release: str, arguments: Sequence[str], say: Callable[[str], None]
) -> Iterator[None]:
    """Yield while there is a virtual Pi that a playbook has converged.

    Args:
        playbook: The playbook.
        state: The machine's state directory.
        release: Debian's release.
        arguments: Further arguments of ansible-playbook.
        say: Told of it.

    Raises:
        VirtualPiError: The converge failed.
    """
    options = CreateOptions(forwards=(8080,), release=release)
    machine = create_machine(state, NAME, image.ensure_image(release), options)
    try:
        lifecycle.start(machine)
        lifecycle.wait_for_ssh([machine], BOOT_SECONDS)
        say(f"converging; the log: {state / 'first.log'}")
        command = playbook_command(playbook, VIRTUAL, *arguments)
        first = require(run_play(command, state / "first.log", state), "the first run")
        say(f"it took {first.seconds:.0f} s")
        yield
    finally:
        lifecycle.remove(machine)


def main() -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="second_run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--playbook", type=Path, default=ROOT / "playbooks" / "site.yml")
    parser.add_argument("--inventory", type=Path, help="of hosts that are converged already")
    parser.add_argument("--release", default="trixie", choices=RELEASES, help="without --inventory")
    parser.add_argument("--limit-units", type=float, default=LIMIT, help=f"default: {LIMIT:g}")
    parser.add_argument("--markdown", action="store_true", help="print the tables for the docs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    parser.add_argument("arguments", nargs="*", help="of ansible-playbook, after --")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    logs = Path(tempfile.mkdtemp(prefix="second-run-"))
    make_private(logs)
    playbook = options.playbook.absolute()

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def measured(inventory: Path, state: Path | None) -> Result:
        return measure(
            playbook,
            inventory,
            logs,
            arguments=options.arguments,
            state=state,
            limit=options.limit_units,
        )

    try:
        if options.inventory:
            result = measured(options.inventory.absolute(), None)
        else:
            with converged_pi(playbook, logs, options.release, options.arguments, say):
                result = measured(VIRTUAL, logs)
    except VirtualPiError as error:
        say(f"second_run: {error}")
        return 1
    show = markdown if options.markdown else plain
    print(
        "\n\n".join(show(table) for table in (result.totals(), result.by_role(), result.by_task()))
    )
    if options.json:
        written = {"ok": result.ok, "units": result.units, **asdict(result)}
        options.json.write_text(json.dumps(written, indent=2) + "\n")
    if not result.ok:
        say(
            f"second_run: {result.units:.1f} units (limit {result.limit:g}),"
            f" {result.changed} changed (limit 0): the logs are in {logs}"
        )
        return 1
    shutil.rmtree(logs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
