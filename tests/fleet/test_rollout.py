"""A rollout: its order, its verdicts, and what it does to hosts, which here are notes."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from gridbase.errors import UserError

from fleet import rollout_state, rollout_verb
from fleet.rollout import Rollout
from fleet.rollout_judge import (
    FAILED,
    INCONCLUSIVE,
    PASSED,
    Look,
    Needs,
    judge,
    look_of,
    not_ready,
)
from fleet.rollout_plan import batches
from fleet.rollout_state import RolloutState
from fleet.rollout_verb import Task, planned, unfinished

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"number": 1, "result": "good", "pauses": {"bot": 3.5}}
WELL = Look(
    "pi1", at=1000, state="trading", health="healthy", circuit="closed", acknowledged=100,
    milliseconds=80, memory=50, memory_limit=400, equal=True, releases=[GOOD],
    backup={"time": 900, "ok": True},
)  # fmt: skip
NEEDS = Needs(seconds=400, acknowledgements=10)


@pytest.mark.parametrize(
    ("modes", "canaries", "wanted"),
    [
        ("ppppp", "", ["1", "23", "45"]),
        ("p", "", ["1"]),
        ("lp", "", ["2", "1"]),  # paper before live
        ("pppppppp", "3", ["3", "12", "45678"]),
        ("lpplllll", "8", ["8", "23", "14567"]),  # the canaries are first even if live
        ("lpppppll", "12", ["2", "1", "34", "56", "78"]),  # and no batch mixes
    ],
)
def test_the_order(modes: str, canaries: str, wanted: list[str]) -> None:
    names = {str(n): {"p": "paper", "l": "live"}[one] for n, one in enumerate(modes, 1)}
    assert ["".join(batch) for batch in batches(names, list(canaries))] == wanted


def test_a_plan_that_cannot_be() -> None:
    with pytest.raises(UserError, match=r"^--canary names 'pi9'; the hosts are pi1$"):
        batches({"pi1": "paper"}, ["pi9"])
    with pytest.raises(UserError, match=r"^pi1: grid_bot_mode is 'plive'; use paper, testnet, l"):
        batches({"pi1": "plive"})


@pytest.mark.parametrize(
    ("differs", "says"),
    [
        ({}, ""),
        ({"state": "absent", "releases": [], "equal": None}, ""),  # a new host
        ({"backup": None}, ""),  # which is said, and is no reason
        ({"trouble": "no route"}, "cannot be asked: no route"),
        ({"unsettled": 2}, "2 orders have no answer yet"),
        ({"circuit": "half-open"}, "the circuit breaker is half-open"),
        ({"equal": False}, "books and exchange differ"),
        ({"equal": None}, "books and exchange could not be compared"),
        ({"equal": None, "comparable": False}, ""),  # at Interactive Brokers
        ({"equal": False, "comparable": False}, "books and exchange differ"),
        ({"halted": ["loss"]}, "a kill switch has fired: loss"),
        ({"health": "unhealthy"}, "its bot is trading, its container unhealthy"),
        ({"state": "exited"}, "its bot is exited"),
        ({"releases": []}, "no good release to go back to (none is recorded)"),
        ({"releases": [GOOD | {"result": "failed: x"}]}, "(release 1 is failed: x)"),
        ({"backup": {"time": 900, "ok": False}}, "its last backup failed"),
        ({"at": 900 + 27 * 3600}, "its last backup is 27 hours old, more than 26"),
    ],
)
def test_what_speaks_against_touching_a_host(differs: dict[str, Any], says: str) -> None:
    found = not_ready(replace(WELL, **differs))
    assert len(found) == bool(says)
    assert says in "".join(found)


def after(*differs: dict[str, Any]) -> list[Look]:
    """Looks at a new release, 100 seconds and 4 acknowledgements apart, which differ so."""
    new = {"releases": [GOOD, GOOD | {"number": 2}]}
    return [
        replace(WELL, **(new | {"at": 2000 + 100 * n, "acknowledged": 4 * n} | one))
        for n, one in enumerate(differs)
    ]


def test_a_release_that_is_well_passes() -> None:
    assert judge(WELL, after({}, {}, {}, {}, {}), NEEDS) == (PASSED, [])


@pytest.mark.parametrize(
    ("differs", "missing"),
    [
        ([{}] * 4, ["4 of 5 looks", "300 of 400 seconds"]),
        ([{"acknowledged": n} for n in range(5)], ["4 of 10 acknowledged orders"]),
        ([*[{}] * 5, {"trouble": "no route"}], ["pi1 cannot be asked: no route"]),
        ([*[{}] * 4, {"releases": [GOOD | {"result": "starting"}]}], ["release 1 is starting"]),
    ],
)
def test_what_is_missing_is_named(differs: list[dict[str, Any]], missing: list[str]) -> None:
    assert judge(WELL, after(*differs), NEEDS) == (INCONCLUSIVE, missing)


@pytest.mark.parametrize(
    ("differs", "says"),
    [
        ({"equal": False}, "the audit found a difference"),
        ({"doubled": 1}, "a client order ID is doubled"),
        ({"state": "restarting"}, "the bot crashed: its container is restarting"),
        ({"state": "silent"}, "the bot's state cannot be read"),
        ({"health": "unhealthy"}, "the container is unhealthy"),
        ({"releases": [GOOD, {"number": 2, "result": "failed: x"}]}, "its release 2 failed: x"),
    ],
)
def test_what_fails_at_once(differs: dict[str, Any], says: str) -> None:
    assert judge(WELL, after({}, differs), NEEDS) == (FAILED, [says])


def test_an_order_is_unknown_at_the_second_look_without_an_answer() -> None:
    assert judge(WELL, after({}, {"unsettled": 1}, {}), NEEDS)[0] == INCONCLUSIVE
    verdict, reasons = judge(WELL, after({"unsettled": 1}, {"unsettled": 2}), NEEDS)
    assert (verdict, reasons) == (
        FAILED,
        ["2 orders are unknown: no answer since the look before"],
    )


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("refusals", [{"refused": n} for n in range(1, 4)]),
        ("acknowledgement time", [{"milliseconds": 181}] * 3),
        ("reconnects", [{"reconnects": n} for n in range(1, 4)]),
        ("memory", [{"memory": 76}] * 3),
        ("memory", [{"memory": 361}] * 3),
        ("restarts", [{"restarts": n} for n in range(1, 4)]),
    ],
)
def test_what_fails_in_three_of_five_looks(name: str, bad: list[dict[str, Any]]) -> None:
    before = replace(WELL, memory=None) if bad[0].get("memory") == 361 else WELL
    verdict, reasons = judge(before, after({}, {}, *bad), NEEDS)
    assert (verdict, reasons) == (FAILED, [f"{name}: worse than before in 3 of 5 looks"])
    assert judge(before, after({}, {}, {}, *bad[:2]), NEEDS)[0] == PASSED


def test_an_answer_is_judged_once_however_often_it_is_seen() -> None:
    slow = {"milliseconds": 999, "acknowledged": 2}
    assert judge(WELL, after({}, {}, slow, slow, slow), NEEDS)[0] != FAILED
    more = [slow | {"acknowledged": number} for number in (2, 3, 4)]
    assert judge(WELL, after({}, {}, *more), NEEDS)[0] == FAILED


def test_only_the_latest_five_looks_count() -> None:
    slow: dict[str, Any] = {"milliseconds": 999}
    assert judge(WELL, after(slow, {}, {}, slow, {}, {}, {}, slow), NEEDS) == (PASSED, [])


def test_what_is_within_bounds_is_no_signal() -> None:
    usual = {"milliseconds": 180, "memory": 75}
    assert judge(WELL, after(*[usual] * 5), NEEDS) == (PASSED, [])
    # Refused as often as before; a process that began anew counts from zero.
    before = replace(WELL, refused=50)
    refused = [{"refused": n} for n in (0, 2, 4, 0, 2)]
    assert judge(before, after(*refused), NEEDS) == (PASSED, [])


def test_a_look_is_read_from_what_the_host_says() -> None:
    grids = [{"state": "halted", "reason": "loss"}, {"state": "trading", "reason": None}]
    answers = {"acknowledged": 5, "refused": 1, "unanswered": 2, "doubled": 0, "milliseconds": 90}
    bot = {"state": "trading", "health": "healthy", "restarts": 1, "memory_used_bytes": 7}
    bot |= {"grids": grids, "answers": answers, "unsettled": 1, "circuit": "open"}
    release = GOOD | {"secrets": {"key": "digest"}}
    more = {"audit": {"equal": False}, "releases": [release], "now": 77, "backup": None}
    more["releases"] = [GOOD | {"number": 10}, release]  # as a glob has them
    found = look_of({"host": "pi1", "bot": bot}, more)
    assert found.halted == ["loss"]
    assert (found.at, found.acknowledged, found.equal, found.newest) == (77, 5, False, 10)
    assert found.releases == [GOOD, GOOD | {"number": 10}]
    assert look_of({"host": "pi1", "error": "no route"}, {}).trouble == "no route"
    assert look_of({"host": "pi1", "bot": bot}, {}).trouble == "it did not say what it has"


class Hosts:
    """Hosts as notes: which release each has, and how the new one is."""

    def __init__(self, names: list[str]) -> None:
        self.release = dict.fromkeys(names, 1)
        self.newest = dict.fromkeys(names, 1)
        self.ill: dict[str, dict[str, Any]] = {}  # of a new release
        self.before: dict[str, dict[str, Any]] = {}
        self.now, self.orders = 1000, 0
        self.done: list[str] = []
        self.cut_after = 10**9

    def note(self, what: str) -> None:
        if len(self.done) >= self.cut_after:
            raise InterruptedError
        self.done.append(what)

    def look(self, hosts: list[str]) -> dict[str, Look]:
        self.note(f"look {' '.join(hosts)}")
        self.orders += 5
        return {name: self.one(name) for name in hosts}

    def one(self, name: str) -> Look:
        differs = self.before.get(name, {}) if self.release[name] == 1 else self.ill.get(name, {})
        releases = [GOOD, GOOD | {"number": self.newest[name]}]
        times = {"at": self.now, "acknowledged": self.orders}
        return replace(WELL, **({"host": name, "releases": releases} | times | differs))

    def deploy(self, hosts: list[str]) -> bool:
        self.note(f"deploy {' '.join(hosts)}")
        for name in hosts:
            if self.release[name] == 1:
                self.newest[name] += 1
            self.release[name] = 2
        return True

    def back(self, releases: Mapping[str, int], books: Mapping[str, int]) -> bool:
        of = [f"books of {name}:{number}" for name, number in books.items()]
        self.note(" ".join(["back", *(f"{name}:{n}" for name, n in releases.items()), *of]))
        for name, number in releases.items():
            if self.release[name] != number:
                self.newest[name] += 1
            self.release[name] = number
        return True

    def sleep(self, seconds: float) -> None:
        self.now += int(seconds)
        self.note("sleep")


NAMES = ["a", "b", "c", "d", "e"]


def state_of(budget: int = 0) -> RolloutState:
    task = Task([], NEEDS, budget, [])
    return planned(dict.fromkeys(NAMES, "paper"), task, "home")


def rollout(hosts: Hosts, place: Path, budget: int = 0) -> tuple[Rollout, list[str]]:
    """A rollout, new or the one that its file has, and what it says."""
    said: list[str] = []
    file = place / "rollout.json"
    state = rollout_state.load(file) or state_of(budget)
    return Rollout(state, file, hosts, said.append, hosts.sleep), said


def changes(hosts: Hosts) -> list[str]:
    return [one for one in hosts.done if not one.startswith(("look", "sleep"))]


def test_all_batches_one_after_the_other(tmp_path: Path) -> None:
    hosts = Hosts(NAMES)
    going, said = rollout(hosts, tmp_path)
    assert going.run() == PASSED
    assert changes(hosts) == ["deploy a", "deploy b c", "deploy d e"]
    assert hosts.done[:7] == ["look a", "deploy a", "look a", "sleep", "look a", "sleep", "look a"]
    assert "  a: its bot was away for 3.5 s" in said
    assert re.search(r"^e  batch 3  accepted, its bot was away for 3\.5 s$", said[-1], re.MULTILINE)


def test_a_failure_puts_all_back_and_says_what_where_why(tmp_path: Path) -> None:
    hosts = Hosts(NAMES)
    hosts.ill["c"] = {"equal": False}
    going, said = rollout(hosts, tmp_path)
    assert going.run() == FAILED
    # The books of c are those of its release 2.
    assert changes(hosts) == ["deploy a", "deploy b c", "back a:1 b:1 c:1 books of c:2"]
    assert hosts.release == dict.fromkeys(NAMES, 1)
    assert "c  batch 2  put back, its bot was away for 3.5 s: the audit found a diff" in said[-1]
    assert "d  batch 3  waiting" in said[-1]
    state = rollout_state.load(tmp_path / "rollout.json")
    assert state is not None
    assert state.verdict == FAILED


def test_books_that_stay_wrong_are_not_put_back(tmp_path: Path) -> None:
    hosts = Hosts(NAMES)
    hosts.ill["a"] = {"equal": False}
    going, said = rollout(hosts, tmp_path)
    back = hosts.back

    def half(releases: Mapping[str, int], books: Mapping[str, int]) -> bool:
        hosts.before["a"] = {"equal": False}
        return back(releases, books)

    hosts.back = half  # type: ignore[method-assign]
    assert going.run() == FAILED
    why = "release 3 is good, healthy, and the audit finds a difference"
    assert f"  a: put back to NOT release 1: {why}" in said
    hosts.back, hosts.before = back, {}  # type: ignore[method-assign]
    again, said = rollout(hosts, tmp_path)
    assert again.back() == FAILED
    assert changes(hosts)[-1] == "back a:1 books of a:2"
    assert "  a: put back to release 1" in said


def test_one_budget_over_all_batches(tmp_path: Path) -> None:
    hosts = Hosts(NAMES)
    hosts.ill = {"a": {"doubled": 1}, "d": {"doubled": 1}}
    going, _ = rollout(hosts, tmp_path, budget=1)
    assert going.run() == FAILED
    assert changes(hosts) == [
        *("deploy a", "back a:1"),  # within the budget: it alone
        *("deploy b c", "deploy d e"),
        "back b:1 c:1 d:1 e:1",
    ]


def test_a_host_that_is_not_ready_pauses_before_its_batch(tmp_path: Path) -> None:
    hosts = Hosts(NAMES)
    hosts.before["c"] = {"unsettled": 1}
    going, said = rollout(hosts, tmp_path)
    assert going.run() == INCONCLUSIVE
    assert changes(hosts) == ["deploy a"]
    assert "  c: inconclusive: 1 orders have no answer yet" in said
    del hosts.before["c"]
    assert rollout(hosts, tmp_path)[0].run() == PASSED
    assert changes(hosts) == ["deploy a", "deploy b c", "deploy d e"]


def test_too_few_orders_pause_and_are_waited_for(tmp_path: Path) -> None:
    hosts = Hosts(NAMES)
    hosts.ill["a"] = {"acknowledged": 3}
    going, said = rollout(hosts, tmp_path)
    assert going.run() == INCONCLUSIVE
    assert "  a: inconclusive: 3 of 10 acknowledged orders" in said
    assert changes(hosts) == ["deploy a"]
    del hosts.ill["a"]
    assert rollout(hosts, tmp_path)[0].run() == PASSED
    assert changes(hosts) == ["deploy a", "deploy b c", "deploy d e"]


def test_a_host_with_nothing_to_change_is_not_watched(tmp_path: Path) -> None:
    hosts = Hosts(["a", "b"])
    hosts.release["a"] = 2
    state = planned(dict.fromkeys("ab", "paper"), Task([], NEEDS, 0, []), "home")
    rollout_state.save(tmp_path / "rollout.json", state)
    going, said = rollout(hosts, tmp_path)
    assert going.run() == PASSED
    assert "  a: nothing to change" in said
    assert hosts.done[:4] == ["look a", "deploy a", "look a", "look b"]


def test_a_host_that_could_not_be_deployed_is_as_it_was(tmp_path: Path) -> None:
    hosts = Hosts(NAMES)
    hosts.deploy = lambda _hosts: False  # type: ignore[method-assign]
    going, said = rollout(hosts, tmp_path)
    assert going.run() == INCONCLUSIVE
    assert "  a: inconclusive: it was not deployed, and is as it was" in said
    assert going.back() == FAILED
    assert changes(hosts) == []


def test_a_host_that_cannot_be_put_back_is_named_and_tried_again(tmp_path: Path) -> None:
    hosts = Hosts(NAMES)
    hosts.ill["a"] = {"doubled": 1}
    hosts.before["a"] = {}
    going, said = rollout(hosts, tmp_path)
    back = hosts.back
    hosts.back = lambda _releases, _books: False  # type: ignore[method-assign]
    hosts.ill["a"] = {"doubled": 1, "health": "unhealthy"}
    assert going.run() == FAILED
    assert "  a: put back to NOT release 1: release 2 is good, unhealthy" in said
    hosts.back = back  # type: ignore[method-assign]
    again, said = rollout(hosts, tmp_path)
    assert again.state.verdict == ""
    assert again.back() == FAILED
    assert hosts.release["a"] == 1


@pytest.mark.parametrize("how", ["continue", "back"])
@pytest.mark.parametrize("ill", [None, "d"])
def test_interrupted_anywhere_it_goes_on_or_back(tmp_path: Path, how: str, ill: str | None) -> None:
    whole = Hosts(NAMES)
    for cut in range(60):
        hosts, place = copy.deepcopy(whole), tmp_path / str(cut)
        hosts.ill = {ill: {"doubled": 1}} if ill else {}
        place.mkdir()
        hosts.cut_after = cut
        try:
            rollout(hosts, place)[0].run()
        except InterruptedError:
            hosts.cut_after = 10**9
        else:
            break
        again, _ = rollout(hosts, place)
        verdict = again.back() if how == "back" else again.run()
        wanted = 2 if how == "continue" and not ill else 1
        assert verdict == (PASSED if wanted == 2 else FAILED)
        assert hosts.release == dict.fromkeys(NAMES, wanted), f"cut after {cut}"
    assert cut > 20


def test_a_damaged_state_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "rollout.json"
    rollout_state.save(file, state_of())
    assert rollout_state.load(file) == state_of()
    text = file.read_text()
    for damaged in ("", "[]", "{", text[: len(text) // 2], text.replace("waiting", "touched", 1)):
        file.write_text(damaged)
        with pytest.raises(UserError, match=r"rollout\.json is damaged: [^\n]*$"):
            rollout_state.load(file)
    file.write_text(json.dumps(json.loads(text) | {"version": 2}))
    with pytest.raises(UserError, match="is of version 2, this program knows 1"):
        rollout_state.load(file)


def test_another_operator_is_named_and_one_that_died_is_told(tmp_path: Path) -> None:
    lock = tmp_path / "rollout.lock"
    with rollout_state.locked(lock) as left:
        assert left == ""
        with (
            pytest.raises(UserError, match=r"^another rollout is under way: \S+@\S+, process \d+,"),
            rollout_state.locked(lock),
        ):
            pass
    lock.write_text("me@away, process 7, since yesterday")
    with rollout_state.locked(lock) as left:
        assert (
            left == "an earlier rollout ended without a word: me@away, process 7, since yesterday"
        )


def test_the_playbook_is_the_verb(tmp_path: Path) -> None:
    host = {"ansible_connection": "local", "grid_bot_mode": "live"}
    hosts = {"trading": {"hosts": {"pi1": host, "pi2": host | {"grid_bot_mode": "paper"}}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts))
    words = ["-i", tmp_path / "hosts.yml", ROOT / "playbooks/rollout.yml", "--check"]
    own = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "GRIDBERRY_STATE": str(tmp_path / "state")}
    for options, status, says in (
        ("--canary=pi2 --soak 5", 0, "batch 1: pi2\\nbatch 2: pi1\\neach release is watched for 5"),
        ("--canary=pi9", 2, "gridberry: --canary names 'pi9'; the hosts are pi1, pi2"),
    ):
        given = ["-e", f"rollout_options='{options}'"]
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", *words, *given],
            check=False, cwd=ROOT, env=os.environ | own, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == status, done.stdout
        assert says in done.stdout.replace("\n            ", "\\n").replace("\n        ", "\\n")
    assert not (tmp_path / "state/rollout.json").exists()


def test_what_there_is_to_go_on_with() -> None:
    going, ended = state_of(), state_of()
    ended.verdict = PASSED
    assert unfinished(None, "home", "begin") is None
    assert unfinished(ended, "home", "begin") is None
    assert unfinished(going, "home", "continue") is going
    assert unfinished(ended, "home", "back") is ended  # also later
    for state, inventory, how, says in (
        (going, "home", "begin", "is not finished: go on with --continue, or back with --back"),
        (ended, "home", "continue", "--continue: there is no rollout that was paused"),
        (None, "home", "back", "--back: there is no rollout that was paused"),
        (going, "work", "continue", "--continue: the rollout is of home, not of work"),
    ):
        with pytest.raises(UserError, match=says):
            unfinished(state, inventory, how)


class Commands:
    """Ansible as notes: hosts of which two follow a repository, and what is run on them."""

    def __init__(self, hosts: Hosts) -> None:
        self.inventory, self.limit, self.notes = "home", "", hosts
        self.refuse = ""

    def hosts(self) -> dict[str, dict[str, Any]]:
        follows = {"pull_repository": "git@lan:fleet.git"}
        own = {"a": follows, "b": follows | {"grid_bot_pi": "a"}, "c": follows}
        return {name: own.get(name, {}) for name in NAMES}

    def command(self, text: str) -> int:
        words = text.partition("|| /usr/local/lib/gridberry/pull.py ")[2]
        self.notes.note(f"{words.partition(' ')[0]} {self.limit}")
        return int(bool(self.refuse) and words.startswith(self.refuse))


def test_hosts_that_follow_a_repository_are_held_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRIDBERRY_STATE", str(tmp_path))
    hosts = Hosts(NAMES)
    monkeypatch.setattr(rollout_verb, "AnsibleFleet", lambda *_: hosts)
    ansible: Any = Commands(hosts)

    def go(how: str) -> str:
        return rollout_verb.roll_out(ansible, Task([], NEEDS, 0, []), how=how, sleep=hosts.sleep)

    ansible.refuse = "hold"
    with pytest.raises(UserError, match="cannot be held back"):
        go("begin")
    assert hosts.done == ["hold a,c", "release a,c"]
    ansible.refuse = ""
    hosts.before["b"] = {"circuit": "open"}
    assert go("begin") == INCONCLUSIVE
    assert hosts.done[2] == "hold a,c"
    assert "release a,c" not in hosts.done[2:]  # it goes on later
    hosts.before.clear()
    ansible.refuse = "release"
    assert go("continue") == PASSED
    assert hosts.done[-1] == "release a,c"
    assert "sudo /usr/local/lib/gridberry/pull.py release" in capsys.readouterr().out


def test_a_rollout_under_way_lets_no_host_pull_and_goes_back_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRIDBERRY_STATE", str(tmp_path))
    hosts = Hosts(NAMES)
    monkeypatch.setattr(rollout_verb, "AnsibleFleet", lambda *_: hosts)
    ansible: Any = Commands(hosts)

    def go(how: str) -> str:
        return rollout_verb.roll_out(ansible, Task([], NEEDS, 0, []), how=how, sleep=hosts.sleep)

    hosts.cut_after = 1  # in the first look
    with pytest.raises(InterruptedError):
        go("begin")
    hosts.cut_after = 10**9
    hosts.before["b"] = {"circuit": "open"}
    assert go("continue") == INCONCLUSIVE
    ansible.refuse = "hold"
    with pytest.raises(UserError, match="cannot be held back"):
        go("continue")
    assert "release a,c" not in hosts.done
    assert go("back") == FAILED
    assert "cannot be held back" in capsys.readouterr().out
    assert hosts.release["a"] == 1
    assert hosts.done[-1] == "release a,c"


@pytest.mark.parametrize("name", ["look", "status"])
@pytest.mark.parametrize(("hosts", "wanted"), [("b,c", "bc"), ("!b", "acd"), ("", "abcd")])
def test_a_look_has_all_hosts_that_were_asked_for(
    tmp_path: Path, name: str, hosts: str, wanted: str
) -> None:
    """As the last play of the playbook has them; a pattern with a comma is no single word."""
    inventory = {"trading": {"hosts": dict.fromkeys("abcd")}, "other": {"hosts": {"e": None}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    plays = yaml.safe_load((ROOT / f"playbooks/{name}.yml").read_text())
    file = tmp_path / "found.json"
    (tmp_path / "play.yml").write_text(yaml.safe_dump(plays[-1:]))
    given = {f"{name}_output": str(file), f"{name}_hosts": hosts}
    paths = os.pathsep.join(map(str, (ROOT / "roles").glob("*/filter_plugins")))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", tmp_path / "hosts.yml"]
    done = subprocess.run(
        [*command, tmp_path / "play.yml", "-e", json.dumps(given)],
        check=False, capture_output=True, text=True,
        env=os.environ | {"ANSIBLE_FILTER_PLUGINS": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    found = json.loads(file.read_text())
    assert "".join(one["host"] for one in (found["status"] if name == "look" else found)) == wanted
