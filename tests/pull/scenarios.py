"""What a host that follows a repository must do, on machines with systemd, sshd, git and pip."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.pull.world import API_KEY, PULL, SITE, World

PLACE, STATE = "/etc/gridberry/pull", "/var/lib/gridberry/pull"
# What all processes were started with, and their environments.
ALL_PROCESSES = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"


@contextmanager
def world_of(directory: Path) -> Iterator[tuple[World, str]]:
    """Give machines, and the playbook with which the operator sets pi1 up."""
    world = World(directory)
    try:
        play = directory / "pull.yml"
        follow = [SITE[0] | {"tasks": SITE[0]["tasks"][1:]}]
        play.write_text(json.dumps(follow))
        yield world, str(play)
    finally:
        world.close()


def watched(world: World, action: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Do something; returns what came of it, and the secrets that any process showed meanwhile."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.update(world.found_in(world["pi1"].ask("sh", "-c", ALL_PROCESSES)))
            over.wait(0.1)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        return action(), sorted(seen)
    finally:
        over.set()
        thread.join()


def set_up(directory: Path, **_: Any) -> str:
    """Check mode, twice, what is in force, and undone."""
    with world_of(directory) as (world, play):
        pi1 = world["pi1"]
        world.well(play, "--check", "--diff", "-vvv")
        assert not pi1.path(PLACE).exists()
        world.well(play, "--diff", "-vvv")
        assert world.changed(world.well(play)) == {"pi1": 0}
        listed = pi1.run("systemctl", "list-timers", "--no-pager")
        assert "gridberry-pull.timer" in listed, listed
        for name in ("deploy_key", "credentials", "vault_password", "report_url"):
            assert pi1.run("stat", "-c", "%a %U", f"{PLACE}/{name}") == "600 root", name
        assert pi1.run("stat", "-c", "%a", PLACE) == "700"
        nobody = pi1.ask("runuser", "-u", "nobody", "--", "cat", f"{PLACE}/settings.json")
        assert "Permission denied" in nobody
        pi1.run("systemctl", "disable", "-q", "--now", "gridberry-pull.timer")
        assert world.changed(world.well(play)) == {"pi1": 1}
        assert pi1.run("systemctl", "is-active", "gridberry-pull.timer") == "active"
        world.well(play, pull_state="absent")
        assert not pi1.path(PLACE).exists() or not list(pi1.path(PLACE).iterdir())
        assert "gridberry-pull" not in pi1.ask("systemctl", "list-timers", "--all", "--no-pager")
        assert world.changed(world.well(play, pull_state="absent")) == {"pi1": 0}
    return "check mode, twice, in force, undone"


def follow(directory: Path, **_: Any) -> str:
    """What is signed runs once; nothing else does; each result comes home; no secret is shown."""
    with world_of(directory) as (world, play):
        pi1 = world["pi1"]
        world.well(play)
        first = world.push()
        result, shown = watched(world, world.pull)
        assert (result["result"], result["commit"]) == ("applied", first), result
        assert not shown, shown
        assert world.grid() == "1"
        assert pi1.run("cat", "/etc/gridberry/grid") == f"1 {len(API_KEY)}"  # of the vault
        assert world.pull()["result"] == "unchanged"
        assert world.changed(world.well(play)) == {"pi1": 0}  # as the operator would have it

        world.write(2)
        world.push(key="")
        refused(world, "not signed")
        world.git("reset", "-q", "--soft", "HEAD^")
        world.push(key="foreign")
        refused(world, "not signed")
        world.git("reset", "-q", "--soft", "HEAD^")
        second = world.push()
        assert world.pull()["commit"] == second
        assert world.grid() == "2"
        world.send(first)
        refused(world, "older", grid="2")
        world.send(second)

        another_server(world)
        cable(world)
        held(world, play)
        by_itself(world)
        reports = world.reports()
        assert {one["result"] for one in reports} == {"applied", "unchanged", "refused", "failed",
                                                      "held"}  # fmt: skip
        assert all(one["host"] == "pi1" for one in reports)
        logs = pi1.run("journalctl", "--no-pager") + pi1.run("cat", f"{STATE}/log")
        logs += json.dumps(reports) + pi1.run("cat", "/var/lib/gridberry/pull.json")
        assert not world.found_in(logs), world.found_in(logs)

        world.write(5, pull_state="absent")
        world.push()
        # By the timer: a start would join a pull that is under way.
        world.wait("the last commit", lambda: world.grid() == "5")
        world.wait("its end", lambda: pi1.ask("systemctl", "is-active", PULL) == "inactive")
        assert "gridberry-pull" not in pi1.ask("systemctl", "list-timers", "--all", "--no-pager")
        world.well(play, pull_state="absent")
        assert not pi1.path(STATE).exists()
    return "applied once, refused, held, cut off, by its timer, and no more"


def refused(world: World, why: str, grid: str = "1") -> None:
    """Pull what must not run."""
    result = world.pull()
    assert result["result"] == "refused", result
    assert why in result["error"], result
    assert world.grid() == grid


def another_server(world: World) -> None:
    """A server with the repository and another host key gets nothing, and sends nothing."""
    key = "/etc/ssh/ssh_host_ed25519_key"
    git1 = world["git1"]
    git1.run("sh", "-c", f"mkdir /root/kept && mv {key} {key}.pub /root/kept")
    git1.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    git1.run("systemctl", "restart", "ssh")
    result = world.pull()
    assert result["result"] == "failed", result
    assert "pull_known_hosts" in result["error"], result
    git1.run("sh", "-c", f"mv /root/kept/* {Path(key).parent}/")
    git1.run("systemctl", "restart", "ssh")
    assert world.pull()["result"] == "unchanged"


def cable(world: World) -> None:
    """Without a network it fails, says so at the next pull, and goes on."""
    world.switch.cut(world["git1"])
    result = world.pull()
    assert result["result"] == "failed", result
    world.switch.mend(world["git1"])
    world.wait("a network", lambda: world.pull()["result"] == "unchanged")


def held(world: World, play: str) -> None:
    """A hold keeps a commit back, a deployment of the role leaves it, and it goes."""
    program = "/usr/local/lib/gridberry/pull.py"
    world["pi1"].run(program, "hold", "rollout by me")
    world.write(3)
    third = world.push()
    result = world.pull()
    assert (result["result"], world.grid()) == ("held", "2"), result
    assert "rollout by me" in result["error"]
    world.well(play)
    assert world.pull()["result"] == "held"
    world["pi1"].run(program, "release")
    assert world.pull()["commit"] == third
    assert world.grid() == "3"


def by_itself(world: World) -> None:
    """The timer pulls, in a schedule that a commit set."""
    world.write(3, pull_schedule="*:*:0/5", pull_spread_minutes=0)
    world.push()
    assert world.pull()["result"] == "applied"
    world.write(4, pull_schedule="*:*:0/5", pull_spread_minutes=0)
    world.push()
    world.wait("a pull by the timer", lambda: world.grid() == "4")


def kills(directory: Path, count: int = 10, seed: int = 2611, **_: Any) -> str:
    """The machine is cut off in a pull at random moments: the next one ends what it began."""
    moments = random.Random(seed)  # noqa: S311 - the same moments again
    inside = 0
    with world_of(directory) as (world, play):
        pi1 = world["pi1"]
        world.well(play)
        world.push()
        begun = time.monotonic()
        assert world.pull()["result"] == "applied"
        whole = time.monotonic() - begun
        for number in range(2, count + 2):
            lock = world.operator / "roles/pull/files/requirements.lock"
            if number % 2:  # another environment is made, too
                lock.write_text(f"{lock.read_text()}# {number}\n")
            world.write(number)
            commit = world.push()
            pi1.run("systemctl", "start", "--no-block", PULL)
            time.sleep(moments.uniform(0, whole))
            inside += pi1.ask("systemctl", "is-active", PULL) == "activating"
            pi1.cut_power()
            pi1.boot()
            result = world.pull()
            assert result["result"] in ("applied", "unchanged"), result
            assert result["commit"] == commit
            assert world.grid() == str(number), number
            assert len(list(pi1.path(STATE).glob("venv-*"))) == 1
            assert world.changed(world.well(play)) == {"pi1": 0}
    return f"{count} times, {inside} of them inside a pull: the next one ended it"


SCENARIOS: dict[str, Callable[..., str]] = {"set-up": set_up, "follow": follow, "kills": kills}
