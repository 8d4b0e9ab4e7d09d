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
import os
import queue
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutant_trees import CODE, Reach, Tree, Verdict, reach
from mutation import Mutant, draw, mutants_of, replaced

ROOT = Path(__file__).resolve().parents[2]
REASONS = Path(__file__).with_suffix(".toml")
PACKAGES = ("core", "policies", "trading", "accounting", "store")
TESTS = "bot/tests/"
# All tests that run the trading code in their own process.
TRIED = (
    *("base", "bot", "together/books", "together/connectivity", "together/page"),
    *("together/simulation", "together/trading"),
)
TRACED = (*(f"{CODE}/gridbot/{name}/" for name in PACKAGES), f"{CODE}/gridbase/")
KILLED_PERCENT = 90
WIDTH = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Choose, try, tell; 1 where something is left to do."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # tests end with it
    known = tomllib.loads(REASONS.read_text())
    mutants, stale = _listed(known["listed"]) if options.listed else ([], [])
    chosen = options.package or options.module or options.seed is not None
    mutants += _chosen(options) if chosen else []
    reasons = {(r["file"], r["before"], r["after"]): r["reason"] for r in known["classed"]}
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        trees = [Tree(ROOT, Path(directory) / str(job)) for job in range(options.jobs)]
        try:
            known_reach = reach(trees, [TESTS + name for name in TRIED], TRACED, _kept(), _say)
            verdicts = _verdicts(trees, known_reach, mutants, reasons)
        finally:
            for tree in trees:
                tree.end()
    return _told(_name(options), verdicts, reasons, stale, known_reach.failing)


def _verdicts(
    trees: list[Tree],
    known: Reach,
    mutants: list[Mutant],
    reasons: dict[tuple[str, str, str], str],
) -> list[Verdict]:
    """Try mutants that have no class, one in each tree at a time, and tell of each."""
    free: queue.SimpleQueue[Tree] = queue.SimpleQueue()
    for tree in trees:
        free.put(tree)

    def judge(mutant: Mutant) -> Verdict:
        if _key(mutant) in reasons:
            return Verdict(mutant)
        place = (mutant.path, (ROOT / mutant.path).read_text(), mutant.line)
        tree = free.get()
        try:
            verdict = tree.judge(mutant, known.tests_of(*place))
        finally:
            free.put(tree)
        for killer in verdict.killers:
            known.killed(*place, killer)
        return verdict

    verdicts = []
    with ThreadPoolExecutor(len(trees)) as pool:
        try:
            for number, verdict in enumerate(pool.map(judge, mutants), 1):
                verdicts.append(verdict)
                print(f"{number:>3}/{len(mutants)} {_row(verdict, reasons)}", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for tree in trees:  # the pool would wait for what is running
                tree.end()
            raise
    return verdicts


def _kept() -> Path:
    """Where it is kept which tests run which lines."""
    caches = os.environ.get("GRIDBERRY_CACHE") or Path.home() / ".cache" / "gridberry"
    return Path(caches) / "mutants"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


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


def _row(verdict: Verdict, reasons: dict[tuple[str, str, str], str]) -> str:
    mutant = verdict.mutant
    end = f"SURVIVED {verdict.tried} tests" if verdict.tried else "SURVIVED: no test runs it"
    if verdict.killers:
        end = "killed by " + verdict.killers[0].removeprefix(TESTS)
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
