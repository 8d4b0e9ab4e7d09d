"""Logs are bounded in force, and incidents outlast a cut of the power."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# journald says this when it opens a journal (SD_MESSAGE_JOURNAL_USAGE of systemd/sd-messages.h).
USAGE = "ec387f577b844b8fa948f33cad9a75e6"
RECORDS = "/var/lib/gridberry/incidents.jsonl"
GREEDY = "x = 'a' * 10**8"


def records(pi) -> list[dict]:
    """The incidents that the machine recorded."""
    return [json.loads(line) for line in pi.file(RECORDS).content_string.splitlines()]


@pytest.fixture
def in_memory(pi) -> bool:
    """Whether this machine is told to keep its log files in memory, as trixie's is."""
    return pi.system_info.codename == "trixie"


def test_the_journal_is_where_it_belongs_and_bounded(pi, in_memory):
    # The machine's root is a virtio disk: no SD card, as far as the kernel knows.
    said = pi.check_output("journalctl -q -b -o json -n 1 MESSAGE_ID=%s", USAGE)
    usage = json.loads(said.splitlines()[-1])
    place, megabytes = ("/run", 16) if in_memory else ("/var", 64)
    assert usage["JOURNAL_PATH"].startswith(f"{place}/log/journal/")
    assert int(usage["MAX_USE"]) == megabytes * 1024**2


def test_log_files_are_where_they_belong(pi, in_memory):
    source = pi.run("findmnt -nro SOURCE,SIZE -M /var/log").stdout.split()
    assert source == (["gridberry-logs", "32M"] if in_memory else [])
    # What was written before the directory moved is there.
    assert "Install: " in pi.check_output("cat /var/log/apt/history.log")


@pytest.fixture
def after_a_shutdown_and_a_cut(pi, machine, in_memory):
    """A machine that wrote a log file before an orderly restart, and one before a cut."""
    if not in_memory:
        pytest.skip("this machine keeps its log files on the disk; the other release's does not")
    for name in ("kept", "saved", "lost"):
        pi.check_output("rm -f /var/log/gridberry-%s.log", name)
    try:
        pi.check_output("echo before a restart >/var/log/gridberry-kept.log")
        machine.restart()
        pi.check_output("echo before a save >/var/log/gridberry-saved.log")
        pi.check_output("systemctl start gridberry-logs-save.service")
        pi.check_output("echo before a cut >/var/log/gridberry-lost.log && sync")
        machine.restart(cut=True)
        yield
    finally:
        pi.check_output("rm -f /var/log/gridberry-kept.log /var/log/gridberry-saved.log")


@pytest.mark.long
@pytest.mark.usefixtures("after_a_shutdown_and_a_cut")
def test_files_in_memory_outlast_a_restart_and_from_a_save_on_a_cut(pi):
    assert pi.file("/var/log/gridberry-kept.log").content_string == "before a restart\n"
    assert pi.file("/var/log/gridberry-saved.log").content_string == "before a save\n"
    assert not pi.file("/var/log/gridberry-lost.log").exists
    assert pi.service("gridberry-logs.service").is_running
    assert "/var/log" not in pi.check_output("systemctl list-units --failed --no-legend")


def test_a_file_that_grows_too_large_is_rotated_although_it_is_not_its_day(pi):
    log, rule = "/var/log/gridberry-test.log", "/etc/logrotate.d/zz-gridberry-test"
    pi.check_output("printf '%%s {\n  monthly\n  rotate 2\n}\n' %s >%s", log, rule)
    try:
        pi.check_output("truncate -s 1M %s && systemctl start logrotate.service", log)
        assert pi.file(log).size == 2**20
        pi.check_output("truncate -s 6M %s && systemctl start logrotate.service", log)
        assert pi.file(f"{log}.1").size == 6 * 2**20
    finally:
        pi.check_output("rm -f %s %s %s.1 %s.2", rule, log, log, log)


def test_files_are_looked_at_every_hour(pi):
    assert pi.service("logrotate.timer").is_running
    # Each is followed by when it is due next: at midnight, in the last hour of a day.
    said = pi.check_output("systemctl show -p TimersCalendar --value logrotate.timer")
    assert re.findall(r"OnCalendar=(.*?) ;", said) == ["*-*-* *:00:00"]


def test_bad_power_is_recorded(pi, waiting):
    before = len(records(pi)) if pi.file(RECORDS).exists else 0
    pi.check_output("echo 'hwmon hwmon1: Undervoltage detected!' >/dev/kmsg")
    waiting(lambda: pi.file(RECORDS).exists and len(records(pi)) > before, "a record")
    assert records(pi)[-1]["kind"] == "under_voltage"


@pytest.fixture
def after_a_kill_and_a_cut(pi, machine, waiting):
    """The name of the scope in which a process was killed, just before the power was cut."""
    scope = "gridberry-test-memory"
    done = pi.run(
        f"systemd-run --scope --unit {scope} -p MemoryMax=20M -p MemorySwapMax=0"
        f' python3 -c "{GREEDY}"'
    )
    assert done.rc != 0
    waiting(lambda: scope in pi.run("cat %s", RECORDS).stdout, "the kill to be recorded")
    boot = pi.file("/proc/sys/kernel/random/boot_id").content_string.strip().replace("-", "")
    machine.restart(cut=True)
    return scope, boot


@pytest.mark.long
def test_a_killed_process_is_known_after_the_power_was_cut(
    pi, waiting, after_a_kill_and_a_cut, tmp_path
):
    scope, boot = after_a_kill_and_a_cut
    [kill] = [one for one in records(pi) if scope in (one.get("cgroup") or "")]
    assert (kill["kind"], kill["process"], kill["boot"]) == ("oom_kill", "python3", boot)
    assert kill["at_its_limit"]
    waiting(lambda: records(pi)[-1]["kind"] == "unclean_boot", "the cut to be recorded")
    assert records(pi)[-1]["before"] == boot

    # And the fleet's status tells.
    output = tmp_path / "status.json"
    subprocess.run(
        ["ansible-playbook", "-i", "inventory/virtual", "playbooks/status.yml",
         "-e", f"status_output={output}"],
        check=True, cwd=ROOT, capture_output=True,
    )  # fmt: skip
    [host] = json.loads(output.read_text())
    assert host["incidents"]["oom_kills"] >= 1
    assert host["incidents"]["unclean_boots"] >= 1
    assert host["incidents"]["last"]["kind"] == "unclean_boot"
    assert host["clock"]["synchronised"] is True
    assert host["clock"]["source"] == "10.0.2.2"
