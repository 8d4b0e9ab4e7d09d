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


PLACED = """\
LIMIT = 5


class Grid:
    depth: int = 3

    @property
    def width(self):
        return (
            self.depth
            + 1
        )

    def lines(self, most=9):
        if most > 3 and \\
           most < 5:
            return [at for at in range(most)]
        try:
            with self:
                most += 1
        except (KeyError,
                ValueError):
            most -= 1
        else:
            def inner(least=4):
                return least
        match most:
            case 1:
                most = 2
        return most


def wait(left): return left
"""


@pytest.mark.parametrize(
    ("line", "function", "lines"),
    [
        (1, "", (1, 2)),
        (5, "", (5, 6)),
        (11, "Grid.width", (9, 13)),
        (14, "", (14, 15)),  # the default
        (16, "Grid.lines", (15, 17)),
        (17, "Grid.lines", (17, 18)),
        (19, "Grid.lines", (19, 20)),
        (20, "Grid.lines", (20, 21)),
        (22, "Grid.lines", (18, 19)),
        (23, "Grid.lines", (23, 24)),
        (25, "Grid.lines", (25, 26)),
        (26, "Grid.lines", (26, 27)),
        (29, "Grid.lines", (29, 30)),
        (33, "wait", (33, 34)),
    ],
)
@pytest.mark.usefixtures("mutants")
def test_a_line_belongs_to_a_statement_and_to_the_outermost_function(line, function, lines):
    import mutation

    assert mutation.place_of(PLACED, line) == (function, range(*lines))


CODE = """\
from functools import cache
from contextlib import contextmanager


def wait(left, last=0):
    while left > last:
        left -= 1
    return left + 0


def spare(left):
    if left:
        return 1 + 1
    return 3


class Grid:
    step = 1

    @property
    def width(self):
        return 4 + self.step

    @contextmanager
    def held(self):
        yield [(lambda at: at + 5)(at) for at in (1,)]

    @staticmethod
    @cache
    def made():
        def inner():
            return 6 + 0
        return inner
"""
TEST = """
import pytest
from gridbase.market import Grid, spare, wait


@pytest.mark.parametrize("left", [3], ids=["three left"])
def test_wait(left):
    assert wait(left) == 0


def test_spare():
    assert spare(0) == 3


def test_grid():
    assert Grid().width == 5
    with Grid().held() as held:
        assert held == [6]
    assert Grid.made()() == 6
"""
FILE = "bot/tests/bot/core/test_market.py"
KILLER = f"{FILE}::test_wait[three left]"
ANYWAY = """
from gridbase.market import wait


def test_of_something_else():
    wait(3)
    raise AssertionError
"""


@pytest.fixture
def checkout(mutants, monkeypatch, tmp_path):
    """A checkout with one module and its tests."""
    root = tmp_path / "checkout"
    files = {"src/gridbase/market.py": CODE, "src/gridbase/__init__.py": ""}
    files |= {"tests/bot/core/test_market.py": TEST, "tests/bot/core/test_other.py": ANYWAY}
    for name, text in files.items():
        (root / "bot" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "bot" / name).write_text(text)
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['bot/src']\n")
    subprocess.run(["git", "init", "-q", root], check=True)
    monkeypatch.setattr(mutants, "ROOT", root)
    return root


class Tried:
    """A copy of the checkout, and what its tests run."""

    def __init__(self, checkout, directory, tests):
        import mutant_trees

        self.said = []
        self.tree = mutant_trees.Tree(checkout, directory / "copy", hangs=2)
        kept = directory / "kept"
        traced = ["bot/src/gridbase/"]
        self.reach = mutant_trees.reach([self.tree], tests, traced, kept, self.said.append)

    def judge(self, mutant):
        tests = self.reach.tests_of(mutant.path, CODE, mutant.line)
        return self.tree.judge(mutant, tests)


@pytest.fixture
def tried(checkout, monkeypatch, tmp_path):
    """Makes a copy of the checkout, with some tests."""
    import mutant_trees

    monkeypatch.setattr(mutant_trees, "LIBRARIES", ["pytest", "hypothesis"])
    made = []

    def make(*tests):
        directory = tmp_path / f"{len(made)}"
        directory.mkdir()
        (directory / "kept").symlink_to(tmp_path)
        made.append(Tried(checkout, directory, tests or [FILE]))
        return made[-1]

    yield make
    for one in made:
        one.tree.end()


@pytest.mark.parametrize(
    ("before", "after", "killer"),
    [
        ("left + 0", "left + 0 ", None),
        ("left + 0", "left + 1", KILLER),
        ("left -= 1", "left -= 0", KILLER),  # hangs
        ("left > last", "left >= last + 1", None),
        ("last=0", "last=1", KILLER),  # loaded anew
        ("def wait(left", "def wait(lost", KILLER),
        ("left -= 1", "import os; os._exit(0)", KILLER),
        ("step = 1", "step = 2", f"{FILE}::test_grid"),
        ("4 + self.step", "4 - self.step", f"{FILE}::test_grid"),
        ("at + 5", "at - 5", f"{FILE}::test_grid"),
        ("6 + 0", "6 + 1", f"{FILE}::test_grid"),
        ("return 3", "return 4", f"{FILE}::test_spare"),
    ],
)
def test_a_mutant_is_dead_once_a_test_fails_or_hangs(mutants, tried, before, after, killer):
    mutant = mutants.replaced("bot/src/gridbase/market.py", CODE, before, after)
    verdict = tried().judge(mutant)
    assert verdict.killers == [killer] * bool(killer)
    assert (mutants.ROOT / mutant.path).read_text() == CODE


def test_only_tests_that_run_the_statement_are_tried(tried):
    reach = tried().reach
    path = "bot/src/gridbase/market.py"
    lines = {text: at for at, text in enumerate(CODE.splitlines(), 1)}

    def tests(text):
        return {name.partition("::")[2] for name in reach.tests_of(path, CODE, lines[text])}

    assert tests("        left -= 1") == {"test_wait[three left]"}
    assert tests("        return 1 + 1") == set()
    assert tests("    if left:") == {"test_spare"}
    assert tests("    step = 1") == {"test_spare", "test_grid", "test_wait[three left]"}


def test_what_killed_a_mutant_of_the_function_is_tried_first(tried):
    reach = tried().reach
    place = ("bot/src/gridbase/market.py", CODE, 19)
    before = reach.tests_of(*place)
    assert len(before) == 3
    for _ in range(2):
        reach.killed(*place, before[2])
    reach.killed(*place, before[1])
    assert reach.tests_of(*place) == before[::-1]


def test_a_test_that_fails_anyway_has_killed_nothing(tried):
    one = tried("bot/tests/bot/core")
    fails = "bot/tests/bot/core/test_other.py::test_of_something_else"
    assert one.reach.failing == [fails]
    assert one.reach.tests_of("bot/src/gridbase/market.py", CODE, 8) == [KILLER]


def test_tests_are_traced_again_where_a_file_is_another(tried, checkout):
    first, second = tried(), tried()
    assert first.said
    assert second.said == []
    assert second.reach._ran == first.reach._ran
    (checkout / FILE).write_text(TEST + "# longer")
    assert tried().said


def test_a_survivor_is_what_no_test_killed_in_time(mutants, tried, monkeypatch):
    import mutant_trees

    path = "bot/src/gridbase/market.py"
    monkeypatch.setattr(mutant_trees, "BUDGET_SECONDS", 0.001)
    mutant = mutants.replaced(path, CODE, "return left + 0", "return left + 1")
    one = tried()
    first, second = f"{FILE}::test_spare", KILLER
    assert one.tree.judge(mutant, [first, second]).killers == []
    assert one.tree.judge(mutant, [first, second]).tried == 1
    assert one.tree.judge(mutant, [second]).killers == [second]


def test_tests_that_cannot_be_collected_are_named(tried, checkout):
    (checkout / FILE).write_text("import no_such_module")
    with pytest.raises(RuntimeError, match=r"cannot be collected.*test_market"):
        tried()


def options(mutants, *words):
    return mutants._options(["--module", "gridbase/market", *words])


@pytest.mark.usefixtures("checkout")
def test_the_parts_are_disjoint_and_together_all(mutants):
    every = mutants._chosen(options(mutants))
    parts = [mutants._chosen(options(mutants, "--part", f"{part}/2")) for part in (1, 2)]
    assert len(every) == 19
    assert sorted(parts[0] + parts[1], key=every.index) == every


@pytest.mark.usefixtures("checkout")
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
    assert {mutant.line for mutant in changed} == {8}
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
