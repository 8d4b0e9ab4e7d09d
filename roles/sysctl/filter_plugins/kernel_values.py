"""Ansible filters: kernel settings as sysctl.d(5) has them, and what is wrong with them."""

from __future__ import annotations

import re
from dataclasses import dataclass

NAME = re.compile(r"[A-Za-z0-9_*-]+([./][A-Za-z0-9_:@-]+)+")
LONGEST_VALUE = 1024
HIGHEST = 2**63 - 1


@dataclass(frozen=True)
class Bound:
    """Between what a setting may be, where anything else would keep a Pi from working."""

    lowest: int
    highest: int
    reason: str


FORWARDING = Bound(1, 1, "Docker's networks need it")
BOUNDS = {
    "fs/file-max": Bound(8192, HIGHEST, "below that a Pi with Docker runs out of files"),
    "fs/nr_open": Bound(65536, HIGHEST, "below that services do not start"),
    "kernel/modules_disabled": Bound(0, 0, "Docker and the firewall load modules"),
    "kernel/pid_max": Bound(8192, 2**22, "below that a Pi with Docker runs out of processes"),
    "kernel/threads-max": Bound(8192, HIGHEST, "below that a Pi with Docker runs out of threads"),
    "net/ipv4/conf/all/forwarding": FORWARDING,
    "net/ipv4/conf/default/forwarding": FORWARDING,
    "net/ipv4/ip_forward": FORWARDING,
    "vm/min_free_kbytes": Bound(1024, 262144, "more would leave too little memory to start with"),
    "vm/nr_hugepages": Bound(0, 64, "more would leave too little memory to start with"),
    "vm/overcommit_memory": Bound(0, 1, "2 keeps Docker, and even logins, from starting"),
    "vm/swappiness": Bound(0, 200, "the kernel takes no other"),
}


def path_of(name: str) -> str:
    """Return the path below /proc/sys of a setting, without the leading C(-).

    Args:
        name: As in sysctl.d(5): of dots, in which a slash stands for a dot, or the other way round.
    """
    name = name.removeprefix("-")
    first = re.search(r"[./]", name)
    if first is None or first.group() == "/":
        return name
    return name.translate(str.maketrans("./", "/."))


def text_of(value: object) -> str:
    """Return a value as the kernel shows it: its words with one blank between them."""
    return " ".join(str(value).split())


def value_problem(name: str, value: object) -> str | None:
    """Return a line if a setting's value is not allowed."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return f"sysctl_values.{name} is {value!r}; use a whole number, text or null"
    text = str(value)
    if not text.strip() or not text.isprintable() or len(text) > LONGEST_VALUE:
        return f"sysctl_values.{name} is {value!r}; use one line of 1 to {LONGEST_VALUE} characters"
    bound = BOUNDS.get(path_of(name))
    if bound is None:
        return None
    if re.fullmatch(r"\s*\d{1,19}\s*", text) and bound.lowest <= int(text) <= bound.highest:
        return None
    if bound.lowest == bound.highest:
        would = str(bound.lowest)
    elif bound.highest == HIGHEST:
        would = f"a whole number from {bound.lowest}"
    else:
        would = f"a whole number from {bound.lowest} to {bound.highest}"
    return f"sysctl_values.{name} is {value!r}; use {would}: {bound.reason}"


def problems(wanted: dict) -> list[str]:
    """Return a line for each thing in C(sysctl_values) that is not allowed."""
    lines, seen = [], {}
    for name, value in wanted.items():
        plain = name.removeprefix("-") if isinstance(name, str) else ""
        if not NAME.fullmatch(plain) or "*" in plain:
            lines.append(f"sysctl_values has {name!r}; use a setting's name such as vm.swappiness")
            continue
        path = path_of(name)
        if path in seen:
            lines.append(f"sysctl_values has {seen[path]!r} and {name!r}, which are the same")
        seen[path] = name
        problem = None if value is None else value_problem(name, value)
        if problem:
            lines.append(problem)
    return lines


def merge(own: dict, wanted: dict) -> list[dict[str, str]]:
    """Return all settings to put in force, in order.

    Args:
        own: The role's, by name.
        wanted: The inventory's, which win; None takes one of the role's out.

    Returns:
        For each its C(path) below /proc/sys, its C(value), and C(flag): C(-) where the kernel may
        lack it, else nothing.
    """
    entries: dict[str, dict[str, str]] = {}
    for name, value in [*own.items(), *wanted.items()]:
        path = path_of(name)
        if value is None:
            entries.pop(path, None)
            continue
        flag = "-" if name.startswith("-") else ""
        entries[path] = {"flag": flag, "path": path, "value": text_of(value)}
    return list(entries.values())


def file_lines(entries: list[dict[str, str]]) -> str:
    """Return settings as sysctl.d(5) has them; in this form dots in names are plain characters."""
    return "".join(f"{entry['flag']}{entry['path']} = {entry['value']}\n" for entry in entries)


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            "sysctl_problems": problems,
            "sysctl_merge": merge,
            "sysctl_file_lines": file_lines,
        }
