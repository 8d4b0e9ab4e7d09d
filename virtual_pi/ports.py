"""TCP ports of this machine that stay a virtual Pi's for its life."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

from virtual_pi.errors import VirtualPiError

LOOPBACK = "127.0.0.1"
# Below the range from which kernels give ports to outgoing connections (32768 and up on Linux).
RANGE = range(20000, 32000)
ATTEMPTS = 200


def is_free(port: int) -> bool:
    """Tell whether nothing listens on a port of the loopback address.

    Args:
        port: The port.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As QEMU does, so that a port whose last connections linger counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose_ports(count: int, taken: Collection[int]) -> list[int]:
    """Return ports that nobody listens on.

    Args:
        count: How many.
        taken: Ports that belong to other machines, running or not.

    Raises:
        VirtualPiError: No free one was found.
    """
    chosen: list[int] = []
    for _ in range(ATTEMPTS * max(count, 1)):
        if len(chosen) == count:
            return chosen
        port = random.choice(RANGE)  # noqa: S311 - a port is no secret
        if port not in taken and port not in chosen and is_free(port):
            chosen.append(port)
    if len(chosen) == count:
        return chosen
    raise VirtualPiError(f"no free TCP port on {LOOPBACK} in {RANGE.start} to {RANGE.stop - 1}")
