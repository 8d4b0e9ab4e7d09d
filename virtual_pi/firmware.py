"""What a Pi's firmware does at every boot: read the boot partition and say what to start.

Follows https://www.raspberrypi.com/documentation/computers/config_txt.html for the settings that
decide what is booted. The board is a Pi 5: that is what the emulated Cortex-A76 is.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

# A Pi's device tree carries the first; what cmdline.txt says comes after it. That the second then
# wins is a patch of Raspberry Pi's kernel (raspberrypi/linux, kernel/cgroup/cgroup.c). Debian's
# kernel does not know cgroup_enable, so the firmware drops what it would have undone.
MEMORY_OFF = "cgroup_disable=memory"
UNDOES_DEVICE_TREE_BOOTARGS = "cgroup_enable=memory"
DEFAULT_KERNELS = ("kernel_2712.img", "kernel8.img")
MATCHING_FILTERS = ("all", "pi5")
# The arm64 kernel's COMMAND_LINE_SIZE, its end mark included.
LONGEST_CMDLINE = 2048


class BrickedError(Exception):
    """The firmware finds nothing that it could start; its text says why."""


@dataclass(frozen=True)
class BootConfig:
    """What config.txt says about booting.

    Attributes:
        kernel: File named by `kernel=`, or None.
        initramfs: File named by `initramfs FILE followkernel`, or None.
        auto_initramfs: Whether the initramfs is the one named after the kernel.
        cmdline: File that holds the kernel's command line.
    """

    kernel: str | None = None
    initramfs: str | None = None
    auto_initramfs: bool = False
    cmdline: str = "cmdline.txt"


@dataclass(frozen=True)
class Boot:
    """What to start.

    Attributes:
        kernel: The kernel's file on the boot partition.
        initramfs: The initramfs's file there, or None.
        cmdline: The whole kernel command line.
    """

    kernel: str
    initramfs: str | None
    cmdline: str


def parse_config(text: str) -> BootConfig:
    """Return what config.txt says about booting a Pi 5; later lines win.

    Args:
        text: The file's content. What it says about other things is skipped, as the firmware skips
            what it does not know.
    """
    settings: dict[str, str] = {}
    applies = True
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            applies = line.strip("[]").lower() in MATCHING_FILTERS
        elif applies and line.startswith("initramfs "):
            settings["initramfs"] = line.split()[1]
        elif applies and "=" in line:
            name, _, value = line.partition("=")
            settings[name.strip()] = value.strip()
    return BootConfig(
        kernel=settings.get("kernel") or None,
        initramfs=settings.get("initramfs") or None,
        auto_initramfs=settings.get("auto_initramfs") == "1",
        cmdline=settings.get("cmdline") or "cmdline.txt",
    )


def kernel_command_line(content: bytes, name: str = "cmdline.txt") -> str:
    """Return the kernel's command line for a cmdline.txt.

    Args:
        content: The file's bytes.
        name: The file's name, for the message.

    Raises:
        BrickedError: A Pi would not come up with it.
    """
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        raise BrickedError(f"{name} is not plain text") from None
    lines = text.rstrip("\r\n").splitlines()
    if len(lines) != 1 or not lines[0].strip():
        raise BrickedError(f"{name} has {len(lines)} lines; it must be exactly one")
    line = lines[0].strip()
    if not line.isprintable():
        raise BrickedError(f"{name} holds control characters")
    if not any(token.startswith("root=") and token != "root=" for token in line.split()):  # noqa: S105 - no password
        raise BrickedError(f"{name} has no root=")
    if UNDOES_DEVICE_TREE_BOOTARGS not in line.split():
        line = with_device_tree(line)
    if len(line) >= LONGEST_CMDLINE:
        raise BrickedError(f"{name} is longer than the kernel's {LONGEST_CMDLINE - 1} characters")
    return line


def with_device_tree(line: str) -> str:
    """Return a command line with what a Pi's device tree puts in front, as a Pi's kernel takes it.

    Raspberry Pi's kernel has an option of its own, `cgroup_enable=`, and the last word on a
    controller wins there. Debian's kernel knows only `cgroup_disable=`, from which there is no
    return. So where the last word enables the memory controller, nothing that disables it is kept.

    Args:
        line: The content of cmdline.txt.
    """
    enabled = False
    for token in line.split():
        name, _, controllers = token.partition("=")
        if name in ("cgroup_enable", "cgroup_disable") and "memory" in controllers.split(","):
            enabled = name == "cgroup_enable"
    if not enabled:
        return f"{MEMORY_OFF} {line}"
    return " ".join(token for token in line.split() if token != MEMORY_OFF)


def initramfs_for(kernel: str) -> str:
    """Return the initramfs that `auto_initramfs=1` looks for: initramfs8 for kernel8.img.

    Args:
        kernel: The kernel's file name.
    """
    stem = kernel.removesuffix(".img")
    if stem.startswith("kernel"):
        return "initramfs" + stem.removeprefix("kernel")
    return "initramfs"


class BootPartition:
    """A vfat image, read with mtools: no mounting, so no root."""

    def __init__(self, image: Path) -> None:
        self._image = image

    def names(self) -> frozenset[str]:
        """Return the names of the files at the top, in lower case, as vfat compares them.

        Raises:
            BrickedError: There is no file system.
        """
        done = self._mtools("mdir", "-b", "-a", "::")
        if done.returncode:
            why = done.stderr.decode(errors="replace").strip()
            raise BrickedError(f"the boot partition cannot be read: {why}")
        return frozenset(
            line.removeprefix("::/").lower() for line in done.stdout.decode().splitlines()
        )

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Args:
            name: The file.

        Raises:
            BrickedError: It is missing or unreadable.
        """
        done = self._mtools("mtype", f"::{name}")
        if done.returncode:
            raise BrickedError(f"{name} is missing from the boot partition")
        return done.stdout

    def copy_out(self, name: str, target: Path) -> None:
        """Copy a file out of the partition.

        Args:
            name: The file.
            target: Where to write it.

        Raises:
            BrickedError: It is missing or unreadable.
        """
        target.unlink(missing_ok=True)
        if self._mtools("mcopy", "-n", f"::{name}", os.fspath(target)).returncode:
            raise BrickedError(f"{name} is missing from the boot partition")

    def _mtools(self, tool: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        # The guest may have been cut off while it wrote: no consistency check, as the firmware.
        environment = os.environ | {"MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C"}
        return subprocess.run(
            [tool, "-i", os.fspath(self._image), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )


def choose_boot(partition: BootPartition) -> Boot:
    """Return what the firmware would start.

    Args:
        partition: The boot partition.

    Raises:
        BrickedError: It would start nothing.
    """
    names = partition.names()
    config = BootConfig()
    if "config.txt" in names:
        config = parse_config(partition.read("config.txt").decode(errors="replace"))
    candidates = (config.kernel,) if config.kernel else DEFAULT_KERNELS
    kernel = next((name for name in candidates if name.lower() in names), None)
    if kernel is None:
        raise BrickedError(f"the boot partition has no kernel: looked for {', '.join(candidates)}")
    initramfs = config.initramfs
    if initramfs and initramfs.lower() not in names:
        raise BrickedError(f"config.txt names the initramfs {initramfs}, which is missing")
    if initramfs is None and config.auto_initramfs and initramfs_for(kernel) in names:
        initramfs = initramfs_for(kernel)
    cmdline = kernel_command_line(partition.read(config.cmdline), config.cmdline)
    return Boot(kernel, initramfs, cmdline)
