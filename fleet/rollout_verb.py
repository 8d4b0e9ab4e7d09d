"""`./gridberry rollout`: its options, the file of its state, and the hosts behind Ansible."""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gridbase.errors import UserError

from fleet import pulls, rollout_state
from fleet.ansible import Ansible, state_directory
from fleet.rollout import Rollout, Sleep
from fleet.rollout_judge import FAILED, INCONCLUSIVE, PASSED, Look, Needs, look_of
from fleet.rollout_plan import batches
from fleet.rollout_state import HostState, RolloutState

WORDS = (
    "Bring a new release to the bots, batch by batch, and put it back where it fails",
    "rollout --canary pi1 --soak 120",
)
SOAK_MINUTES, ORDERS = 60, 10
STATUS = {PASSED: 0, FAILED: 1, INCONCLUSIVE: 5}


def add(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument(
        "--canary", default="", metavar="HOSTS", help="these first, with commas (the first host)"
    )
    for flag, default, metavar, said in (
        ("--soak", SOAK_MINUTES, "MINUTES", "how long each release is watched"),
        ("--orders", ORDERS, "N", "how many orders the exchange must have taken from it"),
        ("--failures", 0, "N", "how many hosts may fail before all are put back"),
    ):
        text = f"{said} ({default})"
        parser.add_argument(flag, type=whole_number, default=default, metavar=metavar, help=text)
    how = parser.add_mutually_exclusive_group()
    for flag, said in (
        ("--plan", "print the batches, and change nothing"),
        ("--continue", "go on with a rollout that was paused or interrupted"),
        ("--back", "put back all hosts that it has changed"),
    ):
        how.add_argument(flag, dest="how", action="store_const", const=flag[2:], help=said)
    parser.set_defaults(how="begin", takes="further arguments of ansible-playbook")


def whole_number(text: str, least: int = 0) -> int:
    """Read a number from the command line.

    Args:
        text: As it was said.
        least: The smallest that is allowed; there is a largest, too.

    Raises:
        ArgumentTypeError: It is not allowed.
    """
    if not re.fullmatch("[0-9]{1,7}", text) or int(text) < least:
        words = f"use a whole number from {least} to {10**7 - 1}"
        raise argparse.ArgumentTypeError(f"'{text}' is not allowed; {words}")
    return int(text)


def run(options: argparse.Namespace, ansible: Ansible) -> int:
    """Run the verb; returns the exit status."""
    canaries = [name.strip() for name in options.canary.split(",") if name.strip()]
    needs = Needs(options.soak * 60, options.orders)
    task = Task(canaries, needs, options.failures, options.rest)
    return STATUS[roll_out(ansible, task, how=options.how)]


class AnsibleFleet:
    """Hosts that Ansible reaches.

    Args:
        ansible: Of an inventory.
        state: A directory for answers.
        words: Further arguments for the deployment.
    """

    def __init__(self, ansible: Ansible, state: Path, words: list[str]) -> None:
        self._ansible, self._state, self._words = ansible, state, words

    def look(self, hosts: list[str]) -> dict[str, Look]:
        """Look at each, by `playbooks/look.yml`.

        Raises:
            UserError: Not even a file came of it.
        """
        file, log = self._state / "look.json", self._state / "look.log"
        file.unlink(missing_ok=True)
        self._ansible.limit = ",".join(hosts)
        settings = {"look_output": os.fspath(file), "look_hosts": self._ansible.limit}
        words = ["-e", json.dumps(settings)]
        if self._ansible.playbook("look", *words, log=log) and not file.exists():
            raise UserError(f"the hosts cannot be looked at; the log: {log}")
        said = json.loads(file.read_text())
        return {
            str(one["host"]): look_of(one, _object(said["more"].get(one["host"], "")))
            for one in said["status"]
        }

    def deploy(self, hosts: list[str]) -> bool:
        """Run the bot's part of `playbooks/site.yml`."""
        self._ansible.limit = ",".join(hosts)
        settings = json.dumps({"gridberry_max_fail_percentage": 100})
        words = ["--tags", "grid_bot", "-e", settings, *self._words]
        return self._ansible.playbook("site", *words) == 0

    def back(self, releases: Mapping[str, int], books: Mapping[str, int]) -> bool:
        """Run `playbooks/rollback.yml`."""
        self._ansible.limit = ",".join(releases)
        settings: dict[str, object] = {"gridberry_max_fail_percentage": 100}
        settings |= {"rollback_releases": dict(releases), "rollback_books": dict(books)}
        return self._ansible.playbook("rollback", "-e", json.dumps(settings)) == 0


def _object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Task:
    """What a rollout is to be.

    Attributes:
        canaries: The hosts that come first; none: the first one.
        needs: What each release must show.
        budget: How many hosts may fail before all are put back.
        words: Further arguments for the deployment.
    """

    canaries: list[str]
    needs: Needs
    budget: int
    words: list[str]


def planned(modes: Mapping[str, str], task: Task, inventory: str) -> RolloutState:
    """Return the state of a rollout that is about to begin.

    Args:
        modes: Each host's mode, in the order of the inventory.
        task: What it is to be.
        inventory: On which.
    """
    order = batches(modes, task.canaries)
    if task.budget >= len(modes):
        raise UserError(
            f"--failures is {task.budget}; use a number below that of the hosts, {len(modes)}"
        )
    return RolloutState(
        inventory=inventory,
        who=rollout_state.myself(),
        began=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        seconds=task.needs.seconds,
        acknowledgements=task.needs.acknowledgements,
        budget=task.budget,
        hosts={name: HostState(number) for number, batch in enumerate(order) for name in batch},
    )


def plan_text(state: RolloutState) -> str:
    """Return the plan: a line for each batch, and what each release must show."""
    lines = [f"batch {n + 1}: {', '.join(state.batch(n))}" for n in range(state.batches)]
    lines.append(
        f"each release is watched for {state.seconds // 60} minutes, and must have"
        f" {state.acknowledgements} orders acknowledged; hosts that may fail: {state.budget}"
    )
    return "\n".join(lines)


def unfinished(state: RolloutState | None, inventory: str, how: str) -> RolloutState | None:
    """Return the rollout to go on with, or None where a new one may begin.

    Args:
        state: What the file has.
        inventory: On which this one would be.
        how: begin, plan, continue or back.

    Raises:
        UserError: There is none to go on with, or one that must be ended first.
    """
    going = state if state is not None and not state.verdict else None
    if how == "plan":
        return None
    if how == "begin":
        if going is not None:
            raise UserError(
                f"the rollout that {going.who} began at {going.began} is not finished:"
                " go on with --continue, or back with --back"
            )
        return None
    if state is None or (going is None and how == "continue"):
        raise UserError(f"--{how}: there is no rollout that was paused or interrupted")
    if state.inventory != inventory:
        raise UserError(f"--{how}: the rollout is of {state.inventory}, not of {inventory}")
    return state


def roll_out(ansible: Ansible, task: Task, *, how: str, sleep: Sleep = time.sleep) -> str:
    """Begin a rollout, or go on with one; returns the verdict.

    Args:
        ansible: Of the inventory.
        task: What it is to be; of no account where one goes on.
        how: begin, plan, continue or back.
        sleep: Waits (seconds).

    Raises:
        UserError: It cannot begin, or go on.
    """
    directory = state_directory()
    file = directory / "rollout.json"
    with rollout_state.locked(directory / "rollout.lock") as left:
        state = unfinished(rollout_state.load(file), ansible.inventory, how)
        if state is None:
            hosts = ansible.hosts()
            modes = {name: str(one.get("grid_bot_mode", "paper")) for name, one in hosts.items()}
            state = planned(modes, task, ansible.inventory)
            state.following = pulls.following(hosts)
        if left:
            print(left, flush=True)
        print(plan_text(state), flush=True)
        if how == "plan":
            return PASSED
        fleet = AnsibleFleet(ansible, directory, task.words)
        pulls.hold(ansible, state.following, f"rollout of {state.who}, begun {state.began}", how)
        if how == "begin" and state.following:  # an interruption leaves no hold without a rollout
            rollout_state.save(file, state)
        rollout = Rollout(state, file, fleet, say=say_now, sleep=sleep)
        verdict = rollout.back() if how == "back" else rollout.run()
        if state.verdict:  # else it goes on later, or goes back
            problem = pulls.release(ansible, state.following)
            print(problem, end="\n" if problem else "", flush=True)
        return verdict


def say_now(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)
