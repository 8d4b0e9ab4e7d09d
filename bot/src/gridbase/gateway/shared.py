"""One pacer for all processes on one Gateway: its counts are in a small file with a lock.

The file is in a directory that all of them have, each in its container perhaps. The kernel frees
the lock of a process that dies, and time is the machine's monotonic clock, which all containers
share and nobody can set. Where the file cannot be used, each process keeps to its own share of
every limit, so that all together stay within it.
"""

import contextlib
import errno
import fcntl
import json
import logging
import math
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from gridbase.gateway.limits import LINES, MESSAGE, OPEN_HISTORY, Pacer, Request, limit_of

log = logging.getLogger(__name__)

COUNTS, SLOTS = "counts", "slots"
# A lock is held for less than a millisecond; somebody who was stopped meanwhile is not waited for.
TRIES, TRY_SECONDS = 20, 0.005
LARGEST = 262_144  # bytes; as much as all limits allow is far less
AHEAD_SECONDS = 1.0  # a time so far in the future was not written by this clock
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# What each keeps to while the file cannot be used.
BOT_SHARE, WATCHER_SHARE = 0.6, 0.4
# Where the places of what may be open at once begin in the file of slots, and how many there are.
PLACES = {"lines": (0, LINES), "history": (1000, OPEN_HISTORY)}


class DamagedError(ValueError):
    """The file's content is not what a pacer has written."""


class Slot:
    """A place among what may be open at once, until it is freed or nobody refers to it any more.

    The kernel frees those of a process that dies.
    """

    def __init__(self, handle: int | None) -> None:
        self._handle = handle

    def free(self) -> None:
        """Give it back."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    __del__ = free

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.free()


class SharedPacer:
    """What may leave for the Gateway, and when.

    Args:
        directory: of the shared file; None: nobody else is on the Gateway.
        monotonic: seconds of a clock that all have in common.
        share: of each limit, that this process takes at most.
        alone: of each limit, while the file cannot be used.
        boot: names the run of the machine that times belong to; None: the kernel's name.
    """

    def __init__(
        self,
        directory: Path | None,
        monotonic: Callable[[], float],
        *,
        share: float = 1.0,
        alone: float = BOT_SHARE,
        boot: str | None = None,
    ) -> None:
        self._directory, self._monotonic = directory, monotonic
        self._share, self._alone = share, min(share, alone)
        self._boot = boot
        self._own = Pacer()
        self._problem: str | None = None

    def leave(self, request: Request = MESSAGE, *, anyway: bool = False) -> float:
        """Seconds until a request may leave; where that is 0, it counts as sent.

        Args:
            request: what it counts for.
            anyway: it leaves whatever is allowed, and counts.
        """
        if self._directory is None:
            return self._leave_by(self._own, request, self._share, anyway=anyway)
        try:
            pause = self._leave_shared(self._directory / COUNTS, request, anyway=anyway)
        except OSError as error:
            self._tell(error.strerror or str(error))
            return self._leave_by(self._own, request, self._alone, anyway=anyway)
        self._tell(None)
        return pause

    def _leave_by(self, pacer: Pacer, request: Request, share: float, *, anyway: bool) -> float:
        now = self._monotonic()
        pause = 0.0 if anyway else pacer.pause(request, now, share)
        if pause <= 0:
            pacer.add(request, now)
        return pause

    def _leave_shared(self, path: Path, request: Request, *, anyway: bool) -> float:
        with _locked(path, self._content(Pacer())) as handle:
            now = self._monotonic()
            try:
                pacer, damaged = self._read(os.pread(handle, LARGEST, 0), now), False
            except DamagedError as error:
                log.warning("%s: %s: it counts as full", path, error)
                pacer, damaged = Pacer.full(now), True
            pause = max(pacer.pause(request, now), self._own.pause(request, now, self._share))
            if pause <= 0 or anyway:
                pacer.add(request, now)
                _write(handle, self._content(pacer))
                self._own.add(request, now)
                return 0.0
            if damaged:
                _write(handle, self._content(pacer))
            return pause

    def _tell(self, problem: str | None) -> None:
        """Once, where something changes."""
        if problem != self._problem:
            if problem is None:
                log.info("requests are counted in %s again", self._directory)
            else:
                share = round(self._alone * 100)
                log.warning(
                    "the directory %s, where all on this Gateway count their requests, cannot be "
                    "used (%s): %d %% of every limit are kept to",
                    *(self._directory, problem, share),
                )
        self._problem = problem

    # The file: a checksum and a line of JSON.

    def _boot_id(self) -> str:
        if self._boot is None:
            self._boot = BOOT_ID.read_text().strip()
        return self._boot

    def _content(self, pacer: Pacer) -> bytes:
        times = {name: [round(at, 3) for at in each] for name, each in pacer.times.items()}
        text = json.dumps({"boot": self._boot_id(), "times": times}).encode()
        return b"%08x %b\n" % (zlib.crc32(text), text)

    def _read(self, content: bytes, now: float) -> Pacer:
        checksum, _, text = content.partition(b"\n")[0].partition(b" ")
        if checksum != b"%08x" % zlib.crc32(text):
            raise DamagedError("its checksum is wrong")
        try:
            document = json.loads(text)
            times = {str(name): [float(at) for at in each] for name, each in _items(document)}
            boot = document["boot"]
            for name in times:
                limit_of(name)
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"it cannot be read: {error!r}") from error
        if boot != self._boot_id():
            # Of before the machine started: that was at 0 of this clock, or earlier.
            return Pacer({name: [0.0] * len(each) for name, each in times.items()})
        if any(not at <= now + AHEAD_SECONDS for each in times.values() for at in each):
            raise DamagedError("it has times that are still to come")
        return Pacer(times)

    # What is open at once.

    def slot(self, kind: str) -> Slot | None:
        """A place among what may be open at once; None where there is none left.

        Args:
            kind: ``lines`` of prices, or requests for ``history``.
        """
        if self._directory is None or self._problem is not None:
            return Slot(None)
        first, most = PLACES[kind]
        try:
            handle = _open(self._directory / SLOTS, b"")
        except OSError as error:
            self._tell(error.strerror or str(error))
            return Slot(None)
        for place in range(first, first + most):
            # A lock of the open file, not of the process: closing another one does not free it.
            wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
            with contextlib.suppress(BlockingIOError, PermissionError):
                fcntl.fcntl(handle, fcntl.F_OFD_SETLK, wanted)
                return Slot(handle)
        os.close(handle)
        return None


def _items(document: dict[str, dict[str, list[float]]]) -> Iterator[tuple[str, list[float]]]:
    for name, each in document["times"].items():
        if not all(math.isfinite(at) for at in each):
            raise ValueError(f"{name} at no time")
        yield name, each


@contextlib.contextmanager
def _locked(path: Path, empty: bytes) -> Iterator[int]:
    """The file, which nobody else reads or writes meanwhile; created where it is missing.

    Raises:
        OSError: it cannot be opened, or somebody else has had it for too long.
    """
    handle = _open(path, empty)
    try:
        for left in reversed(range(TRIES)):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise
                time.sleep(TRY_SECONDS)
        yield handle
    finally:
        os.close(handle)


def _open(path: Path, content: bytes) -> int:
    """A file's handle; where it is missing, it is created with a content."""
    try:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        _create(path, content)
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW)


def _create(path: Path, content: bytes) -> None:
    """Whole or not at all: an empty file of counts is a damaged one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        _write(handle, content)
        os.fchmod(handle, 0o660)
        with contextlib.suppress(FileExistsError):  # somebody else was faster
            os.link(temporary, path)
        if os.geteuid() == 0:  # a command of root's must not lock the bot out
            owner = path.parent.stat()
            with contextlib.suppress(OSError):
                os.fchown(handle, owner.st_uid, owner.st_gid)
    finally:
        os.close(handle)
        Path(temporary).unlink(missing_ok=True)


def _write(handle: int, content: bytes) -> None:
    """Over what was there. Whoever dies in between leaves a line, old or new, or a damaged one.

    Raises:
        OSError: the disk is full.
    """
    if os.pwrite(handle, content, 0) < len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.ftruncate(handle, len(content))
