"""Files that are whole and on the disk, or not there."""

from pathlib import Path

from gridbase.atomic_file import sync

TEMPORARY = ".tmp"


def make_directory(directory: Path) -> None:
    """Make a directory and those above it, and have their names on the disk."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for each in reversed(missing):
        sync(each.parent)


def temporary_of(path: Path) -> Path:
    """The name that a file has until it is whole."""
    return path.with_name(path.name + TEMPORARY)


def publish(path: Path) -> None:
    """Give a file that was written under its temporary name the one that is read."""
    temporary = temporary_of(path)
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def write_durable(path: Path, content: bytes) -> None:
    """Write a small file as a whole."""
    temporary_of(path).write_bytes(content)
    publish(path)
