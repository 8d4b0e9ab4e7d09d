"""Machines and their state on disk."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from virtual_pi.errors import UsageError, VirtualPiError
from virtual_pi.image import BOOT_BYTES, ROOT_BYTES, Image, run
from virtual_pi.locks import locked
from virtual_pi.paths import make_private, socket_directory
from virtual_pi.ports import LOOPBACK, choose_ports
from virtual_pi.processes import ProcessName, is_alive

USER = "trader"
SSH_PORT = 22
State = Literal["off", "booting", "running", "bricked"]
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Settings:
    """What a machine is made of; fixed when it is created.

    Attributes:
        memory_mib: RAM in MiB.
        cpus: Number of processors.
        release: Debian's release.
        nvme: Whether it has an NVMe drive.
        mac: Its network card's address.
        ssh_port: The port of 127.0.0.1 that leads to its SSH server.
        forwards: The guest's TCP port to the port of 127.0.0.1 that leads to it.
        record_boot: Whether what it writes to its boot partition is recorded.
        time_port: The UDP port of 127.0.0.1 where the guest asks for the time. It is in the guest's
            configuration: a copy of the machine keeps it, whatever its other ports are.
        tap: The tap device that its network card is, for a bridge with others; empty for none. Such
            a machine gets no name, keys and user from here: its card brings them.
    """

    memory_mib: int
    cpus: int
    release: str
    nvme: bool
    mac: str
    ssh_port: int
    forwards: dict[int, int]
    time_port: int
    record_boot: bool = False
    tap: str = ""

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Return what `to_json` wrote.

        Args:
            text: JSON.
        """
        data = json.loads(text)
        data["forwards"] = {int(guest): host for guest, host in data["forwards"].items()}
        # Machines of before had it numbered as this, and not in the file.
        data.setdefault("time_port", data["ssh_port"])
        return cls(**data)


@dataclass(frozen=True)
class Status:
    """How a machine is, as its supervisor last wrote it.

    Attributes:
        state: off, booting (QEMU runs, SSH does not answer yet), running or bricked.
        reason: Why it is off or bricked; empty where nothing is to be said.
        boots: How often it was booted since it was created.
        supervisor: The process that plays the firmware, or None.
        qemu: QEMU's process, or None.
    """

    state: State = "off"
    reason: str = ""
    boots: int = 0
    supervisor: ProcessName | None = None
    qemu: ProcessName | None = None

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Status:
        """Return what `to_json` wrote.

        Args:
            text: JSON.
        """
        data = json.loads(text)
        for role in ("supervisor", "qemu"):
            data[role] = ProcessName(**data[role]) if data[role] else None
        return cls(**data)


@dataclass(frozen=True)
class CreateOptions:
    """What `create` is asked for.

    Attributes:
        memory_mib: RAM in MiB.
        cpus: Number of processors.
        disk_bytes: Size of the SD card's root file system.
        nvme_bytes: Size of the NVMe drive; None for none.
        forwards: The guest's TCP ports to reach from 127.0.0.1.
        release: Debian's release.
        record_boot: Whether what it writes to its boot partition is recorded.
        time_port: Where a snapshot's guest asks for the time; None for a port of its own.
        tap: A tap device as its network card; its identity is its card's then. Empty for none.
    """

    memory_mib: int = 2048
    cpus: int = 2
    disk_bytes: int = ROOT_BYTES
    nvme_bytes: int | None = 4 * 1024**3
    forwards: tuple[int, ...] = ()
    release: str = "trixie"
    record_boot: bool = False
    time_port: int | None = None
    tap: str = ""


class Machine:
    """A machine's files. Making one does not create anything.

    Attributes:
        name: The machine's name, which is its host name too.
        state_dir: The state directory it belongs to.
        directory: Where its files are.
    """

    def __init__(self, state_dir: Path, name: str) -> None:
        self.name = name
        self.state_dir = state_dir
        self.directory = machines_directory(state_dir) / name
        self.settings_file = self.directory / "machine.json"
        self.status_file = self.directory / "status.json"
        self.root_disk = self.directory / "root.qcow2"
        self.boot_disk = self.directory / "boot.img"
        self.boot_before = self.directory / "boot-before.img"
        self.boot_log = self.directory / "boot.log"
        self.nvme_disk = self.directory / "nvme.qcow2"
        self.console = self.directory / "console.log"
        self.supervisor_log = self.directory / "supervisor.log"
        self.lock = self.directory / "lock"
        self.ssh_key = self.directory / "id_ed25519"
        self.host_key = self.directory / "ssh_host_ed25519_key"
        self.known_hosts = self.directory / "known_hosts"

    @property
    def monitor(self) -> Path:
        """The socket on which the supervisor talks to QEMU."""
        return socket_directory(self.state_dir) / f"{self.name}.supervisor"

    @property
    def control(self) -> Path:
        """The socket on which commands talk to QEMU, which serves one client on each."""
        return socket_directory(self.state_dir) / f"{self.name}.control"

    def exists(self) -> bool:
        """Tell whether the machine has been created."""
        return self.settings_file.exists()

    def settings(self) -> Settings:
        """Return what the machine is made of."""
        return Settings.from_json(self.settings_file.read_text())

    def status(self) -> Status:
        """Return how the machine is now: a supervisor that died leaves it off."""
        try:
            status = Status.from_json(self.status_file.read_text())
        except FileNotFoundError:
            return Status()
        if status.state in ("booting", "running") and not is_alive(status.supervisor):
            return Status("off", "the power was cut", status.boots, None, status.qemu)
        return status

    def write_status(self, status: Status) -> None:
        """Record how the machine is.

        Args:
            status: What to record.
        """
        write_whole(self.status_file, status.to_json())

    def describe(self) -> dict[str, Any]:
        """Return what `list --json` says about the machine."""
        settings, status = self.settings(), self.status()
        return {
            "name": self.name,
            "state": status.state,
            "reason": status.reason,
            "ssh": {
                "host": LOOPBACK,
                "port": settings.ssh_port,
                "user": USER,
                "key": os.fspath(self.ssh_key),
                "known_hosts": os.fspath(self.known_hosts),
            },
            "forwards": {str(guest): host for guest, host in settings.forwards.items()},
            "time_port": settings.time_port,
            "console": os.fspath(self.console),
            "memory_mib": settings.memory_mib,
            "cpus": settings.cpus,
            "release": settings.release,
            "nvme": settings.nvme,
            "boots": status.boots,
        }


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file so that a reader sees the old or the new content, never half.

    Args:
        path: The file.
        text: Its content.
        mode: Its permissions.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
    temporary.replace(path)


def machines_directory(state_dir: Path) -> Path:
    """Return the directory of a state directory's machines.

    Args:
        state_dir: The state directory.
    """
    return state_dir / "machines"


def all_machines(state_dir: Path) -> list[Machine]:
    """Return the machines of a state directory by name.

    Args:
        state_dir: The state directory, which need not exist.
    """
    directory = machines_directory(state_dir)
    if not directory.is_dir():
        return []
    machines = (Machine(state_dir, path.name) for path in sorted(directory.iterdir()))
    return [machine for machine in machines if machine.exists()]


def list_machines(state_dir: Path) -> list[dict[str, Any]]:
    """Return what `list --json` prints.

    Args:
        state_dir: The state directory, which need not exist.
    """
    return [machine.describe() for machine in all_machines(Path(state_dir).absolute())]


def find_machine(state_dir: Path, name: str) -> Machine:
    """Return a machine by name.

    Args:
        state_dir: The state directory.
        name: The machine's name.

    Raises:
        VirtualPiError: There is none; names those that are.
    """
    machine = Machine(state_dir, name)
    if NAME.fullmatch(name) and machine.exists():
        return machine
    known = ", ".join(other.name for other in all_machines(state_dir))
    raise VirtualPiError(
        f"there is no machine {name!r}; " + (f"there are: {known}" if known else "there is none")
    )


def check_options(names: Sequence[str], options: CreateOptions) -> None:
    """Refuse what cannot be created.

    Args:
        names: The machines' names.
        options: What they are to be.

    Raises:
        UsageError: Names the setting, its value and what is allowed.
    """
    for name in names:
        if not NAME.fullmatch(name):
            raise UsageError(
                f"NAME is {name!r}: use 1 to 63 lower case letters, digits and hyphens, as in pi1"
            )
    if options.memory_mib < 512:
        raise UsageError(f"--memory is {options.memory_mib}: use at least 512 (MiB)")
    if not 1 <= options.cpus <= 8:
        raise UsageError(f"--cpus is {options.cpus}: use 1 to 8")
    if options.disk_bytes < ROOT_BYTES:
        raise UsageError(
            f"--disk is {options.disk_bytes} bytes: use at least {ROOT_BYTES // 1024**3}G"
        )
    for port in options.forwards:
        if not 1 <= port <= 65535 or port == SSH_PORT:
            raise UsageError(f"--forward is {port}: use 1 to 65535; 22 is forwarded anyway")


def create_machine(state_dir: Path, name: str, image: Image, options: CreateOptions) -> Machine:
    """Create a machine, off.

    Args:
        state_dir: The state directory.
        name: The machine's name.
        image: What is on its SD card; on its NVMe drive as well, where it is a snapshot.
        options: What it is made of.

    Raises:
        VirtualPiError: There is one of that name, or a tool failed.
    """
    directory = machines_directory(state_dir)
    make_private(directory)
    with locked(directory / ".lock"):
        machine = Machine(state_dir, name)
        if machine.exists():
            raise VirtualPiError(f"there already is a machine {name!r}: remove it first")
        shutil.rmtree(machine.directory, ignore_errors=True)  # left by an interrupted create
        make_private(machine.directory)
        taken = {port for other in all_machines(state_dir) for port in _ports(other)}
        forwards = tuple(dict.fromkeys(options.forwards))
        ssh_port, *ports = choose_ports(1 + len(forwards), taken)
        settings = Settings(
            memory_mib=options.memory_mib,
            cpus=options.cpus,
            release=options.release,
            nvme=options.nvme_bytes is not None,
            # 52:54:00 is QEMU's.
            mac="52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3)),
            ssh_port=ssh_port,
            forwards=dict(zip(forwards, ports, strict=True)),
            time_port=options.time_port or ssh_port,
            record_boot=options.record_boot,
            tap=options.tap,
        )
        _make_disks(machine, image, options)
        _make_keys(machine, ssh_port)
        # Last: from now on the machine exists.
        write_whole(machine.settings_file, settings.to_json())
    return machine


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file with its holes and its permissions.

    Args:
        source: The file.
        target: Its copy.
    """
    run(
        *("cp", "--sparse=always", "--reflink=auto", "--preserve=mode"),
        *(os.fspath(source), os.fspath(target)),
    )


def change_ports(machine: Machine, taken: Collection[int] = ()) -> list[int]:
    """Give a machine that is off other ports, as a copy needs beside its original; return them.

    Args:
        machine: The machine.
        taken: Ports that belong to machines of other state directories, running or not.

    Raises:
        VirtualPiError: There are no free ones.
    """
    with locked(machines_directory(machine.state_dir) / ".lock"):
        others = {port for other in all_machines(machine.state_dir) for port in _ports(other)}
        settings = machine.settings()
        ssh_port, *ports = choose_ports(1 + len(settings.forwards), {*taken, *others})
        _trust(machine, ssh_port)
        changed = replace(
            settings, ssh_port=ssh_port, forwards=dict(zip(settings.forwards, ports, strict=True))
        )
        write_whole(machine.settings_file, changed.to_json())
    return [ssh_port, *ports]


def _ports(machine: Machine) -> list[int]:
    settings = machine.settings()
    return [settings.ssh_port, *settings.forwards.values()]


def _make_disks(machine: Machine, image: Image, options: CreateOptions) -> None:
    run(
        *("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", os.fspath(image.root)),
        *(os.fspath(machine.root_disk), str(max(options.disk_bytes, image.root.stat().st_size))),
    )
    copy_sparse(image.boot, machine.boot_disk)
    if machine.boot_disk.stat().st_size != BOOT_BYTES:
        raise VirtualPiError(f"{image.boot} is damaged: run clean-cache, then try again")
    if options.nvme_bytes is not None:
        kept = ("-F", "qcow2", "-b", os.fspath(image.nvme)) if image.nvme.exists() else ()
        size = max(options.nvme_bytes, disk_bytes(image.nvme) if kept else 0)
        run(
            *("qemu-img", "create", "-q", "-f", "qcow2", *kept),
            *(os.fspath(machine.nvme_disk), str(size)),
        )


def disk_bytes(disk: Path) -> int:
    """Return the size of a disk as its machine sees it, in bytes.

    Args:
        disk: Its image.
    """
    told = run("qemu-img", "info", "--output=json", os.fspath(disk))
    return int(json.loads(told)["virtual-size"])


def _make_keys(machine: Machine, port: int) -> None:
    """Make the keys on both sides here, so that no first connection has to be trusted blindly."""
    for path, comment in ((machine.ssh_key, "gridberry"), (machine.host_key, machine.name)):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", os.fspath(path))
    _trust(machine, port)


def _trust(machine: Machine, port: int) -> None:
    public = machine.host_key.with_suffix(".pub").read_text()
    write_whole(machine.known_hosts, f"[{LOOPBACK}]:{port} {public}")


def remove_files(machine: Machine) -> None:
    """Remove a machine that is off.

    Args:
        machine: The machine.
    """
    with locked(machines_directory(machine.state_dir) / ".lock"):
        machine.settings_file.unlink(missing_ok=True)  # first: half removed is not a machine
        shutil.rmtree(machine.directory)
        for path in (machine.monitor, machine.control):
            path.unlink(missing_ok=True)
        sockets = socket_directory(machine.state_dir)
        if sockets.is_dir() and not any(sockets.iterdir()):
            sockets.rmdir()


def ssh_command(machine: Machine, *options: str) -> list[str]:
    """Return the ssh command line that reaches a machine, up to the host.

    Args:
        machine: The machine.
        options: Further options of ssh.
    """
    # ssh splits this option at spaces and expands percent signs.
    known_hosts = os.fspath(machine.known_hosts).replace("%", "%%")
    return [
        *("ssh", "-F", "none", "-i", os.fspath(machine.ssh_key)),
        *("-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"),
        *("-o", f'UserKnownHostsFile="{known_hosts}"', "-o", "LogLevel=ERROR"),
        *("-p", str(machine.settings().ssh_port), *options, f"{USER}@{LOOPBACK}"),
    ]


def answers_ssh(machine: Machine, seconds: int = 20) -> bool:
    """Tell whether the user can log in.

    Args:
        machine: The machine.
        seconds: How long to wait for the answer.
    """
    command = ssh_command(machine, "-o", "BatchMode=yes", "-o", f"ConnectTimeout={seconds}")
    done = subprocess.run([*command, "true"], capture_output=True, check=False)
    return done.returncode == 0
