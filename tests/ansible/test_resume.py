"""playbooks/pause.yml, flatten.yml, resume.yml against a bot's books, without its container."""

import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from gridbase.market import Market
from gridbot.core.engine import Changes
from gridbot.core.grid import Plan
from gridbot.store import GridRun, HaltRow, PauseRow, Store

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
mode = "paper"
bot_name = "pi1"
[exchange]
name = "binance"
url = "http://127.0.0.1:1"
api_key_file = "/nowhere/key"
api_secret_file = "/nowhere/secret"
[market]
symbol = "BTC/USDT"
[grid]
lower = "42000"
upper = "50000"
grids = 20
investment = "10000"
[state]
directory = "{directory}/state"
"""
# docker exec gridberry-bot COMMAND --config /etc/gridbot/bot.toml, on this machine.
DOCKER = """#!/bin/sh
[ "$1 $2 $3" = "exec gridberry-bot gridbot" ] || exit 99
command=$4
shift 6
PYTHONPATH={source} exec {python} -m gridbot "$command" --config {directory}/bot.toml "$@"
"""

GRID_RUN = GridRun(
    id=1,
    symbol="BTC/USDT",
    tag="abc123",
    settings={},
    market=Market("BTC/USDT", "BTC", "USDT", *map(Decimal, ("0.01", "0.00001", "0.00001", "5"))),
    plan=Plan((Decimal(1), Decimal(2)), Decimal("1.5"), 0, Decimal("0.1"), Decimal(1000)),
    investment=Decimal(1000),
    opening={},
    first_cursor="6",
    trade_cursor="6",
    started_ms=123,
)


@pytest.fixture
def host(tmp_path):
    """A directory with an inventory of this machine, a bot's configuration and its empty books."""
    (tmp_path / "state").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bot.toml").write_text(CONFIG.format(directory=tmp_path))
    docker = tmp_path / "bin/docker"
    docker.write_text(
        DOCKER.format(source=ROOT / "bot/src", python=sys.executable, directory=tmp_path)
    )
    docker.chmod(0o755)
    here = {"ansible_connection": "local", "ansible_become": False}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"trading": {"hosts": {"pi1": here}}}))
    Store(tmp_path / "state").close()
    return tmp_path


def resume(host: Path) -> tuple[str, int]:
    """Run the playbook, told to clear; what it said, and how many tasks changed something."""
    return play(host, "resume", "-e", "resume_confirmed=true")


def play(host: Path, name: str, *words: str) -> tuple[str, int]:
    """Run a playbook; what it said, and how many tasks changed something."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", "-i", host / "inventory.yml"),
            *(ROOT / f"playbooks/{name}.yml", *words),
        ],
        check=False,
        cwd=ROOT,
        env=os.environ
        | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "true",
            "PATH": f"{host / 'bin'}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout, int(re.search(r"changed=(\d+)", result.stdout)[1])


def test_a_kill_switch_is_cleared_once(host):
    said, changed = resume(host)
    assert "no kill switch has fired" in said
    assert changed == 0
    store = Store(host / "state")
    store.halt(
        "BTC/USDT",
        reason_code="stop.loss_price",
        text="the price fell to 37999",
        price=Decimal(37999),
        at_ms=1_640_995_200_000,
        liquidate=False,
    )
    store.close()
    said, changed = resume(host)
    assert "cleared (the price fell to 37999)" in said
    assert changed == 1
    assert resume(host)[1] == 0


def test_a_grid_is_paused_once_and_goes_on(host):
    reason = json.dumps({"pause_reason": 'it\'s "Monday"', "pause_symbol": "BTC/USDT"})
    said, changed = play(host, "pause", "--check", "-e", reason)
    assert (changed, "would pause BTC/USDT" in said) == (1, True)
    assert pause_of(host) is None
    said, changed = play(host, "pause", "-e", reason)
    assert (changed, "BTC/USDT: paused; open orders stay" in said) == (1, True)
    assert pause_of(host).reason == 'it\'s "Monday"'
    assert play(host, "pause", "-e", reason)[1] == 0
    assert not pause_of(host).cancel
    assert play(host, "pause", "-e", "pause_cancel=true")[1] == 1
    assert pause_of(host).cancel
    said, changed = resume(host)
    assert (changed, "goes on after its pause" in said) == (1, True)
    assert pause_of(host) is None


def test_a_grid_is_ended_only_if_that_is_confirmed(host):
    said, changed = play(host, "flatten", "-e", "flatten_confirmed=true")
    assert (changed, "nothing to do: no grid runs" in said) == (0, True)
    store = Store(host / "state")
    store.start_grid_run(GRID_RUN, Changes(123))
    store.close()
    for words, changes in (([], 0), (["--check", "-e", "flatten_confirmed=true"], 1)):
        said, changed = play(host, "flatten", "-e", "flatten_sell=true", *words)
        assert "would cancel 0 open orders and sell 0 BTC" in said
        assert changed == changes
        assert halt_of(host) is None
    words = ("-e", "flatten_confirmed=true", "-e", "flatten_reason=holidays")
    said, changed = play(host, "flatten", *words)
    assert (changed, "the bot is told to cancel 0 open orders and keep" in said) == (1, True)
    assert halt_of(host).text == "flattened by hand: holidays"
    assert not halt_of(host).liquidate
    assert play(host, "flatten", *words)[1] == 0


def pause_of(host: Path) -> PauseRow | None:
    store = Store(host / "state", read_only=True)
    found = store.open_pause("BTC/USDT")
    store.close()
    return found


def halt_of(host: Path) -> HaltRow | None:
    store = Store(host / "state", read_only=True)
    found = store.open_halt("BTC/USDT")
    store.close()
    return found
