"""The Gateway's display: who may draw on it, and a picture of what is on it.

Xvfb keeps its screen in a file in the format of xwd: a picture needs neither X nor the Gateway to
answer. Formats: X11/XWDFile.h; the PNG specification; Xau(3).
"""

from __future__ import annotations

import os
import secrets
import struct
import zlib
from pathlib import Path

HEADER = struct.Struct(">25I")
XWD_VERSION = 7
LARGEST_SIDE = 4096


class PictureError(Exception):
    """There is no picture in a file."""


def authority() -> bytes:
    """Return a new cookie, as an entry of an authority file that fits any display."""
    parts = (b"", b"", b"MIT-MAGIC-COOKIE-1", secrets.token_bytes(16))
    return struct.pack(">H", 0xFFFF) + b"".join(struct.pack(">H", len(x)) + x for x in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_xwd(data: bytes) -> bytes:
    """Return a screen of 32 bits a pixel as PNG.

    Args:
        data: A file in the format of xwd.

    Raises:
        PictureError: It is not one, or not of this kind.
    """
    if len(data) < HEADER.size:
        raise PictureError("no picture: too short")
    words = HEADER.unpack_from(data)
    size, version, _, depth, width, height, _, order = words[:8]
    bits, stride, colors = words[11], words[12], words[19]
    known = (version, depth, bits) == (XWD_VERSION, 24, 32) and order in (0, 1)
    if not known or not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise PictureError("no picture of 24 bits in the format of xwd")
    start = size + 12 * colors
    if stride < 4 * width or len(data) < start + stride * height:
        raise PictureError("the picture is cut off")
    red, green, blue = (2, 1, 0) if order == 0 else (1, 2, 3)
    rows = bytearray()
    for y in range(height):
        row = data[start + y * stride : start + y * stride + 4 * width]
        line = bytearray(3 * width)
        line[0::3], line[1::3], line[2::3] = row[red::4], row[green::4], row[blue::4]
        rows += b"\0" + line
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(bytes(rows), 6))
    return b"\x89PNG\r\n\x1a\n" + body + _chunk(b"IEND", b"")


def keep_picture(screen: Path, directory: Path, stamp: str, most: int) -> Path:
    """Keep a picture of the screen, and of all pictures the newest.

    Args:
        screen: Xvfb's file.
        directory: Where pictures are kept.
        stamp: In its name; sorts by time.
        most: How many are kept.

    Raises:
        PictureError: There is none.
        OSError: It cannot be read or written.
    """
    # It is another user's directory: no link leads to a file of root's.
    with os.fdopen(os.open(screen, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        picture = png_of_xwd(file.read(4 * LARGEST_SIDE * LARGEST_SIDE))
    path = directory / f"ib-gateway-{stamp}.png"
    part = directory / "ib-gateway.part"  # one name: what a full disk leaves does not add up
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(picture)
    part.replace(path)
    for old in sorted(directory.glob("ib-gateway-*.png"))[:-most]:
        old.unlink()
    return path
