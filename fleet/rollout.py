"""A release goes over the fleet: canaries first, each batch judged, all put back if one fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fleet import rollout_state
from fleet.host_names import few
from fleet.rollout_judge import (
    FAILED,
    INCONCLUSIVE,
    LOOKS,
    PASSED,
    Look,
    Needs,
    judge,
    not_ready,
    notes,
)
from fleet.rollout_state import (
    ACCEPTED,
    BACK,
    STUCK,
    TOUCHED,
    UNCHANGED,
    WAITING,
    RolloutState,
)

Sleep = Callable[[float], None]


class Fleet(Protocol):
    """What a rollout does to hosts."""

    def look(self, hosts: list[str]) -> dict[str, Look]:
        """Look at each."""

    def deploy(self, hosts: list[str]) -> bool:
        """Bring them to what the inventory says; whether that went well."""

    def back(self, releases: Mapping[str, int], books: Mapping[str, int]) -> bool:
        """Put each back to this release, and some books to before one; whether that went well."""


@dataclass
class Rollout:
    """One rollout; whatever it does is in its file first.

    Attributes:
        state: How far it is.
        file: Where that is kept.
        fleet: The hosts.
        say: Takes each line of the report.
        sleep: Waits (seconds).
    """

    state: RolloutState
    file: Path
    fleet: Fleet
    say: Callable[[str], None]
    sleep: Sleep = time.sleep

    def run(self) -> str:
        """Go on to the end, or to where something is missing; returns the verdict."""
        for number in range(self.state.batches):
            unsure = [] if self.state.spent else self._batch(number)
            if self.state.spent:
                return self.back()
            if unsure:
                return self._pause(unsure)
        return self._end(PASSED)

    def back(self) -> str:
        """Put back every host that was changed; returns the verdict."""
        self._put_back(self.state.changed())
        return self._end(FAILED)

    def _batch(self, number: int) -> list[str]:
        """Take one batch as far as that goes; returns the hosts of which something is missing."""
        hosts = self.state.hosts
        names = [n for n in self.state.batch(number) if hosts[n].phase in (WAITING, TOUCHED)]
        waiting = [name for name in names if hosts[name].phase == WAITING]
        if waiting and not self._may_begin(number, waiting):
            return [name for name in waiting if hosts[name].reasons]
        undone = [name for name in names if not hosts[name].looks]
        if undone:
            self._touch(undone)
        unsure = self._soak([name for name in names if hosts[name].phase == TOUCHED])
        return unsure + [name for name in names if hosts[name].phase == WAITING]

    def _may_begin(self, number: int, names: list[str]) -> bool:
        """Look at hosts before they are touched; whether all may be."""
        self.say(f"batch {number + 1} of {self.state.batches}: {few(names)}")
        ready = True
        for name, look in self.fleet.look(names).items():
            host = self.state.hosts[name]
            host.before, host.reasons = look.document(), not_ready(look)
            ready &= not host.reasons
            for note in notes(look):
                self.say(f"  {name}: {note}")
        self._save()
        return ready

    def _touch(self, names: list[str]) -> None:
        """Deploy, and note what came of it on each host."""
        for name in names:
            self.state.hosts[name].phase = TOUCHED
        self._save()
        went_well = self.fleet.deploy(names)
        for name, look in self.fleet.look(names).items():
            host = self.state.hosts[name]
            before = int(Look(**host.before).newest)
            if look.trouble or look.newest != before:
                host.looks = [look.document()]
                pauses = look.releases[-1].get("pauses") if look.releases else None
                host.pause = (pauses or {}).get("bot")
                if host.pause is not None:
                    self.say(f"  {name}: its bot was away for {host.pause:.1f} s")
            elif went_well:
                host.phase = UNCHANGED
                self.say(f"  {name}: nothing to change")
            else:
                host.phase = WAITING
                host.reasons = ["it was not deployed, and is as it was"]
        self._save()

    def _soak(self, names: list[str]) -> list[str]:
        """Look at hosts for as long as that needs; returns those that lack something then."""
        for left in reversed(range(LOOKS)):
            names = self._judge(names)
            if not names or self.state.spent or not left:
                break
            self.sleep(self.state.seconds / (LOOKS - 1))
            for name, look in self.fleet.look(names).items():
                self.state.hosts[name].looks.append(look.document())
            self._save()
        return names

    def _judge(self, names: list[str]) -> list[str]:
        """Judge hosts, and put back those that fail; returns those that lack something."""
        needs = Needs(self.state.seconds, self.state.acknowledgements)
        found: dict[str, list[str]] = {PASSED: [], FAILED: [], INCONCLUSIVE: []}
        for name in names:
            host = self.state.hosts[name]
            looks = [Look(**one) for one in host.looks]
            verdict, host.reasons = judge(Look(**host.before), looks, needs)
            found[verdict].append(name)
            if verdict == PASSED:
                host.phase = ACCEPTED
            host.failed = verdict == FAILED
            if verdict != INCONCLUSIVE:
                self.say(f"  {name}: {verdict}" + "".join(f"; {why}" for why in host.reasons))
        self._save()
        if not self.state.spent:  # else all are put back together
            self._put_back(found[FAILED])
        return found[INCONCLUSIVE]

    def _pause(self, names: list[str]) -> str:
        for name in names:
            self.say(f"  {name}: {INCONCLUSIVE}: {'; '.join(self.state.hosts[name].reasons)}")
        self.say("paused, and nothing more is changed; go on with --continue, or back with --back")
        return INCONCLUSIVE

    def _put_back(self, names: list[str]) -> None:
        """Put hosts back to the release that they had, and note which are."""
        hosts = self.state.hosts
        releases = {name: Look(**hosts[name].before).newest for name in names}
        had = {name: number for name, number in releases.items() if number}
        for name in set(names) - set(had):
            hosts[name].phase = BACK
            self.say(f"  {name}: it had no bot before; the new one is left as it is")
        if not had:
            return
        self.fleet.back(had, self._wrong_books(had))
        for name, look in self.fleet.look(list(had)).items():
            runs = not look.trouble and look.result == "good" and look.health == "healthy"
            well = runs and look.equal is not False
            hosts[name].phase = BACK if well else STUCK
            why = look.trouble or f"release {look.newest} is {look.result}, {look.health}"
            why += ", and the audit finds a difference" if runs else ""
            said = f"release {had[name]}" if well else f"NOT release {had[name]}: {why}"
            self.say(f"  {name}: put back to {said}")
        self._save()

    def _wrong_books(self, names: Iterable[str]) -> dict[str, int]:
        """Return the releases whose bots wrote books that are not the exchange's, by host."""
        looks = {name: [Look(**one) for one in self.state.hosts[name].looks] for name in names}
        wrong = [name for name, each in looks.items() if any(one.equal is False for one in each)]
        return {name: looks[name][-1].newest for name in wrong}

    def _end(self, verdict: str) -> str:
        stuck = [name for name, host in self.state.hosts.items() if host.phase == STUCK]
        if not stuck:
            self.state.verdict = verdict
            self._save()
        self.say(report(self.state, verdict))
        return verdict

    def _save(self) -> None:
        rollout_state.save(self.file, self.state)


def report(state: RolloutState, verdict: str) -> str:
    """Return a line for each host, and one for all: what, where, why."""
    lines = [f"the rollout that {state.who} began at {state.began}: {verdict}"]
    for name, host in state.hosts.items():
        pause = "" if host.pause is None else f", its bot was away for {host.pause:.1f} s"
        why = f": {'; '.join(host.reasons)}" if host.reasons else ""
        lines.append(f"{name}  batch {host.batch + 1}  {host.phase}{pause}{why}")
    return "\n".join(lines)
