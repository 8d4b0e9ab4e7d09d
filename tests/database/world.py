"""A fleet's database on machines of Debian trixie, put there by the real playbooks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.trixie_machine import Machine, Switch

ROOT = Path(__file__).resolve().parents[2]
PASSWORDS = {
    name: f"planted-{name}-4711-secret" for name in ("owner", "writer", "reader", "replication")
}
CIPHER = "planted-cipher-0815-secret"
SECRETS = (*PASSWORDS.values(), CIPHER)
PROGRAM = ("/usr/bin/python3", "-IB", "/usr/local/lib/gridberry/database")
# Without a network: a server for this one connection.
SSH = ("sh", "-c", '"mkdir -p /run/sshd && exec /usr/sbin/sshd -i -o UsePAM=no"')
SETTINGS: dict[str, Any] = {
    "timescaledb_passwords": PASSWORDS,
    "timescaledb_clients": ["10.77.0.0/24"],
    "database_backup_repository": "/mnt/usb/database",
    "database_backup_password": CIPHER,
}


class World:
    """Machines, and an inventory of them."""

    def __init__(self, directory: Path, names: tuple[str, ...], **settings: Any) -> None:
        self.directory = directory
        self.settings = SETTINGS | settings
        self.switch = Switch()
        self.machines = {
            name: Machine(directory / name, number, name, directory / "usb", self.switch)
            for number, name in enumerate(names, 1)
        }
        key = directory / "key"
        key_made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
        subprocess.run(key_made, check=True)
        for one in self.machines.values():
            one.boot()
            text = key.with_suffix(".pub").read_text()
            one.run("sh", "-c", "mkdir -p ~/.ssh && cat >~/.ssh/authorized_keys", text=text)

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def inventory(self) -> Path:
        """Write the inventory for the machines as they run now."""
        off = ["/bin/false"]
        hosts = {
            name: {
                "ansible_host": one.address,
                "ansible_user": "root",
                "ansible_become": False,
                "ansible_ssh_private_key_file": str(self.directory / "key"),
                "ansible_ssh_common_args": f"-o StrictHostKeyChecking=no -o LogLevel=ERROR"
                f" -o UserKnownHostsFile=/dev/null -o ControlPath={self.directory}/{name}.ssh"
                f" -o ProxyCommand='{' '.join(one.command(*SSH) if one.process else off)}'",
            }
            for name, one in self.machines.items()
        }
        path = self.directory / "inventory.yml"
        text = yaml.safe_dump({"database": {"hosts": hosts, "vars": self.settings}})
        path.write_text(text)
        return path

    def play(self, name: str, *words: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """Run a playbook."""
        command = [sys.executable, "-m", "ansible", "playbook", "-i", str(self.inventory())]
        more = ["-e", json.dumps(variables)] if variables else []
        return subprocess.run(
            [*command, name if "/" in name else f"playbooks/{name}.yml", *more, *words],
            cwd=ROOT,
            env=os.environ
            | {
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_NOCOLOR": "true",
                "ANSIBLE_TIMEOUT": "10",
                "ANSIBLE_SSH_RETRIES": "0",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def well(self, name: str, *words: str, **variables: Any) -> str:
        """Run a playbook that must succeed; returns what it printed."""
        done = self.play(name, *words, **variables)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert not [one for one in SECRETS if one in done.stdout + done.stderr]
        return done.stdout

    def changed(self, printed: str) -> dict[str, int]:
        """Return how many tasks changed something on each host."""
        return {
            host: int(count)
            for host, count in re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", printed, re.MULTILINE)
        }

    def sql(self, name: str, text: str, database: str = "gridberry") -> str:
        """Run SQL on a machine as the superuser."""
        command = ("runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1")
        return self[name].run(*command, "-d", database, text=text)

    def status(self, name: str) -> dict[str, Any]:
        """Return what a machine's database says of itself."""
        said: dict[str, Any] = json.loads(self[name].run(*PROGRAM, "status"))
        return said

    def primaries(self) -> list[str]:
        """Return the machines whose database takes writes."""
        found = []
        for name, one in self.machines.items():
            if (
                one.process
                and one.ask(
                    *("runuser", "-u", "postgres", "--", "psql", "-XAtq", "-d", "postgres"),
                    *("-c", "SELECT pg_is_in_recovery()"),
                )
                == "f"
            ):
                found.append(name)
        return found

    def close(self) -> None:
        """Switch everything off."""
        for one in self.machines.values():
            one.cut_power()
        self.switch.close()
