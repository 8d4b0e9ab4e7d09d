"""A computer beside a virtual Pi: a namespace on the machine's network, where multicast arrives."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from virtual_pi.errors import VirtualPiError
from virtual_pi.qemu import router_tap
from virtual_pi.time_server import HOST_IN_GUEST

# Addresses of the network that QEMU plays the router of, which is HOST_IN_GUEST.
LAPTOP, RESOLVER = "10.0.2.100", "10.0.2.3"


def ip(*words: str) -> None:
    """Run iproute2's ip.

    Args:
        words: Its arguments.

    Raises:
        VirtualPiError: It failed.
    """
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise VirtualPiError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextmanager
def home_network(name: str) -> Iterator[str]:
    """Yield the name of a machine's tap while a namespace of this name is on the same bridge.

    Args:
        name: Of the namespace, at most 12 characters; beginning of the devices' names.
    """
    tap, bridge, here, there = (f"{name}-{end}" for end in "tbhn")
    resolver = Path("/etc/netns") / name
    try:
        ip("netns", "add", name)
        ip("link", "add", bridge, "type", "bridge")
        for device in (tap, router_tap(tap)):
            ip("tuntap", "add", device, "mode", "tap")
        ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        for device in (tap, router_tap(tap), here):
            ip("link", "set", device, "master", bridge)
        for device in (bridge, tap, router_tap(tap), here):
            ip("link", "set", device, "up")
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "addr", "add", f"{LAPTOP}/24", "brd", "+", "dev", there)
        ip("-n", name, "link", "set", there, "up")
        ip("-n", name, "route", "add", "default", "via", HOST_IN_GUEST)
        resolver.mkdir(parents=True)
        (resolver / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
        yield tap
    finally:
        shutil.rmtree(resolver, ignore_errors=True)
        for device in (here, tap, router_tap(tap), bridge):
            subprocess.run(["ip", "link", "del", device], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
