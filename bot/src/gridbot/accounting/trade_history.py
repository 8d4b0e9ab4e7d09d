"""Everything that was ever traded on a symbol. Streamed."""

import re
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gridbot.accounting.settle import positions_of, unsettled_positions
from gridbot.core.orders import Fill, Role
from gridbot.store import GridRun, Store, StoreError, TradeRow, old_archive, settled

_LAST_ROW = 2**62
_PLACE = re.compile(r"s(?P<row>[0-9]{1,18})|(?P<at_ms>[0-9]{1,16})-(?P<trade_id>.{1,80})")
_TRADE_ID = settled.COLUMNS.index("trade_id")


def cells(
    store: Store, symbol: str, grid_run: int | None = None, order: str = ""
) -> Generator[tuple[Any, ...]]:
    """Every order with its trades, in the columns of the export, as of one moment.

    Until the last row is taken, the database is only read from.

    Args:
        store: the books, opened for reading.
        symbol: unified name.
        grid_run: only this grid's.
        order: an ORDER BY of SQL. What is too much for SQLite's memory is sorted in temporary
            files (in TMPDIR).

    Raises:
        StoreError: the database cannot be read, or files of an older version are not in it yet.
    """
    with store.transaction("DEFERRED") as connection:
        for name, _, _ in old_archive.files(connection, symbol):
            raise StoreError(
                f"archive {name} of an older gridbot is not in {store.path} yet; start the bot "
                "once, which takes it over or says what is wrong with it",
                lasting=True,
            )
        positions = unsettled_positions(connection, symbol)
        for row in settled.cells(connection, symbol, grid_run, order):
            number, pair, leg, *rest, profit = row
            if leg in positions:
                pair, last, earned = positions[leg]
                profit = earned if last == row[_TRADE_ID] else None
            yield number, pair, leg, *rest, profit


def rows(
    store: Store, symbol: str, grid_run: int | None = None, order: str = ""
) -> Iterator[TradeRow]:
    """The same as records; see `cells`."""
    with closing(cells(store, symbol, grid_run, order)) as every:
        yield from map(settled.trade_row, every)


def trades(store: Store, symbol: str) -> Iterator[tuple[TradeRow, Fill]]:
    """Every trade in the order of time, from any grid of a symbol."""
    for row in rows(store, symbol, order=settled.BY_TIME):
        if row.fill is not None:
            yield row, row.fill


@dataclass(frozen=True)
class Traded:
    """A trade for people.

    Attributes:
        fill: the trade.
        role: of its order: the initial purchase, a step of the grid, or the liquidation.
        profit: what its matched pair earned (quote), on the pair's last trade; else None.
    """

    fill: Fill
    role: Role
    profit: Decimal | None


def latest(store: Store, grid_run: GridRun, count: int) -> list[Traded]:
    """The latest trades of a grid that are not settled, newest first.

    More of them are kept than a page shows: it reads a few rows, whatever the books hold.

    Raises:
        StoreError: the database cannot be read.
    """
    with store.transaction("DEFERRED") as connection:
        return _unsettled(connection, grid_run, count, None)


@dataclass(frozen=True)
class Place:
    """Where a page of trades ends: behind one that is not settled, or in what is settled.

    Attributes:
        at_ms: time of the trade (Unix milliseconds).
        trade_id: its ID.
        row: the row that was settled later than all that follow; None: the trade is not settled.
    """

    at_ms: int = 0
    trade_id: str = ""
    row: int | None = None


def place_of(text: str) -> Place | None:
    """A place as `str` of it was written; None where it is none."""
    match = _PLACE.fullmatch(text)
    if match is None:
        return None
    if match["row"]:
        return Place(row=int(match["row"]))
    return Place(int(match["at_ms"]), match["trade_id"])


def text_of(place: Place) -> str:
    """A place as text."""
    return f"{place.at_ms}-{place.trade_id}" if place.row is None else f"s{place.row}"


def page(
    store: Store, grid_run: GridRun, count: int, after: Place | None = None
) -> tuple[list[Traded], Place | None]:
    """All trades of a grid by pages: newest first, then pair by pair, the last settled first.

    It reads as many rows as it gives, however many there are.

    Args:
        store: the books, opened for reading.
        grid_run: whose trades.
        count: how many at most, from 1 on.
        after: where the page before ended.

    Returns:
        The trades, and where they end; None where none follow. What is settled between two pages
        may come twice.

    Raises:
        StoreError: the database cannot be read.
    """
    found: list[tuple[Place, Traded]] = []
    row = after.row if after is not None and after.row is not None else _LAST_ROW
    with store.transaction("DEFERRED") as connection:
        if after is None or after.row is None:
            before = None if after is None else (after.at_ms, after.trade_id)
            rows = _unsettled(connection, grid_run, count + 1, before)
            found += [(Place(one.fill.time_ms, one.fill.trade_id), one) for one in rows]
        if len(found) <= count:
            older = settled.older(connection, grid_run.id, count + 1 - len(found), row)
            found += [
                (Place(row=number), Traded(one.fill, one.order.role, one.profit))
                for number, one in older
                if one.fill is not None  # none is: what never traded is not asked for
            ]
    last = found[count - 1][0] if len(found) > count else None
    return [one for _, one in found[:count]], last


def _unsettled(
    connection: sqlite3.Connection, grid_run: GridRun, count: int, before: tuple[int, str] | None
) -> list[Traded]:
    rows = settled.latest(connection, grid_run.id, count, before)
    pairs = settled.pairs_of(connection, {row.order.leg for row in rows})
    positions = positions_of(connection, grid_run, pairs)
    traded = []
    for row in rows:
        if row.fill is None:
            continue
        _, last, earned = positions.get(row.order.leg, settled.NONE)
        ends = earned is not None and last == row.fill.trade_id
        profit = Decimal(earned) if earned is not None and ends else None
        traded.append(Traded(row.fill, row.order.role, profit))
    return traded
