"""Where caches, machines and sockets are. Paths may hold spaces and commas."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
RECIPE = Path(__file__).resolve().parent / "recipe"


def cache_directory() -> Path:
    """Return where built images are kept: GRIDBERRY_CACHE, or gridberry in the user's cache."""
    chosen = os.environ.get("GRIDBERRY_CACHE")
    if chosen:
        return Path(chosen).absolute() / "virtual-pi"
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches).absolute() / "gridberry" / "virtual-pi"


def state_directory() -> Path:
    """Return where the machines' state is: GRIDBERRY_STATE, or .gridberry in the checkout."""
    return Path(os.environ.get("GRIDBERRY_STATE") or CHECKOUT / ".gridberry").absolute()


def socket_directory(state: Path) -> Path:
    """Return the directory for the sockets of a state directory's machines, private to the user.

    A Unix socket's path holds 108 bytes at most, which a checkout deep in a home directory exceeds.

    Args:
        state: The state directory.
    """
    parent = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp")  # noqa: S108 - made private below
    digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:8]
    return parent / f"gridberry-{os.getuid()}-{digest}"


def make_private(directory: Path) -> None:
    """Make a directory that nobody else can enter.

    Args:
        directory: The directory; its parents are made too.

    Raises:
        PermissionError: It exists and is another user's.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    if status.st_uid != os.getuid() or directory.is_symlink():
        raise PermissionError(f"{directory} belongs to somebody else")
    directory.chmod(0o700)
