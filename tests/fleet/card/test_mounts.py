"""Whose disk a directory is on: what Linux and macOS say is mounted, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gridbase.errors import UserError

from fleet.card.mounts import check_mount, disks, linux_mounts, macos_disks, macos_mounts

# A computer on sda, a card in mmcblk0, a stick with NTFS, this Pi's own boot partition.
LINUX = """\
27 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
28 27 8:1 / /boot/efi rw,relatime shared:2 - vfat /dev/sda1 rw
29 27 8:3 / /mnt/old rw,relatime shared:2 - vfat /dev/sda3 rw
40 27 179:1 / /media/me/boot\\040fs rw shared:3 - vfat /dev/mmcblk0p1 rw
41 27 8:17 / /media/me/stick rw shared:4 - fuseblk /dev/sdb1 rw
42 27 0:99 / /mnt/e rw shared:5 - 9p E:\\134 rw,aname=drvfs
"""
MACOS = """\
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled, nobrowse)
/dev/disk4s1 on /Volumes/bootfs (msdos, local, nodev, nosuid, noowners, noatime)
/dev/disk3s7 on /Volumes/mine (msdos, local)
"""


def disk_of(source: str) -> frozenset[str]:
    names = {"/dev/sda": "sda", "/dev/sdb": "sdb", "/dev/mmcblk0": "mmcblk0"}
    return frozenset(disk for begin, disk in names.items() if source.startswith(begin))


def test_a_card_is_taken() -> None:
    check_mount(Path("/media/me/boot fs"), linux_mounts(LINUX), disk_of)
    check_mount(Path("/Volumes/bootfs"), macos_mounts(MACOS), macos_disks)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/", "belongs to the system"),
        ("/boot/efi", "belongs to the system"),
        ("/mnt/old", "on the disk that runs this computer"),
        ("/media/me/stick", "is fuseblk; a Pi's boot partition is FAT"),
        ("/mnt/e", "is 9p; a Pi's boot partition is FAT (on WSL: prepare an image"),
        ("/media/me", "nothing is mounted there"),
    ],
)
def test_others_are_refused(place: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        check_mount(Path(place), linux_mounts(LINUX), disk_of)
    assert said in str(refused.value)


def test_a_partition_of_the_macs_own_disk_is_refused() -> None:
    with pytest.raises(UserError, match="on the disk that runs this computer"):
        check_mount(Path("/Volumes/mine"), macos_mounts(MACOS), macos_disks)


def test_the_disk_below_partitions_and_encryption(tmp_path: Path) -> None:
    devices = [path for path in Path("/dev").iterdir() if path.is_block_device()]
    if not devices:
        pytest.skip("no block device is here")
    number = devices[0].stat().st_rdev
    partition = tmp_path / "devices" / "sda" / "sda2"
    for folder in (partition, tmp_path / "devices" / "dm-0" / "slaves"):
        folder.mkdir(parents=True)
    (partition / "partition").touch()
    (tmp_path / "devices" / "dm-0" / "slaves" / "sda2").symlink_to(partition)
    blocks = tmp_path / "blocks"
    blocks.mkdir()
    name = blocks / f"{os.major(number)}:{os.minor(number)}"
    for device in ("sda", "sda/sda2", "dm-0"):
        name.unlink(missing_ok=True)
        name.symlink_to(tmp_path / "devices" / device)
        assert disks(str(devices[0]), blocks) == {"sda"}
    assert disks("overlay", blocks) == frozenset()


def test_this_computers_own_root_is_on_a_disk() -> None:
    at = {
        mount.place: mount.source
        for mount in linux_mounts(Path("/proc/self/mountinfo").read_text())
    }
    if not at[Path("/")].startswith("/dev/"):
        pytest.skip("the root here is no disk: a container")
    assert disks(at[Path("/")])
