"""The data directory while it is written: a journal for each kind, and what becomes of it."""

import fcntl
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pyarrow as pa
from gridbase.clock import Clock
from gridbase.errors import ExitCode, UserError

from recorder.core.rows import Gap, Kind, Row, Stream
from recorder.core.steps import Sizes
from recorder.files.catalog import Catalog
from recorder.files.convert import convert
from recorder.files.durable import TEMPORARY, make_directory
from recorder.files.journal import SUFFIX, Journal
from recorder.files.layout import ACTIVE, HOUR_MS, READY

LOG = logging.getLogger("recorder")
LOCK = "lock"


class Store:
    """Writes rows and gaps; one thread at a time calls it.

    Args:
        directory: the data directory; made where it is missing.
        clock: the time.
        rotate_bytes: a journal whose rows take more in memory is closed.

    Raises:
        UserError: another recorder uses the directory, or it cannot be written.

    Attributes:
        on_new_journal: called with the kind of a journal that has been opened.
        trouble: why journals could not be made Parquet; empty where all could.
        written: rows on the disk since the start.
    """

    def __init__(self, directory: Path, clock: Clock, *, rotate_bytes: int) -> None:
        # Arrow's own choice keeps what it once had: half as much memory again.
        pa.set_memory_pool(pa.system_memory_pool())
        self.directory = directory
        self.trouble = ""
        self.written = 0
        self.on_new_journal: Callable[[Kind], None] = lambda _: None
        self._clock = clock
        self._rotate_bytes = rotate_bytes
        self._streams: dict[Kind, dict[Stream, Sizes]] = {}
        self._journals: dict[Kind, Journal] = {}
        self._gaps: list[Gap] = []
        self._opened = 0
        self._hour = clock.now_ms() // HOUR_MS
        self._lock = _lock(directory)
        make_directory(directory / ACTIVE)
        make_directory(directory / READY)
        self.catalog = Catalog(directory)
        self._closed_journals: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._recover()
        self._converter = threading.Thread(target=self._convert, name="convert", daemon=True)
        self._converter.start()

    def _recover(self) -> None:
        """Finish what a killed recorder has left."""
        for path in (self.directory / READY).rglob(f"*{TEMPORARY}"):
            path.unlink()
        for entry in self.catalog.replaced():
            (self.directory / READY / entry.path).unlink(missing_ok=True)
            self.catalog.remove(entry.path)
        for entry in self.catalog.away():
            (self.directory / READY / entry.path).unlink(missing_ok=True)
        for path in sorted((self.directory / ACTIVE).glob(f"*{SUFFIX}")):
            files = convert(self.catalog, path)
            rows = sum(entry.rows for entry in files)
            LOG.info("%s: %d rows of a recorder that was stopped are kept", path.name, rows)
        self.catalog.write_manifests()

    def open(self, streams: dict[Stream, Sizes]) -> None:
        """Begin to write.

        Args:
            streams: what rows will come of, with their steps.
        """
        for stream, sizes in streams.items():
            self._streams.setdefault(stream.kind, {})[stream] = sizes
        for kind in self._streams:
            self._new_journal(kind)

    def add(self, stream: Stream, rows: list[Row]) -> None:
        """Record rows; they are on the disk after the next `flush`."""
        if rows:
            self._journals[stream.kind].add(stream, rows)

    def add_gaps(self, gaps: list[Gap]) -> None:
        """Record gaps, before any row that was added later."""
        self._gaps += gaps

    def flush(self) -> None:
        """Have everything on the disk, gaps first: no row may stand after a gap not written."""
        for gap in self._gaps:
            LOG.warning(
                "%s %s: gap of %.1f s: %s",
                gap.stream.symbol,
                gap.stream.kind,
                (gap.to_ms - gap.from_ms) / 1000,
                gap.reason,
            )
        self.catalog.add_gaps(self._gaps)
        self._gaps = []
        for journal in self._journals.values():
            self.written += journal.flush()
        hour = self._clock.now_ms() // HOUR_MS
        for kind, journal in list(self._journals.items()):
            if hour != self._hour or journal.size >= self._rotate_bytes:
                self.rotate(kind)
        self._hour = hour

    def resize(self, stream: Stream, sizes: Sizes) -> None:
        """Go on with other steps, in another file."""
        self._streams[stream.kind][stream] = sizes
        self.rotate(stream.kind)

    def rotate(self, kind: Kind) -> None:
        """Close a kind's journal and begin another one."""
        journal = self._journals[kind]
        self.catalog.add_gaps(self._gaps)
        self._gaps = []
        journal.close()
        if journal.rows:
            self._closed_journals.put(journal.path)
        else:
            journal.path.unlink()
        self._new_journal(kind)

    def close(self) -> None:
        """Write everything, and make Parquet of all journals."""
        self.flush()
        for journal in self._journals.values():
            journal.close()
            self._closed_journals.put(journal.path)
        self._journals = {}
        self._closed_journals.put(None)
        self._converter.join()
        self.catalog.write_manifests()
        self.catalog.close()
        self._lock.close()

    def _new_journal(self, kind: Kind) -> None:
        self._opened += 1
        # Names sort in the order in which they were opened.
        name = f"{self._clock.now_ms():013d}-{os.getpid()}-{self._opened:06d}-{kind}{SUFFIX}"
        path = self.directory / ACTIVE / name
        self._journals[kind] = Journal(path, kind, self._streams[kind])
        self.on_new_journal(kind)

    def _convert(self) -> None:
        while (path := self._closed_journals.get()) is not None:
            try:
                convert(self.catalog, path)
                pa.default_memory_pool().release_unused()
            # The journal stays, and the next start tries again.
            except (OSError, sqlite3.Error) as error:
                self._not_converted(path, error)
            except Exception as error:
                LOG.exception("an unexpected error")
                self._not_converted(path, error)

    def _not_converted(self, path: Path, error: Exception) -> None:
        self.trouble = f"{path.name} could not be made Parquet: {error}"
        LOG.error("%s", self.trouble)


def _lock(directory: Path) -> IO[str]:
    try:
        make_directory(directory)
        handle = (directory / LOCK).open("w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            raise
    except BlockingIOError as error:
        raise UserError(
            f"directory = {directory}: another recorder uses it", ExitCode.STATE
        ) from error
    except OSError as error:
        raise UserError(
            f"directory = {directory}: cannot be used: {error.strerror}", ExitCode.STATE
        ) from error
    return handle
