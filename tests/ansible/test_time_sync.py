"""Role time_sync: servers, what is wrong with settings and clock, and what the host is asked."""

import os
import subprocess
from pathlib import Path

import pytest

from roles.status.filter_plugins import status_table
from roles.status.library import pi_status
from roles.time_sync.filter_plugins import time_sync

ROLES = Path(__file__).resolve().parents[2] / "roles"
FILES = ROLES / "time_sync/files"
TRACKING = (
    "0A000202,10.0.2.2,11,1763745000.123456789,0.000212345,0.000100000,0.000300000,-12.5,0.01,0.2,"
    "0.001500000,0.010100000,64.4,Normal"
)
UNSYNCHRONISED = (
    "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,1.000000000,"
    "1.000000000,0.0,Not synchronised"
)
SETTINGS = {
    "time_sync_servers": ["pool 2.debian.pool.ntp.org"],
    "time_sync_wait_seconds": 120,
    "time_sync_offset_ms": 100,
    "time_sync_check_seconds": 60,
}
WANTED = {"servers": ["10.0.2.2 port 123", "time.lan"], "offset_ms": 100, "seconds": 60}


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("192.168.1.1", "server 192.168.1.1 iburst"),
        ("10.0.2.2 port 11123", "server 10.0.2.2 port 11123 iburst"),
        ("server time.lan iburst prefer", "server time.lan iburst prefer"),
        ("pool pool.ntp.org  maxsources 3", "pool pool.ntp.org maxsources 3 iburst"),
        ("2001:db8::1 nts", "server 2001:db8::1 nts iburst"),
    ],
)  # fmt: skip
def test_an_entry_becomes_a_line_of_chronys(entry, line):
    assert time_sync.sources([entry]) == [line]
    assert time_sync.entry_problem(entry) is None


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("", "an address and options"),
        ("pool", "an address and options"),
        ("time.lan\nallow all", "an address and options"),
        ("-4", "an address and options"),
        ("time.lan prot 123", "chrony has no option prot for a server; did you mean port?"),
        ("time.lan port", "port needs a value"),
        ("time.lan port iburst", "port needs a value"),
    ],
)
def test_an_entry_that_chrony_would_refuse_is_named(entry, said):
    settings = SETTINGS | {"time_sync_servers": ["192.168.1.1", entry]}
    [line] = time_sync.setting_problems(settings)
    assert line.startswith(f"time_sync_servers has {entry!r}; ")
    assert said in line


def test_settings_within_bounds_are_fine_and_others_are_named():
    assert time_sync.setting_problems(SETTINGS) == []
    wrong = {"time_sync_servers": [], "time_sync_wait_seconds": 0, "time_sync_offset_ms": 1001}
    assert time_sync.setting_problems(SETTINGS | wrong) == [
        "time_sync_servers is empty; use at least one server",
        "time_sync_wait_seconds is 0; use 1 to 3600",
        "time_sync_offset_ms is 1001; use 1 to 1000",
    ]


def test_a_clock_that_is_right_is_no_problem():
    seen = f"synchronised yes\ntracking {TRACKING}\nsource ^,*,10.0.2.2,10,6,17,4,0.1,0.1,0.01\n"
    assert time_sync.clock_problem(seen, WANTED) == ""
    assert time_sync.clock_problem("chrony missing\n", WANTED) == ""


def test_servers_that_do_not_answer_are_named():
    seen = (
        f"synchronised no\ntracking {UNSYNCHRONISED}\nsource ^,?,10.0.2.2,0,6,0,4294967295,0,0,0\n"
    )
    said = time_sync.clock_problem(seen, WANTED)
    assert "no server answers of time_sync_servers: 10.0.2.2 port 123; time.lan" in said
    assert "after 60 s" in said
    without_any = time_sync.clock_problem(f"synchronised no\ntracking {UNSYNCHRONISED}\n", WANTED)
    assert without_any == said


def test_an_answering_server_that_the_clock_is_far_from_is_named():
    tracking = TRACKING.replace("0.000212345", "-0.450000000")
    seen = f"synchronised no\ntracking {tracking}\nsource ^,*,10.0.2.2,10,6,17,4,0.4,0.4,0.01\n"
    said = time_sync.clock_problem(seen, WANTED)
    assert "not within 100 ms of 10.0.2.2" in said
    assert "off by 450 ms" in said


def test_a_chrony_that_is_not_there_is_told():
    said = time_sync.clock_problem("synchronised no\nerror 506 Cannot talk to daemon\n", WANTED)
    assert said == "chrony does not answer: 506 Cannot talk to daemon"


def ask(script: str, **environment: str) -> list[str]:
    """The lines that one of the role's scripts prints."""
    said = subprocess.run(
        ["sh", FILES / script],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return said.stdout.splitlines()


def stand_in(directory: Path, script: str) -> dict[str, str]:
    """An environment whose chronyc is a script."""
    program = directory / "chronyc"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{directory}:/usr/bin:/bin", "TRIES": "3", "LIMIT": "0.1"}


def test_the_host_is_asked_in_bounds(tmp_path):
    environment = stand_in(
        tmp_path,
        'printf "%s\\n" "$*" >>"${0%/*}/asked"\n'
        'case "$*" in\n'
        "*waitsync*) exit 1 ;;\n"
        "*tracking) echo 1,2 ;;\n"
        "*sources) echo a,b; echo c,d ;;\n"
        "esac",
    )
    said = ask("clock.sh", **environment)
    assert said == ["synchronised no", "tracking 1,2", "source a,b", "source c,d"]
    # Never 0 tries, which would be without end.
    assert (tmp_path / "asked").read_text().splitlines()[0] == "-n waitsync 3 0.1 0 1"


def test_a_daemon_that_does_not_answer_is_told(tmp_path):
    environment = stand_in(tmp_path, "echo '506 Cannot talk to daemon'; exit 1")
    said = ask("clock.sh", **environment)
    assert "error 506 Cannot talk to daemon" in said
    assert "does not answer" in time_sync.clock_problem("\n".join(said), WANTED)


def test_a_host_without_chrony_says_so(tmp_path):
    (tmp_path / "sh").symlink_to("/bin/sh")
    assert ask("clock.sh", PATH=str(tmp_path)) == ["chrony missing"]


def test_what_was_replaced_is_found_again(tmp_path):
    note = tmp_path / "replaced"
    note.write_text("systemd-timesyncd\n")
    assert "replaced systemd-timesyncd" in ask("look.sh", NOTE=str(note))
    note.unlink()
    assert not any(line.startswith("replaced") for line in ask("look.sh", NOTE=str(note)))


def test_status_of_a_synchronised_clock():
    assert pi_status.chrony_clock(TRACKING) == {
        "synchronised": True,
        "offset_ms": -0.212,
        # 0.212345 + 1.5 / 2 + 10.1
        "error_ms": 11.062,
        "source": "10.0.2.2",
    }


def test_status_of_a_clock_that_is_not():
    assert pi_status.chrony_clock(UNSYNCHRONISED) == {
        "synchronised": False,
        "offset_ms": None,
        "error_ms": None,
        "source": None,
    }
    assert pi_status.chrony_clock("506 Cannot talk to daemon") is None
    assert pi_status.chrony_clock("") is None


def programs(monkeypatch, answers):
    """Have the module see these programs' answers; a missing one fails."""
    monkeypatch.setattr(pi_status, "output", lambda command: answers.get(command[0]))


def test_status_without_chrony_asks_systemd(monkeypatch):
    programs(monkeypatch, {"timedatectl": "yes"})
    assert pi_status.clock()["synchronised"] is True
    programs(monkeypatch, {"timedatectl": "no"})
    assert pi_status.clock()["synchronised"] is False
    programs(monkeypatch, {})
    assert pi_status.clock()["synchronised"] is None


def test_table_notes_a_clock_that_is_not_right():
    host = {"host": "pi1", "clock": {"synchronised": False, "offset_ms": None}}
    assert "clock not synchronised" in status_table.status_table([host])
    host["clock"] = {"synchronised": True, "offset_ms": -230.4}
    assert "clock is off by -230 ms" in status_table.status_table([host])
    for quiet in (None, {"synchronised": None}, {"synchronised": True, "offset_ms": 3.0}):
        assert "clock" not in status_table.status_table([{"host": "pi1", "clock": quiet}])
