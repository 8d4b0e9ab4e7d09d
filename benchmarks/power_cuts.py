"""Power cuts at random moments of a first converge: does the Pi boot, does a second run converge?

    python -m benchmarks.power_cuts [--count 30] [--seed N] [--playbook playbooks/harden.yml]
        [--release bookworm] [--from-one-converge] [--inside TASK] [--jobs N] [--no-third]
        [--json FILE] [-- ARGUMENTS OF ANSIBLE-PLAYBOOK]

One converge without a cut comes first: it says which task runs when. Then, for each moment, a
fresh virtual Pi is booted and converged, and at the moment its QEMU is killed. It must boot again,
a second run must converge, and a third, with --check, must find nothing to change. One line is
printed for each; exits 1 unless all did. A machine that failed is kept, off, and so are its logs.

**Moments** are drawn evenly from the seconds of the converge without a cut, and carried over to the
other converges as a task and the seconds since it began: those take longer or shorter. One of them
falls into the reboot, if none did by chance.

**--from-one-converge** takes all moments from one converge, and needs none without a cut. At each
moment QEMU is frozen, its disks are copied, and it goes on; every copy is booted later as a machine
of its own, with its own ports. How long the converge will take is not known while it runs: so
there are more moments than asked for, some seconds apart, and each replaces an earlier one with the
chance that leaves all equally likely (reservoir sampling). One is taken while the Pi reboots, if
none was by chance.

A copy is what a kill at that moment would have left, because a kill loses just what is not in
QEMU's files:

- What QEMU has written lies in this computer's page cache, which outlives a killed process and
  which the copy reads. It makes no difference whether it has reached this computer's own disk.
- What QEMU holds in its own memory (writes of the guest that it has not passed on, tables of the
  qcow2 files that it has not written back) is lost to both.
- Freezing (SIGSTOP) does not make QEMU write anything, as its own `stop` command would. A write
  that one of its threads is in the middle of is finished first; a kill might have cut it in two.
  Nobody has been told yet that such a write is done, so no file system relies on it.

**--inside TASK** draws all moments from the half minute that follows the begin of a task in that
one converge: what a kernel writes by itself, it has written then. With `--tags` after `--`, the
converge and the second runs are that task's role alone:

    python -m benchmarks.power_cuts --count 10 --inside "boot_config : Set the kernel" --no-third
        -- --tags boot_config -e boot_config_reboot=false

The supervisor is frozen first, so that no QEMU is started meanwhile when the Pi is rebooting. The
guest's clock jumps by the seconds of the copy, which are printed.
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks.plays import (
    ROOT,
    VIRTUAL,
    Outcome,
    Play,
    Task,
    playbook_command,
    run_play,
)
from virtual_pi import image, lifecycle
from virtual_pi.errors import VirtualPiError
from virtual_pi.machines import (
    CreateOptions,
    Machine,
    Status,
    change_ports,
    copy_sparse,
    create_machine,
    ssh_command,
)
from virtual_pi.paths import make_private
from virtual_pi.processes import ProcessName, is_alive
from virtual_pi.rootfs import RELEASES

NAME = "pi1"
PAGE_PORT = 8080
# A boot takes half a minute; on a computer that is busy with others, much longer.
BOOT_SECONDS = 900
FREEZE_SECONDS = 10
# With --from-one-converge: between one moment that may be taken and the next, on average.
INTERVAL_SECONDS = 4.0
POLL_SECONDS = 0.5
# With --inside: the kernel writes by itself what is 30 s old, looked for every 5.
INSIDE_SECONDS = 35.0
# How long after QEMU's restart a boot still is one, however fast the computer.
EARLY_BOOT_SECONDS = 8.0
# Disks and keys; not the sockets, locks and logs of the machine they are copied from.
COPIED = ("*.qcow2", "*.img", "*.json", "id_ed25519*", "ssh_host_*", "known_hosts")
HEADER = (
    f"{'#':>3}  {'second':>6}  {'cut in':<46}  {'boot s':>6}  {'run s':>6}  {'3rd':>4}  outcome"
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Moment:
    """When the power is cut.

    Attributes:
        second: Seconds into the converge without a cut.
        task: The number of the task that ran then, from 0; -1 before the first.
        offset: Seconds since that task began, or since the start before the first.
        rebooting: Whether that task rebooted the Pi.
    """

    second: float
    task: int
    offset: float
    rebooting: bool


@dataclass
class Cut:
    """A power cut and what came of it.

    Attributes:
        number: Its number, from 1.
        second: Its moment, in seconds into the converge that the moments are drawn from.
        task: What ran when the power went.
        rebooting: Whether its moment was while the Pi rebooted.
        boot_seconds: From the power's return to SSH; None where it did not boot.
        run_seconds: How long the second run took; None where there was none.
        changed_by_second: How much the second run changed.
        changed_by_third: How much the third run would have changed; None where there was none.
        failure: What went wrong; empty where nothing did.
    """

    number: int
    second: float
    task: str = ""
    rebooting: bool = False
    boot_seconds: float | None = None
    run_seconds: float | None = None
    changed_by_second: int | None = None
    changed_by_third: int | None = None
    failure: str = ""

    def line(self) -> str:
        """Return its line of the table."""

        def number(value: float | None) -> str:
            return "-" if value is None else f"{value:.0f}"

        return (
            f"{self.number:>3}  {self.second:>6.1f}  {self.task[:46]:<46}"
            f"  {number(self.boot_seconds):>6}  {number(self.run_seconds):>6}"
            f"  {number(self.changed_by_third):>4}  {self.failure or 'booted and converged'}"
        )


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        playbook: The playbook.
        state: Directory for the machines and logs.
        release: Debian's release.
        memory_mib: The machines' RAM.
        cpus: Their processors.
        third: Whether a third run, with --check, must find nothing to change.
        arguments: Further arguments of ansible-playbook.
    """

    playbook: Path
    state: Path
    release: str = "trixie"
    memory_mib: int = 1024
    cpus: int = 1
    third: bool = True
    arguments: tuple[str, ...] = ()

    def command(self, *more: str) -> list[str]:
        """Return the command of a run.

        Args:
            more: Arguments of this run.
        """
        return playbook_command(self.playbook, VIRTUAL, *self.arguments, *more)

    def place(self, name: str) -> Path:
        """Return the state directory of one machine, made if it is missing.

        Args:
            name: The directory's name.
        """
        place = self.state / name
        make_private(place)
        return place


@dataclass
class Report:
    """All power cuts.

    Attributes:
        seed: What the moments were drawn with.
        cuts: The power cuts, by their moments.
    """

    seed: int
    cuts: list[Cut]

    @property
    def ok(self) -> bool:
        """Whether there were any and none failed."""
        return bool(self.cuts) and not any(cut.failure for cut in self.cuts)

    def closing(self) -> str:
        """Return the closing count."""
        good = sum(not cut.failure for cut in self.cuts)
        return f"{good} of {len(self.cuts)}: booted and converged"


class CutError(Exception):
    """What went wrong with one machine, in words for its line."""


def reboot_task(tasks: Sequence[Task], rebooted_at: float) -> int:
    """Return the number of the task that ran when the Pi rebooted.

    Args:
        tasks: The tasks of a converge.
        rebooted_at: The second at which its machine was started again.
    """
    return bisect.bisect_right([task.begin for task in tasks], rebooted_at) - 1


def choose_moments(
    count: int, seed: int, tasks: Sequence[Task], total: float, rebooted: int | None
) -> list[Moment]:
    """Return when to cut the power, in the order of a converge.

    Args:
        count: How often.
        seed: Makes the same moments again.
        tasks: The tasks of the converge without a cut.
        total: Its seconds.
        rebooted: The number of its task that rebooted the Pi; None where none did.
    """
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    seconds = sorted(chance.uniform(0, total) for _ in range(count))
    if rebooted is not None:
        task = tasks[rebooted]
        end = task.begin + task.seconds
        if not any(task.begin <= second < end for second in seconds):
            near = min(range(count), key=lambda index: abs(seconds[index] - task.begin))
            seconds[near] = chance.uniform(task.begin, end)
            seconds.sort()
    begins = [task.begin for task in tasks]
    moments = []
    for second in seconds:
        number = bisect.bisect_right(begins, second) - 1
        since = begins[number] if number >= 0 else 0.0
        moments.append(Moment(second, number, second - since, number == rebooted))
    return moments


def wait_for(play: Play, moment: Moment) -> bool:
    """Wait for a moment; tell whether the play still runs then.

    Args:
        play: The converge.
        moment: The moment.
    """
    if moment.task < 0:
        return play.wait_for_second(moment.offset)
    return play.wait_for(moment.task, moment.offset)


def create(plan: Plan, place: Path) -> Machine:
    """Create a machine and wait until it has booted.

    Args:
        plan: What it is made of.
        place: Its state directory.
    """
    options = CreateOptions(
        memory_mib=plan.memory_mib,
        cpus=plan.cpus,
        forwards=(PAGE_PORT,),
        release=plan.release,
    )
    machine = create_machine(place, NAME, image.ensure_image(plan.release), options)
    lifecycle.start(machine)
    lifecycle.wait_for_ssh([machine], BOOT_SECONDS)
    # Its first boot wrote host keys and name, which a file system keeps in memory for up to half
    # a minute: a cut that loses them tells nothing of what is run here.
    image.run(*ssh_command(machine, "-o", "BatchMode=yes"), "sync")
    return machine


def measure(plan: Plan, say: Say) -> tuple[Outcome, int | None]:
    """Converge once without a cut; return how it went and the number of the task that rebooted.

    Args:
        plan: What is run.
        say: Told of it.

    Raises:
        VirtualPiError: It failed even so.
    """
    place = plan.place("uncut")
    machine = Machine(place, NAME)
    say(f"converging once without a cut; the log: {place / 'first.log'}")
    try:
        create(plan, place)
        boots, rebooted_at = machine.status().boots, None
        with Play(plan.command(), place / "first.log", place) as play:
            while play.wait_for_second(play.seconds() + 0.5):
                if rebooted_at is None and machine.status().boots > boots:
                    rebooted_at = play.seconds()
            outcome = play.outcome()
        if not outcome.converged:
            raise VirtualPiError(f"the converge without a cut failed: see {outcome.log}")
    finally:
        if machine.exists():
            lifecycle.cut(machine)
    lifecycle.remove(machine)
    rebooted = None if rebooted_at is None else reboot_task(outcome.tasks, rebooted_at)
    during = "did not reboot" if rebooted is None else f"rebooted in {outcome.tasks[rebooted].name}"
    say(f"it took {outcome.seconds:.0f} s, had {len(outcome.tasks)} tasks and {during}")
    return outcome, rebooted


def recover(plan: Plan, machine: Machine, place: Path, cut: Cut) -> None:
    """Give a machine its power back and see that it boots and converges; notes it in the cut.

    Args:
        plan: What is run.
        machine: The machine, off.
        place: Its state directory, where the logs go too.
        cut: The power cut.

    Raises:
        CutError: It does not.
        VirtualPiError: It does not boot.
    """
    begin = time.monotonic()
    lifecycle.start(machine)
    lifecycle.wait_for_ssh([machine], BOOT_SECONDS)
    cut.boot_seconds = time.monotonic() - begin
    second = run_play(plan.command(), place / "second.log", place)
    cut.run_seconds, cut.changed_by_second = second.seconds, second.changed
    if not second.converged:
        raise CutError(f"the second run failed ({second.exit_status}): see {second.log}")
    if not plan.third:
        return
    third = run_play(plan.command("--check"), place / "third.log", place)
    cut.changed_by_third = third.changed
    if not third.converged:
        raise CutError(f"--check after it failed ({third.exit_status}): see {third.log}")
    if third.changed:
        raise CutError(f"--check after it would change {third.changed}: see {third.log}")


@contextmanager
def judged(cut: Cut, place: Path, machine: Machine) -> Iterator[None]:
    """Note in a cut what goes wrong with its machine, which is then kept, off; else remove it.

    Args:
        cut: The power cut.
        place: The machine's state directory.
        machine: The machine.
    """
    try:
        yield
    except (CutError, VirtualPiError) as error:
        (place / "failure.txt").write_text(f"{error}\n")
        first = str(error).splitlines()[0].removesuffix(" ends with:")
        cut.failure = f"FAILED: {first}; kept: GRIDBERRY_STATE={place}"
    finally:
        if machine.exists():
            lifecycle.cut(machine)
    if not cut.failure:
        lifecycle.remove(machine)


def cut_once(plan: Plan, number: int, moment: Moment) -> Cut:
    """Converge a fresh machine, kill it at a moment, and see what comes of it.

    Args:
        plan: What is run.
        number: The cut's number.
        moment: When.
    """
    place = plan.place(f"cut-{number:02}")
    cut = Cut(number, moment.second, rebooting=moment.rebooting)
    machine = Machine(place, NAME)
    with judged(cut, place, machine):
        create(plan, place)
        with Play(plan.command(), place / "first.log", place) as play:
            running = wait_for(play, moment)
            cut.task = play.current()
            lifecycle.cut(machine)
            # Leaving the block ends Ansible, which must not go on once the Pi is back.
            if not running and not play.outcome().converged:
                raise CutError(f"the converge failed before the cut: see {play.log}")
        if not running:
            cut.task = f"after the last task, {cut.task}"
        recover(plan, machine, place, cut)
    return cut


def _threads_stopped(process: ProcessName) -> bool:
    states = [
        path.read_text().rpartition(")")[2].split()[0]
        for path in Path(f"/proc/{process.pid}/task").glob("*/stat")
    ]
    return bool(states) and set(states) == {"T"}


@contextmanager
def frozen(machine: Machine) -> Iterator[None]:
    """Stop a machine's supervisor and QEMU, every thread of them, and let them go on afterwards.

    Args:
        machine: The machine.

    Raises:
        VirtualPiError: They do not stop.
    """
    stopped: list[ProcessName] = []
    try:
        # Only a frozen supervisor cannot start another QEMU: so which one runs is asked after it.
        for role in ("supervisor", "qemu"):
            process: ProcessName | None = getattr(machine.status(), role)
            if process is None or not is_alive(process):
                continue
            os.kill(process.pid, signal.SIGSTOP)
            stopped.append(process)
            deadline = time.monotonic() + FREEZE_SECONDS
            while not _threads_stopped(process):
                if time.monotonic() > deadline:
                    raise VirtualPiError(f"{machine.name}: its {role} cannot be frozen")
                time.sleep(0.001)
        yield
    finally:
        for process in reversed(stopped):
            if is_alive(process):
                os.kill(process.pid, signal.SIGCONT)


def copy_frozen(machine: Machine, place: Path) -> float:
    """Copy a running machine as a kill would leave it; return the seconds it stood still.

    Args:
        machine: The machine.
        place: The copy's state directory.
    """
    target = Machine(place, machine.name)
    make_private(target.directory)
    boots = machine.status().boots
    with frozen(machine):
        begin = time.monotonic()
        for pattern in COPIED:
            for path in sorted(machine.directory.glob(pattern)):
                copy_sparse(path, target.directory / path.name)
        stood = time.monotonic() - begin
    target.write_status(Status("off", "the power was cut", boots))
    return stood


class Copies:
    """Copies of one machine's disks, each at a moment as likely as any other.

    Attributes:
        cuts: A power cut for each copy that is kept.
    """

    def __init__(self, plan: Plan, machine: Machine, count: int, seed: int, say: Say) -> None:
        self._plan, self._machine, self._count, self._say = plan, machine, count, say
        self._chance = random.Random(seed)  # noqa: S311 - moments, not secrets
        self._seen = 0
        self._spare: Cut | None = None
        self.cuts: list[Cut] = []

    def take(self, play: Play) -> None:
        """Take copies until the play has ended.

        Args:
            play: The converge.
        """
        boots = self._machine.status().boots
        due = self._interval()
        rebooting_until = 0.0
        while play.wait_for_second(min(due, play.seconds() + POLL_SECONDS)):
            now = play.seconds()
            if self._spare is None and self._machine.status().boots > boots:
                if not rebooting_until:
                    rebooting_until = now + self._chance.uniform(0, EARLY_BOOT_SECONDS)
                elif now >= rebooting_until:
                    self._spare = self._copy(play, self._count + 1)
            if now >= due:
                self._offer(play)
                due = play.seconds() + self._interval()

    def take_inside(self, play: Play, task: str) -> None:
        """Take copies from a task's begin until the kernel has written all by itself.

        Args:
            play: The converge, which may end meanwhile.
            task: How the task's name begins.

        Raises:
            VirtualPiError: There is no such task.
        """
        while not play.current().startswith(task):
            if not play.wait_for_second(play.seconds() + POLL_SECONDS / 10):
                raise VirtualPiError(f"--inside is {task!r}, and no task begins so: see {play.log}")
        begin = play.seconds()
        moments = (self._chance.uniform(0, INSIDE_SECONDS) for _ in range(self._count))
        for number, moment in enumerate(sorted(moments), 1):
            time.sleep(max(0.0, begin + moment - play.seconds()))
            self.cuts.append(self._copy(play, number))

    def close(self) -> None:
        """Settle which copies are kept, and number them by their moments."""
        if self._spare and not any(cut.rebooting for cut in self.cuts):
            index = self._chance.randrange(len(self.cuts))
            self._drop(self.cuts[index])
            self.cuts[index] = self._spare
        elif self._spare:
            self._drop(self._spare)
        self.cuts.sort(key=lambda cut: cut.second)

    def _interval(self) -> float:
        return self._chance.expovariate(1 / INTERVAL_SECONDS)

    def _offer(self, play: Play) -> None:
        """Copy now, unless the draw is against it."""
        self._seen += 1
        if len(self.cuts) < self._count:
            self.cuts.append(self._copy(play, len(self.cuts) + 1))
            return
        index = self._chance.randrange(self._seen)
        if index < self._count:
            number = self.cuts[index].number
            self._drop(self.cuts[index])
            self.cuts[index] = self._copy(play, number)

    def _place(self, number: int) -> Path:
        return self._plan.place(f"cut-{number:02}")

    def _drop(self, cut: Cut) -> None:
        shutil.rmtree(self._place(cut.number))

    def _copy(self, play: Play, number: int) -> Cut:
        cut = Cut(number, play.seconds(), play.current())
        cut.rebooting = self._machine.status().state != "running"
        stood = copy_frozen(self._machine, self._place(number))
        rebooting = " (rebooting)" if cut.rebooting else ""
        self._say(
            f"copy {number}: {cut.second:.1f} s, in {cut.task}{rebooting}; took {stood:.1f} s"
        )
        return cut


def recover_copy(plan: Plan, cut: Cut) -> Cut:
    """Boot a copy, and see what comes of it.

    Args:
        plan: What is run.
        cut: Its power cut, which what comes of it is noted in.
    """
    place = plan.place(f"cut-{cut.number:02}")
    machine = Machine(place, NAME)
    with judged(cut, place, machine):
        recover(plan, machine, place, cut)
    return cut


def copies_of_one(plan: Plan, count: int, seed: int, say: Say, inside: str = "") -> list[Cut]:
    """Converge one machine and copy its disks at moments of it.

    Args:
        plan: What is run.
        count: How many.
        seed: Draws the moments.
        say: Told of the copies.
        inside: How the task's name begins that all moments follow; empty for the whole converge.

    Returns:
        A power cut for each copy, by their moments; each copy has ports of its own.

    Raises:
        VirtualPiError: The converge failed, or was over before there were enough moments.
    """
    place = plan.place("source")
    original = Machine(place, NAME)
    try:
        create(plan, place)
        copies = Copies(plan, original, count, seed, say)
        with Play(plan.command(), place / "first.log", place) as play:
            if inside:
                copies.take_inside(play, inside)
            else:
                copies.take(play)
            outcome = play.outcome()
        if not outcome.converged:
            raise VirtualPiError(f"the converge failed: see {play.log}")
        if len(copies.cuts) < count:
            raise VirtualPiError(f"it took {outcome.seconds:.0f} s: too short for {count} moments")
    finally:
        if original.exists():
            lifecycle.cut(original)
    lifecycle.remove(original)
    copies.close()
    taken: list[int] = []
    for cut in copies.cuts:
        taken += change_ports(Machine(plan.place(f"cut-{cut.number:02}"), NAME), taken)
    say(f"the converge took {outcome.seconds:.0f} s")
    return copies.cuts


def run(
    count: int,
    seed: int,
    plan: Plan,
    *,
    from_one_converge: bool = False,
    inside: str = "",
    jobs: int = 1,
    say: Say = print,
) -> Report:
    """Cut the power again and again.

    Args:
        count: How often.
        seed: Chooses the moments.
        plan: What is run.
        from_one_converge: Whether all moments are taken from one converge.
        inside: How the task's name begins that all moments follow; then they are from one converge.
        jobs: How many machines at a time.
        say: Told of everything as it happens, a line at a time.

    Raises:
        VirtualPiError: A converge without a cut fails.
    """
    say(f"seed {seed}, {count} power cuts, {plan.playbook.name} on {plan.release}")
    report = Report(seed, [])
    work: list[Callable[[], Cut]]
    if from_one_converge or inside:
        cuts = copies_of_one(plan, count, seed, say, inside)
        work = [partial(recover_copy, plan, cut) for cut in cuts]
    else:
        outcome, rebooted = measure(plan, say)
        moments = choose_moments(count, seed, outcome.tasks, outcome.seconds, rebooted)
        work = [partial(cut_once, plan, number, moment) for number, moment in enumerate(moments, 1)]
    say(HEADER)
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(piece) for piece in work]
        try:
            for done in as_completed(waiting):
                report.cuts.append(done.result())
                say(report.cuts[-1].line())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    report.cuts.sort(key=lambda cut: cut.second)
    say(report.closing())
    return report


def main() -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="power_cuts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=30, metavar="N", help="default: 30")
    parser.add_argument("--seed", type=int, help="chooses the moments (default: a new one)")
    parser.add_argument("--playbook", type=Path, default=ROOT / "playbooks" / "harden.yml")
    parser.add_argument("--release", default="trixie", choices=RELEASES)
    parser.add_argument("--memory", type=int, default=1024, metavar="MIB", help="default: 1024")
    parser.add_argument("--cpus", type=int, default=1, help="default: 1")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="machines at a time")
    parser.add_argument("--from-one-converge", action="store_true", help="see the top of this file")
    parser.add_argument("--inside", default="", metavar="TASK", help="see the top of this file")
    parser.add_argument("--no-third", action="store_true", help="leave out the closing --check")
    parser.add_argument("--state", type=Path, help="for machines and logs (default: a new one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes there")
    parser.add_argument("arguments", nargs="*", help="of ansible-playbook, after --")
    options = parser.parse_args()
    if options.count < 1 or options.jobs < 1:
        parser.error("--count and --jobs take numbers from 1 up")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    state = (options.state or Path(tempfile.mkdtemp(prefix="power-cuts-"))).absolute()
    make_private(state)
    if any(state.iterdir()):
        parser.error(f"--state is {state}, which is not empty: name a new directory")
    plan = Plan(
        playbook=options.playbook.absolute(),
        state=state,
        release=options.release,
        memory_mib=options.memory,
        cpus=options.cpus,
        third=not options.no_third,
        arguments=tuple(options.arguments),
    )
    try:
        report = run(
            options.count,
            seed,
            plan,
            from_one_converge=options.from_one_converge,
            inside=options.inside,
            jobs=options.jobs,
            say=lambda line: print(line, flush=True),
        )
    except VirtualPiError as error:
        print(f"power_cuts: {error}", file=sys.stderr)
        return 1
    if options.json:
        result = {"ok": report.ok, **asdict(report)}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    if report.ok:
        shutil.rmtree(state)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
