"""The cluster 17/main of this host: where it is, what it says, how it is started and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLACE = Path("/etc/gridberry/database")
STATE = Path("/var/lib/gridberry")
# On a host whose cluster must not be a primary: the name of the one that is.
FENCE = STATE / "database-fenced"
BIN = Path("/usr/lib/postgresql/17/bin")
CONF = Path("/etc/postgresql/17/main")
UNIT = "postgresql@17-main.service"
DATABASE = "gridberry"
REPLICATION = "gridberry_replication"
SOCKET = "/run/postgresql"
CONNECT_SECONDS = 3


class DatabaseError(Exception):
    """What went wrong, in one line for a person."""


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def run(*command: str | Path, text: str = "", env: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it prints.

    Args:
        command: Program and arguments; no secret is among them.
        text: Its standard input.
        env: More environment.

    Raises:
        DatabaseError: It failed; its last line says why.
    """
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=os.environ | {"LC_ALL": "C.UTF-8"} | dict(env or {}),
            cwd="/",
        )
    except FileNotFoundError as error:
        raise DatabaseError(f"{command[0]} is not installed") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        wrong = [line for line in lines if "error:" in line.lower() or "fatal:" in line.lower()]
        reason = (wrong or lines or done.stdout.strip().splitlines() or [""])[-1]
        raise DatabaseError(reason or f"{command[0]} ended with status {done.returncode}")
    return done.stdout


def as_postgres(*command: str | Path, text: str = "", env: Mapping[str, str] | None = None) -> str:
    """Run a command as the user postgres."""
    return run("runuser", "-u", "postgres", "--", *command, text=text, env=env)


def whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file at once: after a power cut it is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync(path.parent)


def sync(directory: Path) -> None:
    """Flush a directory: names in it outlive a power cut."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Cluster:
    """The cluster, with what the role has set."""

    def __init__(self) -> None:
        try:
            said = json.loads((PLACE / "settings.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise DatabaseError(
                f"{error.filename}: {error.strerror}; deploy the database"
            ) from error
        self.name: str = said["name"]
        self.address: str = said["address"]  # how the others reach this host
        self.primary: str = said["primary"]
        self.port: int = said["port"]
        self.peers: dict[str, dict[str, Any]] = said["peers"]  # the other hosts, by name
        self.slots: dict[str, str] = said["slots"]  # host -> its replication slot
        self.start_alone: bool = said["start_alone"]
        self.textfiles = Path(said["textfiles"])
        self.data = Path(said["directory"]) / "17/main"
        self.standby_mark = self.data / "standby.signal"

    def sql(
        self, text: str, database: str = "postgres", port: int = 0, socket: str = SOCKET
    ) -> str:
        """Run SQL as the superuser, over the local socket; returns rows without frame.

        Args:
            text: The statements; psql reads them from its standard input.
            database: Where.
            port: Another cluster's.
            socket: The directory of its socket.
        """
        where = ("-h", socket, "-p", str(port or self.port), "-d", database)
        options = ("-XAtq", "-v", "ON_ERROR_STOP=1", *where)
        return as_postgres(BIN / "psql", *options, text=text).strip()

    def conninfo(self, host: str, database: str = "postgres") -> str:
        """Return how this host reaches another: channel binding proves that it is the right one."""
        peer = self.peers[host]
        return (
            f"host={peer['address']} port={peer['port']} user={REPLICATION} dbname={database}"
            f" passfile={PLACE}/pgpass sslmode=require channel_binding=require"
            f" connect_timeout={CONNECT_SECONDS} application_name={self.slots[self.name]}"
        )

    def ask(self, host: str) -> dict[str, Any] | None:
        """Return whether another host is a C(primary), and its C(timeline); None: no answer."""
        question = (
            "SELECT NOT pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() THEN 0 ELSE"
            " ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END"
        )
        command = (BIN / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo(host))
        try:
            primary, timeline = as_postgres(*command, text=question).strip().split("|")
        except DatabaseError:
            return None
        return {"primary": primary == "t", "timeline": int(timeline)}

    @property
    def made(self) -> bool:
        """Whether there is a cluster."""
        return (CONF / "postgresql.conf").exists() and (self.data / "PG_VERSION").exists()

    @property
    def standby(self) -> bool:
        """Whether it is a replica, or kept from being a primary."""
        return self.standby_mark.exists()

    def runs(self) -> bool:
        """Whether it takes connections."""
        try:
            as_postgres(
                BIN / "pg_isready", "-q", "-h", SOCKET, "-p", str(self.port), "-d", "postgres"
            )
        except DatabaseError:
            return False
        return True

    def must_run(self) -> None:
        """Refuse what needs a cluster that takes connections."""
        if not self.runs():
            raise DatabaseError("PostgreSQL does not run")

    def control(self) -> dict[str, str]:
        """Return what pg_controldata says."""
        lines = as_postgres(BIN / "pg_controldata", self.data).splitlines()
        return {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}

    def start(self, seconds: float = 600) -> None:
        """Start it and wait until it takes connections."""
        run("systemctl", "reset-failed", UNIT)
        run("systemctl", "start", "--no-block", UNIT)
        self.wait(seconds)

    def stop(self) -> None:
        """Stop it: transactions end, what is written is on the disk and with the replicas."""
        run("systemctl", "stop", UNIT)

    def wait(self, seconds: float, *, patient: bool = False) -> float:
        """Wait until it takes connections; returns the seconds that took.

        Args:
            seconds: For how long.
            patient: Whether systemd may try more than once.

        Raises:
            DatabaseError: It does not, and will not, or not in time.
        """
        begun = time.monotonic()
        while True:
            state = run("systemctl", "show", "-p", "SubState", "--value", UNIT).strip()
            if state == "running" and self.runs():
                break
            refused = state == "failed" or (state == "auto-restart" and not patient)
            if refused or time.monotonic() - begun > seconds:
                raise DatabaseError(f"PostgreSQL does not answer: {self.last_line()}")
            time.sleep(0.2)
        return time.monotonic() - begun

    def last_line(self) -> str:
        """Return the last line that says why it does not run."""
        said = ""
        with contextlib.suppress(DatabaseError):
            said = run("journalctl", "-u", UNIT, "-n", "40", "-o", "cat", "--no-pager")
        lines = [x for x in said.splitlines() if "database:" in x or "FATAL" in x or "ERROR" in x]
        return lines[-1].strip() if lines else f"see journalctl -u {UNIT}"

    def space_for_copy(self) -> None:
        """Refuse a copy of the data for which there is no room."""
        size = int(run("du", "-sb", self.data).split()[0])
        free = shutil.disk_usage(self.data.parent).free
        if free < size * 11 // 10:
            raise DatabaseError(
                f"{self.data.parent} has {free >> 20} MB free, and a copy needs {size >> 20} MB"
            )
