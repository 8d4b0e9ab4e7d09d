"""Ansible filter: what is wrong with a playbook's own variables, in one line each."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

LONGEST_REASON, LONGEST_SHOWN = 200, 60


class Kind(NamedTuple):
    """Which texts a variable may be, and that in words."""

    fits: Callable[[str], object]
    words: str


def _like(pattern: str, words: str) -> Kind:
    return Kind(re.compile(pattern).fullmatch, words)


def _is_reason(text: str) -> bool:
    return 0 < len(text) <= LONGEST_REASON and text.isprintable()


def _is_file(text: str) -> bool:
    # Relative to something else than where the playbook was begun: not what was meant.
    path = Path(text)
    return path.is_absolute() and path.parent.is_dir() and not path.is_dir()


# What Ansible takes for yes and no.
SWITCH = _like(r"(?i)true|false|yes|no|on|off|[ytnf]|[01](\.0)?", "true or false")
SYMBOL = _like("[A-Z0-9]{1,20}/[A-Z0-9]{1,20}", "a symbol such as BTC/USDT")
REASON = Kind(_is_reason, f"one line of at most {LONGEST_REASON} printable characters")
HOST = _like("[A-Za-z0-9][A-Za-z0-9._-]*", "the name of a host")
LINE = Kind(str.isprintable, "one line")
SNAPSHOT = _like("latest|[0-9a-f]{4,64}", "a snapshot's ID (4 to 64 of 0-9 and a-f), or latest")
RELEASE = _like("[0-9]{1,9}", "the number of a release")
FILE = Kind(_is_file, "the absolute path of a file, in a directory that is there")
MOMENT = _like(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:.]+([+-][0-9:]+|Z)?",
    "a time such as 2026-11-24 14:03:00+00",
)
# Of each playbook that changes hosts.
EVERY = {
    "gridberry_serial": _like(
        "[1-9][0-9]*|([1-9][0-9]?|100)%", "a number of hosts from 1 on, or a share such as 25%"
    ),
    "gridberry_max_fail_percentage": _like("[0-9]{1,2}|100", "a whole number from 0 to 100"),
}
ASKS = {"output": FILE, "hosts": LINE}
# By playbook; a variable's name has the playbook's first word before it.
VARIABLES: dict[str, dict[str, Kind]] = {
    "pause": {"symbol": SYMBOL, "reason": REASON, "cancel": SWITCH},
    "flatten": {"symbol": SYMBOL, "reason": REASON, "sell": SWITCH, "confirmed": SWITCH},
    "resume": {
        "symbol": SYMBOL,
        "take": _like("(nothing|over)?", "nothing or over"),
        "confirmed": SWITCH,
    },
    "restore": {
        "snapshot": SNAPSHOT,
        "from_host": HOST,
        "old_is_off": SWITCH,
        "confirmed": SWITCH,
    },
    "rollback": {"release": RELEASE},
    "reboot": {"only_if_needed": SWITCH},
    "upgrade": {"reboot": SWITCH},
    "restore_boot": {"boot_exact": SWITCH},
    "restore_database": {"target": MOMENT, "confirmed": SWITCH},
    "promote_database": {"host": HOST, "old_is_off": SWITCH, "confirmed": SWITCH},
    "rejoin_database": {"primary": HOST, "clone": SWITCH},
    "status": {**ASKS, "container": LINE},
    "look": {**ASKS, "backup": LINE},
    "facts": {"output": FILE, "enabled": SWITCH},
    "rollout": {"options": LINE},
}
# Releases of hosts, of rollback.yml.
BY_HOST = ("rollback_releases", "rollback_books")
NEEDED = ("status_output", "look_output", "facts_output", "promote_host", "rejoin_primary")


def variable_problems(found: Mapping[str, Any], playbook: str = "") -> list[str]:
    """Return a line for each variable that a playbook does not have, needs, or cannot use.

    Args:
        found: All variables; those of others are passed over.
        playbook: Its name; empty: one that has none of its own.
    """
    prefix = f"{playbook.partition('_')[0]}_"
    own = {prefix + name: kind for name, kind in VARIABLES.get(playbook, {}).items()}
    lines = [
        f"{name} is missing; use {own[name].words}"
        for name in NEEDED
        if name in own and name not in found
    ]
    for name in sorted(found):  # of the others no value is asked for: it may be a secret
        kind = own.get(name) or EVERY.get(name)
        if kind is not None:
            lines += [] if _fits(found[name], kind) else [_line(name, found[name], kind.words)]
        elif name in BY_HOST and playbook == "rollback":
            lines += _releases_problems(name, found[name])
        elif own and name.startswith(prefix):
            close = difflib.get_close_matches(name, own, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; it has {', '.join(own)}"
            lines.append(f"{name} is no variable of {playbook}.yml{hint}")
    return lines


def _fits(value: object, kind: Kind) -> bool:
    return isinstance(value, (str, int, float)) and bool(kind.fits(str(value)))


def _line(name: str, value: object, words: str) -> str:
    shown = repr(str(value))
    if len(shown) > LONGEST_SHOWN:
        shown = f"{shown[:LONGEST_SHOWN]}...'"
    return f"{name} is {shown}; use {words}"


def _releases_problems(name: str, value: object) -> list[str]:
    if not isinstance(value, Mapping):
        return [_line(name, value, 'a mapping such as {"pi1": 7}')]
    return [
        _line(f"{name} of {host}", release, RELEASE.words)
        for host, release in value.items()
        if not _fits(release, RELEASE)
    ]


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filter by its name."""
        return {"variable_problems": variable_problems}
