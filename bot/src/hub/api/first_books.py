"""Reads the ledger's books for the first time, in a process of its own.

Of millions of trades that takes minutes of processor time. In the server it would hold up every
answer; this process has the lowest priority, and is gone afterwards.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

from gridbase.errors import UserError

from hub.archive.place import Place
from hub.config import Config
from hub.database import AWAY, REFUSED, pool
from hub.history import History
from hub.ledger import Book, Ledger


async def first_books(config: Config) -> Sequence[Book]:
    """The books of all bots; none where they cannot be read, so that who asks for them reads them.

    Args:
        config: with a database.
    """
    # A fork of the server would have its threads' locks and its connections.
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe(duplex=False)
    process = spawning.Process(target=_read, args=(config, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        found: Sequence[Book] = await asyncio.to_thread(_received, ours)
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        ours.close()
    return found


def _received(ours: Connection) -> Sequence[Book]:
    try:
        return list(ours.recv())
    except EOFError:
        return ()  # it was killed, for its memory perhaps


def _read(config: Config, theirs: Connection) -> None:
    os.nice(19)
    books: Sequence[Book] = ()
    with suppress(UserError, *AWAY, *REFUSED):
        books = asyncio.run(_books(config))
    theirs.send(list(books))


async def _books(config: Config) -> Sequence[Book]:
    assert config.database is not None  # noqa: S101 - asked before
    place = None if config.archive is None else Place(config.archive)
    async with await pool(config.database, 1) as connections:
        return await Ledger(connections, History(connections, place)).books()
