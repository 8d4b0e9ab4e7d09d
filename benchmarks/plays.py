"""ansible-playbook as a benchmark sees it: its tasks as they begin, its count, its end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[1]
VIRTUAL = ROOT / "inventory" / "virtual"
BANNER = re.compile(r"(?:TASK|RUNNING HANDLER) \[(?P<name>.*)\] \**$")
RESULT = re.compile(r"(?P<word>ok|changed|fatal|failed|skipping): \[")
RECAP = re.compile(r"\S+ +: ok=\d+ ")
END_SECONDS = 10


@dataclass
class Task:
    """A task of a play.

    Attributes:
        name: Its name, with its role's in front, as Ansible prints it.
        begin: When it began, in seconds since ansible-playbook was started.
        end: When the next one began or the play ended; None while it runs.
        ran: Whether it ran on any host; one that was skipped on all did not.
    """

    name: str
    begin: float
    end: float | None = None
    ran: bool = False

    @property
    def seconds(self) -> float:
        """How long it took."""
        if self.end is None:
            raise ValueError(f"{self.name!r} has not ended")
        return self.end - self.begin

    @property
    def role(self) -> str:
        """The role it belongs to; empty for a task of the play itself."""
        role, colon, _ = self.name.partition(" : ")
        return role if colon else ""


def read_recap(line: str) -> dict[str, int]:
    """Return the counts of a line of Ansible's PLAY RECAP, by name.

    Args:
        line: Such as "pi1 : ok=30 changed=0 unreachable=0 failed=0".
    """
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", line)}


@dataclass
class Outcome:
    """How a play ended.

    Attributes:
        exit_status: ansible-playbook's.
        seconds: From its start to its end.
        tasks: Its tasks.
        hosts: How many hosts it counts at its end.
        counts: What it counts there, summed over the hosts: ok, changed, failed and so on.
        log: What it printed.
    """

    exit_status: int
    seconds: float
    tasks: list[Task]
    hosts: int
    counts: dict[str, int]
    log: Path

    @property
    def converged(self) -> bool:
        """Whether it went through on at least one host: an inventory without one proves nothing."""
        return self.exit_status == 0 and self.hosts > 0

    @property
    def changed(self) -> int:
        """How many tasks changed something."""
        return self.counts.get("changed", 0)


@dataclass
class Play:
    """A running ansible-playbook. Used with `with`: it has ended when the block is left.

    Attributes:
        command: What is run.
        log: Where its output goes.
        state: The virtual Pis' state directory; None for that of the environment.
    """

    command: Sequence[str]
    log: Path
    state: Path | None = None
    _tasks: list[Task] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)
    _hosts: int = 0
    _ended: float | None = None

    def __enter__(self) -> Self:
        environment = os.environ | {
            "ANSIBLE_CONFIG": os.fspath(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            # Otherwise a task's name is printed with its first result, not when it begins.
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "1",
            "PYTHONPATH": os.pathsep.join([os.fspath(ROOT), os.fspath(ROOT / "bot" / "src")]),
        }
        if self.state is not None:
            environment["GRIDBERRY_STATE"] = os.fspath(self.state)
        self._moved = threading.Condition()
        self._begin = time.monotonic()
        self._process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that its workers and their ssh end with it
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process of ansible-playbook."""
        return self._process.pid

    def wait_for(self, number: int, offset: float) -> bool:
        """Wait until some seconds after a task has begun.

        Args:
            number: The task's, from 0.
            offset: Seconds after its begin.

        Returns:
            Whether the play still runs then.
        """
        with self._moved:
            self._moved.wait_for(lambda: len(self._tasks) > number or self._ended is not None)
            if self._ended is not None:
                return False
            due = self._begin + self._tasks[number].begin + offset
            self._moved.wait_for(
                lambda: self._ended is not None or time.monotonic() >= due,
                timeout=max(0.0, due - time.monotonic()),
            )
            return self._ended is None

    def wait_for_second(self, second: float) -> bool:
        """Wait until some seconds after the start; tell whether the play still runs then.

        Args:
            second: Seconds since ansible-playbook was started.
        """
        with self._moved:
            self._moved.wait_for(
                lambda: self._ended is not None,
                timeout=max(0.0, self._begin + second - time.monotonic()),
            )
            return self._ended is None

    def current(self) -> str:
        """Return the name of the task that runs, or ran last."""
        with self._moved:
            return self._tasks[-1].name if self._tasks else "before the first task"

    def seconds(self) -> float:
        """Return the seconds since ansible-playbook was started."""
        return time.monotonic() - self._begin

    def outcome(self) -> Outcome:
        """Wait for the end and return how it was."""
        exit_status = self._process.wait()
        self._reader.join()
        if self._ended is None:
            raise RuntimeError(f"the output of {self.command[0]} was not read to its end")
        return Outcome(
            exit_status, self._ended, self._tasks, self._hosts, dict(self._counts), self.log
        )

    def kill(self) -> None:
        """End it and all that it started, at once."""
        with contextlib.suppress(ProcessLookupError):  # all of it has ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(END_SECONDS)

    def _read(self) -> None:
        with self.log.open("w") as log:
            for line in self._process.stdout or ():
                self._note(line.rstrip("\n"))
                log.write(line)
                log.flush()
        with self._moved:
            self._ended = self.seconds()
            if self._tasks and self._tasks[-1].end is None:
                self._tasks[-1].end = self._ended
            self._moved.notify_all()

    def _note(self, line: str) -> None:
        banner = BANNER.match(line)
        with self._moved:
            now = self.seconds()
            ends = banner or line.startswith("PLAY ")
            if ends and self._tasks and self._tasks[-1].end is None:
                self._tasks[-1].end = now
            if banner:
                self._tasks.append(Task(banner["name"], now))
                self._moved.notify_all()
            elif RECAP.match(line):
                self._hosts += 1
                for name, count in read_recap(line).items():
                    self._counts[name] = self._counts.get(name, 0) + count
            elif (result := RESULT.match(line)) and result["word"] != "skipping" and self._tasks:
                self._tasks[-1].ran = True


def playbook_command(playbook: Path, inventory: Path, *arguments: str) -> list[str]:
    """Return the command that runs a playbook with this Python's Ansible.

    Args:
        playbook: The playbook.
        inventory: The inventory.
        arguments: Further arguments of ansible-playbook.
    """
    ansible = [sys.executable, "-m", "ansible", "playbook"]
    return [*ansible, "-i", os.fspath(inventory), os.fspath(playbook), *arguments]


def run_play(command: Sequence[str], log: Path, state: Path | None = None) -> Outcome:
    """Run a playbook to its end.

    Args:
        command: What is run.
        log: Where its output goes.
        state: The virtual Pis' state directory; None for that of the environment.
    """
    with Play(command, log, state) as play:
        return play.outcome()
