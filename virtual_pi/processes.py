"""Processes named so that a recycled process ID is never taken for them."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path


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
    if fields[0] in "ZX":
        return None
    return ProcessName(pid, int(fields[19]), boot_id())


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
