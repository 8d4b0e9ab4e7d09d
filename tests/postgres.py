"""PostgreSQL 17 with TimescaleDB for tests, from Debian trixie's packages, on any Debian.

The root file system is made once (half a minute, 0.6 GB) and kept in GRIDBERRY_CACHE under the
hash of what goes into it. A server runs in it by chroot, as an unprivileged user, in a mount
namespace of its own: when it ends, nothing is left of it. It listens on a Unix socket below its
directory, and on 127.0.0.1 where a port is given.

As a program it makes the root file system and prints its path:

    sudo python -m tests.postgres
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.trixie_root import MachineMissingError, trixie_root

PACKAGES = ("postgresql-17", "postgresql-17-timescaledb", "pgbackrest")
BIN = "/usr/lib/postgresql/17/bin"
START_SECONDS = 30.0
# What a test needs and a user's server must not have: nothing here outlives the test.
SETTINGS = {
    "shared_preload_libraries": "'timescaledb'",
    "timescaledb.telemetry_level": "off",
    "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "64MB",
    "max_connections": "40",
    "log_min_messages": "warning",
}


def root_file_system() -> Path:
    """Make the root file system, or find it in the cache.

    Raises:
        MachineMissingError: it cannot be made here.
    """
    return trixie_root("postgres", PACKAGES, ("chroot",))


class Server:
    """One cluster: made, started, killed and started again as a test asks.

    Args:
        directory: an empty directory for it; data are in `data`, the socket is in `socket`.
        port: on 127.0.0.1; also the name of the socket. None listens on the socket alone.
        settings: of postgresql.conf, beside `SETTINGS`.

    Raises:
        MachineMissingError: there can be none here.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root_file_system()
        self.directory = directory
        self.port = port or 5432
        self._settings = {
            **SETTINGS,
            "port": str(self.port),
            "listen_addresses": "'127.0.0.1'" if port else "''",
            "unix_socket_directories": "'/srv/socket'",
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Directory of the Unix socket: what a client calls the host."""
        return str(self.directory / "socket")

    @property
    def process(self) -> int:
        """The postmaster's process ID.

        Raises:
            RuntimeError: it does not run.
        """
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def __enter__(self) -> Self:
        self.initialise()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def initialise(self) -> None:
        """Make an empty cluster, with checksums and the superuser `postgres`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in ("data", "socket"):
            (self.directory / name).mkdir(mode=0o700 if name == "data" else 0o755)
        self.own()
        command = ["initdb", "--pgdata=/srv/data", "--auth=trust", "--username=postgres"]
        self.run([*command, "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"])
        with (self.directory / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in self._settings.items())

    def own(self) -> None:
        """Give everything in the directory to the server's user."""
        user = self._user()
        for path in (self.directory, *self.directory.rglob("*")):
            os.chown(path, *user, follow_symlinks=False)

    def run(self, command: Sequence[str], *, text: str | None = None) -> str:
        """Run a program of PostgreSQL's, or another by its path, as the server's user.

        Args:
            command: its name and arguments; the directory is /srv there.
            text: its standard input.

        Returns:
            What it printed.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        done = subprocess.run(
            self._inside(command), input=text, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise subprocess.CalledProcessError(
                done.returncode, list(command), done.stdout, done.stderr
            )
        return done.stdout

    def sql(self, text: str, database: str = "postgres") -> str:
        """Run SQL by psql as the superuser; rows without frame."""
        command = ["psql", "-h", "/srv/socket", "-p", str(self.port), "-U", "postgres", "-XAqt"]
        return self.run([*command, "-v", "ON_ERROR_STOP=1", database], text=text).strip()

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            RuntimeError: it ended, or does not answer.
        """
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._inside(["postgres", "-D", "/srv/data"]),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > until:
                last = (self.directory / "log").read_text(errors="replace").splitlines()[-5:]
                raise RuntimeError("PostgreSQL did not start: " + " | ".join(last))
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            self.run(["pg_isready", "-q", "-h", "/srv/socket", "-p", str(self.port)])
        except subprocess.CalledProcessError:
            return False
        return True

    def stop(self) -> None:
        """Stop it in order (SIGINT: sessions are ended)."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End the postmaster and all of its processes at once (SIGKILL), as a power cut does."""
        if self._process is not None and self._process.poll() is None:
            # Each has a session of its own; a server that starts while one is left refuses to.
            os.kill(self._process.pid, signal.SIGSTOP)
            others = [pidfd for child in self._children() if (pidfd := _opened(child)) is not None]
            os.kill(self._process.pid, signal.SIGKILL)
            for pidfd in others:
                _kill(pidfd)
        self._end(signal.SIGKILL)
        (self.directory / "data" / "postmaster.pid").unlink(missing_ok=True)

    def _children(self) -> list[int]:
        assert self._process is not None
        number = self._process.pid
        return [
            int(text) for text in Path(f"/proc/{number}/task/{number}/children").read_text().split()
        ]

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait(timeout=60)
        self._process = None

    def _user(self) -> tuple[int, int]:
        for line in (self.root / "etc" / "passwd").read_text().splitlines():
            name, _, user, group, *_ = line.split(":")
            if name == "postgres":
                return int(user), int(group)
        raise MachineMissingError(f"{self.root} has no user postgres")

    def _inside(self, command: Sequence[str]) -> list[str]:
        """A command as the server's user in the root file system; the process ID stays."""
        user, group = self._user()
        program = command[0] if command[0].startswith("/") else f"{BIN}/{command[0]}"
        script = (
            'mount --bind "$1" "$2/srv" && mount -t proc proc "$2/proc"'
            ' && mount --bind /dev "$2/dev" && root=$2 && shift 2'
            f' && exec chroot --userspec={user}:{group} "$root" "$@"'
        )
        return [
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"),
            *(os.fspath(self.directory), os.fspath(self.root), program, *command[1:]),
        ]


def _opened(process: int) -> int | None:
    try:
        return os.pidfd_open(process)
    except ProcessLookupError:
        return None


def _kill(pidfd: int) -> None:
    """Kill a process, and return when it is gone."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    select.select([pidfd], [], [])
    os.close(pidfd)


if __name__ == "__main__":
    try:
        print(root_file_system())
    except MachineMissingError as error:
        raise SystemExit(f"postgres: {error}") from error
