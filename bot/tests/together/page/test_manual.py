"""docs/bot.md says what is so: its examples are read, its tables compared with the code."""

import json
import re
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.errors import ExitCode
from gridbase.market import plain
from gridbot import cli
from gridbot.config.load import LIVE_CONFIRMATION, parse_config
from gridbot.config.settings import SETTINGS

MANUAL = Path(__file__).parents[4] / "docs" / "bot.md"


@pytest.fixture(scope="module")
def manual():
    return MANUAL.read_text(encoding="utf-8")


def table(text, head):
    """Rows of the table below a head, as lists of cells."""
    lines = text.split(f"| {head} |", 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def text_of(default):
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return json.dumps(list(default))
    return plain(default) if isinstance(default, Decimal) else str(default)


def test_every_setting_is_there_with_its_default(manual):
    rows = {row[0].strip("`"): row[1].strip("`") for row in table(manual, "setting")}
    assert rows.keys() == SETTINGS.keys()
    for name, setting in SETTINGS.items():
        expected = "required" if setting.required else "none"
        if setting.default is not None:
            expected = text_of(setting.default)
        assert rows[name] == expected, name


def test_the_examples_are_valid(manual):
    examples = re.findall(r"```toml\n(.*?)```", manual, re.DOTALL)
    one, several = (parse_config(tomllib.loads(text), Path("bot.toml")) for text in examples)
    assert [config.symbol for config in one.grids] == ["BTC/USDT"]
    assert [config.symbol for config in several.grids] == ["BTC/USDT", "ETH/USDT"]
    assert [plain(config.stop.max_drawdown_percent) for config in several.grids] == ["20", "30"]
    assert [config.grid.post_only for config in several.grids] == [False, True]
    assert several.grids[1].grid.atr is not None


def test_every_command_is_there(manual):
    named = {row[0].split()[1] for row in table(manual, "command")}
    assert {name.strip("`") for name in named} == {name for name, _, _ in cli.COMMANDS} | {
        "version"
    }


def test_every_exit_status_is_there(manual):
    assert [int(row[0]) for row in table(manual, "status")] == list(ExitCode)


def test_every_state_is_there(manual):
    source = (MANUAL.parents[1] / "bot/src/gridbot/service/grid_worker.py").read_text(
        encoding="utf-8"
    )
    said = set(re.search(r"state: (.*)\.\n", source)[1].replace(" or ", ", ").split(", "))
    assert {row[0].strip("`") for row in table(manual, "`state`")} == said


def test_the_words_that_live_needs_are_there(manual):
    assert LIVE_CONFIRMATION in manual


def test_every_module_is_there(manual):
    rows = [re.findall(r"`([\w/]+)`", row[0]) for row in table(manual, "package")]
    source = MANUAL.parents[1] / "bot" / "src" / "gridbot"
    packages = {f"{path.parent.name}/" for path in source.glob("*/__init__.py")}
    assert sorted(name for name, *_ in rows) == sorted(packages)
    for package, *told in rows:
        modules = {path.stem for path in (source / package).glob("*.py")} - {"__init__"}
        modules |= {f"{path.name}/" for path in (source / package).glob("[a-z]*/")}
        assert not told or sorted(told) == sorted(modules), package


def test_every_link_leads_somewhere(manual):
    for target in re.findall(r"\]\(([^)]+)\)", manual):
        name, _, anchor = target.partition("#")
        file = MANUAL.parent / name if name else MANUAL
        assert file.exists(), target
        heads = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
        assert not anchor or anchor in anchors, target
