"""Files that are whole and on the disk, or not there."""

import os
from pathlib import Path

TEMPORARY = ".tmp"


def sync_directory(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directory(directory: Path) -> None:
    """Make a directory and those above it, and have their names on the disk."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for each in reversed(missing):
        sync_directory(each.parent)


def temporary_of(path: Path) -> Path:
    """The name that a file has until it is whole."""
    return path.with_name(path.name + TEMPORARY)


def publish(path: Path) -> None:
    """Give a file that was written under its temporary name the one that is read."""
    temporary = temporary_of(path)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def write_durable(path: Path, content: bytes) -> None:
    """Write a small file as a whole."""
    temporary_of(path).write_bytes(content)
    publish(path)
