"""A ledger over all bots: lots, cost and gains, by the rules of `gridbot tax`.

Those rules are `gridbase.tax_lots`, for both. Each symbol of a bot has a book of lots, as there;
an account's figures are their sums.
A book goes on from where it stands as long as only later trades come. Where an earlier one has come
in between, it is made anew: from the point that `hub keep` has written down for it, or, if that one
is overtaken, too, from the first trade.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from gridbase import market, tax_lots
from gridbase.errors import UserError
from gridbase.market import EXACT, Market, plain
from gridbase.tax_lots import Lot, LotBook, Method, Sums

from hub import units
from hub.archive.columns import MILLISECOND
from hub.archive.rows import FillRow, Key, key
from hub.history import BEGIN, END, History
from hub.units import Units

ZERO = Decimal(0)
METHOD = Method.FIFO
# Trades that are booked before others of the process's tasks get their turn.
_TURN = 100
_ID_WIDTH = 20

_SYMBOLS = """
SELECT b.id, b.name, b.mode, b.account, r.symbol, r.base, r.quote,
       array_agg(r.id ORDER BY r.id) AS runs
FROM bots b JOIN grid_runs r ON r.bot_id = b.id
GROUP BY b.id, r.symbol, r.base, r.quote
ORDER BY b.name, r.symbol, b.mode
"""
_COUNT = (
    "SELECT coalesce(sum(fills), 0)::bigint FROM flow_days WHERE run_id = ANY($1::int[])"
    " AND day < $2"
)
_DAYS = "SELECT min(day), max(day) FROM flow_days WHERE run_id = ANY($1::int[]) AND day <= $2"
_POINT = "SELECT day, fills, book FROM ledger_points WHERE (bot_id, symbol, rules) = ($1, $2, $3)"
_KEEP = (
    "INSERT INTO ledger_points VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (bot_id, symbol)"
    " DO UPDATE SET day = excluded.day, fills = excluded.fills, rules = excluded.rules,"
    " book = excluded.book"
)
# After so many days of trades a point is written down, so that who is cut off goes on from there.
_STEP = timedelta(days=28)
# Trades of the last hours come in any order: who has booked them would often begin anew.
_OPEN = timedelta(days=1)
# How often a book is made anew while its bot trades for earlier times.
_TRIES = 5


# What a point says was booked by this code (an image has byte code alone); other code may book
# differently.
_CODE = (str(one.__file__) for one in (tax_lots, market, units, sys.modules[__name__]))
RULES = hashlib.sha256(b"".join(Path(name).read_bytes() for name in _CODE)).hexdigest()


@dataclass(frozen=True)
class Trade:
    """A trade as a book of lots reads it (see `gridbase.tax_lots.Trade`)."""

    trade_id: str
    side: str
    quantity: Decimal
    quote: Decimal
    commission: Decimal
    commission_coin: str
    time_ms: int


def trade(row: FillRow, units: Units) -> Trade:
    """A row with its amounts."""
    price, quantity = units.price(row.price), units.quantity(row.quantity)
    return Trade(
        row.trade_id,
        "buy" if row.side == "b" else "sell",
        quantity,
        EXACT.multiply(price, quantity) if row.quote is None else row.quote,
        row.fee,
        row.fee_coin,
        (row.time - BEGIN) // MILLISECOND,
    )


@dataclass
class Day:
    """What the sales of a day (UTC) came to (quote)."""

    gain: Decimal = ZERO
    sales: int = 0


@dataclass
class Book:
    """One bot's trades of one symbol, booked so far.

    Attributes:
        bot: its name.
        mode: paper or live.
        account: whose money it is.
        symbol: such as ``BTC/USDT``.
        quote: coin of all amounts but quantities.
        lots: what is open.
        years: sums of disposals by the sale's year.
        days: gains by the sale's day.
        fills: how many trades are booked.
        last: key of the latest one.
    """

    bot: str
    mode: str
    account: str
    symbol: str
    quote: str
    lots: LotBook
    years: dict[int, Sums] = field(default_factory=dict)
    days: dict[date, Day] = field(default_factory=dict)
    fills: int = 0
    last: Key | None = None

    def add(self, row: FillRow, units: Units) -> None:
        """Book one trade, in the order of time."""
        for disposal in self.lots.book(trade(row, units)):
            self.years.setdefault(disposal.year, Sums()).add(disposal)
            day = self.days.setdefault(row.time.astimezone(UTC).date(), Day())
            day.gain = EXACT.add(day.gain, disposal.gain)
            day.sales += 1
        self.fills += 1

    def point(self) -> dict[str, Any]:
        """What a later book needs to go on from here; amounts are exact texts."""
        return {
            "lots": [[one.trade_id, _stored(vars(one) | {"trade_id": 0})] for one in self.lots],
            "years": {str(year): _stored(vars(sums)) for year, sums in self.years.items()},
            "days": {str(day): _stored(vars(one)) for day, one in self.days.items()},
        }

    def begin(self, day: date, fills: int, point: Mapping[str, Any]) -> None:
        """Go on from a point that another book has made.

        Args:
            day: the first one (UTC) whose trades it has not booked.
            fills: how many trades it has booked.
            point: its `point`.
        """
        for trade_id, lot in point["lots"]:
            self.lots.reopen(Lot(**_loaded(lot) | {"trade_id": trade_id}))
        self.years = {int(year): Sums(**_loaded(sums)) for year, sums in point["years"].items()}
        self.days = {
            date.fromisoformat(day): Day(**_loaded(one)) for day, one in point["days"].items()
        }
        self.fills = fills
        # Behind every trade of the last millisecond before.
        self.last = (_midnight(day) - MILLISECOND, 2**31 - 1, "")

    def document(self) -> dict[str, Any]:
        """Position and years, as `gridbot tax --json` has them."""
        return {
            "bot": self.bot,
            "mode": self.mode,
            "account": self.account,
            "symbol": self.symbol,
            "currency": self.quote,
            "years": {str(year): sums.document() for year, sums in sorted(self.years.items())},
            "open_lots": self.lots.open_lots,
            "open_quantity": plain(self.lots.open_quantity),
            "open_cost": plain(self.lots.open_cost),
        }


def _stored(value: Any) -> Any:
    """Amounts as exact texts, in whatever they are."""
    if isinstance(value, dict):
        return {name: _stored(one) for name, one in value.items()}
    return str(value) if isinstance(value, Decimal) else value


def _loaded(value: Any) -> Any:
    """The same the other way round."""
    if isinstance(value, dict):
        return {name: _loaded(one) for name, one in value.items()}
    return Decimal(value) if isinstance(value, str) else value


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


class Ledger:
    """The books of all bots.

    Args:
        pool: of connections to the database.
        history: their trades.
    """

    def __init__(self, pool: Any, history: History) -> None:
        self._pool = pool
        self._history = history
        # A bot that has gone from paper to live has a book of each.
        self._books: dict[tuple[str, str, str], Book] = {}
        self._units: dict[int, Units] = {}
        self._lock = asyncio.Lock()

    async def adopt(self, reading: Awaitable[Sequence[Book]]) -> None:
        """Begin with books that another process reads; until it has, nobody else reads any."""
        async with self._lock:
            self._books = {(book.bot, book.symbol, book.mode): book for book in await reading}

    async def books(self) -> Sequence[Book]:
        """All books, brought up to date.

        Raises:
            UserError: more is sold than was bought, or the archive cannot be read.
        """
        async with self._lock:
            return [await self._book(row) for row in await self._symbols()]

    async def keep_points(self, connection: Any, now: datetime, say: Callable[[str], None]) -> None:
        """Write down how far each book has come, and what it has then.

        Args:
            connection: to the database, as the owner of its tables.
            now: the time; a day before it, no trade is booked any more.
            say: is told in one line what cannot be booked.
        """
        async with self._lock:
            for row in await self._symbols():
                try:
                    await self._keep_point(connection, row, (now - _OPEN).astimezone(UTC).date())
                except UserError as error:
                    say(f"{row['name']} {row['symbol']}: cannot be booked: {error}")

    async def _keep_point(self, connection: Any, row: Any, latest: date) -> None:
        book, runs = await self._begun(row), row["runs"]
        # The latest day with trades stays open: a bot whose collector is away for a month has none
        # after it, and goes on there.
        first, last = await connection.fetchrow(_DAYS, runs, latest)
        day = first if book.last is None else (book.last[0] + MILLISECOND).date()
        while last is not None and day < last:
            day = min(day + _STEP, last)
            await self._read(book, runs, _midnight(day))
            # Where a trade has come for an earlier time meanwhile, it does not count (`_begun`).
            point = (row["id"], row["symbol"], day, book.fills, RULES, book.point())
            await connection.execute(_KEEP, *point)

    async def _symbols(self) -> Sequence[Any]:
        async with self._pool.acquire() as connection:
            self._units = await units_by_id(connection)
            return list(await connection.fetch(_SYMBOLS))

    async def _book(self, row: Any) -> Book:
        name = (row["name"], row["symbol"], row["mode"])
        book = self._books.get(name)
        for _ in range(_TRIES):
            if book is not None and book.fills == await self._count(row["runs"]):
                self._books[name] = book
                return book
            if book is None or not await self._read(book, row["runs"]):
                book = await self._begun(row)
                await self._read(book, row["runs"])
            if book.fills != await self._count(row["runs"]):
                book = None  # a trade has come for an earlier time
        raise UserError(f"{name[0]} {name[1]}: trades come faster than they are booked")

    async def _count(self, runs: Sequence[int], end: datetime = END) -> int:
        """Trades before a day (UTC)."""
        async with self._pool.acquire() as connection:
            return int(await connection.fetchval(_COUNT, runs, end.date()))

    async def _begun(self, row: Any) -> Book:
        """A book that begins at the point that was written down for it, if that still counts."""
        book = self._new(row)
        async with self._pool.acquire() as connection:
            point = await connection.fetchrow(_POINT, row["id"], row["symbol"], RULES)
        if point is not None and point["fills"] == await self._count(
            row["runs"], _midnight(point["day"])
        ):
            book.begin(*point)
        return book

    def _new(self, row: Any) -> Book:
        one = Decimal(1)
        coins = Market(row["symbol"], row["base"], row["quote"], one, one, ZERO, ZERO)
        return Book(
            row["name"],
            row["mode"],
            row["account"],
            row["symbol"],
            row["quote"],
            LotBook(coins, METHOD),
        )

    async def _read(self, book: Book, runs: Sequence[int], end: datetime = END) -> bool:
        """Book what came later; False where a trade is of the moment that was booked last."""
        same: list[FillRow] = []
        count = 0
        before = book.last
        async for row in self._history.ordered(runs, before, end):
            if before is not None and row.time == before[0]:
                return False
            if same and same[0].time != row.time:
                self._add(book, same)
                same = []
            same.append(row)
            count += 1
            if count % _TURN == 0:
                await asyncio.sleep(0)
        if same:
            self._add(book, same)
        return True

    def _add(self, book: Book, same: list[FillRow]) -> None:
        """Trades of one moment, in the order of `gridbot tax`: by ID, numbers by their size."""
        for row in sorted(same, key=lambda row: (row.trade_id.rjust(_ID_WIDTH), row.client_id)):
            book.add(row, self._units[row.market_id])
        book.last = max(key(row) for row in same)


async def units_by_id(connection: Any) -> dict[int, Units]:
    """The markets in whose units amounts are stored."""
    found = await connection.fetch("SELECT id, base, quote, tick_size, lot_size FROM markets")
    return {row["id"]: Units(*tuple(row)[1:]) for row in found}


def by_account(books: Sequence[Book]) -> list[dict[str, Any]]:
    """Sums by mode, account, currency and year: paper and live are never added up."""
    sums: dict[tuple[str, str, str], dict[int, dict[str, Decimal]]] = {}
    costs: dict[tuple[str, str, str], Decimal] = {}
    for book in books:
        name = (book.mode, book.account, book.quote)
        costs[name] = EXACT.add(costs.get(name, ZERO), book.lots.open_cost)
        years = sums.setdefault(name, {})
        for year, one in book.years.items():
            total = years.setdefault(year, {})
            for amount in ("proceeds", "cost_basis", "fees", "gain", "gain_short", "gain_long"):
                total[amount] = EXACT.add(total.get(amount, ZERO), getattr(one, amount))
    return [
        {
            "mode": mode,
            "account": account,
            "currency": currency,
            "open_cost": plain(costs[mode, account, currency]),
            "years": {
                str(year): {name: plain(amount) for name, amount in total.items()}
                for year, total in sorted(years.items())
            },
        }
        for (mode, account, currency), years in sorted(sums.items())
    ]
