"""Plain Debian, where a kernel upgrade writes both boot files anew."""

import subprocess
from pathlib import Path

import pytest
from ansible.module_utils.boot_text import BootFileError

from roles.boot_config.library import boot_files
from tests.boot.test_generated import LINES, OURS, WANTED, parameters, settings

# What Debian's z50-raspi-firmware does with the two files that an administrator may write.
GENERATOR = """\
set -e
cd {boot}
defaults={defaults}
: >vmlinuz-$1
printf 'arm_64bit=1\\nenable_uart=1\\nkernel=vmlinuz-%s\\n' "$1" >config.txt
if [ -f $defaults/raspi-firmware-custom ]; then
    printf '\\n# Inserted\\n%s\\n' "$(cat $defaults/raspi-firmware-custom)" >>config.txt
fi
extra=
if [ -f $defaults/raspi-extra-cmdline ]; then extra=$(cat $defaults/raspi-extra-cmdline); fi
cat >cmdline.txt <<END
console=tty0 root=/dev/mmcblk1p2 rw fsck.repair=yes net.ifnames=0 cma=64M rootwait $extra
END
"""


@pytest.fixture
def debian(tmp_path):
    """A boot partition, /etc/default and the generator that has just been run."""
    for name in ("boot", "default"):
        (tmp_path / name).mkdir()
    text = GENERATOR.format(boot=tmp_path / "boot", defaults=tmp_path / "default")
    (tmp_path / "generator").write_text(text)
    upgrade(tmp_path, "6.1")
    return tmp_path


def upgrade(debian: Path, kernel: str) -> None:
    """Do what a kernel upgrade does."""
    subprocess.run(["sh", debian / "generator", kernel], check=True)


def mark_of(debian: Path) -> Path:
    """What tells of files that were changed since the system started."""
    return debian.with_name(f"{debian.name}-run") / "boot-files-changed"


def run(debian: Path, state: str = "present", **more):
    """Run the module's function."""
    own = {
        "generator": str(debian / "generator"),
        "defaults": str(debian / "default"),
        "mark": str(mark_of(debian)),
    }
    return boot_files.run(parameters(debian / "boot", state) | own | more, check_mode=False)


def contents(debian: Path) -> dict[str, bytes]:
    """Every file with its content."""
    return {
        str(path.relative_to(debian)): path.read_bytes()
        for path in debian.rglob("*")
        if path.is_file()
    }


def test_settings_survive_an_upgrade(debian):
    assert run(debian)["changed"]
    before = contents(debian)
    upgrade(debian, "6.12")
    after = contents(debian)
    assert b"kernel=vmlinuz-6.12" in after["boot/config.txt"]
    assert set(WANTED) <= set(after["boot/cmdline.txt"].decode().split())
    for board, ours in OURS.items():
        assert settings(after["boot/config.txt"], board)[-len(ours) :] == ours
    mark_of(debian).unlink()  # the reboot
    # The same tokens and block: nothing is left to do, and no reboot is asked for.
    assert not run(debian, running_cmdline=str(debian / "boot/cmdline.txt"))["reboot_required"]
    assert after["boot/cmdline.txt"] == before["boot/cmdline.txt"]


@pytest.mark.parametrize("extra", [None, b"", b"elevator=deadline\n", b"ipv6.disable=0 quiet"])
@pytest.mark.parametrize("custom", [None, b"core_freq=250\n[pi4]\na=1"])
def test_undo_gives_every_file_back(debian, extra, custom):
    for name, content in (("raspi-extra-cmdline", extra), ("raspi-firmware-custom", custom)):
        if content is not None:
            (debian / "default" / name).write_bytes(content)
    upgrade(debian, "6.1")
    before = contents(debian)
    run(debian)
    assert not run(debian)["changed"]
    assert run(debian, "absent")["changed"]
    assert contents(debian) == before
    assert not run(debian, "absent")["changed"]


def test_undo_after_an_upgrade_leaves_nothing_of_ours(debian):
    run(debian)
    upgrade(debian, "6.12")
    run(debian, "absent")
    upgraded = contents(debian)
    assert not (debian / "default/raspi-extra-cmdline").exists()
    assert not set(WANTED) & set(upgraded["boot/cmdline.txt"].decode().split())
    upgrade(debian, "6.12")
    plain = contents(debian)
    assert upgraded["boot/cmdline.txt"].split() == plain["boot/cmdline.txt"].split()
    assert settings(upgraded["boot/config.txt"], "pi4") == settings(plain["boot/config.txt"], "pi4")


def test_exact_restore_gives_every_file_back_whatever_happened_since(debian):
    before = contents(debian)
    run(debian)
    upgrade(debian, "6.12")
    assert run(debian, "original")["changed"]
    assert contents(debian) == before | {"boot/vmlinuz-6.12": b""}
    assert not run(debian, "original")["changed"]


def test_exact_restore_of_a_kernel_that_is_gone_is_refused(debian):
    run(debian)
    upgrade(debian, "6.12")
    (debian / "boot/vmlinuz-6.1").unlink()
    before = contents(debian)
    with pytest.raises(BootFileError, match=r"names vmlinuz-6\.1, which is gone"):
        run(debian, "original")
    assert contents(debian) == before


def test_several_lines_of_further_tokens_are_refused(debian):
    (debian / "default/raspi-extra-cmdline").write_text("quiet\nsplash\n")
    before = contents(debian)
    with pytest.raises(BootFileError, match="raspi-extra-cmdline has 2 lines"):
        run(debian)
    assert contents(debian) == before


def test_raspberry_pi_os_has_a_program_of_that_name_that_writes_neither(debian):
    (debian / "generator").write_text("# copies kernels to /boot/firmware\n")
    run(debian)
    assert list((debian / "default").iterdir()) == []
    assert LINES[0] in (debian / "boot/config.txt").read_text()


def test_modes_stay(debian):
    extra = debian / "default/raspi-extra-cmdline"
    extra.write_text("quiet\n")
    extra.chmod(0o640)
    run(debian)
    assert extra.stat().st_mode & 0o777 == 0o640
