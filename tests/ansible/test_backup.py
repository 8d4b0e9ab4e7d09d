"""Backups with the real restic and the bot's real programs; Docker alone is a stand-in."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from gridbot.store import Store

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "roles/backup/files/backup.py"
HALT = {"reason_code": "stop.loss_price", "price": Decimal(1), "at_ms": 5}
PASSWORD, KEY = "planted-password-4711", "planted-key-0815"
# Containers are notes; `run` is this checkout's program, with the container's paths as here.
DOCKER = """#!{python}
import json, os, sys
here, words = {here!r}, sys.argv[1:]
open(here + "/calls", "a").write(" ".join(words) + "\\n")
VOLUMES = {{"gridberry-bot": "/var/lib/gridbot", "gridberry-exchange": "/var/lib/gridbot-exchange"}}
if words[0] in ("stop", "start"):
    for name in words[1:]:
        (open(here + "/off-" + name, "w").close if words[0] == "stop" else
         lambda: os.path.exists(here + "/off-" + name) and os.remove(here + "/off-" + name))()
elif words[0] == "inspect":
    name = words[-1]
    if not os.path.isdir(here + "/" + name):
        sys.exit("Error: No such object: " + name)
    if words[1] == "--format":
        on = not os.path.exists(here + "/off-" + name)
        health = "healthy: ok"
        if os.path.exists(here + "/health"):
            health = open(here + "/health").read()
        print(words[2].replace("{{{{.State.Running}}}}", str(on).lower())
              .replace("{{{{.State.Health.Status}}}}", health.partition(": ")[0])
              .replace("{{{{range .State.Health.Log}}}}{{{{println .Output}}}}{{{{end}}}}",
                       "older\\n\\n" + health.partition(": ")[2] + "\\n\\n")
              .replace(words[2] if ".Mounts" in words[2] else "-", here + "/" + name))
        sys.exit()
    mount = {{"Destination": VOLUMES[name], "Name": "volume-" + name, "Source": here + "/" + name}}
    print(json.dumps([{{"Image": "sha256:1", "State": {{"Running": True}}, "Mounts": [mount]}}]))
elif words[0] == "exec":
    if os.path.exists(here + "/cannot"):
        print("gridbot audit: " + open(here + "/cannot").read(), file=sys.stderr)
        sys.exit(4)
    print("books and exchange are equal")
    sys.exit(os.path.exists(here + "/unequal"))
elif words[0] == "run":
    mounts = [one.split("=", 1)[1].split(":") for one in words if one.startswith("--volume=")]
    command = words[words.index("sha256:1") + 1:]
    if not any(one.startswith("--entrypoint") for one in words):
        command = ["-m", "gridbot", *command]
    paths = sorted(((m[1], m[0]) for m in mounts), key=lambda one: -len(one[0]))
    local = lambda name: here + "/" + name[7:] if name.startswith("volume-") else name
    paths = [(inside, local(outside)) for inside, outside in paths]
    for place, (inside, outside) in [(n, p) for n in range(len(command)) for p in paths]:
        if command[place].startswith(inside) and not command[place].startswith(outside):
            command[place] = outside + command[place][len(inside):]
    os.environ["PYTHONPATH"] = {source!r}
    os.execv({python!r}, [{python!r}, *command])
"""
TOML = """
bot_name = "pi1"
[exchange]
name = "binance"
url = "http://127.0.0.1:9"
api_key_file = "/run/secrets/api_key"
api_secret_file = "/run/secrets/api_secret"
[market]
symbol = "BTC/USDT"
[grid]
lower = "42000"
upper = "50000"
grids = 10
investment = "5000"
[page]
port = 8080
[state]
directory = "/var/lib/gridbot"
"""

pytestmark = pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not here")


class Host:
    """A host with a bot, its practice exchange, and the role's files."""

    def __init__(self, place: Path, name: str = "pi1") -> None:
        self.place, self.name = place, name
        self.state, self.settings = place / "lib/backup", place / "etc"
        self.books = place / "docker/gridberry-bot"
        for one in (self.settings, self.books, place / "docker/gridberry-exchange", place / "opt"):
            one.mkdir(parents=True)
        docker = place / "docker/docker"
        here = {"here": str(place / "docker"), "source": str(ROOT / "bot/src")}
        docker.write_text(DOCKER.format(python=sys.executable, **here))
        docker.chmod(0o755)
        (place / "opt/secrets").mkdir()
        (place / "opt/secrets/api_key").write_text(KEY)
        (place / "opt/bot.toml").write_text(TOML)
        with closing(sqlite3.connect(place / "docker/gridberry-exchange/exchange.sqlite3")) as one:
            one.executescript("CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (1)")
        self.write("first")

    def write(self, text: str) -> None:
        """Have the bot note something."""
        store = Store(self.books)
        store.clear_halt("BTC/USDT", 6)
        store.halt("BTC/USDT", text=text, **HALT)
        store.close()

    def halts(self) -> list[str]:
        with closing(sqlite3.connect(self.books / "gridbot.sqlite3")) as connection:
            return [row[0] for row in connection.execute("SELECT text FROM halts ORDER BY id")]

    def configure(self, repository: Path, **more: Any) -> None:
        """Write what the role writes."""
        settings = {
            "host": self.name,
            "project": "gridberry",
            "configuration": str(self.place / "opt"),
            "options": [],
        }
        settings |= {"environment": {"AWS_SECRET_ACCESS_KEY": KEY}, "append_only": False}
        settings |= {"keep_daily": 7, "keep_weekly": 4} | more
        (self.settings / "settings.json").write_text(json.dumps(settings))
        (self.settings / "password").write_text(PASSWORD)
        (self.settings / "repository").write_text(str(repository))

    def environment(self) -> dict[str, str]:
        own = {"BACKUP_SETTINGS": str(self.settings), "BACKUP_STATE": str(self.state)}
        own |= {
            "BACKUP_USER": str(os.getuid()),
            "PATH": f"{self.place}/docker:{os.environ['PATH']}",
        }
        return os.environ | own

    def run(self, *words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, SCRIPT, *words]
        return subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, check=False
        )

    def well(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def result(self) -> dict[str, Any]:
        return json.loads((self.state.parent / "backup.json").read_text())

    def snapshots(self, repository: Path) -> int:
        command = ["restic", "--repo", repository, "snapshots", "--json"]
        own = self.environment() | {"RESTIC_PASSWORD": PASSWORD}
        said = subprocess.run(command, env=own, check=True, capture_output=True).stdout
        return len(json.loads(said) or [])


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "repository"


@pytest.fixture
def host(tmp_path: Path, repository: Path) -> Host:
    one = Host(tmp_path / "pi1")
    one.configure(repository)
    one.well("init")
    return one


def test_a_backup_is_put_back_and_what_was_there_is_a_backup_first(host, repository):
    made = re.search(r"snapshot (\w+): .* checked", host.well("now"))
    assert host.result()["ok"] is True
    assert abs(host.result()["time"] - time.time()) < 600
    host.write("later")
    assert host.halts() == ["first", "later"]
    said = host.well("show", "latest", "pi1")
    assert "of pi1" in said
    assert host.halts() == ["first", "later"]
    safety = re.search(r"what is there: snapshot (\w+)", host.well("restore", "latest", "pi1"))
    # What fired since stays fired, and the books of before are in the repository and beside them.
    assert host.halts() == ["first"]
    assert host.snapshots(repository) == 2
    assert len(list(host.books.glob("*.replaced-*"))) == 1
    calls = (host.place / "docker/calls").read_text()
    assert calls.index("stop gridberry-bot gridberry-exchange") < calls.index(" restore --state")
    assert calls.index(" restore --state") < calls.index("start gridberry-exchange")
    assert calls.index("start gridberry-exchange") < calls.index("start gridberry-bot")
    assert not list(host.state.glob("staging*")) + list(host.state.glob("restored*"))
    # It is not the latest one, and the day's good one is still there after the next night.
    assert f"snapshot {made[1]} of pi1" in host.well("show", "latest", "pi1")
    host.well("now")
    assert host.snapshots(repository) == 2
    host.well("restore", safety[1], "pi1")
    assert host.halts() == ["first", "later"]


def test_another_host_takes_over(host, repository, tmp_path):
    host.well("now")
    other = Host(tmp_path / "pi2", "pi2")
    other.configure(repository)
    other.well("init")
    assert "no snapshot of pi2" in other.refused("restore", "latest", "pi2")
    other.write("other")
    other.well("restore", "latest", "pi1")
    assert other.halts() == ["first"]


def test_secrets_are_nowhere(host, repository):
    host.well("now")
    # Of the repository nothing can be read, and the configuration without its secrets is in it.
    for path in (*repository.rglob("*"), *host.state.parent.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            planted = (PASSWORD.encode(), KEY.encode(), b"SQLite format", b"[grid]")
            assert not [text for text in planted if text in content], path
    target = host.place / "all"
    own = host.environment() | {"RESTIC_PASSWORD": PASSWORD}
    command = ["restic", "--repo", repository, "restore", "latest", "--target", target]
    subprocess.run(command, env=own, check=True, capture_output=True)
    files = [path for path in target.rglob("*") if path.is_file()]
    assert {"gridbot.sqlite3", "exchange.sqlite3", "bot.toml"} <= {path.name for path in files}
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_errors_are_one_line_and_noted_and_show_no_secret(host, repository):
    host.well("now")
    good = host.result()["time"]
    (host.settings / "password").write_text("another")
    assert "backup_password is not the repository's" in host.refused("init")
    assert "wrong password" in host.refused("now")
    assert host.result() | {"time": 0} == {
        "ok": False,
        "time": 0,
        "last_good": good,
        "error": host.result()["error"],
    }
    host.configure(repository)
    (host.settings / "repository").write_text(f"/nowhere/{KEY}")
    assert "no such file" in (said := host.refused("now"))
    assert KEY not in said
    host.configure(repository)
    (host.books / "gridbot.sqlite3").write_bytes(b"no books")
    assert "gridbot" in host.refused("now")
    shutil.rmtree(host.books)
    assert "no container gridberry-bot on this host" in host.refused("now")
    assert host.run("restore").returncode == 2


def test_a_backup_that_is_killed_leaves_the_one_before(host, repository):
    host.well("now")
    for pause in (0.2, 0.6, 1.0, 1.5):
        command = [sys.executable, SCRIPT, "now"]
        process = subprocess.Popen(command, env=host.environment(), start_new_session=True)
        time.sleep(pause)
        os.killpg(process.pid, signal.SIGKILL)  # as a power cut: restic, too
        process.wait()
    # One that certainly held the repository.
    own = host.environment() | {"RESTIC_PASSWORD": PASSWORD}
    command = ["restic", "--repo", str(repository), "backup", "--stdin"]
    with subprocess.Popen(command, env=own, stdin=subprocess.PIPE) as process:
        while process.poll() is None and not any((repository / "locks").iterdir()):
            time.sleep(0.05)
        process.kill()
        # Its number stays taken, as by another process after a boot.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert any((repository / "locks").iterdir())
        host.well("now")
    host.well("restore", "latest", "pi1")
    assert host.halts() == ["first"]


def test_old_ones_go_but_not_of_others_nor_where_it_may_not(host, repository, tmp_path):
    other = Host(tmp_path / "pi2", "pi2")
    other.configure(repository, append_only=True)
    for _ in range(2):
        other.well("now")
    for _ in range(3):
        host.well("now")
    assert host.snapshots(repository) == 3  # of one day the last, and all of the other host's
    host.configure(repository, append_only=True)
    for _ in range(2):
        host.well("now")
    assert host.snapshots(repository) == 5


def test_a_damaged_repository_is_told(host, repository):
    host.configure(repository, append_only=True)  # else what is damaged is thinned out
    host.well("now")
    for path in (repository / "data").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(path.read_bytes()[:-9] + b"\0" * 9)
    host.write("more")
    assert host.run("now").returncode == 1
    assert host.result()["ok"] is False


@pytest.mark.skipif(shutil.which("rclone") is None, reason="rclone is not here")
def test_a_target_that_only_takes_cannot_be_emptied(tmp_path, repository):
    """As another Pi over SSH serves it; here its program is started without SSH."""
    host = Host(tmp_path / "pi1")
    serve = tmp_path / "serve"  # a forced command does not hear what it is asked to run
    serve.write_text(f"#!/bin/sh\nexec rclone serve restic --stdio --append-only {repository}\n")
    serve.chmod(0o755)
    options = [f"rclone.program={serve}"]
    host.configure(Path("rclone:"), options=options, append_only=True)
    (host.settings / "repository").write_text("rclone:")
    host.well("init")
    host.well("now")
    host.well("now")
    assert host.snapshots(repository) == 2
    command = ["restic", *(word for one in options for word in ("-o", one)), "--repo", "rclone:"]
    own = host.environment() | {"RESTIC_PASSWORD": PASSWORD}
    gone = subprocess.run(
        [*command, "forget", "--keep-last=1", "--prune"], env=own, capture_output=True, check=False
    )
    assert gone.returncode != 0
    assert host.snapshots(repository) == 2
    host.well("restore", "latest", "pi1")


def play(host: Host, name: str, *words: str) -> tuple[str, int]:
    """Run a playbook on a host that is this machine; what it said in one line, and its status."""
    program = host.place / "backup.py"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {SCRIPT} "$@"\n')
    program.chmod(0o755)
    here = {"ansible_connection": "local", "ansible_become": False, "backup_program": str(program)}
    here |= {"grid_bot_directory": str(host.place / "opt")}
    gone = {"ansible_host": "127.0.0.1", "ansible_port": 9}
    hosts = {"trading": {"hosts": {host.name: here}}}
    # Another host with the same Docker, and one that does not answer.
    hosts["all"] = {"hosts": {"old": here, "gone": gone}}
    (host.place / "inventory.yml").write_text(yaml.safe_dump(hosts))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", host.place / "inventory.yml"]
    done = subprocess.run(
        [*command, ROOT / f"playbooks/{name}.yml", *words],
        env=host.environment()
        | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return " ".join(done.stdout.split()), done.returncode


def test_the_playbooks_back_up_show_and_restore(host):
    said, status = play(host, "backup")
    assert (status, "checked" in said) == (0, True), said
    assert PASSWORD not in said
    assert KEY not in said
    host.write("later")
    said, status = play(host, "restore")
    assert (status, "nothing was changed" in said) == (0, True), said
    said, status = play(host, "restore", "--check", "-e", "restore_confirmed=true")
    assert (status, host.halts()) == (0, ["first", "later"]), said
    said, status = play(host, "restore", "-e", "restore_snapshot=0000", "-e", "restore_confirmed=1")
    assert (status, "the repository has no snapshot 0000 of pi1" in said) == (2, True), said
    said, status = play(host, "restore", "-e", "restore_confirmed=true")
    assert (status, "books and exchange are equal" in said) == (0, True), said
    assert host.halts() == ["first"]
    assert not list((host.place / "docker").glob("off-*"))
    (host.place / "docker/unequal").touch()
    said, status = play(host, "restore", "-e", "restore_confirmed=true")
    assert (status, "gridbot audit ended with status 1" in said) == (2, True), said


def test_a_bot_on_a_stock_is_put_back_though_it_can_be_compared_on_its_first_day_alone(host):
    host.well("now")
    confirmed = ("-e", "restore_confirmed=true")
    stock = (*confirmed, "-e", "grid_bot_exchange=ib")
    cannot = "SPY/USD: the account held 37 shares"
    (host.place / "docker/cannot").write_text(cannot)
    said, status = play(host, "restore", *stock)
    assert (status, f"pi1: the books are back; gridbot audit: {cannot}" in said) == (0, True), said
    said, status = play(host, "restore", *confirmed)
    assert (status, f"status 4 gridbot audit: {cannot}" in said) == (2, True), said
    said, status = play(host, "audit")
    assert (status, f"status 4 gridbot audit: {cannot}" in said) == (2, True), said
    (host.place / "docker/cannot").unlink()
    (host.place / "docker/unequal").touch()
    said, status = play(host, "restore", *stock)
    assert (status, "gridbot audit ended with status 1" in said) == (2, True), said


def test_a_bot_that_waits_after_a_restore_says_in_one_line_why(host):
    host.well("now")
    why = "SPY/USD: which the executions of today do not explain"
    (host.place / "docker/health").write_text(f"unhealthy: {why}")
    words = ("restore_confirmed=true", "grid_bot_exchange=ib", "grid_bot_health_timeout=0")
    said, status = play(host, "restore", *(each for word in words for each in ("-e", word)))
    line = f"pi1: the books are back, and the bot is unhealthy: {why}"
    assert (status, line in said) == (2, True), said
    (host.place / "docker/health").write_text("unhealthy: ")
    said, status = play(host, "restore", *(each for word in words for each in ("-e", word)))
    assert (status, "the bot is unhealthy: older" in said) == (2, True), said


def test_no_second_bot_on_the_same_books(host, repository, tmp_path):
    for name in ("old", "gone"):
        other = Host(tmp_path / name, name)
        other.configure(repository)
        other.well("now")
    host.write("own")
    confirmed = ("-e", "restore_confirmed=true", "-e")
    off = ("-e", "restore_old_is_off=true")
    said, status = play(host, "restore", *confirmed, "restore_from_host=old", *off)
    assert (status, "pi1: the bot of old runs; stop it first" in said) == (2, True), said
    said, status = play(host, "restore", *confirmed, "restore_from_host=gone")
    assert (status, "pi1: gone does not say whether its bot runs" in said) == (2, True), said
    assert host.halts() == ["first", "own"]
    said, status = play(host, "restore", *confirmed, "restore_from_host=gone", *off)
    assert (status, host.halts()) == (0, ["first"]), said
    host.write("own")
    (host.place / "docker/off-gridberry-bot").touch()
    # A backup that does not do fences nobody.
    said, status = play(
        host, "restore", *confirmed, "restore_from_host=old", "-e", "restore_snapshot=0000"
    )
    assert (status, (host.books / "fenced").exists()) == (2, False), said
    said, status = play(host, "restore", *confirmed, "restore_from_host=old")
    assert (status, host.halts()) == (0, ["first"]), said
    owners = [
        json.loads(line)["note"] for line in (host.books / "owners.jsonl").read_text().splitlines()
    ]
    assert [one.partition(", said ")[0] for one in owners] == [
        "gone is off and stays off",
        "old is fenced",
    ]


def test_a_fenced_bots_own_backup_is_refused(host):
    host.well("now")
    (host.place / "opt/fenced").write_text("moved to pi2 on 2026-11-24 by lead@laptop\n")
    for verb in ("show", "restore"):
        said = host.refused(verb, "latest", "pi1")
        assert "the bot here is fenced (moved to pi2 on 2026-11-24 by lead@laptop)" in said
    # Its fence is lifted by the books that come back.
    other = Host(host.place.parent / "pi2", "pi2")
    other.configure(host.place.parent / "repository")
    other.well("now")
    host.well("restore", "latest", "pi2", "pi2 is fenced, said lead@laptop")
    assert not (host.place / "opt/fenced").exists()


WRONG = [
    ({"backup_password": ""}, "backup_repository is set, which also needs backup_password"),
    ({"backup_time": "2am"}, 'backup_time is 2am; use a time such as "02:00"'),
    ({"backup_keep_daily": 0}, "backup_keep_daily is 0 and backup_keep_weekly is 4"),
    ({"backup_repository": "usb"}, "backup_repository is usb; use a path from / on"),
    ({"backup_repository": "rclone:"}, "backup_repository is rclone: and backup_ssh is empty"),
    (
        {"backup_repository": "rclone:", "backup_ssh": "a@b"},
        "backup_ssh is set, which also needs backup_ssh_key",
    ),
]


def apply_role(tmp_path: Path, settings: dict[str, Any], *words: str) -> tuple[str, int]:
    """Run the role on this machine; what Ansible said in one line, and its status."""
    values = {"backup_repository": "/mnt/usb", "backup_password": PASSWORD} | settings
    tasks = [{"import_role": {"name": "backup"}, "vars": values}]
    book = {"hosts": "localhost", "gather_facts": False, "connection": "local", "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([book]))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", *words, tmp_path / "play.yml"],
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return " ".join((done.stdout + done.stderr).split()), done.returncode


@pytest.mark.parametrize(("settings", "said"), WRONG)
def test_a_wrong_setting_is_one_line(tmp_path, settings, said):
    shown, status = apply_role(tmp_path, settings)
    assert status == 2
    assert f"localhost: {said}" in shown


def test_a_dry_run_shows_the_files_and_no_secret(tmp_path):
    ssh = {"backup_repository": "rclone:", "backup_ssh": "backup@pi9", "backup_ssh_key": KEY}
    ssh |= {"backup_ssh_known_hosts": "pi9 ssh-ed25519 AAAA"}
    ssh |= {"backup_environment": {"AWS_SECRET_ACCESS_KEY": KEY}}
    said, status = apply_role(tmp_path, ssh, "--check", "--diff", "-vvv")
    assert status == 0, said
    assert "+OnCalendar=02:00" in said
    assert "after: /etc/gridberry/backup/ssh_key" in said
    assert PASSWORD not in said
    assert KEY not in said
