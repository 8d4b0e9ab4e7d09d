"""Everything that was ever traded on a symbol. Streamed."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gridbot.accounting.settle import positions_of, unsettled_positions
from gridbot.core.orders import Fill, Role
from gridbot.store import GridRun, Store, StoreError, TradeRow, old_archive, settled

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
        rows = settled.latest(connection, grid_run.id, count)
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
