"""Snapshots, made with the real tools of disks without a system: what others begin with."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from virtual_pi import machines, snapshot
from virtual_pi.cli import main
from virtual_pi.errors import VirtualPiError
from virtual_pi.image import Image
from virtual_pi.machines import CreateOptions, Machine, Status
from virtual_pi.processes import name_process
from virtual_pi.qemu import own_files

KEPT = {"/etc/hosts": "of a role", "/var/lib/bot/books": "exact"}


@pytest.fixture
def off(
    tmp_path: Path, boot_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Machine:
    """A machine that is off and has been provisioned, as far as its files show."""
    image = Image(tmp_path / "image")
    image.directory.mkdir()
    boot_image().rename(image.boot)
    monkeypatch.setattr(machines, "BOOT_BYTES", image.boot.stat().st_size)
    tree = tmp_path / "tree"
    own = dict.fromkeys(["/etc/hostname", "/etc/ssh/ssh_host_ed25519_key"], "pi1's own")
    for name, text in {**own, **KEPT, "/etc/machine-id": "0123\n"}.items():
        path = tree / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with image.root.open("wb") as file:
        file.truncate(64 * 1024**2)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image.root], check=True)
    options = CreateOptions(disk_bytes=64 * 1024**2, nvme_bytes=8 * 1024**2)
    machine = machines.create_machine(tmp_path / "state", "pi1", image, options)
    subprocess.run(
        ["qemu-io", "-c", "write -P 0x5a 0 4096", machine.nvme_disk],
        check=True,
        capture_output=True,
    )
    return machine


def read(disk: Path, name: str) -> str | None:
    """A file of a root file system; None where it is missing."""
    raw = disk.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", disk, raw], check=True)
    done = subprocess.run(
        ["debugfs", "-R", f"cat {name}", raw], capture_output=True, text=True, check=True
    )
    return None if "File not found" in done.stderr else done.stdout


def drive_holds(disk: Path, pattern: str) -> bool:
    """Whether a drive begins with that byte."""
    command = ["qemu-io", "-r", "-c", f"read -P {pattern} 0 4096", os.fspath(disk)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return "verification failed" not in done.stdout


def fill(disk: Path, what: str) -> None:
    """Write to a disk: a byte, from where, and how many of it."""
    subprocess.run(["qemu-io", "-c", f"write -P {what}", disk], check=True, capture_output=True)


def test_others_begin_with_its_disks_and_without_what_is_its_own(
    off: Machine, tmp_path: Path
) -> None:
    kept = snapshot.take(off, tmp_path / "kept")
    assert kept.release == "trixie"
    assert kept.has_nvme
    # It needs neither the machine nor the image that the machine was made of.
    machines.remove_files(off)
    (tmp_path / "image" / "root.img").unlink()
    branch = machines.create_machine(
        tmp_path / "state", "pi2", kept.image, CreateOptions(disk_bytes=64 * 1024**2)
    )
    for name in own_files(branch):
        assert read(branch.root_disk, name) == KEPT.get(name), name
    assert read(branch.root_disk, "/etc/machine-id") == ""
    assert read(branch.root_disk, "/var/lib/bot/books") == "exact"
    assert drive_holds(branch.nvme_disk, "0x5a")
    # What a branch writes stays its own.
    fill(branch.nvme_disk, "0x11 0 4096")
    assert drive_holds(kept.image.nvme, "0x5a")


def test_a_branch_has_at_least_the_room_of_the_snapshot(off: Machine, tmp_path: Path) -> None:
    kept = snapshot.take(off, tmp_path / "kept")
    small = CreateOptions(disk_bytes=1024**2, nvme_bytes=1024**2)
    branch = machines.create_machine(tmp_path / "state", "pi2", kept.image, small)
    assert read(branch.root_disk, "/var/lib/bot/books") == "exact"
    assert machines.disk_bytes(branch.nvme_disk) == 8 * 1024**2


def test_a_branch_may_have_a_larger_drive(off: Machine, tmp_path: Path) -> None:
    kept = snapshot.take(off, tmp_path / "kept")
    large = CreateOptions(disk_bytes=1024**2, nvme_bytes=32 * 1024**2)
    branch = machines.create_machine(tmp_path / "state", "pi2", kept.image, large)
    assert machines.disk_bytes(branch.nvme_disk) == 32 * 1024**2
    assert drive_holds(branch.nvme_disk, "0x5a")


def test_a_machine_that_is_on_is_refused(off: Machine, tmp_path: Path) -> None:
    off.write_status(Status("running", "", 1, name_process(os.getpid()), None))
    with pytest.raises(VirtualPiError, match="pi1 is running: stop it first"):
        snapshot.take(off, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_damaged_file_system_leaves_the_snapshot_before_it(off: Machine, tmp_path: Path) -> None:
    snapshot.take(off, tmp_path / "kept")
    # The superblock and its copies: nothing that e2fsck could go by.
    fill(off.root_disk, "0 0 64M")
    with pytest.raises(VirtualPiError, match="the copied root file system is damaged"):
        snapshot.take(off, tmp_path / "kept")
    assert [path.name for path in tmp_path.glob("*kept*")] == ["kept"]
    assert read(snapshot.load(tmp_path / "kept").image.root, "/var/lib/bot/books") == "exact"


def test_what_is_no_system_is_refused(off: Machine, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", raw, "64M"], check=True)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, off.root_disk], check=True)
    with pytest.raises(VirtualPiError, match="debugfs failed: /etc/machine-id: File not found"):
        snapshot.take(off, tmp_path / "kept")


def test_without_a_drive_its_branches_have_none(
    off: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off.nvme_disk.unlink()
    snapshot.take(off, tmp_path / "kept")
    monkeypatch.setenv("GRIDBERRY_STATE", str(off.state_dir))
    assert main(["create", "pi2", "--from", str(tmp_path / "kept")]) == 0
    branch = Machine(off.state_dir, "pi2")
    assert not branch.settings().nvme
    assert not branch.nvme_disk.exists()


def test_its_guest_asks_for_the_time_where_it_is_configured_to(
    off: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = off.settings().time_port
    machines.change_ports(off)
    assert off.settings().time_port == asked != off.settings().ssh_port
    snapshot.take(off, tmp_path / "kept")
    monkeypatch.setenv("GRIDBERRY_STATE", str(off.state_dir))
    assert main(["create", "pi2", "pi3", "--from", str(tmp_path / "kept")]) == 0
    branches = [Machine(off.state_dir, name) for name in ("pi2", "pi3")]
    assert [branch.describe()["time_port"] for branch in branches] == [asked, asked]


def test_no_snapshot_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRIDBERRY_STATE", str(tmp_path))
    assert main(["create", "pi2", "--from", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err == f"virtual_pi: there is no snapshot in {tmp_path / 'none'}\n"
