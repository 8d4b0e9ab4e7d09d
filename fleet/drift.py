"""What differs from the inventory on each host: what a check of `site.yml` would change. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

SAME, FAILED, DIFFERS = 0, 1, 4


@dataclass
class Drift:
    """One host.

    Attributes:
        host: Its name.
        differs: The tasks that would change something, each with the places where it tells them.
        trouble: Why the host was not checked to its end; empty where it was.
    """

    host: str
    differs: list[dict[str, Any]] = field(default_factory=list)
    trouble: str = ""


class Reader:
    """Makes a result of the events of one run."""

    def __init__(self) -> None:
        self._hosts: dict[str, Drift] = {}
        self._said: dict[str, str] = {}

    def read(self, line: str) -> str:
        """Take one line of Ansible's output.

        Args:
            line: An event; other lines are passed over.

        Returns:
            The task that begins with it; empty where none does.
        """
        try:
            event = json.loads(line) if line.startswith("{") else {}
        except json.JSONDecodeError:
            event = {}
        kind = str(event.get("_event", "")).removeprefix("v2_")
        if kind.startswith("runner_on_"):
            for host, result in event["hosts"].items():
                self._note(kind, host, event["task"]["name"], result)
        elif kind == "playbook_on_stats":
            self._end(event["stats"])
        return event["task"]["name"] if kind == "playbook_on_task_start" else ""

    def hosts(self, names: Iterable[str]) -> list[Drift]:
        """Return what was found of each host.

        Args:
            names: Of the hosts that were to be checked, in the order of the inventory.
        """
        unasked = "it was not checked, as the run ended before"
        return [self._hosts.get(name) or Drift(name, trouble=unasked) for name in names]

    def _note(self, kind: str, host: str, task: str, result: dict[str, Any]) -> None:
        found = self._hosts.setdefault(host, Drift(host, trouble="the run did not end"))
        if kind == "runner_on_ok" and result.get("changed"):
            found.differs.append({"task": task, "places": places(result)})
        elif kind in ("runner_on_failed", "runner_on_unreachable"):
            self._said[host] = f"{task}: {reason(result)}"

    def _end(self, stats: dict[str, dict[str, int]]) -> None:
        for host, counts in stats.items():
            found = self._hosts.setdefault(host, Drift(host))
            bad = counts["failures"] or counts["unreachable"]
            found.trouble = self._said.get(host, "a task failed") if bad else ""


def places(result: dict[str, Any]) -> list[str]:
    """Return the files that a task's result names, each once.

    Args:
        result: As a module returned it, or one that has those of a loop's items.
    """
    each = [result, *(one for one in result.get("results", []) if isinstance(one, dict))]
    diffs = [one.get("diff") or [] for one in each]
    listed = [part for diff in diffs for part in (diff if isinstance(diff, list) else [diff])]
    named = [part.get("after_header") or part.get("before_header") for part in listed]
    return list(dict.fromkeys(str(name) for name in named if name))


def reason(result: dict[str, Any]) -> str:
    """Return the first line of what a failed task, or the first failed item of its loop, said."""
    items = [one for one in result.get("results", []) if isinstance(one, dict)]
    bad = [one for one in items if one.get("failed") or one.get("unreachable")]
    said = str((bad or [result])[0].get("msg") or "").strip()
    return said.splitlines()[0] if said else "it failed"


def status_of(found: list[Drift]) -> int:
    """Return the exit status: 1 where a host could not be checked, 4 where one differs, else 0."""
    if any(drift.trouble for drift in found):
        return FAILED
    return DIFFERS if any(drift.differs for drift in found) else SAME


def table(found: list[Drift]) -> str:
    """Return a line for each difference, and one for each host that has none."""
    lines = []
    for drift in found:
        rows = [
            f"differs: {one['task']}" + (f" ({', '.join(one['places'])})" if one["places"] else "")
            for one in drift.differs
        ]
        rows += [f"cannot be checked: {drift.trouble}"] if drift.trouble else []
        lines += [f"{drift.host}  {row}" for row in rows or ["as the inventory says"]]
    return "\n".join(lines)
