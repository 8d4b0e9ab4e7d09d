"""The files that the role monitoring writes, rendered by Ansible; nothing is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PLAY = [
    {
        "hosts": "trading",
        "gather_facts": False,
        "connection": "local",
        "roles": [{"role": "monitoring"}],
    }
]
# In the place of the role's tasks.
TASKS = [
    {"name": "Check", "ansible.builtin.import_tasks": "check.yml"},
    {
        "name": "Write down what it would write",
        "ansible.builtin.copy": {
            "content": "{{ dict(files | map(attribute='path') | zip(files)) | to_json }}",
            "dest": "{{ rendered }}/{{ inventory_hostname }}.json",
            "mode": "0600",
        },
        "vars": {
            "files": "{{ __monitoring_agent_files"
            " + (__monitoring_server_files if __monitoring_is_server else []) }}"
        },
    },
]


class RenderError(Exception):
    """What Ansible says."""


def render(hosts: list[str], settings: dict[str, Any]) -> dict[str, dict[str, dict[str, str]]]:
    """Return each host's files: by its name, by path, what `file_set` is given.

    Args:
        hosts: Names of the inventory.
        settings: The role's settings.

    Raises:
        RenderError: A setting is refused.
    """
    with tempfile.TemporaryDirectory(prefix="gridberry-monitoring.") as name:
        place = Path(name)
        role = place / "roles/monitoring"
        shutil.copytree(ROOT / "roles/monitoring", role)
        (role / "tasks/main.yml").write_text(json.dumps(TASKS))
        (role.parent / "maintenance").symlink_to(ROOT / "roles/maintenance")
        inventory = {"trading": {"hosts": dict.fromkeys(hosts), "vars": settings}}
        (place / "hosts.json").write_text(json.dumps(inventory))
        (place / "play.json").write_text(json.dumps(PLAY))
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i"]
        command += [str(place / "hosts.json"), "-e", f"rendered={place}", str(place / "play.json")]
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": str(place / "roles"),
        }
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment
        )
        if done.returncode:
            raise RenderError(done.stdout + done.stderr)
        return {host: json.loads((place / f"{host}.json").read_text()) for host in hosts}
