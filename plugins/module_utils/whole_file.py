"""Files that a power cut leaves whole, and changes as Ansible shows them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def flush(path: Path) -> None:
    """Make what was done to a file or a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path: Path, content: bytes, mode: int, uid: int = -1, gid: int = -1) -> None:
    """Replace a file so that after a power cut it is the old one or the new one, whole.

    Args:
        path: The file.
        content: All of it.
        mode: Its permissions.
        uid: Its owner's number; -1 for who runs this.
        gid: Its group's number; -1 for that of who runs this.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchown(stream.fileno(), uid, gid)
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    flush(path.parent)


def diff_of(name: str, before: str, after: str) -> dict[str, str]:
    """Return a change of what has that name as Ansible shows it."""
    return {"before_header": name, "after_header": name, "before": before, "after": after}
