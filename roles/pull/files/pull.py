#!/usr/bin/python3 -IS
"""Follows the operator's repository: fetches it, checks who signed it, runs site.yml on this host.

    gridberry-pull now          fetches, checks, and runs where there is something to do
    gridberry-pull hold WHY     nothing runs from now on; waits for a run that is under way
    gridberry-pull release      runs are allowed again

It does what ansible-pull does in another order: nothing is checked out, and nothing of it runs,
before the signature is known to be good and the commit to be no older one. Secrets are in files
that only root can read, and in no argument.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

SETTINGS = Path(os.environ.get("PULL_SETTINGS", "/etc/gridberry/pull"))
STATE = Path(os.environ.get("PULL_STATE", "/var/lib/gridberry/pull"))
CHECKOUT, LOG, KNOWN = STATE / "checkout", STATE / "log", STATE / "state.json"
RESULT, HOLD = STATE.with_name("pull.json"), STATE.with_name("pull_hold")
METRICS = STATE.with_name("metrics") / "pull.prom"
PULLED = "refs/gridberry/pulled"
LOCK_FILE = "roles/pull/files/requirements.lock"
# Of the package `ansible` the collections that are used, as in requirements.yml.
COLLECTIONS = ("ansible/posix", "community/docker", "community/library_inventory_filtering_v1")
APPLIED, UNCHANGED, HELD, REFUSED, FAILED = "applied", "unchanged", "held", "refused", "failed"
FETCH_SECONDS, REPORT_SECONDS, HOLD_SECONDS = 600, 20, 60
GRACE = float(os.environ.get("PULL_GRACE", "10"))  # seconds to end by itself
STRANGER = "Host key verification failed"  # ssh's last line, below a frame
NOISE = re.compile(r"(?i)\s*$|warning|hint")
RECAP = re.compile(r"(?m)^(\S+) +: ok=\d+ +changed=(\d+) ")
SAID = re.compile(r"(?m)^\[ERROR\]: (?:Task failed: )?(?:(?:Action|Module) failed: )?(.*)$")

Found = dict[str, str | int | float]


class PullError(Exception):
    """What went wrong, in one line for a person."""


class RefusedError(PullError):
    """Why this commit does not run."""


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a whole file, on the disk before it has its name."""
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read(path: Path) -> str:
    """Return a file's text without white space around it; empty where it is not there."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def state() -> Found:
    """Return which commit was accepted last, which was applied, and when (Unix seconds)."""
    try:
        # Empty is damaged, too: it would let an older commit in.
        return dict(json.loads(KNOWN.read_text(encoding="utf-8")).items())
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise PullError(f"{KNOWN} is damaged; see what runs here, then remove it") from error


def run(*command: str, seconds: float, env: dict[str, str] | None = None) -> str:
    """Run a program and return what it prints.

    Raises:
        PullError: It failed, or took too long.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, env=env,
            timeout=seconds, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise PullError(f"{name} took more than {seconds:.0f} s") from error
    except FileNotFoundError as error:
        raise PullError(f"{name} is not installed") from error
    if done.returncode:
        if STRANGER in done.stderr:
            raise PullError("the server's host key is not the one in pull_known_hosts")
        said = [one.strip() for one in done.stderr.splitlines() if not NOISE.match(one)]
        raise PullError((said or [f"{name} ended with status {done.returncode}"])[0])
    return done.stdout.strip()


class Repository:
    """The operator's repository, of which nothing is trusted before `check` says so.

    Args:
        settings: What the role wrote.
    """

    def __init__(self, settings: dict[str, str]) -> None:
        self.url, self.branch = settings["repository"], settings["branch"]
        ssh = (
            f"ssh -F none -i '{SETTINGS}/deploy_key' -o IdentitiesOnly=yes -o BatchMode=yes"
            f" -o StrictHostKeyChecking=yes -o UserKnownHostsFile='{SETTINGS}/known_hosts'"
            " -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
        )
        # It only reads: git would have it forget what a server refuses once.
        store = f"git credential-store --file='{SETTINGS}/credentials' get"
        helper = f'!f() {{ test "$1" != get || {store}; }}; f'
        # Nobody's settings but these: no hooks, no other programs, no replaced commits.
        self._environment = {
            "PATH": os.environ["PATH"], "HOME": os.fspath(STATE), "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": ssh, "GIT_ALLOW_PROTOCOL": "ssh:https",
            "GIT_NO_REPLACE_OBJECTS": "1",
        }  # fmt: skip
        self._options = [
            word
            for one in (
                "core.hooksPath=/dev/null", "fetch.fsckObjects=true", "gc.autoDetach=false",
                "core.fsync=all",
                f"credential.helper={helper}",
                # Signatures by SSH keys alone.
                f"gpg.ssh.allowedSignersFile={SETTINGS}/allowed_signers",
                "gpg.minTrustLevel=fully", "gpg.program=/bin/false", "gpg.x509.program=/bin/false",
            )
            for word in ("-c", one)
        ]  # fmt: skip

    def git(self, *words: str, seconds: float = 120) -> str:
        """Run git in the checkout."""
        command = ("git", *self._options, "-C", os.fspath(CHECKOUT), *words)
        return run(*command, seconds=seconds, env=self._environment)

    def fetch(self) -> str:
        """Fetch the branch and return its commit; the checkout stays as it is."""
        CHECKOUT.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (CHECKOUT / ".git/HEAD").exists():
            self.git("init", "--quiet")
        # Of a run that a power cut ended: only one is at work.
        for lock in (CHECKOUT / ".git").rglob("*.lock"):
            lock.unlink()
        wanted = f"+refs/heads/{self.branch}:{PULLED}"
        words = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head")
        self.git("fetch", *words, "--end-of-options", self.url, wanted, seconds=FETCH_SECONDS)
        return self.git("rev-parse", "--verify", f"{PULLED}^{{commit}}")

    def check(self, commit: str, accepted: str) -> None:
        """Check who signed a commit, and that it follows the last one that ran here.

        Raises:
            RefusedError: It is not signed by an allowed signer, or is not built on that one.
        """
        try:
            self.git("verify-commit", commit)
        except PullError as error:
            raise RefusedError(
                f"commit {commit[:12]} is not signed by one of pull_allowed_signers"
            ) from error
        if not accepted or commit == accepted:
            return
        try:
            self.git("merge-base", "--is-ancestor", accepted, commit)
        except PullError as error:
            raise RefusedError(
                f"commit {commit[:12]} is older than {accepted[:12]}, which ran here, or not built"
                " on it"
            ) from error

    def mend(self) -> None:
        """Remove a checkout that a power cut or the drive damaged: the next pull fetches all."""
        try:
            self.git("fsck", "--no-dangling", "--no-progress", seconds=FETCH_SECONDS)
        except PullError:
            shutil.rmtree(CHECKOUT)

    def check_out(self, commit: str) -> None:
        """Have the commit's files, and nothing else, in the checkout."""
        self.git("checkout", "--quiet", "--force", "--detach", commit)
        self.git("clean", "-ffdxq")


def left(until: float) -> float:
    """Return how many seconds are left, at least one."""
    return max(1.0, until - time.monotonic())


def environment_of(checkout: Path, until: float) -> Path:
    """Return the Python of Ansible in the versions that the commit's lock file has.

    Args:
        checkout: Of the commit.
        until: When to give up (seconds of the monotonic clock).
    """
    lock = checkout / LOCK_FILE
    if not lock.is_file():
        raise PullError(f"the commit has no {LOCK_FILE}; follow a Gridberry that has the role pull")
    content = lock.read_bytes() + f"{sys.version_info[:2]}".encode()
    place = STATE / f"venv-{hashlib.sha256(content).hexdigest()[:16]}"
    python = place / "bin/python"
    if not (place / "whole").exists():
        own = {"PATH": os.environ["PATH"], "HOME": os.fspath(STATE), "TMPDIR": os.fspath(STATE)}
        pip = [os.fspath(python), "-m", "pip", "--quiet", "--no-cache-dir"]
        pip += ["--disable-pip-version-check"]
        run("/usr/bin/python3", "-m", "venv", "--clear", os.fspath(place), seconds=left(until))
        wheels = place / "wheels"
        words = ("--require-hashes", "--no-deps", "--only-binary=:all:", "--requirement")
        run(
            *pip, "download", *words, f"{lock}", "--dest", f"{wheels}", seconds=left(until), env=own
        )
        [site] = place.glob("lib/python*/site-packages")
        for wheel in wheels.glob("ansible-[0-9]*.whl"):
            unpack(wheel, site)
            wheel.unlink()
        rest = [os.fspath(path) for path in wheels.glob("*.whl")]
        run(*pip, "install", "--no-index", "--no-deps", *rest, seconds=left(until), env=own)
        shutil.rmtree(wheels)
        os.sync()  # a power cut must not leave the mark alone
        (place / "whole").touch()
    for old in STATE.glob("venv-*"):
        if old != place:
            shutil.rmtree(old)
    return python


def unpack(wheel: Path, site: Path) -> None:
    """Take the collections that are used out of the package that has a hundred."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(tuple(f"ansible_collections/{one}/" for one in COLLECTIONS)):
                archive.extract(name, site)


def play(settings: dict[str, str], python: Path, until: float) -> int:
    """Run site.yml on this host alone; returns how many tasks changed something.

    Raises:
        PullError: It failed, or took too long; says why.
    """
    host, inventory = settings["host"], CHECKOUT / settings["inventory"]
    if not inventory.exists():
        raise PullError(f"the commit has no {settings['inventory']}; see pull_inventory")
    # This host, all of its bots where it has several, and what runs on the controller, which it is.
    limit = f"{host},on_{re.sub('[^A-Za-z0-9_]', '_', host)},localhost"
    own = {"ansible_connection": "local", "boot_config_reboot": False}
    command = [
        *(os.fspath(python), "-m", "ansible", "playbook", "-i", os.fspath(inventory)),
        *("playbooks/site.yml", "--limit", limit, "--skip-tags", "monitoring"),
        *("-e", json.dumps(own), "--connection", "local"),
    ]
    if read(SETTINGS / "vault_password"):
        command += ["--vault-password-file", os.fspath(SETTINGS / "vault_password")]
    environment = {
        "PATH": f"{python.parent}:{os.environ['PATH']}", "HOME": os.fspath(STATE),
        "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "true", "COLUMNS": "1000",
        "ANSIBLE_CONFIG": os.fspath(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_HOST_PATTERN_MISMATCH": "ignore",
        "GRIDBERRY_STATE": os.fspath(STATE / "answers"),
        "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT}/bot/src", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    with LOG.open("wb") as log:
        os.fchmod(log.fileno(), 0o600)
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, start_new_session=True,
        )  # fmt: skip
        ended = wait(process, until)
    text = LOG.read_text(encoding="utf-8", errors="replace")
    if not ended:
        raise PullError(f"it took more than {settings['limit_minutes']} minutes and was ended")
    changed = {name: int(count) for name, count in RECAP.findall(text)}
    said = SAID.findall(text) or [f"site.yml ended with status {process.returncode}"]
    if "no hosts to target" in said[0] or (not process.returncode and host not in changed):
        raise PullError(f"{settings['inventory']} has no host {host} in the group trading")
    if process.returncode:
        raise PullError(f"{said[0][:300]}; the log: {LOG}")
    return sum(changed.values())


def descendants(process: int) -> list[int]:
    """Return the processes that one has started, and those that they have; Ansible's detach."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8")
        for child in map(int, text.split()):
            found += [child, *descendants(child)]
    return found


def wait(process: subprocess.Popen[bytes], until: float) -> bool:
    """Wait until a program ended, or end it with all that it started; whether it ended itself."""
    try:
        process.wait(left(until))
    except subprocess.TimeoutExpired:
        started = [process.pid, *descendants(process.pid)]
        for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, 0.0)):
            for one in started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, number)
            time.sleep(seconds)
        process.wait()
        return False
    return True


def due(known: Found, commit: str, hours: float) -> bool:
    """Tell whether a run is due: a new commit, one that did not end well, or the time is over."""
    age = time.time() - int(known.get("applied_at", 0))
    return known.get("applied") != commit or not 0 <= age < hours * 3600


def pull(settings: dict[str, str]) -> Found:
    """Fetch, check, and run; returns what came of it."""
    until = time.monotonic() + 60 * float(settings["limit_minutes"])
    if HOLD.exists():
        return {"result": HELD, "error": read(HOLD)}
    known = state()
    repository = Repository(settings)
    try:
        commit = repository.fetch()
        repository.check(commit, str(known.get("accepted", "")))
    except PullError:
        repository.mend()
        raise
    found: Found = {"result": UNCHANGED, "commit": commit, "changed": 0}
    found["committed"] = int(repository.git("log", "-1", "--format=%ct", commit))
    found["signer"] = repository.git("log", "-1", "--format=%GS", commit)
    if not due(known, commit, float(settings["again_hours"])):
        return found
    # Before anything of it runs: no power cut brings an older one back.
    write(KNOWN, json.dumps(known | {"accepted": commit, "applied": ""}))
    try:
        repository.check_out(commit)
    except PullError as error:
        repository.mend()
        return found | {"result": FAILED, "error": str(error)}
    try:
        python = environment_of(CHECKOUT, until)
        found |= {"result": APPLIED, "changed": play(settings, python, until)}
    except PullError as error:
        return found | {"result": FAILED, "error": str(error)}
    applied = {"accepted": commit, "applied": commit, "applied_at": int(time.time())}
    write(KNOWN, json.dumps(applied))
    return found


def attempt(settings: dict[str, str]) -> Found:
    """Do all of it; whatever goes wrong is part of the result."""
    begun = time.monotonic()
    try:
        found = pull(settings)
    except RefusedError as error:
        found = {"result": REFUSED, "error": str(error)}
    except (PullError, OSError) as error:
        found = {"result": FAILED, "error": str(error)}
    return found | {"seconds": round(time.monotonic() - begun, 1)}


def report(settings: dict[str, str], found: Found) -> None:
    """Write the result down, for node exporter as well, and send it home."""
    before: Found = {}
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(RESULT.read_text(encoding="utf-8"))
    at = int(time.time())
    well = found["result"] in (APPLIED, UNCHANGED)
    last = at if well else int(before.get("last_good") or 0)
    document: Found = {"host": settings["host"], "time": at, "last_good": last}
    document |= found
    send(document)
    write(RESULT, json.dumps(document) + "\n", 0o644)
    if METRICS.parent.is_dir():
        write(METRICS, metrics(document), 0o644)


def send(document: Found) -> None:
    """Send the result home, where an address says where that is."""
    address = read(SETTINGS / "report_url")
    if not address:
        return
    request = urllib.request.Request(  # noqa: S310 - the role takes https:// and http:// alone
        address, json.dumps(document).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=REPORT_SECONDS):  # noqa: S310
            pass
    except (OSError, ValueError, http.client.HTTPException) as error:
        # The address may have a token in it; all but OSError may say a part of it.
        why = str(error) if isinstance(error, OSError) else type(error).__name__
        print(f"the report was not taken: {why.replace(address, '...')}", file=sys.stderr)


def metrics(found: Found) -> str:
    """Return the result in Prometheus' text format."""
    commit = str(found.get("commit", ""))[:12]
    lines = [f'gridberry_pull_info{{result="{found["result"]}",commit="{commit}"}} 1']
    values: Found = {"ok": int(found["result"] in (APPLIED, UNCHANGED))}
    values |= {"last_success_timestamp_seconds": found["last_good"], "seconds": found["seconds"]}
    values |= {"timestamp_seconds": found["time"], "changed": found.get("changed", 0)}
    lines += [f"gridberry_pull_{name} {value}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def locked(seconds: float = 0) -> Iterator[None]:
    """Hold the lock that a run holds.

    Args:
        seconds: How long to wait for it.

    Raises:
        PullError: A run is under way.
    """
    until = time.monotonic() + seconds
    with (STATE / "lock").open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    raise PullError("a pull is under way; try again when it has ended") from error
                time.sleep(0.2)
        yield


def now() -> int:
    """Pull once; returns the exit status."""
    try:
        settings = json.loads((SETTINGS / "settings.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise PullError(f"{error.filename}: {error.strerror}") from error
    with locked():
        found = attempt(settings)
        try:
            report(settings, found)
        except OSError as error:
            raise PullError(f"the result was not written: {error}") from error
    words = [str(found[key]) for key in ("result", "error") if key in found]
    if "commit" in found:
        words.insert(1, f"{str(found['commit'])[:12]}, {found['changed']} changed")
    print(": ".join(words), flush=True)
    return int(found["result"] in (REFUSED, FAILED))


def main(words: list[str]) -> int:
    """Do what the arguments say; returns the exit status."""
    if (words[:1], len(words)) not in ((["now"], 1), (["hold"], 2), (["release"], 1)):
        sys.stderr.write("use now, hold WHY or release\n")
        return 2
    os.umask(0o022)  # what Ansible makes is as it were over SSH
    try:
        STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
        if words[0] == "now":
            return now()
        if words[0] == "hold":
            with locked(HOLD_SECONDS):
                write(HOLD, " ".join(words[1].split()) + "\n", 0o644)
        else:
            HOLD.unlink(missing_ok=True)
    except (PullError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
