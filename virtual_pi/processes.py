"""Processes named so that a recycled process ID is never taken for them."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

# States of proc_pid_stat(5): a process that has ended but was not asked how, and one that ends.
DEAD = ("Z", "X")


@dataclass(frozen=True)
class ProcessName:
    """A process, for good.

    Attributes:
        pid: Its ID.
        start: When it started, in clock ticks since the machine booted (proc_pid_stat(5)).
        boot: The boot of this machine it belongs to.
    """

    pid: int
    start: int
    boot: str


def boot_id() -> str:
    """Return the name of this machine's current boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def name_process(pid: int) -> ProcessName | None:
    """Return the name of a process that runs now, or None.

    Args:
        pid: Its ID.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name stands in brackets and may itself hold spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in DEAD and not _has_live_thread(pid):
        return None
    return ProcessName(pid, int(fields[19]), boot_id())


def _has_live_thread(pid: int) -> bool:
    """Tell whether a thread outlives the first: until the last has ended, files and ports are kept.

    Args:
        pid: The process's ID.
    """
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            state = path.read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        if state not in DEAD:
            return True
    return False


def is_alive(process: ProcessName | None) -> bool:
    """Tell whether a process still runs.

    Args:
        process: Its name; None is no process.
    """
    return process is not None and name_process(process.pid) == process


def kill(process: ProcessName | None) -> bool:
    """Kill a process without warning, if it still is that process.

    Args:
        process: Its name; None is no process.

    Returns:
        Whether it was running.
    """
    if process is None:
        return False
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # The handle keeps the ID from being recycled between this look and the signal.
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True
