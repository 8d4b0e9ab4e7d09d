"""What files are for: commands that put it in force, and probes that see whether it is."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.whole_file import diff_of

# Effects whose files were written by a run that was broken off before it came to them. Gone after a
# reboot, like what they would have changed.
PENDING = Path("/run/gridberry/pending")


class EffectError(Exception):
    """What stops the module, in one line for the user."""


@dataclass(frozen=True)
class Effect:
    """Something that must be in force on the host.

    Attributes:
        name: What it is, in words.
        probe: Shell commands that read; status 0 says that it is in force.
        apply: Shell commands that put it in force.
        on_change: Real paths of files whose change makes it due; ``*`` for any.
        first: Whether it comes before the files are written.
        tries: How often the probe is asked after applying, a second apart.
    """

    name: str
    probe: str
    apply: str
    on_change: frozenset[str] = frozenset()
    first: bool = False
    tries: int = 1

    def follows(self, paths: Collection[str]) -> bool:
        """Tell whether the change of these files makes it due."""
        return bool(paths) and ("*" in self.on_change or not self.on_change.isdisjoint(paths))

    @property
    def marker(self) -> Path:
        """The file that says it is due although its files are in place."""
        digest = hashlib.sha256(f"{self.name}\0{self.apply}".encode()).hexdigest()
        return PENDING / digest[:16]


def effects_of(entries: list[dict]) -> list[Effect]:
    """Return the effects that the module's parameter ``effects`` names."""
    return [
        Effect(
            name=entry["name"],
            probe=entry["probe"],
            apply=entry["apply"],
            on_change=frozenset(
                path if path == "*" else os.path.realpath(path) for path in entry["on_change"]
            ),
            first=entry["first"],
            tries=entry["tries"],
        )
        for entry in entries
    ]


def shell(command: str) -> tuple[int, str]:
    """Run shell commands and return their status and the last line that they printed."""
    environment = os.environ | {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=environment,
    )
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return done.returncode, said[-1] if said else ""


def why_due(effect: Effect, changed: Collection[str]) -> str | None:
    """Return why an effect must be applied, or None where it is in force.

    Args:
        effect: The effect.
        changed: Real paths of the files that this run changes.
    """
    if effect.follows(changed):
        return "its files change"
    if effect.marker.exists():
        return "an earlier run was broken off"
    status, said = shell(effect.probe)
    return None if status == 0 else (said or "not in force")


def announce(effects: list[Effect], changed: Collection[str]) -> None:
    """Note which effects are due before their files are written, for a run that is broken off."""
    for effect in effects:
        if effect.follows(changed):
            PENDING.mkdir(parents=True, exist_ok=True)
            effect.marker.touch()


def put_in_force(effect: Effect) -> None:
    """Apply an effect and see that it is in force then.

    Raises:
        EffectError: It cannot be applied, or is not in force afterwards.
    """
    status, said = shell(effect.apply)
    if status != 0:
        raise EffectError(f"{effect.name}: cannot be put in force: {said or f'status {status}'}")
    for left in reversed(range(effect.tries)):
        status, said = shell(effect.probe)
        if status == 0:
            break
        if left:
            time.sleep(1)
    else:
        raise EffectError(
            f"{effect.name}: not in force after it was applied: {said or 'no reason'}"
        )
    effect.marker.unlink(missing_ok=True)


def settle(
    effects: list[Effect], changed: Collection[str], *, check_mode: bool
) -> tuple[list[str], list[dict[str, str]]]:
    """Put in force what is not, in order.

    Args:
        effects: The effects.
        changed: Real paths of the files that this run changes.
        check_mode: Only tell what would be done.

    Returns:
        The names of the effects that were due, and their diffs.

    Raises:
        EffectError: One cannot be put in force; those after it were not tried.
    """
    names, diffs = [], []
    for effect in effects:
        reason = why_due(effect, changed)
        if reason is None:
            continue
        if not check_mode:
            put_in_force(effect)
        names.append(effect.name)
        diffs.append(diff_of(effect.name, f"{reason}\n", "in force\n"))
    return names, diffs
