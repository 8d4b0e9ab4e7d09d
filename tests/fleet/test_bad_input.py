"""Bad input for each option of each verb, and for each variable of the playbooks behind them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet import cli
from playbooks.filter_plugins.variables import BY_HOST, EVERY, VARIABLES, variable_problems

ROOT = Path(__file__).resolve().parents[2]
VERBS = dict(cli.all_verbs().each)
NAMES = ("pi1", "pi2")
HERE = {"ansible_connection": "local", "ansible_become": False}
LONG = "x" * 201
# By option, for each verb that has it: a wrong value, and what is said of it.
BAD: dict[str, tuple[tuple[str, str], ...]] = {
    "--inventory": (
        ("/no/where", "the inventory is '/no/where', which is not there; name a file or directory"),
        ("", "argument -i/--inventory: '' is not allowed; name one, or leave it out"),
    ),
    "--limit": (
        ("pi9", "--limit is 'pi9': {inventory} has no host or group 'pi9'; it has pi1, pi2"),
        ("", "argument -l/--limit: '' is not allowed; name one, or leave it out"),
    ),
    "--symbol": (
        ("btc/usdt", "no bot there trades 'btc/usdt'; they trade BTC/USDT"),
        ("", "--symbol is ''; use a symbol such as BTC/USDT"),
    ),
    "--reason": (
        ("two\nlines", "--reason is 'two\\nlines'; use one line of at most 200 printable"),
        (LONG, f"--reason is '{'x' * 59}...'; use one line of at most 200 printable"),
    ),
    "--take": (("all", "argument --take: invalid choice: 'all'"),),
    "--by": (("week", "argument --by: invalid choice: 'week'"),),
    "--release": (("0", "argument --release: '0' is not allowed; use a whole number from 1 to"),),
    "--lines": (("many", "argument --lines: 'many' is not allowed; use a whole number from 1 to"),),
    "--watch": (
        ("0", "argument --watch/-w: '0' is not allowed; use a whole number from 1 to"),
        ("9" * 20, f"argument --watch/-w: '{'9' * 20}' is not allowed; use a whole number from"),
    ),
    "--canary": (("pi9", "--canary names 'pi9'; the hosts are pi1, pi2"),),
    "--soak": (("1h", "argument --soak: '1h' is not allowed; use a whole number from 0 to"),),
    "--orders": (("-1", "argument --orders: '-1' is not allowed; use a whole number from 0 to"),),
    "--failures": (("2", "--failures is 2; use a number below that of the hosts, 2"),),
    "--continue": (("", "--continue: there is no rollout that was paused or interrupted"),),
    "--back": (("", "--back: there is no rollout that was paused or interrupted"),),
    "--snapshot": (("1f9;a", "--snapshot is '1f9;a'; use a snapshot's ID (4 to 64 of 0-9"),),
    "--from-host": (
        ("pi 1", "--from-host is 'pi 1'; use the name of a host"),
        ("pi1", "--from-host is 'pi1', whose books one host can have, and this is for pi1, pi2"),
    ),
    "--old-is-off": (("", "--old-is-off is for --from-host, which is missing"),),
    "host": (
        ("pi9", "there is no host 'pi9': {inventory} has pi1, pi2"),
        ("pi9", "--limit is 'pi9': {inventory} has no host or group 'pi9'; it has pi1, pi2"),
    ),
    "shell": (("tcsh", "argument shell: invalid choice: 'tcsh'"),),
}
# Ansible is asked about these, which takes a second: for all verbs in one place of `main`.
ASKED = {"--limit": ("stop", "rollout"), "--symbol": ("flatten",)}
# What comes after --, for verbs that hand it to ansible-playbook.
AFTER = (
    ("--bogus", "after --: unrecognized arguments: --bogus; see ansible-playbook --help"),
    ("--limit=pi2", "after --: --limit is not allowed there; use it before --"),
    ("other.yml", "after --: 'other.yml' is no option"),
)


def name_of(action: Any) -> str:
    """Return an option's long name, or what is said without one."""
    return next((one for one in action.option_strings if one.startswith("--")), action.dest)


def cases_of(verb: str, action: Any) -> list[tuple[list[str], str]]:
    """Return an option's wrong values, and what is said of each."""
    name = name_of(action)
    if name in ASKED and verb not in ASKED[name]:
        return []
    if action.dest == "host":
        # Logs are of all hosts or of one; a host of the others is the one that they mean.
        return [([verb, value], says) for value, says in BAD[name][verb == "logs" :][:1]]
    if not action.option_strings:
        return [([verb, value], says) for value, says in BAD[name]]
    if action.nargs == 0:
        found = [([verb, name], says) for _, says in BAD.get(name, ())]
        return [*found, ([verb, f"{name}=maybe"], f"{name}: ignored explicit argument 'maybe'")]
    return [([verb, f"{name}={value}"], says) for value, says in BAD[name]]


def cases() -> list[Any]:
    """Return each verb with each wrong value of each of its options."""
    found = []
    for verb, parser in VERBS.items():
        for action in parser._actions:
            found += cases_of(verb, action)
        takes = parser.get_default("takes")
        if verb == "completion":
            continue
        if "ansible-playbook" in takes:
            found += [([verb, "--", word], says) for word, says in AFTER]
        elif not takes:
            found.append(([verb, "--", "word"], f"{verb} takes nothing after --"))
        found.append(([verb, "--no-such"], "unrecognized arguments: --no-such"))
    return [pytest.param(words, says, id=" ".join(words)[:40]) for words, says in found]


def test_hosts_are_checked_for_each_verb_that_chooses_some() -> None:
    for verb, parser in VERBS.items():
        chooses = any(name_of(action) == "--limit" for action in parser._actions)
        assert parser.get_default("of_all") == chooses, verb


def test_each_option_has_a_wrong_value() -> None:
    options = {
        name_of(action)
        for parser in VERBS.values()
        for action in parser._actions
        if action.nargs != 0
    }
    assert options <= set(BAD), options - set(BAD)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two hosts that are this machine; a `docker` that notes that it was asked."""
    tool = tmp_path / "bin/docker"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho asked >>{tmp_path}/asked\n")
    tool.chmod(0o755)
    hosts = dict.fromkeys(NAMES, HERE)
    (tmp_path / "two.yml").write_text(yaml.safe_dump({"trading": {"hosts": hosts}}))
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))
    monkeypatch.setenv("GRIDBERRY_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("GRIDBERRY_INVENTORY", raising=False)
    return tmp_path


@pytest.mark.parametrize(("words", "says"), cases())
def test_a_wrong_option_is_one_line(
    place: Path, capfd: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    inventory = str(place / "two.yml")
    given = any(word.startswith("--inventory") for word in words) or words[0] == "completion"
    own = [] if given else ["-i", inventory]
    try:
        status = cli.main([words[0], *own, *words[1:]])
    except SystemExit as ended:
        status = int(ended.code or 0)
    printed = capfd.readouterr()
    assert status == 2, printed
    assert printed.out == ""
    [line] = printed.err.splitlines()
    assert line.startswith("gridberry: ")
    assert says.format(inventory=inventory) in line
    assert not (place / "asked").exists()
    assert not (place / "state/rollout.json").exists()


def test_an_inventory_that_cannot_be_read_is_one_line(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = place / "two.yml"
    for text, why in (
        ("trading: {hosts: {pi1: [}", f"; {file}:1:16; "),
        ("{}", " has no host in the group trading"),
    ):
        file.write_text(text)
        assert cli.main(["stop", "-i", str(file)]) == 2
        [line] = capfd.readouterr().err.splitlines()
        assert line.startswith(f"gridberry: {file} ")
        assert why in line


# By playbook: its variables with wrong values, and what is said of each.
SERIAL = {"gridberry_serial": ("0", "use a number of hosts from 1 on, or a share such as 25%")}
SYMBOL = ("BTCUSDT", "use a symbol such as BTC/USDT")
REASON = ("two\nlines", "use one line of at most 200 printable characters")
SWITCH = ("maybe", "use true or false")
HOST = ("pi 9", "use the name of a host")
FILE = ("there.json", "use the absolute path of a file, in a directory that is there")
NOWHERE = ("/no/where/x.json", FILE[1])
PATTERN = ("pi1\npi2", "use one line")
WRONG: dict[str, dict[str, tuple[object, str]]] = {
    "pause": {"pause_symbol": SYMBOL, "pause_reason": REASON, "pause_cancel": SWITCH, **SERIAL},
    "flatten": {
        "flatten_symbol": SYMBOL,
        "flatten_reason": REASON,
        "flatten_sell": SWITCH,
        "flatten_confirmed": SWITCH,
    },
    "resume": {
        "resume_symbol": SYMBOL,
        "resume_take": ("all", "use nothing or over"),
        "resume_confirmed": SWITCH,
    },
    "restore": {
        "restore_snapshot": ("latst", "use a snapshot's ID (4 to 64 of 0-9 and a-f), or latest"),
        "restore_from_host": HOST,
        "restore_old_is_off": SWITCH,
        "restore_confirmed": SWITCH,
    },
    "rollback": {
        "rollback_release": ("last", "use the number of a release"),
        "rollback_releases": ("7", 'use a mapping such as {"pi1": 7}'),
        "rollback_books": ("7", 'use a mapping such as {"pi1": 7}'),
        "gridberry_max_fail_percentage": ("101", "use a whole number from 0 to 100"),
    },
    "reboot": {"reboot_only_if_needed": SWITCH, **SERIAL},
    "upgrade": {"upgrade_reboot": SWITCH, **SERIAL},
    "restore_boot": {"restore_boot_exact": SWITCH, **SERIAL},
    "restore_database": {
        "restore_target": ("yesterday", "use a time such as 2026-11-24 14:03:00+00"),
        "restore_confirmed": SWITCH,
    },
    "promote_database": {
        "promote_host": HOST,
        "promote_old_is_off": SWITCH,
        "promote_confirmed": SWITCH,
    },
    "rejoin_database": {"rejoin_primary": HOST, "rejoin_clone": SWITCH},
    "status": {"status_output": FILE, "status_hosts": PATTERN, "status_container": PATTERN},
    "look": {"look_output": NOWHERE, "look_hosts": PATTERN, "look_backup": PATTERN},
    "facts": {"facts_output": FILE, "facts_enabled": SWITCH},
    "rollout": {"rollout_options": ("--plan\n--back", "use one line")},
    **dict.fromkeys(("site", "harden", "backup", "undo", "rotate_keys", "ib_gateway"), SERIAL),
}
# They have no variable of their own and take no hosts at a time, or import one of those above.
NONE = {"audit", "database", "preflight", "recorder", "settings", "variables"}


def test_each_playbook_and_each_variable_has_a_wrong_value() -> None:
    assert {path.stem for path in (ROOT / "playbooks").glob("*.yml")} == {*WRONG, *NONE}
    for playbook, kinds in VARIABLES.items():
        prefix = playbook.partition("_")[0]
        assert {f"{prefix}_{name}" for name in kinds} <= set(WRONG[playbook]), playbook
        text = (ROOT / f"playbooks/{playbook}.yml").read_text()
        used = set(re.findall(rf"(?<![\w.-])(?<!\| ){prefix}_\w+(?= \||\)|\[| }}}})", text))
        assert used - set(BY_HOST) <= {f"{prefix}_{name}" for name in kinds}, playbook


# These import one that begins with the check; of the others, `settings` has it among its tasks.
FIRST = {
    "site": "preflight",
    "harden": "preflight",
    "preflight": "settings",
    "recorder": "preflight",
}
FIRST["rotate_keys"] = "settings"


@pytest.mark.parametrize("playbook", [*WRONG, "preflight", "recorder"])
def test_a_playbook_begins_with_the_check_of_what_it_is_told(playbook: str) -> None:
    first = yaml.safe_load((ROOT / f"playbooks/{playbook}.yml").read_text())[0]
    assert first["ansible.builtin.import_playbook"] == f"{FIRST.get(playbook, 'variables')}.yml"
    told = first.get("vars", {}).get("__variables_of", "")
    assert told == (playbook if playbook in VARIABLES else "")
    for name, (value, says) in WRONG.get(playbook, {}).items():
        found = variable_problems({name: value}, playbook)
        assert [one for one in found if "is missing" not in one] == [f"{name} is {value!r}; {says}"]


@pytest.mark.parametrize("playbook", ["pause", "site", "status", "promote_database"])
def test_a_wrong_variable_is_one_line_before_a_host_is_asked(tmp_path: Path, playbook: str) -> None:
    # Nobody listens there.
    host = {"ansible_host": "127.0.0.1", "ansible_port": 9}
    groups = {name: {"hosts": dict.fromkeys(NAMES, host)} for name in ("trading", "database")}
    inventory = tmp_path / "two.yml"
    inventory.write_text(yaml.safe_dump(groups))
    given = {name: value for name, (value, _) in WRONG[playbook].items()}
    own = playbook.partition("_")[0] if playbook in VARIABLES else ""
    given |= {f"{own}_nonsense": "x"} if own else {}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", "-i", inventory),
            *(f"playbooks/{playbook}.yml", "-e", json.dumps(given)),
        ],
        cwd=ROOT, check=False, capture_output=True, text=True,
        env=os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true",
            "GRIDBERRY_STATE": str(tmp_path / "state"), "COLUMNS": "2000",
        },
    )  # fmt: skip
    assert done.returncode != 0
    assert "UNREACHABLE" not in done.stdout
    said = re.findall(
        r"(?m)^(?:\[ERROR\]: .*Action failed: )?(\w+ is .*)$", done.stderr + done.stdout
    )
    wanted = [f"{name} is {value!r}; {says}" for name, (value, says) in WRONG[playbook].items()]
    for line in wanted:
        assert line in said, done.stdout + done.stderr
    if own:
        assert any(
            one.startswith(f"{own}_nonsense is no variable of {playbook}.yml") for one in said
        )


def test_what_is_allowed_and_what_is_needed() -> None:
    allowed: list[tuple[str, dict[str, object]]] = [
        ("pause", {"pause_symbol": "BTC/USDT", "pause_reason": "é, holidays"}),
        ("pause", {"pause_cancel": "yes", "gridberry_serial": 5}),
        ("rollback", {"rollback_release": 7, "rollback_releases": {"pi1": 7, "pi2": "8"}}),
        ("restore", {"restore_snapshot": "1f9a6a05", "restore_from_host": "pi1-eth"}),
        ("restore", {"restore_snapshot": "latest"}),
        ("resume", {"resume_take": ""}),
        ("restore_database", {"restore_target": "2026-11-24 14:03:00.123456+00"}),
        ("", {"gridberry_serial": "25%", "gridberry_max_fail_percentage": "100"}),
        ("", {"pause_symbol": "nobody's", "rollback_releases": 5}),
    ]  # fmt: skip
    for playbook, given in allowed:
        assert variable_problems(given, playbook) == []
    assert variable_problems({}, "promote_database") == [
        "promote_host is missing; use the name of a host"
    ]
    assert variable_problems({"rollback_releases": {"pi1": "last"}}, "rollback") == [
        "rollback_releases of pi1 is 'last'; use the number of a release"
    ]
    assert variable_problems({"pause_reson": "x"}, "pause") == [
        "pause_reson is no variable of pause.yml; did you mean pause_reason?"
    ]
    assert variable_problems({"gridberry_serial": ["1"]}) == [
        "gridberry_serial is \"['1']\"; use a number of hosts from 1 on, or a share such as 25%"
    ]
    assert set(EVERY) == {"gridberry_serial", "gridberry_max_fail_percentage"}


def test_books_of_one_host_are_for_one_host(tmp_path: Path) -> None:
    inventory = tmp_path / "two.yml"
    inventory.write_text(yaml.safe_dump({"trading": {"hosts": dict.fromkeys(NAMES, HERE)}}))
    command = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "-i",
        inventory,
        "playbooks/restore.yml",
    ]
    done = subprocess.run(
        [*command, "-e", "restore_from_host=pi7"],
        cwd=ROOT, check=False, capture_output=True, text=True,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "COLUMNS": "2000"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "restore_from_host is pi7, whose books one host can have, and this is for pi1, pi2;" in (
        done.stdout + done.stderr
    )
    assert "Look at the backup" not in done.stdout
