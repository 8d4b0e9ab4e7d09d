"""Every point at which the bot's process touches the world, and so can die with an effect.

Between two of them nothing leaves the process: a crash there is the crash at the next one.
"""

import os
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Hook = Callable[[int, str], None]

# Statements which commit by themselves outside a transaction.
_WRITES = {"INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER", "VACUUM", "PRAGMA"}
_WRITING_PRAGMAS = ("journal_mode", "user_version", "application_id", "wal_checkpoint")
_ENDS = {"COMMIT", "END"}
_FILE_CALLS = ("fsync", "ftruncate", "replace", "rename", "unlink", "remove", "link")


class Boundaries:
    """Numbers the boundaries of one world and shows each to a hook, which may never return.

    Attributes:
        count: number of the latest one, from 1.
        kinds: how many there were of each kind.
        hook: sees number and kind.
    """

    def __init__(self) -> None:
        self.count = 0
        self.kinds: Counter[str] = Counter()
        self.hook: Hook = lambda _number, _kind: None

    def cross(self, kind: str) -> None:
        self.count += 1
        self.kinds[kind] += 1
        self.hook(self.count, kind)


class _Database(sqlite3.Connection):
    """A connection of the bot, with a boundary before and after everything that it commits."""

    boundaries: Boundaries

    def _watched(self, call, sql, *arguments):
        words = sql.split(maxsplit=1)
        word = words[0].upper() if words else ""
        commits = word in _ENDS or (not self.in_transaction and word in _WRITES)
        if word == "PRAGMA" and not any(name in sql for name in _WRITING_PRAGMAS):
            commits = False
        if not commits:
            return call(sql, *arguments)
        self.boundaries.cross("before commit")
        result = call(sql, *arguments)
        self.boundaries.cross("after commit")
        return result

    def execute(self, sql, *arguments):
        return self._watched(super().execute, sql, *arguments)

    def executemany(self, sql, *arguments):
        return self._watched(super().executemany, sql, *arguments)

    def executescript(self, sql):
        self.boundaries.cross("before commit")
        result = super().executescript(sql)
        self.boundaries.cross("after commit")
        return result


@contextmanager
def watched(boundaries: Boundaries, bot: Path, exchange: Path) -> Iterator[None]:
    """Watch the files of the bot's directories, and keep the exchange's books in memory.

    Args:
        boundaries: told of every commit and of every call that makes a file's fate.
        bot: everything below it is the bot's.
        exchange: the exchange's state directory; its database is in memory, where a fork copies it.
    """
    connect, chance = sqlite3.connect, random._urandom  # a world seeds the system's chance

    def connect_watched(path, *arguments, **options):
        name = str(path).removeprefix("file://").partition("?")[0]
        if Path(name).parent == exchange:
            return connect(":memory:", *arguments, **options)
        if Path(name).is_relative_to(bot) and "mode=ro" not in str(path):
            factory = type("_Watched", (_Database,), {"boundaries": boundaries})
            return connect(path, *arguments, factory=factory, **options)
        return connect(path, *arguments, **options)

    def watch(call):
        def called(target, *arguments, **options):
            ours = isinstance(target, int) or Path(target).is_relative_to(bot)
            if ours:
                boundaries.cross("before file")
            result = call(target, *arguments, **options)
            if ours:
                boundaries.cross("after file")
            return result

        return called

    def write_torn(number, data):
        """A file is written in two halves, and what dies in between leaves one."""
        half = len(data) // 2
        boundaries.cross("before write")
        written = write(number, data[:half])
        boundaries.cross("half written")
        if written == half:
            written += write(number, data[half:])
        boundaries.cross("after write")
        return written

    write = os.write
    calls = {name: getattr(os, name) for name in _FILE_CALLS}
    sqlite3.connect = connect_watched
    os.write = write_torn
    for name, call in calls.items():
        setattr(os, name, watch(call))
    try:
        yield
    finally:
        sqlite3.connect = connect
        os.write = write
        random._urandom = chance
        for name, call in calls.items():
            setattr(os, name, call)
