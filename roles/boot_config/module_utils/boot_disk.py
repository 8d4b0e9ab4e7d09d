"""How boot files are read and replaced: a power cut leaves the old one or the new one."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from ansible.module_utils.boot_text import ENCODING, BootFileError

ORIGINAL_SUFFIX = ".gridberry-original"  # beside a file: what it was before the first change
CREATED_SUFFIX = ".gridberry-created"  # beside a file: it was not there before
TOKENS_SUFFIX = ".gridberry-tokens"  # beside a file: which tokens were put in and taken out
TEMPORARY_SUFFIX = ".gridberry-new"  # beside a file: what it will be


@dataclass(frozen=True)
class Plan:
    """What one file contains and should contain; None where there is or should be no file.

    Attributes:
        path: The file.
        old: Its content now.
        new: What it should be.
        boots: Whether the firmware reads it.
        keep: Whether what it was before the first change is kept beside it.
        note: Whether it is only a note of the role's own.
        drop: Notes beside it that are of no use once it is so.
    """

    path: Path
    old: str | None
    new: str | None
    boots: bool = True
    keep: bool = True
    note: bool = False
    drop: list[Path] = field(default_factory=list)

    @property
    def diff(self) -> dict[str, str]:
        """The change as Ansible shows it."""
        header = str(self.path)
        return {
            "before_header": header,
            "after_header": header,
            "before": self.old or "",
            "after": self.new or "",
        }


def read(path: Path) -> str:
    """Return a boot file's content; bytes that are not UTF-8 survive."""
    return path.read_bytes().decode(**ENCODING)


def read_if_there(path: Path) -> str | None:
    """Return a file's content, or None where there is none."""
    return read(path) if path.exists() else None


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a note beside a file."""
    return path.with_name(path.name + suffix)


def names_in(directory: Path) -> frozenset[str]:
    """Return the names of a directory's files in lower case, as vfat compares them."""
    return frozenset(path.name.lower() for path in directory.iterdir())


def flush_directory(directory: Path) -> None:
    """Make renames in a directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, text: str) -> None:
    """Replace a file on vfat: after a power cut it is the old one or the new one, whole.

    Raises:
        BootFileError: What was read back is not what was written.
    """
    temporary = beside(path, TEMPORARY_SUFFIX)
    try:
        with temporary.open("wb") as stream:
            stream.write(text.encode(**ENCODING))
            stream.flush()
            # vfat knows no modes and refuses to set most; where they exist, they stay.
            mode = path.stat().st_mode & 0o7777 if path.exists() else None
            if mode is not None and mode != os.fstat(stream.fileno()).st_mode & 0o7777:
                os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        if read(temporary) != text:
            raise BootFileError(f"{temporary} reads back differently; {path} was left alone")
        temporary.replace(path)
        flush_directory(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    if read(path) != text:
        raise BootFileError(f"{path} reads back differently; the original is beside it")


def carry_out(plan: Plan) -> None:
    """Put a file's new content in place, what it was noted first, and drop notes of no more use."""
    kept, created = beside(plan.path, ORIGINAL_SUFFIX), beside(plan.path, CREATED_SUFFIX)
    if plan.new != plan.old:
        if plan.keep and not kept.exists() and not created.exists():
            write(created if plan.old is None else kept, plan.old or "")
        if plan.new is None:
            plan.path.unlink()
            flush_directory(plan.path.parent)
        else:
            write(plan.path, plan.new)
    for note in plan.drop:
        note.unlink()
        flush_directory(note.parent)
