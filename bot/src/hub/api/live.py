"""What the hub hears of the bots, and tells every client at once.

With a database its collectors tell what is new (LISTEN); bots may also be asked directly, which is
all there is on a Pi without one. Each client gets the newest document when it is ready for it, and
never a queue of old ones: a slow client costs nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from gridbase.errors import UserError

from hub.api import queries
from hub.api.asking import SENSELESS, reason, told_by
from hub.api.fleet import Heard, fleet_document
from hub.api.programs import HeardProgram, program_documents
from hub.config import Live, Program
from hub.database import AWAY, REFUSED, Address, connect, in_one_line

CHANNEL = "gridberry_fleet"
# Seconds: between two looks at everything, the least between two messages, until one is repeated.
LOOK_SECONDS = 5.0
LEAST_SECONDS = 1.0
COMMENT_SECONDS = 15.0


class Fleet:
    """The newest document of the fleet, and who waits for the next.

    Args:
        pool: of connections to the database; None where there is none.
        address: of it, to listen.
        bots: those that are asked directly.
        programs: beside them, which are always asked.
    """

    def __init__(
        self,
        pool: Any,
        address: Address | None,
        bots: Sequence[Live],
        programs: Sequence[Program] = (),
    ) -> None:
        self._pool = pool
        self._address = address
        self._bots = bots
        self._programs = programs
        self._asked: dict[str, Heard] = {}
        self._told = {one.name: HeardProgram(one.name, one.kind) for one in programs}
        self._document: dict[str, Any] = fleet_document((), 0)
        self._text = ""
        self._number = 0
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()
        self.heard: list[Heard] = []
        self.problem = ""

    @property
    def document(self) -> dict[str, Any]:
        """The newest document."""
        return self._document

    async def run(self) -> None:
        """Look again and again, until canceled."""
        tasks = [asyncio.create_task(one) for one in self._watchers()]
        try:
            while True:
                await self._look()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)
                self._wake.clear()
                await asyncio.sleep(LEAST_SECONDS)
        finally:
            for task in tasks:
                task.cancel()

    async def messages(self) -> AsyncIterator[str]:
        """Server-sent events for one client, from the newest document on."""
        seen = 0
        while True:
            if self._number == seen:
                try:
                    await asyncio.wait_for(self._next(seen), COMMENT_SECONDS)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
            seen = self._number
            yield f"event: fleet\nid: {seen}\ndata: {self._text}\n\n"

    async def _next(self, seen: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._number != seen)

    async def _look(self) -> None:
        heard = dict(self._asked)
        if self._pool is not None:
            try:
                async with self._pool.acquire(timeout=5) as connection:
                    rows = await connection.fetch(queries.BOTS)
                self.problem = ""
            except (*AWAY, *REFUSED) as error:
                self.problem = in_one_line(error)
                rows = []
                heard = {bot.name: bot for bot in self.heard} | heard
            heard = {row["name"]: _newer(_stored(row), heard.get(row["name"])) for row in rows} | {
                name: bot for name, bot in heard.items() if name not in {r["name"] for r in rows}
            }
        self.heard = list(heard.values())
        now_ms = time.time_ns() // 1_000_000
        document = fleet_document(self.heard, now_ms)
        document["programs"] = program_documents(self._told.values(), now_ms)
        document["database"] = self.problem or ("connected" if self._pool is not None else "none")
        if document == self._document and self._number:
            return
        async with self._changed:
            self._document = document
            self._text = json.dumps(document, separators=(",", ":"))
            self._number += 1
            self._changed.notify_all()

    def _watchers(self) -> list[Any]:
        watchers = [_again(partial(self._ask, bot)) for bot in self._bots]
        watchers += [_again(partial(self._ask_program, program)) for program in self._programs]
        if self._address is not None:
            watchers.append(_again(self._listen))
        return watchers

    async def _listen(self) -> None:
        """Hear of what collectors have written, as long as the connection lasts."""
        if self._address is None:
            return
        connection = await connect(self._address)
        try:
            ended = asyncio.Event()
            connection.add_termination_listener(lambda *_: ended.set())
            await connection.add_listener(CHANNEL, lambda *_: self._wake.set())
            await ended.wait()
        finally:
            connection.terminate()

    async def _ask(self, bot: Live) -> None:
        before = self._asked.get(bot.name) or Heard(bot.name, "", "", "", "", None, None)
        try:
            status, now_ms = await asyncio.to_thread(told_by, bot)
        except SENSELESS as error:
            self._asked[bot.name] = Heard(**{**vars(before), "problem": reason(error)})
            return
        words = {name: str(status.get(name, "")) for name in ("mode", "exchange", "version")}
        self._asked[bot.name] = Heard(
            name=bot.name, account=before.account, heard_ms=now_ms, status=status, **words
        )
        self._wake.set()

    async def _ask_program(self, program: Program) -> None:
        try:
            status, heard_ms = await asyncio.to_thread(told_by, program)
        except SENSELESS as error:
            before = self._told[program.name]
            self._told[program.name] = replace(before, problem=reason(error))
            return
        self._told[program.name] = HeardProgram(program.name, program.kind, heard_ms, status)
        self._wake.set()


def _newer(stored: Heard, asked: Heard | None) -> Heard:
    """Of the two ways on which a bot is heard, what came last."""
    if asked is None or (asked.heard_ms or 0) < (stored.heard_ms or 0):
        return stored
    # The bot itself knows whether its money is real; its collector may not have started anew yet.
    mode = asked.mode or stored.mode
    account = stored.account if mode == stored.mode else ""
    return Heard(**{**vars(asked), "account": account, "mode": mode})


def _stored(row: Any) -> Heard:
    return Heard(
        name=row["name"],
        mode=row["mode"],
        account=row["account"],
        exchange=row["exchange"],
        version=row["version"] or "",
        heard_ms=queries.milliseconds(row["answered"] or row["heard"]),
        status=row["status"],
    )


async def _again(action: Callable[[], Awaitable[None]]) -> None:
    """Do something for ever, with a pause between, whether the other side is there or not."""
    while True:
        with suppress(UserError, *AWAY):
            await action()
        await asyncio.sleep(LOOK_SECONDS)
