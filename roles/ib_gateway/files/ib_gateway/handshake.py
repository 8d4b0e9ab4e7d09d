r"""The opening of the Gateway's API: whether it answers, and for which accounts.

A client says ``API\0`` and a frame that names the versions that it speaks; the Gateway answers with
its version, and after StartApi with the next order ID (9) and its accounts (15). Only a Gateway
that is logged in says these two. One that has lost Interactive Brokers says them, too, and then
that it has.
"""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass

VERSIONS = b"v157..178"
START_API, FAILED, NEXT_ORDER, ACCOUNTS = "71", "4", "9", "15"
IN_USE = "326"
LINK_LOST, LINK_BACK = {"1100", "2110"}, {"1101", "1102"}
NOTICE_SECONDS = 1.0  # within which a Gateway tells a client that has come what is amiss
LARGEST_FRAME = 1 << 20
# Of no bot: theirs are small, and those of their readers begin at 1000000.
CLIENT_IDS = (909_000_001, 909_000_002, 909_000_003)
PAPER_PREFIXES = ("DU", "DF", "DI")


class AwayError(Exception):
    """Nobody listens on the port."""


class SilentError(Exception):
    """Who listens does not answer, or not as the Gateway does; the text says what is wrong."""


class _InUseError(Exception):
    """Another client has this ID."""


@dataclass(frozen=True)
class Answer:
    """What the Gateway says of itself.

    Attributes:
        version: Of its API.
        accounts: That are logged in.
        linked: Whether it reaches Interactive Brokers' servers.
    """

    version: int
    accounts: tuple[str, ...]
    linked: bool = True

    def misfit(self, mode: str, account: str) -> str:
        """Return why these accounts are none for a mode, or nothing.

        Args:
            mode: `paper` or `live`.
            account: The one that is expected; empty: any that fits the mode.
        """
        for one in self.accounts:
            if one.startswith(PAPER_PREFIXES) != (mode == "paper"):
                kind = "a live" if mode == "paper" else "a paper"
                return f"{one[:2]}... is {kind} account, and ib_gateway_mode is {mode}"
        if account and account not in self.accounts:
            return f"account {account[:2]}... of ib_gateway_account is not logged in"
        return ""


class _Line:
    """A connection with one deadline for all that is said on it."""

    def __init__(self, port: int, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        except ConnectionRefusedError as error:
            raise AwayError(f"nobody listens on port {port}") from error
        except OSError as error:  # one that hangs takes none once its queue is full
            reason = error.strerror or f"not within {seconds:g} s"
            raise SilentError(f"it takes no connection: {reason}") from error

    def close(self) -> None:
        self._socket.close()

    def shorten(self, seconds: float) -> None:
        """Have the deadline be no later than so many seconds from now."""
        self._until = min(self._until, time.monotonic() + seconds)

    def send(self, *fields: str, greeting: bytes = b"") -> None:
        body = "".join(f"{field}\0" for field in fields).encode() if fields else VERSIONS
        self._socket.sendall(greeting + struct.pack(">I", len(body)) + body)

    def frame(self) -> list[str]:
        (length,) = struct.unpack(">I", self._exactly(4))
        if not 0 < length <= LARGEST_FRAME:
            raise SilentError(f"what listens there is no Gateway: a message of {length} bytes")
        return self._exactly(length).decode("utf-8", "replace").rstrip("\0").split("\0")

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            got = self._socket.recv(min(count - len(data), 65536))
            if not got:
                raise SilentError("it ends the connection: not logged in, or not trusted")
            data += got
        return data


def _ask(port: int, seconds: float, client: int) -> Answer:
    line = _Line(port, seconds)
    try:
        line.send(greeting=b"API\0")
        version = line.frame()[0]
        if not version.isdecimal():
            raise SilentError("what listens there is no Gateway: it names no version")
        line.send(START_API, "2", str(client), "")
        found, linked = _opened(line)
        accounts = tuple(one for one in found[ACCOUNTS].split(",") if one)
        if not found[NEXT_ORDER].isdecimal() or not accounts:
            raise SilentError("it has no account: not logged in")
        return Answer(int(version), accounts, linked)
    except TimeoutError as error:
        raise SilentError(f"it does not answer within {seconds:g} s") from error
    except OSError as error:
        raise SilentError(f"the connection breaks: {error.strerror or error}") from error
    finally:
        line.close()


def _opened(line: _Line) -> tuple[dict[str, str], bool]:
    """Return next order ID and accounts, and whether the Gateway reaches its servers."""
    found: dict[str, str] = {}
    linked, complete = True, False
    try:
        while True:
            kind, *rest = line.frame()
            codes = set(rest[1:3]) if kind == FAILED else set()
            if IN_USE in codes:
                raise _InUseError
            linked = (linked or bool(codes & LINK_BACK)) and not codes & LINK_LOST
            if kind in (NEXT_ORDER, ACCOUNTS) and len(rest) > 1 and rest[1]:
                found[kind] = rest[1]
            if not complete and found.keys() >= {NEXT_ORDER, ACCOUNTS}:
                complete = True
                line.shorten(NOTICE_SECONDS)
    except TimeoutError:
        if not complete:
            raise
    return found, linked


def handshake(port: int, seconds: float = 10.0) -> Answer:
    """Open the API as a client does.

    Args:
        port: On loopback.
        seconds: For one attempt, in all.

    Raises:
        AwayError: Nobody listens.
        SilentError: It does not answer as a Gateway that is logged in.
    """
    for client in CLIENT_IDS:
        try:
            return _ask(port, seconds, client)
        except _InUseError:
            continue
    raise SilentError("all client IDs of this check are in use")
