"""The roles' filters, and the pure functions of the smaller modules."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from gridbot.config import settings

from fleet.cli import show
from roles.container_image.filter_plugins import image_plan
from roles.container_image.library import image_inputs
from roles.grid_bot.filter_plugins import same_texts, toml_tables
from roles.preflight.filter_plugins import preflight
from roles.status.filter_plugins import status, status_table
from roles.status.library import pi_status
from virtual_pi.container_build import Builder, Step

ROLES = Path(__file__).resolve().parents[2] / "roles"
BOT = ROLES.parent / "bot"
IMAGE = "gridbot:0123456789abcdef-arm64"
WANTED = {
    "nvme_device": "/dev/nvme0n1",
    "free_mb": 2048,
    "releases": ["bookworm", "trixie"],
    "architectures": ["aarch64"],
    "sudo": False,
    "host": "pi4",
    "address": "192.168.1.21",
    "ipv6_off": True,
    "boot": True,
    "pciex1": False,
    "boot_only": False,
    "drive": True,
    "limits": {},
}
GOOD = """user trader
sudo yes
machine aarch64
release trixie
family debian
free 9000
python yes
nvme yes
disks /dev/vda (12G), /dev/nvme0n1 (4G)
"""


def test_good_host_has_no_problems():
    assert preflight.host_problems(GOOD, WANTED) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "sudo yes",
            "sudo no",
            "sudo asks trader for a password; run again with --ask-become-pass",
        ),
        ("machine aarch64", "machine armv7l", "its processor is armv7l; use aarch64"),
        ("release trixie", "release bullseye", "its system is debian bullseye"),
        ("family debian", "family fedora", "its system is fedora trixie"),
        ("free 9000", "free 100", "/var has 100 MB free and preflight_free_mb is 2048"),
        ("python yes\n", "", "no python3"),
        (
            "nvme yes\n",
            "",
            (
                "preflight_nvme_device is /dev/nvme0n1 and the host has no such block device, only"
                " /dev/vda (12G)"
            ),
        ),
    ],
)
def test_each_problem_is_one_line_with_setting_and_value(old, new, says):
    [line] = preflight.host_problems(GOOD.replace(old, new), WANTED)
    assert says in line
    assert "\n" not in line


def test_given_password_makes_sudo_right():
    look = GOOD.replace("sudo yes", "sudo no")
    assert preflight.host_problems(look, WANTED | {"sudo": True}) == []


STOP = {"loss_price": {"type": "str"}, "liquidate": {"type": "bool"}}
SPECS = {
    "grid_bot_lower": {"type": "str"},
    "grid_bot_grids": {"type": "int"},
    "grid_bot_mode": {"type": "str", "choices": ["paper", "live"]},
    "grid_bot_dns": {"type": "list", "elements": "str"},
    "grid_bot_api_key": {"type": "str", "choices": ["x"], "no_log": True},
    "grid_bot_stop": {"type": "dict", "options": STOP},
    "grid_bot_symbols": {
        "type": "list",
        "elements": "dict",
        "options": {
            "symbol": {"type": "str", "required": True},
            "grids": {"type": "int"},
            "stop": {"type": "dict", "options": STOP},
        },
    },
}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"grid_bot_lowr": 1},
            "grid_bot_lowr is not a setting of any role; did you mean grid_bot_lower?",
        ),
        ({"zzz": 1}, "zzz is not a setting of any role"),
        ({"grid_bot_grids": "many"}, "grid_bot_grids is 'many'; use a whole number"),
        ({"grid_bot_mode": "pper"}, "grid_bot_mode is 'pper'; use paper or live"),
        (
            {"grid_bot_dns": {"a": 1}},
            "grid_bot_dns is {'a': 1}; use a list whose elements are each text",
        ),
        ({"grid_bot_api_key": "hidden"}, "grid_bot_api_key is not shown; use x"),
        (
            {"grid_bot_stop": "liquidate=yes"},
            "grid_bot_stop is 'liquidate=yes'; use a mapping",
        ),
        (
            {"grid_bot_stop": {"los_price": "1"}},
            "grid_bot_stop.los_price is not a setting; did you mean loss_price?",
        ),
        (
            {"grid_bot_stop": {"liquidate": "perhaps"}},
            "grid_bot_stop.liquidate is 'perhaps'; use true or false",
        ),
        (
            {"grid_bot_symbols": [{"symbol": "A/B"}, {"grids": 4}]},
            "grid_bot_symbols, entry 2: symbol is missing",
        ),
        (
            {"grid_bot_symbols": [{"symbol": "A/B", "stop": {"liquidate": "x"}}]},
            "grid_bot_symbols, entry 1: stop.liquidate is 'x'; use true or false",
        ),
    ],
)
def test_wrong_setting_is_one_line(values, line):
    assert preflight.setting_problems(values, SPECS) == [line]


def test_right_settings_are_let_through():
    values = {
        "grid_bot_grids": 4,
        "grid_bot_lower": 1.5,
        "grid_bot_stop": {"loss_price": 38000, "liquidate": True},
        "grid_bot_symbols": [{"symbol": "A/B", "grids": "4", "stop": {"loss_price": "1.5"}}],
    }
    assert preflight.setting_problems(values, SPECS) == []


TABLES = yaml.safe_load((ROLES / "grid_bot/meta/argument_specs.yml").read_text())
OPTIONS = TABLES["argument_specs"]["main"]["options"]


def test_tables_have_what_is_set_with_its_type():
    stop = {"liquidate": "yes", "loss_price": 38000.5, "profit_price": "", "profit_percent": None}
    assert toml_tables.toml_tables(stop, "stop", OPTIONS["grid_bot_stop"]) == (
        # As it is: the bot refuses a float, and says which.
        "\n[stop]\nloss_price = 38000.5\nliquidate = true\n"
    )
    # What YAML makes of the word `off`, and of a number from the command line.
    move = {"cooldown_minutes": "30", "direction": False}
    assert toml_tables.toml_tables(move, "reposition", OPTIONS["grid_bot_reposition"]) == (
        '\n[reposition]\ndirection = "off"\ncooldown_minutes = 30\n'
    )
    assert toml_tables.toml_tables({}, "trend", OPTIONS["grid_bot_trend"]) == ""


def test_each_grid_of_several_has_its_tables_below_it():
    grids = [
        {"stop": {"loss_price": "1"}, "symbol": "A/B", "grids": 4, "exchange": {"seed": 1}},
        {"symbol": "C/B", "trend": {"enabled": True}},
    ]
    text = toml_tables.toml_tables(grids, "grids", OPTIONS["grid_bot_symbols"], ("exchange",))
    assert tomllib.loads(text) == {
        "grids": [
            {"symbol": "A/B", "grids": 4, "stop": {"loss_price": "1"}},
            {"symbol": "C/B", "trend": {"enabled": True}},
        ]
    }


def test_the_role_speaks_every_setting_of_a_grid_and_of_the_tables():
    tables = ("trend", "volatility", "reposition", "stop")
    of_role = {
        f"{table}.{key}" for table in tables for key in OPTIONS[f"grid_bot_{table}"]["options"]
    }
    assert of_role == {key for key in settings.SETTINGS if key.partition(".")[0] in tables}
    of_grid = {key.partition(".")[2] for key in settings.SETTINGS if key.startswith("grid.")}
    assert of_grid <= set(OPTIONS["grid_bot_symbols"]["options"])
    assert {f"grid_bot_{key}" for key in of_grid} <= set(OPTIONS)


LOOKS = {
    "pi1": "arch arm64\r\n",
    "pi2": f"arch arm64\r\nimage {IMAGE} sha256:aa\r\nimage gridbot:older-arm64 sha256:bb\r\n",
    "pc": "arch amd64\n",
}


def test_the_host_that_has_the_image_makes_it():
    plan = image_plan.image_plan(LOOKS, "gridbot", "0123456789abcdef")
    assert plan["arm64"] == {
        "image": IMAGE,
        "maker": "pi2",
        "holders": ["pi2"],
        "lacking": ["pi1"],
    }
    assert plan["amd64"]["maker"] == "pc"


def test_one_host_of_a_processor_builds_unless_another_is_named():
    looks = dict.fromkeys(("pi1", "pi2", "pi3"), "arch arm64")
    assert image_plan.image_plan(looks, "gridbot", "x")["arm64"]["maker"] == "pi1"
    assert image_plan.image_plan(looks, "gridbot", "x", "pi3")["arm64"]["maker"] == "pi3"


def test_builder_that_is_no_host_is_refused():
    with pytest.raises(
        AnsibleFilterError, match="the builder of gridbot is 'pi9'; use auto, controller"
    ):
        image_plan.image_plan(LOOKS, "gridbot", "x", "pi9")


def test_equal_texts_are_checked_once():
    texts = {"pi1": "a", "pi2": "b", "pi3": "a", "gone": "", "wrong": "a"}
    refused: dict[str, list[str]] = {name: [] for name in texts}
    refused["wrong"].append("a setting")
    same = same_texts.same_texts(texts, refused)
    assert same == [{"text": "a", "names": "pi1, pi3"}, {"text": "b", "names": "pi2"}]


IMPORT_ALL = """
import importlib, pathlib, sys
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.py")):
    name = ".".join(path.relative_to(sys.argv[1]).with_suffix("").parts)
    if not name.endswith("__main__"):
        importlib.import_module(name)
"""


def test_what_is_not_for_a_pi_is_not_missed_there(tmp_path):
    context = ROLES.parent / "bot"
    for path in image_inputs.context_files(context, ""):
        copy = tmp_path / path.relative_to(context)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    source = tmp_path / "src"
    # What the Dockerfile takes away again before the bot's image is made.
    dockerfile = (context / "Dockerfile").read_text()
    for line in re.findall(r"^rm -rf (/src/.*)$", dockerfile, re.MULTILINE):
        subprocess.run(["rm", "-r", *(f"{tmp_path}{word}" for word in line.split())], check=True)
    assert not (source / "gridbot/backtest").exists()
    environment = os.environ | {"PYTHONPATH": str(source)}
    subprocess.run([sys.executable, "-c", IMPORT_ALL, source], env=environment, check=True)
    command = [sys.executable, "-m", "gridbot", "backtest", "--data", "FILE"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
    assert "backtest is not part of this image" in told.stderr


def make_context(directory: Path) -> Path:
    """A build context with files that belong to it and others."""
    files = {
        "Dockerfile": "FROM scratch\n",
        ".dockerignore": "*\n!requirements.lock\n!src\n**/__pycache__\n**/*.pyc\n",
        "requirements.lock": "a==1\n",
        "src/pkg/a.py": "a = 1\n",
        "src/pkg/a.pyc": "",
        "src/pkg/__pycache__/a.pyc": "",
        "tests/test_a.py": "",
    }
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def inputs(context: Path, **more):
    """Run the module's function."""
    given = {"context": str(context), "more": {}, "limit": 1000, "target": "", "part": ""}
    return image_inputs.run(given | more)


def test_only_what_dockerignore_lets_in_counts(tmp_path):
    context = make_context(tmp_path)
    first = inputs(context)
    assert first["files"] == [".dockerignore", "Dockerfile", "requirements.lock", "src/pkg/a.py"]
    (context / "tests/test_a.py").write_text("changed")
    assert inputs(context) == first


@pytest.mark.parametrize("name", ["Dockerfile", "requirements.lock", "src/pkg/a.py", "src/new.py"])
def test_any_input_changes_the_hash(tmp_path, name):
    context = make_context(tmp_path)
    first = inputs(context)["hash"]
    (context / name).write_text("changed\n")
    assert inputs(context)["hash"] != first
    assert inputs(context, more={"arch": "arm64"})["hash"] != inputs(context)["hash"]


def test_a_part_has_a_hash_of_what_it_alone_is_built_of(tmp_path):
    context = make_context(tmp_path)
    (context / "src/other").mkdir()
    stages = {"other": "COPY src/other /a\n", "pkg": "COPY src/pkg /a\n"}
    both = "COPY --from=pkg /a /a\nCOPY --from=other /a /a\n"
    written = [f"FROM scratch AS {name}\n{text}" for name, text in (stages | {"": both}).items()]
    (context / "Dockerfile").write_text("".join(written).replace(" AS \n", "\n"))
    (context / "src/other/b.py").write_text("b = 1\n")

    def hashes() -> tuple[str, str]:
        found = inputs(context, part="other")
        return found["hash"], found["part_hash"]

    first = hashes()
    assert first[1] == inputs(context, target="other")["hash"]
    (context / "src/pkg/a.py").write_text("a = 2\n")
    second = hashes()
    assert second[0] != first[0]
    assert second[1] == first[1]
    (context / "src/other/b.py").write_text("b = 2\n")
    third = hashes()
    assert {third[0] == second[0], third[1] == second[1]} == {False}
    assert inputs(context)["part_hash"] == ""


def test_a_target_with_a_lock_of_its_own_needs_no_other(tmp_path):
    context = make_context(tmp_path)
    for name in ("build.lock", "other.lock"):
        (context / name).write_text("")
    assert inputs(context)["locks"] == ["build.lock", "requirements.lock"]
    assert inputs(context, target="other")["locks"] == ["build.lock", "other.lock"]
    assert inputs(context, target="bot")["locks"] == ["build.lock", "requirements.lock"]


@pytest.mark.parametrize(
    ("target", "own"),
    [
        ("", {"gridbot", "gridexchange"}),
        ("bot", {"gridbot"}),
        ("exchange", {"gridexchange"}),
        ("hub", {"hub"}),
        ("recorder", {"recorder"}),
        ("recorder-ccxt", {"recorder"}),
        ("analytics", {"analytics", "gridbot"}),
        ("watcher", {"watcher", "recorder"}),
    ],
)
def test_what_an_image_is_not_made_of_does_not_change_it(target, own):
    files = inputs(BOT, target=target, limit=2_000_000)["files"]
    programs = {name.split("/")[1] for name in files if name.startswith("src/")}
    assert programs == own | {"gridbase"}
    locks = {name for name in files if name.endswith(".lock")}
    wheels = set(inputs(BOT, target=target, limit=2_000_000)["locks"])
    assert wheels == locks | {"build.lock"}
    of_two = {"watcher": "requirements.lock", "recorder-ccxt": "ccxt.lock"}
    if target in of_two:
        assert locks == {"recorder.lock", of_two[target]}
        return
    assert locks == {f"{target}.lock" if (BOT / f"{target}.lock").exists() else "requirements.lock"}
    assert {"Dockerfile", ".dockerignore", "image/install-packages.sh"} <= set(files)


def needed(recipes: dict[str, list[Step]], stage: str) -> set[str]:
    """The stages that one is built of, itself included."""
    found = {stage}
    for step in recipes[stage]:
        words = [step.rest.partition(" AS ")[0]] if step.name == "FROM" else []
        words += [text for name, text in step.flags if name == "from"]
        words += re.findall("from=([a-z-]+)", " ".join(text for _, text in step.flags))
        for word in set(words) & set(recipes) - found:
            found |= needed(recipes, word)
    return found


@pytest.mark.parametrize("target", ["analytics", "hub", "recorder"])
def test_an_image_with_a_lock_of_its_own_installs_no_other_one(target):
    recipes = Builder((BOT / "Dockerfile").read_text(), Path(), "arm64", {}).recipes
    locks = {
        step.rest.split()[0]
        for stage in needed(recipes, target)
        for step in recipes[stage]
        if step.name == "COPY" and step.rest.split()[0].endswith(".lock")
    }
    assert locks == {f"{target}.lock"}


def test_context_that_is_too_large_is_refused(tmp_path):
    context = make_context(tmp_path)
    (context / "src/large").write_text("x" * 1000)
    with pytest.raises(image_inputs.ContextError, match="more than 1000"):
        inputs(context)


def test_status_keeps_hosts_that_cannot_be_asked():
    results = {
        "pi1": {"status": {"arch": "aarch64"}},
        "pi2": {"unreachable": True, "msg": "Failed to connect:\nno route"},
        "pi3": {},
    }
    assert status.status_objects(results) == [
        {"host": "pi1", "arch": "aarch64"},
        {"host": "pi2", "error": "Failed to connect: no route"},
        {"host": "pi3", "error": "it was not asked"},
    ]


def test_status_without_a_bot_says_so():
    found = pi_status.bot_status(None, None)
    assert found["state"] == "absent"
    assert set(found) == {
        "state",
        "mode",
        "symbol",
        "health",
        "unsettled",
        "answers",
        "reconnects",
        "memory_limit_bytes",
        "memory_used_bytes",
        "open_orders",
        "buys",
        "sells",
        "grid_profit",
        "profit",
        "price",
        "reason",
        "grids",
        "circuit",
        "account_stream",
        "uptime_seconds",
        "restarts",
    }


GRID = {
    "symbol": "BTC/USDT",
    "state": "trading",
    "price": "46000",
    "open_orders": 40,
} | dict.fromkeys(("grid_profit", "buys", "sells"), 1)
SAID = GRID | {
    "state": "halted",
    "mode": "paper",
    "health": {"ok": False, "reasons": ["ETH/USDT: order x: refused"]},
    "connection": {"circuit": {"state": "open"}, "account_stream": True},
    "grids": [
        GRID | {"paused": "ADX(14) is 30", "prices": "live-on-paper"},
        GRID | {"symbol": "ETH/USDT", "state": "halted", "paused": "", "halt": {"text": "a loss"}},
    ],
}


def test_status_has_a_line_for_each_grid_and_says_why_one_does_not_trade():
    bot = {"state": "halted", **pi_status.what_it_says(SAID), "memory_limit_bytes": 1}
    hosts = [{"host": "pi1", "bot": bot}, {"host": "pi2", "error": "no route"}]
    _, first, second, third = status_table.status_table(hosts).splitlines()
    assert first.split()[:4] == ["pi1", "trading", "paper", "(live"]
    assert first.split()[4:7] == ["prices)", "BTC/USDT", "46000"]
    assert first.endswith("circuit open, ETH/USDT: order x: refused, ADX(14) is 30")
    assert second.split()[:4] == ["pi1", "halted", "paper", "ETH/USDT"]
    assert second.endswith("a loss")
    assert third.split()[0] == "pi2"
    assert third.endswith("no route")


ANSWERS = {"host": "pi1", "bot": {"state": "halted"}}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (ANSWERS, 0),
        ({"host": "pi2", "error": "cannot be reached"}, 1),
        ({"host": "pi2", "bot": {"state": "silent"}}, 1),
        ({"host": "pi2", "bot": {"state": "unknown"}}, 1),
        ({"host": "pi2", "bot": {"state": "absent"}}, 0),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_status_that_could_not_be_read_is_shown_and_ends_with_1(capsys, host, status, as_json):
    assert show([ANSWERS, host], as_json=as_json) == status
    said = capsys.readouterr().out
    assert "pi1" in said
    assert host["host"] in said
    assert host.get("error", "") in said


def test_profit_is_equity_minus_investment_to_the_last_digit():
    grid = {"equity": "10000.00000001", "investment": "10000.1"}
    assert pi_status.profit(grid) == "-0.09999999"
    assert pi_status.profit(grid | {"equity": None}) is None
    assert pi_status.what_it_says(SAID | grid)["profit"] == "-0.09999999"
    (row,) = pi_status.what_it_says({"grids": [GRID | grid]})["grids"]
    assert row["profit"] == "-0.09999999"


@pytest.mark.parametrize(("script", "known"), [("exit 1", False), ("exit 0", True), (None, True)])
def test_a_docker_that_does_not_answer_is_no_absent_bot(tmp_path, monkeypatch, script, known):
    if script is not None:
        (tmp_path / "docker").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    assert pi_status.docker_answers() is known
    found = pi_status.bot_status(None, None, known=known)
    assert (found["state"], found["reason"]) == (
        ("absent", None) if known else ("unknown", "Docker does not answer")
    )


@pytest.mark.parametrize(("program", "due"), [("echo reboot_reason why", True), ("true", False)])
def test_status_says_that_a_reboot_is_due_where_the_program_has_a_reason(program, due):
    assert pi_status.host_status(program)["reboot_required"] is due


def test_status_of_a_bot_that_is_silent_says_why():
    said = pi_status.what_it_says({"error": "timed out"})
    assert (said["reason"], said["grids"], said["circuit"]) == ("timed out", [], None)


def test_status_reads_what_the_kernel_writes():
    assert pi_status.temperature("51540") == 51.5
    assert pi_status.temperature(None) is None
    assert pi_status.memory_available("MemTotal: 10 kB\nMemAvailable:    2048 kB\n") == 2097152
    lines = "0::/system.slice/docker-1f.scope\n"
    assert pi_status.cgroup_directory(lines) == "/sys/fs/cgroup/system.slice/docker-1f.scope"
    assert pi_status.cgroup_directory("5:memory:/docker/1f\n") is None
