"""The host's benchmarks without a machine: how plays are read, moments chosen, copies frozen."""

import itertools
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import power_cuts, second_run
from benchmarks.plays import Play, Task, read_recap, run_play
from virtual_pi.machines import Machine, Status
from virtual_pi.processes import is_alive, name_process

TRANSCRIPT = """
PLAY [Make them trading hosts] *****
TASK [swap : Look] *****
ok: [pi1]
TASK [swap : Set swap up] *****
skipping: [pi1]
RUNNING HANDLER [boot_config : Reboot] *****
changed: [pi1 -> localhost]
TASK [Note it] *****
ok: [pi1]
PLAY RECAP *****
pi1  : ok=2    changed=1    unreachable=0    failed=0    skipped=1    rescued=0    ignored=0
pi2  : ok=3    changed=0    unreachable=0    failed=0    skipped=1    rescued=0    ignored=0
"""


def command(text: str, exit_status: int = 0, seconds: int = 0) -> list[str]:
    """What prints a transcript of Ansible's."""
    code = "import sys, time; print(sys.argv[1], flush=True); time.sleep(int(sys.argv[3]))"
    code += "; sys.exit(int(sys.argv[2]))"
    return [sys.executable, "-c", code, text, str(exit_status), str(seconds)]


def tasks(*begins: float, end: float) -> list[Task]:
    """Tasks that begin at these seconds."""
    pairs = itertools.pairwise([*begins, end])
    return [Task(f"role : {number}", *pair) for number, pair in enumerate(pairs)]


def test_a_play_is_read_as_ansible_prints_it(tmp_path: Path) -> None:
    outcome = run_play(command(TRANSCRIPT), tmp_path / "log")
    assert [(task.name, task.role, task.ran) for task in outcome.tasks] == [
        ("swap : Look", "swap", True),
        ("swap : Set swap up", "swap", False),
        ("boot_config : Reboot", "boot_config", True),
        ("Note it", "", True),
    ]
    assert all(task.seconds >= 0 for task in outcome.tasks)
    assert outcome.converged
    assert (outcome.hosts, outcome.changed, outcome.counts["ok"]) == (2, 1, 5)
    assert (tmp_path / "log").read_text().strip() == TRANSCRIPT.strip()


def test_recap_is_counted_by_name() -> None:
    assert read_recap("pi1 : ok=30 changed=0 failed=2") == {"ok": 30, "changed": 0, "failed": 2}


@pytest.mark.parametrize(("text", "exit_status"), [(TRANSCRIPT, 2), ("no hosts matched", 0)])
def test_a_run_that_failed_or_met_no_host_has_not_converged(
    text: str, exit_status: int, tmp_path: Path
) -> None:
    assert not run_play(command(text, exit_status), tmp_path / "log").converged


def test_a_play_is_waited_for_by_task_and_can_be_killed(tmp_path: Path) -> None:
    with Play(command(TRANSCRIPT, seconds=600), tmp_path / "log") as play:
        assert play.wait_for(3, 0.0)
        assert play.current() == "Note it"
        process = name_process(play.pid)
        assert is_alive(process)
    assert not is_alive(process)


def test_waiting_for_a_task_that_never_comes_ends_with_the_play(tmp_path: Path) -> None:
    with Play(command(TRANSCRIPT), tmp_path / "log") as play:
        assert not play.wait_for(99, 0.0)
        assert not play.wait_for_second(600)


def test_moments_are_the_seeds_and_say_what_ran_then() -> None:
    converge = tasks(5, 20, 60, end=90)
    moments = power_cuts.choose_moments(30, 7, converge, 100, rebooted=None)
    assert moments == power_cuts.choose_moments(30, 7, converge, 100, rebooted=None)
    assert moments != power_cuts.choose_moments(30, 8, converge, 100, rebooted=None)
    assert [moment.second for moment in moments] == sorted(moment.second for moment in moments)
    assert {moment.task for moment in moments} == {-1, 0, 1, 2}
    for moment in moments:
        begin = converge[moment.task].begin if moment.task >= 0 else 0
        assert begin + moment.offset == pytest.approx(moment.second)
        assert 0 <= moment.second <= 100
    assert not any(moment.rebooting for moment in moments)


@pytest.mark.parametrize("count", [1, 2, 30])
@pytest.mark.parametrize("seed", range(20))
def test_one_moment_is_in_the_reboot(count: int, seed: int) -> None:
    converge = tasks(5, 80, 81, end=90)
    moments = power_cuts.choose_moments(count, seed, converge, 100, rebooted=1)
    assert len(moments) == count
    assert any(80 <= moment.second <= 81 and moment.rebooting for moment in moments)


def test_the_task_that_rebooted_is_the_one_that_ran_then() -> None:
    assert power_cuts.reboot_task(tasks(5, 20, 60, end=90), 59.9) == 1


def test_a_frozen_machine_is_copied_without_its_life(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "source", "pi1")
    machine.directory.mkdir(parents=True)
    machine.settings_file.write_text("{}")
    machine.root_disk.write_bytes(b"disk")
    machine.console.write_text("what it printed")
    # Two processes that count for a supervisor and its QEMU, and show whether they go on.
    processes = [subprocess.Popen(["sh", "-c", "while :; do sleep 0.01; done"]) for _ in range(2)]
    try:
        names = [name_process(process.pid) for process in processes]
        machine.write_status(Status("running", "", 3, *names))
        with power_cuts.frozen(machine):
            states = [Path(f"/proc/{process.pid}/stat").read_text() for process in processes]
            assert [state.rpartition(")")[2].split()[0] for state in states] == ["T", "T"]
        power_cuts.copy_frozen(machine, tmp_path / "copy")
        deadline = time.monotonic() + 30
        while any(
            Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
            for process in processes
        ):
            assert time.monotonic() < deadline, "it does not go on"
    finally:
        for process in processes:
            process.kill()
            process.wait()
    copied = Machine(tmp_path / "copy", "pi1")
    names_copied = sorted(path.name for path in copied.directory.iterdir())
    assert names_copied == ["machine.json", "root.qcow2", "status.json"]
    assert copied.root_disk.read_bytes() == b"disk"
    assert copied.status() == Status("off", "the power was cut", 3)


class Rebooting(Machine):
    """A machine that reboots from second 200 to second 220 of a converge."""

    second = 0.0

    def status(self) -> Status:
        booting = 200 <= self.second < 220
        return Status("booting" if booting else "running", boots=2 if self.second >= 200 else 1)


class Clock(Play):
    """A converge of 400 seconds that pass at once."""

    def __init__(self, machine: Rebooting) -> None:
        self.machine = machine

    def wait_for_second(self, second: float) -> bool:
        self.machine.second = second
        return second < 400

    def current(self) -> str:
        return "role : task"

    def seconds(self) -> float:
        return self.machine.second


@pytest.mark.parametrize("count", [1, 3, 30])
def test_moments_of_one_converge_are_all_equally_likely(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(_: Machine, place: Path) -> float:
        (place / "copy").touch()
        return 0.0

    monkeypatch.setattr(power_cuts, "copy_frozen", copy)
    seconds = []
    for seed in range(60 // count):
        plan = power_cuts.Plan(tmp_path / "play.yml", tmp_path / str(seed))
        machine = Rebooting(plan.state / "source", "pi1")
        copies = power_cuts.Copies(plan, machine, count, seed, lambda _: None)
        copies.take(Clock(machine))
        copies.close()
        assert len(copies.cuts) == count
        assert [cut.second for cut in copies.cuts] == sorted(cut.second for cut in copies.cuts)
        places = {path.parent.name for path in plan.state.glob("*/copy")}
        assert places == {f"cut-{cut.number:02}" for cut in copies.cuts}
        assert any(cut.rebooting and 200 <= cut.second < 220 for cut in copies.cuts)
        seconds += [cut.second for cut in copies.cuts if not cut.rebooting]
    if count > 1:
        thirds = [sum(low <= second < low + 134 for second in seconds) for low in (0, 134, 267)]
        assert min(thirds) > len(seconds) / 6


def test_moments_inside_a_task_follow_its_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Writing(Clock):
        """A converge whose task of interest begins at second 100."""

        def current(self) -> str:
            return "role : Write it" if self.seconds() >= 100 else "role : Look"

        def sleep(self, seconds: float) -> None:
            self.machine.second += seconds

    machine = Rebooting(tmp_path / "source", "pi1")
    play = Writing(machine)
    monkeypatch.setattr(power_cuts, "copy_frozen", lambda *_: 0.0)
    monkeypatch.setattr("benchmarks.power_cuts.time.sleep", play.sleep)
    plan = power_cuts.Plan(tmp_path / "play.yml", tmp_path)
    copies = power_cuts.Copies(plan, machine, 30, 7, lambda _: None)
    copies.take_inside(play, "role : Write")
    seconds = [cut.second for cut in copies.cuts]
    assert len(seconds) == 30
    assert seconds == sorted(seconds)
    assert 100 <= seconds[0] < 105
    assert 130 < seconds[-1] <= 136
    assert {cut.task for cut in copies.cuts} == {"role : Write it"}


def test_a_report_counts_what_failed() -> None:
    good, bad = power_cuts.Cut(1, 2.0, "swap : Look", boot_seconds=30), power_cuts.Cut(2, 3.0)
    report = power_cuts.Report(1, [good])
    assert report.ok
    assert report.closing() == "1 of 1: booted and converged"
    bad.failure = "FAILED: it does not boot"
    report.cuts.append(bad)
    assert not report.ok
    assert report.closing() == "1 of 2: booted and converged"
    assert "FAILED" in bad.line()
    assert not power_cuts.Report(1, []).ok


def test_the_second_runs_cost_is_in_units_and_has_a_limit() -> None:
    ran = [*tasks(5, 20, 60, end=90), Task("Note it", 90, 95)]
    result = second_run.Result(100.0, 2.5, ran, 0, 45)
    assert (result.units, result.ok) == (40, True)
    assert not second_run.Result(113.0, 2.5, ran, 0, 45).ok
    assert not second_run.Result(100.0, 2.5, ran, 1, 45).ok
    _, roles = result.by_role()
    assert [(role, count, units) for role, count, _, units in roles] == [
        ("role", "3", "34.0"),
        ("(the play's own)", "1", "2.0"),
        ("(Ansible itself)", "", "4.0"),
    ]
    assert second_run.markdown(result.totals()).splitlines()[1] == "| --- | ---: | ---: |"
    lines = second_run.plain(result.by_task()).splitlines()
    assert lines[0].split() == ["task", "seconds", "units"]
    assert len({len(line) for line in lines}) == 1
