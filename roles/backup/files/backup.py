#!/usr/bin/python3 -IS
"""Backs up this host's bot with restic, and puts a backup back.

    gridberry-backup init                     makes the repository where there is none
    gridberry-backup now                      copies the books, writes, thins out and checks
    gridberry-backup show SNAPSHOT HOST       says what a restore would bring back
    gridberry-backup restore SNAPSHOT HOST [NOTE]   puts it back, and starts the bot
                                              (NOTE: why the other host's bot does not trade)

Books are copied by a container of the bot's own image: it knows them, and runs though the bot does
not. Secrets are in files that only root can read, and in no argument.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

# Each bot of a host has a program of its own name.
NAME = Path(__file__).stem
SETTINGS = Path(os.environ.get("BACKUP_SETTINGS", f"/etc/gridberry/{NAME}"))
STATE = Path(os.environ.get("BACKUP_STATE", f"/var/lib/gridberry/{NAME}"))
STAGING, RESTORED = STATE / "staging", STATE / "restored"
RESULT = STATE.with_name(f"{STATE.name}.json")
# One at a time of all bots of the host: what else is locked, a power cut left.
LOCK = STATE.with_name("backup.lock")
# What is kept before a restore is none of the night's: it must not replace the day's good one.
TAG, SAFETY = "gridberry", "before-restore"
KEPT_SAFETY = 5
USER = int(os.environ.get("BACKUP_USER", "10001"))  # inside the containers
INSIDE = "/backup"
# The mark of a bot that was moved away (roles/grid_bot/files/fence.sh), and who had the books when.
FENCED, OWNERS = "fenced", "owners.jsonl"
BOT, EXCHANGE = "bot", "exchange"
# The exchange after the bot: what it has beyond the bot's books, the bot takes over.
BOOKS = {
    BOT: ("/var/lib/gridbot", "gridbot.sqlite3"),
    EXCHANGE: ("/var/lib/gridbot-exchange", "exchange.sqlite3"),
}
PARTS_OF_DATA = 7  # each night's check reads another one


class BackupError(Exception):
    """What went wrong, in one line for a person."""


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it prints.

    Raises:
        BackupError: It failed; its last line says why.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, env=env
        )
    except FileNotFoundError as error:
        raise BackupError(f"{command[0]} is not installed") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = next((line for line in lines if line.startswith("Fatal: ")), (lines or [""])[-1])
        reason = reason.removeprefix("Fatal: ") or f"status {done.returncode}"
        raise BackupError(f"{Path(command[0]).name} {command[1]}: {reason}")
    return done.stdout


class Repository:
    """The restic repository that the settings name."""

    def __init__(self) -> None:
        try:
            self.settings = json.loads((SETTINGS / "settings.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise BackupError(f"{error.filename}: {error.strerror}") from error
        self.host: str = self.settings["host"]
        self.project: str = self.settings["project"]
        self.configuration = Path(self.settings["configuration"])
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.fspath(STATE),
            "RESTIC_CACHE_DIR": os.fspath(STATE / "cache"),
            "RESTIC_PASSWORD_FILE": os.fspath(SETTINGS / "password"),
            "RESTIC_REPOSITORY_FILE": os.fspath(SETTINGS / "repository"),
            **self.settings["environment"],
        }

    def restic(self, *words: str | Path) -> str:
        """Run restic; an error never shows what is secret."""
        options = [word for one in self.settings["options"] for word in ("-o", one)]
        try:
            return run("restic", words[0], "--quiet", *options, *words[1:], env=self._environment)
        except BackupError as error:
            said = str(error)
            where = (SETTINGS / "repository").read_text(encoding="utf-8").strip()
            for secret in (where, *self.settings["environment"].values()):
                said = said.replace(secret, "...") if secret else said
            raise BackupError(said) from None

    def init(self) -> None:
        """Make the repository where there is none."""
        try:
            self.restic("cat", "config")
        except BackupError as error:
            if "wrong password" in str(error):
                raise BackupError(
                    "backup_password is not the repository's; use the one it was made with"
                ) from None
            self.restic("init")
        (STATE / "made").touch()

    def unlock(self) -> None:
        """Remove the locks that a power cut left; those of other hosts stay.

        Only one backup runs on a host at a time, so its locks are of one that ended. restic does
        not think so where another process has its number by now.
        """
        locked: set[str] = set()
        with contextlib.suppress(BackupError):  # another host's may go meanwhile
            for one in self.restic("list", "--no-lock", "locks").split():
                locked.add(json.loads(self.restic("cat", "--no-lock", "lock", one))["hostname"])
        self.restic("unlock", *(["--remove-all"] if locked == {os.uname().nodename} else []))

    def write(self, tag: str) -> dict[str, object]:
        """Write the staged files; returns the snapshot's ID and sizes in bytes."""
        self.unlock()
        said = self.restic("backup", "--json", "--host", self.host, "--tag", tag, STAGING)
        summary = json.loads(said.splitlines()[-1])
        return {
            "snapshot": summary["snapshot_id"][:8],
            "bytes": summary["total_bytes_processed"],
            "bytes_added": summary["data_added"],
        }

    def thin_out(self) -> None:
        """Remove snapshots that are not kept, where this host may."""
        if self.settings["append_only"]:
            return
        keep = [f"--keep-{one}={self.settings[f'keep_{one}']}" for one in ("daily", "weekly")]
        forget = ("forget", "--host", self.host, "--tag")
        self.restic(*forget, SAFETY, f"--keep-last={KEPT_SAFETY}")
        self.restic(*forget, TAG, *keep, "--prune")

    def check(self) -> None:
        """Check the repository's structure, and read its data; what is far away, all in a week."""
        part = int(time.time() // 86400) % PARTS_OF_DATA + 1
        where = (SETTINGS / "repository").read_text(encoding="utf-8")
        near = where.startswith("/")
        self.restic(
            "check", "--read-data" if near else f"--read-data-subset={part}/{PARTS_OF_DATA}"
        )

    def snapshot(self, wanted: str, host: str) -> dict[str, str]:
        """Return a host's snapshot by its ID, or its latest."""
        tags = (TAG,) if wanted == "latest" else (TAG, SAFETY)
        words = [word for tag in tags for word in ("--tag", tag)]
        said = self.restic("snapshots", "--json", "--host", host, *words)
        found = sorted(json.loads(said) or [], key=lambda one: one["time"])
        if wanted != "latest":
            found = [one for one in found if one["id"].startswith(wanted)]
        if not found:
            which = "" if wanted == "latest" else f" {wanted}"
            raise BackupError(f"the repository has no snapshot{which} of {host}")
        return {"id": found[-1]["id"], "time": found[-1]["time"][:19], "host": host}

    def fetch(self, snapshot: str) -> Path:
        """Bring a snapshot's files back; returns their directory."""
        shutil.rmtree(RESTORED, ignore_errors=True)
        self.restic("restore", snapshot, "--target", RESTORED)
        found = RESTORED / STAGING.relative_to("/")
        found = found if found.is_dir() else next(RESTORED.rglob("about.json")).parent
        for path in (found, *found.iterdir()):
            os.chown(path, USER, USER)
        return found


class Container:
    """One of the bot's containers; `there` is false where the host has none of its name.

    Args:
        service: What compose calls it.
        project: Compose's name for all of the bot's.
    """

    def __init__(self, service: str, project: str) -> None:
        self.service, (self.directory, self.file) = service, BOOKS[service]
        self.name = name = f"{project}-{service}"
        try:
            said = json.loads(run("docker", "inspect", name))[0]
        except BackupError as error:
            if "no such" not in str(error).lower():
                raise  # Docker does not answer
            self.there = False
            return
        mounts = [one for one in said["Mounts"] if one["Destination"] == self.directory]
        self.there = bool(mounts)
        if mounts:
            self.image, self.running = said["Image"], said["State"]["Running"]
            self.volume, self.path = mounts[0]["Name"], Path(mounts[0]["Source"])
            self.books = self.volume.removeprefix(f"{project}-")

    def in_image(self, files: Path, *words: str, more: tuple[str, ...] = ()) -> str:
        """Run a command in a container of its image that sees its books and a directory."""
        return run(
            *("docker", "run", "--rm", "--pull=never", "--network=none", "--read-only"),
            *("--cap-drop=ALL", "--security-opt=no-new-privileges", f"--user={USER}:{USER}"),
            *(f"--volume={self.volume}:{self.directory}", f"--volume={files}:{INSIDE}", *more),
            *(self.image, *words),
        )

    def copy(self, files: Path) -> None:
        """Copy the books as of one moment."""
        there, copy = f"{self.directory}/{self.file}", f"{INSIDE}/{self.file}"
        if self.service == BOT:
            self.in_image(files, "backup", "--state", self.directory, copy)
        else:
            words = ("-m", "gridbase.sqlite_copy", there, copy)
            self.in_image(files, *words, more=("--entrypoint=python3",))

    def put_back(self, files: Path) -> str:
        """Put a copy in place of the books; the container is stopped."""
        there, copy = f"{self.directory}/{self.file}", f"{INSIDE}/{self.file}"
        if self.service == BOT:
            return self.in_image(files, "restore", "--state", self.directory, copy)
        for companion in ("-wal", "-shm"):
            (self.path / (self.file + companion)).unlink(missing_ok=True)
        words = ("-m", "gridbase.sqlite_copy", copy, there)
        return self.in_image(files, *words, more=("--entrypoint=python3",))


def containers(repository: Repository) -> list[Container]:
    """Return the bot's containers, the bot first.

    Raises:
        BackupError: There is no bot.
    """
    project = repository.project
    found = [one for one in (Container(service, project) for service in BOOKS) if one.there]
    if not found or found[0].service != BOT:
        raise BackupError(f"there is no container {project}-bot on this host; deploy the bot first")
    return found


def stage(repository: Repository, bots: list[Container]) -> None:
    """Put together what is backed up; secrets are not part of it."""
    shutil.rmtree(STAGING, ignore_errors=True)
    STAGING.mkdir(mode=0o700, parents=True)
    os.chown(STAGING, USER, USER)
    for one in bots:
        one.copy(STAGING)
    left_out = shutil.ignore_patterns("secrets", "candles-*")
    shutil.copytree(repository.configuration, STAGING / "configuration", ignore=left_out)
    if (bots[0].path / OWNERS).exists():
        shutil.copy(bots[0].path / OWNERS, STAGING)
    if (bots[0].path / "archive").is_dir():
        shutil.copytree(bots[0].path / "archive", STAGING / "archive")
    about = {"host": repository.host, "books": {one.service: one.books for one in bots}}
    (STAGING / "about.json").write_text(json.dumps(about), encoding="utf-8")


def back_up(repository: Repository, tag: str = TAG) -> dict[str, object]:
    """Copy, write and check, and of the night's thin out; returns what is to be known of it."""
    begun = time.monotonic()
    try:
        stage(repository, containers(repository))
        result = repository.write(tag)
    finally:
        shutil.rmtree(STAGING, ignore_errors=True)
    if tag == TAG:
        repository.thin_out()
    repository.check()
    return result | {"seconds": round(time.monotonic() - begun, 1)}


def note(result: dict[str, object]) -> None:
    """Write the result down, with the time (Unix seconds) of this one and of the last good one."""
    before: dict[str, object] = {}
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(RESULT.read_text(encoding="utf-8"))
    at = int(time.time())
    good = at if result["ok"] else before.get("last_good")
    new = RESULT.with_suffix(".new")
    new.write_text(json.dumps({"time": at, "last_good": good} | result) + "\n", encoding="utf-8")
    new.replace(RESULT)


def now(repository: Repository) -> None:
    """Back up, and write the result down."""
    try:
        result = back_up(repository)
    except BackupError as error:
        note({"ok": False, "error": str(error)})
        raise
    note({"ok": True} | result)
    say(f"snapshot {result['snapshot']}: {result['bytes']} bytes, checked")


def fitting(repository: Repository, wanted: str, host: str) -> tuple[Path, list[Container]]:
    """Fetch a snapshot, and refuse one that this host's bot would not go on with."""
    fence = repository.configuration / FENCED
    if fence.exists() and host == repository.host:
        why = fence.read_text(encoding="utf-8").strip()
        raise BackupError(
            f"the bot here is fenced ({why}); restore from the host that has its books"
        )
    found = repository.snapshot(wanted, host)
    files, bots = repository.fetch(found["id"]), containers(repository)
    say(f"snapshot {found['id'][:8]} of {host}, {found['time']} UTC")
    here = {one.service: one.books for one in bots}
    about = json.loads((files / "about.json").read_text(encoding="utf-8"))
    said = about.get("books") or {  # before a host had several bots
        name.removeprefix("gridberry-"): volume.removeprefix("gridberry-")
        for name, volume in about["volumes"].items()
    }
    if said != here:
        raise BackupError(
            f"the backup is of {', '.join(said.values())}, and the bot here keeps "
            f"{', '.join(here.values())}; deploy it with the backup's mode and exchange first"
        )
    toml = f"--volume={repository.configuration}/bot.toml:/etc/gridbot/bot.toml:ro"
    words = ("check", "--offline", "--config", "/etc/gridbot/bot.toml", "--state", INSIDE)
    bots[0].in_image(files, *words, more=(toml,))
    return files, bots


def show(repository: Repository, wanted: str, host: str) -> None:
    """Say what a restore would bring back; the bot goes on."""
    fitting(repository, wanted, host)
    shutil.rmtree(RESTORED, ignore_errors=True)


def own(repository: Repository, bot: Container, host: str, note: str) -> None:
    """Note from whom the books come, and let this host's bot trade with them."""
    taken = {"at": int(time.time()), "from": host, "to": repository.host, "note": note}
    with (bot.path / OWNERS).open("a", encoding="utf-8") as owners:
        owners.write(json.dumps(taken) + "\n")
    for place in (bot.path, repository.configuration):
        (place / FENCED).unlink(missing_ok=True)


def restore(repository: Repository, wanted: str, host: str, note: str = "") -> None:
    """Put a snapshot back: a safety backup first, and the bot is stopped meanwhile."""
    files, bots = fitting(repository, wanted, host)
    try:
        say(f"what is there: snapshot {back_up(repository, SAFETY)['snapshot']}")
    except BackupError as error:  # damaged books, or none: what is there is kept beside them
        say(f"no safety backup in the repository: {error}")
    run("docker", "stop", *(one.name for one in bots))
    try:
        for one in bots:
            said = one.put_back(files).strip()
            if said:
                say(said)
        if note:
            own(repository, bots[0], host, note)
            say(f"the books are this host's now: {note}")
    finally:
        # The exchange first: the bot asks it.
        for one in reversed(bots):
            run("docker", "start", one.name)
        shutil.rmtree(RESTORED, ignore_errors=True)


def main(words: list[str]) -> int:
    """Do what the arguments say; returns the exit status."""
    verbs = {"init": Repository.init, "now": now, "show": show, "restore": restore}
    counts = {"show": (3,), "restore": (3, 4)}
    if not words or words[0] not in verbs or len(words) not in counts.get(words[0], (1,)):
        sys.stderr.write("use init, now, show SNAPSHOT HOST or restore SNAPSHOT HOST [NOTE]\n")
        return 2
    os.umask(0o077)
    try:
        STATE.mkdir(parents=True, exist_ok=True)
        with LOCK.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            verbs[words[0]](Repository(), *words[1:])
    except BackupError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
