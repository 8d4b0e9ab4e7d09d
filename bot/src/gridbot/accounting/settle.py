"""Settles closed positions, so that the start reads as much after years as after a week.

A position is a matched pair (a buy leg and the sell leg that answers it) or an initial sell with
its share of the initial trade. One transaction moves its rows to the table of what is settled and
adds them to the sums that the books begin with.
"""

import sqlite3
from dataclasses import dataclass, replace
from decimal import Decimal

from gridbase.market import EXACT

from gridbot.core.books import Books, LegBook
from gridbot.core.engine import GridEngine
from gridbot.core.orders import Leg, Order, Role, order_place
from gridbot.core.settled_totals import Totals
from gridbot.store import GridRun, Store, settled
from gridbot.store.old_archive import take_over, take_over_each
from gridbot.store.settled import Position

# Closed positions of a symbol that a start reads: more than the latest trades that the page shows.
KEPT = 1000
# A step waits for no more than so many.
BATCH = 200


@dataclass
class _Known:
    """What need not be asked for at each step: the grid, its settled positions, ended grids."""

    grid_run: int
    settled: int
    ended: list[GridRun]


class Settler:
    """Settles what is closed in the books of one bot.

    Args:
        store: the state, opened for writing.
        kept: closed positions of the running grid that are not settled.
    """

    def __init__(self, store: Store, kept: int = KEPT) -> None:
        self._store = store
        self._kept = kept
        self._known: dict[str, _Known] = {}
        self._left = take_over_each(store)

    def run(self, grid_run: GridRun, engine: GridEngine) -> int:
        """Settle a batch of a symbol where one is due; else the database is not asked.

        Grids that ended come first, each as a whole; the oldest positions of the running one after
        them.

        Args:
            grid_run: the symbol's running grid.
            engine: its engine; tells how many positions are closed.

        Returns:
            Number of positions that were settled.

        Raises:
            StoreError: the database cannot be written, or files of an older version's archive
                cannot be read.
        """
        if grid_run.symbol in self._left:
            take_over(self._store, grid_run.symbol)
            self._left.discard(grid_run.symbol)
        # Taken out and put back: after a failure in between the database is asked again.
        known = self._known.pop(grid_run.symbol, None)
        if known is None or known.grid_run != grid_run.id:
            with self._store.transaction("DEFERRED") as connection:
                left = settled.unsettled(connection, grid_run.symbol)
                ended = [one for one in left if one.closed_ms is not None]
                known = _Known(grid_run.id, settled.totals(connection, grid_run.id).sells, ended)
        count = 0
        excess = engine.books.sells - known.settled - self._kept
        if known.ended:
            count = self._settle(known.ended[0], BATCH)
            if count < BATCH:
                del known.ended[0]
        elif excess > 0:
            # A tenth more than it must, so that the next nine runs find nothing to do.
            count = self._settle(grid_run, min(excess + self._kept // 10, BATCH))
            known.settled += count
        self._known[grid_run.symbol] = known
        return count

    def _settle(self, grid_run: GridRun, count: int) -> int:
        """The positions that were closed first; of a grid that ended, the rest with the last."""
        with self._store.transaction() as connection:
            pairs = settled.closed_pairs(connection, grid_run.id, count)
            batch = _Batch(connection, grid_run)
            for sell, parent in pairs:
                for leg, position in batch.book_pair(sell, parent).items():
                    settled.move(connection, leg, position)
            whole = grid_run.closed_ms is not None and len(pairs) < count
            if whole:
                batch.settle_rest()
            settled.save(connection, grid_run.id, batch.totals, whole=whole)
        return len(pairs)


def unsettled_positions(connection: sqlite3.Connection, symbol: str) -> dict[str, Position]:
    """Closed positions that are not settled, by each of their legs."""
    positions: dict[str, Position] = {}
    for grid_run in settled.unsettled(connection, symbol):
        pairs = settled.closed_pairs(connection, grid_run.id, -1)
        positions |= positions_of(connection, grid_run, pairs)
    return positions


def positions_of(
    connection: sqlite3.Connection, grid_run: GridRun, pairs: list[tuple[str, str]]
) -> dict[str, Position]:
    """The closed positions of these pairs (sell leg and parent) that are not settled."""
    batch = _Batch(connection, grid_run)
    positions: dict[str, Position] = {}
    for sell, parent in pairs:
        positions |= batch.book_pair(sell, parent)
    return positions


class _Batch:
    """Some positions of one grid, inside of the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, grid_run: GridRun) -> None:
        self._connection = connection
        self._grid_run = grid_run
        self._before = settled.totals(connection, grid_run.id)
        self._attempts = dict(self._before.attempts)
        # Holds the sums, and the initial legs that positions share.
        self._books = Books(grid_run.market.base, grid_run.market.quote, grid_run.investment)
        self._books.restore_totals(self._before)

    @property
    def totals(self) -> Totals:
        """The sums with what was settled here."""
        books = self._books
        taken = {leg: book.matched for leg, book in books.legs.items() if book.matched}
        return Totals(
            flows=books.flows,
            fees=books.fees,
            fees_in_quote=books.fees_in_quote,
            grid_profit=books.grid_profit,
            buys=books.buys,
            sells=books.sells,
            matched=self._before.matched | taken,
            attempts=self._attempts,
        )

    def book_pair(self, sell: str, parent: str) -> dict[str, Position]:
        """Book a position as the engine has; by each of its legs that is no other's too."""
        books = self._books
        if parent not in books.legs and self._leg(parent)[0].role is Role.INITIAL:
            books.legs[parent] = self._initial(parent)
        legs = [sell] if parent in books.legs else [parent, sell]
        before, last = books.grid_profit, None
        for leg in legs:
            last = self._book(books, leg) or last
            books.complete(leg)
        profit = str(EXACT.subtract(books.grid_profit, before))
        return dict.fromkeys(legs, (sell, last, profit))

    def settle_rest(self) -> None:
        """Settle what never became a position."""
        for leg in settled.leg_ids(self._connection, self._grid_run.id):
            for row in settled.leg_rows(self._connection, leg):
                self._count(row.order)
            settled.move(self._connection, leg)

    def _initial(self, leg: str) -> LegBook:
        """What an initial leg has traded and carried."""
        grid = self._grid_run
        books = Books(grid.market.base, grid.market.quote, grid.investment)
        self._book(books, leg)
        if grid.carried:
            books.carry(leg, grid.carried, grid.carried_cost)
        books.complete(leg, self._leg(leg)[1])
        return replace(books.legs[leg], matched=self._before.matched.get(leg, Decimal(0)))

    def _leg(self, leg: str) -> tuple[Leg, int]:
        return settled.stored_leg(self._connection, leg)

    def _book(self, books: Books, leg: str) -> str | None:
        """Open a leg with its trades; the last one's ID."""
        books.open_leg(self._leg(leg)[0])
        last = None
        for row in settled.leg_rows(self._connection, leg):
            self._count(row.order)
            if row.fill is not None:
                books.apply(leg, row.fill)
                last = row.fill.trade_id
        return last

    def _count(self, order: Order) -> None:
        """Remember the highest running number at each place: what an order's name ends with."""
        place = order_place(order.role, order.line, order.side)
        self._attempts[place] = max(order.attempt, self._attempts.get(place, 0))
