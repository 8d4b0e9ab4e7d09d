"""Ansible filters: where the journal goes, and what is wrong with settings."""

from __future__ import annotations

BOUNDS = {
    "logs_journal_max_mb": (8, 4096),
    "logs_journal_memory_mb": (4, 512),
    "logs_days": (1, 3650),
    "logs_file_max_mb": (1, 1024),
    "logs_files_memory_mb": (8, 1024),
}
# What part of the memory the files may fill; files/logs_in_memory.py refuses more.
FULL = 0.75


def storage(wanted: str, files: str, seen: list[str]) -> str:
    """Return journald's C(Storage=) for C(logs_journal_storage).

    Args:
        wanted: The setting.
        files: The setting C(logs_files_storage).
        seen: The lines of the role's look.sh.
    """
    if wanted != "auto":
        return wanted
    return "persistent" if "logs disk" in seen and files != "volatile" else "volatile"


def files_storage(wanted: str, journal: str, megabytes: int, seen: list[str]) -> str:
    """Return where the files in /var/log are kept: C(persistent) or C(volatile).

    Args:
        wanted: The setting C(logs_files_storage).
        journal: The setting C(logs_journal_storage).
        megabytes: The setting C(logs_files_memory_mb).
        seen: The lines of the role's look.sh.
    """
    if wanted != "auto":
        return wanted
    sizes = [line.removeprefix("megabytes ") for line in seen if line.startswith("megabytes ")]
    size = sizes[0] if sizes else ""
    fits = size.isdecimal() and int(size) <= megabytes * FULL
    hides = any(line.startswith("mounted ") for line in seen)
    # A journal that must be on the disk lies in the same directory.
    on_card = "logs card" in seen and journal != "persistent"
    return "volatile" if on_card and fits and not hides else "persistent"


def setting_problems(settings: dict[str, object], files: str, journal: str) -> list[str]:
    """Return a line for each setting that is not allowed.

    Args:
        settings: Those in BOUNDS, by their names.
        files: The setting C(logs_files_storage).
        journal: The setting C(logs_journal_storage).
    """
    problems = [
        f"{name} is {settings[name]}; use {low} to {high}"
        for name, (low, high) in BOUNDS.items()
        if not low <= int(settings[name]) <= high
    ]
    if files == "volatile" and journal == "persistent":
        problems.append(
            "logs_files_storage is volatile, which takes the journal along, and"
            " logs_journal_storage is persistent; use auto or persistent for the first"
        )
    return problems


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            "logs_storage": storage,
            "logs_files_storage": files_storage,
            "logs_setting_problems": setting_problems,
        }
