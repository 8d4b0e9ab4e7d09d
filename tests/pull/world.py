"""A machine that follows a repository, one that has it, and the operator who pushes to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.database.world import ROOT
from tests.database.world import World as Machines

SECRETS = ("planted-vault-4711-secret", "planted-token-0815-secret", "planted-key-2342-secret")
VAULT_PASSWORD, TOKEN, API_KEY = SECRETS
PULL = "gridberry-pull.service"
# In the place of site.yml, whose Docker and boot files a machine without hardware does not have:
# the role itself, and one file that says what ran.
SITE: list[dict[str, Any]] = [
    {
        "hosts": "trading",
        "become": True,
        "gather_facts": False,
        "tasks": [
            {
                "name": "Say which grid runs",
                "ansible.builtin.copy": {
                    "dest": "/etc/gridberry/grid",
                    "content": "{{ grid }} {{ api_key | length }}\n",
                    "mode": "0644",
                },
            },
            {"name": "Follow", "ansible.builtin.include_role": {"name": "pull"}},
        ],
    }
]
REPORTS = "/root/reports"
SERVER = f"""
import http.server
class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open("{REPORTS}", "ab") as file:
            file.write(body + b"\\n")
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("", 8000), Server).serve_forever()
"""
USER = """
set -e
useradd --create-home --shell /bin/sh git
mkdir -p /home/git/.ssh
cat >/home/git/.ssh/authorized_keys
chown -R git /home/git/.ssh
systemctl enable --quiet --now ssh
"""


class World(Machines):
    """pi1 follows a repository on git1, over the network between the two."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, ("pi1", "git1"))
        for name in ("deploy", "mine", "foreign"):
            words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name)
            subprocess.run([*words, "-f", directory / name], check=True)
        self._serve()
        self._packages()
        self.settings = {
            "pull_repository": f"ssh://git@{self['git1'].address}/srv/fleet.git",
            "pull_known_hosts": self.host_key(),
            "pull_allowed_signers": f"me@example.org {self.public('mine')}\n",
            "pull_deploy_key": (directory / "deploy").read_text(),
            "pull_vault_password": VAULT_PASSWORD,
            "pull_report_url": f"http://{self['git1'].address}:8000/pulls?token={TOKEN}",
        }
        self.secrets = (*SECRETS, *self.settings["pull_deploy_key"].splitlines()[1:-1])
        self._operator()

    def public(self, name: str) -> str:
        """Return a public key, without its comment."""
        return " ".join((self.directory / f"{name}.pub").read_text().split()[:2])

    def host_key(self) -> str:
        """Return git1's line of known_hosts."""
        key = self["git1"].run("cat", "/etc/ssh/ssh_host_ed25519_key.pub")
        return f"{self['git1'].address} {' '.join(key.split()[:2])}"

    def _serve(self) -> None:
        # The operator pushes as root.
        serve = "git -c safe.directory=/srv/fleet.git upload-pack /srv/fleet.git"
        allowed = f'restrict,command="{serve}"'
        self["git1"].run("sh", "-c", USER, text=f"{allowed} {self.public('deploy')}\n")
        self["git1"].run("systemd-run", "--unit=reports", "python3", "-c", SERVER)

    def _packages(self) -> None:
        """Put Ansible's packages where pip finds them without a network, as a mirror would."""
        lock = ROOT / "roles/pull/files/requirements.lock"
        kept = self.root_cache() / "pull-wheels"
        words = ("-qq", "--no-deps", "--only-binary=:all:", "--python-version", "3.13")
        command = (sys.executable, "-m", "pip", "download", *words, "--require-hashes")
        subprocess.run([*command, "-r", str(lock), "--dest", str(kept)], check=True)
        shutil.copytree(kept, self.directory / "usb/wheels")
        text = "[global]\nno-index = true\nfind-links = /mnt/usb/wheels\n"
        self["pi1"].path("/etc/pip.conf").write_text(text)

    def root_cache(self) -> Path:
        """Return a directory that stays."""
        return self["pi1"].root.parent.parent

    def inventory(self) -> Path:
        """Write the inventory for the machines as they run now: pi1 alone is a trading host."""
        path = super().inventory()
        group = yaml.safe_load(path.read_text())["database"]
        del group["hosts"]["git1"]
        path.write_text(yaml.safe_dump({"trading": group}))
        return path

    def well(self, name: str, *words: str, **variables: Any) -> str:
        """Run a playbook that must succeed; returns what it printed."""
        done = self.play(name, *words, **variables)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert not self.found_in(done.stdout + done.stderr)
        return done.stdout

    def found_in(self, text: str) -> list[str]:
        """Return which secrets a text has."""
        return [one for one in self.secrets if one in text]

    # What the operator does.

    @property
    def operator(self) -> Path:
        """The operator's working copy."""
        return self.directory / "operator"

    def git(self, *words: str) -> str:
        """Run git in it."""
        own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        for who in ("AUTHOR", "COMMITTER"):
            own |= {f"GIT_{who}_NAME": "Me", f"GIT_{who}_EMAIL": "me@example.org"}
        done = subprocess.run(
            ["git", "-c", "gpg.format=ssh", *words],
            check=True, cwd=self.operator, env=os.environ | own, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    def _operator(self) -> None:
        self.operator.mkdir()
        for name in ("plugins", "roles"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, self.operator / name, ignore=ignored)
        shutil.copy(ROOT / "ansible.cfg", self.operator)
        home = self.operator / "inventory/home/group_vars/trading"
        home.mkdir(parents=True)
        hosts = {"trading": {"hosts": {"pi1": {"ansible_host": self["pi1"].address}}}}
        (home.parents[1] / "hosts.yml").write_text(yaml.safe_dump(hosts))
        own = {f"vault_{name}": self.settings[name] for name in self.settings if self.secret(name)}
        (home / "vault.yml").write_text(yaml.safe_dump(own | {"api_key": API_KEY}))
        password = self.directory / "vault_password"
        password.write_text(VAULT_PASSWORD)
        subprocess.run(
            [*(sys.executable, "-m", "ansible", "vault", "encrypt", "--vault-password-file"),
             str(password), str(home / "vault.yml")],
            check=True, capture_output=True,
        )  # fmt: skip
        (self.operator / "playbooks").mkdir()
        (self.operator / "playbooks/site.yml").write_text(json.dumps(SITE))
        self.write()
        self.git("init", "-q", "-b", "main")
        self.git("init", "-q", "--bare", str(self["git1"].path("/srv/fleet.git")))

    def secret(self, name: str) -> bool:
        """Tell whether a setting belongs into the vault."""
        return self.settings[name] and bool(self.found_in(str(self.settings[name])))

    def write(self, grid: int = 1, **settings: Any) -> None:
        """Change the working copy: which grid is to run, and settings of the role."""
        plain = self.settings | settings
        told = {name: f"{{{{ vault_{name} }}}}" if self.secret(name) else value
                for name, value in self.settings.items()}  # fmt: skip
        told |= {name: value for name, value in plain.items() if name not in self.settings}
        path = self.operator / "inventory/home/group_vars/trading/main.yml"
        path.write_text(yaml.safe_dump(told | {"grid": grid}))

    def push(self, *, key: str = "mine") -> str:
        """Commit all, signed by a key (an empty one: by nobody), and push; returns the commit."""
        sign = [f"-S{self.directory / key}"] if key else []
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", "change", *sign)
        self.send("HEAD")
        return self.git("rev-parse", "HEAD")

    def send(self, commit: str) -> None:
        """Have the server serve a commit."""
        place = self["git1"].path("/srv/fleet.git")
        self.git("push", "-q", "--force", str(place), f"{commit}:refs/heads/main")

    # What is to be seen on pi1.

    def pull(self) -> dict[str, Any]:
        """Have pi1 pull, by systemd, and return its result."""
        self["pi1"].ask("systemctl", "start", PULL)
        return self.result()

    def result(self) -> dict[str, Any]:
        """Return what pi1 says of its last pull."""
        found: dict[str, Any] = json.loads(self["pi1"].run("cat", "/var/lib/gridberry/pull.json"))
        return found

    def grid(self) -> str:
        """Return which grid runs on pi1."""
        return self["pi1"].ask("cat", "/etc/gridberry/grid").split()[0]

    def reports(self) -> list[dict[str, Any]]:
        """Return what came home."""
        return [json.loads(one) for one in self["git1"].ask("cat", REPORTS).splitlines()]

    def wait(self, what: str, holds: Callable[[], bool], seconds: float = 120.0) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"never: {what}"
            time.sleep(0.3)
