"""Ansible filters: where the journal goes, and what is wrong with settings."""

from __future__ import annotations

BOUNDS = {
    "logs_journal_max_mb": (8, 4096),
    "logs_journal_memory_mb": (4, 512),
    "logs_days": (1, 3650),
    "logs_file_max_mb": (1, 1024),
}


def storage(wanted: str, seen: list[str]) -> str:
    """Return journald's C(Storage=) for C(logs_journal_storage).

    Args:
        wanted: The setting.
        seen: The lines of the role's look.sh.
    """
    if wanted != "auto":
        return wanted
    return "persistent" if "logs disk" in seen else "volatile"


def setting_problems(settings: dict[str, object]) -> list[str]:
    """Return a line for each number that will not do.

    Args:
        settings: Those in BOUNDS, by their names.
    """
    return [
        f"{name} is {settings[name]}; {low} to {high} would do"
        for name, (low, high) in BOUNDS.items()
        if not low <= int(settings[name]) <= high
    ]


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"logs_storage": storage, "logs_setting_problems": setting_problems}
