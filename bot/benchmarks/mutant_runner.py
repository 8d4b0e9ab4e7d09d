"""A process that has collected tests once, and runs those asked for, each time in a fork of itself.

The fork gets the code of a changed function before it begins, as its modules are loaded already.
What a fork does is written down line by line, so that a test that hangs or dies is known by name.
"""

import gc
import json
import os
import resource
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, TextIO

HANGS_SECONDS = 180  # one test; the slowest takes 20 s
HANGS_PROCESSOR_SECONDS = 60  # one test of a loop without an end
LONGEST_SECONDS = 1800  # all tests of one mutant
MEMORY_BYTES = 3 << 30
PYTEST = ["--tb=no", "--no-header", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-x"]


@dataclass(frozen=True)
class Asked:
    """What a fork does.

    Attributes:
        tests: their names, in the order in which they run.
        budget: seconds of processor time after which no test begins; None: all run, and those that
            fail do not end it.
        changed: the file and the name of the function whose code is read from the file again.
        traced: how names of files begin; each test tells which lines of their functions it ran.
    """

    tests: list[str]
    budget: float | None = None
    changed: tuple[str, str] | None = None
    traced: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ran:
    """A test that has ended.

    Attributes:
        seconds: how long it took.
        lines: what it ran of the traced files: lines by file.
    """

    seconds: float
    lines: dict[str, list[int]]


@dataclass(frozen=True)
class Outcome:
    """What became of it.

    Attributes:
        failed: tests that failed or hung.
        ran: the tests that ended, by name.
        broken: it ended before the first test began.
    """

    failed: list[str]
    ran: dict[str, Ran]
    broken: bool


def serve(root: Path, words: list[str], connection: Connection, hangs: float) -> None:
    """Collect tests, tell which, and run what the connection asks for until it asks for None.

    Args:
        root: the tree; nothing of its code is loaded yet.
        words: what pytest collects.
        connection: the first answer is a list of names, or the text of why there is none; the
            others are `Outcome`s.
        hangs: seconds after which a test counts as hanging.
    """
    import hypothesis
    import pytest

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who asks ends this process
    os.chdir(root)
    sys.dont_write_bytecode = False  # what pytest makes of the tests is made once
    sys.path[:0] = [str(root), str(root / "bot/src")]
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    # The smallest example of a failure is of no interest, nor is how long it took.
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutants", phases=phases, database=None, deadline=None)
    hypothesis.settings.load_profile("mutants")
    server = _Server(root, connection)
    limits = ["-o", f"faulthandler_timeout={hangs}", "-o", "faulthandler_exit_on_timeout=true"]
    place = [f"--basetemp={root}.tests", "--rootdir", str(root)]
    pytest.main([*PYTEST, *limits, *place, *words], plugins=[server])
    if not server.served:
        connection.send("; ".join(server.broken) or "pytest could not begin")


class _Server:
    """A plugin of pytest that takes the place of running all tests in turn."""

    def __init__(self, root: Path, connection: Connection) -> None:
        self._root = root
        self._connection = connection
        self._notes = root.with_suffix(".notes")
        self._child = 0
        self.served = False
        self.broken: list[str] = []

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.broken.append(report.nodeid)

    def pytest_runtestloop(self, session: Any) -> bool | None:
        if self.broken:
            return None
        self.served = True
        items = {item.nodeid: item for item in session.items}
        functions = _functions(self._root)
        gc.freeze()
        signal.signal(signal.SIGTERM, self._end)
        self._connection.send(list(items))
        while (asked := self._connection.recv()) is not None:
            self._notes.write_text("")
            self._child = os.fork()
            if self._child == 0:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                session.items = [items[name] for name in asked.tests]
                self._run(session, functions, asked)
            _wait(self._child)
            self._child = 0
            self._connection.send(_read(self._notes))
        return True

    def _end(self, *_: object) -> None:
        if self._child:
            with suppress(ProcessLookupError):
                os.killpg(self._child, signal.SIGKILL)
        os._exit(0)

    def _run(self, session: Any, functions: dict[tuple[str, str], Any], asked: Asked) -> None:
        """Run the session's items in this fork, which ends here."""
        from _pytest.main import pytest_runtestloop

        with self._notes.open("a", buffering=1) as lines, suppress(BaseException):
            os.setsid()
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
            session.config.option.maxfail = 0 if asked.budget is None else 1
            session.config.pluginmanager.register(_Notes(lines, asked))
            if asked.changed is not None:
                change(functions.get(asked.changed, []), *asked.changed)
            with suppress(session.Failed, session.Interrupted):
                pytest_runtestloop(session)
            lines.write(json.dumps({"ended": True}) + "\n")
        os._exit(0)


def change(functions: list[FunctionType], path: str, name: str) -> None:
    """Give functions the code that their file has for them now.

    Args:
        functions: all that were made of the same lines.
        path: the file.
        name: their qualified name.
    """
    found = [compile(Path(path).read_text(), path, "exec")]
    for code in found:
        found += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    codes = {(c.co_qualname, c.co_firstlineno): c for c in found}
    for function in functions:
        function.__code__ = codes[name, function.__code__.co_firstlineno]


def _functions(root: Path) -> dict[tuple[str, str], list[FunctionType]]:
    """All functions of the tree's code that are loaded, by file and qualified name."""
    found: dict[tuple[str, str], list[FunctionType]] = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename.startswith(f"{root}/bot/src"):
            code = thing.__code__
            found.setdefault((code.co_filename, code.co_qualname), []).append(thing)
    return found


def _wait(child: int) -> None:
    """Wait for a fork, and end it and what it has started."""
    ended = os.pidfd_open(child)
    select.select([ended], [], [], LONGEST_SECONDS)
    os.close(ended)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _read(notes: Path) -> Outcome:
    lines = [json.loads(line) for line in notes.read_text().splitlines()]
    failed = list(dict.fromkeys(line["failed"] for line in lines if "failed" in line))
    ran = {line["ran"]: Ran(line["seconds"], line["lines"]) for line in lines if "ran" in line}
    begun = [line["begun"] for line in lines if "begun" in line]
    ended = any("ended" in line for line in lines)
    if not ended and not failed:
        failed = begun[-1:]  # a test that hangs or dies ends the run
    return Outcome(failed, ran, broken=not ended and not begun)


class _Notes:
    """A plugin of pytest: writes down what begins, fails and ends, and stops where time is up."""

    def __init__(self, lines: TextIO, asked: Asked) -> None:
        self._lines = lines
        self._asked = asked
        self._seen: dict[str, set[int]] = {}
        self._started = 0.0

    def _write(self, **words: Any) -> None:
        self._lines.write(json.dumps(words) + "\n")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write(begun=nodeid)
        self._seen.clear()
        self._started = time.monotonic()
        if self._asked.traced:
            sys.settrace(self._trace)
            threading.settrace(self._trace)
            return
        most = int(time.process_time()) + HANGS_PROCESSOR_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self._write(failed=report.nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        sys.settrace(None)
        threading.settrace(None)
        seconds = time.monotonic() - self._started
        # Threads of the test may still be at it.
        lines = {name: sorted(lines) for name, lines in list(self._seen.items())}
        self._write(ran=nodeid, seconds=seconds, lines=lines)

    def pytest_runtest_teardown(self, item: Any) -> None:
        both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        used = sum(sum(resource.getrusage(of)[:2]) for of in both)
        if self._asked.budget is not None and used > self._asked.budget:
            item.session.shouldstop = "no time left"

    def _trace(self, frame: FrameType, _: str, __: Any) -> Any:
        """Follow functions of the traced files, and no others."""
        name = frame.f_code.co_filename
        if not name.startswith(self._asked.traced):
            return None
        seen = self._seen.setdefault(name, set())

        def line(frame: FrameType, event: str, _: Any) -> Any:
            if event == "line":
                seen.add(frame.f_lineno)
            return line

        return line
