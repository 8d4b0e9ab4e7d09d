"""A boot that is only tried: what the firmware reads then, and what is left afterwards."""

import pytest
from ansible.module_utils.boot_text import BootFileError
from ansible.module_utils.boot_try import TRIED_TOKEN

from roles.boot_config.library import boot_files
from tests.boot.test_generated import OURS, WANTED, contents, parameters, settings
from virtual_pi.firmware import kernel_command_line, parse_config

CMDLINE = b"console=tty1 root=PARTUUID=4e639091-02 rootwait\n"
CONFIG = b"auto_initramfs=1\n[pi4]\na=1"


@pytest.fixture
def boot(tmp_path):
    """A boot partition of a board whose firmware knows tryboot."""
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/cmdline.txt").write_bytes(CMDLINE)
    (tmp_path / "boot/config.txt").write_bytes(CONFIG)
    (tmp_path / "bootloader").mkdir()
    (tmp_path / "bootloader/tryboot").write_bytes(b"\0\0\0\0")
    (tmp_path / "watchdog").write_text("active\n")
    return tmp_path / "boot"


def run(boot, *, tryboot=True, check_mode=False, **more):
    """Run the module's function."""
    own = {
        "tryboot": tryboot,
        "bootloader": str(boot.parent / "bootloader"),
        "watchdog": str(boot.parent / "watchdog"),
    }
    return boot_files.run(parameters(boot) | own | more, check_mode=check_mode)


def test_a_try_leaves_the_two_files_alone(boot):
    result = run(boot)
    assert (result["changed"], result["tried"], result["reboot_required"]) == (True, True, True)
    found = contents(boot)
    assert found.pop("cmdline.txt") == CMDLINE
    assert found.pop("config.txt") == CONFIG
    assert set(found) == {"tryboot.txt", "cmdline-try.txt"}


def test_the_firmware_reads_the_new_settings_from_it(boot):
    run(boot)
    tried = (boot / "tryboot.txt").read_bytes()
    for board, ours in OURS.items():
        names = [*ours, "kernel_watchdog_timeout=120", "cmdline=cmdline-try.txt"]
        assert settings(tried, board)[-len(names) :] == names
    config = parse_config(tried.decode())
    assert config.auto_initramfs
    line = kernel_command_line((boot / config.cmdline).read_bytes(), config.cmdline)
    assert set(line.split()) >= {*WANTED, TRIED_TOKEN, "root=PARTUUID=4e639091-02"}


def test_a_try_that_panics_or_hangs_is_reset(boot):
    run(boot)
    assert "kernel_watchdog_timeout=120" in (boot / "tryboot.txt").read_text().splitlines()
    line = (boot / "cmdline-try.txt").read_text().split()
    assert {"panic=10", "watchdog_disarm=0"} <= set(line)


def test_a_try_that_goes_well_is_not_reset_where_nobody_serves_the_watchdog(boot):
    (boot.parent / "watchdog").write_text("inactive\n")
    [warning] = run(boot)["warnings"]
    assert "needs its power cut" in warning
    assert "kernel_watchdog_timeout" not in (boot / "tryboot.txt").read_text()
    line = (boot / "cmdline-try.txt").read_text().split()
    assert "panic=10" in line
    assert "watchdog_disarm=0" not in line


def test_a_panic_of_the_owners_own_stays_in_a_try(boot):
    (boot / "cmdline.txt").write_bytes(CMDLINE.replace(b"rootwait", b"rootwait panic=60"))
    run(boot)
    assert "panic=10" not in (boot / "cmdline-try.txt").read_text()


def test_what_was_tried_is_kept_by_running_again_without(boot):
    shown = run(boot)["diff"]
    kept = run(boot, tryboot=False)
    assert kept["diff"][:2] == shown
    assert set(contents(boot)) == {
        *("cmdline.txt", "config.txt"),
        *("cmdline.txt.gridberry-original", "config.txt.gridberry-original"),
        "cmdline.txt.gridberry-tokens",
    }
    assert TRIED_TOKEN not in (boot / "cmdline.txt").read_text()
    assert not run(boot)["changed"]
    assert run(boot, tryboot=False, state="absent")["changed"]
    assert contents(boot) == {"cmdline.txt": CMDLINE, "config.txt": CONFIG}


def test_a_try_that_did_not_come_up_is_tried_again_and_can_be_given_up(boot):
    run(boot)
    first = contents(boot)
    again = run(boot)
    assert (again["changed"], again["tried"]) == (True, True)
    assert contents(boot) == first
    run(boot, state="absent")
    assert contents(boot) == {"cmdline.txt": CMDLINE, "config.txt": CONFIG}


def test_check_mode_shows_what_becomes_of_the_two_files(boot):
    before = contents(boot)
    shown = run(boot, check_mode=True)
    assert contents(boot) == before
    assert [step["after_header"] for step in shown["diff"]] == [
        str(boot / "cmdline.txt"),
        str(boot / "config.txt"),
    ]


def test_without_tryboot_the_files_are_changed_at_once_and_it_is_said(boot):
    (boot.parent / "bootloader/tryboot").unlink()
    result = run(boot)
    assert not result["tried"]
    assert "says nothing of tryboot" in result["warnings"][0]
    assert "tryboot.txt" not in contents(boot)


def test_where_tryboot_means_another_partition_it_is_not_used(boot):
    (boot / "autoboot.txt").write_text("[all]\ntryboot_a_b=1\nboot_partition=2\n")
    assert "tryboot_a_b=1" in run(boot)["warnings"][0]


@pytest.mark.parametrize(("partition", "tried"), [(None, True), (0, True), (1, True), (2, False)])
def test_booted_from_another_than_the_first_partition_nothing_is_tried(boot, partition, tried):
    """There autoboot.txt, which is on the first one, cannot be looked at."""
    if partition is not None:
        number = partition.to_bytes(4, "big")
        (boot.parent / "bootloader/partition").write_bytes(number)
    result = run(boot)
    assert result["tried"] is tried
    assert [f"from partition {partition}" in line for line in result["warnings"]] == (
        [] if tried else [True]
    )
    assert ("tryboot.txt" in contents(boot)) is tried


def test_a_tryboot_file_of_somebody_else_is_left_alone(boot):
    (boot / "tryboot.txt").write_text("kernel=mine.img\n")
    before = contents(boot)
    with pytest.raises(BootFileError, match="is not Gridberry's"):
        run(boot)
    assert contents(boot) == before
    run(boot, tryboot=False)
    assert (boot / "tryboot.txt").read_text() == "kernel=mine.img\n"


def test_a_line_without_room_for_the_token_of_a_try_is_refused(boot):
    room = 2047 - len(CMDLINE.strip()) - len(" ".join(["", *WANTED]))
    (boot / "cmdline.txt").write_bytes(CMDLINE.strip() + b" " + b"x" * (room - 1))
    with pytest.raises(BootFileError, match="with the token of a try has"):
        run(boot)
    assert run(boot, tryboot=False)["changed"]
