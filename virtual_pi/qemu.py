"""QEMU's command line for a machine, and its monitor protocol (QMP)."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from virtual_pi.emulation import debian_architecture
from virtual_pi.firmware import Boot
from virtual_pi.machines import USER, Machine
from virtual_pi.ports import LOOPBACK

EMULATOR = "qemu-system-aarch64"


def escape(path: Path) -> str:
    """Return a path for one of QEMU's comma-separated options.

    Args:
        path: The path.
    """
    return os.fspath(path).replace(",", ",,")


def accelerator() -> list[str]:
    """Return the options of KVM where this machine is ARM64 and has it, of emulation elsewhere."""
    if debian_architecture() == "arm64" and os.access("/dev/kvm", os.R_OK | os.W_OK):
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", "cortex-a76"]


def command_line(machine: Machine, boot: Boot, kernel: Path, initramfs: Path | None) -> list[str]:
    """Return the command that runs a machine until it resets or powers off.

    Args:
        machine: The machine.
        boot: What the firmware chose.
        kernel: The kernel, copied out of the boot partition.
        initramfs: The initramfs, likewise; None for none.
    """
    settings = machine.settings()
    command = [EMULATOR, "-name", escape(Path(machine.name)), "-nodefaults", "-display", "none"]
    command += ["-M", "virt", *accelerator()]
    command += ["-smp", str(settings.cpus), "-m", str(settings.memory_mib)]
    command += ["-kernel", os.fspath(kernel), "-append", boot.cmdline]
    if initramfs:
        command += ["-initrd", os.fspath(initramfs)]
    # The firmware must see every reset, also the watchdog's, to read the boot partition again.
    command += ["-no-reboot", "-device", "i6300esb", "-action", "watchdog=reset"]
    command += ["-chardev", f"file,id=console,append=on,path={escape(machine.console)}"]
    command += ["-serial", "chardev:console"]
    command += _drive("sd", machine.root_disk, "qcow2", "virtio-blk-pci")
    if settings.record_boot:
        command += _recorded("boot", machine.boot_disk, machine.boot_log)
    else:
        command += _drive("boot", machine.boot_disk, "raw", "virtio-blk-pci")
    if settings.nvme:
        command += _drive("nvme", machine.nvme_disk, "qcow2", "nvme,serial=gridberry")
    command += _network(machine)
    command += ["-device", "virtio-rng-pci"]
    for name, path in credential_files(machine).items():
        command += ["-fw_cfg", f"name=opt/io.systemd.credentials/{name},file={escape(path)}"]
    for path in (machine.monitor, machine.control):
        command += ["-qmp", f"unix:{escape(path)},server=on,wait=off"]
    return command


def _drive(name: str, path: Path, image_format: str, device: str) -> list[str]:
    # cache=writeback (the default) keeps what the guest flushed when QEMU is killed, and no more.
    drive = f"if=none,id={name},format={image_format},discard=unmap,file={escape(path)}"
    return ["-drive", drive, "-device", f"{device},drive={name}"]


def _recorded(name: str, path: Path, log: Path) -> list[str]:
    """Return the options of a drive whose writes and flushes go to a log, too, in their order."""
    # The format is that of Linux's dm-log-writes. The log's head is written at each entry, as a
    # machine that is killed has no time for it.
    drive = f"driver=blklogwrites,node-name={name},log-super-update-interval=1"
    drive += f",file.driver=raw,file.file.driver=file,file.file.filename={escape(path)}"
    drive += f",log.driver=file,log.filename={escape(log)}"
    return ["-blockdev", drive, "-device", f"virtio-blk-pci,drive={name}"]


def _network(machine: Machine) -> list[str]:
    settings = machine.settings()
    forwards = [(22, settings.ssh_port), *settings.forwards.items()]
    rules = "".join(f",hostfwd=tcp:{LOOPBACK}:{host}-:{guest}" for guest, host in forwards)
    user = f"user,id={'router' if settings.tap else 'net'},hostname={machine.name}{rules}"
    parts = [user]
    if settings.tap:
        # The router has a tap of its own: it would answer whatever it hears, and a bridge lets it
        # hear only what is for it.
        parts += [
            f"tap,id=net,ifname={settings.tap},script=no,downscript=no",
            f"tap,id=tap,ifname={router_tap(settings.tap)},script=no,downscript=no",
            *(f"hubport,id=hub-{end},hubid=0,netdev={end}" for end in ("router", "tap")),
        ]
    return [
        *(word for part in parts for word in ("-netdev", part)),
        *("-device", f"virtio-net-pci,netdev=net,romfile=,mac={settings.mac}"),
    ]


def router_tap(tap: str) -> str:
    """Return the name of the tap of the router, which QEMU plays, beside that of a machine.

    Args:
        tap: The machine's.
    """
    return f"{tap}r"


def credential_files(machine: Machine) -> dict[str, Path]:
    """Return the systemd credentials that give a machine its identity, by name.

    Args:
        machine: The machine; one on a tap has none.
    """
    if machine.settings().tap:
        return {}
    return {
        "tmpfiles.extra": machine.directory / "credential.tmpfiles",
        "system.hostname": machine.directory / "credential.hostname",
    }


def own_files(machine: Machine) -> dict[str, tuple[str, bytes]]:
    """Return the files that no other machine has: each one's mode and owner, and its content.

    Args:
        machine: The machine.
    """
    hosts = f"127.0.0.1\tlocalhost\n127.0.1.1\t{machine.name}\n"
    key = "/etc/ssh/ssh_host_ed25519_key"
    public, login = (path.with_suffix(".pub") for path in (machine.host_key, machine.ssh_key))
    return {
        "/etc/hostname": ("0644 root root", f"{machine.name}\n".encode()),
        "/etc/hosts": ("0644 root root", hosts.encode()),
        key: ("0600 root root", machine.host_key.read_bytes()),
        f"{key}.pub": ("0644 root root", public.read_bytes()),
        f"/home/{USER}/.ssh/authorized_keys": (f"0600 {USER} {USER}", login.read_bytes()),
    }


def identity_rules(machine: Machine) -> str:
    """Return the tmpfiles.d(5) lines that make a machine's own files at its first boot.

    Args:
        machine: The machine.
    """
    lines = [f"d /home/{USER}/.ssh 0700 {USER} {USER} -"]
    for path, (access, content) in own_files(machine).items():
        # f: made only where missing; ~: the content is in base64.
        lines.append(f"f~ {path} {access} - {base64.b64encode(content).decode()}")
    return "\n".join(lines) + "\n"


class Monitor:
    """A connection to QEMU's monitor.

    Raises:
        OSError: QEMU does not answer.
    """

    def __init__(self, path: Path, timeout: float | None = 10) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._socket.connect(os.fspath(path))
        self._lines = self._socket.makefile("rb")
        self._receive()  # the greeting
        self.execute("qmp_capabilities")
        self._socket.settimeout(None)

    def execute(self, command: str) -> None:
        """Run a command.

        Args:
            command: Its name; it takes no arguments.

        Raises:
            OSError: QEMU refused it or went away.
        """
        self._socket.sendall(json.dumps({"execute": command}).encode() + b"\n")
        while True:
            answer = self._receive()
            if "error" in answer:
                raise OSError(f"QEMU refused {command}: {answer['error'].get('desc')}")
            if "return" in answer:
                return

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield QEMU's events until it ends."""
        while True:
            try:
                message = self._receive()
            except OSError:
                return
            if "event" in message:
                yield message

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()

    def _receive(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise ConnectionError("QEMU hung up")
        message: dict[str, Any] = json.loads(line)
        return message
