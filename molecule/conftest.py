"""The virtual Pi as the tests see it: testinfra over one SSH connection that stays open."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import testinfra

ROOT = Path(__file__).resolve().parents[1]
# The scenario's machine.
NAME = os.environ.get("GRIDBERRY_TEST_MACHINE", "molecule-pi")
INVENTORY = os.environ.get("GRIDBERRY_TEST_INVENTORY", "inventory/virtual")
# Emulated, an answer takes up to a minute after a start.
PATIENCE = 300


@dataclass(frozen=True)
class Machine:
    """How to reach the machine and what may be done to it from outside.

    Attributes:
        ssh_config: For ssh and testinfra.
        page: Where the bot's page is, seen from here.
        forwards: Ports of the machine and the ports of 127.0.0.1 that lead there.
    """

    ssh_config: Path
    page: str
    forwards: dict[int, int]

    def ssh(self, command: str, **more) -> subprocess.CompletedProcess:
        """Run a command in it, with everything that subprocess.run takes."""
        words = ["ssh", "-F", str(self.ssh_config), NAME, command]
        return subprocess.run(words, check=True, **more)

    def virtual_pi(self, *words: str) -> None:
        """Run a verb of virtual_pi on it."""
        command = [sys.executable, "-m", "virtual_pi", *words]
        subprocess.run(command, check=True, cwd=ROOT)

    def console(self) -> str:
        """What the machine and its firmware printed since it was made."""
        command = [sys.executable, "-m", "virtual_pi", "console", NAME]
        return subprocess.run(
            command, check=True, cwd=ROOT, capture_output=True, text=True, errors="replace"
        ).stdout

    def wait(self) -> None:
        """Return once it answers, after a reset that was none of ours."""
        self.forget_connection()
        self.virtual_pi("start", NAME, "--wait")

    def restart(self, *, cut: bool = False) -> float:
        """Switch it off and on again, until SSH answers; returns when it was off (Unix time).

        Args:
            cut: The power is cut, instead of a clean end.
        """
        self.virtual_pi("cut" if cut else "stop", NAME)
        off = time.time()
        self.forget_connection()
        self.virtual_pi("start", NAME, "--wait")
        return off

    def forget_connection(self) -> None:
        """Close the connection that is kept open; the machine at its other end has gone."""
        command = ["ssh", "-F", str(self.ssh_config), "-O", "exit", NAME]
        subprocess.run(command, check=False, capture_output=True)

    def playbook(self, *words: str) -> subprocess.CompletedProcess:
        """Run site.yml against it."""
        return self.play("site", *words)

    def play(self, name: str, *words: str) -> subprocess.CompletedProcess:
        """Run a playbook against it."""
        command = ["ansible-playbook", "-i", INVENTORY, f"playbooks/{name}.yml"]
        # Molecule asks for colours, which would be in the middle of the words that tests look for.
        plain = os.environ | {"ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"}
        return subprocess.run(
            [*command, *words], check=False, cwd=ROOT, env=plain, capture_output=True, text=True
        )


def find_machine() -> dict:
    """What virtual_pi knows of it."""
    command = [sys.executable, "-m", "virtual_pi", "list", "--json"]
    answer = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    return next(one for one in json.loads(answer.stdout) if one["name"] == NAME)


@pytest.fixture(scope="session")
def machine(tmp_path_factory):
    """The machine, with an SSH configuration that keeps one connection open."""
    found = find_machine()
    ssh = found["ssh"]
    directory = tmp_path_factory.mktemp("ssh")
    # A socket's path must be short; pytest's directories are not.
    control = Path(
        os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir(), f"gridberry-test-{os.getpid()}"
    )
    config = directory / "config"
    config.write_text(
        f"Host {NAME}\n"
        f"  HostName {ssh['host']}\n"
        f"  Port {ssh['port']}\n"
        f"  User {ssh['user']}\n"
        f'  IdentityFile "{ssh["key"]}"\n'
        f'  UserKnownHostsFile "{ssh["known_hosts"]}"\n'
        "  StrictHostKeyChecking yes\n"
        "  IdentitiesOnly yes\n"
        "  ControlMaster auto\n"
        f"  ControlPath {control}\n"
        "  ControlPersist 600\n"
    )
    forwards = {int(port): host for port, host in found["forwards"].items()}
    one = Machine(config, f"http://127.0.0.1:{forwards.get(8080)}", forwards)
    yield one
    one.forget_connection()


@pytest.fixture(scope="session")
def pi(machine):
    """Testinfra's host, as root."""
    # A busy emulated machine takes long to shake hands.
    return testinfra.get_host(f"ssh://{NAME}?sudo=True&timeout=120&ssh_config={machine.ssh_config}")


def wait_for(condition, what: str):
    """Wait until a condition gives something true, and return that.

    Raises:
        AssertionError: It does not within PATIENCE seconds.
    """
    end = time.monotonic() + PATIENCE
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
        time.sleep(2)


@pytest.fixture(scope="session")
def waiting():
    """The function that waits."""
    return wait_for


@pytest.fixture
def bot(pi):
    """The bot's own status, asked for at each call."""

    def ask() -> dict:
        script = "import sys, urllib.request as u; sys.stdout.write(u.urlopen('http://127.0.0.1:8080/api/status').read().decode())"
        return json.loads(pi.check_output(f"python3 -c {shlex.quote(script)}"))

    return ask


LOOK = """
for container in gridberry-exchange gridberry-bot; do
    docker inspect --format '{{.Name}}: {{.State.Status}}, {{.RestartCount}} restarts,
        {{.State.StartedAt}} to {{.State.FinishedAt}},
        code {{.State.ExitCode}} {{.State.Error}}' $container
    docker logs --tail 6 $container
done 2>&1
systemctl --failed --no-legend --plain
uptime
journalctl -u docker -o short --no-pager -p warning -n 20
"""


def pytest_terminal_summary(terminalreporter):
    """After failures, say last which, and how the machine is: long logs are cut at the front.

    Also into the file GRIDBERRY_MACHINE_NOW, for the gate to end with.
    """
    failed = [
        report.nodeid for key in ("failed", "error") for report in terminalreporter.getreports(key)
    ]
    if not failed:
        return
    terminalreporter.section("the machine now")
    look = f"sudo sh -c {shlex.quote(LOOK)}"
    command = [sys.executable, "-m", "virtual_pi", "ssh", NAME, "--", look]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    lines = [line[:300] for line in (done.stdout or done.stderr).splitlines()]
    if place := os.environ.get("GRIDBERRY_MACHINE_NOW"):
        Path(place).write_text("\n".join(lines) + "\n")
    for line in lines + [f"failed: {name}" for name in failed]:
        terminalreporter.write_line(line)
