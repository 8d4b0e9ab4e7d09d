"""The inventory of virtual Pis."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from inventory.virtual import machines

ROOT = Path(__file__).resolve().parents[2]
MACHINE = {
    "name": "pi1",
    "ssh": {
        "host": "127.0.0.1",
        "port": 40022,
        "user": "trader",
        "key": "/with space/key",
        "known_hosts": "/with space/known_hosts",
    },
    "forwards": {"8080": 40080},
    "time_port": 40022,
}


def test_a_machine_is_in_the_group_with_what_ssh_needs():
    found = machines.inventory([MACHINE], {"grid_bot_lower": "1"})
    assert found["trading"] == {"hosts": ["pi1"], "vars": {"grid_bot_lower": "1"}}
    variables = found["_meta"]["hostvars"]["pi1"]
    assert variables["ansible_port"] == 40022
    assert variables["ansible_ssh_private_key_file"] == "/with space/key"
    assert variables["virtual_pi_forwards"] == {"8080": 40080}
    assert variables["time_sync_servers"] == ["10.0.2.2 port 40022"]


def test_host_keys_are_checked_and_paths_may_have_spaces():
    arguments = machines.host_variables(MACHINE)["ansible_ssh_common_args"]
    words = shlex.split(arguments)
    assert 'UserKnownHostsFile="/with space/known_hosts"' in words
    assert "StrictHostKeyChecking=yes" in words
    answer = subprocess.run(
        ["ssh", "-G", *words, "host"], capture_output=True, text=True, check=True
    )
    assert "userknownhostsfile /with space/known_hosts" in answer.stdout


def test_without_machines_it_says_how_to_make_one(tmp_path):
    answer = subprocess.run(
        [sys.executable, ROOT / "inventory/virtual/machines.py"],
        env=os.environ | {"GRIDBERRY_STATE": str(tmp_path / "no such")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(answer.stdout)["trading"]["hosts"] == []
    assert "there is no virtual Pi" in answer.stderr
