"""What upgrade.yml does about the boot: an initramfs that waits, and the bootloader in its EEPROM.

rpi-eeprom-update is not in Debian. It is played here by a program with its options, its file of
results and its exit statuses, as its own repository has them; on a board this is untried.
"""

import subprocess
from pathlib import Path

import pytest
import yaml
from jinja2 import Environment

from roles.maintenance.filter_plugins import maintenance
from tests.ansible.test_upgrade import AFTER, WELL, apt, host  # noqa: F401 # fixtures

ROLE = Path(__file__).resolve().parents[2] / "roles/hardening"
OLD, NEW = 1_733_000_000, 1_747_000_000  # 2024-11-30, 2025-05-11
EEPROM = f"""
echo "eeprom $*" >>"$HERE/calls"
file=
automatic=
while getopts A:abdhilf:m:ju:rs option; do
    case $option in a) automatic=yes ;; m) file=$OPTARG ;; esac
done
state=$(cat "$HERE/eeprom")
[ "$state" != broken ] || {{ echo "lspci not found." >&2; exit 2; }}
if [ -n "$automatic" ]; then
    [ "$state" != frozen ] || {{ echo "EEPROM version is frozen."; exit 3; }}
    [ "$state" != full ] || {{ echo "Failed to copy to /boot/firmware" >&2; exit 2; }}
    echo staged >"$HERE/staged"
    exit 0
fi
case $state in none) exit 0 ;; new) now={NEW} status=0 ;; *) now={OLD} status=1 ;; esac
echo "BOOTLOADER: some words"
[ -z "$file" ] || cat >"$file" <<END
EXITCODE="EXIT_UPDATE_REQUIRED"
BOOTLOADER_AUTO_UPDATE_MIN_VERSION={NEW}
BOOTLOADER_CURRENT=$now
BOOTLOADER_LATEST={NEW}
VL805_CURRENT=""
VL805_LATEST=""
VL805_EEPROM="no"
END
exit $status
"""


@pytest.fixture
def upgrade(apt, host):  # noqa: F811
    """The function that runs upgrade.sh on a host whose bootloader is in the state given."""
    host.program("rpi-eeprom-update", EEPROM)
    host.program("update-initramfs", 'echo "initramfs $*" >>"$HERE/calls"; exit "${INITRAMFS:-0}"')
    host.program("sync", ":")

    def run(state: str, **more: str) -> subprocess.CompletedProcess:
        (apt.path / "eeprom").write_text(state)
        given = {"EEPROM": "yes", "NOTES": str(apt.path), "RUN": str(apt.path / "run")}
        return apt(**(given | more))[0]

    run.path = apt.path
    return run


def last(result: subprocess.CompletedProcess) -> str:
    return result.stdout.splitlines()[-1]


def flagged(upgrade) -> bool:
    return (upgrade.path / "run/reboot-required").exists()


def test_a_bootloader_that_is_due_is_staged_and_asks_for_a_reboot(upgrade):
    result = upgrade("old")
    assert (result.returncode, last(result)) == (0, f"bootloader {OLD} {NEW}")
    assert (upgrade.path / "staged").exists()
    assert flagged(upgrade)
    assert maintenance.upgrade_words(result.stdout)[-2] == (
        "bootloader, written by the reboot: 2025-05-11 for 2024-11-30"
    )


def test_check_mode_tells_of_the_bootloader_and_stages_nothing(upgrade):
    assert last(upgrade("old", MODE="check")) == f"bootloader {OLD} {NEW}"
    assert not (upgrade.path / "staged").exists()
    assert not flagged(upgrade)


@pytest.mark.parametrize(
    ("state", "more", "why"),
    [
        ("old", {"EEPROM": "no"}, "no reboot in this run would write it"),
        ("frozen", {}, "its settings freeze it"),
        ("broken", {}, "lspci not found."),
    ],
)
def test_a_bootloader_that_is_left_is_told(upgrade, state, more, why):
    result = upgrade(state, **more)
    assert (result.returncode, last(result)) == (0, f"bootloader_left {why}")
    assert maintenance.upgrade_words(result.stdout)[-2] == f"bootloader left as it is: {why}"
    assert not (upgrade.path / "staged").exists()
    assert not flagged(upgrade)


@pytest.mark.parametrize("state", ["new", "none"])
def test_nothing_is_staged_where_nothing_is_due(upgrade, state):
    result = upgrade(state)
    assert result.returncode == 0
    assert "bootloader" not in result.stdout
    assert not (upgrade.path / "staged").exists()


def test_a_bootloader_that_cannot_be_staged_stops_the_run(upgrade):
    result = upgrade("full")
    assert (result.returncode, last(result)) == (
        1,
        "rpi-eeprom-update: Failed to copy to /boot/firmware",
    )
    assert not flagged(upgrade)


@pytest.mark.parametrize(("state", "problems"), [("new", 0), ("old", 1)])
def test_after_the_reboot_the_bootloader_is_the_one_that_was_staged(upgrade, host, state, problems):  # noqa: F811
    said = upgrade("old").stdout
    (upgrade.path / "eeprom").write_text(state)
    look = host("look.sh").stdout.splitlines()
    (told,) = [line for line in look if line.startswith("bootloader ")]
    after = f"{AFTER}{told}\n"
    found = maintenance.after_problems(WELL, after, rebooted=True, upgraded=said)
    assert len(found) == problems
    assert all("of 2024-11-30, and that of 2025-05-11 was staged" in line for line in found)
    assert maintenance.after_problems(WELL, WELL, rebooted=False, upgraded=said) == []


def test_an_initramfs_that_waits_is_made_anew_once(upgrade):
    (upgrade.path / "initramfs-waits").touch()
    assert "initramfs anew" in upgrade("none", MODE="check").stdout
    assert (upgrade.path / "initramfs-waits").exists()
    assert "initramfs -u" not in (upgrade.path / "calls").read_text()
    result = upgrade("none")
    assert last(result) == "initramfs anew"
    assert not (upgrade.path / "initramfs-waits").exists()
    assert "initramfs -u" in (upgrade.path / "calls").read_text()
    assert "the initramfs" in " ".join(maintenance.upgrade_words(result.stdout))
    assert "initramfs" not in upgrade("none").stdout


def test_an_initramfs_that_fails_waits_on(upgrade):
    (upgrade.path / "initramfs-waits").touch()
    assert upgrade("none", INITRAMFS="1").returncode == 1
    assert (upgrade.path / "initramfs-waits").exists()


@pytest.mark.parametrize(
    ("environment", "own", "made"),
    [
        ({}, "update_initramfs=all", "all yes"),
        ({"GRIDBERRY_UNATTENDED": "yes"}, "update_initramfs=all", "no yes"),
        ({"GRIDBERRY_UNATTENDED": "yes"}, None, "no no"),
    ],
)
def test_update_initramfs_reads_that_an_unattended_upgrade_leaves_it(
    tmp_path, environment, own, made
):
    template = (ROLE / "templates/update-initramfs.conf.j2").read_text()
    environment_of_jinja = Environment(autoescape=True)
    environment_of_jinja.filters["dirname"] = lambda path: path.rpartition("/")[0]
    (tmp_path / "conf").write_text(
        environment_of_jinja.from_string(template).render(
            __hardening_initramfs_file=f"{tmp_path}/conf",
            __hardening_initramfs_note=f"{tmp_path}/notes/initramfs-waits",
        )
    )
    if own:
        (tmp_path / "conf.gridberry-original").write_text(f"{own}\nbackup_initramfs=yes\n")
    # As update-initramfs reads it.
    read = (
        f"set -e; update_initramfs=yes; backup_initramfs=no; [ -r {tmp_path}/conf ] &&"
        f" . {tmp_path}/conf; echo $update_initramfs $backup_initramfs"
    )
    done = subprocess.run(
        ["sh", "-c", read],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin"} | environment,
    )
    assert done.stdout.strip() == made
    assert (tmp_path / "notes/initramfs-waits").exists() == bool(environment)


SYSTEMCTL = """
state=$(cat "$HERE/unit")
case "$1" in
    is-enabled) echo "$state"; [ "$state" = enabled ] ;;
    mask) echo masked >"$HERE/unit" ;;
    unmask) echo enabled >"$HERE/unit" ;;
esac
"""


@pytest.mark.parametrize(
    ("unit", "hardened", "undone"),
    [
        ("enabled", "masked", "enabled"),
        ("masked", "masked", "masked"),  # by its owner
        ("not-found", "not-found", "not-found"),
    ],
)
def test_no_boot_stages_a_bootloader_until_that_is_undone(tmp_path, unit, hardened, undone):
    (tmp_path / "unit").write_text(f"{unit}\n")
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\n{SYSTEMCTL}")
    (tmp_path / "systemctl").chmod(0o755)
    effects = yaml.safe_load((ROLE / "vars/main/upgrades.yml").read_text())

    def shell(command: str) -> int:
        jinja = Environment(autoescape=True)
        jinja.filters["dirname"] = lambda path: path.rpartition("/")[0]
        text = jinja.from_string(command).render(__hardening_bootloader_note=f"{tmp_path}/n/note")
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HERE": str(tmp_path)}
        return subprocess.run(["sh", "-c", text], check=False, env=environment).returncode

    for state, wanted in (("present", hardened), ("present", hardened), ("absent", undone)):
        [effect] = [
            one
            for one in effects["__hardening_deferral_effects"][state]
            if "another bootloader" in one["name"]
        ]
        if shell(effect["probe"]):
            assert shell(effect["apply"]) == 0
        assert shell(effect["probe"]) == 0
        assert (tmp_path / "unit").read_text() == f"{wanted}\n"
    assert not (tmp_path / "n/note").exists()
