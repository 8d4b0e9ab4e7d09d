"""The NTP server that a home router is to a Pi.

`python3 -m virtual_pi.time_server PORT` answers on a UDP port of 127.0.0.1 with this computer's
time. A guest reaches it as 10.0.2.2 through QEMU's user network.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

from virtual_pi.ports import LOOPBACK

# Where QEMU's user network has the host's loopback address.
HOST_IN_GUEST = "10.0.2.2"
# RFC 5905, figure 8: the header, and the seconds from 1900, where NTP's time begins, to 1970.
HEADER = struct.Struct("!BBbb4s4s4sQQQQ")
TO_1970 = 2_208_988_800
CLIENT, SERVER = 3, 4
VERSIONS = range(1, 5)
# As ntpd and chronyd tell of a clock that nothing disciplines, as far as they know.
STRATUM = 10
REFERENCE = bytes((127, 127, 1, 1))
PRECISION = -20  # a microsecond, as a power of two
ROOT_DELAY = struct.pack("!I", 0)
ROOT_DISPERSION = struct.pack("!I", round(0.01 * 2**16))
BIND_SECONDS = 10


def timestamp(nanoseconds: int) -> int:
    """Return NTP's 64-bit timestamp: 32 bits of seconds, which begin anew in 2036, and 32 below.

    Args:
        nanoseconds: Since 1970.
    """
    seconds, rest = divmod(nanoseconds, 10**9)
    return ((seconds + TO_1970) % 2**32) << 32 | (rest << 32) // 10**9


def answer(request: bytes, received: int, sent: int) -> bytes | None:
    """Return the answer to a client's packet (RFC 4330, section 6); None where it is none.

    Args:
        request: The packet; what follows the header is an extension, which is ignored.
        received: When it came, in nanoseconds since 1970.
        sent: When the answer leaves, likewise.
    """
    if len(request) < HEADER.size:
        return None
    first, _, poll, *_, client_sent = HEADER.unpack(request[: HEADER.size])
    version, mode = first >> 3 & 7, first & 7
    if mode != CLIENT or version not in VERSIONS:
        return None
    return HEADER.pack(
        version << 3 | SERVER,  # the two bits above, the leap indicator: none
        STRATUM, poll, PRECISION, ROOT_DELAY, ROOT_DISPERSION, REFERENCE,
        timestamp(received), client_sent, timestamp(received), timestamp(sent),
    )  # fmt: skip


def bind(port: int) -> socket.socket:
    """Return a socket on a UDP port of the loopback address.

    Args:
        port: The port. The server of a machine whose power was just cut may hold it for a moment.

    Raises:
        OSError: Another program holds it.
    """
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # Branches of one snapshot ask at the same port: each machine's server answers any of them.
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    deadline = time.monotonic() + BIND_SECONDS
    while True:
        try:
            server.bind((LOOPBACK, port))
        except OSError:
            if time.monotonic() > deadline:
                server.close()
                raise
            time.sleep(0.1)
        else:
            return server


def serve(server: socket.socket) -> None:
    """Answer until the process ends.

    Args:
        server: A bound UDP socket.
    """
    while True:
        request, client = server.recvfrom(1024)
        packet = answer(request, time.time_ns(), time.time_ns())
        if packet is not None:
            server.sendto(packet, client)


def main() -> None:
    """Serve on the port named on the command line."""
    port = int(sys.argv[1])
    try:
        server = bind(port)
    except OSError as error:
        sys.exit(f"no time for the guest: UDP port {port} of {LOOPBACK}: {error.strerror}")
    serve(server)


if __name__ == "__main__":
    main()
