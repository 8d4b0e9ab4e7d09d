"""Moves closed positions from the database to the archive, so that neither disk nor start grow.

A position is a matched pair (a buy leg and the sell leg that answers it) or an initial sell with
its share of the initial trade. In this order, so that a cut at any moment loses none and keeps
none twice:

1. the rows are appended to the archive's file and are on the disk;
2. one transaction deletes them from the database and records the file's new length, its checksum
   and the sums that the books need.

Before 2 the rows are in the database, and whatever stands beyond the recorded length of a file
does not count: the next run cuts it off. After 2 they are in the archive.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from gridbase.market import EXACT

from gridbot.accounting.archive_files import CSV, PARQUET, append, file_name, require_format
from gridbot.core.books import Books, LegBook
from gridbot.core.engine import GridEngine
from gridbot.core.orders import Role
from gridbot.core.settled_totals import Totals
from gridbot.store import FileRecord, GridRun, Store, TradeRow, archived
from gridbot.store.archived import ClosedPair

DIRECTORY = "archive"
BATCH = 200
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class ArchiveRules:
    """When positions leave the database, and for what.

    Attributes:
        positions: most closed positions of a symbol that the database keeps.
        form: ``csv`` or ``parquet``.
        prune_days: grids that ended longer ago leave the database as a whole.
    """

    positions: int = 1000
    form: str = CSV
    prune_days: int = 400

    def __post_init__(self) -> None:
        if self.form not in {CSV, PARQUET} or self.positions < 1 or self.prune_days < 1:
            raise ValueError(f"rules of the archive: {self}")


class Archivist:
    """Keeps the database of one bot small.

    Args:
        store: the state, opened for writing.
        rules: when to archive.

    Raises:
        UserError: the format cannot be written here.
    """

    def __init__(self, store: Store, rules: ArchiveRules) -> None:
        require_format(rules.form)
        self.directory = store.directory / DIRECTORY
        self._store = store
        self._rules = rules
        self._known: dict[str, _Known] = {}

    def run(self, grid_run: GridRun, engine: GridEngine, now_ms: int) -> int:
        """Archive what is due of a symbol; looks at the disk only where something is.

        Grids that ended come first, the oldest positions of the running one after them.

        Args:
            grid_run: the symbol's running grid.
            engine: its engine; tells how many positions are closed.
            now_ms: time (Unix milliseconds).

        Returns:
            Number of positions that were archived.

        Raises:
            StoreError: the archive or the database cannot be written.
        """
        # Taken out and put back: after a failure in between the database is asked again.
        known = self._known.pop(grid_run.symbol, None)
        if known is None or known.grid_run != grid_run.id:
            known = self._look(grid_run)
        moved = self._archive_due(known, grid_run, engine, now_ms)
        self._known[grid_run.symbol] = known
        return moved

    def _archive_due(
        self, known: "_Known", grid_run: GridRun, engine: GridEngine, now_ms: int
    ) -> int:
        moved = 0
        for old in list(known.ended):
            positions = known.pairs + engine.books.sells - known.archived
            if positions > self._rules.positions or old.ended_ms < now_ms - self._days_ms:
                moved += self._archive_ended(old.grid_run)
                known.ended.remove(old)
                known.pairs -= old.pairs
        excess = known.pairs + engine.books.sells - known.archived - self._rules.positions
        if excess > 0:
            # A tenth more than it must, so that the next nine runs find nothing to do.
            count = min(excess + self._rules.positions // 10, engine.books.sells - known.archived)
            done = self._archive_oldest(grid_run, engine, count)
            known.archived += done
            moved += done
        return moved

    @property
    def _days_ms(self) -> int:
        return self._rules.prune_days * _DAY_MS

    def _look(self, grid_run: GridRun) -> "_Known":
        with self._store.transaction("DEFERRED") as connection:
            ended = [
                _Ended(other, closed_ms, archived.count_pairs(connection, other.id))
                for other, closed_ms in self._ended(connection, grid_run)
            ]
            sums = archived.totals(connection, grid_run.id)
        return _Known(grid_run.id, sums.sells, ended, sum(old.pairs for old in ended))

    def _ended(
        self, connection: sqlite3.Connection, grid_run: GridRun
    ) -> list[tuple[GridRun, int]]:
        left = dict(archived.unarchived(connection, grid_run.symbol))
        left.pop(grid_run.id, None)
        grids = self._store.grid_runs(grid_run.symbol)
        return [(grid, left[grid.id]) for grid in grids if grid.id in left]

    def _archive_oldest(self, grid_run: GridRun, engine: GridEngine, count: int) -> int:
        done = 0
        while done < count:
            batch = _Batch(self._store, self.directory, self._rules.form, grid_run, engine)
            moved = batch.move_pairs(min(BATCH, count - done))
            if moved == 0:
                break
            done += moved
        return done

    def _archive_ended(self, grid_run: GridRun) -> int:
        """All of a grid that ended: its positions, then what never became one."""
        done = 0
        while True:
            batch = _Batch(self._store, self.directory, self._rules.form, grid_run, None)
            moved = batch.move_pairs(BATCH)
            if moved == 0:
                batch.move_rest()
                return done
            done += moved


@dataclass(frozen=True)
class _Ended:
    grid_run: GridRun
    ended_ms: int
    pairs: int


@dataclass
class _Known:
    """What the archivist need not ask the database for at each run."""

    grid_run: int
    archived: int
    ended: list[_Ended]
    pairs: int


class _Batch:
    """One move of some positions of one grid."""

    def __init__(
        self,
        store: Store,
        directory: Path,
        form: str,
        grid_run: GridRun,
        engine: GridEngine | None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._form = form
        self._grid_run = grid_run
        self._engine = engine
        self._rows: defaultdict[int, list[TradeRow]] = defaultdict(list)  # by year
        self._legs: list[str] = []

    def move_pairs(self, count: int) -> int:
        """Archive the positions that were closed first; how many there were."""
        with self._store.transaction("DEFERRED") as connection:
            pairs = archived.closed_pairs(connection, self._grid_run.id, count)
            if not pairs:
                return 0
            totals = archived.totals(connection, self._grid_run.id)
            books = self._books(connection, totals, pairs)
            for pair in pairs:
                self._collect_pair(connection, books, pair)
        self._commit(self._totals(totals, books), whole=False)
        return len(pairs)

    def move_rest(self) -> None:
        """Archive what is left of a grid that ended."""
        with self._store.transaction("DEFERRED") as connection:
            totals = archived.totals(connection, self._grid_run.id)
            year = _year(self._grid_run.closed_ms or self._grid_run.started_ms)
            for leg in archived.leg_ids(connection, self._grid_run.id):
                self._legs.append(leg)
                self._rows[year] += archived.leg_rows(connection, self._grid_run.id, leg)
        rows = [row for part in self._rows.values() for row in part]
        self._commit(replace(totals, attempts=_attempts(totals.attempts, rows)), whole=True)

    def _books(
        self, connection: sqlite3.Connection, totals: Totals, pairs: list[ClosedPair]
    ) -> Books:
        """Books that hold the archive's sums and the initial legs that positions share."""
        market = self._grid_run.market
        books = Books(market.base, market.quote, self._grid_run.investment)
        books.restore_totals(totals)
        for parent in {pair.parent for pair in pairs}:
            stored = archived.stored_leg(connection, parent)
            if stored.leg.role is Role.INITIAL:
                whole = self._initial(connection, stored)
                matched = totals.matched.get(parent, Decimal(0))
                books.legs[parent] = replace(whole, matched=matched)
        return books

    def _initial(self, connection: sqlite3.Connection, stored: archived.StoredLeg) -> LegBook:
        """What an initial leg has traded and carried: of the running grid, the engine knows it."""
        if self._engine is not None and stored.leg.id in self._engine.books.legs:
            return self._engine.books.legs[stored.leg.id]
        grid = self._grid_run
        books = Books(grid.market.base, grid.market.quote, grid.investment)
        books.open_leg(stored.leg)
        if grid.carried:
            books.carry(stored.leg.id, grid.carried, grid.carried_cost)
        for row in archived.leg_rows(connection, grid.id, stored.leg.id):
            if row.fill is not None:
                books.apply(stored.leg.id, row.fill)
        books.complete(stored.leg.id, stored.shares)
        return books.legs[stored.leg.id]

    def _collect_pair(self, connection: sqlite3.Connection, books: Books, pair: ClosedPair) -> None:
        """Take a position's rows, and book them as the engine has."""
        if self._engine is not None and pair.sell in self._engine.books.legs:
            raise AssertionError(f"leg {pair.sell} is closed in the store and open in the books")
        initial = pair.parent in books.legs
        rows: list[TradeRow] = []
        before = books.grid_profit
        for leg_id in [pair.sell] if initial else [pair.parent, pair.sell]:
            books.open_leg(archived.stored_leg(connection, leg_id).leg)
            for row in archived.leg_rows(connection, self._grid_run.id, leg_id, pair.sell):
                rows.append(row)
                if row.fill is not None:
                    books.apply(leg_id, row.fill)
            books.complete(leg_id)
            self._legs.append(leg_id)
        profit = EXACT.subtract(books.grid_profit, before)
        # An order that was closed before it traded may come last.
        last = max((at for at, row in enumerate(rows) if row.fill is not None), default=-1)
        rows[last] = replace(rows[last], profit=profit)
        self._rows[_year(pair.time_ms)] += rows

    def _totals(self, before: Totals, books: Books) -> Totals:
        rows = [row for part in self._rows.values() for row in part]
        taken = {leg: book.matched for leg, book in books.legs.items() if book.matched}
        return Totals(
            flows=books.flows,
            fees=books.fees,
            fees_in_quote=books.fees_in_quote,
            grid_profit=books.grid_profit,
            buys=books.buys,
            sells=books.sells,
            matched=before.matched | taken,
            attempts=_attempts(before.attempts, rows),
        )

    def _commit(self, totals: Totals, *, whole: bool) -> None:
        """First the files, then the transaction that makes them count."""
        with self._store.reported(), self._store.transaction("DEFERRED") as connection:
            known = archived.records(connection, self._grid_run.symbol)
        files = [
            append(self._directory, self._record(known, year), rows)
            for year, rows in sorted(self._rows.items())
            if rows
        ]
        with self._store.transaction() as connection:
            archived.remove_legs(connection, self._legs)
            archived.save(connection, self._grid_run.id, totals, files, whole=whole)

    def _record(self, known: list[FileRecord], year: int) -> FileRecord:
        symbol = self._grid_run.symbol
        batches = sum(f.year == year and f.name.endswith(PARQUET) for f in known)
        name = file_name(symbol, year, self._form, batches + 1)
        found = [record for record in known if record.name == name]
        return found[0] if found else FileRecord(name, symbol, year)


def _year(time_ms: int) -> int:
    return datetime.fromtimestamp(time_ms / 1000, UTC).year


def _attempts(before: dict[str, int], rows: Iterable[TradeRow]) -> dict[str, int]:
    """Highest running number at each place: what an order's name ends with."""
    attempts = dict(before)
    for row in rows:
        place = row.order.client_id.rsplit("-", 1)[-1].removesuffix(str(row.order.attempt))
        attempts[place] = max(row.order.attempt, attempts.get(place, 0))
    return attempts
