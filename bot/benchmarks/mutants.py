"""Change the bot's trading code in one place, many times, and see that a test notices each change.

    python bot/benchmarks/mutants.py --seed S [--count 40] [--listed]
    python bot/benchmarks/mutants.py --listed                        # those that once survived
    python bot/benchmarks/mutants.py --seed S --module gridbot/core/engine --count 999
    python bot/benchmarks/mutants.py --seed S --kind boundary --count 999 # each < for <= …

Works in a copy of the tree. Prints a table; exits 1 on a mutant that survives without a reason in
mutants.toml, on one of the list that fits the code no longer, and on a test that fails anyway.
"""

import argparse
import ast
import os
import re
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
from dataclasses import dataclass, field
from pathlib import Path

from mutation import Mutant, draw, mutants_of, replaced

ROOT = Path(__file__).resolve().parents[2]
REASONS = Path(__file__).with_suffix(".toml")
CODE = "bot/src"
TESTS = "bot/tests"
# How often a module is drawn, and the tests nearest to it: tried first, in this order.
MODULES = {
    "gridbot/core/grid": (6, "bot/core bot/policies/test_ranges bot/policies/test_takeover"),
    "gridbot/core/engine": (
        6,
        "bot/core bot/policies/test_takeover together/simulation/test_core_hypothesis",
    ),
    "gridbot/core/books": (
        4,
        "bot/core bot/unit/test_books_random bot/books/test_report bot/books/test_archive",
    ),
    "gridbot/core/orders": (2, "bot/core bot/unit/test_store bot/unit/test_broker"),
    "gridbot/core/orders_in_flight": (3, "bot/core together/trading/test_order_states"),
    "gridbot/core/order_rules": (2, "bot/core"),
    "gridbot/trading/start_range": (2, "together/trading/test_start_range"),
    "gridbot/policies/kill_switches": (
        4,
        "bot/policies/test_stops together/trading/test_kill_switch together/trading/test_policies",
    ),
    "gridbot/core/prices": (
        3,
        (
            "bot/policies/test_prices together/trading/test_kill_switch "
            "together/connectivity/test_kill_switch"
        ),
    ),
    "gridbot/trading/risk_guard": (
        3,
        (
            "together/trading/test_risk_guard together/trading/test_kill_switch "
            "together/trading/test_policies"
        ),
    ),
    "gridbot/trading/trader": (
        3,
        (
            "together/trading/test_asked_at_once together/trading/test_risk_guard "
            "together/trading/test_trader"
        ),
    ),
    "gridbot/trading/reconciliation": (
        3,
        (
            "together/trading/test_order_states together/trading/test_asked_at_once "
            "together/trading/test_trader"
        ),
    ),
    "gridbot/trading/reading": (
        2,
        (
            "together/trading/test_order_states together/trading/test_asked_at_once "
            "together/trading/test_trader"
        ),
    ),
    "gridbot/trading/passed_orders": (
        2,
        "together/connectivity/test_kill_switch together/trading/test_order_states",
    ),
    "gridbot/trading/cancels": (
        2,
        (
            "together/trading/test_kill_switch together/trading/test_order_states "
            "together/trading/test_policies"
        ),
    ),
    "gridbot/trading/funds": (2, "together/trading/test_funds"),
    "gridbot/trading/submission": (
        3,
        (
            "together/trading/test_order_states together/trading/test_kill_switch "
            "together/trading/test_failures"
        ),
    ),
    "gridbot/trading/start_grid": (
        3,
        (
            "together/trading/test_policies together/trading/test_takeover "
            "together/trading/test_review"
        ),
    ),
    "gridbot/trading/handover": (2, "bot/policies/test_takeover together/trading/test_takeover"),
    "gridbot/accounting/tax_lots": (3, "bot/books/test_tax"),
    "gridbot/accounting/archive": (2, "bot/books/test_archive_bounds bot/books/test_archive"),
    "gridbot/accounting/archive_files": (2, "bot/books/test_archive_bounds bot/books/test_archive"),
    "gridbot/store/archived": (
        2,
        "bot/books/test_archive_bounds bot/books/test_archive bot/unit/test_store",
    ),
    "gridbase/market": (1, "base/test_market bot/core"),
}
# What comes after: every test that runs the trading code in its own process, the slow ones last.
REST = (
    "base bot/core bot/policies bot/unit bot/books/test_report bot/books/test_tax "
    "together/books/test_audit bot/books/test_archive_bounds together/trading/test_order_states "
    "together/trading/test_review together/trading/test_kill_switch "
    "together/trading/test_start_range together/trading/test_funds together/trading/test_takeover "
    "together/trading/test_trader together/trading/test_risk_guard together/trading/test_policies "
    "together/trading/test_asked_at_once together/trading/test_failures "
    "together/trading/test_grid_worker bot/backtest/test_crossings "
    "together/connectivity/test_kill_switch together/connectivity/test_streams "
    "bot/backtest/test_one_result together/page/test_document "
    "together/simulation/test_core_hypothesis together/simulation/test_planted "
    "together/simulation/test_one_result bot/books/test_archive together/simulation/test_crashes "
    "together/simulation/test_fault_world"
)
HANGS_SECONDS = 180  # one test; the slowest takes 20 s
LONGEST_SECONDS = 1800  # all tests of one mutant
MEMORY_BYTES = 3 << 30
WIDTH = 100
PYTEST = [
    *(sys.executable, "-m", "pytest", "-v", "--tb=no", "--no-header", "-rfE"),
    *("-p", "no:cacheprovider", "--hypothesis-seed=0"),
    *("-o", f"faulthandler_timeout={HANGS_SECONDS}", "-o", "faulthandler_exit_on_timeout=true"),
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
    """Draw, try, tell; 1 where something is left to do."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # tests end with it
    known = tomllib.loads(REASONS.read_text())
    mutants, stale = _listed(known["listed"]) if options.listed else ([], [])
    if options.seed is not None:
        mutants += _drawn(options)
    reasons = {(r["file"], r["before"], r["after"]): r["reason"] for r in known["accepted"]}
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        tree = Tree(Path(directory))
        verdicts = []
        for number, mutant in enumerate(mutants, 1):
            accepted = _key(mutant) in reasons  # a survivor would cost all tests
            verdicts.append(Verdict(mutant) if accepted else tree.judge(mutant))
            print(f"{number:>3}/{len(mutants)} {_row(verdicts[-1], reasons)}", flush=True)
        unfit = tree.failing_anyway({test for verdict in verdicts for test in verdict.killers[:1]})
    return _told(verdicts, reasons, stale, unfit)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="draw mutants by this seed")
    parser.add_argument("--count", type=int, default=40, help="how many to draw")
    parser.add_argument("--module", choices=MODULES, action="append", help="draw of this one only")
    parser.add_argument("--kind", help="draw of this kind only, as the table names it")
    parser.add_argument("--listed", action="store_true", help="try those of mutants.toml, too")
    options = parser.parse_args(arguments)
    if options.seed is None and not options.listed:
        parser.error("nothing to do: give --seed, --listed or both")
    options.module = options.module or list(MODULES)
    return options


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


def _drawn(options: argparse.Namespace) -> list[Mutant]:
    weights = {f"{CODE}/{module}.py": MODULES[module][0] for module in options.module}
    found = {}
    for path in weights:
        mutants = mutants_of(path, (ROOT / path).read_text())
        found[path] = [m for m in mutants if options.kind in {None, m.kind}]
    return draw(found, weights, options.seed, options.count)


class Tree:
    """A copy of what git knows of the checkout, with one mutant at a time in it.

    Args:
        directory: an empty one.
    """

    def __init__(self, directory: Path) -> None:
        self._root = directory
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
            near = MODULES[module][1].split() if module in MODULES else []
            rest = [test for test in REST.split() if test not in near]
            killers = self._failing(near, "-x") or self._failing(rest, "-x")
        finally:
            path.write_text(whole)
        return Verdict(mutant, killers, time.monotonic() - started)

    def failing_anyway(self, tests: set[str]) -> list[str]:
        """Which of these tests fail without a mutant: they have killed nothing."""
        return self._failing(sorted(tests))

    def _failing(self, tests: list[str], *more: str) -> list[str]:
        """Tests that fail, hang or cannot be collected, out of some files."""
        if not tests:
            return []
        process = subprocess.Popen(
            [*PYTEST, *more, *(self._test(name) for name in tests)],
            cwd=self._root,
            env=os.environ | {"PYTHONPATH": f"{self._root}{os.pathsep}{self._root / 'bot/src'}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
        try:
            output, _ = process.communicate(timeout=LONGEST_SECONDS)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
        if process.returncode == 0:
            return []
        failed = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
        # A test that hangs ends the run: it was begun last, and has no outcome.
        begun = re.findall(rf"^({TESTS}\S+::.+?)(?: [A-Z]+.*| )?$", output, re.MULTILINE)
        return failed or begun[-1:] or [f"pytest ended with status {process.returncode}"]

    def _test(self, name: str) -> str:
        """A test as pytest wants it: a file or a directory of tests, or one test."""
        if name.startswith(TESTS) or (self._root / TESTS / name).is_dir():
            return name if name.startswith(TESTS) else f"{TESTS}/{name}"
        return f"{TESTS}/{name}.py"


def _row(verdict: Verdict, reasons: dict[tuple[str, str, str], str]) -> str:
    mutant = verdict.mutant
    end = "SURVIVED"
    if verdict.killers:
        end = "killed by " + verdict.killers[0].removeprefix(TESTS + "/")
    elif _key(mutant) in reasons:
        end = "accepted: " + reasons[_key(mutant)]
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
    verdicts: list[Verdict],
    reasons: dict[tuple[str, str, str], str],
    stale: list[str],
    unfit: list[str],
) -> int:
    """Print the sums; the exit status."""
    alive = [verdict.mutant for verdict in verdicts if not verdict.killers]
    survived = [mutant for mutant in alive if _key(mutant) not in reasons]
    killers = Counter(v.killers[0].split("::")[0] for v in verdicts if v.killers)
    print(f"{'mutants':<12} {len(verdicts):>5}")
    print(f"{'killed':<12} {len(verdicts) - len(alive):>5}   by {_words(killers)}")
    print(f"{'accepted':<12} {len(alive) - len(survived):>5}")
    print(f"{'survived':<12} {len(survived):>5}   limit: 0")
    print(f"{'wall time':<12} {sum(verdict.seconds for verdict in verdicts):>5.0f} s")
    for text in stale:
        print(f"FAILED: this listed mutant fits the code no longer: {text}")
    for test in unfit:
        print(f"FAILED: this test fails without a mutant: {test}")
    accepted, killed = len(alive) - len(survived), len(verdicts) - len(alive)
    print(
        f"{len(verdicts)} mutants: {killed} killed, {accepted} accepted, {len(survived)} survived"
    )
    return int(bool(survived or stale or unfit))


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{Path(name).name} {count}" for name, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
