"""A card's image file as one flashes it: Debian with cloud-init, no user yet, the seed's place.

Raspberry Pi OS has its seed on the boot partition, and so has this one. Its kernel, and cloud-init
without Raspberry Pi's own module, are Debian's.
"""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

from virtual_pi.image import Image, ensure, image_request, run
from virtual_pi.machines import USER

PACKAGES = ("cloud-init", "avahi-daemon")
MIB, SECTOR = 1024**2, 512
BOOT_START = 4 * MIB
# As Raspberry Pi OS flashes them: prepare knows a card of cloud-init by these.
SEED = {
    "user-data": "#cloud-config\n# examples\n",
    "meta-data": "dsmode: local\ninstance-id: rpios-image\n",
    "network-config": "# examples\n",
}
CLOUD = """\
datasource_list: [NoCloud, None]
datasource:
  NoCloud:
    seedfrom: file:///boot/firmware
apt:
  preserve_sources_list: true
"""
# The seed lies on a file system of its own, which cloud-init would not wait for.
WAIT = "[Unit]\nRequiresMountsFor=/boot/firmware\n"
# The seed calls the network card optional, so systemd-networkd would wait two minutes for none.
ONLINE = """\
[Service]
ExecStart=
ExecStart=/usr/lib/systemd/systemd-networkd-wait-online --interface=eth0
"""
FILES = {
    "etc/hostname": "raspberrypi\n",
    "etc/systemd/system/systemd-networkd-wait-online.service.d/eth0.conf": ONLINE,
    "etc/cloud/cloud.cfg.d/99_seed.cfg": CLOUD,
    "etc/systemd/system/cloud-init-main.service.d/seed.conf": WAIT,
    "etc/systemd/system/cloud-init-local.service.d/seed.conf": WAIT,
    **{f"boot/firmware/{name}": text for name, text in SEED.items()},
}


def ensure_card(release: str) -> Image:
    """Return the partitions of a card with cloud-init, built first if they are not in the cache.

    Args:
        release: Debian's release.

    Raises:
        VirtualPiError: They cannot be built.
    """
    plain = image_request(release)
    request = replace(plain, packages=(*plain.packages, *PACKAGES))
    return ensure(request, make_card, __file__)


def make_card(tree: Path) -> None:
    """Turn a virtual Pi's system into one that belongs to nobody before its first boot.

    Args:
        tree: The root file system.

    Raises:
        VirtualPiError: A tool failed.
    """
    run("chroot", os.fspath(tree), "userdel", "--remove", USER)
    (tree / f"etc/sudoers.d/010_{USER}-nopasswd").unlink()
    # Network and name are what the seed says.
    (tree / "etc/systemd/network/20-wired.network").unlink()
    (tree / "etc/systemd/system/systemd-tmpfiles-setup.service.d/hostname.conf").unlink()
    for name, text in FILES.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    # Raspberry Pi OS calls the wired network card eth0, and so does the seed.
    cmdline = tree / "boot/firmware/cmdline.txt"
    cmdline.write_text(cmdline.read_text().rstrip("\n") + " net.ifnames=0\n")


def write_card(card: Image, target: Path) -> None:
    """Write an image file with a partition table, the boot partition and the root file system.

    Args:
        card: The partitions.
        target: The file, which is sparse.

    Raises:
        VirtualPiError: A tool failed.
    """
    boot, root = (path.stat().st_size for path in (card.boot, card.root))
    with target.open("wb") as file:
        file.write(_partition_table(boot, root))
        file.truncate(BOOT_START + boot + root)
    _copy(card.boot, target, f"seek={BOOT_START // MIB}")
    _copy(card.root, target, f"seek={(BOOT_START + boot) // MIB}")


def _partition_table(boot: int, root: int) -> bytes:
    """Return the first sector of a disk with two partitions (MBR), whose sizes are in bytes."""
    parts = ((0x0C, BOOT_START, boot), (0x83, BOOT_START + boot, root))
    entries = [
        struct.pack("<4xB3xII", kind, start // SECTOR, size // SECTOR)
        for kind, start, size in parts
    ]
    return bytes(446) + b"".join(entries).ljust(64, b"\0") + b"\x55\xaa"


def read_card(source: Path, card: Image, boot_bytes: int) -> None:
    """Take an image file apart, as a virtual Pi has a disk for each partition.

    Args:
        source: The file, as `write_card` writes it.
        card: The partitions to write; the directory is there.
        boot_bytes: Size of the boot partition.

    Raises:
        VirtualPiError: A tool failed.
    """
    start = BOOT_START // MIB
    _copy(source, card.boot, f"skip={start}", f"count={boot_bytes // MIB}")
    _copy(source, card.root, f"skip={start + boot_bytes // MIB}")
    os.truncate(card.boot, boot_bytes)
    os.truncate(card.root, source.stat().st_size - BOOT_START - boot_bytes)


def _copy(source: Path, target: Path, *places: str) -> None:
    run(
        "dd", f"if={source}", f"of={target}", "bs=1M", "conv=sparse,notrunc", "status=none", *places
    )
