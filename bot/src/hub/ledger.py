"""A ledger over all bots: lots, cost and gains, by the rules of `gridbot tax`.

Those rules are `gridbase.tax_lots`, for both. Each symbol of a bot has a book of lots, as there;
an account's figures are their sums.
A book goes on from where it stands as long as only later trades come, and is made anew where an
earlier one has come in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date
from decimal import Decimal
from typing import Any

from gridbase.errors import UserError
from gridbase.market import EXACT, Market, plain
from gridbase.tax_lots import LotBook, Method, Sums

from hub.archive.columns import MILLISECOND
from hub.archive.rows import FillRow, Key, key
from hub.history import BEGIN, History
from hub.units import Units

ZERO = Decimal(0)
# Trades that are booked before others of the process's tasks get their turn.
_TURN = 100
_ID_WIDTH = 20

_SYMBOLS = """
SELECT b.name, b.mode, b.account, r.symbol, r.base, r.quote, array_agg(r.id ORDER BY r.id) AS runs
FROM bots b JOIN grid_runs r ON r.bot_id = b.id
GROUP BY b.name, b.mode, b.account, r.symbol, r.base, r.quote
ORDER BY b.name, r.symbol, b.mode
"""
_COUNT = "SELECT coalesce(sum(fills), 0)::bigint FROM flow_days WHERE run_id = ANY($1::int[])"
# How often a book is made anew while its bot trades for earlier times.
_TRIES = 5


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


class Ledger:
    """The books of all bots by one method.

    Args:
        pool: of connections to the database.
        history: their trades.
        method: which lots a sale takes first.
    """

    def __init__(self, pool: Any, history: History, method: Method = Method.FIFO) -> None:
        self._pool = pool
        self._history = history
        self._method = method
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
            async with self._pool.acquire() as connection:
                symbols = await connection.fetch(_SYMBOLS)
                self._units = await units_by_id(connection)
            return [await self._book(row) for row in symbols]

    async def _book(self, row: Any) -> Book:
        name = (row["name"], row["symbol"], row["mode"])
        book = self._books.get(name)
        for _ in range(_TRIES):
            if book is not None and book.fills == await self._count(row["runs"]):
                self._books[name] = book
                return book
            if book is None or not await self._read(book, row["runs"]):
                book = self._new(row)
                await self._read(book, row["runs"])
            if book.fills != await self._count(row["runs"]):
                book = None  # a trade has come for an earlier time
        raise UserError(f"{name[0]} {name[1]}: trades come faster than they are booked")

    async def _count(self, runs: Sequence[int]) -> int:
        async with self._pool.acquire() as connection:
            return int(await connection.fetchval(_COUNT, runs))

    def _new(self, row: Any) -> Book:
        one = Decimal(1)
        market = Market(row["symbol"], row["base"], row["quote"], one, one, ZERO, ZERO)
        return Book(
            row["name"],
            row["mode"],
            row["account"],
            row["symbol"],
            row["quote"],
            LotBook(market, self._method),
        )

    async def _read(self, book: Book, runs: Sequence[int]) -> bool:
        """Book what came later; False where a trade is of the moment that was booked last."""
        same: list[FillRow] = []
        count = 0
        before = book.last
        async for row in self._history.ordered(runs, before):
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
