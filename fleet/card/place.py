"""Where first-boot files go: a card's boot partition, mounted, or the one within an image file."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gridbase.errors import UserError

from fleet.card.mounts import check_card

SECTOR = 512
SIGNATURE = b"\x55\xaa"
FAT_TYPES = frozenset({0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E})
FIRST_ENTRY, ENTRY_BYTES, ENTRIES = 446, 16, 4
NEW_SUFFIX = ".gridberry-new"
PACKED = {
    b"\xfd7zXZ": "xz -dk",
    b"\x1f\x8b": "gunzip -k",
    b"PK\x03\x04": "unzip",
    b"\x28\xb5\x2f\xfd": "unzstd",
}


class CardError(Exception):
    """The card or the image cannot be read or written: one line."""


class Place(Protocol):
    """A boot partition."""

    def names(self) -> frozenset[str]:
        """Return the names of its files in lower case, as FAT compares them."""

    def read(self, name: str) -> bytes:
        """Return a file's content."""

    def write(self, contents: dict[str, bytes]) -> None:
        """Put files in place in order, none before there is room for all."""


@dataclass(frozen=True)
class MountedCard:
    """A boot partition that is mounted.

    Attributes:
        directory: Where.
    """

    directory: Path

    def names(self) -> frozenset[str]:
        """Return the names of its files in lower case."""
        return frozenset(path.name.lower() for path in self.directory.iterdir())

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Args:
            name: The file.
        """
        return (self.directory / name).read_bytes()

    def write(self, contents: dict[str, bytes]) -> None:
        """Put files in place: after a power cut each is the old or the new one (docs/boot.md).

        Args:
            contents: Of the files, by name, in order.

        Raises:
            CardError: There is no room, or the card fails.
        """
        temporaries = {name: self.directory / (name + NEW_SUFFIX) for name in contents}
        try:
            for name, content in contents.items():
                with temporaries[name].open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                if temporaries[name].read_bytes() != content:
                    raise CardError(f"{temporaries[name]} reads back differently: a bad card?")
            for name, temporary in temporaries.items():
                _put(temporary, self.directory / name)
        except OSError as error:
            raise CardError(f"{self.directory}: cannot be written: {error.strerror}") from error
        finally:
            for temporary in temporaries.values():
                temporary.unlink(missing_ok=True)


def _put(temporary: Path, path: Path) -> None:
    """Replace a file by a staged one; the old one stays open, so that its clusters stay taken."""
    path.touch()
    with path.open("rb"), temporary.open("rb") as new:
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        os.fsync(new.fileno())


@dataclass(frozen=True)
class CardImage:
    """A boot partition within an image file, by mtools: no mounting, so no root.

    Attributes:
        image: The file.
        offset: Where the partition begins in it, bytes.
    """

    image: Path
    offset: int

    def names(self) -> frozenset[str]:
        """Return the names of its files in lower case.

        Raises:
            CardError: There is no file system.
        """
        listed = self._mtools("mdir", "-b", "-a", "::").decode(errors="replace")
        return frozenset(line.removeprefix("::/").lower() for line in listed.splitlines())

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Args:
            name: The file.

        Raises:
            CardError: It is not there.
        """
        return self._mtools("mtype", f"::{name}")

    def write(self, contents: dict[str, bytes]) -> None:
        """Put files in place: each is whole under another name before it takes its own.

        Args:
            contents: Of the files, by name, in order.

        Raises:
            CardError: There is no room, or the image cannot be written.
        """
        there = self.names()
        try:
            for name, content in contents.items():
                self._stage(name + NEW_SUFFIX, content)
            for name in contents:
                if name.lower() in there:
                    self._mtools("mdel", f"::{name}")
                self._mtools("mren", f"::{name}{NEW_SUFFIX}", f"::{name}")
        finally:
            for name in contents:
                if (name + NEW_SUFFIX).lower() in self.names():
                    self._mtools("mdel", f"::{name}{NEW_SUFFIX}")

    def _stage(self, name: str, content: bytes) -> None:
        # mcopy from a pipe ends well where the disk is full.
        self._mtools("mcopy", "-D", "o", "-", f"::{name}", content=content)
        if name.lower() not in self.names() or self.read(name) != content:
            raise CardError(f"{self.image}: no room for {name}, or it reads back differently")

    def _mtools(self, tool: str, *arguments: str, content: bytes = b"") -> bytes:
        command = [tool, "-i", f"{self.image}@@{self.offset}", *arguments]
        environment = os.environ | {"LC_ALL": "C", "MTOOLS_SKIP_CHECK": "1"}
        done = subprocess.run(
            command, env=environment, input=content, capture_output=True, check=False
        )
        if done.returncode:
            why = done.stderr.decode(errors="replace").strip().splitlines() or ["failed"]
            raise CardError(f"{self.image}: {tool}: {why[-1]}")
        return done.stdout


def open_place(path: Path) -> Place:
    """Return the boot partition at a path: not read yet.

    Args:
        path: An image file, or the directory where a card's boot partition is mounted.

    Raises:
        UserError: It is neither, or belongs to the running system.
        CardError: It cannot be read.
    """
    if path.is_dir():
        check_card(path.resolve())
        return MountedCard(path)
    if path.is_block_device():
        raise UserError(
            f"{path} is a whole disk or a partition; name the directory where the card's first"
            " partition is mounted, or an image file"
        )
    if not path.is_file():
        raise UserError(f"{path}: there is no such image or directory")
    if shutil.which("mtype") is None:
        raise CardError(
            "mtools is missing, which writes into images: install the package mtools, or name the"
            " directory where a flashed card is mounted"
        )
    try:
        return CardImage(path, fat_offset(path))
    except OSError as error:
        raise CardError(f"{path}: cannot be read: {error.strerror}") from error


def fat_offset(image: Path) -> int:
    """Return where a FAT partition begins in an image, bytes; 0 where it is all of it.

    Args:
        image: The file.

    Raises:
        UserError: There is none.
        OSError: It cannot be read.
    """
    with image.open("rb") as file:
        first = file.read(SECTOR)
        for magic, unpack in PACKED.items():
            if first.startswith(magic):
                raise UserError(f"{image} is packed; unpack it first: {unpack} {image.name}")
        starts = [0] if _is_fat(first) else _fat_partitions(first)
        for start in starts:
            file.seek(start)
            if _is_fat(file.read(SECTOR)):
                return start
    raise UserError(f"{image} has no FAT partition in its first four: no image of a Raspberry Pi")


def _is_fat(sector: bytes) -> bool:
    """Return whether a boot sector is FAT's: of sectors of 512 bytes, with one or two tables."""
    named = sector[54:57] == b"FAT" or sector[82:87] == b"FAT32"
    return named and sector[510:512] == SIGNATURE and sector[11:13] == b"\x00\x02"


def _fat_partitions(sector: bytes) -> list[int]:
    """Return where the partitions begin that a table (MBR) calls FAT, bytes."""
    if len(sector) < SECTOR or sector[510:512] != SIGNATURE:
        return []
    places = [FIRST_ENTRY + ENTRY_BYTES * number for number in range(ENTRIES)]
    entries = [sector[place : place + ENTRY_BYTES] for place in places]
    return [
        int.from_bytes(entry[8:12], "little") * SECTOR for entry in entries if entry[4] in FAT_TYPES
    ]
