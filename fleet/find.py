"""Looks for Pis on the local network: `./gridberry find [NAME ...]`.

    python -m fleet.find [NAME ...] [--seconds N] [--json]

It asks by multicast DNS, and looks into this computer's table of neighbors for network cards that
Raspberry Pi made. Nothing is sent to any other host.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from fleet.mdns import ask, hosts

SECONDS = 3.0
# Raspberry Pi's own, in the IEEE's register of the first three bytes.
PREFIXES = frozenset(
    {"28:cd:c1", "2c:cf:67", "88:a2:9e", "b8:27:eb", "d8:3a:dd", "dc:a6:32", "e4:5f:01"}
)
INTERFACE = re.compile(r"inet (\d+\.\d+\.\d+\.\d+)\S* .*\b(?:brd|broadcast) ")
# `192.168.1.21 dev eth0 lladdr dc:a6:32:01:02:03 REACHABLE`, on macOS
# `? (192.168.1.21) at dc:a6:32:1:2:3 on en0 ifscope [ethernet]`
NEIGHBOR = re.compile(
    r"^(?:\S+ \()?([0-9a-f.:]+)\)?(?: dev \S+ lladdr| at) ((?:[0-9a-f]{1,2}:){5}[0-9a-f]{1,2})\b"
)
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True)
class Pi:
    """A host that was found.

    Attributes:
        name: Its name, without `.local`; empty where only its network card is known.
        addresses: IPv4 first.
        mac: Its network card's address; empty where the neighbors do not say.
    """

    name: str
    addresses: tuple[str, ...]
    mac: str

    @property
    def raspberry(self) -> bool:
        """Whether Raspberry Pi made its network card."""
        return self.mac[:8] in PREFIXES


def interfaces_in(text: str) -> list[str]:
    """Return this computer's addresses in networks with several hosts.

    Args:
        text: What `ip -4 addr` or `ifconfig` prints.
    """
    return [found[1] for line in text.splitlines() if (found := INTERFACE.search(line))]


def neighbors_in(text: str) -> dict[str, str]:
    """Return network cards' addresses by IP address.

    Args:
        text: What `ip neigh` or `arp -an` prints.
    """
    found = filter(None, map(NEIGHBOR.match, text.splitlines()))
    return {
        each[1]: ":".join(part.zfill(2) for part in each[2].split(":"))
        for each in found
        if each[2] != "00:00:00:00:00:00"
    }


def merged(named: dict[str, set[str]], neighbors: dict[str, str]) -> list[Pi]:
    """Return what was found, each host once: by name, then those of Raspberry Pi without one.

    Args:
        named: Addresses by name.
        neighbors: Network cards by address.
    """
    pis = []
    for name in sorted(named):
        addresses = sorted(
            map(ipaddress.ip_address, named[name]), key=lambda a: (a.version, int(a))
        )
        texts = tuple(map(str, addresses))
        macs = [neighbors[text] for text in texts if text in neighbors]
        pis.append(Pi(name, texts, macs[0] if macs else ""))
    known = {pi.mac for pi in pis} | {neighbors.get(text) for pi in pis for text in pi.addresses}
    nameless: dict[str, list[str]] = {}
    for address, mac in neighbors.items():
        if mac[:8] in PREFIXES and mac not in known:
            nameless.setdefault(mac, []).append(address)
    return pis + [Pi("", tuple(addresses), mac) for mac, addresses in sorted(nameless.items())]


def output_of(*commands: Sequence[str]) -> str:
    """Return what the first command that is here prints.

    Args:
        commands: Linux's and macOS's.

    Raises:
        OSError: None of them is here.
    """
    for command in commands:
        try:
            return subprocess.run(command, check=False, capture_output=True, text=True).stdout
        except FileNotFoundError:
            continue
    raise OSError(0, f"neither {commands[0][0]} nor {commands[1][0]} is here")


def look(names: Sequence[str], seconds: float) -> list[Pi]:
    """Return the hosts that answer, or that the neighbors' table knows as Pis.

    Args:
        names: Those that are asked for by name.
        seconds: How long to listen.

    Raises:
        OSError: The network cannot be used.
    """
    own = interfaces_in(output_of(["ip", "-4", "addr"], ["ifconfig"]))
    named = hosts(list(ask(names, seconds, own)))
    pis = merged(named, neighbors_in(output_of(["ip", "neigh"], ["arp", "-an"])))
    return [pi for pi in pis if not names or pi.name in names]


def table(pis: Sequence[Pi]) -> str:
    """Return the hosts as lines.

    Args:
        pis: The hosts.
    """
    rows = [
        (
            pi.name + ".local" if pi.name else "(no name)",
            pi.addresses[0],
            "Raspberry Pi" if pi.raspberry else "",
            " ".join(pi.addresses[1:]),
        )
        for pi in pis
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says.

    Args:
        words: The words; None for the process's own.
    """
    parser = argparse.ArgumentParser(
        prog="./gridberry find",
        description="Look for Pis on the local network.",
        epilog="Example: ./gridberry find pi1 pi2. Status 1: one of them, or any, was not found.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (none: all)")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, metavar="N", help="how long to listen (3)"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    options = parser.parse_args(words)
    options.names = [name.lower().removesuffix(".local") for name in options.names]
    for name in options.names:
        if not NAME.fullmatch(name):
            parser.error(f"NAME is {name!r}; a host's name is allowed, such as pi1")
    if not 0 < options.seconds <= 600:
        parser.error(f"--seconds is {options.seconds:g}; above 0, up to 600 is allowed")
    return options


def main(words: Sequence[str] | None = None) -> int:
    """Print what was found.

    Args:
        words: The command line's.

    Returns:
        The exit status: 0 found, 1 not all were found or the network failed, 2 wrong use.
    """
    options = arguments_of(words)
    try:
        pis = look(options.names, options.seconds)
    except OSError as error:
        print(f"gridberry: the network cannot be asked: {error.strerror}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps([vars(pi) | {"raspberry": pi.raspberry} for pi in pis]))
    elif pis:
        print(table(pis))
    missing = sorted(set(options.names) - {pi.name for pi in pis})
    if missing or not pis:
        what = ", ".join(missing) or "no host"
        print(
            f"gridberry: {what}: no answer in {options.seconds:g} s. A first boot takes minutes;"
            " WSL and guest Wi-Fi carry no multicast: look into the router's list instead",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
