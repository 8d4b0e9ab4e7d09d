"""Keeps the database in order, as its owner: schema up to date, old rows archived, trades booked.

It runs beside the server, for as long as that does. What fails is told in one line and tried again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from gridbase.atomic_file import write_whole
from gridbase.clock import Clock
from gridbase.errors import UserError

from hub.archive.archiver import Archiver, Moved
from hub.archive.place import Place
from hub.config import Archive, Config, Keeper
from hub.database import AWAY, Address, connect, in_one_line, migrate, pool
from hub.history import History
from hub.ledger import Ledger

EVERY_SECONDS = 6 * 3600.0
AGAIN_SECONDS = 60.0


async def archive(
    address: Address, settings: Archive, progress: Callable[[str], None] = lambda _: None
) -> dict[str, Moved]:
    """Bring the schema up to date and move what is old, once.

    Args:
        address: of the database, as its owner.
        settings: where to, and what is old.
        progress: is told each step in one line.

    Returns:
        What was done, by table.

    Raises:
        UserError: the archive or the database is not as it must be.
        OSError: the database is away (one of `AWAY`).
    """
    connection = await connect(address)
    try:
        await migrate(connection)
        before = datetime.now(UTC) - timedelta(days=settings.after_days)
        return await Archiver(connection, Place(settings), progress).run(before)
    finally:
        connection.terminate()


async def book(
    address: Address, settings: Archive | None, say: Callable[[str], None] = lambda _: None
) -> None:
    """Write down how far the ledger's books are booked, and what they have then, once.

    Args:
        address: of the database, as its owner.
        settings: where the archive is; None where there is none.
        say: is told what cannot be booked, in one line each.

    Raises:
        OSError: the database is away (one of `AWAY`).
    """
    place = None if settings is None else Place(settings)
    connection = await connect(address)
    try:
        async with await pool(address, 1) as reading:
            ledger = Ledger(reading, History(reading, place))
            await ledger.keep_points(connection, datetime.now(UTC), say)
    finally:
        connection.terminate()


async def keep(config: Config, clock: Clock) -> None:
    """Keep the database in order until the clock is stopping.

    Args:
        config: with a section `database`, and `archive` where there is one.
        clock: time.
    """
    address = config.need("database")
    while not clock.stopping:
        pause, problem = EVERY_SECONDS, ""
        try:
            connection = await connect(address)
            try:
                _say(", ".join(await migrate(connection)))
            finally:
                connection.terminate()
            _report(config.keeper, "")  # the rest may take its time
            if config.archive is not None:
                await archive(address, config.archive, _say)
            await book(address, config.archive, _say)
        except AWAY as error:
            problem = in_one_line(error)
        except UserError as error:
            problem = str(error)
        if problem:
            print(f"hub keep: {problem}", file=sys.stderr, flush=True)
            pause = AGAIN_SECONDS
        _report(config.keeper, problem)
        await asyncio.to_thread(clock.sleep, pause)


def _report(keeper: Keeper | None, problem: str) -> None:
    """Write the state for who asks whether all is well; it is as old as the latest round."""
    if keeper is not None and keeper.status_file is not None:
        write_whole(keeper.status_file, json.dumps({"problem": problem}).encode() + b"\n")


def _say(text: str) -> None:
    if text:
        print(text, flush=True)
