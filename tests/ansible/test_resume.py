"""playbooks/resume.yml against the real books of a bot, without the container around it."""

import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from gridbot.store import Store

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
shift 3
PYTHONPATH={source} exec {python} -m gridbot "$1" --config {directory}/bot.toml
"""


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
    result = subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", "-i", host / "inventory.yml"),
            *(ROOT / "playbooks/resume.yml", "-e", "resume_confirmed=true"),
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
