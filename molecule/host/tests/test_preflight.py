"""Preflight on the real machine: nothing is in the way, and what would be is one line."""

import re
import time
from pathlib import Path

import pytest

from roles.preflight.filter_plugins import preflight

LOOK = Path(__file__).resolve().parents[3] / "roles/preflight/files/look.sh"
WANTED = {
    "nvme_device": "/dev/nvme0n1",
    "free_mb": 1024,
    "memory_mb": 850,
    "releases": ["bookworm", "trixie"],
    "architectures": ["aarch64"],
    "sudo": False,
    "throttled": "fail",
    "clock_seconds": 120,
    "ipv6_off": True,
    "boot": True,
    "address": "127.0.0.1",
    "host": "any",
    "pciex1": False,
    "boot_only": False,
    "drive": True,
    "limits": {},
}


@pytest.fixture(scope="module")
def look(machine):
    """What the role's script says, run as the role runs it: by the login user."""
    script = f"NVME=/dev/nvme0n1\nCLOCK={int(time.time())}\n{LOOK.read_text()}"
    return machine.ssh("sh", input=script, capture_output=True, text=True).stdout


def test_nothing_is_in_the_way(look):
    assert preflight.host_problems(look, WANTED) == []
    assert preflight.host_warnings(look, WANTED) == []


def test_every_part_of_it_was_seen(look):
    found = preflight.looked(look)
    assert found["board"] == "linux,dummy-virt"
    assert found["packages"] == "arm64"
    assert int(found["memory"]) > 850
    assert abs(int(found["clock"])) <= 120
    assert "throttled" not in found  # no firmware


def test_what_is_in_the_way_stops_the_run_in_one_line(machine):
    result = machine.playbook("--check", "-e", "preflight_memory_mb=999999")
    assert result.returncode != 0
    said = re.sub(r"\s+", " ", result.stdout)
    assert "MB of memory and preflight_memory_mb is 999999; use a board with more" in said
    assert re.search(r" ok=\d+ +changed=0 ", result.stdout), result.stdout


def test_a_host_that_cannot_be_reached_is_told_with_what_would_do(machine):
    result = machine.playbook("--check", "-e", "ansible_port=1 ansible_ssh_retries=0")
    assert result.returncode != 0
    said = re.sub(r"\s+", " ", result.stdout)
    assert re.search(r"it cannot be reached: .*is it on, and is ansible_host right\?", said)
