"""The gate: every stage of `./gridberry test`, its time, and the count at the end.

    python -m tests.gate [--quick]

`./gridberry test` calls it once everything is installed. Two rows of stages run side by side: a
small emulated Pi keeps one processor busy, and so do the unit tests. Once these are through, a
second Pi, a branch of the first one's snapshot, takes a part of what is tested on it, and where the
first one was, the launcher and releases are tested. What runs beside is heard once the terminal is
free: its output waits in a log, is printed from its beginning, and then as it comes. A row ends
where a stage failed; the other one goes on. Interrupted, it leaves neither processes nor virtual
Pis behind. What takes longer than the gate may is in tests/full_parts.py.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import provisioned
from tests.summary import Result, closing

ROOT = Path(__file__).resolve().parents[1]
# Patience with what was told to end, before it is killed.
END_SECONDS = 20
# No unit test takes nearly as long, however busy the computer.
HUNG_SECONDS = 900
POLL_SECONDS = 0.2
# Of the scenario `default`, what the scenario `branch` runs on a second machine meanwhile.
ON_BRANCH = ("molecule/host/tests", "bot/tests/image", "molecule/default/tests/test_hang.py")
# Of the unit tests, what the first row runs once its machine is gone: so both end at the same time.
LAST = ("tests/fleet", "tests/ansible/test_releases.py")
RECORDED_SPEED = "600"  # market seconds in a second, of recorded candles on a virtual Pi


@dataclass
class Stage:
    """One command of the gate.

    Attributes:
        name: In words.
        command: What runs.
        junit: Where it leaves its tests' results; None where it has none.
        environment: Further variables of its environment.
        seconds: How long it took; None until it ended.
        status: Its exit status; None until it ended.
    """

    name: str
    command: Sequence[str]
    junit: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None
    status: int | None = None

    def run(self, processes: Processes, log: Path | None = None) -> None:
        """Run it to its end.

        Args:
            processes: Where it is kept while it runs.
            log: Where its output goes, where it runs beside another; None for the terminal.
        """
        begin = time.monotonic()
        try:
            with processes.running(self, log) as process:
                # Not wait(): an interruption just before it blocks would be noticed only after it.
                while (status := process.poll()) is None:
                    time.sleep(POLL_SECONDS)
        except OSError as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            status = 127
        self.seconds = time.monotonic() - begin
        self.status = status

    @property
    def result(self) -> Result:
        """How it ended, for the closing count."""
        return Result(self.name, self.status == 0, self.junit)


class Processes:
    """What runs now, so that all of it can be ended."""

    def __init__(self) -> None:
        self._groups: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._ending = False

    @contextmanager
    def running(self, stage: Stage, log: Path | None) -> Iterator[subprocess.Popen[bytes]]:
        """Start a stage's command in a process group of its own, so that its children end with it.

        Args:
            stage: The stage.
            log: Where its output goes; None for the terminal.

        Raises:
            OSError: It cannot be started, or everything is being ended.
        """
        with contextlib.ExitStack() as files, self._lock:
            if self._ending:
                raise OSError("not started: the gate was interrupted")
            process = subprocess.Popen(
                stage.command,
                cwd=ROOT,
                env=os.environ | stage.environment,
                stdin=subprocess.DEVNULL,
                stdout=None if log is None else files.enter_context(log.open("wb")),
                stderr=None if log is None else subprocess.STDOUT,
                process_group=0,
            )
            self._groups.append(process)
        yield process
        with self._lock:
            self._groups.remove(process)

    def end(self) -> None:
        """End everything: first as from a keyboard, so that it can tidy up."""
        with self._lock:
            self._ending = True
            groups = list(self._groups)
        for number in (signal.SIGINT, signal.SIGKILL):
            for process in groups:
                # What outlives the first of its group is ended, too.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            deadline = time.monotonic() + END_SECONDS
            while any(process.poll() is None for process in groups):
                if time.monotonic() > deadline:
                    break
                time.sleep(POLL_SECONDS)


def follow(stage: Stage, log: Path) -> None:
    """Print what a stage beside has said so far, and what it says until it ends.

    Args:
        stage: The stage.
        log: Where its output goes.
    """
    heading(stage)
    while stage.status is None and not log.exists():
        time.sleep(POLL_SECONDS)
    if log.exists():
        with log.open("rb") as output:
            while True:
                ended = stage.status is not None
                said = output.read()
                sys.stdout.buffer.write(said)
                sys.stdout.flush()
                if ended:
                    break
                time.sleep(POLL_SECONDS)
    took(stage)


def heading(stage: Stage) -> None:
    """Say that a stage begins, or that its output does.

    Args:
        stage: The stage.
    """
    print(f"\n== {stage.name}", flush=True)


def took(stage: Stage) -> None:
    """Say how long a stage took.

    Args:
        stage: The stage, ended.
    """
    failed = "" if stage.status == 0 else f", failed ({stage.status})"
    print(f"== {stage.name}: {stage.seconds or 0:.0f} s{failed}", flush=True)


def side_by_side(
    front: Iterable[Stage], beside: Iterable[Stage], logs: Path, processes: Processes
) -> list[Stage]:
    """Run two rows of stages at the same time, each row in its order.

    Args:
        front: Those that have the terminal; none of them is made, or begins, after one that failed.
        beside: Those that are heard afterwards; each is asked for once the one before has ended.
        logs: Directory for the output of those.
        processes: Where they are kept while they run.

    Returns:
        Those that ran.
    """
    begun: queue.Queue[tuple[Stage, Path] | None] = queue.Queue()

    def work() -> None:
        try:
            for number, stage in enumerate(beside):
                place = logs / f"{number}.log"
                place.unlink(missing_ok=True)
                begun.put((stage, place))
                stage.run(processes, place)
        finally:
            begun.put(None)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    print(f"\nOutput of what runs beside, so far: {logs}", flush=True)
    ran: list[Stage] = []
    with contextlib.closing(in_order(front)) as stages:
        for stage in stages:
            ran.append(stage)
            heading(stage)
            stage.run(processes)
            took(stage)
            if stage.status:
                break
    while (one := begun.get()) is not None:
        follow(*one)
        ran.append(one[0])
    worker.join()
    return ran


def in_order(stages: Iterable[Stage]) -> Generator[Stage]:
    """Yield stages; closed, it closes what they come from.

    Args:
        stages: The stages.
    """
    yield from stages


def remove_machines(state: Path) -> None:
    """Remove the virtual Pis that an interrupted gate or long test has left; never a demo's.

    Args:
        state: The gate's state directory.
    """
    scenarios, long = state.glob("molecule*/machines"), (state / "full").rglob("machines")
    for machines in sorted((*scenarios, *long)):
        subprocess.run(
            [sys.executable, "-m", "virtual_pi", "remove", "--all"],
            check=False,  # it has said why, and there may be others
            cwd=ROOT,
            env=os.environ | {"GRIDBERRY_STATE": os.fspath(machines.parent)},
        )


def pytest_stage(name: str, junit: Path, *arguments: str, **environment: str) -> Stage:
    """Return a stage of pytest.

    Args:
        name: In words.
        junit: Where the results go.
        arguments: Further arguments.
        environment: Further variables of its environment.
    """
    command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={junit}", *arguments]
    return Stage(name, command, junit, environment)


def machine_now(junit: Path) -> Path:
    """Return where molecule's tests leave how their machine was after a failure.

    Args:
        junit: Where their results go.
    """
    return junit.with_suffix(".txt")


def print_machines(stages: Sequence[Stage]) -> None:
    """Print how the machines were on which tests failed: the end of a long log is what is kept.

    Args:
        stages: The stages that ran.
    """
    for stage in stages:
        if stage.junit is not None and (said := machine_now(stage.junit)).exists():
            print(f"\n== {stage.name}: the machine after its tests\n{said.read_text()}")


def molecule_stage(name: str, scenario: str, junit: Path, snapshot: Path | None = None) -> Stage:
    """Return a stage of molecule, without pytest's summary, whose lines are as long as what failed.

    Args:
        name: In words.
        scenario: The scenario; molecule/conftest.py ends with what matters.
        junit: Where the results go.
        snapshot: Of the provisioned machine, made by the scenario `default` where there is none;
            the scenario `branch` tests its part of it.
    """
    # Recorded candles where they lie beside the checkout, else the synthetic market.
    candles = provisioned.candles(ROOT)
    on_branch = ON_BRANCH if snapshot and scenario == "default" else ()
    options = [
        # Those that take minutes each are in the part `trixie` of `./gridberry test --full`.
        *("-rN", "-m", "not long", f"--junit-xml={junit}"),
        *(f"--deselect={one}" for one in on_branch),
    ]
    environment = {
        "PYTEST_ADDOPTS": shlex.join(options),
        "GRIDBERRY_MACHINE_NOW": os.fspath(machine_now(junit)),
        "GRIDBERRY_CANDLES": candles,
        # That of made-up prices is in molecule.yml.
        "GRIDBERRY_SPEED": RECORDED_SPEED if candles else "",
        "GRIDBERRY_SNAPSHOT": "" if snapshot is None else os.fspath(snapshot),
    }
    command = [sys.executable, "-m", "molecule", "test", "-s", scenario]
    return Stage(name, command, junit, environment)


class Rows:
    """The gate's two rows of stages.

    Args:
        quick: Without virtual machines.
        state: Directory for results and machines.
    """

    def __init__(self, *, quick: bool, state: Path) -> None:
        self._quick, self._state, self._junit = quick, state, state / "junit"
        self._snapshot: Path | None = None
        self._front_over = threading.Event()

    def front(self) -> Iterator[Stage]:
        """Yield lint, the way of a virtual Pi from nothing to trading, and the last unit tests."""
        try:
            yield Stage("lint", [os.fspath(ROOT / "tests" / "lint")])
            if not self._quick:
                yield Stage("images", [os.fspath(ROOT / "gridberry"), "images", "trixie"])
                # Once there is an image: the snapshot's name tells what the image is.
                self._snapshot = provisioned.snapshot(ROOT, provisioned.candles(ROOT))
                yield molecule_stage(
                    "molecule: a virtual Pi (trixie) from nothing to trading",
                    "default",
                    self._junit / "molecule-default.xml",
                    self._snapshot,
                )
        finally:
            self._front_over.set()
        yield self._unit_tests("unit tests of the launcher and of releases", "last", *LAST)

    def beside(self) -> Iterator[Stage]:
        """Yield the unit tests, then a second virtual Pi once there is a snapshot of the first."""
        yield self._unit_tests("unit tests", "unit", *(f"--ignore={one}" for one in LAST))
        while not (over := self._front_over.wait(POLL_SECONDS)) and not self._has_snapshot():
            pass
        if not over or self._has_snapshot():
            yield molecule_stage(
                "molecule: a branch of it (host, images, a hang)",
                "branch",
                self._junit / "molecule-branch.xml",
                self._snapshot,
            )

    def _unit_tests(self, name: str, short: str, *which: str) -> Stage:
        # One that hangs ends all, with its stack in the log: nobody is there to interrupt it.
        hung = ("-o", f"faulthandler_timeout={HUNG_SECONDS}")
        hung = (*hung, "-o", "faulthandler_exit_on_timeout=true")
        # They know nothing of the machine that runs beside them.
        own = {"GRIDBERRY_STATE": os.fspath(self._state / short)}
        return pytest_stage(name, self._junit / f"{short}.xml", *which, *hung, **own)

    def _has_snapshot(self) -> bool:
        return self._snapshot is not None and self._snapshot.is_dir()


def gate(*, quick: bool, state: Path, processes: Processes) -> list[Stage]:
    """Run all stages and return them.

    Args:
        quick: Without virtual machines.
        state: Directory for logs, results and machines.
        processes: Where stages are kept while they run.
    """
    junit, logs = state / "junit", state / "logs"
    for directory in (junit, logs):
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.iterdir():
            old.unlink()
    rows = Rows(quick=quick, state=state)
    return side_by_side(rows.front(), rows.beside(), logs, processes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gate.

    Args:
        arguments: The command line's.

    Returns:
        The exit status: 0 when all is well, 1 when something failed, 130 interrupted.
    """
    parser = argparse.ArgumentParser(description="Every stage of ./gridberry test.")
    parser.add_argument("--quick", action="store_true", help="without virtual machines")
    quick = parser.parse_args(arguments).quick
    state = Path(os.environ.get("GRIDBERRY_STATE", ROOT / ".gridberry"))
    begin = time.monotonic()
    processes = Processes()
    # Also where a shell in the background has it ignored: what is run here would ignore it, too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        stages = gate(quick=quick, state=state, processes=processes)
    except KeyboardInterrupt:
        print("\ngridberry: interrupted; ending what runs", file=sys.stderr)
        processes.end()
        remove_machines(state)
        return 130
    print_machines(stages)
    print(f"\n== test: {time.monotonic() - begin:.0f} s")
    return closing([stage.result for stage in stages])


if __name__ == "__main__":
    sys.exit(main())
