"""The file that has a rollout's state, and the lock on it."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gridbase.atomic_file import WholeFile
from gridbase.errors import UserError

VERSION = 1
WAITING, TOUCHED, ACCEPTED, UNCHANGED = "waiting", "touched", "accepted", "unchanged"
BACK, STUCK = "put back", "not put back"
# Of these the release is not the one that the rollout found.
CHANGED = (TOUCHED, ACCEPTED, STUCK)


@dataclass
class HostState:
    """How far one host is.

    Attributes:
        batch: The number of its batch, from 0.
        phase: Where it stands.
        before: The look before it was touched; empty until then.
        looks: Those since.
        reasons: Why it failed, or what it lacks.
        failed: Whether its release was judged so.
        pause: For how long its bot did not trade (seconds); None where that is not known.
    """

    batch: int
    phase: str = WAITING
    before: dict[str, Any] = field(default_factory=dict)
    looks: list[dict[str, Any]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    failed: bool = False
    pause: float | None = None


@dataclass
class RolloutState:
    """A rollout.

    Attributes:
        inventory: On which.
        who: Who began it, as user@host.
        began: When (UTC).
        seconds, acknowledgements: What each release must have shown.
        budget: How many hosts may fail.
        hosts: All, in the order of the rollout.
        verdict: How it ended; empty while it did not.
        following: The hosts that follow a repository, and are held back meanwhile.
    """

    inventory: str
    who: str
    began: str
    seconds: int
    acknowledgements: int
    budget: int
    hosts: dict[str, HostState]
    verdict: str = ""
    following: list[str] = field(default_factory=list)

    def batch(self, number: int) -> list[str]:
        """Return the hosts of a batch."""
        return [name for name, host in self.hosts.items() if host.batch == number]

    @property
    def batches(self) -> int:
        """The number of batches."""
        return max(host.batch for host in self.hosts.values()) + 1

    @property
    def spent(self) -> bool:
        """Whether more hosts have failed than may."""
        return sum(host.failed for host in self.hosts.values()) > self.budget

    def changed(self) -> list[str]:
        """Return the hosts whose release is not the one that the rollout found."""
        return [name for name, host in self.hosts.items() if host.phase in CHANGED]


def myself() -> str:
    """Return who runs this, as user@host."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def save(path: Path, state: RolloutState) -> None:
    """Write the state, whole or not at all."""
    text = json.dumps(asdict(state))
    with WholeFile(path, "the rollout's state") as whole:
        json.dump({"version": VERSION, "sha256": _digest(text), "rollout": text}, whole.file)


def load(path: Path) -> RolloutState | None:
    """Read the state; None where there is none.

    Raises:
        UserError: The file is damaged, or of another version.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version, text = document["version"], document["rollout"]
        whole = document["sha256"] == _digest(text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise UserError(
            f"{path} is damaged: nobody knows how far the rollout was. See ./gridberry status and"
            " the hosts' releases, then remove the file"
        )
    if version != VERSION:
        raise UserError(
            f"{path} is of version {version}, this program knows {VERSION}; use that one"
        )
    body = json.loads(text)
    hosts = {name: HostState(**host) for name, host in body.pop("hosts").items()}
    return RolloutState(hosts=hosts, **body)


@contextmanager
def locked(path: Path) -> Iterator[str]:
    """Hold the lock.

    Yields:
        What is to be said of an earlier holder that ended without a word; mostly empty.

    Raises:
        UserError: Somebody else holds it.
    """
    with path.open("a+", encoding="utf-8") as file:
        file.seek(0)
        holder = file.read().strip()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another rollout is under way: {holder or path}") from error
        file.truncate(0)
        moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        file.write(f"{myself()}, process {os.getpid()}, since {moment}")
        file.flush()
        try:
            yield f"an earlier rollout ended without a word: {holder}" if holder else ""
        finally:
            file.truncate(0)
