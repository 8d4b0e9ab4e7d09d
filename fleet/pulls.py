"""Hosts that follow a repository by themselves (role pull) and a rollout, which holds them back."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from gridbase.errors import UserError

from fleet.ansible import Ansible

PROGRAM = "/usr/local/lib/gridberry/pull.py"
NOT_HELD = (
    "a host that follows a repository cannot be held back (see above), and could change in the"
    " middle of the rollout"
)


def following(hosts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the hosts that follow a repository, of several bots of a Pi the first.

    Args:
        hosts: The variables of each.
    """
    return [
        name
        for name, one in hosts.items()
        if one.get("pull_repository")
        and one.get("pull_state", "present") == "present"
        and one.get("grid_bot_pi", name) == name
    ]


def hold(ansible: Ansible, hosts: Iterable[str], why: str, how: str) -> None:
    """Let hosts pull nothing until `release`; waits for a pull that is under way.

    Args:
        ansible: Of their inventory.
        hosts: Their names.
        why: What the hosts say.
        how: What the rollout does. One host keeps none from going back: that is only said.

    Raises:
        UserError: One cannot be held back; of a rollout that would begin, all may pull again.
    """
    names = list(hosts)
    if not names or not _each(ansible, names, f"hold {shlex.quote(why)}"):
        return
    if how == "back":
        print(NOT_HELD, flush=True)
        return
    if how == "begin":
        _each(ansible, names, "release")
    raise UserError(f"{NOT_HELD}; try again")


def release(ansible: Ansible, hosts: Iterable[str]) -> str:
    """Let hosts pull again; returns what is to be said where one did not hear it."""
    names = list(hosts)
    if not names or not _each(ansible, names, "release"):
        return ""
    return f"a host is still held back (see above); on it: sudo {PROGRAM} release"


def _each(ansible: Ansible, names: list[str], words: str) -> int:
    # One that was not deployed since it is to follow has no such program.
    limit, ansible.limit = ansible.limit, ",".join(names)
    try:
        return ansible.command(f"test ! -x {PROGRAM} || {PROGRAM} {words}")
    finally:
        ansible.limit = limit
