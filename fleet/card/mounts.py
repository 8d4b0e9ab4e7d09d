"""Whether a directory is a card's FAT partition, and not of the disk that runs this computer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gridbase.errors import UserError

FAT_KINDS = frozenset({"vfat", "msdos"})
BLOCKS = Path("/sys/dev/block")
# Where a running system has its boot partition, whatever disk that is on.
SYSTEM_PLACES = ("/", "/boot", "/boot/firmware", "/boot/efi", "/efi", "/System/Volumes/Data")
MOUNTINFO = Path("/proc/self/mountinfo")
# `/dev/disk4s1 on /Volumes/bootfs (msdos, local, ...)`
MACOS_MOUNT = re.compile(r"(\S+) on (.+) \(([a-z0-9]+)[,)].*")
MACOS_DISK = re.compile(r"/dev/(disk[0-9]+)")

DisksOf = Callable[[str], frozenset[str]]


@dataclass(frozen=True)
class Mount:
    """A mounted file system.

    Attributes:
        place: The directory.
        kind: Such as vfat.
        source: Its device.
    """

    place: Path
    kind: str
    source: str


def check_card(directory: Path) -> None:
    """Return if a directory is a mounted FAT partition that is not of the running system.

    Args:
        directory: Without symbolic links.

    Raises:
        UserError: It is something else; says what.
    """
    if sys.platform == "darwin":
        listed = subprocess.run(["mount"], check=True, capture_output=True, text=True).stdout
        check_mount(directory, macos_mounts(listed), macos_disks)
    else:
        check_mount(directory, linux_mounts(MOUNTINFO.read_text()), disks)


def linux_mounts(text: str) -> list[Mount]:
    """Return what is mounted on Linux.

    Args:
        text: The kernel's mountinfo, where a space in a name is an octal number.
    """
    found = []
    for line in text.splitlines():
        place, (kind, source) = line.split()[4], line.partition(" - ")[2].split()[:2]
        named = [re.sub(r"\\([0-7]{3})", _character, word) for word in (place, source)]
        found.append(Mount(Path(named[0]), kind, named[1]))
    return found


def _character(octal: re.Match[str]) -> str:
    return chr(int(octal[1], 8))


def macos_mounts(text: str) -> list[Mount]:
    """Return what is mounted on macOS.

    Args:
        text: What `mount` prints.
    """
    lines = filter(None, map(MACOS_MOUNT.fullmatch, text.splitlines()))
    return [Mount(Path(place), kind, source) for source, place, kind in (m.groups() for m in lines)]


def macos_disks(source: str) -> frozenset[str]:
    """Return the disk of a device's name on macOS.

    Args:
        source: Such as /dev/disk4s1.
    """
    disk = MACOS_DISK.match(source)
    return frozenset({disk[1]} if disk else ())


def check_mount(directory: Path, mounts: list[Mount], disks_of: DisksOf) -> None:
    """Return if a directory is a mounted FAT partition of a disk of its own.

    Args:
        directory: The directory.
        mounts: All that is mounted, the latest last.
        disks_of: What finds the disks that a device is on.

    Raises:
        UserError: It is something else; says what.
    """
    at = {mount.place: mount for mount in mounts}
    if os.fspath(directory) in SYSTEM_PLACES:
        raise UserError(
            f"{directory} belongs to the system that runs here; name a card's directory"
        )
    mount = at.get(directory)
    if mount is None:
        raise UserError(
            f"{directory}: nothing is mounted there; put the card into a reader, and name the"
            " directory where its first partition (bootfs) is mounted"
        )
    if mount.kind not in FAT_KINDS:
        raise UserError(
            f"{directory} is {mount.kind}; a Pi's boot partition is FAT (on WSL: prepare an image"
            " file, then flash it)"
        )
    running = [at[Path(place)] for place in SYSTEM_PLACES if Path(place) in at]
    if disks_of(mount.source) & {disk for other in running for disk in disks_of(other.source)}:
        raise UserError(
            f"{directory} is on {mount.source}, on the disk that runs this computer; only another"
            " disk's card is allowed"
        )


def disks(source: str, blocks: Path = BLOCKS) -> frozenset[str]:
    """Return the disks that a device is on: below partitions, LVM and encryption.

    Args:
        source: The device's path; others, as of a container's root, are on no disk.
        blocks: What the kernel says of block devices, by their numbers.
    """
    try:
        number = Path(source).stat().st_rdev
    except OSError:
        return frozenset()
    if not source.startswith("/dev/") or not number:
        return frozenset()
    return _below((blocks / f"{os.major(number)}:{os.minor(number)}").resolve())


def _below(device: Path) -> frozenset[str]:
    if (device / "partition").exists():
        return _below(device.parent)
    lower = sorted((device / "slaves").iterdir()) if (device / "slaves").is_dir() else []
    if not lower:
        return frozenset({device.name})
    return frozenset().union(*(_below(path.resolve()) for path in lower))
