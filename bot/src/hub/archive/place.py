"""Where the archive's files are: a directory, or a bucket of S3."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
from gridbase.atomic_file import sync
from gridbase.errors import ExitCode, UserError
from gridbase.secret_files import read_secret
from pyarrow import fs

from hub.config import Archive

# A file that no manifest names may be one that is being read by an older answer of the API.
_ORPHAN_AGE = timedelta(hours=1)
_CHUNK = 1 << 20


class PlaceError(UserError):
    """The archive cannot be read or written; the database keeps its rows."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.STATE)


class Place:
    """Files by their names, which are never written twice.

    Args:
        settings: which place.

    Raises:
        PlaceError: it is not there.
    """

    def __init__(self, settings: Archive) -> None:
        self.name = settings.place
        with self._told():
            self._files, self._root = _file_system(settings)

    def put(self, local: Path, name: str) -> None:
        """Copy a local file to a name; it is there as a whole or not at all.

        Raises:
            PlaceError: it cannot be written.
        """
        path = f"{self._root}/{name}"
        with self._told():
            if isinstance(self._files, fs.LocalFileSystem):
                _put(local, Path(path))
                return
            with local.open("rb") as source, self._files.open_output_stream(path) as target:
                while part := source.read(_CHUNK):
                    target.write(part)

    def digest(self, name: str) -> tuple[str, int]:
        """SHA-256 and size (bytes) of a file, as it is stored.

        Raises:
            PlaceError: it cannot be read.
        """
        found, size = hashlib.sha256(), 0
        with self._told(), self._files.open_input_stream(f"{self._root}/{name}") as file:
            while part := file.read(_CHUNK):
                found.update(part)
                size += len(part)
        return found.hexdigest(), size

    @contextmanager
    def open(self, name: str) -> Iterator[pq.ParquetFile]:
        """A file of Parquet, to be read by row groups.

        Raises:
            PlaceError: it cannot be read.
        """
        with (
            self._told(),
            self._files.open_input_file(f"{self._root}/{name}") as source,
            pq.ParquetFile(source) as file,
        ):
            yield file

    def dataset(self, names: list[str]) -> Any:
        """Files as one data set of Arrow, of which a query reads what it needs.

        Raises:
            PlaceError: one of them is not there.
        """
        with self._told():
            paths = [f"{self._root}/{name}" for name in names]
            return ds.dataset(paths, filesystem=self._files, format="parquet")

    def remove_orphans(self, folder: str, known: set[str]) -> None:
        """Remove files that no manifest names: of a run that was cut, or replaced since.

        Args:
            folder: below the place.
            known: names that stay.
        """
        oldest = datetime.now(UTC) - _ORPHAN_AGE
        with self._told():
            selector = fs.FileSelector(f"{self._root}/{folder}", allow_not_found=True)
            for file in self._files.get_file_info(selector):
                name = f"{folder}/{file.base_name}"
                old = file.mtime is None or file.mtime < oldest
                if file.base_name.endswith(".parquet") and name not in known and old:
                    self._files.delete_file(file.path)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # The S3 library's messages have several sentences; its first line says what is wrong.
            reason = error.strerror or str(error).strip().splitlines()[0]
            raise PlaceError(f"archive.place = {self.name}: {reason}") from error


def _file_system(settings: Archive) -> tuple[Any, str]:
    if not settings.place.startswith("s3://"):
        root = Path(settings.place)
        if not root.is_dir():
            raise PlaceError(f"archive.place = {root} is not a directory; create it, or mount it")
        return fs.LocalFileSystem(), os.fspath(root)
    options: dict[str, Any] = {"region": settings.region}
    if settings.key_file is not None and settings.secret_file is not None:
        options["access_key"] = read_secret(settings.key_file, "archive.key_file")
        options["secret_key"] = read_secret(settings.secret_file, "archive.secret_file")
    if settings.endpoint is not None:
        scheme, _, host = settings.endpoint.partition("://")
        options |= {"endpoint_override": host, "scheme": scheme}
    return fs.S3FileSystem(**options), settings.place.removeprefix("s3://").rstrip("/")


def _put(local: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # By its suffix it is an orphan where the program was killed.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=f".{path.name}")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as target, local.open("rb") as source:
            while part := source.read(_CHUNK):
                target.write(part)
            target.flush()
            os.fsync(target.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)
