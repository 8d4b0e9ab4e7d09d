"""The program that tries mutants: which ones it makes, draws and believes dead."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
SOURCE = '''
from decimal import Decimal

LIMIT = 5


def share(total: int | None, parts: int = 2) -> Decimal:
    """Not 1 < 2."""
    if total is None or parts <= 0:
        raise ValueError(f"{total + parts}: is that 1?")
    log.info("one", 1 + 1)
    while (
        parts
        < 3
    ):
        parts += 1
    return EXACT.add(max(total, 7), -total) if side is Side.BUY else "a" + "b"
'''
MUTANTS = [
    (7, "constant", "parts: int = 3"),
    (9, "condition", "if False or parts <= 0:"),
    (9, "comparison", "if total is not None or parts <= 0:"),
    (9, "condition", "if total is None and parts <= 0:"),
    (9, "condition", "if total is None or False:"),
    (9, "boundary", "if total is None or parts < 0:"),
    (9, "comparison", "if total is None or parts > 0:"),
    (9, "constant", "if total is None or parts <= 1:"),
    (10, "deletion", "pass"),
    (14, "boundary", "<= 3"),
    (14, "comparison", ">= 3"),
    (14, "constant", "< 4"),
    (16, "deletion", "pass"),
    (16, "arithmetic", "parts -= 1"),
    (16, "constant", "parts += 2"),
    (17, "condition", "return (EXACT.add(max(total, 7), -total))"),
    (17, "arithmetic", "EXACT.subtract(max"),
    (17, "arithmetic", "add(min(total"),
    (17, "constant", "max(total, 8)"),
    (17, "condition", "7), (total))"),
    (17, "comparison", "is not Side.BUY"),
    (17, "condition", "is Side.SELL"),
    (17, "condition", 'return ("a" + "b")'),
]


@pytest.fixture
def mutants(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import mutants

    return mutants


def test_what_is_changed_and_what_is_left_alone(mutants):
    found = mutants.mutants_of("a.py", SOURCE)
    assert len(found) == len(MUTANTS)
    for mutant in found:
        compile(mutant.source, "a.py", "exec")
        assert mutant.before != mutant.after
    for line, kind, after in MUTANTS:
        assert [m for m in found if (m.line, m.kind) == (line, kind) and after in m.after]


def test_equal_seeds_draw_equal_mutants_and_files_do_not_disturb_each_other(mutants):
    found = {path: mutants.mutants_of(path, SOURCE) for path in ("a.py", "b.py")}
    drawn = mutants.draw([*found["a.py"], *found["b.py"]], 7, 20)
    assert drawn == mutants.draw([*found["b.py"], *found["a.py"]], 7, 20)
    assert drawn != mutants.draw([*found["a.py"], *found["b.py"]], 8, 20)
    assert len({id(mutant) for mutant in drawn}) == 20
    other = mutants.draw([*found["a.py"], *found["b.py"][:9]], 7, 20)
    first = [[m for m in some if m.path == "a.py"] for some in (drawn, other)]
    assert first[0] == first[1][: len(first[0])]
    assert len(mutants.draw([*found["a.py"], *found["b.py"]], 7, 99)) == 2 * len(MUTANTS)


def test_a_listed_mutant_is_found_wherever_its_lines_break(mutants):
    found = mutants.replaced("a.py", SOURCE, "( parts < 3 )", "(parts < 4)")
    assert (found.line, found.before) == (12, "( parts < 3 )")
    assert "while (parts < 4):\n" in found.source
    assert mutants.replaced("a.py", SOURCE, "nowhere", "") is None
    assert mutants.replaced("a.py", SOURCE, "total", "") is None  # in several places


CODE = "def wait(left):\n    while left > 0:\n        left -= 1\n    return left + 0\n"
TEST = """
import pytest
from gridbase.market import wait


@pytest.mark.parametrize("left", [3], ids=["three left"])
def test_it(left):
    assert wait(left) == 0
"""
KILLER = "bot/tests/bot/core/test_wait.py::test_it[three left]"
ANYWAY = "def test_of_something_else():\n    raise AssertionError\n"


@pytest.fixture
def tree(mutants, monkeypatch, tmp_path):
    """A checkout with one module, and the copy that mutants are tried in."""
    root = tmp_path / "checkout"
    files = {"src/gridbase/market.py": CODE, "src/gridbase/__init__.py": ""}
    files |= {"tests/bot/core/test_wait.py": TEST, "tests/bot/core/test_other.py": ANYWAY}
    for name, text in files.items():
        (root / "bot" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "bot" / name).write_text(text)
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['bot/src']\n")
    subprocess.run(["git", "init", "-q", root], check=True)
    monkeypatch.setattr(mutants, "ROOT", root)
    monkeypatch.setattr(mutants, "NEAR", {"gridbase/market": "bot/core/test_wait"})
    monkeypatch.setattr(mutants, "REST", "bot/core/test_wait")
    monkeypatch.setattr(mutants, "LIBRARIES", ["pytest", "hypothesis"])
    quick = [item.replace(f"={mutants.HANGS_SECONDS}", "=2") for item in mutants.PYTEST]
    monkeypatch.setattr(mutants, "PYTEST", quick)
    (tmp_path / "copy").mkdir()
    return mutants.Tree(tmp_path / "copy")


@pytest.mark.parametrize(
    ("before", "after", "killed"),
    [
        ("left + 0", "left + 1", True),
        ("left -= 1", "left -= 0", True),  # hangs
        ("left > 0", "left >= 1", False),
    ],
)
def test_a_mutant_is_dead_once_a_test_fails_or_hangs(mutants, tree, before, after, killed):
    mutant = mutants.replaced("bot/src/gridbase/market.py", CODE, before, after)
    assert tree.judge(mutant).killers == ([KILLER] if killed else [])
    assert (mutants.ROOT / mutant.path).read_text() == CODE


def test_a_test_that_fails_anyway_has_killed_nothing(tree):
    fails = "bot/tests/bot/core/test_other.py::test_of_something_else"
    assert tree.failing_anyway({fails, KILLER}) == [fails]
    assert tree.failing_anyway(set()) == []


def test_a_survivor_is_what_no_test_killed_in_time(tree):
    path = "bot/tests/bot/core/test_wait.py"
    (tree._root / path).write_text(f"{TEST}\n\n{ANYWAY}")
    assert tree._failing(["bot/core/test_wait"], 0.001) == []
    assert tree._failing(["bot/core/test_wait"], 60) == [f"{path}::test_of_something_else"]


def options(mutants, *words):
    return mutants._options(["--module", "gridbase/market", *words])


@pytest.mark.usefixtures("tree")
def test_the_parts_are_disjoint_and_together_all(mutants):
    every = mutants._chosen(options(mutants))
    parts = [mutants._chosen(options(mutants, "--part", f"{part}/2")) for part in (1, 2)]
    assert len(every) == 8
    assert sorted(parts[0] + parts[1], key=every.index) == every


@pytest.mark.usefixtures("tree")
def test_changed_lines_are_tried_beside_the_drawn_ones(mutants):
    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", mutants.ROOT, *who, *words], check=True, capture_output=True)

    git("add", ".")
    git("commit", "-m", "one")
    path = mutants.ROOT / "bot/src/gridbase/market.py"
    path.write_text(CODE.replace("left + 0", "left + 9"))
    git("commit", "-am", "two")
    changed = mutants._chosen(options(mutants, "--since", "HEAD~1"))
    assert {mutant.line for mutant in changed} == {4}
    assert mutants._chosen(options(mutants, "--since", "HEAD")) == []
    drawn = mutants._chosen(options(mutants, "--seed", "1", "--count", "1"))
    both = mutants._chosen(options(mutants, "--seed", "1", "--count", "1", "--since", "HEAD~1"))
    assert both == list(dict.fromkeys(drawn + changed))


def verdicts(mutants, killed, **survivors):
    """Of as many killed, and of survivors by class: verdicts, and their reasons."""
    made, reasons = [], {}
    for name, count in ({"killed": killed} | survivors).items():
        for number in range(count):
            mutant = mutants.Mutant("bot/src/a.py", 1, "kind", name, str(number), "")
            made.append(mutants.Verdict(mutant, ["a::test"] if name == "killed" else []))
            if name in {"equivalent", "accepted", "gap"}:
                reasons["a.py", name, str(number)] = f"{name}: it is so"
    return made, reasons


@pytest.mark.parametrize(
    ("killed", "survivors", "expected"),
    [
        (9, {"equivalent": 5, "gap": 1}, (0, "9 killed, 5 equivalent, 0 accepted, 1 gaps, 0 un")),
        (8, {"equivalent": 5, "accepted": 1}, (1, "8 killed, 5 equivalent, 1 accepted, 0 gaps")),
        (99, {"other": 1}, (1, "99 killed, 0 equivalent, 0 accepted, 0 gaps, 1 unclassed: 99 %")),
    ],
)
def test_the_outcome_is_the_last_line(mutants, capsys, killed, survivors, expected):
    status, outcome = expected
    made, reasons = verdicts(mutants, killed, **survivors)
    assert mutants._told("core 1/3", made, reasons, [], []) == status
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"core 1/3: {len(made)} mutants: ")
    assert outcome in last


def test_each_class_of_the_list_is_one_of_three(mutants):
    for entry in tomllib.loads(mutants.REASONS.read_text())["classed"]:
        assert entry["reason"].partition(": ")[0] in {"equivalent", "accepted", "gap"}


def test_nothing_to_do_is_told():
    program = [sys.executable, BENCHMARKS / "mutants.py"]
    result = subprocess.run(program, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "nothing to do: give --package, --module, --seed or --listed" in result.stderr
