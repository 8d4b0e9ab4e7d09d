"""What was written to a disk, in its order, and the disks that a power cut could have left.

QEMU's block driver `blklogwrites` writes the log in the format of Linux's dm-log-writes
(Documentation/admin-guide/device-mapper/log-writes.rst): a head, and an entry for each write and
flush, numbers in little endian, each in a sector of its own, a write's data after it.

A disk promises only that what was written before a flush outlasts a power cut. Of what was written
since, any part may be on it, sector by sector; of two writes to one sector, either.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MAGIC = 0x6A736677736872
HEAD = struct.Struct("<QQQI")  # magic, version, entries, bytes of a sector
ENTRY = struct.Struct("<QQQQ")  # first sector, sectors, flags, bytes of a mark
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


class LogError(Exception):
    """What is wrong with a log, in one line."""


@dataclass(frozen=True)
class Write:
    """One sector that was written.

    Attributes:
        entry: The number of the log's entry, from 0.
        epoch: How many flushes came before it.
        sector: Its number.
        data: Its new content.
        forced: Whether it was on the disk before it was called done (FUA).
    """

    entry: int
    epoch: int
    sector: int
    data: bytes
    forced: bool = False


@dataclass(frozen=True)
class State:
    """A disk that a power cut could have left: what differs from the disk as it was before.

    Attributes:
        entry: The log's entry at which the power went.
        sectors: The content of each sector that differs.
    """

    entry: int
    sectors: Mapping[int, bytes]

    @property
    def digest(self) -> str:
        """What is the same for the same disks."""
        found = hashlib.sha256()
        for sector, data in sorted(self.sectors.items()):
            found.update(sector.to_bytes(8) + data)
        return found.hexdigest()


def count_entries(path: Path) -> int:
    """Return how many entries a log has so far.

    Args:
        path: The log, which may be written meanwhile.

    Raises:
        LogError: It is no log.
    """
    return _head(path.read_bytes()[: HEAD.size], path)[0]


def _head(content: bytes, path: Path) -> tuple[int, int]:
    if len(content) < HEAD.size:
        raise LogError(f"{path} is too short for a log of writes")
    magic, version, entries, sector_bytes = HEAD.unpack_from(content)
    if magic != MAGIC or version != 1:
        raise LogError(f"{path} is no log of writes of version 1")
    return entries, sector_bytes


def read_log(path: Path) -> tuple[list[Write], int]:
    """Return the writes of a log, sector by sector, and the bytes of a sector.

    Args:
        path: The log.

    Raises:
        LogError: It is none, it ends too early, or it has discarded sectors.
    """
    content = path.read_bytes()
    entries, sector_bytes = _head(content, path)
    writes: list[Write] = []
    epoch, offset = 0, sector_bytes
    for number in range(entries):
        if offset + sector_bytes > len(content):
            raise LogError(f"{path} ends before its entry {number} of {entries}")
        first, sectors, flags, marked = ENTRY.unpack_from(content, offset)
        offset += sector_bytes
        if flags & DISCARD:
            raise LogError(f"{path}: entry {number} discards sectors, of which nothing is kept")
        if flags & MARK:
            offset += -(-marked // sector_bytes) * sector_bytes
            continue
        if flags & FLUSH:  # of what was before it, not of its own data
            epoch += 1
        if offset + sectors * sector_bytes > len(content):
            raise LogError(f"{path} ends in its entry {number} of {entries}")
        for index in range(sectors):
            data = content[offset : offset + sector_bytes]
            writes.append(Write(number, epoch, first + index, data, bool(flags & FUA)))
            offset += sector_bytes
    return writes, sector_bytes


def after(writes: Sequence[Write]) -> dict[int, bytes]:
    """Return what sectors hold after writes that all reached the disk.

    Args:
        writes: The writes, in their order.
    """
    return {write.sector: write.data for write in writes}


def prefixes(writes: Sequence[Write], begin: int, end: int) -> Iterator[State]:
    """Yield the disks after each sector that was written, and before the first.

    Args:
        writes: All writes of the log.
        begin: The first entry that counts; what is before is on the disk.
        end: The entry after the last that counts.
    """
    sectors = after([write for write in writes if write.entry < begin])
    yield State(begin, dict(sectors))
    for write in writes:
        if begin <= write.entry < end:
            sectors[write.sector] = write.data
            yield State(write.entry, dict(sectors))


def reorderings(
    writes: Sequence[Write], begin: int, end: int, count: int, seed: int
) -> Iterator[State]:
    """Yield disks on which some of what was written since the last flush is missing.

    Args:
        writes: All writes of the log.
        begin: The first entry at which the power goes.
        end: The entry after the last.
        count: How many.
        seed: Draws the moments and what is missing.
    """
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    moments = [index for index, write in enumerate(writes) if begin <= write.entry < end]
    for _ in range(count if moments else 0):
        last = chance.choice(moments)
        share = chance.choice((0.1, 0.3, 0.5, 0.7, 0.9))
        epoch = writes[last].epoch
        there = [
            write
            for write in writes[: last + 1]
            if write.epoch < epoch or write.forced or chance.random() < share
        ]
        yield State(writes[last].entry, after(there))


def rebuild(state: State, sector_bytes: int, disk: Path) -> None:
    """Write a state to a copy of the disk as it was when the log began.

    Args:
        state: The state.
        sector_bytes: The bytes of a sector.
        disk: The copy.
    """
    with disk.open("r+b") as file:
        for sector, data in state.sectors.items():
            file.seek(sector * sector_bytes)
            file.write(data)
