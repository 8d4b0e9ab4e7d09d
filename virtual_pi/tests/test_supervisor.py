"""The supervisor for real, up to where QEMU would start a kernel."""

from collections.abc import Callable
from pathlib import Path

import pytest

from virtual_pi import lifecycle
from virtual_pi.errors import VirtualPiError
from virtual_pi.machines import Machine
from virtual_pi.processes import is_alive


def test_missing_cmdline_bricks_and_says_why(
    machine: Machine, boot_image: Callable[..., Path]
) -> None:
    boot_image(cmdline__txt=None).rename(machine.boot_disk)
    for path in (machine.ssh_key, machine.host_key):
        path.write_text("private")
        path.with_suffix(".pub").write_text("public")
    with pytest.raises(VirtualPiError, match=r"pi1 is bricked: cmdline\.txt is missing"):
        lifecycle.start(machine)
    status = machine.status()
    assert (status.state, status.boots) == ("bricked", 0)
    assert not is_alive(status.supervisor)
    assert "nothing to boot: cmdline.txt is missing" in machine.console.read_text()


def test_qemu_that_does_not_start_is_reported(
    machine: Machine, boot_image: Callable[..., Path]
) -> None:
    boot_image().rename(machine.boot_disk)
    for path in (machine.ssh_key, machine.host_key):
        path.write_text("private")
        path.with_suffix(".pub").write_text("public")
    # There is no root disk.
    with pytest.raises(VirtualPiError, match=r"root\.qcow2"):
        lifecycle.start(machine)
    assert machine.status().state == "off"
    assert "QEMU ended" in machine.status().reason


def test_supervisor_that_fails_leaves_the_machine_off(machine: Machine) -> None:
    # No keys: the identity cannot be written.
    with pytest.raises(VirtualPiError, match="the supervisor failed"):
        lifecycle.start(machine)
    assert machine.status().state == "off"
