"""The process behind a running machine: it plays the firmware.

`python3 -m virtual_pi.supervisor STATE_DIRECTORY NAME`. At every boot it reads the boot partition
as a Pi's firmware does and starts QEMU, which ends at every reset; a power-off ends the loop.
"""

from __future__ import annotations

import ctypes
import datetime
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from virtual_pi.firmware import BootPartition, BrickedError, choose_boot
from virtual_pi.machines import Machine, Status, copy_sparse, write_whole
from virtual_pi.paths import make_private, socket_directory
from virtual_pi.ports import LOOPBACK
from virtual_pi.processes import name_process
from virtual_pi.qemu import Monitor, command_line, credential_files, identity_rules

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
MONITOR_SECONDS = 30
BANNER_SECONDS = 5
CONSOLE_BYTES = 16 * 1024**2


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends, however that ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def has_banner(port: int) -> bool:
    """Tell whether an SSH server greets on a port of this machine.

    Args:
        port: The port. QEMU accepts the connection before the guest does.
    """
    try:
        with socket.create_connection((LOOPBACK, port), timeout=BANNER_SECONDS) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


class Supervisor:
    """Runs one machine from power-on to power-off."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._status = replace(machine.status(), supervisor=name_process(os.getpid()), qemu=None)
        self._lock = threading.Lock()

    def run(self) -> None:
        """Boot until the guest powers off or nothing can be booted."""
        make_private(socket_directory(self._machine.state_dir))
        for name, path in credential_files(self._machine).items():
            rules = name == "tmpfiles.extra"
            write_whole(path, identity_rules(self._machine) if rules else self._machine.name)
        time_server = self._start_time_server()
        try:
            while self._boot_once():
                pass
        except BrickedError as error:
            self._note(f"nothing to boot: {error}")
            self._record(state="bricked", reason=str(error), supervisor=None, qemu=None)
        finally:
            time_server.kill()
            time_server.wait()

    def _start_time_server(self) -> subprocess.Popen[bytes]:
        """Start what tells the guest the time: a process, as no thread may run while QEMU starts.

        What it has to say, such as that its port is taken, is in the supervisor's log.
        """
        port = str(self._machine.settings().time_port)
        return subprocess.Popen(
            [sys.executable, "-m", "virtual_pi.time_server", port],
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call; no thread runs now
        )

    def _boot_once(self) -> bool:
        """Boot and wait for the end; tell whether to boot again."""
        self._trim_console()
        partition = BootPartition(self._machine.boot_disk)
        boot = choose_boot(partition)
        self._note(f"boot {self._status.boots + 1}: {boot.kernel}: {boot.cmdline}")
        with tempfile.TemporaryDirectory(dir=self._machine.directory, prefix="boot-") as directory:
            kernel, initramfs = Path(directory, "kernel"), None
            partition.copy_out(boot.kernel, kernel)
            if boot.initramfs:
                initramfs = Path(directory, "initramfs")
                partition.copy_out(boot.initramfs, initramfs)
            if self._machine.settings().record_boot:
                copy_sparse(self._machine.boot_disk, self._machine.boot_before)
                self._machine.boot_log.write_bytes(b"")
            return self._run_qemu(command_line(self._machine, boot, kernel, initramfs))

    def _run_qemu(self, command: list[str]) -> bool:
        for path in (self._machine.monitor, self._machine.control):
            path.unlink(missing_ok=True)
        qemu = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call; no thread runs now
        )
        self._record(state="booting", reason="", qemu=name_process(qemu.pid))
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch_ssh, args=(ended,))
        try:
            monitor = self._connect(qemu)
            # QEMU answers once all its devices are there: only now it is a boot.
            self._record(boots=self._status.boots + 1)
            watcher.start()
            cause = self._end_cause(monitor)
        except ConnectionError as error:
            cause = str(error)
        finally:
            exit_status = qemu.wait()
            ended.set()
            if watcher.is_alive():
                watcher.join()
        if exit_status == 0 and cause == "guest-reset":
            self._note("the guest was reset")
            return True
        reason = "" if cause == "guest-shutdown" else f"QEMU ended ({exit_status}): {cause}"
        self._note(reason or "the guest powered off")
        self._record(state="off", reason=reason, supervisor=None, qemu=None)
        return False

    def _connect(self, qemu: subprocess.Popen[bytes]) -> Monitor:
        """Return a connection to QEMU's monitor, or raise ConnectionError with the reason."""
        deadline = time.monotonic() + MONITOR_SECONDS
        while True:
            try:
                return Monitor(self._machine.monitor)
            except OSError:
                if qemu.poll() is not None:
                    raise ConnectionError(
                        f"it did not start; see {self._machine.supervisor_log}"
                    ) from None
                if time.monotonic() > deadline:
                    qemu.kill()
                    raise ConnectionError("its monitor did not answer") from None
                time.sleep(0.1)

    def _end_cause(self, monitor: Monitor) -> str:
        """Wait for the guest's end and return QEMU's word for why it ended."""
        cause = "no shutdown event"
        for event in monitor.events():
            if event["event"] == "WATCHDOG":
                self._note("the watchdog fired")
            elif event["event"] == "SHUTDOWN":
                cause = event["data"]["reason"]
        monitor.close()
        return cause

    def _watch_ssh(self, ended: threading.Event) -> None:
        """Call the machine running once its SSH server greets."""
        port = self._machine.settings().ssh_port
        while not ended.wait(1):
            if has_banner(port):
                if not ended.is_set():
                    self._record(state="running")
                return

    def _record(self, **changes: Any) -> None:
        """Change fields of the status by name, here and on disk."""
        with self._lock:
            self._status = replace(self._status, **changes)
            self._machine.write_status(self._status)

    def _note(self, text: str) -> None:
        """Write a line of the firmware's own into the console log."""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._machine.console.open("a") as console:
            console.write(f"\n--- {now} firmware: {text}\n")

    def _trim_console(self) -> None:
        """Keep the log of a machine that reboots for weeks from filling the disk."""
        console = self._machine.console
        if console.exists() and console.stat().st_size > CONSOLE_BYTES:
            console.replace(console.with_suffix(".log.1"))


def main() -> None:
    """Run the machine named on the command line."""
    state_dir, name = sys.argv[1:]
    machine = Machine(Path(state_dir), name)
    # Any unexpected end is recorded: a machine must not seem to run when nothing drives it.
    try:
        Supervisor(machine).run()
    except Exception as error:
        status = machine.status()
        machine.write_status(Status("off", f"the supervisor failed: {error!r}", status.boots))
        raise


if __name__ == "__main__":
    main()
