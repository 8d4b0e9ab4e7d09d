"""Wrong starts of a fleet: one line each, before a host changes; docs/wrong-starts.md has them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from gridbase.errors import UserError

from fleet.ansible import find_inventory
from fleet.variable_files import check_variable_files

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/wrong-starts.md"
KEYS = {"grid_bot_api_key": "key", "grid_bot_api_secret": "secret"}
# Nobody listens there: what is refused before a host is asked does not say so.
NOWHERE = {"ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_user": "trader"}
CONFIRMED = {"grid_bot_live_confirmation": "I accept that this bot trades real money"}
# Live prices are known to the bot alone, and it says the same at its start.
MADE_UP = {"grid_bot_prices": "made-up"}
TWICE = [{"symbol": "BTC/USDT", "lower": "42000", "upper": "50000", "grids": 10}] * 2
SETTINGS: dict[str, dict[str, object]] = {
    "a setting that does not exist": {"grid_bot_lowr": "42000"},
    "an amount without quotes": {"grid_bot_investment": 9000.5},
    "a range upside down": {"grid_bot_lower": "50000", "grid_bot_upper": "42000"},
    "live without its confirmation": {"grid_bot_mode": "live"},
    "live without keys": {
        "grid_bot_mode": "live",
        "grid_bot_api_key": "",
        "grid_bot_api_secret": "",
        **CONFIRMED,
    },
    "a candle file that is missing": {"grid_bot_candles": "/no/such/candles.csv"},
    "a symbol twice": {"grid_bot_symbols": [{**one, "investment": "1000"} for one in TWICE]},
    "a symbol in a wrong form": {"grid_bot_symbol": "BTCUSDT"},
    "too many lines": {"grid_bot_grids": 2000},
    "a budget too small": {**MADE_UP, "grid_bot_investment": "20"},
    "pairs that lose": {**MADE_UP, "grid_bot_investment": "300"},
    "a price far from the range": {
        **MADE_UP,
        "grid_bot_lower": "90000",
        "grid_bot_upper": "110000",
        "grid_bot_exchange_start_price": "46000",
    },
    "a host that is off": {},
}
OTHERS = (
    "an inventory that is missing",
    "several inventories, and none is named",
    "a host that is not in the inventory",
    "an NVMe drive that is missing",
    "sudo asks for a password, and none is given",
    "candles that cannot be read",
    "one Pi of two is off",
    "a verb that does not exist",
    "limits above what the board has",
    "limits of several bots above what the board has",
    "an API key on two bots",
    "a symbol twice on one account",
    "a bot on two Pis",
    "bots of one Pi with one port",
    "a symbol that no bot trades",
    "a file of variables that cannot be read",
    "a setting twice in one file",
)
REFUSED = "What check and deploy refuse"


def check(inventory: Path | str, state: Path, *words: str) -> tuple[int, list[str]]:
    """What `./gridberry check` ends with, and its lines that say why."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "fleet.cli", "check", "-i", str(inventory), *words],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "GRIDBERRY_STATE": str(state),
        },
    )
    print(f"{time.monotonic() - begun:.1f} s\n{done.stderr}")
    assert done.stdout == "", "something was run"
    return done.returncode, [line for line in done.stderr.splitlines() if line[0] != "$"]


def inventory_of(directory: Path, **settings: object) -> Path:
    path = directory / "inventory.yml"
    host = NOWHERE | KEYS | {"grid_bot_cache": str(directory / "cache")} | settings
    path.write_text(yaml.safe_dump({"trading": {"hosts": {"pi1": host}}}))
    return path


def documented(heading: str) -> dict[str, str]:
    """The rows of one table of the document."""
    part = DOCUMENT.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| (.+?) \| `(.+)` \|$", part, re.MULTILINE))


def matches(pattern: str, line: str) -> bool:
    """Whether a line is the document's; `...` stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("..."))), line) is not None


def test_the_document_has_each_case() -> None:
    assert set(documented(REFUSED)) == {*SETTINGS, *OTHERS}


@pytest.mark.parametrize("case", SETTINGS)
def test_it_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    status, lines = check(inventory_of(tmp_path, **SETTINGS[case]), tmp_path / "state")
    assert status == (1 if case == "a host that is off" else 2)
    [line] = lines
    assert matches(documented(REFUSED)[case], line)


def test_an_inventory_that_is_missing(tmp_path: Path) -> None:
    status, [line] = check("inventory/hme", tmp_path / "state")
    assert status == 2
    assert matches(documented(REFUSED)[OTHERS[0]], line)


def test_a_host_that_is_not_in_the_inventory(tmp_path: Path) -> None:
    status, [line] = check(inventory_of(tmp_path), tmp_path / "state", "--limit", "pi9")
    assert status == 2
    assert matches(documented(REFUSED)[OTHERS[2]], line)


def test_several_inventories_and_none_is_named(tmp_path: Path) -> None:
    for name in ("home", "office"):
        (tmp_path / "inventory" / name).mkdir(parents=True)
    with pytest.raises(UserError) as refused:
        find_inventory("", tmp_path)
    assert matches(documented(REFUSED)[OTHERS[1]], f"gridberry: {refused.value}")


def stand_in(directory: Path, name: str, text: str) -> Path:
    path = directory / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# This machine is the host, so that preflight really looks; what else it lacks of a Pi is said too.
HERE = {"ansible_host": "localhost", "ansible_connection": "local"}


def test_an_nvme_drive_that_is_missing(tmp_path: Path) -> None:
    inventory = inventory_of(tmp_path, **HERE, preflight_nvme_device="/dev/nvme9n1")
    status, lines = check(inventory, tmp_path / "state")
    assert status == 1
    [line] = [line for line in lines if "preflight_nvme_device" in line]
    assert matches(documented(REFUSED)[OTHERS[3]], line)


def test_sudo_asks_for_a_password_and_none_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sudo = stand_in(tmp_path, "sudo", "echo sudo: a password is required >&2; exit 1")
    stand_in(tmp_path, "id", "[ $1 = -u ] && echo 1000 || echo trader")
    monkeypatch.setenv("PATH", f"{sudo.parent}:{os.environ['PATH']}")
    # Root becomes somebody else: Ansible asks nobody for what the user is already.
    become = {"ansible_become_exe": str(sudo), "ansible_become_user": "nobody"}
    status, lines = check(inventory_of(tmp_path, **HERE, **become), tmp_path / "state")
    assert status == 1
    [line] = [line for line in lines if "sudo" in line]
    assert matches(documented(REFUSED)[OTHERS[4]], line)


def test_limits_above_what_the_board_has(tmp_path: Path) -> None:
    inventory = inventory_of(tmp_path, **HERE, grid_bot_memory="900g")
    status, lines = check(inventory, tmp_path / "state")
    assert status == 1
    [line] = [line for line in lines if "grid_bot_memory" in line]
    assert matches(documented(REFUSED)[OTHERS[8]], line)


def test_candles_that_cannot_be_read(tmp_path: Path) -> None:
    candles = tmp_path / "candles.csv"
    candles.write_text("open,close\n1,2\n")
    inventory = inventory_of(tmp_path, grid_bot_candles=str(candles))
    status, [line] = check(inventory, tmp_path / "state")
    assert status == 2
    assert matches(documented(REFUSED)[OTHERS[5]], line)


def test_one_pi_of_two_is_off(tmp_path: Path) -> None:
    inventory = inventory_of(tmp_path, **HERE)
    hosts = yaml.safe_load(inventory.read_text())["trading"]["hosts"]
    hosts["pi2"] = hosts["pi1"] | NOWHERE | {"ansible_connection": "ssh", "grid_bot_name": "pi2"}
    inventory.write_text(yaml.safe_dump({"trading": {"hosts": hosts}}))
    status, lines = check(inventory, tmp_path / "state")
    assert status == 1
    [line] = [line for line in lines if "pi2" in line]
    assert matches(documented(REFUSED)[OTHERS[6]], line)


def several_bots(directory: Path, bots: dict[str, dict[str, object]], **settings: object) -> Path:
    """An inventory that is a directory, of Pis with several bots."""
    home = directory / "home"
    home.mkdir()
    inventory_of(directory, **settings).rename(home / "hosts.yml")
    (home / "trades.yml").write_text(yaml.safe_dump({"plugin": "trades", "bots": bots}))
    return home


@pytest.mark.parametrize(
    ("case", "bots", "words"),
    [
        ("a bot on two Pis", {"pi1": {"eth": {}}, "pi2": {"eth": {}}}, ()),
        ("bots of one Pi with one port", {"pi1": {"pi1-eth": {}}}, ()),
        (
            "a symbol that no bot trades",
            {"pi1": {"pi1-eth": {"symbol": "ETH/USDT"}}},
            ("--limit", "XRP/USDT"),
        ),
    ],
)
def test_several_bots_on_one_pi(
    tmp_path: Path, case: str, bots: dict[str, dict[str, object]], words: tuple[str, ...]
) -> None:
    status, [line] = check(several_bots(tmp_path, bots), tmp_path / "state", *words)
    assert status == 2
    assert matches(documented(REFUSED)[case], line)


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("a file of variables that cannot be read", "grid_bot_lower: 1\n  grid_bot_upper: 2\n"),
        ("a setting twice in one file", "grid_bot_lower: '1'\na: 2\ngrid_bot_lower: '3'\n"),
    ],
)
def test_files_of_variables(tmp_path: Path, case: str, text: str) -> None:
    inventory = inventory_of(tmp_path)
    file = tmp_path / "group_vars/trading/main.yml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    status, [line] = check(inventory, tmp_path / "state")
    assert status == 2
    assert matches(documented(REFUSED)[case], line)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("group_vars/all.yml", "a: [1\n", ":2: did not find expected ',' or ']'"),
        ("host_vars/pi1", "a\nb\n", ":1: use lines such as NAME: VALUE"),
        ("host_vars/pi1/x.yaml", "- a\n", ":1: use lines such as NAME: VALUE"),
        (
            "host_vars/pi1/x.json",
            '{"a": 1, "a": 2}',
            ":1: a is there twice; the first is in line 1",
        ),
        ("group_vars/all.yml", "a: \x07\n", ": unacceptable character"),
        ("group_vars/all.yml", "a: !vault |\n  $ANSIBLE_VAULT;1.1\nb: !unsafe x\n", ""),
        ("group_vars/all.yml", "$ANSIBLE_VAULT;1.1;AES256\n3061\n", ""),
        ("group_vars/all.yml", "# nothing\n", ""),
        # Ansible reads none of these.
        ("group_vars/all.yml~", "a: [1\n", ""),
        ("group_vars/.all.yml", "a: [1\n", ""),
        ("group_vars/all.md", "a: [1\n", ""),
        ("notes/all.yml", "a: [1\n", ""),
    ],
)
def test_what_is_wrong_in_a_file_of_variables(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    refused = ""
    try:
        check_variable_files(tmp_path, "inventory/home")
    except UserError as error:
        refused = str(error)
    assert refused.startswith(f"inventory/home/{name}{said}" if said else "")
    assert bool(refused) == bool(said)


def test_limits_of_several_bots_above_what_the_board_has(tmp_path: Path) -> None:
    # Each would fit alone.
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    half = f"{room * 6 // 10}m"
    guest: dict[str, object] = {"symbol": "ETH/USDT", "page_port": 8081, "memory": half}
    inventory = several_bots(tmp_path, {"pi1": {"pi1-eth": guest}}, **HERE, grid_bot_memory=half)
    status, lines = check(inventory, tmp_path / "state")
    assert status == 1
    [line] = {line.replace("pi1-eth: ", "pi1: ") for line in lines if "grid_bot_memory" in line}
    wanted = documented(REFUSED)["limits of several bots above what the board has"]
    assert matches(wanted.replace("6g", half), line)


OF_ONE_ACCOUNT = {"mode": "live", "account": "main", "api_key": "another", "page_port": 8081}
OF_ONE_ACCOUNT |= {"live_confirmation": CONFIRMED["grid_bot_live_confirmation"]}


@pytest.mark.parametrize(
    ("case", "more"),
    [
        ("an API key on two bots", {"api_key": "key", "symbol": "ETH/USDT"}),
        ("a symbol twice on one account", {}),
    ],
)
def test_two_bots_of_one_account(tmp_path: Path, case: str, more: dict[str, object]) -> None:
    guest = OF_ONE_ACCOUNT | {"api_secret": "another"} | more
    own = {"grid_bot_mode": "live", "grid_bot_account": "main", **CONFIRMED}
    inventory = several_bots(tmp_path, {"pi1": {"pi1-b": guest}}, **own)
    status, [line] = check(inventory, tmp_path / "state")
    assert status == 2
    assert matches(documented(REFUSED)[case], line)


def test_a_verb_that_does_not_exist() -> None:
    done = subprocess.run([ROOT / "gridberry", "chek"], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line == documented(REFUSED)[OTHERS[7]]
