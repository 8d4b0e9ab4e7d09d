"""Files for the user: there as a whole or not at all."""

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from gridbase.errors import UserError


class WholeFile:
    """A text file that takes its name when it is complete, in place of one of that name.

    Args:
        path: the name.
        option: the option that said so, for errors.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, path: Path, option: str) -> None:
        self.path = path
        self._option = option
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        if path.is_dir():
            raise UserError(f"{option} {path} is a directory; name a file")
        try:
            self.file: TextIO = self._temporary.open("w", newline="", encoding="utf-8")
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> UserError:
        return UserError(f"{self._option} {self.path}: {error.strerror}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.file.flush()
                os.fsync(self.file.fileno())
                self._temporary.replace(self.path)
        except OSError as failed:
            raise self._failed(failed) from failed
        finally:
            self.file.close()
            self._temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.strerror:
            raise self._failed(error) from error


def sync(path: Path) -> None:
    """Have a file, or a directory's names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file that appears under its name only once it is complete.

    Args:
        path: the name.
        content: all of it.
        mode: its permissions.

    Raises:
        UserError: it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
