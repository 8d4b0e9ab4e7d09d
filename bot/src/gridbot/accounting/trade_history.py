"""Everything that was ever traded on a symbol. Streamed."""

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

from gridbot.accounting.settle import unsettled_positions
from gridbot.core.orders import Fill
from gridbot.store import Store, StoreError, TradeRow, old_archive, settled

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
