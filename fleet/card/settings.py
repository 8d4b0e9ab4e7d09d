"""What a Pi is told on its first boot, checked."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from dataclasses import dataclass

from gridbase.errors import UserError

HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
USER = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
TAKEN = frozenset({"root", "daemon", "sudo", "nobody", "sshd", "avahi", "messagebus"})
COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
KEY_TYPE = re.compile(r"(sk-)?(ssh|ecdsa)-[a-z0-9@.-]+", re.ASCII)
# What crypt(5) of Debian 12 and 13 takes: yescrypt, SHA-512, SHA-256.
PASSWORD_HASH = re.compile(r"\$(y|6|5)\$[A-Za-z0-9./$=,]{20,}", re.ASCII)
HEX_KEY = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
SSID_BYTES = 32
PSK_ROUNDS, PSK_BYTES = 4096, 32


@dataclass(frozen=True)
class Wifi:
    """A wireless network.

    Attributes:
        ssid: Its name.
        psk: Its key as 64 hexadecimal digits.
        country: Where it is, in two letters: radio rules differ.
    """

    ssid: str
    psk: str
    country: str


@dataclass(frozen=True)
class Address:
    """A static address.

    Attributes:
        interface: The address with the length of its network.
        gateway: The router; names are asked of it as well.
    """

    interface: ipaddress.IPv4Interface
    gateway: ipaddress.IPv4Address


@dataclass(frozen=True)
class FirstBoot:
    """What a Pi is told.

    Attributes:
        host: Its name.
        user: The user's name.
        keys: The lines of the user's authorized_keys.
        password_hash: The user's password as crypt(5) has it; empty: none, and sudo asks for none.
        wifi: The wireless network; None: wired.
        address: The static address; None: by DHCP.
    """

    host: str
    user: str
    keys: tuple[str, ...]
    password_hash: str = ""
    wifi: Wifi | None = None
    address: Address | None = None

    @property
    def device(self) -> str:
        """The network interface that has the static address."""
        return "wlan0" if self.wifi else "eth0"


def check_host(name: str) -> str:
    """Return a host's name.

    Args:
        name: The name.

    Raises:
        UserError: It is none.
    """
    if not HOST.fullmatch(name):
        raise UserError(
            f"--host is {name!r}; 1 to 63 lower-case letters, digits and inner hyphens are allowed"
        )
    return name


def check_user(name: str) -> str:
    """Return a user's name.

    Args:
        name: The name.

    Raises:
        UserError: It is none, or the system has a user or group of that name.
    """
    if not USER.fullmatch(name) or name in TAKEN:
        raise UserError(
            f"--user is {name!r}; a lower-case letter and up to 31 lower-case letters, digits, -"
            " and _ are allowed, and no name of the system"
        )
    return name


def read_keys(text: str, path: str) -> tuple[str, ...]:
    """Return the public keys of a file.

    Args:
        text: The file's content.
        path: The file, for errors.

    Raises:
        UserError: It has no key, or something else, such as a private key.
    """
    if "PRIVATE KEY" in text:
        raise UserError(f"--key {path} is a private key; name the public one, which ends in .pub")
    lines = [line.strip() for line in text.splitlines()]
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    for key in keys:
        words = key.split()
        if len(words) < 2 or not KEY_TYPE.fullmatch(words[0]) or not _holds(words[0], words[1]):
            raise UserError(f"--key {path}: {key[:40]!r} is no public SSH key")
        if not key.isprintable():
            raise UserError(
                f"--key {path}: the key's comment has characters that cannot be printed"
            )
    if not keys:
        raise UserError(f"--key {path} has no public key: ssh-keygen -t ed25519 makes one")
    return keys


def _holds(kind: str, encoded: str) -> bool:
    """Return whether a key's data begin with its type, as all do."""
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return data[4 : 4 + len(kind)] == kind.encode() and len(data) > 4 + len(kind)


def check_password_hash(text: str, path: str) -> str:
    """Return the hash of a password.

    Args:
        text: The file's line.
        path: The file, for errors.

    Raises:
        UserError: It is none.
    """
    if not PASSWORD_HASH.fullmatch(text):
        raise UserError(
            f"--password-hash-file {path} has no hash of a password; `openssl passwd -6` makes one"
        )
    return text


def read_wifi(ssid: str, passphrase: str, country: str) -> Wifi:
    """Return a wireless network, its passphrase as the key that WPA2 makes of it.

    Args:
        ssid: Its name.
        passphrase: 8 to 63 characters, or the key as 64 hexadecimal digits.
        country: Two letters.

    Raises:
        UserError: One of them is not allowed.
    """
    if not 1 <= len(ssid.encode()) <= SSID_BYTES or not ssid.isprintable():
        raise UserError(f"--wifi is {ssid!r}; 1 to {SSID_BYTES} printable bytes are allowed")
    if not COUNTRY.fullmatch(country):
        raise UserError(f"--country is {country!r}; two capital letters are allowed, such as DE")
    if HEX_KEY.fullmatch(passphrase):
        return Wifi(ssid, passphrase.lower(), country)
    printable = passphrase.isascii() and passphrase.isprintable()
    if not 8 <= len(passphrase) <= 63 or not printable:
        raise UserError(
            f"the Wi-Fi passphrase has {len(passphrase)} characters; 8 to 63 of ASCII are allowed,"
            " or 64 hexadecimal digits"
        )
    key = hashlib.pbkdf2_hmac("sha1", passphrase.encode(), ssid.encode(), PSK_ROUNDS, PSK_BYTES)
    return Wifi(ssid, key.hex(), country)


def read_address(address: str, gateway: str) -> Address:
    """Return a static address.

    Args:
        address: Such as 192.168.1.21/24.
        gateway: The router's, such as 192.168.1.1.

    Raises:
        UserError: One is no address, or they do not fit together.
    """
    try:
        interface = ipaddress.IPv4Interface(address)
    except ValueError as error:
        raise UserError(f"--address is {address!r}; such as 192.168.1.21/24 is allowed") from error
    network = interface.network
    ends = (network.network_address, network.broadcast_address)
    if not 8 <= network.prefixlen <= 30 or interface.ip in ends:
        raise UserError(
            f"--address is {address!r}; the address of a host is allowed, with the length of its"
            " network, 8 to 30, such as 192.168.1.21/24"
        )
    try:
        router = ipaddress.IPv4Address(gateway)
    except ValueError as error:
        raise UserError(f"--gateway is {gateway!r}; such as 192.168.1.1 is allowed") from error
    if router not in network or router in (*ends, interface.ip):
        raise UserError(f"--gateway is {gateway!r}; another host of {network} is allowed")
    return Address(interface, router)
