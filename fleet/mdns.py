"""Questions and answers of multicast DNS (RFC 6762), as far as looking for Pis needs them.

A name that answers is trusted as little as any other on the network: SSH's host key decides.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

GROUP, PORT = "224.0.0.251", 5353
# Raspberry Pi OS announces itself as the latter; a server of SSH may, as the former.
SERVICES = ("_ssh._tcp.local", "_workstation._tcp.local")
HOST = re.compile(r"([a-z0-9-]{1,63})\.local", re.ASCII)
A, PTR, AAAA, SRV, ANY_CLASS = 1, 12, 28, 33, 1
# RFC 6762, 5.4 and 10.2: the highest bit of a class asks for a direct answer, or says it is all.
UNICAST, CLASS_BITS = 0x8000, 0x7FFF
RESPONSE = 0x8000
HOP_LIMIT = 255
LARGEST = 9000
LONGEST_NAME = 255
# RFC 6762, 5.2: again after a second, then after twice as long.
FIRST_REPEAT = 1.0


class BadMessageError(ValueError):
    """What came is no DNS message."""


@dataclass(frozen=True)
class Record:
    """One answer.

    Attributes:
        name: What it is about, in lower case and without the last dot.
        kind: Its type, such as A.
        value: An address, or the name it leads to.
    """

    name: str
    kind: int
    value: str


def question(names: Sequence[str]) -> bytes:
    """Return a query for the addresses of names, and for all hosts that offer SSH.

    Args:
        names: Names of hosts, without `.local`.
    """
    services = [(service, PTR) for service in SERVICES]
    asked = [*services, *((f"{name}.local", kind) for name in names for kind in (A, AAAA))]
    header = struct.pack("!6H", secrets.randbelow(0x10000), 0, len(asked), 0, 0, 0)
    return header + b"".join(_question(name, kind) for name, kind in asked)


def _question(name: str, kind: int) -> bytes:
    return _encoded(name) + struct.pack("!2H", kind, ANY_CLASS | UNICAST)


def _encoded(name: str) -> bytes:
    labels = [label.encode() for label in name.split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def records(message: bytes) -> list[Record]:
    """Return the addresses and services of a response; of a query, none.

    Args:
        message: As it came.

    Raises:
        BadMessageError: It is no DNS message.
    """
    try:
        _, flags, questions, *counts = struct.unpack_from("!6H", message)
        place, found = 12, []
        for _ in range(questions):
            _, place = _name(message, place)
            place += 4
        for _ in range(sum(counts)):
            name, place = _name(message, place)
            kind, kind_class, _, size = struct.unpack_from("!2HIH", message, place)
            place += 10
            value = _value(message, kind, place, size)
            place += size
            if value and kind_class & CLASS_BITS == ANY_CLASS:
                found.append(Record(name, kind, value))
    except (struct.error, IndexError, ValueError) as error:
        raise BadMessageError(str(error)) from error
    return found if flags & RESPONSE else []


def _value(message: bytes, kind: int, place: int, size: int) -> str:
    data = message[place : place + size]
    if kind == A and size == 4:
        return str(ipaddress.IPv4Address(data))
    if kind == AAAA and size == 16:
        return str(ipaddress.IPv6Address(data))
    if kind == PTR:
        return _name(message, place)[0]
    if kind == SRV:
        return _name(message, place + 6)[0]
    return ""


def _name(message: bytes, place: int) -> tuple[str, int]:
    """Return a name, and where what follows it begins; pointers lead back, so none is a circle."""
    labels: list[str] = []
    behind, limit = 0, place
    while size := message[place]:
        if size & 0xC0 == 0xC0:
            behind = behind or place + 2
            place = int.from_bytes(message[place : place + 2], "big") & 0x3FFF
            if place >= limit:
                raise BadMessageError("a name points forward")
            limit = place
            continue
        labels.append(message[place + 1 : place + 1 + size].decode())
        place += 1 + size
        if size & 0xC0 or sum(map(len, labels)) > LONGEST_NAME:
            raise BadMessageError("a name is too long")
    return ".".join(labels).lower(), behind or place + 1


def hosts(answers: Sequence[Record]) -> dict[str, set[str]]:
    """Return the addresses by host, without `.local`.

    Args:
        answers: All that came.
    """
    found: dict[str, set[str]] = {}
    for record in answers:
        # Others could write to a terminal what they like.
        if record.kind in {A, AAAA} and (name := HOST.fullmatch(record.name)):
            found.setdefault(name[1], set()).add(record.value)
    return found


def ask(names: Sequence[str], seconds: float, interfaces: Sequence[str]) -> Iterator[Record]:
    """Yield what answers on the network.

    Args:
        names: Names of hosts, without `.local`, that are asked for by name.
        seconds: How long to listen.
        interfaces: Addresses of this computer; each one's network is asked.

    Raises:
        OSError: The network cannot be used.
    """
    sockets = [_socket(address) for address in interfaces]
    wanted = set(names)
    try:
        begin = time.monotonic()
        repeat, step = begin, FIRST_REPEAT
        while (now := time.monotonic()) - begin < seconds:
            if now >= repeat:
                repeat, step = now + step, step * 2
                send(sockets, question(sorted(wanted)))
            wait = min(repeat, begin + seconds) - now
            for ready in select.select(sockets, [], [], max(wait, 0))[0]:
                try:
                    answers = records(ready.recv(LARGEST))
                except BadMessageError:
                    continue  # anyone on the network can send anything
                # Who offers a service is asked for its address, if that did not come along.
                targets = [HOST.fullmatch(each.value) for each in answers if each.kind == SRV]
                wanted |= {target[1] for target in targets if target}
                yield from answers
    finally:
        for each in sockets:
            each.close()


def send(sockets: Sequence[socket.socket], message: bytes) -> None:
    """Send a message to each network that takes it: a bridge without a cable takes none.

    Args:
        sockets: One for each network.
        message: The message.

    Raises:
        OSError: No network takes it.
    """
    failed: list[OSError] = []
    for each in sockets:
        try:
            each.sendto(message, (GROUP, PORT))
        except OSError as error:
            failed.append(error)
    if failed and len(failed) == len(sockets):
        raise failed[0]


def _socket(address: str) -> socket.socket:
    """Return a socket of one interface. Its port is any, so that answers come to it alone."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, HOP_LIMIT)
    made.bind((address, 0))
    return made
