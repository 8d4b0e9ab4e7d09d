"""The launcher's verbs for an inventory: real Ansible, the real ssh, a server on this machine."""

from __future__ import annotations

import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from gridbase.errors import UserError

from fleet import cli
from fleet.ansible import find_inventory
from fleet.completion import verbs_of
from fleet.ssh import ssh_command
from tests.fleet.ssh_server import PATIENCE_SECONDS, SshServer

ROOT = Path(__file__).resolve().parents[2]
HERE = {"ansible_connection": "local", "ansible_become": False}
SECRET = "correct horse"
# `docker WORDS` on this machine: what it was told, and what it would print.
DOCKER = '#!/bin/sh\necho "docker said: $*"\n'
# sudo as Ansible talks to it: asks with its prompt, and looks who can see the password.
SUDO = f"""#!{sys.executable}
import os, pathlib, sys
words = sys.argv[1:]
prompt = words[words.index("-p") + 1]
sys.stderr.write(prompt)
sys.stderr.flush()
given = sys.stdin.readline().rstrip("\\n")
seen = []
for process in pathlib.Path("/proc").glob("[0-9]*"):
    for what in ("cmdline", "environ"):
        try:
            if {SECRET!r}.encode() in (process / what).read_bytes():
                seen.append(f"{{process.name}} {{what}}")
        except OSError:
            pass
pathlib.Path(os.environ["NOTES"]).write_text(f"{{given}}|{{seen}}")
if given != {SECRET!r}:
    sys.exit("Sorry, try again.")
command = words[words.index("-u") + 2:]
os.execvp(command[0], command)
"""


def write(path: Path, hosts: dict[str, dict[str, object]]) -> str:
    path.write_text(yaml.safe_dump({"trading": {"hosts": hosts}}))
    return str(path)


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleet.cli", *words],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **environment},
    )


@pytest.fixture
def docker(tmp_path: Path) -> dict[str, str]:
    """An environment in which `docker` notes what it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(DOCKER)
    (folder / "docker").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "GRIDBERRY_STATE": str(tmp_path / "state")}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["stop"], "docker said: stop gridberry-bot"),
        (["start"], "docker said: start gridberry-bot"),
        (["logs", "--lines", "7"], "docker said: logs --tail 7 gridberry-bot"),
        (
            ["report", "--by", "day"],
            "docker said: exec gridberry-bot gridbot report --config /etc/gridbot/bot.toml --by d",
        ),
    ],
)
def test_a_verb_runs_and_names_one_command_a_host(
    tmp_path: Path, docker: dict[str, str], words: list[str], says: str
) -> None:
    inventory = write(tmp_path / "two.yml", {"pi1": HERE, "pi2": HERE})
    done = run(*words, "-i", inventory, **docker)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(says) == 2
    assert done.stderr.startswith(f"$ ansible -i {inventory} trading --become ")
    assert done.stderr.count("$ ") == 1
    limited = run(*words, "-i", inventory, "--limit", "pi2", **docker)
    assert limited.stdout.count(says) == 1
    assert "pi1" not in limited.stdout


@pytest.mark.parametrize("words", [["stop"], ["audit"], ["pause", "--reason", "x"]])
def test_a_host_that_cannot_be_reached_is_one_line(
    tmp_path: Path, docker: dict[str, str], words: list[str]
) -> None:
    # Nothing listens on a port that is only bound.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        away = {"ansible_host": "127.0.0.1", "ansible_port": port}
        inventory = write(tmp_path / "two.yml", {"pi1": HERE, "pi2": away})
        done = run(*words, "-i", inventory, ANSIBLE_SSH_RETRIES="0", **docker)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    found = [line for line in said.splitlines() if "pi2" in line and not line.startswith("pi2  ")]
    assert found == [
        f"pi2 cannot be reached: ssh: connect to host 127.0.0.1 port {port}: Connection refused"
    ]
    assert "UNREACHABLE" not in said
    assert "Origin: " not in said


def test_logs_of_one_host(tmp_path: Path, docker: dict[str, str]) -> None:
    inventory = write(tmp_path / "two.yml", {"pi1": HERE, "pi2": HERE})
    done = run("logs", "pi2", "-i", inventory, **docker)
    assert "pi2 | CHANGED" in done.stdout
    assert "pi1" not in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["stop", "--", "pi1"], "stop takes nothing after --"),
        (["staus"], "invalid choice: 'staus'"),
        (["open", "-i", "INVENTORY"], "name the host: "),
        (["rollout", "--plan", "--back"], "not allowed with argument"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(tmp_path: Path, words: list[str], says: str) -> None:
    inventory = write(tmp_path / "two.yml", {"pi1": HERE, "pi2": HERE})
    done = run(*(inventory if word == "INVENTORY" else word for word in words))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("gridberry: ")
    assert says in done.stderr


def passwords() -> set[Path]:
    """The files with a password that are there now."""
    places = (Path("/dev/shm"), Path("/tmp"))
    return {path for place in places for path in place.glob("gridberry-*/become")}


@pytest.mark.parametrize("right", [True, False])
def test_sudos_password_is_asked_once_and_seen_by_nobody(
    tmp_path: Path, docker: dict[str, str], monkeypatch: pytest.MonkeyPatch, right: bool
) -> None:
    sudo = tmp_path / "bin/mysudo"
    sudo.write_text(SUDO)
    sudo.chmod(0o755)
    # Root becomes somebody else: Ansible asks nobody for what the user is already.
    host = {
        "ansible_connection": "local",
        "ansible_become_exe": str(sudo),
        "ansible_become_user": "nobody",
    }
    inventory = write(tmp_path / "one.yml", {"pi1": host})
    asked = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return SECRET if right else "wrong"

    monkeypatch.setattr("getpass.getpass", answer)
    for key, value in {**docker, "NOTES": str(tmp_path / "notes")}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))
    others = passwords()  # of verbs that run beside this test
    assert cli.main(["stop", "-K", "-i", inventory]) == int(not right)
    assert asked == ["sudo password on the Pis: "]
    assert (tmp_path / "notes").read_text() == f"{SECRET if right else 'wrong'}|[]"
    assert passwords() <= others


class Silent:
    """A machine that takes connections and never says a word."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self.connections.append(self._listener.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    one = Silent()
    yield one
    one.close()


def test_status_gives_a_host_up_that_never_answers_and_ends_with_1(
    tmp_path: Path, silent: Silent
) -> None:
    state = {"GRIDBERRY_STATE": str(tmp_path / "state")}
    gone = {"ansible_host": "127.0.0.1", "ansible_port": silent.port}
    inventory = write(tmp_path / "two.yml", {"pi1": gone, "pi2": HERE})
    begun = time.monotonic()
    done = run("status", "--json", "-i", inventory, **state)
    print(f"{time.monotonic() - begun:.1f} s")
    assert done.returncode == 1, done.stderr
    lost, found = json.loads(done.stdout)
    assert lost["host"] == "pi1"
    assert "timed out" in lost["error"]
    assert found["host"] == "pi2"
    assert "arch" in found
    # Ten seconds leave no room for a second try.
    assert len(silent.connections) == 1
    only = run("status", "-i", inventory, "--limit", "pi2", **state)
    assert only.returncode == 1  # Docker does not answer here; nobody else was asked
    assert [line.split()[0] for line in only.stdout.splitlines()] == ["HOST", "pi2"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    with SshServer(tmp_path) as one:
        yield one


def test_ssh_runs_a_command_on_the_host_and_hands_its_status_on(
    tmp_path: Path, server: SshServer
) -> None:
    inventory = write(tmp_path / "one.yml", {"pi1": server.variables})
    done = run("ssh", "pi1", "-i", inventory, "--", "echo", "hello;", "exit", "7")
    assert done.returncode == 7, done.stderr
    assert done.stdout == "hello\n"
    assert server.commands == ["echo hello; exit 7"]


def test_logs_follow_over_ssh(tmp_path: Path, server: SshServer) -> None:
    inventory = write(tmp_path / "one.yml", {"pi1": server.variables})
    run("logs", "--follow", "-i", inventory)
    assert server.commands == ["sudo docker logs --follow --tail 100 gridberry-bot"]


class Page(http.server.BaseHTTPRequestHandler):
    """A bot's page; not well, which does not matter here."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()
        self.wfile.write(b"the page")

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_open_shows_the_page_through_a_tunnel_until_it_is_interrupted(
    tmp_path: Path, server: SshServer
) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        variables = {**server.variables, "grid_bot_page_port": page.server_port}
        inventory = write(tmp_path / "one.yml", {"pi1": variables})
        # The "browser" notes its address.
        environment = {**os.environ, "BROWSER": f"echo browser %s >>{tmp_path}/browser; :"}
        with subprocess.Popen(
            [sys.executable, "-m", "fleet.cli", "open", "-i", inventory],
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline(), process.stdout.readline()]
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", lines[1])
            assert found, lines
            assert f"127.0.0.1:{page.server_port}" in lines[0]
            with socket.create_connection(("127.0.0.1", int(found[1])), PATIENCE_SECONDS) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert client.makefile("rb").read().endswith(b"the page")
            process.send_signal(2)
            assert process.wait(PATIENCE_SECONDS) == 0
        page.shutdown()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(found[1])), 1)


def test_ssh_logs_in_as_ansible_does() -> None:
    assert ssh_command("pi1", {}) == ["ssh", "pi1"]
    variables = {
        "ansible_host": "192.168.1.21",
        "ansible_user": "trader",
        "ansible_port": 2222,
        "ansible_ssh_private_key_file": "/keys/a key",
        "ansible_ssh_common_args": "-o ProxyJump='a b'",
    }
    assert ssh_command("pi1", variables) == [
        *("ssh", "-p", "2222", "-i", "/keys/a key", "-o", "ProxyJump=a b", "trader@192.168.1.21"),
    ]
    with pytest.raises(UserError, match="ansible_host of pi1 is the template"):
        ssh_command("pi1", {"ansible_host": "{{ address }}"})


def test_the_inventory_is_the_users_only_one_or_that_of_the_virtual_pis(tmp_path: Path) -> None:
    for name in ("example", "virtual", "__pycache__"):
        (tmp_path / "inventory" / name).mkdir(parents=True)
    assert find_inventory("", tmp_path) == "inventory/virtual"
    (tmp_path / "inventory/home").mkdir()
    assert find_inventory("", tmp_path) == "inventory/home"
    (tmp_path / "inventory/work").mkdir()
    with pytest.raises(UserError, match="inventory/home, inventory/work; choose one with -i"):
        find_inventory("", tmp_path)
    assert find_inventory(str(tmp_path / "inventory/work"), tmp_path) == "inventory/work"


def test_completions_of_bash_know_verbs_and_options() -> None:
    script = run("completion", "bash").stdout
    ask = """
complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gridberry; echo "${COMPREPLY[*]}"; }
complete_words ./gridberry sta
complete_words ./gridberry resume --t
complete_words ./gridberry down --
"""
    done = subprocess.run(["bash", "-c", script + ask], check=False, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["status start", "--take", "--machines --all"], done.stderr
    for shell in ("zsh", "fish"):
        assert "--ask-become-pass" in run("completion", shell).stdout


def test_the_launcher_knows_each_verb_and_its_help_has_an_example() -> None:
    usage = subprocess.run(
        [ROOT / "gridberry", "help"], check=True, capture_output=True, text=True
    ).stdout
    launcher = (ROOT / "gridberry").read_text()
    for verb in verbs_of(cli.all_verbs().each):
        assert re.search(rf"^  ./gridberry .*\b{verb}\b", usage, re.MULTILINE), verb
        assert re.search(rf"^    .*\b{verb}\b.*\)", launcher, re.MULTILINE), verb
    for verb, parser in cli.all_verbs().each.items():
        assert "Example: " in parser.format_help(), verb


def test_the_document_has_each_verb_once() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|", (ROOT / "docs/gridberry.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(verbs_of(cli.all_verbs().each))
