r"""Frames of the Gateway's text protocol. Pure.

A message is a length of four bytes (big endian) and fields, each ended by a zero byte. A client
opens with ``API\0`` and a frame that names the versions that it speaks.
"""

import struct
from collections.abc import Iterable
from decimal import Decimal

from gridbase.market import plain

# No request is longer: one that claims to be is no client of this protocol.
LARGEST_FRAME = 65_536
GREETING = b"API\0"
OLDEST, NEWEST = 157, 178


class WireError(ValueError):
    """What came is no message of this protocol."""


def text_of(value: object) -> str:
    """A field as the Gateway writes it: no exponents, 1 and 0 for true and false."""
    if isinstance(value, str):  # most are
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Decimal):
        return plain(value)
    return "" if value is None else str(value)


def pack(fields: Iterable[object]) -> bytes:
    """A message as bytes."""
    body = "".join([f"{text_of(field)}\0" for field in fields]).encode()
    return struct.pack(">I", len(body)) + body


class Frames:
    """Cuts what arrives into messages, however it was split on the way."""

    def __init__(self) -> None:
        self._data = b""
        self._greeted = False
        self.version: int | None = None

    def feed(self, data: bytes) -> list[list[str]]:
        """Take bytes; returns the messages that are complete now.

        Raises:
            WireError: a length or a greeting that cannot be.
        """
        self._data += data
        if not self._greeted:
            if self._data[:4] != GREETING[: len(self._data)]:
                raise WireError("the client does not begin with API")
            if len(self._data) < len(GREETING):
                return []
            self._data, self._greeted = self._data[len(GREETING) :], True
        messages = []
        while (body := self._next()) is not None:
            if self.version is None:
                self.version = _version(body)
                messages.append([str(self.version)])
            else:
                messages.append(_fields(body))
        return messages

    def _next(self) -> bytes | None:
        if len(self._data) < 4:
            return None
        (length,) = struct.unpack(">I", self._data[:4])
        if not 0 < length <= LARGEST_FRAME:
            raise WireError(f"a message of {length} bytes")
        if len(self._data) < 4 + length:
            return None
        body, self._data = self._data[4 : 4 + length], self._data[4 + length :]
        return body


def _fields(body: bytes) -> list[str]:
    if body[-1:] != b"\0":
        raise WireError("the last field is not ended")
    try:
        return body.decode().split("\0")[:-1]
    except UnicodeDecodeError as error:
        raise WireError("a field is not UTF-8") from error


def _version(body: bytes) -> int:
    """The newest version that both speak, of ``v157..178`` or ``v157``."""
    versions = body.decode("ascii", "replace").split(" ")[0].removeprefix("v")
    low, _, high = versions.partition("..")
    if not (low.isdigit() and (high or low).isdigit()):
        raise WireError("no versions")
    version = min(int(high or low), NEWEST)
    if version < max(int(low), OLDEST):
        raise WireError(f"versions {versions}, and {OLDEST} to {NEWEST} are spoken here")
    return version
