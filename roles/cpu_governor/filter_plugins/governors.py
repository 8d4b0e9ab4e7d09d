"""Ansible filters: what a host's CPUs do, and what its files should say."""

from __future__ import annotations

import re

NAME = re.compile(r"[a-z][a-z0-9_-]{0,14}")


def name_problems(name: object) -> list[str]:
    """Return a line if this is not a governor's name."""
    if isinstance(name, str) and NAME.fullmatch(name):
        return []
    return [f"cpu_governor_name is {name!r}; use performance, ondemand or another governor"]


def words(look: str, word: str) -> list[str]:
    """Return the values of all lines of the role's look.sh that begin with a word."""
    lines = (line.partition(" ") for line in look.splitlines())
    return [value for first, _, value in lines if first == word]


def host_problems(look: str, name: str) -> list[str]:
    """Return a line if the host's kernel does not have a governor.

    Args:
        look: The output of the role's look.sh.
        name: The governor.
    """
    known = sorted({*words(look, "available"), *words(look, "module")})
    if not words(look, "policy") or name in known:
        return []
    return [f"cpu_governor_name is {name!r}; use {', '.join(known)}: this kernel has no other"]


def defaults_file(look: str, program: str, line: str) -> str:
    """Return the file that tells another program the governor; its other lines stay.

    Args:
        look: The output of the role's look.sh.
        program: Whose file it is.
        line: The line that names the governor.
    """
    mark = f"{program}:"
    kept = [
        one.removeprefix(mark).removeprefix(" ")
        for one in look.splitlines()
        if one.startswith(mark)
    ]
    # Empty lines at the end may have got lost on the way.
    while kept and not kept[-1].strip():
        kept.pop()
    return "\n".join([*kept, line, ""])


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            "cpu_governor_name_problems": name_problems,
            "cpu_governor_words": words,
            "cpu_governor_host_problems": host_problems,
            "cpu_governor_defaults_file": defaults_file,
        }
