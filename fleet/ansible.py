"""Runs Ansible as the launcher's verbs need it: says the command, hands over what is secret."""

from __future__ import annotations

import getpass
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from gridbase.errors import UserError

from fleet.host_names import few, shortened
from fleet.log_colors import Line
from fleet.log_colors import run as run_colored

ROOT = Path(__file__).resolve().parents[1]
VIRTUAL = "inventory/virtual"
# Not a fleet of the user's: the pattern to copy, and the virtual Pis.
OURS = ("example", "virtual")
# Ansible's callback that prints an event a line.
EVENTS = "ansible.posix.jsonl"
# The one that its verbs show: plugins/callback.
SHOWN = {"ANSIBLE_STDOUT_CALLBACK": "launcher"}
# For a single task Ansible takes it only with those that ansible.cfg adds; here it is the only one.
SHOWN_OF_TASK = {
    "ANSIBLE_LOAD_CALLBACK_PLUGINS": "true",
    "ANSIBLE_CALLBACKS_ENABLED": SHOWN["ANSIBLE_STDOUT_CALLBACK"],
}
# What a task says that refuses: one or more lines, up to where Ansible shows the task.
REFUSAL = re.compile(r"(?ms)^\[ERROR\]: .*?Action failed: (.*?)\n(?:Origin: |fatal: |$)")
# The play of preflight that asks the hosts.
ASKS = "Check all hosts before one is changed"
NO_HOST = re.compile(r"Could not match supplied host pattern, ignoring:\s+(\S+)")
# Why an inventory cannot be read: the cause and its place, then what comes of it.
CAUSES = (
    r"(?m)^YAML parsing failed: (.*\.)$",
    r"(?m)^Origin: (\S+:\d+:\d+)$",
    r"(?m)^\[ERROR\]: (.*)$",
)
QUICK_SECONDS = 4  # to connect; the rest of status' ten seconds are Ansible's own
MEMORY = (Path("/dev/shm"), Path("/run/shm"))  # noqa: S108 - a private directory is made there


def find_inventory(wanted: str, root: Path = ROOT) -> str:
    """Return the inventory that a verb works on, as a path from the checkout where it lies there.

    Args:
        wanted: What the command line or GRIDBERRY_INVENTORY names; empty: the only inventory that
            the user has made, else that of the virtual Pis.
        root: The checkout.

    Raises:
        UserError: The one that is named is not there, or there are several to choose from.
    """
    if not wanted:
        own = sorted(path for path in (root / "inventory").glob("*/") if path.name not in OURS)
        own = [path for path in own if not path.name.startswith(("_", "."))]
        if len(own) > 1:
            names = ", ".join(f"inventory/{path.name}" for path in own)
            raise UserError(f"there are several inventories: {names}; choose one with -i")
        return f"inventory/{own[0].name}" if own else VIRTUAL
    path = Path(wanted).absolute()
    if not path.exists():
        raise UserError(
            f"the inventory is '{wanted}', which is not there; name a file or directory"
        )
    return os.fspath(path.relative_to(root) if path.is_relative_to(root) else path)


class Ansible:
    """Ansible with one inventory.

    Args:
        inventory: Its path, from the checkout or absolute.
        limit: A pattern of hosts; empty: all.
        password: A file with sudo's password; None where sudo asks for none.
    """

    def __init__(self, inventory: str, limit: str, password: Path | None) -> None:
        self.inventory = inventory
        self.limit = limit
        self._password = password

    @property
    def path(self) -> Path:
        """The inventory's."""
        return ROOT / self.inventory

    def playbook(self, name: str, *words: str, **how: Any) -> int:
        """Run a playbook; returns the verb's exit status.

        Args:
            name: Of the playbook, without `playbooks/`.
            words: Further arguments.
            how: Of `run`.
        """
        return self.run("playbook", *self._of_playbook(name, words), **how)

    def _of_playbook(self, name: str, words: Sequence[str]) -> list[str]:
        """The arguments of ansible-playbook."""
        limit = ["--limit", f"{self.limit},localhost"] if self.limit else []
        return ["-i", self.inventory, f"playbooks/{name}.yml", *limit, *words]

    def command(self, text: str, **how: Any) -> int:
        """Run a shell command as root on each host of the group `trading`; the exit status.

        Args:
            text: The command.
            how: Of `run`.
        """
        limit = ["--limit", self.limit] if self.limit else []
        words = ["trading", *limit, "--become", "-m", "ansible.builtin.raw", "-a", text]
        return self.run("", "-i", self.inventory, *words, **how)

    def events(self, name: str, *words: str) -> Iterator[str]:
        """Run a playbook and yield what it prints: a line of JSON for each event.

        Args:
            name: Of the playbook, without `playbooks/`.
            words: Further arguments.
        """
        command = self._command("playbook", self._of_playbook(name, words))
        environment = os.environ | {"ANSIBLE_STDOUT_CALLBACK": EVENTS}
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            yield from process.stdout or ()

    def run(
        self,
        program: str,
        *words: str,
        log: Path | None = None,
        quick: bool = False,
        line: Line | None = None,
    ) -> int:
        """Say a command and run it.

        Args:
            program: `playbook`, or empty for a single task.
            words: Its arguments.
            log: Where its output goes; None: to the terminal.
            quick: Whether a host that does not answer is given up within seconds.
            line: Makes what is printed of each line; None: it is left as it is.

        Returns:
            0, or 1 where it failed.
        """
        environment = SHOWN | ({} if program else SHOWN_OF_TASK) | os.environ
        if quick:
            environment["ANSIBLE_SSH_RETRIES"] = "0"
            words += ("--timeout", str(QUICK_SECONDS))
        command = self._command(program, words)
        if line is not None:
            return int(run_colored(command, line, ROOT, environment) != 0)
        with ExitStack() as stack:
            output = None if log is None else stack.enter_context(log.open("wb"))
            result = subprocess.run(
                command, check=False, cwd=ROOT, env=environment, stdout=output, stderr=output
            )
        return int(result.returncode != 0)

    def _command(self, program: str, words: Sequence[str]) -> list[str]:
        """Say a command; what runs is it, with sudo's password where that was asked for."""
        name = f"ansible-{program}" if program else "ansible"
        print(f"$ {shortened(shlex.join([name, *words]))}", file=sys.stderr, flush=True)
        password = self._password
        secret = [] if password is None else ["--become-password-file", os.fspath(password)]
        return [sys.executable, "-m", "ansible", program or "adhoc", *words, *secret]

    def refusals(self, *words: str) -> tuple[list[str], bool]:
        """Run preflight with its output in a log.

        Args:
            words: Further arguments.

        Returns:
            What it refuses, each once, and whether a host was asked: else the settings are wrong.
        """
        log = state_directory() / "preflight.log"
        settings = json.dumps({"__preflight_bot": True})
        failed = self.playbook("preflight", "-e", settings, *words, log=log, quick=True)
        text = log.read_text(errors="replace")
        if not failed:
            return [], True
        said = "\n".join(REFUSAL.findall(text)).splitlines()
        refused = list(dict.fromkeys(said)) or [f"preflight failed; the log: {log}"]
        return refused, f"\nPLAY [{ASKS}]" in text

    def check_hosts(self) -> None:
        """Refuse what has no hosts, before any is asked.

        Raises:
            UserError: The inventory cannot be read, has no host for the verb, or none of a name.
        """
        limit = ["--limit", self.limit] if self.limit else []
        _, said = self._ask("adhoc", "trading", "--list-hosts", *limit, fails=bool(limit))
        unknown = NO_HOST.findall(said)
        if not unknown and "no hosts to target" not in said:
            return
        names = self._ask("adhoc", "trading", "--list-hosts")[0].split()[2:]
        if not names:
            raise UserError(f"{self.inventory} has no host in the group trading")
        which = f"no host or group '{unknown[0]}'" if unknown else "no such host"
        raise UserError(
            f"--limit is '{self.limit}': {self.inventory} has {which}; it has {few(names)}"
        )

    def _ask(self, program: str, *words: str, fails: bool = False) -> tuple[str, str]:
        """Ask Ansible something about the inventory; what it says on both streams.

        Raises:
            UserError: It fails, and may not; the inventory cannot be read.
        """
        command = [sys.executable, "-m", "ansible", program, "-i", self.inventory, *words]
        own = {"ANSIBLE_NOCOLOR": "true", "COLUMNS": "2000"}
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=ROOT, env=os.environ | own
        )
        if done.returncode and not (fails and "no hosts to target" in done.stderr):
            found = [match[1] for cause in CAUSES if (match := re.search(cause, done.stderr))]
            why = "; ".join(one.rstrip(".") for one in found) or done.stderr.strip()[-500:]
            raise UserError(f"{self.inventory} cannot be read: {' '.join(why.split())}")
        return done.stdout, done.stderr

    def hosts(self) -> dict[str, dict[str, Any]]:
        """Return the variables of each host in the group `trading`, in the inventory's order.

        Raises:
            UserError: The inventory cannot be read, or has no such host within the limit.
        """
        limit = ["--limit", self.limit] if self.limit else []
        listed = json.loads(self._ask("inventory", "--list", *limit)[0])
        names = _members(listed, "trading")
        if not names:
            raise UserError(f"{self.inventory} has no host in the group trading")
        variables = listed.get("_meta", {}).get("hostvars", {})
        return {name: variables.get(name, {}) for name in names}


def check_words(words: Sequence[str]) -> None:
    """Refuse further arguments that ansible-playbook does not take, or that a verb has itself.

    Args:
        words: What came after `--`.

    Raises:
        UserError: One is not allowed.
    """
    if not words:
        return
    # Ansible is slow to import, and has no types.
    cli = import_module("ansible.cli.playbook")

    def refuse(message: str) -> NoReturn:
        raise UserError(f"after --: {message}; see ansible-playbook --help")

    program = cli.PlaybookCLI(["ansible-playbook"])
    program.init_parser()
    program.parser.error = refuse
    taken = program.parser.parse_args(["site.yml", *words])
    for option, value in (("--limit", taken.subset), ("--inventory", taken.inventory)):
        if value:
            refuse(f"{option} is not allowed there; use it before --")
    if len(taken.args) > 1:
        refuse(f"'{taken.args[1]}' is no option")


def state_directory() -> Path:
    """Return the directory of logs and answers, which is made."""
    state = Path(os.environ.get("GRIDBERRY_STATE", ROOT / ".gridberry"))
    state.mkdir(parents=True, exist_ok=True)
    return state


def _members(listed: dict[str, Any], group: str) -> list[str]:
    """Return the hosts of a group and of those below it, each once."""
    found = list(listed.get(group, {}).get("hosts", []))
    for child in listed.get(group, {}).get("children", []):
        found += _members(listed, child)
    return list(dict.fromkeys(found))


@contextmanager
def sudo_password(*, ask: bool) -> Iterator[Path | None]:
    """Ask for sudo's password once, and hold it where no other user and no listing sees it.

    Args:
        ask: Whether it is asked for.

    Yields:
        A file that has it, for `--become-password-file`; None where it is not asked for.
    """
    if not ask:
        yield None
        return
    password = getpass.getpass("sudo password on the Pis: ")
    # Ansible opens a file by its name. In memory where the system has that: nothing is left.
    memory = next((path for path in MEMORY if os.access(path, os.W_OK)), None)
    with tempfile.TemporaryDirectory(prefix="gridberry-", dir=memory) as directory:
        file = Path(directory) / "become"
        file.touch(mode=0o600)
        file.write_text(password + "\n")
        yield file
