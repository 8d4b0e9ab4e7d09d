"""What the bot can see of the machine and the container that it runs in."""

import os
import shutil
from pathlib import Path
from typing import Any

_MEGABYTE = 1_000_000
_HOT = 80  # degrees: a Pi slows itself down from here on
_LOW_DISK_MB = 500


def machine(state: Path, root: Path = Path("/")) -> dict[str, Any]:
    """Temperature, memory, load and free disk; null where this machine does not tell.

    Args:
        state: the state directory, whose disk counts.
        root: where `/proc` and `/sys` are.
    """
    group = root / "sys/fs/cgroup"
    heat = _number(root / "sys/class/thermal/thermal_zone0/temp")
    used, limit = _number(group / "memory.current"), _number(group / "memory.max")
    return {
        "temperature_celsius": None if heat is None else round(heat / 1000),
        "memory_used_mb": _own_memory(root) if used is None else used // _MEGABYTE,
        "memory_limit_mb": None if limit is None else limit // _MEGABYTE,
        "load": _load(root),
        "processors": os.cpu_count(),
        "disk_free_mb": _free(state),
    }


def _number(path: Path) -> int | None:
    """The number that a file of the kernel has; None where it has none, such as `max`."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _own_memory(root: Path) -> int | None:
    try:
        pages = int((root / "proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") // _MEGABYTE


def _load(root: Path) -> float | None:
    try:
        return round(float((root / "proc/loadavg").read_text(encoding="ascii").split()[0]), 1)
    except (OSError, ValueError, IndexError):
        return None


def _free(directory: Path) -> int | None:
    try:
        return shutil.disk_usage(directory).free // _MEGABYTE
    except OSError:
        return None


def rows(told: dict[str, Any]) -> list[list[str]]:
    """The same for people: label, text and how it is drawn. Pure.

    Args:
        told: see `machine`.
    """
    heat, limit = told["temperature_celsius"], told["memory_limit_mb"]
    memory, disk = told["memory_used_mb"], told["disk_free_mb"]
    found = []
    if heat is not None:
        found.append(["Processor", f"{heat} °C", "down" if heat >= _HOT else ""])
    if memory is not None:
        of = "" if limit is None else f" of {limit}"
        found.append(["Memory", f"{memory}{of} MB", ""])
    if told["load"] is not None:
        found.append(["Load", f"{told['load']} on {told['processors']} processors", ""])
    if disk is not None:
        low = "down" if disk < _LOW_DISK_MB else ""
        found.append(["Free disk", f"{disk / 1000:.1f} GB", low])
    return found
