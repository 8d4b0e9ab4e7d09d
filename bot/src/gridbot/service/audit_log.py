"""Who told the bot what, when, and what came of it: one JSON object a line, only appended to."""

import errno
import json
import os
from pathlib import Path
from typing import Any

from gridbase.errors import ExitCode, UserError

FILE_NAME = "audit.jsonl"
_TAIL_BYTES = 65_536


class AuditLog:
    """A file that survives a power cut once a line is written.

    Args:
        directory: the state directory.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME

    def write(self, **entry: Any) -> None:
        """Append a line, and wait for the disk.

        Raises:
            UserError: it cannot be written; then nothing may be done.
        """
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                end = os.lseek(file, 0, os.SEEK_END)
                if end and os.pread(file, 1, end - 1) != b"\n":
                    line = b"\n" + line  # a power cut or a full disk has left a part of one
                if os.write(file, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise UserError(f"{self._path}: {error.strerror}", ExitCode.STATE) from error

    def latest(self, count: int) -> list[dict[str, Any]]:
        """The latest lines, newest first.

        Args:
            count: at most so many.
        """
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                lines = file.read().split(b"\n")
        except OSError:
            return []
        whole = lines[1:] if size > _TAIL_BYTES else lines
        entries = []
        for line in reversed(whole):
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue  # empty, or cut by a power cut
        return entries[:count]
