"""Change the bot's trading code in one place, many times, and see that a test notices each change.

    python bot/benchmarks/mutants.py --package core [--part K/N] [--jobs 2]
    python bot/benchmarks/mutants.py --package store --seed S --count 150 [--since COMMIT]
    python bot/benchmarks/mutants.py --package core --since COMMIT     # those on changed lines
    python bot/benchmarks/mutants.py --listed                          # those that once survived
    python bot/benchmarks/mutants.py --module gridbot/core/engine --kind boundary

Works in copies of the tree. The last line is the outcome; exits 1 on a mutant that survives without
a class in mutants.toml, below 90 % of the non-equivalent killed, on one of the list that fits the
code no longer, and on a test that fails anyway.
"""

import argparse
import ast
import multiprocessing
import os
import queue
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from mutation import Mutant, draw, mutants_of, replaced

ROOT = Path(__file__).resolve().parents[2]
REASONS = Path(__file__).with_suffix(".toml")
CODE = "bot/src"
TESTS = "bot/tests"
PACKAGES = ("core", "policies", "trading", "accounting", "store")
# The tests nearest to a module, or to a package: tried first, in this order.
NEAR = {
    "gridbot/core": "bot/core bot/policies/test_takeover",
    "gridbot/policies": "bot/policies/test_ranges bot/policies/test_takeover",
    "gridbot/policies/buy_filters": "bot/policies/test_filters together/trading/test_start_range",
    "gridbot/trading": (
        "together/trading/test_order_states together/trading/test_policies "
        "together/trading/test_takeover"
    ),
    "gridbot/accounting": "bot/books/test_tax bot/books/test_report together/books",
    "gridbot/store": "bot/unit/test_store bot/books/test_settle_bounds together/books",
    "gridbot/core/grid": "bot/core bot/policies/test_ranges bot/policies/test_takeover",
    "gridbot/core/engine": (
        "bot/core bot/policies/test_takeover together/simulation/test_core_hypothesis"
    ),
    "gridbot/core/books": (
        "bot/core bot/unit/test_books_random bot/books/test_report bot/books/test_settle"
    ),
    "gridbot/core/orders": "bot/core bot/unit/test_store bot/unit/test_broker",
    "gridbot/core/orders_in_flight": "bot/core together/trading/test_order_states",
    "gridbot/core/order_rules": "bot/core",
    "gridbot/trading/start_range": "together/trading/test_start_range",
    "gridbot/policies/kill_switches": (
        "bot/policies/test_stops together/trading/test_kill_switch together/trading/test_policies"
    ),
    "gridbot/core/prices": (
        "bot/policies/test_prices together/trading/test_kill_switch "
        "together/connectivity/test_kill_switch"
    ),
    "gridbot/trading/risk_guard": (
        "together/trading/test_risk_guard together/trading/test_pause "
        "together/trading/test_kill_switch together/trading/test_policies"
    ),
    "gridbot/trading/trader": (
        "together/trading/test_asked_at_once together/trading/test_risk_guard "
        "together/trading/test_trader together/trading/test_pause "
        "together/trading/test_kill_switch together/trading/test_takeover "
        "together/trading/test_order_states"
    ),
    "gridbot/trading/reconciliation": (
        "together/trading/test_order_states together/trading/test_asked_at_once "
        "together/trading/test_pause together/connectivity/test_restored_books "
        "together/trading/test_trader"
    ),
    "gridbot/trading/reading": (
        "together/trading/test_order_states together/trading/test_asked_at_once "
        "together/trading/test_trader"
    ),
    "gridbot/trading/passed_orders": (
        "together/connectivity/test_kill_switch together/trading/test_order_states"
    ),
    "gridbot/trading/cancels": (
        "together/trading/test_kill_switch together/trading/test_order_states "
        "together/trading/test_policies"
    ),
    "gridbot/trading/funds": "together/trading/test_funds",
    "gridbot/trading/submission": (
        "together/trading/test_asked_at_once together/trading/test_order_states "
        "together/trading/test_pause together/trading/test_kill_switch "
        "together/trading/test_failures"
    ),
    "gridbot/trading/start_grid": (
        "together/trading/test_review together/trading/test_start_range "
        "together/trading/test_policies together/trading/test_takeover "
        "together/trading/test_key_permissions"
    ),
    "gridbot/trading/handover": "bot/policies/test_takeover together/trading/test_takeover",
    "gridbot/trading/account_guard": "together/trading/test_account_guard",
    "gridbot/trading/foreign_orders": "together/trading/test_trader together/trading/test_takeover",
    "gridbot/trading/newer_orders": (
        "together/connectivity/test_restored_books together/connectivity/test_older_books "
        "together/connectivity/test_two_owners"
    ),
    "gridbot/trading/run_settings": (
        "together/trading/test_trader together/trading/test_review "
        "together/trading/test_takeover together/trading/test_named_grids"
    ),
    "gridbot/trading/session": (
        "together/trading/test_pause together/trading/test_review together/trading/test_trader "
        "together/trading/test_named_grids together/trading/test_market_hours"
    ),
    "gridbase/tax_lots": "bot/books/test_tax",
    "gridbot/accounting/profit_report": "bot/books/test_report",
    "gridbot/accounting/tax_report": "bot/books/test_tax",
    "gridbot/accounting/overview": (
        "bot/books/test_overview together/page/test_books together/page/test_document"
    ),
    "gridbot/accounting/audit": "together/books/test_audit together/books/test_acknowledge",
    "gridbot/accounting/acknowledge": "together/books/test_acknowledge",
    "gridbot/accounting/trade_history": "bot/books/test_pages_of_trades bot/books/test_export",
    "gridbot/accounting/grid_figures": "bot/books/test_grid_figures",
    "gridbot/accounting/profit_plot": "bot/books/test_report",
    "gridbot/accounting/settle": "bot/books/test_settle_bounds bot/books/test_settle",
    "gridbot/store/backup": "bot/unit/test_backup bot/unit/test_store",
    "gridbot/store/database": "bot/unit/test_store bot/unit/test_backup",
    "gridbot/store/store": "bot/unit/test_store bot/books/test_settle bot/books/test_settle_bounds",
    "gridbot/store/old_archive": "bot/books/test_old_archive",
    "gridbot/store/settled": (
        "bot/books/test_settle_bounds bot/books/test_settle bot/unit/test_store "
        "bot/books/test_pages_of_trades"
    ),
    "gridbase/market": "base/test_market bot/core",
}
# What comes after: every test that runs the trading code in its own process, the slow ones last.
REST = (
    "base bot/core bot/policies bot/unit bot/books/test_report bot/books/test_tax "
    "together/books/test_audit bot/books/test_settle_bounds together/trading/test_order_states "
    "together/trading/test_review together/trading/test_kill_switch "
    "together/trading/test_start_range together/trading/test_funds together/trading/test_takeover "
    "together/trading/test_trader together/trading/test_risk_guard together/trading/test_policies "
    "together/trading/test_asked_at_once together/trading/test_failures "
    "together/trading/test_grid_worker bot/backtest/test_crossings "
    "together/connectivity/test_kill_switch together/connectivity/test_streams "
    "bot/backtest/test_one_result together/page/test_document "
    "together/simulation/test_core_hypothesis together/simulation/test_planted "
    "together/simulation/test_one_result bot/books/test_settle together/simulation/test_crashes "
    "together/simulation/test_fault_world"
)
HANGS_SECONDS = 180  # one test; the slowest takes 20 s
HANGS_PROCESSOR_SECONDS = 60  # one test of a loop without an end
BUDGET_SECONDS = 40  # processor time of the near tests, and of the rest: no test begins after it
LONGEST_SECONDS = 1800  # all tests of one mutant
MEMORY_BYTES = 3 << 30
KILLED_PERCENT = 90
WIDTH = 100
PYTEST = [
    *("--tb=no", "--no-header", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"),
    *("-o", f"faulthandler_timeout={HANGS_SECONDS}", "-o", "faulthandler_exit_on_timeout=true"),
]
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
    """

    mutant: Mutant
    killers: list[str] = field(default_factory=list)
    seconds: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Choose, try, tell; 1 where something is left to do."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # tests end with it
    known = tomllib.loads(REASONS.read_text())
    mutants, stale = _listed(known["listed"]) if options.listed else ([], [])
    chosen = options.package or options.module or options.seed is not None
    mutants += _chosen(options) if chosen else []
    reasons = {(r["file"], r["before"], r["after"]): r["reason"] for r in known["classed"]}
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        both = [Tree(Path(directory) / str(job)) for job in range(options.jobs)]
        trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        for tree in both:
            trees.put(tree)

        def judge(mutant: Mutant) -> Verdict:
            if _key(mutant) in reasons:  # a survivor would cost the whole budget
                return Verdict(mutant)
            tree = trees.get()
            try:
                return tree.judge(mutant)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(options.jobs) as pool:
            try:
                for number, verdict in enumerate(pool.map(judge, mutants), 1):
                    verdicts.append(verdict)
                    print(f"{number:>3}/{len(mutants)} {_row(verdict, reasons)}", flush=True)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for tree in both:  # the pool would wait for what is running
                    tree.end()
                raise
        unfit = trees.get().failing_anyway({v.killers[0] for v in verdicts if v.killers})
    return _told(_name(options), verdicts, reasons, stale, unfit)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", choices=PACKAGES, action="append", help="mutants of this one")
    parser.add_argument("--module", action="append", help="of this module, as gridbot/core/engine")
    parser.add_argument("--seed", type=int, help="draw mutants by this seed")
    parser.add_argument("--count", type=int, default=40, help="how many to draw")
    parser.add_argument(
        "--since", help="those on lines changed since this commit; with --seed: too"
    )
    parser.add_argument("--part", default="1/1", help="K/N: the K-th of N equal parts")
    parser.add_argument("--kind", help="of this kind only, as the table names it")
    parser.add_argument("--listed", action="store_true", help="try those of mutants.toml, too")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    options = parser.parse_args(arguments)
    if not (options.package or options.module or options.listed or options.seed is not None):
        parser.error("nothing to do: give --package, --module, --seed or --listed")
    return options


def _name(options: argparse.Namespace) -> str:
    names = [*(options.package or []), *(options.module or []), *(["listed"] * options.listed)]
    return " ".join(names or ["all"]) + (f" {options.part}" if options.part != "1/1" else "")


def _listed(entries: list[dict[str, str]]) -> tuple[list[Mutant], list[str]]:
    """Mutants of the list, and what of it fits the code no longer."""
    mutants, stale = [], []
    for entry in entries:
        path = f"{CODE}/{entry['file']}"
        mutant = replaced(path, (ROOT / path).read_text(), entry["before"], entry["after"])
        if mutant is None:
            stale.append(f"{entry['file']}: {entry['before']}")
        else:
            mutants.append(mutant)
    return mutants, stale


def _chosen(options: argparse.Namespace) -> list[Mutant]:
    """Mutants of packages and modules: all, drawn ones, those on changed lines; or a part of it."""
    packages = options.package or ([] if options.module else PACKAGES)
    folders = [ROOT / CODE / "gridbot" / name for name in packages]
    paths = [path for folder in folders for path in sorted(folder.glob("*.py"))]
    paths += [ROOT / CODE / f"{module}.py" for module in options.module or []]
    names = [path.relative_to(ROOT).as_posix() for path in paths]
    found = [m for name in names for m in mutants_of(name, (ROOT / name).read_text())]
    found = [m for m in found if options.kind in {None, m.kind}]
    mutants = found
    if options.seed is not None:
        mutants = draw(found, options.seed, options.count)
    if options.since is not None:
        lines = {name: _changed_lines(options.since, name) for name in names}
        changed = [m for m in found if m.line in lines[m.path]]
        mutants = changed if options.seed is None else list(dict.fromkeys([*mutants, *changed]))
    part, parts = map(int, options.part.split("/"))
    return mutants[part - 1 :: parts]


def _changed_lines(commit: str, name: str) -> set[int]:
    """Lines of a file that are not in a commit as they are, wherever it was then."""
    blame = ["git", "-C", ROOT, "blame", "-s", "-M", "-C", "--abbrev=40", f"{commit}..", "--", name]
    output = subprocess.run(blame, check=True, capture_output=True, text=True).stdout
    # A caret marks what is as old as the commit.
    return {at for at, line in enumerate(output.splitlines(), 1) if not line.startswith("^")}


class Tree:
    """A copy of what git knows of the checkout, with one mutant at a time in it.

    Args:
        directory: where it is made.
    """

    def __init__(self, directory: Path) -> None:
        self._root = directory
        self._running: list[int] = []
        listing = [
            "git",
            "-C",
            ROOT,
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]
        names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, directory / name)
        # Judged by content: a mutant may be as long as the source and made in the same second.
        compiling = [
            sys.executable,
            "-m",
            "compileall",
            "-q",
            "--invalidation-mode",
            "checked-hash",
        ]
        subprocess.run([*compiling, directory / CODE], check=True)

    def judge(self, mutant: Mutant) -> Verdict:
        """Run tests on a mutant until one fails."""
        ast.parse(mutant.source)
        started = time.monotonic()
        path = self._root / mutant.path
        whole = path.read_text()
        path.write_text(mutant.source)
        try:
            module = mutant.path.removeprefix(CODE + "/").removesuffix(".py")
            near = NEAR.get(module, NEAR.get(module.rpartition("/")[0], "")).split()
            rest = [test for test in REST.split() if test not in near]
            killers = self._failing(near, BUDGET_SECONDS) or self._failing(rest, BUDGET_SECONDS)
        finally:
            path.write_text(whole)
        return Verdict(mutant, killers, time.monotonic() - started)

    def failing_anyway(self, tests: set[str]) -> list[str]:
        """Which of these tests fail without a mutant: they have killed nothing."""
        return self._failing(sorted(tests), None)

    def end(self) -> None:
        """End the tests that are running, and all that they have started."""
        for process in self._running:
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)

    def _failing(self, tests: list[str], budget: float | None) -> list[str]:
        """Tests that fail, hang or cannot be collected: the first within a budget, or all."""
        if not tests:
            return []
        notes = self._root.with_suffix(".notes")
        notes.write_text("")
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(LIBRARIES)
        words = [*PYTEST, *(["-x"] if budget else []), *map(self._test, tests)]
        process = server.Process(target=_run_tests, args=(self._root, notes, words, budget))
        process.start()
        self._running = [process.pid]
        process.join(LONGEST_SECONDS)
        self.end()
        process.join()
        noted = [line.split(" ", 1) for line in notes.read_text().splitlines()]
        failed = list(dict.fromkeys(test for what, test in noted if what == "failed"))
        if not failed and ["ended", "0"] in noted:
            return []
        # A test that hangs ends the run: it was begun last, and has no outcome.
        begun = [test for what, test in noted if what == "begun"]
        return failed or begun[-1:] or [f"pytest ended with status {process.exitcode}"]

    def _test(self, name: str) -> str:
        """A test as pytest wants it: a file or a directory of tests, or one test."""
        if name.startswith(TESTS) or (self._root / TESTS / name).is_dir():
            return name if name.startswith(TESTS) else f"{TESTS}/{name}"
        return f"{TESTS}/{name}.py"


def _run_tests(root: Path, notes: Path, words: list[str], budget: float | None) -> None:
    """Run pytest in this process, a fork that has loaded the libraries and none of our code."""
    import hypothesis
    import pytest

    os.setsid()
    os.chdir(root)
    sys.dont_write_bytecode = False  # what pytest makes of the tests is made once
    sys.path[:0] = [str(root), str(root / "bot/src")]
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    # The smallest example of a failure is of no interest, nor is how long it took.
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutants", phases=phases, database=None, deadline=None)
    hypothesis.settings.load_profile("mutants")
    with notes.open("a", buffering=1) as lines:
        status = int(pytest.main(words, plugins=[_Notes(lines, budget)]))
        lines.write(f"ended {status}\n")


class _Notes:
    """A plugin of pytest: writes down what begins and what fails, and stops where time is up."""

    def __init__(self, lines: TextIO, budget: float | None) -> None:
        self._lines = lines
        self._budget = budget

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._lines.write(f"begun {nodeid}\n")
        most = int(time.process_time()) + HANGS_PROCESSOR_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.pytest_collectreport(report)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._lines.write(f"failed {report.nodeid}\n")

    def pytest_runtest_teardown(self, item: Any) -> None:
        both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        used = sum(sum(resource.getrusage(of)[:2]) for of in both)
        if self._budget is not None and used > self._budget:
            self._lines.write("ended 0\n")
            item.session.shouldstop = "no time left"


def _row(verdict: Verdict, reasons: dict[tuple[str, str, str], str]) -> str:
    mutant = verdict.mutant
    end = "SURVIVED"
    if verdict.killers:
        end = "killed by " + verdict.killers[0].removeprefix(TESTS + "/")
    elif _key(mutant) in reasons:
        end = reasons[_key(mutant)]
    name = mutant.path.removeprefix(CODE + "/")
    before, after = (text if len(text) <= WIDTH else text[:WIDTH] + " …" for text in _apart(mutant))
    return (
        f"{name}:{mutant.line} ({mutant.kind}, {verdict.seconds:.0f} s) {end}\n"
        f"        - {before}\n        + {after}"
    )


def _apart(mutant: Mutant) -> tuple[str, str]:
    """Before and after, without the words that both begin with where the lines are long."""
    start = 0
    if len(mutant.before) > WIDTH:
        pairs = zip(mutant.before, mutant.after, strict=False)
        same = next((at for at, (old, new) in enumerate(pairs) if old != new), 0)
        start = max(0, same - WIDTH // 2)
    return mutant.before[start:], mutant.after[start:]


def _key(mutant: Mutant) -> tuple[str, str, str]:
    return mutant.path.removeprefix(CODE + "/"), mutant.before, mutant.after


def _told(
    name: str,
    verdicts: list[Verdict],
    reasons: dict[tuple[str, str, str], str],
    stale: list[str],
    unfit: list[str],
) -> int:
    """Print the sums; the exit status."""
    alive = [verdict.mutant for verdict in verdicts if not verdict.killers]
    classes = Counter(reasons.get(_key(mutant), "unclassed").partition(":")[0] for mutant in alive)
    killed = len(verdicts) - len(alive)
    percent = 100 * killed / max(1, len(verdicts) - classes["equivalent"])
    killers = Counter(v.killers[0].split("::")[0] for v in verdicts if v.killers)
    print(f"killed by {_words(killers)}")
    for text in stale:
        print(f"FAILED: this listed mutant fits the code no longer: {text}")
    for test in unfit:
        print(f"FAILED: this test fails without a mutant: {test}")
    print(
        f"{name}: {len(verdicts)} mutants: {killed} killed, {classes['equivalent']} equivalent, "
        f"{classes['accepted']} accepted, {classes['gap']} gaps, {classes['unclassed']} unclassed: "
        f"{percent:.0f} % of the non-equivalent killed"
    )
    return int(bool(classes["unclassed"] or stale or unfit) or percent < KILLED_PERCENT)


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{Path(name).name} {count}" for name, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
