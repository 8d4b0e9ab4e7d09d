"""Fixtures: a boot partition made with the real tools, and a machine without an image."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virtual_pi.machines import Machine, Settings
from virtual_pi.paths import RECIPE, make_private, socket_directory

FRESH = RECIPE / "files" / "boot" / "firmware"


@pytest.fixture
def boot_image(tmp_path: Path) -> Callable[..., Path]:
    """Make vfat images: those of a fresh Pi, with some files replaced, or left out where None."""

    def make(**replaced: bytes | None) -> Path:
        image = tmp_path / "boot.img"
        with image.open("wb") as file:
            file.truncate(64 * 1024**2)
        subprocess.run(["mkfs.vfat", "-F", "32", image], check=True, capture_output=True)
        files: dict[str, bytes | None] = {
            "cmdline.txt": (FRESH / "cmdline.txt").read_bytes(),
            "config.txt": (FRESH / "config.txt").read_bytes(),
            "kernel8.img": b"a kernel",
            "initramfs8": b"an initramfs",
        }
        for name, content in replaced.items():
            files[name.replace("__", ".")] = content
        for name, content in files.items():
            if content is not None:
                subprocess.run(["mcopy", "-i", image, "-", f"::{name}"], input=content, check=True)
        return image

    return make


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A created machine that cannot boot: it has no disks."""
    made = Machine(tmp_path / "state, here", "pi1")
    make_private(made.directory)
    settings = Settings(
        memory_mib=1024,
        cpus=2,
        release="trixie",
        nvme=True,
        mac="52:54:00:01:02:03",
        ssh_port=20022,
        forwards={8080: 28080},
        time_port=20022,
    )
    made.settings_file.write_text(settings.to_json())
    yield made
    shutil.rmtree(socket_directory(made.state_dir), ignore_errors=True)
