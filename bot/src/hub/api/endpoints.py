"""The answers of /api/v1, each from its parameters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from gridbase.errors import ExitCode, UserError
from gridbase.market import plain

from hub.api import queries
from hub.api.fleet import breakers
from hub.api.live import Fleet
from hub.api.parameters import Parameters, position
from hub.archive.rows import OrderRow, key
from hub.history import BEGIN, END, History, Wanted
from hub.ledger import Book, Ledger, by_account, units_by_id
from hub.units import Units

LAST = 2**31 - 1
_FRESH_SECONDS = 5.0


class NoDatabaseError(UserError):
    """The hub has no database, or it does not answer."""

    def __init__(self) -> None:
        super().__init__("this hub has no database: there is no history", ExitCode.STATE)


@dataclass(frozen=True)
class Endpoint:
    """One path.

    Attributes:
        summary: one line.
        parameters: names that it takes.
        answer: makes the document.
    """

    summary: str
    parameters: Sequence[str]
    answer: Callable[[Hub, Parameters], Awaitable[dict[str, Any]]]


@dataclass
class Names:
    """Grid runs and units by their IDs, which change seldom and every answer needs.

    Attributes:
        runs: grid runs, oldest first.
        units: of markets.
        read: when they were read (monotonic seconds).
    """

    runs: dict[int, Any] = field(default_factory=dict)
    units: dict[int, Units] = field(default_factory=dict)
    read: float = -_FRESH_SECONDS

    def fresh(self, rows: Sequence[Any] = ()) -> bool:
        """Whether they are new enough, and have what rows of trades or orders name."""
        # Of both kinds of rows they are the second and the third column.
        known = all(row[1] in self.runs and row[2] in self.units for row in rows)
        return known and time.monotonic() - self.read < _FRESH_SECONDS

    async def refresh(self, connection: Any, rows: Sequence[Any] = ()) -> None:
        """Read them where they are not fresh.

        Args:
            connection: to the database.
            rows: of trades or orders.
        """
        if self.fresh(rows):
            return
        self.runs = {row["id"]: row for row in await connection.fetch(queries.RUNS)}
        self.units = await units_by_id(connection)
        self.read = time.monotonic()


@dataclass
class Hub:
    """What the answers are made from.

    Attributes:
        fleet: what was heard of the bots.
        pool: of connections to the database; None where there is none.
        history: trades; None likewise.
        ledger: lots and gains; None likewise.
    """

    fleet: Fleet
    pool: Any
    history: History | None
    ledger: Ledger | None

    names: Names = field(default_factory=Names)
    _booked: Sequence[Book] = ()
    _booked_at: float = -_FRESH_SECONDS
    _booking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def books(self) -> Sequence[Book]:
        """The ledger's books; those who ask within the same seconds share one look at them."""
        if self.ledger is None:
            raise NoDatabaseError
        async with self._booking:
            if time.monotonic() - self._booked_at >= _FRESH_SECONDS:
                self._booked = await self.ledger.books()
                self._booked_at = time.monotonic()
            return self._booked

    async def named(self, rows: Sequence[Any] = ()) -> Names:
        """Grid runs and units, with what rows of trades or orders name."""
        if not self.names.fresh(rows):
            async with self.connection() as connection:
                await self.names.refresh(connection, rows)
        return self.names

    def connection(self) -> Any:
        """One of the pool's connections, for a `with` block."""
        if self.pool is None:
            raise NoDatabaseError
        return self.pool.acquire(timeout=10)


async def _bots(hub: Hub, _: Parameters) -> dict[str, Any]:
    return hub.fleet.document


async def _breakers(hub: Hub, _: Parameters) -> dict[str, Any]:
    return {"circuit_breakers": breakers(hub.fleet.heard)}


async def _fills(hub: Hub, given: Parameters) -> dict[str, Any]:
    if hub.history is None:
        raise NoDatabaseError
    count, names = given.count(), await hub.named()
    wanted = _wanted(names, given)
    rows = await hub.history.latest(wanted, count + 1)
    await hub.named(rows)
    return {
        "fills": [
            queries.fill_document(row, names.runs[row.run_id], names.units[row.market_id])
            for row in rows[:count]
        ],
        "next": position(key(rows[count - 1])) if len(rows) > count else None,
    }


async def _orders(hub: Hub, given: Parameters) -> dict[str, Any]:
    if hub.history is None:
        raise NoDatabaseError
    state = given.choice("state", ("live", *queries.STATES.values()))
    count, names = given.count(), await hub.named()
    wanted = _wanted(names, given, None if state in {None, "live"} else str(state)[0])
    if state == "live":
        every = list(names.runs) if wanted.runs is None else wanted.runs
        before = wanted.before or (END, LAST, "")
        async with hub.connection() as connection:
            found = await connection.fetch(
                queries.OPEN_ORDERS, *before, every, count + 1, wanted.begin, wanted.end
            )
        rows = [OrderRow(*row) for row in found]
    else:
        rows = await hub.history.orders(wanted, count + 1)
    await hub.named(rows)
    return {
        "orders": [
            queries.order_document(row, names.runs[row.run_id], names.units[row.market_id])
            for row in rows[:count]
        ],
        "next": position(queries.order_key(rows[count - 1])) if len(rows) > count else None,
    }


async def _candles(hub: Hub, given: Parameters) -> dict[str, Any]:
    if hub.history is None:
        raise NoDatabaseError
    rows = await hub.history.hours(*await _span(hub, given))
    return {"candles": [queries.candle_document(row) for row in rows]}


async def _equity(hub: Hub, given: Parameters) -> dict[str, Any]:
    if hub.history is None:
        raise NoDatabaseError
    bot, symbol, begin, end, count = await _span(hub, given)
    candles = await hub.history.closes(bot, symbol, begin, end, count)
    if not candles:
        return {"equity": []}
    begin, end = candles[0]["time"], candles[-1]["time"] + queries.HOUR
    async with hub.connection() as connection:
        await hub.names.refresh(connection)
        runs = hub.names.runs
        chosen = [
            number
            for number, run in runs.items()
            if (run["bot_id"], run["symbol"]) == (bot, symbol)
        ]
        before = await connection.fetch(queries.FLOWS_BEFORE, chosen, begin)
        flows = await connection.fetch(queries.FLOWS, chosen, begin, end)
    return {"equity": queries.equity([runs[one] for one in chosen], before, flows, candles)}


async def _span(hub: Hub, given: Parameters) -> tuple[int, str, datetime, datetime, int]:
    """Whose hours, and which; without a mode, of the history that grows."""
    bot, symbol = given.needed("bot"), given.needed("symbol")
    begin, end, count = given.time("from", BEGIN), given.time("to", END), given.count()
    async with hub.connection() as connection:
        number = await connection.fetchval(queries.NAMED, bot, _mode(given))
    return -1 if number is None else number, symbol, begin, end, count


async def _incidents(hub: Hub, given: Parameters) -> dict[str, Any]:
    count, bot, mode = given.count(), given.text("bot"), _mode(given)
    kind = given.choice("kind", ("kill_switch", "pause", "acknowledgement"))
    before = given.after() or (END, LAST, "")
    async with hub.connection() as connection:
        bots = None
        if bot is not None or mode is not None:
            bots = [row["id"] for row in await connection.fetch(queries.NAMED, bot, mode)]
        rows = await connection.fetch(queries.INCIDENTS, bots, kind, *before[:2], count + 1)
    return {
        "incidents": [
            {
                "bot": row["bot"],
                "mode": row["mode"],
                "kind": row["kind"],
                "symbol": row["symbol"],
                "at": queries.milliseconds(row["at"]),
                "ended": queries.milliseconds(row["ended"]),
                "code": row["code"],
                "text": row["text"],
            }
            for row in rows[:count]
        ],
        "next": position((rows[count - 1]["at"], rows[count - 1]["id"], ""))
        if len(rows) > count
        else None,
    }


async def _releases(hub: Hub, given: Parameters) -> dict[str, Any]:
    async with hub.connection() as connection:
        rows = await connection.fetch(queries.RELEASES, given.count())
    return {
        "releases": [
            {
                "bot": row["bot"],
                "mode": row["mode"],
                "version": row["version"],
                "seen": queries.milliseconds(row["seen"]),
            }
            for row in rows
        ]
    }


async def _profit(hub: Hub, given: Parameters) -> dict[str, Any]:
    bot, symbol, mode = given.text("bot"), given.text("symbol"), _mode(given)
    begin, end = given.time("from", BEGIN).date(), given.time("to", END).date()
    count, before = given.count(), given.after() or (END, 0, "")
    days = [
        (day, f"{book.bot} {book.symbol} {book.mode}", book, one)
        for book in await hub.books()
        if bot in {None, book.bot} and symbol in {None, book.symbol}
        if mode in {None, book.mode}
        for day, one in book.days.items()
        if begin <= day < end
    ]
    days = [one for one in days if one[:2] < (before[0].date(), before[2])]
    days.sort(key=lambda one: one[:2], reverse=True)
    last = days[count - 1] if len(days) > count else None
    return {
        "days": [
            {
                "day": day.isoformat(),
                "bot": book.bot,
                "mode": book.mode,
                "symbol": book.symbol,
                "currency": book.quote,
                "gain": plain(one.gain),
                "disposals": one.sales,
            }
            for day, _, book, one in days[:count]
        ],
        "next": None if last is None else position((_midnight(last[0]), 0, last[1])),
    }


def _midnight(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time(), UTC)


async def _ledger(hub: Hub, _: Parameters) -> dict[str, Any]:
    books = await hub.books()
    return {
        "method": "fifo",
        "accounts": by_account(books),
        "positions": [book.document() for book in books],
    }


def _wanted(names: Names, given: Parameters, state: str | None = None) -> Wanted:
    """Which trades or orders are asked for."""
    return Wanted(
        runs=_chosen(names.runs, given),
        begin=given.time("from", BEGIN),
        end=given.time("to", END),
        before=given.after(),
        state=state,
    )


def _chosen(runs: Mapping[int, Any], given: Parameters) -> list[int] | None:
    """IDs of the grid runs of a bot, symbol or mode; None where none of these is named."""
    bot, symbol, mode = given.text("bot"), given.text("symbol"), _mode(given)
    if bot is None and symbol is None and mode is None:
        return None
    return [
        number
        for number, run in runs.items()
        if bot in {None, run["bot"]} and symbol in {None, run["symbol"]}
        if mode in {None, run["mode"]}
    ]


def _mode(given: Parameters) -> str | None:
    return given.choice("mode", ("paper", "live"))


_PAGED = ("limit", "after")
_SPAN = ("from", "to")
ENDPOINTS: dict[str, Endpoint] = {
    "/api/v1/bots": Endpoint("All bots as they were last heard, and sums.", (), _bots),
    "/api/v1/fills": Endpoint(
        "Trades, the latest first, from the database and the archive.",
        ("bot", "symbol", "mode", *_SPAN, *_PAGED),
        _fills,
    ),
    "/api/v1/orders": Endpoint(
        "Orders, the latest first, likewise; `live` are those that may still trade.",
        ("bot", "symbol", "mode", "state", *_SPAN, *_PAGED),
        _orders,
    ),
    "/api/v1/profit": Endpoint(
        "Gains of the sales of each day (UTC), as the tax report counts them.",
        ("bot", "symbol", "mode", *_SPAN, *_PAGED),
        _profit,
    ),
    "/api/v1/equity": Endpoint(
        "Equity of one bot's symbol at the end of each hour.",
        ("bot", "symbol", "mode", *_SPAN, "limit"),
        _equity,
    ),
    "/api/v1/candles": Endpoint(
        "Hours as one bot has seen its price.", ("bot", "symbol", "mode", *_SPAN, "limit"), _candles
    ),
    "/api/v1/incidents": Endpoint(
        "Kill switches, pauses and acknowledgements, the latest first.",
        ("bot", "mode", "kind", *_PAGED),
        _incidents,
    ),
    "/api/v1/releases": Endpoint(
        "Which version each bot runs, and since when.", ("limit",), _releases
    ),
    "/api/v1/ledger": Endpoint(
        "Positions, cost and gains by account and year, as the tax reports have them.",
        (),
        _ledger,
    ),
    "/api/v1/system/circuit-breakers": Endpoint(
        "The circuit breaker of each bot, as it last said.", (), _breakers
    ),
}
