"""Cards: real FAT file systems, in image files as Raspberry Pi Imager flashes them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

OFFSET = 8192 * 512
SECTORS = 40_000 * 2
CMDLINE = "console=serial0,115200 console=tty1 root=PARTUUID=ab-02 rootfstype=ext4 rootwait\n"
CONFIG = "[all]\narm_64bit=1\n"
ISSUE = "Raspberry Pi reference {date}\nGenerated using pi-gen, stage2\n"
BOOKWORM = {
    "cmdline.txt": CMDLINE,
    "config.txt": CONFIG,
    "issue.txt": ISSUE.format(date="2025-05-13"),
}
TRIXIE = BOOKWORM | {
    "issue.txt": ISSUE.format(date="2026-04-13"),
    "user-data": "#cloud-config\n# examples\n",
    "meta-data": "dsmode: local\ninstance_id: rpios-image\n",
    "network-config": "# examples\n",
}


def table(kind: int) -> bytes:
    """A partition table (MBR) with one partition at OFFSET."""
    entry = bytes([0, 0, 0, 0, kind, 0, 0, 0])
    entry += OFFSET.__floordiv__(512).to_bytes(4, "little") + SECTORS.to_bytes(4, "little")
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


@pytest.fixture
def card(tmp_path: Path) -> Callable[..., Path]:
    """Make an image with a boot partition; needs dosfstools and mtools."""
    if not shutil.which("mkfs.vfat") or not shutil.which("mcopy"):
        pytest.skip("dosfstools and mtools are not here")

    def make(files: dict[str, str], *, partitioned: bool = True, kind: int = 0x0C) -> Path:
        fat, image = tmp_path / "fat", tmp_path / "card.img"
        fat.unlink(missing_ok=True)
        command = ["mkfs.vfat", "-C", "-F", "32", "-n", "bootfs", fat, "40000"]
        subprocess.run(command, check=True, capture_output=True)
        for name, text in files.items():
            command = ["mcopy", "-i", str(fat), "-", f"::{name}"]
            subprocess.run(command, input=text.encode(), check=True)
        with image.open("wb") as file:
            if partitioned:
                file.write(table(kind))
                file.seek(OFFSET)
            file.write(fat.read_bytes())
        return image

    return make


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A public SSH key, and its private one beside it."""
    private = tmp_path / "id"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me@laptop", "-f", private]
    subprocess.run(command, check=True)
    return private.with_suffix(".pub")
