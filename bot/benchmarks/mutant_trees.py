"""Copies of the tree, in which one mutant at a time is tried on the tests that reach it.

Each test runs once under a trace beforehand; a mutant is tried on those that ran its statement.
Those that have killed a mutant of the same function come first, then the quickest; each further set
of parameters of a test counts as slower.
"""

import hashlib
import json
import multiprocessing
import queue
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mutant_runner import HANGS_SECONDS, Asked, Outcome, Ran, serve
from mutation import Mutant, place_of

CODE = "bot/src"
NOTED = "docs/full-tests.md"
BUDGET_SECONDS = 150  # processor time of the tests of one mutant: no test begins after it
# What tests import that is no code of ours: loaded once, in the process that each run is a fork of.
LIBRARIES = [
    *("pytest", "hypothesis", "numpy", "ccxt", "requests", "websockets.sync.client", "waitress"),
    *("pyarrow.parquet", "sqlite3", "http.server", "importlib.metadata"),
]


@dataclass
class Verdict:
    """What became of a mutant.

    Attributes:
        mutant: which.
        killers: tests that failed, the first one first; none where it survived.
        seconds: how long that took.
        tried: how many tests ended well.
    """

    mutant: Mutant
    killers: list[str] = field(default_factory=list)
    seconds: float = 0.0
    tried: int = 0


class Reach:
    """Which tests run a statement.

    Args:
        outcome: of all tests, traced.
    """

    def __init__(self, outcome: Outcome) -> None:
        self.failing = outcome.failed
        self._ran = {name: ran for name, ran in outcome.ran.items() if name not in self.failing}
        self._kills: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def tests_of(self, path: str, source: str, line: int) -> list[str]:
        """Tests that run the statement of a line, the likeliest killers first.

        For what stands in no function, as a default does: all that run anything of its file.
        """
        function, lines = place_of(source, line)
        kills = self._kills[path, function]

        def reaches(ran: Ran) -> bool:
            seen = ran.lines.get(path, ())
            return any(at in lines for at in seen) if function else bool(seen)

        found = [name for name, ran in self._ran.items() if reaches(ran)]
        found.sort(key=lambda name: self._ran[name].seconds)
        tried: Counter[str] = Counter()
        ranks = {}
        for name in found:
            test = name.partition("[")[0]
            tried[test] += 1
            ranks[name] = (-kills[name], self._ran[name].seconds * tried[test])
        return sorted(found, key=ranks.__getitem__)

    def killed(self, path: str, source: str, line: int, test: str) -> None:
        """Note what killed a mutant of that line."""
        self._kills[path, place_of(source, line)[0]][test] += 1


class Tree:
    """A copy of what git knows of a checkout, with one mutant at a time in it.

    Args:
        checkout: what is copied.
        directory: where the copy is made.
        hangs: seconds after which a test counts as hanging.
    """

    def __init__(self, checkout: Path, directory: Path, hangs: float = HANGS_SECONDS) -> None:
        self._root = directory.resolve()
        self._hangs = hangs
        self._runners: list[Runner] = []
        git = ["git", "-C", checkout, "ls-files", "-z", "--cached", "--others"]
        listing = [*git, "--exclude-standard"]
        names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            if (checkout / name).is_file():
                (self._root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(checkout / name, self._root / name)
        # Judged by content: a mutant may be as long as the source and made in the same second.
        compiling = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode"]
        subprocess.run([*compiling, "checked-hash", self._root / CODE], check=True)

    def digest(self) -> str:
        """Of all files, without the table in which each part of the long tests is noted."""
        whole = hashlib.sha256()
        for path in sorted(self._root.rglob("*")):
            if path.is_file() and path.suffix != ".pyc" and path != self._root / NOTED:
                whole.update(f"{path.relative_to(self._root)}\0".encode() + path.read_bytes())
        return whole.hexdigest()

    def collect(self, tests: Sequence[str]) -> list[str]:
        """Load the code and the tests; their names. Files and folders that are not there: none.

        Raises:
            RuntimeError: a test cannot be collected.
        """
        runner = self._runner(test for test in tests if (self._root / test).exists())
        if runner.broken:
            raise RuntimeError(f"cannot be collected: {runner.broken}")
        return runner.tests

    def trace(self, tests: list[str], traced: Sequence[str]) -> Outcome:
        """Run tests, and see what they run of folders or files of the tree.

        Returns:
            The outcome; its files are named from the root of the tree.
        """
        outcome = self._runners[0].run(
            Asked(tests, traced=tuple(str(self._root / name) for name in traced))
        )
        start = len(f"{self._root}/")
        ran = {
            name: Ran(ran.seconds, {path[start:]: lines for path, lines in ran.lines.items()})
            for name, ran in outcome.ran.items()
        }
        return Outcome(outcome.failed, ran, outcome.broken)

    def judge(self, mutant: Mutant, tests: list[str]) -> Verdict:
        """Run tests on a mutant until one fails."""
        started = time.monotonic()
        path = self._root / mutant.path
        whole = path.read_text()
        function = place_of(whole, mutant.line)[0]
        path.write_text(mutant.source)
        try:
            outcome = self._outcome(tests, (str(path), function) if function else None)
        finally:
            path.write_text(whole)
        seconds = time.monotonic() - started
        return Verdict(mutant, outcome.failed, seconds, len(outcome.ran) - len(outcome.failed))

    def _outcome(self, tests: list[str], changed: tuple[str, str] | None) -> Outcome:
        if not tests:
            return Outcome([], {}, broken=False)
        if changed is not None:
            outcome = self._runners[0].run(Asked(tests, BUDGET_SECONDS, changed))
            if not outcome.broken:
                return outcome
        # What is run when a module is loaded needs a process that loads it.
        files = dict.fromkeys(test.partition("::")[0] for test in tests)
        runner = self._runner(files)
        try:
            if runner.broken:
                return Outcome([runner.broken], {}, broken=False)
            return runner.run(Asked(tests, BUDGET_SECONDS))
        finally:
            self._runners.remove(runner)
            runner.end()

    def _runner(self, tests: Iterable[str]) -> "Runner":
        runner = Runner(self._root, list(tests), self._hangs)
        self._runners.append(runner)
        runner.begin()
        return runner

    def end(self) -> None:
        """End the tests that are running, and all that they have started."""
        for runner in self._runners:
            runner.end()


class Runner:
    """A process that has collected tests, from here.

    Args:
        root: the tree.
        words: what it collects.
        hangs: seconds after which a test counts as hanging.

    Attributes:
        tests: what it has collected.
        broken: why it cannot; empty where it can.
    """

    def __init__(self, root: Path, words: list[str], hangs: float) -> None:
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(LIBRARIES)
        self._connection, other = server.Pipe()
        self._process = server.Process(target=serve, args=(root, words, other, hangs))
        self._process.start()
        other.close()
        self.tests: list[str] = []
        self.broken = ""

    def begin(self) -> None:
        """Wait until it has collected."""
        told = self._connection.recv()
        if isinstance(told, str):
            self.broken = told
        else:
            self.tests = told

    def run(self, asked: Asked) -> Outcome:
        """Run tests in a fork of it."""
        self._connection.send(asked)
        outcome: Outcome = self._connection.recv()
        return outcome

    def end(self) -> None:
        """End it and what runs in it."""
        if self._process.is_alive():
            self._process.terminate()
        self._process.join()
        self._connection.close()


def reach(
    trees: list[Tree],
    tests: Sequence[str],
    traced: Sequence[str],
    kept: Path,
    say: Callable[[str], None],
) -> Reach:
    """Which tests run which lines: as it was measured before on the same files, or measured now.

    Args:
        trees: copies of one checkout: each runs a share.
        tests: files and folders of tests.
        traced: folders or files whose lines are of interest.
        kept: folder where measurements are kept by the digest of what they depend on.
        say: is told what takes long.
    """
    words = " ".join([trees[0].digest(), *traced, *tests]).encode()
    note = kept / f"{hashlib.sha256(words).hexdigest()[:16]}.json"
    with ThreadPoolExecutor(len(trees)) as pool:
        (names, *_) = pool.map(lambda tree: tree.collect(tests), trees)
        if note.exists():
            told = json.loads(note.read_text())
            ran = {name: Ran(**one) for name, one in told["ran"].items()}
            return Reach(Outcome(told["failed"], ran, broken=False))
        files: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            files[name.partition("::")[0]].append(name)
        free: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        for tree in trees:
            free.put(tree)

        def traced_in_one(some: list[str]) -> Outcome:
            tree = free.get()
            try:
                return tree.trace(some, traced)
            finally:
                free.put(tree)

        say(f"{len(names)} tests run once under a trace")
        whole = Outcome([], {}, broken=False)
        for number, outcome in enumerate(pool.map(traced_in_one, files.values()), 1):
            whole.failed.extend(outcome.failed)
            whole.ran.update(outcome.ran)
            say(f"{number} of {len(files)} files of tests")
    kept.mkdir(parents=True, exist_ok=True)
    unfinished = note.with_suffix(".new")
    unfinished.write_text(json.dumps(asdict(whole)))
    unfinished.replace(note)
    return Reach(whole)
