"""A snapshot: the disks of a machine that is off, from which others begin.

Each of them has its own name, machine ID, host keys and login, as if it were new; what else is on
the disks, such as the bot's books, is the same on all. QEMU's own snapshots do not work with NVMe.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from virtual_pi.errors import VirtualPiError
from virtual_pi.image import Image, run
from virtual_pi.lifecycle import is_on
from virtual_pi.machines import Machine, copy_sparse
from virtual_pi.qemu import own_files

# e2fsck's exit status: nothing was wrong; all that was wrong is mended.
SOUND, MENDED = 0, 1


@dataclass(frozen=True)
class Snapshot:
    """A snapshot.

    Attributes:
        image: Its disks.
        release: Debian's release.
        has_nvme: Whether there is an NVMe drive among them.
        time_port: Where its guest asks for the time.
    """

    image: Image
    release: str
    has_nvme: bool
    time_port: int


def take(machine: Machine, directory: Path) -> Snapshot:
    """Make a snapshot of a machine, whole or not at all.

    Args:
        machine: The machine, off.
        directory: Where the snapshot is to be; one that is there already is replaced.

    Raises:
        VirtualPiError: The machine is on, or a tool failed.
    """
    if is_on(machine):
        raise VirtualPiError(f"{machine.name} is {machine.status().state}: stop it first")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as work:
        made = Image(Path(work) / "snapshot")
        made.directory.mkdir(mode=0o700)
        # Whole files: the machine and the image it was made of may go.
        convert = ("qemu-img", "convert", "-O")
        run(*convert, "raw", os.fspath(machine.root_disk), os.fspath(made.root))
        if machine.nvme_disk.exists():
            run(*convert, "qcow2", os.fspath(machine.nvme_disk), os.fspath(made.nvme))
        copy_sparse(machine.boot_disk, made.boot)
        _forget(made.root, machine)
        settings = machine.settings()
        about = {"release": settings.release, "time_port": settings.time_port}
        (made.directory / "snapshot.json").write_text(json.dumps(about))
        shutil.rmtree(directory, ignore_errors=True)
        made.directory.rename(directory)
    return load(directory)


def load(directory: Path) -> Snapshot:
    """Return a snapshot.

    Args:
        directory: Where it is.

    Raises:
        VirtualPiError: There is none.
    """
    try:
        about = json.loads((directory / "snapshot.json").read_text())
    except FileNotFoundError:
        raise VirtualPiError(f"there is no snapshot in {directory}") from None
    image = Image(directory)
    return Snapshot(image, about["release"], image.nvme.exists(), about["time_port"])


def _forget(root: Path, machine: Machine) -> None:
    """Take from a root file system what only its machine may have; the next boot makes it anew."""
    _check(root, "-fp", MENDED)
    # /etc/hosts is a role's by now, which writes another name into it.
    names = [name for name in own_files(machine) if name != "/etc/hosts"]
    # Emptied: without that file systemd would take the system for a new one, whose units it
    # enables by its own rules.
    commands = [
        *(f"rm {name}" for name in (*names, "/var/lib/systemd/random-seed")),
        "set_inode_field /etc/machine-id size 0",
    ]
    done = subprocess.run(
        ["debugfs", "-w", "-f", "-", os.fspath(root)],
        input="\n".join(commands),
        check=False,
        capture_output=True,
        text=True,
    )
    # Its exit status is that of its own end. Its first line is its version; what is gone is gone.
    said = [
        line for line in done.stderr.splitlines()[1:] if not line.startswith("rm: File not found")
    ]
    if done.returncode or said:
        raise VirtualPiError(f"debugfs failed: {' '.join(said) or done.stderr.strip()}")
    _check(root, "-fn", SOUND)


def _check(root: Path, how: str, worst: int) -> None:
    done = subprocess.run(["e2fsck", how, root], capture_output=True, text=True, check=False)
    if done.returncode > worst:
        raise VirtualPiError(f"the copied root file system is damaged: {done.stdout.strip()}")
