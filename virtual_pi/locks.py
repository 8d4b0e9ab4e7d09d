"""Locks between invocations: the kernel drops them when a process ends, however it ends."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, waiting for it and saying so.

    Args:
        path: The lock file, made if missing. It stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"  waiting for another command, which holds {path} ...", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
