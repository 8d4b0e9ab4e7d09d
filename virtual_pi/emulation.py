"""Lets this machine's kernel run ARM64 programs, which building the image needs."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from threading import Lock

from virtual_pi.errors import VirtualPiError

BINFMT = Path("/proc/sys/fs/binfmt_misc")
# Where qemu-user-static (Debian 12, Ubuntu 24.04) and qemu-user-binfmt (Debian 13) say how.
RULES = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
_TURN = Lock()  # two builds begin at the same time, and the kernel refuses the second mount


def debian_architecture() -> str:
    """Return this machine's architecture as Debian calls it."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def is_registered(rule: str) -> bool:
    """Tell whether a binfmt_misc rule's text means an enabled interpreter that chroots can use.

    Args:
        rule: What /proc/sys/fs/binfmt_misc/qemu-aarch64 says.
    """
    lines = rule.splitlines()
    # F: the kernel opened the interpreter at registration, so it need not exist inside a chroot.
    flags = next((line for line in lines if line.startswith("flags:")), "")
    return "enabled" in lines and "F" in flags.removeprefix("flags:")


def enable_arm64() -> None:
    """Mount binfmt_misc and register QEMU's user emulation, where that is missing.

    Raises:
        VirtualPiError: It cannot be done; says what to install or do.
    """
    if debian_architecture() == "arm64":
        return
    with _TURN:
        _register()


def _register() -> None:
    if not (BINFMT / "register").exists():
        mounted = subprocess.run(
            ["mount", "-t", "binfmt_misc", "binfmt_misc", os.fspath(BINFMT)],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode:
            raise VirtualPiError(f"cannot mount binfmt_misc: {mounted.stderr.strip()}")
    registered = BINFMT / "qemu-aarch64"
    if registered.exists():
        if is_registered(registered.read_text()):
            return
        registered.write_text("-1")
    if not RULES.exists():
        raise VirtualPiError(f"{RULES} is missing: install the package qemu-user-static")
    (BINFMT / "register").write_text(RULES.read_text())
    if not is_registered(registered.read_text()):
        raise VirtualPiError(f"the rule in {RULES} lacks the flag F: chroots cannot use it")
