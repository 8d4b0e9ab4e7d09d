"""Power cuts inside a change of the boot files, all of them: what is left on the boot partition?

    python -m benchmarks.fat_cuts [--reorderings 100] [--seed N] [--release bookworm]
        [--roles-of COMMIT] [--no-boots] [--state DIRECTORY] [--json FILE]

A virtual Pi's boot files are changed three times: a first time, once more, and back. Its boot
partition is vfat, and everything that its kernel writes to it is recorded. From the record, the
disk is rebuilt as a power cut could have left it: after each sector that was written, and, drawn by
a seed, with some sectors missing of those written since the last flush (benchmarks/write_log.py
says why that may be). `fsck.vfat -a` runs on each, as at a Pi's boot. Then:

- cmdline.txt and config.txt are each as before the change or as after it, whole; once the play has
  ended, as after it;
- an original is kept, whole, of each that is not as it was at first.

Each distinct pair of boot files is booted once. A line is printed for each kind of state and for
each outcome; exits 1 unless all are well. `--roles-of` takes the roles from a commit, to see it
fail on one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

from benchmarks.fat_outcomes import FILES, WATCHED, Contents, Judge, Recorded, Report, Tally
from benchmarks.plays import ROOT, VIRTUAL, playbook_command, run_play
from benchmarks.write_log import (
    LogError,
    count_entries,
    prefixes,
    reorderings,
)
from virtual_pi import image, lifecycle
from virtual_pi.errors import VirtualPiError
from virtual_pi.machines import (
    CreateOptions,
    Machine,
    answers_ssh,
    copy_sparse,
    create_machine,
    ssh_command,
    write_whole,
)
from virtual_pi.paths import make_private
from virtual_pi.rootfs import RELEASES

NAME = "pi1"
BOOT_SECONDS = 900
# The kernel writes what nobody flushed after 30 s, looked for every 5.
SETTLE_SECONDS = 45.0
# What a boot that went wrong ends with, on its console.
GIVEN_UP = ("Kernel panic", "emergency mode", "Give root password")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Change:
    """A run that changes the boot files.

    Attributes:
        name: In words.
        variables: What the role is told.
    """

    name: str
    variables: dict[str, object]


def lines(name: str, count: int) -> list[str]:
    """Return lines for config.txt that do nothing and fill clusters.

    Args:
        name: What tells them from others.
        count: How many.
    """
    return [f"# {name} {number:02}: {'.' * 60}" for number in range(count)]


CHANGES = (
    Change("first change", {"boot_config_lines": lines("first", 40)}),
    Change(
        "second change",
        {
            "boot_config_lines": lines("second", 60),
            "boot_config_cmdline_present": ["cgroup_enable=memory", "panic=10"],
        },
    ),
    Change("taken back", {"boot_config_state": "absent"}),
)


def roles_of(commit: str, place: Path) -> list[str]:
    """Put the roles of a commit into a directory; return what has Ansible take them.

    Args:
        commit: The commit.
        place: The directory.

    Raises:
        VirtualPiError: There is no such commit.
    """
    done = subprocess.run(
        ["git", "archive", commit, "roles"], cwd=ROOT, capture_output=True, check=False
    )
    if done.returncode:
        raise VirtualPiError(f"--roles-of is {commit}: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(place, filter="data")
    roles = place / "roles"
    library = os.pathsep.join(str(path) for path in sorted(roles.glob("*/library")))
    return ["env", f"ANSIBLE_ROLES_PATH={roles}", f"ANSIBLE_LIBRARY={library}"]


def read_there(machine: Machine) -> Contents:
    """Return the watched files as a running machine has them.

    Args:
        machine: The machine.
    """

    def content(name: str) -> bytes | None:
        command = [*ssh_command(machine), f"sudo cat /boot/firmware/{name}"]
        done = subprocess.run(command, capture_output=True, check=False)
        return None if done.returncode else done.stdout

    return {name: content(name) for name in WATCHED}


def record(machine: Machine, prefix: Sequence[str], logs: Path, say: Say) -> list[Recorded]:
    """Change a running machine's boot files, and cut its power.

    Args:
        machine: The machine, whose boot partition is recorded.
        prefix: What is put before Ansible's command.
        logs: Directory for what Ansible prints.
        say: Told of it.

    Raises:
        VirtualPiError: A run failed.
    """
    found: list[Recorded] = []
    old = read_there(machine)
    begin = count_entries(machine.boot_log)
    for change in CHANGES:
        variables = logs / f"{change.name}.json"
        variables.write_text(json.dumps({"boot_config_reboot": False, **change.variables}))
        command = playbook_command(
            ROOT / "playbooks" / "harden.yml",
            VIRTUAL,
            *("--tags", "boot_config", "-e", f"@{variables}"),
        )
        outcome = run_play([*prefix, *command], logs / f"{change.name}.log", machine.state_dir)
        done = count_entries(machine.boot_log)
        if not outcome.converged:
            raise VirtualPiError(f"the {change.name} failed: see {outcome.log}")
        new = read_there(machine)
        time.sleep(SETTLE_SECONDS)
        end = count_entries(machine.boot_log)
        say(f"{change.name}: {done - begin} entries in the log, {end - done} after the play's end")
        found.append(Recorded(change.name, begin, done, end, old, new))
        old, begin = new, end
    lifecycle.cut(machine)
    return found


def boots_up(machine: Machine) -> bool:
    """Switch a machine on; tell whether it boots as far as SSH.

    Args:
        machine: The machine, which is off.
    """
    machine.console.unlink(missing_ok=True)
    try:
        lifecycle.start(machine)
    except VirtualPiError:
        return False
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline and lifecycle.is_on(machine):
        if machine.status().state == "running" and answers_ssh(machine):
            return True
        if any(word in machine.console.read_text(errors="replace") for word in GIVEN_UP):
            return False
        time.sleep(1)
    return False


def boot_each(judge_: Judge, machine: Machine, say: Say) -> None:
    """Boot a machine once with each pair of boot files: originals do not matter there.

    Args:
        judge_: Who has the outcomes.
        machine: A machine that is off.
        say: Told of it.
    """
    # These boots write no log: it would be of another disk.
    plain = json.loads(machine.settings_file.read_text()) | {"record_boot": False}
    write_whole(machine.settings_file, json.dumps(plain))
    tried: dict[tuple[bytes | None, ...], bool] = {}
    for number, outcome in enumerate(judge_.outcomes):
        read = tuple(outcome.found[name] for name in FILES)
        if read not in tried:
            copy_sparse(judge_.disk(number), machine.boot_disk)
            begin = time.monotonic()
            try:
                tried[read] = boots_up(machine)
            finally:
                lifecycle.cut(machine)
            took = time.monotonic() - begin
            say(f"outcome {number + 1} {'boots' if tried[read] else 'does not boot'}, {took:.0f} s")
        outcome.boots = tried[read]


def run(
    state: Path,
    seed: int,
    *,
    count: int = 100,
    release: str = "trixie",
    commit: str = "",
    boots: bool = True,
    say: Say = print,
) -> Report:
    """Record changes of the boot files and judge what a power cut could have left.

    Args:
        state: Directory for the machine, its disks and logs.
        seed: Draws the reorderings.
        count: How many reorderings of each change.
        release: Debian's release.
        commit: Whose roles; empty for those of the checkout.
        boots: Whether each outcome is booted.
        say: Told of everything as it happens, a line at a time.

    Raises:
        VirtualPiError: The changes cannot be recorded.
    """
    say(f"seed {seed}, {count} reorderings of each change, {release}")
    options = CreateOptions(memory_mib=1024, cpus=1, release=release, record_boot=True)
    machine = create_machine(state, NAME, image.ensure_image(release), options)
    prefix = roles_of(commit, state) if commit else []
    try:
        lifecycle.start(machine)
        lifecycle.wait_for_ssh([machine], BOOT_SECONDS)
        changes = record(machine, prefix, state, say)
    finally:
        lifecycle.cut(machine)
    sorter = Judge(machine, state)
    tallies = []
    for number, change in enumerate(changes):
        span = (sorter.writes, change.begin, change.end)
        for kind, states in (
            ("prefix", prefixes(*span)),
            ("reordering", reorderings(*span, count, seed + number)),
        ):
            tallies.append(Tally(change.name, kind))
            sorter.sort(states, change, tallies[-1])
    say(f"{'change':<14}  {'kind':<10}  {'states':>6}  {'distinct':>8}  {'bad':>4}")
    for tally in tallies:
        say(tally.line())
    if boots:
        boot_each(sorter, machine, say)
    report = Report(seed, tallies, sorter.outcomes)
    heads = "".join(f"{head:>6}  " for head in ("states", "cmdl.", "kept", "config", "kept"))
    say(f"{heads}{'boot':<13}  files")
    for outcome in report.outcomes:
        say(outcome.line())
    say(report.closing())
    return report


def main() -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="fat_cuts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reorderings", type=int, default=100, metavar="N", help="of each change")
    parser.add_argument("--seed", type=int, help="draws the reorderings (default: a new one)")
    parser.add_argument("--release", default="trixie", choices=RELEASES)
    parser.add_argument("--roles-of", default="", metavar="COMMIT", help="default: the checkout's")
    parser.add_argument("--no-boots", action="store_true", help="do not boot the outcomes")
    parser.add_argument("--state", type=Path, help="for machine and logs (default: a new one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    state = (options.state or Path(tempfile.mkdtemp(prefix="fat-cuts-"))).absolute()
    make_private(state)
    if any(state.iterdir()):
        parser.error(f"--state is {state}, which is not empty: name a new directory")
    try:
        report = run(
            state,
            seed,
            count=options.reorderings,
            release=options.release,
            commit=options.roles_of,
            boots=not options.no_boots,
            say=lambda line: print(line, flush=True),
        )
    except (VirtualPiError, LogError) as error:
        print(f"fat_cuts: {error}", file=sys.stderr)
        return 1
    if options.json:
        counts = [asdict(tally) | {"disks": len(tally.disks)} for tally in report.tallies]
        options.json.write_text(
            json.dumps({"ok": report.ok, "seed": seed, "states": counts}) + "\n"
        )
    if report.ok:
        lifecycle.remove(Machine(state, NAME))
        shutil.rmtree(state)
    else:
        print(f"kept: {state}", file=sys.stderr)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
