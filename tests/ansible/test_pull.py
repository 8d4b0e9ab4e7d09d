"""A host that follows a repository: real git, real signatures, real Ansible; ssh alone is local."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from roles.pull.files import pull
from roles.status.filter_plugins.status_table import status_table
from roles.status.library import pi_status

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "roles/pull/files/pull.py"
# The last argument is what git would have the server run.
SSH = """#!/bin/sh
echo "$@" >>{calls}
for command; do :; done
exec sh -c "$command"
"""
SITE = """
- {hosts: localhost, gather_facts: false}
- hosts: trading
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ inventory_hostname }} {{ grid }} {{ planted | default('') }}\\n"
        dest: "{{ place }}/{{ inventory_hostname }}"
        mode: "0600"
      no_log: true
"""
HANGS = "    - {ansible.builtin.command: sleep 4711, vars: {ansible_python_interpreter: PYTHON}}\n"
FAILS = "    - {ansible.builtin.fail: {msg: 'pi1: grid is 5; use at least 10'}}\n"
MAKES = "    - {ansible.builtin.shell: 'echo >{{ place }}/made'}\n"
SECRET = "planted-value-0815"

pytestmark = pytest.mark.skipif(
    not (shutil.which("git") and shutil.which("ssh-keygen")),
    reason="Debian's git or openssh-client is not here",
)


class Server:
    """Takes reports."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        taken = self.taken

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}/pulls?token={SECRET}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Host:
    """A host with the role's files, and the operator's repository."""

    def __init__(self, place: Path) -> None:
        self.place, self.repository = place, place / "operator"
        self.settings, self.state = place / "etc", place / "lib/pull"
        for one in (self.settings, self.state, place / "lib/metrics", place / "bin"):
            one.mkdir(parents=True)
        (place / "bin/ssh").write_text(SSH.format(calls=place / "calls"))
        (place / "bin/ssh").chmod(0o755)
        for name in ("mine", "foreign"):
            words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name)
            subprocess.run([*words, "-f", place / name], check=True)
        public = " ".join((place / "mine.pub").read_text().split()[:2])
        (self.settings / "allowed_signers").write_text(f"me@example.org {public}\n")
        (self.settings / "vault_password").write_text(f"{SECRET}\n")
        (self.settings / "deploy_key").write_text("key\n")
        self.configure()
        self.git("init", "-q", "-b", "main")
        lock = self.repository / pull.LOCK_FILE
        lock.parent.mkdir(parents=True)
        lock.write_text("# of this test\n")
        (self.repository / "ansible.cfg").write_text("[defaults]\nforks = 5\n")
        for name in ("playbooks", "inventory/home"):
            (self.repository / name).mkdir(parents=True)
        self.write(1)
        self._environment(lock.read_bytes())

    def _environment(self, lock: bytes) -> None:
        """Stand in for the venv that pip would make: this Python."""
        version = subprocess.run(
            ["/usr/bin/python3", "-c", "import sys; print(sys.version_info[:2])"],
            check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        name = hashlib.sha256(lock + version.encode()).hexdigest()[:16]
        python = self.state / f"venv-{name}/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        (python.parents[1] / "whole").touch()

    def configure(self, **more: Any) -> None:
        """Write what the role writes."""
        settings = {"host": "pi1", "repository": f"ssh://git@lan{self.repository}"}
        settings |= {"branch": "main", "inventory": "inventory/home"}
        settings |= {"again_hours": 24, "limit_minutes": 60} | more
        (self.settings / "settings.json").write_text(json.dumps(settings))

    def write(self, grid: int, more: str = "") -> None:
        """Change the operator's working copy."""
        own = {"ansible_host": "192.0.2.1", "ansible_connection": "ssh"}
        hosts = dict.fromkeys(("pi1", "pi2"), own)
        common = {"grid": grid, "place": str(self.place)}
        common["ansible_python_interpreter"] = sys.executable
        inventory = {"trading": {"hosts": hosts, "vars": common}}
        (self.repository / "inventory/home/hosts.yml").write_text(yaml.safe_dump(inventory))
        site = SITE + more.replace("PYTHON", sys.executable)
        (self.repository / "playbooks/site.yml").write_text(site)

    def git(self, *words: str) -> str:
        self.repository.mkdir(exist_ok=True)
        own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        for who in ("AUTHOR", "COMMITTER"):
            own |= {f"GIT_{who}_NAME": "Me", f"GIT_{who}_EMAIL": "me@example.org"}
        done = subprocess.run(
            ["git", "-c", "gpg.format=ssh", *words],
            check=True, cwd=self.repository, env=os.environ | own, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    def commit(self, *words: str, key: str = "mine") -> str:
        """Commit all of the working copy; an empty key signs nothing."""
        sign = [f"-S{self.place / key}"] if key else []
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", "change", *sign, *words)
        return self.git("rev-parse", "HEAD")

    def environment(self) -> dict[str, str]:
        own = {"PULL_SETTINGS": str(self.settings), "PULL_STATE": str(self.state)}
        return os.environ | own | {
            "PATH": f"{self.place}/bin:{os.environ['PATH']}",
            "PULL_GRACE": "0.5",
        }  # fmt: skip

    def pull(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["/usr/bin/python3", "-IS", SCRIPT, *(words or ("now",))]
        return subprocess.run(
            command, check=False, env=self.environment(), capture_output=True, text=True
        )

    def said(self) -> str:
        """What the playbook wrote on this host; empty where it did not run."""
        return pull.read(self.place / "pi1")

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.place / "lib/pull.json").read_text())
        return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_signed_commit_runs_once_on_this_host_alone(host: Host) -> None:
    commit = host.commit()
    done = host.pull()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"applied: {commit[:12]}, 1 changed\n"
    assert host.said() == "pi1 1"
    assert not (host.place / "pi2").exists()
    assert host.result()["signer"] == "me@example.org"
    metrics = (host.place / "lib/metrics/pull.prom").read_text()
    assert f'gridberry_pull_info{{result="applied",commit="{commit[:12]}"}} 1' in metrics
    assert "gridberry_pull_ok 1" in metrics
    # The same commit does not run again at once, but after a day: what was changed by hand goes.
    (host.place / "pi1").write_text("by hand")
    assert host.pull().stdout.startswith("unchanged: ")
    assert host.said() == "by hand"
    known = json.loads((host.state / "state.json").read_text())
    old = known | {"applied_at": int(time.time()) - 25 * 3600}
    (host.state / "state.json").write_text(json.dumps(old))
    assert host.pull().stdout == f"applied: {commit[:12]}, 1 changed\n"
    assert host.said() == "pi1 1"
    # Only what is committed runs.
    (host.state / "checkout/inventory/home/host_vars").mkdir()
    (host.state / "checkout/inventory/home/host_vars/pi1.yml").write_text("grid: 99\n")
    host.write(2)
    host.commit()
    assert host.pull().returncode == 0
    assert host.said() == "pi1 2"
    calls = (host.place / "calls").read_text()
    assert "StrictHostKeyChecking=yes" in calls
    assert "BatchMode=yes" in calls


def test_what_nobody_allowed_has_signed_does_not_run(host: Host) -> None:
    good = host.commit()
    assert host.pull().returncode == 0
    host.write(2)
    for key, says in (("", "is not signed by one of"), ("foreign", "is not signed by one of")):
        bad = host.commit(key=key)
        done = host.pull()
        assert (done.returncode, done.stdout) == (
            1,
            f"refused: commit {bad[:12]} {says} pull_allowed_signers\n",
        )
        assert host.said() == "pi1 1"
        assert (host.state / "checkout/.git/HEAD").read_text().strip() == good
        assert host.result()["result"] == "refused"
        host.git("reset", "-q", "--hard", good)
        host.write(2)
    # What follows an unsigned one and is signed says what all files are.
    host.commit(key="")
    host.commit()
    assert host.pull().returncode == 0
    assert host.said() == "pi1 2"


def test_an_older_or_another_history_does_not_run(host: Host) -> None:
    first = host.commit()
    host.write(2)
    second = host.commit()
    assert host.pull().returncode == 0
    assert host.said() == "pi1 2"
    host.git("reset", "-q", "--hard", first)
    done = host.pull()
    assert (done.returncode, host.said()) == (1, "pi1 2")
    assert done.stdout == (
        f"refused: commit {first[:12]} is older than {second[:12]}, which ran here, or not built"
        " on it\n"
    )
    host.write(3)
    host.commit("--amend")
    assert host.pull().stdout.startswith("refused: ")
    # Not even where all that was fetched is lost.
    shutil.rmtree(host.state / "checkout")
    assert host.pull().stdout.startswith("refused: ")
    assert host.said() == "pi1 2"


def test_a_hold_and_a_second_run(host: Host) -> None:
    host.commit()
    assert host.pull("hold", "rollout of me@desk").returncode == 0
    done = host.pull()
    assert (done.returncode, done.stdout) == (0, "held: rollout of me@desk\n")
    assert host.said() == ""
    assert not (host.place / "calls").exists()
    assert host.pull("release").returncode == 0
    with (host.state / "lock").open("a") as lock:
        pull.fcntl.flock(lock, pull.fcntl.LOCK_EX)
        done = host.pull()
        assert (done.returncode, done.stderr) == (
            1,
            "a pull is under way; try again when it has ended\n",
        )
    assert host.pull().returncode == 0


def test_a_run_that_hangs_ends_with_all_that_it_started(host: Host) -> None:
    host.write(1, HANGS)
    host.commit()
    host.configure(limit_minutes=0.06)
    done = host.pull()
    assert (done.returncode, done.stdout.split(", ")[1]) == (
        1,
        "0 changed: it took more than 0.06 minutes and was ended\n",
    )


def test_what_has_detached_itself_ends_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "GRACE", 0.2)
    process = subprocess.Popen(["sh", "-c", "setsid sleep 4711 & wait"])
    until = time.monotonic() + 60
    while "sleep" not in (names := [name_of(one) for one in pull.descendants(process.pid)]):
        assert time.monotonic() < until, names
        time.sleep(0.05)
    [detached] = pull.descendants(process.pid)
    assert not pull.wait(process, time.monotonic())
    assert name_of(detached) in ("", "sleep (dead)")


def name_of(process: int) -> str:
    """A process' name; one that nobody has asked about is dead."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return ""
    return status.split()[1] + (" (dead)" if "State:\tZ" in status else "")


def test_after_a_power_cut_the_run_is_done_again(host: Host) -> None:
    host.write(1, HANGS)
    first = host.commit()
    process = subprocess.Popen(
        ["/usr/bin/python3", "-IS", SCRIPT, "now"], env=host.environment(), start_new_session=True
    )
    until = time.monotonic() + 60
    while not host.said() and time.monotonic() < until:
        time.sleep(0.1)
    assert host.said() == "pi1 1"
    for one in (process.pid, *pull.descendants(process.pid)):
        os.kill(one, signal.SIGKILL)
    process.wait()
    (host.state / "checkout/.git/index.lock").touch()
    # The commit that was under way counts as run: none before it is taken any more.
    assert json.loads((host.state / "state.json").read_text())["accepted"] == first
    host.write(2)
    host.commit()
    assert host.pull().returncode == 0
    assert host.said() == "pi1 2"


def test_a_failure_is_reported_home_and_no_secret_is(host: Host) -> None:
    server = Server()
    (host.settings / "report_url").write_text(server.address)
    host.write(1, FAILS)
    (host.repository / "inventory/home/group_vars").mkdir()
    (host.repository / "inventory/home/group_vars/trading.yml").write_text(f"planted: {SECRET}\n")
    commit = host.commit()
    try:
        done = host.pull()
        assert done.returncode == 1
        assert "failed: " + commit[:12] + ", 0 changed: pi1: grid is 5; use at" in done.stdout
        assert (server.taken[0]["host"], server.taken[0]["result"]) == ("pi1", "failed")
        assert server.taken[0]["commit"] == commit
        host.configure(host="pi9")
        assert "inventory/home has no host pi9 in the group trading" in host.pull().stdout
    finally:
        server.close()
    host.configure(inventory="inventory/away")
    done = host.pull()
    assert "the commit has no inventory/away; see pull_inventory" in done.stdout
    assert "the report was not taken: " in done.stderr
    host.configure(repository=f"ssh://git@lan{host.place}/nowhere")
    missing = host.pull()
    assert missing.stdout.startswith("failed: fatal: '")
    written = "".join(
        path.read_text(errors="replace")
        for path in (*host.state.glob("*"), host.place / "lib/pull.json", host.place / "calls")
        if path.is_file()
    )
    assert SECRET not in written + done.stdout + done.stderr + missing.stdout + missing.stderr
    assert oct((host.state / "log").stat().st_mode)[-3:] == "600"


def test_what_ansible_makes_others_can_read_as_after_a_deployment(host: Host) -> None:
    host.write(1, MAKES)
    host.commit()
    assert host.pull().returncode == 0
    for made in (host.place / "made", host.state / "checkout/ansible.cfg"):
        assert oct(made.stat().st_mode)[-3:] == "644"


def test_a_server_that_refuses_a_token_does_not_take_it_from_the_host(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "SETTINGS", host.settings)
    monkeypatch.setattr(pull, "STATE", host.state)
    monkeypatch.setattr(pull, "CHECKOUT", host.place)
    (host.settings / "credentials").write_text(f"https://me:{SECRET}@git.lan\n")
    repository = pull.Repository({"repository": "https://git.lan/fleet", "branch": "main"})
    asked = "protocol=https\nhost=git.lan\n"
    for words, given in (("fill", asked), ("reject", asked), ("fill", asked)):
        done = subprocess.run(
            ["git", *repository._options, "credential", words],
            check=False, input=given, env=repository._environment, capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode, f"password={SECRET}" in done.stdout) == (0, words == "fill")


@pytest.mark.parametrize("damaged", ["objects/*/*", "HEAD", "index", "config"])
def test_a_checkout_that_is_damaged_is_fetched_anew(host: Host, damaged: str) -> None:
    first = host.commit()
    assert host.pull().returncode == 0
    for one in (host.state / "checkout/.git").glob(damaged):
        one.chmod(0o600)
        one.write_text("")
    host.write(2)
    second = host.commit()
    host.pull()
    assert host.pull().returncode == 0
    assert host.said() == "pi1 2"
    host.git("reset", "-q", "--hard", first)
    assert f"refused: commit {first[:12]} is older than {second[:12]}" in host.pull().stdout


def test_state_that_is_damaged_takes_no_older_commit(host: Host) -> None:
    host.commit()
    assert host.pull().returncode == 0
    for damage in (b"", b"\xff", b"[]"):
        (host.state / "state.json").write_bytes(damage)
        done = host.pull()
        assert (done.returncode, "state.json is damaged; see what runs" in done.stdout) == (1, True)


def test_a_full_disk_is_reported_home(host: Host) -> None:
    server = Server()
    (host.settings / "report_url").write_text(server.address)
    (host.place / "lib/pull.json.new").mkdir()  # nothing can be written there
    host.commit()
    try:
        done = host.pull()
    finally:
        server.close()
    assert done.returncode == 1
    assert "the result was not written: " in done.stderr
    assert server.taken[0]["result"] == "applied"


def test_an_address_that_cannot_be_used_stays_secret(host: Host) -> None:
    (host.settings / "report_url").write_text(f"https://me:{SECRET}@127.0.0.1/")
    host.commit()
    done = host.pull()
    assert (done.returncode, done.stderr) == (0, "the report was not taken: InvalidURL\n")


def test_bad_arguments_and_a_host_without_settings(host: Host) -> None:
    for words in (("now", "more"), ("hold",), ("nothing",)):
        done = host.pull(*words)
        assert (done.returncode, done.stderr) == (2, "use now, hold WHY or release\n")
    (host.settings / "settings.json").unlink()
    done = host.pull()
    assert done.returncode == 1
    assert done.stderr == f"{host.settings}/settings.json: No such file or directory\n"


def test_status_shows_what_keeps_a_host_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pi_status, "PULL", str(host.place / "lib/pull.json"))
    assert pi_status.last_pull() is None
    host.commit(key="")
    host.pull()
    found = pi_status.last_pull()
    assert found is not None
    assert found["result"] == "refused"
    table = status_table([{"host": "pi1", "pull": found}])
    assert table.endswith("pull refused: " + host.result()["error"])
    assert "pull" not in status_table([{"host": "pi1", "pull": found | {"result": "applied"}}])


GOOD = {
    "pull_repository": "git@example.org:fleet.git",
    "pull_deploy_key": "key",
    "pull_known_hosts": "example.org ssh-ed25519 AAAA",
    "pull_allowed_signers": "me@example.org ssh-ed25519 AAAA",
}
WRONG = {
    "plain": (
        {"pull_repository": "http://me:planted@example.org/fleet"},
        "plain: pull_repository is http://...@example.org/fleet; use ssh://USER@HOST/PATH",
    ),
    "local": ({"pull_repository": "ext::sh"}, "local: pull_repository is ext::sh; use ssh://"),
    "keyless": ({"pull_deploy_key": ""}, "keyless: pull_repository is reached by SSH, which also"),
    "token": ({"pull_credentials": "planted"}, "token: pull_credentials is not allowed; use https"),
    "signer": ({"pull_allowed_signers": "me"}, "signer: pull_allowed_signers has no signer; use a"),
    "branch": ({"pull_branch": "--x"}, "branch: pull_branch is --x; use the name of a branch"),
    "path": ({"pull_inventory": "../x"}, "path: pull_inventory is ../x; use a path from the root"),
    "when": ({"pull_schedule": "often"}, "when: pull_schedule is often; use hourly, daily or a"),
    "short": ({"pull_limit_minutes": 1}, "short: pull_spread_minutes is 45, pull_again_hours 24"),
    "home": ({"pull_report_url": "planted"}, "home: pull_report_url is not allowed; use one addr"),
    "type": ({"pull_again_hours": "x"}, "type: pull_again_hours"),
    "name": ({"pull_repositry": "x"}, "name: pull_repositry"),
}


def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    play = [
        {
            "hosts": hosts,
            "gather_facts": False,
            "tasks": [{"ansible.builtin.import_role": {"name": role, "tasks_from": tasks}}],
        }
        for hosts, role, tasks in (
            ("trading:!type:!name", "pull", "check.yml"),
            ("type,name", "preflight", "settings.yml"),
        )
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    hosts = {name: GOOD | settings for name, (settings, _) in WRONG.items()}
    hosts |= {"good": GOOD, "off": {"pull_branch": "--x"}}
    hosts["https"] = {
        "pull_repository": "https://example.org/fleet.git",
        "pull_credentials": "https://me:planted@example.org",
        "pull_allowed_signers": "# who\nme@example.org ssh-ed25519 AAAA",
        "pull_schedule": "Mon..Fri *-*-* 03:30",
    }
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"trading": {"hosts": hosts}}))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", inventory, tmp_path / "play.yml"],
        check=False, cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true"},
    )  # fmt: skip
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    for _, line in WRONG.values():
        assert line in said, (line, done.stdout)
    assert "planted" not in done.stdout.replace("planted-", "")
    for name in ("good", "off", "https"):
        assert f"fatal: [{name}]" not in done.stdout
