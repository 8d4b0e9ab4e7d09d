"""Starting, waiting for, stopping and removing machines."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from virtual_pi.errors import VirtualPiError
from virtual_pi.locks import locked
from virtual_pi.machines import (
    Machine,
    Settings,
    Status,
    answers_ssh,
    remove_files,
    ssh_command,
)
from virtual_pi.paths import CHECKOUT, make_private, socket_directory
from virtual_pi.ports import LOOPBACK, is_free
from virtual_pi.processes import is_alive, kill
from virtual_pi.qemu import Monitor

LAUNCH_SECONDS = 30
BOOT_SECONDS = 300
POWER_OFF_SECONDS = 120
REPORT_SECONDS = 10
CONSOLE_TAIL_LINES = 25


def is_on(machine: Machine) -> bool:
    """Tell whether a machine is booting or running.

    Args:
        machine: The machine.
    """
    return machine.status().state in ("booting", "running")


def start(machine: Machine) -> bool:
    """Switch a machine on and return once QEMU runs; its system may take half a minute more.

    Args:
        machine: The machine.

    Returns:
        Whether it was off.

    Raises:
        VirtualPiError: A port is taken, the machine is bricked or QEMU does not start.
    """
    with locked(machine.lock):
        status = machine.status()
        if is_alive(status.supervisor):
            return False
        kill(status.qemu)  # of a supervisor that was killed alone
        _check_ports(machine.name, machine.settings())
        make_private(socket_directory(machine.state_dir))
        with machine.supervisor_log.open("w") as log:
            supervisor = subprocess.Popen(
                [
                    *(sys.executable, "-m", "virtual_pi.supervisor"),
                    *(machine.state_dir, machine.name),
                ],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _wait_for_launch(machine, supervisor, status.boots)
    return True


def _check_ports(name: str, settings: Settings) -> None:
    for port in (settings.ssh_port, *settings.forwards.values()):
        if not is_free(port):
            raise VirtualPiError(
                f"port {port} of {LOOPBACK}, which is {name}'s, is used by another program:"
                " end that program, or remove the machine and create it again"
            )


def _wait_for_launch(
    machine: Machine, supervisor: subprocess.Popen[bytes], boots_before: int
) -> None:
    deadline = time.monotonic() + LAUNCH_SECONDS
    while time.monotonic() < deadline:
        status = machine.status()
        if status.boots > boots_before and is_alive(status.qemu):
            return
        if supervisor.poll() is not None:
            status = machine.status()
            if status.state == "bricked":
                raise VirtualPiError(f"{machine.name} is bricked: {status.reason}")
            raise VirtualPiError(
                f"{machine.name} did not start: {status.reason}\n{_supervisor_words(machine)}"
            )
        time.sleep(0.1)
    raise VirtualPiError(
        f"{machine.name} did not start within {LAUNCH_SECONDS} s; see {machine.supervisor_log}"
    )


def _supervisor_words(machine: Machine) -> str:
    return "\n".join(machine.supervisor_log.read_text().splitlines()[-5:])


def wait_for_ssh(machines: Sequence[Machine], seconds: int = BOOT_SECONDS) -> None:
    """Wait until the user can log in on every machine, with a line of progress now and then.

    Args:
        machines: The machines.
        seconds: How long at most.

    Raises:
        VirtualPiError: One does not come up; shows the end of its console.
    """
    begin = reported = time.monotonic()
    waiting = list(machines)
    while waiting:
        for machine in list(waiting):
            status = check_on(machine)
            elapsed = time.monotonic() - begin
            if status.state == "running" and answers_ssh(machine):
                elapsed = time.monotonic() - begin
                print(f"  {machine.name}: answers on SSH after {elapsed:.0f} s", file=sys.stderr)
                waiting.remove(machine)
            elif elapsed > seconds:
                raise _boot_error(machine, f"does not answer on SSH after {seconds} s")
        if waiting and time.monotonic() - reported >= REPORT_SECONDS:
            reported = time.monotonic()
            names = ", ".join(machine.name for machine in waiting)
            print(f"  {names}: booting, {reported - begin:.0f} s", file=sys.stderr, flush=True)
        if waiting:
            time.sleep(0.5)


def check_on(machine: Machine) -> Status:
    """Check that a machine that was switched on boots or runs; return what it does.

    Args:
        machine: The machine.

    Raises:
        VirtualPiError: It is off or bricked; shows the end of its console.
    """
    status = machine.status()
    if status.state in ("off", "bricked"):
        raise _boot_error(machine, f"is {status.state}: {status.reason}")
    return status


def _boot_error(machine: Machine, what: str) -> VirtualPiError:
    text = machine.console.read_text(errors="replace") if machine.console.exists() else ""
    tail = "\n".join(f"  | {line}" for line in text.splitlines()[-CONSOLE_TAIL_LINES:])
    return VirtualPiError(
        f"{machine.name} {what}; its console ({machine.console}) ends with:\n{tail}"
    )


def cut(machine: Machine) -> bool:
    """Cut a machine's power: nothing is flushed.

    Args:
        machine: The machine.

    Returns:
        Whether it was on.
    """
    with locked(machine.lock):
        status = machine.status()
        # The supervisor first, or it could take QEMU's end for something to act on.
        was_on = kill(status.supervisor)
        was_on = kill(status.qemu) or was_on
        _wait_for_end(machine)
    return was_on


def _wait_for_end(machine: Machine) -> None:
    """Wait until killed processes are gone, so that their ports and disks are free."""
    deadline = time.monotonic() + LAUNCH_SECONDS
    status = machine.status()
    while is_alive(status.qemu) or is_alive(status.supervisor):
        if time.monotonic() > deadline:
            raise VirtualPiError(f"{machine.name}: QEMU does not end although it was killed")
        time.sleep(0.02)


def press_power_button(machines: Sequence[Machine]) -> None:
    """Power machines off cleanly and wait until they are off.

    Args:
        machines: The machines; those that are off are left alone.

    Raises:
        VirtualPiError: One is still on after a while.
    """
    waiting = [machine for machine in machines if is_on(machine)]
    for machine in waiting:
        if not _press(machine):
            _ask_by_ssh(machine)
    begin = reported = time.monotonic()
    while waiting := [machine for machine in waiting if is_on(machine)]:
        now = time.monotonic()
        names = ", ".join(machine.name for machine in waiting)
        if now - begin > POWER_OFF_SECONDS:
            raise VirtualPiError(
                f"still on {POWER_OFF_SECONDS} s after the power button: {names};"
                f" 'cut {' '.join(machine.name for machine in waiting)}' cuts the power"
            )
        if now - reported >= REPORT_SECONDS:
            reported = now
            print(f"  {names}: shutting down, {now - begin:.0f} s", file=sys.stderr, flush=True)
        time.sleep(0.2)


def _press(machine: Machine) -> bool:
    """Press the power button, which only a system that is up listens to."""
    if machine.status().state != "running":
        wait_for_ssh([machine])
    try:
        monitor = Monitor(machine.control)
        monitor.execute("system_powerdown")
        monitor.close()
    except OSError:
        return False
    return True


def _ask_by_ssh(machine: Machine) -> None:
    command = ssh_command(machine, "-o", "BatchMode=yes", "-o", "ConnectTimeout=20")
    subprocess.run([*command, "sudo systemctl poweroff"], capture_output=True, check=False)


def remove(machine: Machine) -> None:
    """Remove a machine and its disks; its power is cut if it is on.

    Args:
        machine: The machine.
    """
    cut(machine)
    remove_files(machine)
