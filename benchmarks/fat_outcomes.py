"""What a power cut left of the boot files: is it well, how often was it so, does it boot?"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.write_log import State, read_log, rebuild
from virtual_pi.firmware import BootPartition, BrickedError
from virtual_pi.machines import Machine, copy_sparse

FILES = ("cmdline.txt", "config.txt")
SUFFIX = ".gridberry-original"
WATCHED = tuple(name + suffix for name in FILES for suffix in ("", SUFFIX))
# fsck(8): 0 no errors, 1 errors corrected. With others, systemd does not mount the partition.
FSCK_WELL = (0, 1)

Contents = dict[str, bytes | None]


@dataclass(frozen=True)
class Recorded:
    """A change as it was recorded.

    Attributes:
        name: The change's.
        begin: The log's first entry of it.
        done: The first entry after the play's end.
        end: The first entry of the next change.
        old: What each watched file was before.
        new: What it is afterwards.
    """

    name: str
    begin: int
    done: int
    end: int
    old: Contents
    new: Contents


@dataclass
class Outcome:
    """A distinct content of the watched files, after fsck.vfat.

    Attributes:
        found: The files; None for one that is missing.
        why: What is wrong with it; empty where nothing is.
        states: How many states led to it.
        fsck: Its exit status.
        boots: Whether a Pi boots with it; None where that was not tried.
    """

    found: Contents
    why: str
    fsck: int
    states: int = 0
    boots: bool | None = None

    @property
    def well(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.why and self.boots is not False

    def line(self) -> str:
        """Return its line of the table."""
        sizes = "  ".join(
            f"{'-' if content is None else len(content):>6}" for content in self.found.values()
        )
        booted = {None: "not tried", True: "boots", False: "DOES NOT BOOT"}[self.boots]
        return f"{self.states:>6}  {sizes}  {booted:<13}  {self.why or 'well'}"


@dataclass
class Tally:
    """How many states of a kind there are, and how many are not well.

    Attributes:
        change: The change's name.
        kind: `prefix` or `reordering`.
        states: How many.
        distinct: How many different disks they are.
        bad: How many are not well.
    """

    change: str
    kind: str
    states: int = 0
    bad: int = 0
    disks: set[str] = field(default_factory=set)

    def line(self) -> str:
        """Return its line of the table."""
        return (
            f"{self.change:<14}  {self.kind:<10}  {self.states:>6}  {len(self.disks):>8}"
            f"  {self.bad:>4}"
        )


@dataclass
class Report:
    """What came of all states.

    Attributes:
        seed: What the reorderings were drawn with.
        tallies: By change and kind.
        outcomes: The distinct outcomes.
    """

    seed: int
    tallies: list[Tally]
    outcomes: list[Outcome]

    @property
    def ok(self) -> bool:
        """Whether there were states and all are well."""
        return bool(self.outcomes) and all(outcome.well for outcome in self.outcomes)

    def closing(self) -> str:
        """Return the closing count."""
        states = sum(outcome.states for outcome in self.outcomes)
        good = sum(outcome.states for outcome in self.outcomes if outcome.well)
        booted = sum(outcome.boots is True for outcome in self.outcomes)
        outcomes = f"{len(self.outcomes)} distinct outcomes, {booted} booted"
        return f"{good} of {states} states well; {outcomes}"


def judge(found: Contents, change: Recorded, first: Contents, *, ended: bool) -> str:
    """Return what is wrong with a state's files; empty where nothing is.

    Args:
        found: The files after fsck.vfat.
        change: The change in which the power went.
        first: The files before any change.
        ended: Whether the play had ended.
    """
    for name in FILES:
        allowed = [change.new[name]] if ended else [change.old[name], change.new[name]]
        if found[name] not in allowed:
            wanted = "new" if ended else "old nor new"
            size = "missing" if found[name] is None else f"{len(found[name] or b'')} bytes"
            return f"{name} is not {wanted}: {size}"
        kept = found[name + SUFFIX]
        if found[name] != first[name] and kept != first[name]:
            return f"{name} is changed and its original is not kept"
        if kept and kept != first[name]:
            return f"{name}{SUFFIX} is not whole"
    return ""


def read_disk(disk: Path) -> Contents:
    """Return the watched files of a boot partition.

    Args:
        disk: Its image.
    """
    partition = BootPartition(disk)
    names = partition.names()
    return {name: partition.read(name) if name in names else None for name in WATCHED}


class Judge:
    """Rebuilds states and sorts them by what is left of the boot files."""

    def __init__(self, machine: Machine, place: Path) -> None:
        self._base, self._place = machine.boot_before, place
        self.writes, self._sector_bytes = read_log(machine.boot_log)
        self._first = read_disk(self._base)
        self._known: dict[str, tuple[Contents, int]] = {}
        self._outcomes: dict[tuple[object, ...], Outcome] = {}

    @property
    def outcomes(self) -> list[Outcome]:
        """The distinct outcomes so far."""
        return list(self._outcomes.values())

    def disk(self, number: int) -> Path:
        """Return the boot partition of an outcome, after fsck.vfat.

        Args:
            number: The outcome's, from 0.
        """
        return self._place / f"outcome-{number:02}.img"

    def sort(self, states: Iterator[State], change: Recorded, tally: Tally) -> None:
        """Judge states of a change and count them.

        Args:
            states: The states.
            change: The change.
            tally: Where they are counted.
        """
        for state in states:
            if state.digest not in self._known:
                self._known[state.digest] = self._repaired(state)
            found, status = self._known[state.digest]
            why = judge(found, change, self._first, ended=state.entry >= change.done)
            if status not in FSCK_WELL:
                why = why or f"fsck.vfat ends with {status}"
            key = (*found.values(), why)
            if key not in self._outcomes:
                self._repaired(state, self.disk(len(self._outcomes)))
                self._outcomes[key] = Outcome(found, why, status)
            self._outcomes[key].states += 1
            tally.states += 1
            tally.disks.add(state.digest)
            tally.bad += bool(why)

    def _repaired(self, state: State, disk: Path | None = None) -> tuple[Contents, int]:
        disk = disk or self._place / "state.img"
        copy_sparse(self._base, disk)
        rebuild(state, self._sector_bytes, disk)
        done = subprocess.run(
            ["fsck.vfat", "-a", os.fspath(disk)], capture_output=True, check=False
        )
        try:
            return read_disk(disk), done.returncode
        except BrickedError:
            return dict.fromkeys(WATCHED), done.returncode
