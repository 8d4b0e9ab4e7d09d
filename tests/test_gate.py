"""The gate itself: what runs side by side is heard whole, what fails is counted and named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from molecule.interpolation import Interpolator, TemplateWithDefaults

from tests import gate, summary

ROOT = Path(__file__).resolve().parents[1]


def stage(name: str, script: str, junit: Path | None = None):
    return gate.Stage(name, ["sh", "-c", script], junit)


def junit(path: Path, *cases: str) -> Path:
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return path


def test_what_runs_beside_is_printed_whole_after_what_is_in_front(tmp_path, capfd):
    front = [stage("first", "echo 1st"), stage("second", "echo 2nd; exit 3")]
    beside = [stage("slow", "echo a; sleep 0.5; echo b"), stage("last", "echo c >&2")]
    gate.side_by_side(front, beside, tmp_path, gate.Processes())
    lines = capfd.readouterr().out.splitlines()
    said = [line for line in lines if line and not line.startswith("Output")]
    assert [line.partition(":")[0] for line in said] == [
        *("== first", "1st", "== first", "== second", "2nd", "== second"),
        *("== slow", "a", "b", "== slow", "== last", "c", "== last"),
    ]
    assert "== second: 0 s, failed (3)" in said
    assert [one.status for one in [*front, *beside]] == [0, 3, 0, 0]


def test_two_rows_run_at_the_same_time(tmp_path):
    # Each waits for the other's file: one after the other they would never end.
    wait = "touch {0}; for i in $(seq 100); do [ -e {1} ] && exit 0; sleep 0.1; done; exit 1"
    one, other = tmp_path / "one", tmp_path / "other"
    front, beside = stage("a", wait.format(one, other)), stage("b", wait.format(other, one))
    gate.side_by_side([front], [beside], tmp_path, gate.Processes())
    assert (front.status, beside.status) == (0, 0)


def test_nothing_begins_after_what_failed_and_what_is_beside_goes_on(tmp_path, capfd):
    front = [stage("first", "exit 3"), stage("second", "echo never")]
    beside = [stage("slow", "sleep 0.5; exit 2"), stage("last", "echo said")]
    ran = gate.side_by_side(iter(front), beside, tmp_path, gate.Processes())
    assert ran == [front[0], *beside]
    assert [one.status for one in [*front, *beside]] == [3, None, 2, 0]
    said = capfd.readouterr().out
    assert "never" not in said
    assert "said" in said


def rows_with(monkeypatch, snapshot: Path | None, tmp_path: Path, *, status: int = 0):
    """The gate's rows with commands of no weight; the front's `molecule` makes the snapshot."""
    monkeypatch.setattr(gate.provisioned, "snapshot", lambda *_: snapshot)
    make = f"mkdir -p {snapshot}" if snapshot and not status else f"exit {status}"

    def light(stages):
        for one in stages:
            one.command = ["sh", "-c", make if "from nothing" in one.name else "true"]
            yield one

    rows = gate.Rows(quick=False, state=tmp_path)
    ran = gate.side_by_side(light(rows.front()), light(rows.beside()), tmp_path, gate.Processes())
    return {one.name: one for one in ran}


BRANCH = "molecule: a branch of it (host, images, a hang)"
WHOLE = "molecule: a virtual Pi (trixie) from nothing to trading"


def test_a_second_machine_begins_with_the_snapshot_and_takes_its_part(monkeypatch, tmp_path):
    ran = rows_with(monkeypatch, tmp_path / "snapshot", tmp_path)
    left_out = ran[WHOLE].environment["PYTEST_ADDOPTS"]
    assert all(f"--deselect={one}" in left_out for one in gate.ON_BRANCH)
    assert ran[BRANCH].environment["GRIDBERRY_SNAPSHOT"] == os.fspath(tmp_path / "snapshot")
    assert "deselect" not in ran[BRANCH].environment["PYTEST_ADDOPTS"]
    assert ran[BRANCH].junit != ran[WHOLE].junit


@pytest.mark.parametrize(("name", "status"), [("snapshot", 1), (None, 0), (None, 1)])
def test_without_a_snapshot_no_second_machine_takes_anything(monkeypatch, tmp_path, name, status):
    ran = rows_with(monkeypatch, name and tmp_path / name, tmp_path, status=status)
    assert BRANCH not in ran
    assert ("deselect" in ran[WHOLE].environment["PYTEST_ADDOPTS"]) == (name is not None)


@pytest.mark.parametrize("quick", [True, False])
def test_each_unit_test_is_in_one_of_the_rows(monkeypatch, tmp_path, quick):
    monkeypatch.setattr(gate.provisioned, "snapshot", lambda *_: None)
    rows = gate.Rows(quick=quick, state=tmp_path)
    *_, last = rows.front()
    [others] = rows.beside()
    for one in gate.LAST:
        assert one in last.command
        assert f"--ignore={one}" in others.command
        assert (ROOT / one).exists()
    assert last.junit != others.junit


def test_what_one_machine_leaves_out_the_other_tests():
    scenario = ROOT / "molecule" / "branch"
    verifier = yaml.safe_load((scenario / "molecule.yml").read_text())["verifier"]
    tests = scenario / verifier["directory"]
    paths = [tests, *(tests / more for more in verifier["additional_files_or_dirs"])]
    assert sorted(os.path.relpath(path.resolve(), ROOT) for path in paths) == sorted(gate.ON_BRANCH)
    assert all(path.exists() for path in paths)


def test_a_command_that_is_not_there_fails(tmp_path):
    front, beside = gate.Stage("a", ["/no/such"]), gate.Stage("b", ["/no/such"])
    gate.side_by_side([front], [beside], tmp_path, gate.Processes())
    assert (front.status, beside.status) == (127, 127)


def test_counts_and_names(tmp_path, capsys):
    good = '<testcase classname="m" name="good"/>'
    skipped = '<testcase classname="m" name="s"><skipped/></testcase>'
    why = "AssertionError: 1 != 2&#10;where 1 = x"
    bad = f'<testcase classname="m" name="bad"><failure message="{why}"/></testcase>'
    broken = '<testcase classname="m" name="broken"><error/></testcase>'
    results = [
        summary.Result("lint", ok=False),
        summary.Result("unit", ok=True, junit=junit(tmp_path / "1.xml", good, good, skipped)),
        summary.Result("pi", ok=False, junit=junit(tmp_path / "2.xml", good, bad, broken)),
        summary.Result("no machine", ok=False, junit=tmp_path / "none.xml"),
    ]
    assert summary.closing(results) == 1
    assert capsys.readouterr().out.splitlines() == [
        *(
            "failed: stage: lint",
            "failed: m::bad: AssertionError: 1 != 2",
            "failed: m::broken",
            "failed: stage: no machine",
        ),
        "3 passed, 4 failed, 1 skipped",
    ]


def test_how_a_machine_was_is_said_last(tmp_path, capsys):
    ran = gate.molecule_stage("pi", "default", tmp_path / "pi.xml")
    gate.print_machines([ran])
    Path(ran.environment["GRIDBERRY_MACHINE_NOW"]).write_text("bot: exited\n")
    gate.print_machines([ran, stage("lint", "true")])
    assert capsys.readouterr().out == "\n== pi: the machine after its tests\nbot: exited\n\n"


@pytest.mark.parametrize(("candles", "speed"), [("BTC.csv", "600"), ("", "300")])
def test_made_up_prices_go_slower_than_recorded_ones(tmp_path, monkeypatch, candles, speed):
    monkeypatch.setenv("GRIDBERRY_CANDLES", candles)
    environment = gate.molecule_stage("pi", "host", tmp_path / "pi.xml").environment
    scenario = (ROOT / "molecule" / "default" / "molecule.yml").read_text()
    read = Interpolator(TemplateWithDefaults, dict(environment)).interpolate(scenario)
    assert yaml.safe_load(read)["provisioner"]["env"]["GRIDBERRY_SPEED"] == speed


def test_all_is_well_only_where_something_was_tested(tmp_path, capsys):
    good = junit(tmp_path / "1.xml", '<testcase classname="m" name="good"/>')
    assert summary.closing([summary.Result("lint", ok=True)]) == 1
    assert summary.closing([summary.Result("unit", ok=True, junit=good)]) == 0
    assert capsys.readouterr().out.splitlines() == ["0 passed, 0 failed", "1 passed, 0 failed"]


def is_running(pid: Path) -> bool:
    """Whether the process whose number is in this file runs; one that nobody reaped does not."""
    try:
        status = Path(f"/proc/{int(pid.read_text())}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_running(tmp_path, number):
    # With a child that its parent does not end, as Ansible is molecule's.
    child = "sh -c 'trap : INT; echo $$ >{0}.child; sleep 600; sleep 600'"
    sleeper = child + " & echo $$ >{0}; exec sleep 600"
    pids = [tmp_path / "front.pid", tmp_path / "beside.pid"]
    script = f"""
import sys
sys.path.insert(0, {os.fspath(ROOT)!r})
from tests import gate
from pathlib import Path
def fake(*, quick, state, processes):
    front, beside = (gate.Stage("s", ["sh", "-c", text]) for text in sys.argv[1:])
    gate.side_by_side([front], [beside], Path({os.fspath(tmp_path)!r}), processes)
gate.gate = fake
sys.exit(gate.main([]))
"""
    command = [sys.executable, "-c", script, *(sleeper.format(pid) for pid in pids)]
    # A state of its own: interrupted, a gate removes the machines of its state, and the one that
    # runs this test may have one.
    here = os.environ | {"GRIDBERRY_STATE": os.fspath(tmp_path / "state")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=here) as process:
        children = [pid.with_name(f"{pid.name}.child") for pid in pids]
        while not all(pid.exists() and pid.read_text() for pid in (*pids, *children)):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        assert "interrupted" in process.stderr.read()
    assert process.returncode == 130
    assert not [pid for pid in (*pids, *children) if is_running(pid)]


def test_the_machines_of_every_scenario_are_removed_and_no_others(tmp_path, monkeypatch):
    texts = [path.read_text() for path in ROOT.glob("molecule/*/molecule.yml")]
    states = [yaml.safe_load(text)["provisioner"]["env"]["GRIDBERRY_STATE"] for text in texts]
    places = [state.replace("${MOLECULE_PROJECT_DIRECTORY}/.gridberry", "") for state in states]
    wanted = {f"{tmp_path}{place}" for place in places} | {f"{tmp_path}/full/a-part"}
    for place in (*wanted, tmp_path, f"{tmp_path}/unit"):
        Path(place, "machines").mkdir(parents=True)
    removed = set()

    def remove(_, *, env, **__):
        removed.add(env["GRIDBERRY_STATE"])

    monkeypatch.setattr(gate.subprocess, "run", remove)
    gate.remove_machines(tmp_path)
    assert len(wanted) == len(texts) + 1
    assert removed == wanted
