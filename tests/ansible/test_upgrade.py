"""The role maintenance, which reboots and upgrades: its filters, its scripts on a host of paper."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from roles.maintenance.filter_plugins import maintenance

FILES = Path(__file__).resolve().parents[2] / "roles/maintenance/files"
WANTED = {"force": False, "free_mb": 1024}


def book_lines(**fills: int) -> str:
    grids = [{"symbol": name, "buys": count, "sells": 1} for name, count in fills.items()]
    return f"books {json.dumps({'grids': grids})}\r\n"


HOST = "boot aaaa\r\nsystem running\r\nfree 9000\r\nsynchronised yes\r\n"
BOT = (
    "docker answers\ncontainer gridberry-exchange running healthy\n"
    "container gridberry-bot running healthy\n"
)
WELL = HOST + BOT + book_lines(BTC=4, ETH=2)
AFTER = WELL.replace("aaaa", "bbbb")


def test_a_healthy_host_may_be_touched_and_one_without_a_bot_too():
    assert maintenance.before_problems(WELL, WANTED) == []
    assert maintenance.before_problems(HOST, WANTED) == []
    assert maintenance.bot_words(HOST) == "there is no bot"
    assert "BTC with 5 fills, ETH with 3 fills" in maintenance.bot_words(WELL)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("bot running healthy", "bot running unhealthy", "gridberry-bot is running and unhealthy"),
        ("bot running healthy", "bot exited unchecked", "gridberry-bot is exited and unchecked"),
        (BOT, "docker silent\n", "Docker does not answer"),
        ('{"grids"', '{"gr', "the bot does not say what is in its books"),
    ],
)
def test_a_bot_that_is_not_well_is_left_alone_unless_forced(old, new, says):
    [line] = maintenance.before_problems(WELL.replace(old, new), WANTED)
    assert says in line
    assert "maintenance_force=true" in line
    assert maintenance.before_problems(WELL.replace(old, new), WANTED | {"force": True}) == []


def test_a_full_disk_is_refused_even_if_forced():
    [line] = maintenance.before_problems(
        WELL.replace("free 9000", "free 90"), WANTED | {"force": True}
    )
    assert "90 MB free and maintenance_free_mb is 1024" in line


def test_a_host_that_came_back_well():
    assert maintenance.after_problems(WELL, AFTER, rebooted=True) == []
    more = AFTER.replace(book_lines(BTC=4, ETH=2), book_lines(BTC=6, ETH=2, SOL=0))
    assert maintenance.after_problems(WELL, more, rebooted=True) == []
    assert maintenance.after_problems(HOST, HOST.replace("aaaa", "b"), rebooted=True) == []
    was_degraded = WELL.replace("system running", "system degraded\nfailed old.service")
    assert maintenance.after_problems(was_degraded, was_degraded, rebooted=False) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("boot bbbb", "boot aaaa", "told to reboot and did not"),
        ("system running", "system starting", "still starting"),
        ("system running", "system degraded\nfailed x.service", "did not have: x.service"),
        ("docker answers", "docker silent", "Docker does not answer any more"),
        ("bot running healthy", "bot running starting", "gridberry-bot is running and starting"),
        ("container gridberry-exchange running healthy\n", "", "gridberry-exchange is not there"),
        (
            book_lines(BTC=4, ETH=2),
            book_lines(BTC=3, ETH=2),
            "BTC had 5 fills in the books and has 4",
        ),
        (book_lines(BTC=4, ETH=2), book_lines(BTC=4), "ETH had 3 fills in the books and has none"),
        (book_lines(BTC=4, ETH=2), "books \n", "does not say what is in its books"),
    ],
)
def test_what_is_worse_than_before_is_one_line(old, new, says):
    assert old in AFTER
    [line] = maintenance.after_problems(WELL, AFTER.replace(old, new), rebooted=True)
    assert says in line


def test_what_an_upgrade_says():
    said = "lists 7300\nupgraded a 1 2\nupgraded b 1 3\nnew c 1\nremoved d\nheld docker.io\n"
    assert maintenance.upgrade_words(said) == [
        "upgraded: a 1 2, b 1 3",
        "newly installed: c 1",
        "removed: d",
        "left as they are: docker.io",
        "by package lists of 2 hours ago",
    ]
    assert maintenance.upgrade_words("") == ["nothing to upgrade"]


@pytest.fixture
def host(tmp_path):
    """The function that runs a script of the role with programs of paper."""
    for name in ("bin", "proc/sys/kernel/random", "run", "modules", "dpkg/updates"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/uptime").write_text("100.00 90.00\n")
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("aaaa\n")

    def program(name: str, text: str) -> None:
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    def script(name: str, **more: str) -> subprocess.CompletedProcess:
        environment = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "PROC": str(tmp_path / "proc"),
            "RUN": str(tmp_path / "run"),
            "MODULES": str(tmp_path / "modules"),
            "DPKG": str(tmp_path / "dpkg"),
            "HERE": str(tmp_path),
            "EXPECT": "",
        }
        return subprocess.run(
            ["sh", FILES / name],
            check=False,
            env=environment | more,
            capture_output=True,
            text=True,
        )

    program("systemctl", 'case "$1" in is-system-running) echo running ;; esac')
    program("timedatectl", "echo yes")
    program("uname", "echo 6.12.30+rpt-rpi-v8")
    script.path, script.program = tmp_path, program
    return script


def kernel(host, name: str, *, complete: bool = True) -> None:
    """Install a kernel of paper."""
    (host.path / "modules" / name / ("kernel" if complete else "")).mkdir(parents=True)


@pytest.mark.parametrize(
    ("running", "installed", "due"),
    [
        ("6.12.30+rpt-rpi-v8", ["6.12.30+rpt-rpi-v8", "6.12.47+rpt-rpi-2712"], False),
        ("6.12.30+rpt-rpi-v8", ["6.12.30+rpt-rpi-v8", "6.12.47+rpt-rpi-v8"], True),
        ("6.1.0-28-arm64", ["6.1.0-28-arm64", "6.1.0-9-arm64"], False),
        ("6.1.0-9-arm64", ["6.1.0-9-arm64", "6.1.0-28-arm64"], True),
        ("6.12.117+deb13-arm64", ["6.12.117+deb13-arm64", "6.12.9+deb13-arm64"], False),
        ("6.8.12-custom", [], False),
    ],
)
def test_a_newer_kernel_is_one_of_the_same_kind(host, running, installed, due):
    host.program("uname", f"echo {running}")
    for name in installed:
        kernel(host, name)
    kernel(host, "9.9.9+rpt-rpi-v8", complete=False)  # what a removed one leaves
    said = host("reboot_reason.sh").stdout
    assert bool(maintenance.reboot_reason(said)) is due
    if due:
        assert said == f"reboot_reason kernel {installed[due]} is installed and {running} runs\n"


def due(host, **more: str) -> str:
    """Why a reboot is due, as all roles that ask are told."""
    kernel(host, "6.12.30+rpt-rpi-v8")
    return maintenance.reboot_reason(host("reboot_reason.sh", **more).stdout)


def boot_files(host, cmdline: str, running: str) -> dict[str, str]:
    """Places of boot files, the first of which has moved."""
    (host.path / "proc/cmdline").write_text(running)
    for name, text in (("moved", "DO NOT EDIT\n"), ("boot", cmdline)):
        (host.path / name).mkdir()
        (host.path / name / "cmdline.txt").write_text(text)
    return {"BOOT": f"{host.path}/none {host.path}/moved {host.path}/boot"}


def test_a_token_that_the_kernel_was_not_told_is_named(host):
    running = "console=ttyAMA10,115200 a=1 quiet\n"
    places = boot_files(host, "console=serial0,115200 a=1 ipv6.disable=1 quiet b\r\n", running)
    assert due(host, **places) == (
        "cmdline.txt has ipv6.disable=1 b, which the kernel was not told"
    )


def test_a_kernel_that_was_told_all_is_left_alone(host):
    places = boot_files(host, "console=serial0,115200 a=1\n", "a=1 console=ttyAMA10 quiet\n")
    assert due(host, **places) == ""


def test_changed_boot_files_and_packages_ask_for_a_reboot(host):
    assert due(host) == ""
    (host.path / "run/reboot-required").touch()
    assert maintenance.reboot_reason(host("reboot_reason.sh").stdout) == "a package asks for it"
    (host.path / "run/gridberry").mkdir()
    (host.path / "run/gridberry/boot-files-changed").write_text("config.txt")
    assert maintenance.reboot_reason(host("reboot_reason.sh").stdout) == (
        "config.txt changed since it started"
    )


@pytest.mark.parametrize("role", ["facts", "maintenance", "status"])
def test_each_role_that_tells_of_a_reboot_asks_the_one_program(role):
    """A reason that one of them does not know is a reboot that stays lost there."""
    tasks = yaml.safe_load((FILES.parents[1] / role / "tasks/main.yml").read_text())
    [look, *_] = [task for task in tasks if {"ansible.builtin.raw", "pi_status"} & task.keys()]
    assert "reboot_reason.sh" in str(look)


def test_look_without_docker_and_with_one_that_is_silent(host):
    host.program("docker", "exit 1")
    assert "docker silent" in host("look.sh").stdout.splitlines()
    (host.path / "dpkg/updates/1").write_text("")
    lines = host("look.sh").stdout.splitlines()
    assert {"dpkg interrupted", "system running", "boot aaaa"} <= set(lines)


DOCKER = """
case "$*" in
    ps*) echo c1 ;;
    inspect*) echo "/gridberry-bot running $(cat "$HERE/health")" ;;
    exec*) printf '{\\n"grids": []\\n}\\n'; exit 1 ;;
esac
"""


def test_look_waits_until_the_bot_is_healthy_and_no_longer_than_told(host):
    host.program("docker", DOCKER)
    (host.path / "health").write_text("starting\n")
    # Each wait is a second of the host's, and at the third the bot is healthy.
    host.program(
        "sleep",
        'seconds=$(cut -d . -f 1 "$PROC/uptime"); echo $((seconds + 1)).0 >"$PROC/uptime"\n'
        '[ "$seconds" -lt 102 ] || echo healthy >"$HERE/health"',
    )
    look = host("look.sh", WAIT="10", EXPECT="gridberry-bot").stdout
    assert maintenance.containers(look) == ["gridberry-bot"]
    assert maintenance.unwell(look) == []
    assert maintenance.books(look) == {}
    assert (host.path / "proc/uptime").read_text() == "103.0\n"
    (host.path / "health").write_text("unhealthy\n")
    host.program("sleep", 'echo 999.0 >"$HERE/proc/uptime"')
    look = host("look.sh", WAIT="10", EXPECT="gridberry-bot").stdout
    assert maintenance.unwell(look) == ["gridberry-bot is running and unhealthy"]


# apt of paper: what it foresees is in files, one with the pin and one without.
APT = """
echo "$*" >>"$HERE/calls"
case "$*" in
    *-s*Preferences*) cat "$HERE/pinned" ;;
    *-s*) cat "$HERE/all" ;;
    *Preferences*upgrade*)
        cp "$HERE/scratch/preferences" "$HERE/preferences"
        exit "$(cat "$HERE/status")" ;;
esac
"""
INST = "Inst {0} [1.0] (1.1 Debian:13.2/stable [arm64])\n"


@pytest.fixture
def apt(host):
    """The function that runs upgrade.sh; it returns its result and the calls of apt and dpkg."""
    host.program("apt-get", APT)
    host.program("dpkg", 'echo "dpkg $*" >>"$HERE/calls"')
    host.program("mktemp", 'mkdir -p "$HERE/scratch"; echo "$HERE/scratch"')
    (host.path / "pinned").write_text(
        INST.format("bash") + "Inst linux-new (6.1 Debian:13 [arm64])\n"
    )
    (host.path / "all").write_text(INST.format("bash") + INST.format("docker.io"))
    (host.path / "status").write_text("0")
    (host.path / "lists").mkdir()
    (host.path / "lists/deb_Packages").touch()
    host.program("sleep", 'echo "sleep $*" >>"$HERE/calls"')

    def run(**more: str):
        given = {"MODE": "change", "FULL": "no", "DOCKER": "no", "LISTS": f"{host.path}/lists"}
        result = host("upgrade.sh", **(given | more))
        return result, (host.path / "calls").read_text().splitlines()

    run.path = host.path
    return run


def test_upgrade_ends_what_was_interrupted_first_and_leaves_docker_out(apt):
    result, calls = apt()
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines() == [
        "held docker.io",
        "upgraded bash 1.0 1.1",
        "new linux-new 6.1",
    ]
    assert calls[0].startswith("dpkg --configure -a")
    assert "--fix-broken install" in calls[1]
    assert calls[2].endswith(" update")
    assert " upgrade --with-new-pkgs" in calls[5]
    assert "force-confold" in calls[5]
    pin = (apt.path / "preferences").read_text()
    assert "Package: docker.io docker-cli" in pin
    assert "Pin-Priority: -1" in pin
    assert not (apt.path / "work").exists()


def test_upgrade_of_docker_and_with_removals_only_where_told(apt):
    _, calls = apt(DOCKER="yes", FULL="yes")
    assert " dist-upgrade --with-new-pkgs" in calls[5]
    assert "Pin" not in (apt.path / "preferences").read_text()


def test_check_mode_only_simulates(apt):
    result, calls = apt(MODE="check")
    assert "upgraded bash 1.0 1.1" in result.stdout.splitlines()
    assert result.stdout.startswith("lists ")
    assert calls
    assert all(" -s " in call for call in calls)


def test_check_mode_says_that_there_are_no_lists(apt):
    (apt.path / "lists/deb_Packages").unlink()
    (apt.path / "calls").write_text("")
    result, calls = apt(MODE="check")
    assert (result.returncode, calls) == (1, [])
    assert result.stdout.startswith("there are no package lists yet")
    assert not result.stderr


LOCKED = """
echo "dpkg $*" >>"$HERE/calls"
[ "$(grep -c ^sleep "$HERE/calls")" -ge 2 ] || {
    echo "dpkg: error: dpkg frontend lock was locked by another process with pid 1" >&2
    exit 2
}
"""


def test_upgrade_waits_while_another_program_installs(apt, host):
    host.program("dpkg", LOCKED)
    result, calls = apt()
    assert result.returncode == 0, result.stdout
    assert calls.count("sleep 5") == 2


def test_upgrade_does_not_wait_for_ever(apt, host):
    host.program("dpkg", LOCKED)
    result, calls = apt(LOCK_SECONDS="5")
    assert result.returncode == 1
    assert calls.count("sleep 5") == 1
    assert "was locked by another process" in result.stdout


def test_upgrade_that_fails_says_so(apt):
    (apt.path / "status").write_text("100")
    result, _ = apt()
    assert result.returncode == 1
    assert "upgraded" not in result.stdout
