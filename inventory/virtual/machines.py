#!/usr/bin/env python3
"""Inventory of the virtual Pis of this checkout, as `virtual_pi` knows them at this moment.

`ansible-playbook -i inventory/virtual playbooks/site.yml` runs it. GRIDBERRY_STATE says where the
machines are, if not in the checkout. Recorded candles (GRIDBERRY_CANDLES) bring settings of the
group that fit them; those of group_vars win.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from gridbase.errors import UserError  # noqa: E402 - inventory.demo_market finds it

from inventory.demo_market import demo_settings  # noqa: E402 - found by the line above
from virtual_pi.machines import list_machines  # noqa: E402 - found by the line above
from virtual_pi.time_server import HOST_IN_GUEST  # noqa: E402 - likewise


def state_directory() -> Path:
    """Return where the machines are."""
    return Path(os.environ.get("GRIDBERRY_STATE") or ROOT / ".gridberry")


def host_variables(machine: dict) -> dict:
    """Return how Ansible reaches a machine.

    Args:
        machine: One element of `python3 -m virtual_pi list --json`.
    """
    ssh = machine["ssh"]
    # Quoted twice: for the shell's way of splitting, and because ssh splits the list of files.
    known_hosts = shlex.quote(f'UserKnownHostsFile="{ssh["known_hosts"]}"')
    return {
        "ansible_host": ssh["host"],
        "ansible_port": ssh["port"],
        "ansible_user": ssh["user"],
        "ansible_ssh_private_key_file": ssh["key"],
        "ansible_ssh_common_args": f"-o {known_hosts} -o StrictHostKeyChecking=yes"
        " -o IdentitiesOnly=yes",
        "virtual_pi_forwards": machine["forwards"],
        # No other server can be reached from there.
        "time_sync_servers": [f"{HOST_IN_GUEST} port {machine['time_port']}"],
    }


def market_variables(candles: str, symbol: str) -> dict[str, str]:
    """Return the settings that fit recorded candles.

    Args:
        candles: The file, or empty for a synthetic market.
        symbol: What it is traded as; empty takes the file's name.
    """
    try:
        return demo_settings(Path(candles), symbol) if candles else {}
    except UserError:
        return {}  # the role's check names the file and what is wrong with it


def inventory(machines: list[dict], variables: dict[str, str]) -> dict:
    """Return the inventory as Ansible reads it from a script."""
    return {
        "_meta": {"hostvars": {machine["name"]: host_variables(machine) for machine in machines}},
        "trading": {"hosts": [machine["name"] for machine in machines], "vars": variables},
    }


def main() -> None:
    """Print the inventory."""
    machines = list_machines(state_directory())
    if not machines:
        print(
            "there is no virtual Pi; python3 -m virtual_pi create pi1 --start --wait makes one",
            file=sys.stderr,
        )
    variables = market_variables(
        os.environ.get("GRIDBERRY_CANDLES", ""), os.environ.get("GRIDBERRY_SYMBOL", "")
    )
    print(json.dumps(inventory(machines, variables), indent=2))


if __name__ == "__main__":
    main()
