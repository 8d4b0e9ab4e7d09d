"""Several bots on one Pi: what each has of its own, and what the inventory refuses."""

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
from gridbase.errors import UserError

from fleet.bots import shared_pis, traders, widened
from roles.grid_bot.filter_plugins.accounts import pi_conflicts
from roles.preflight.filter_plugins.preflight import limit_lines
from tests.ansible import pretend_docker
from tests.ansible.test_releases import SETTINGS, Host

ROOT = Path(__file__).resolve().parents[2]
ETH = {"symbol": "ETH/USDT", "lower": "2200", "upper": "3200", "page_port": 8081}
BOTS = {"pi1": {"pi1": {}, "pi1-eth": ETH}}


class Shelf(Host):
    """A Pi that is this machine, with an inventory that is a directory."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.file = place / "home"
        self.bots: dict[str, dict[str, Any]] = {}

    def inventory(self, settings: dict[str, Any]) -> None:
        (self.file / "host_vars").mkdir(parents=True, exist_ok=True)
        hosts = {"trading": {"hosts": {"pi1": None}, "vars": SETTINGS | settings}}
        (self.file / "hosts.yml").write_text(yaml.safe_dump(hosts))
        own = {"grid_bot_directory": str(self.directory), "of_the_pi": "its guests have it"}
        (self.file / "host_vars/pi1.yml").write_text(yaml.safe_dump(own))
        if self.bots:
            trades = {"plugin": "trades", "bots": self.bots}
            (self.file / "trades.yml").write_text(yaml.safe_dump(trades))

    def containers(self) -> dict[str, str]:
        found = pretend_docker.load(self.world, "containers")
        images = {
            one["id"]: name for name, one in pretend_docker.load(self.world, "images").items()
        }
        return {name: images[one["image"]] for name, one in found.items()}


def recap(done: subprocess.CompletedProcess) -> dict[str, int]:
    """How much was changed on each host."""
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"(?m)^(\S+) +: ok=.* changed=(\d+)", done.stdout)
    return {name: int(count) for name, count in found}


def test_a_second_bot_leaves_the_first_as_it_was(tmp_path: Path) -> None:
    pi = Shelf(tmp_path)
    for version in "ab":
        pi.image(version)
    assert recap(pi.deploy("a"))["pi1"] > 0
    assert list(pi.containers()) == ["gridberry-bot", "gridberry-exchange"]

    pi.bots = {"pi1": {"pi1": {}, "pi1-eth": ETH | {"directory": str(tmp_path / "opt/pi1-eth")}}}
    found = recap(pi.deploy("a"))
    assert found["pi1"] == 0
    assert found["pi1-eth"] > 0
    both = {
        f"gridberry{own}-{what}": "gridbot:a"
        for own in ("", "-pi1-eth")
        for what in ("bot", "exchange")
    }
    assert pi.containers() == both
    books = {path.name for path in (pi.world / "volumes").iterdir()}
    assert books == {
        f"gridberry{own}-paper-{what}" for own in ("", "-pi1-eth") for what in ("bot", "exchange")
    }
    assert 'symbol = "ETH/USDT"' in (tmp_path / "opt/pi1-eth/bot.toml").read_text()
    assert 'symbol = "BTC/USDT"' in (tmp_path / "opt/bot/bot.toml").read_text()
    keys = {
        (tmp_path / "opt" / one / "secrets/paper_api_key").read_text() for one in ("bot", "pi1-eth")
    }
    assert len(keys) == 2

    # A release is each bot's own.
    found = recap(pi.deploy("b", "--limit", "pi1-eth"))
    assert found["pi1-eth"] > 0
    changed = {f"gridberry-pi1-eth-{one}": "gridbot:b" for one in ("bot", "exchange")}
    assert pi.containers() == both | changed
    assert pi.results() == {1: "good"}

    look = pi.play("status.yml", "-e", f"status_output={tmp_path}/status.json")
    assert look.returncode == 0, look.stdout + look.stderr
    found = json.loads((tmp_path / "status.json").read_text())
    assert [(one["host"], one["bot"]["state"]) for one in found] == [
        ("pi1", "silent"),
        ("pi1-eth", "silent"),
    ]


def listed(inventory: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "ansible", "inventory", "-i", inventory, "--list"]
    own = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true", "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | own, capture_output=True, text=True, check=False
    )


def test_a_guest_is_reached_as_its_pi_and_is_in_its_groups(tmp_path: Path) -> None:
    pi = Shelf(tmp_path)
    pi.bots = BOTS
    pi.inventory({})
    found = json.loads(listed(pi.file).stdout)
    own = found["_meta"]["hostvars"]["pi1-eth"]
    assert (own["ansible_host"], own["of_the_pi"]) == ("pi1", "its guests have it")
    assert own["grid_bot_directory"] == "/opt/gridberry/pi1-eth"  # not its Pi's
    assert set(found["trading"]["hosts"]) == set(found["on_pi1"]["hosts"]) == {"pi1", "pi1-eth"}
    assert found["guests"]["hosts"] == ["pi1-eth"]


WRONG = {
    "empty": ({}, "bots is missing; it has the bots of each Pi, by the Pi's name"),
    "no bots": ({"pi1": {}}, "pi1 has no bots; name each, with its settings below it"),
    "name": (
        {"pi1": {"pi1_eth": ETH}},
        (
            "pi1 has a bot named 'pi1_eth'; use lower-case letters, digits and hyphens, at most 40,"
            " and the name of no other Pi"
        ),
    ),
    # Its directory would be the first bot's; of a hub, compose would remove one or the other.
    "the first one's": (
        {"pi1": {"bot": ETH}},
        "pi1 has a bot named 'bot', as another part of Gridberry is; use another name",
    ),
    "hub": (
        {"pi1": {"eth-hub": ETH}},
        "pi1 has a bot named 'eth-hub', as another part of Gridberry is; use another name",
    ),
    "twice": (
        {"pi1": {"eth": ETH}, "pi2": {"eth": ETH}},
        "the bot eth is on pi1 and on pi2; use another name",
    ),
    "text": (
        {"pi1": {"eth": "ETH/USDT"}},
        "eth is 'ETH/USDT'; use settings, such as symbol: BTC/USDT",
    ),
}


@pytest.mark.parametrize(("bots", "says"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_one_line(tmp_path: Path, bots: dict[str, Any], says: str) -> None:
    (tmp_path / "trades.yml").write_text(yaml.safe_dump({"plugin": "trades", "bots": bots}))
    with pytest.raises(UserError) as error:
        shared_pis(tmp_path)
    assert str(error.value) == f"{tmp_path}/trades.yml: {says}"


def test_ansible_alone_stops_at_a_wrong_file(tmp_path: Path) -> None:
    pi = Shelf(tmp_path)
    pi.bots = {"pi3": {"eth": ETH}}
    pi.inventory({})
    done = listed(pi.file)
    assert done.returncode != 0
    assert "no file before it in the inventory has a Pi named 'pi3'" in done.stderr


def test_a_pi_stands_for_its_bots_and_a_symbol_for_those_that_trade_it(tmp_path: Path) -> None:
    (tmp_path / "trades.yml").write_text(yaml.safe_dump({"plugin": "trades", "bots": BOTS}))
    pis = shared_pis(tmp_path)
    assert widened("pi1,pi2", pis) == "on_pi1,pi2"
    assert widened("trading:!pi1", pis) == "trading,!on_pi1"
    assert widened("pi1-eth", pis) == "pi1-eth"
    assert widened("", pis) == ""
    hosts = {"pi1": {}, "pi1-eth": {"grid_bot_symbol": "ETH/USDT"}}
    assert traders(hosts, "ETH/USDT") == ["pi1-eth"]
    with pytest.raises(UserError, match="no bot there trades 'XRP/USDT'; they trade BTC/USDT, ETH"):
        traders(hosts, "XRP/USDT")


def test_what_bots_of_one_pi_must_not_share() -> None:
    both = {"grid_bot_neighbors": ["pi1", "pi1-eth"], "grid_bot_pi": "pi1"}
    found = {"pi1": both, "pi1-eth": both | {"grid_bot_name": "pi1"}, "pi2": {}}
    assert pi_conflicts(found) == [
        (
            "pi1, pi1-eth: grid_bot_name is pi1 for each of these bots on pi1; use another for each"
            " (at most 12 letters, digits or hyphens)"
        ),
        (
            "pi1, pi1-eth: each of these bots on pi1 uses the port 8080; use another"
            " grid_bot_page_port (or grid_bot_judge_port) for each"
        ),
    ]
    found["pi1-eth"] = both | {"grid_bot_page_port": 8081}
    assert pi_conflicts(found) == []
    stock = both | {"grid_bot_exchange": "ib"}
    found = {"pi1": stock, "pi1-eth": stock | {"grid_bot_page_port": 8081}}
    assert pi_conflicts(found) == [
        (
            "pi1, pi1-eth: each of these bots on pi1 has the grid_bot_gateway_client_id 1; use"
            " another for each, and keep it: another number cannot cancel a bot's orders"
        )
    ]
    found["pi1-eth"] |= {"grid_bot_gateway_client_id": 2}
    assert pi_conflicts(found) == []


def test_the_limits_of_all_bots_are_compared_with_the_board() -> None:
    limits = {"pi1 grid_bot_memory": "384m", "pi1-eth grid_bot_memory": "384m"}
    limits |= {"pi1 grid_bot_cpus": "0.75", "pi1-eth grid_bot_cpus": "0.75"}
    board = {"memory": "1024", "processors": "4"}
    assert limit_lines(board, {"limits": limits}) == []
    assert limit_lines(board | {"memory": "900"}, {"limits": limits}) == [
        (
            "pi1 grid_bot_memory is 384m and pi1-eth grid_bot_memory is 384m: the board has 700"
            " MB for containers; use less, or another board"
        )
    ]
    assert limit_lines(board | {"processors": "1"}, {"limits": limits}) == [
        (
            "pi1 grid_bot_cpus is 0.75 and pi1-eth grid_bot_cpus is 0.75: the board has 1"
            " processors; use fewer, or another board"
        )
    ]
