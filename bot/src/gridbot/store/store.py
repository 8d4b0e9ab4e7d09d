"""What the bot asks of its memory: grids, steps of the engine, halts, samples."""

import sqlite3
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import groupby
from json import dumps
from typing import Any

from gridbot.core.books import RECENT_FILLS
from gridbot.core.engine import Changes, GridEngine
from gridbot.core.orders import Fill, Order, OrderState, Role, Side
from gridbot.store import settled
from gridbot.store.database import Database, StoreError
from gridbot.store.records import (
    SELECT_GRID_RUNS,
    GridResult,
    GridRun,
    HaltRow,
    PauseRow,
    Sample,
    grid_run_of,
    grid_run_values,
    merged,
    result_text,
    sample_of,
    sample_values,
)
from gridbot.store.rows import (
    LEG_COLUMNS,
    ORDER_COLUMNS,
    PADDED_ID,
    SELECT_FILLS,
    fill_of,
    leg_of,
    order_of,
    write_changes,
)


class Store(Database):
    """The bot's memory. One writer at a time; readers do not block it."""

    # Grid runs.

    def grid_run(self, symbol: str) -> GridRun | None:
        """The latest grid of a symbol, running or closed; None before the first."""
        with self.reported():
            row = self._connection.execute(
                f"{SELECT_GRID_RUNS} WHERE symbol = ? ORDER BY id DESC LIMIT 1", (symbol,)
            ).fetchone()
        return None if row is None else grid_run_of(row)

    def grid_runs(self, symbol: str | None = None) -> Iterator[GridRun]:
        """All grids, of one symbol or of all, oldest first."""
        with self.reported():
            rows = self._connection.execute(
                f"{SELECT_GRID_RUNS} WHERE ? IS NULL OR symbol = ? ORDER BY id",
                (symbol, symbol),
            ).fetchall()
        return map(grid_run_of, rows)

    def symbols(self) -> list[str]:
        """Symbols of which there is or was a grid."""
        with self.reported():
            rows = self._connection.execute(
                "SELECT DISTINCT symbol FROM generations ORDER BY symbol"
            ).fetchall()
        return [row[0] for row in rows]

    def newest_grid_run(self) -> GridRun | None:
        """The latest grid of any symbol: the next one's id and tag come after its."""
        with self.reported():
            row = self._connection.execute(
                f"{SELECT_GRID_RUNS} ORDER BY id DESC LIMIT 1"
            ).fetchone()
        return None if row is None else grid_run_of(row)

    def start_grid_run(
        self, grid_run: GridRun, changes: Changes, previous: GridRun | None = None
    ) -> None:
        """Write down a new grid together with its first intents.

        Args:
            grid_run: the grid.
            changes: its first step.
            previous: the grid that it takes over from, with its end: both are written at once, so
                that what is held is never in no grid. None where it takes nothing over.

        Raises:
            StoreError: what that one left is not to be taken over any more.
        """
        with self.transaction() as connection:
            if previous is not None:
                _hand_over(connection, previous)
            connection.execute(
                "INSERT INTO generations VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,NULL,NULL)",
                grid_run_values(grid_run),
            )
            connection.execute(
                "INSERT INTO progress VALUES (?,?,NULL)", (grid_run.id, grid_run.trade_cursor)
            )
            if grid_run.watch is not None:
                _write_watch(connection, grid_run.id, grid_run.watch)
            write_changes(connection, grid_run.id, changes)

    def commit(
        self, grid_run_id: int, changes: Changes, watch: dict[str, Any] | None = None
    ) -> None:
        """Write down one step of the engine, and what the stop rules remember after it.

        Args:
            grid_run_id: the grid.
            changes: the step.
            watch: a JSON object; None leaves what is stored.
        """
        with self.transaction() as connection:
            write_changes(connection, grid_run_id, changes)
            if watch is not None:
                _write_watch(connection, grid_run_id, watch)

    def set_watch(self, grid_run_id: int, document: dict[str, Any]) -> None:
        """Write down what the stop rules remember (a JSON object)."""
        with self.transaction() as connection:
            _write_watch(connection, grid_run_id, document)

    def close_grid_run(
        self, grid_run_id: int, now_ms: int, result: GridResult | None = None
    ) -> None:
        """Mark a grid as ended, with what it was worth then."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE generations SET closed_ms = ?, closing = ? WHERE id = ?",
                (now_ms, result_text(result), grid_run_id),
            )

    def set_result(self, grid_run_id: int, result: GridResult) -> bool:
        """Change what the latest grid of a symbol leaves; whether no other has begun with it."""
        with self.transaction() as connection:
            changed = connection.execute(
                "UPDATE generations SET closing = ? WHERE id = ? AND NOT EXISTS (SELECT 1 FROM"
                " generations AS later WHERE later.symbol = generations.symbol"
                " AND later.id > generations.id)",
                (result_text(result), grid_run_id),
            ).rowcount
        return changed > 0

    # Reading back.

    def restore(self, grid_run_id: int, engine: GridEngine) -> None:
        """Give a new engine everything that is stored of its grid: what is settled as sums, first.

        Streams in the order of writing: memory holds only what the engine keeps.
        """
        with self.transaction("DEFERRED") as connection:
            totals = settled.totals(connection, grid_run_id)
            engine.restore_totals(totals)
            legs = connection.execute(
                f"SELECT {LEG_COLUMNS} FROM legs WHERE generation = ? ORDER BY rowid",  # noqa: S608  constant columns
                (grid_run_id,),
            )
            for row in legs:
                leg = leg_of(row)
                engine.restore_leg(leg)
                self._restore_orders(connection, engine, leg.id)
                if row[6]:
                    engine.restore_complete(leg.id, row[7])
                if leg.id in totals.matched:
                    engine.books.restore_matched(leg.id, totals.matched[leg.id])
            # Legs do not trade in the order in which they begin.
            latest = connection.execute(
                f"{SELECT_FILLS} WHERE f.generation = ? AND o.role = ?"
                f" ORDER BY f.time_ms DESC, {PADDED_ID} DESC LIMIT ?",
                (grid_run_id, Role.GRID, RECENT_FILLS),
            ).fetchall()
            engine.books.recent.clear()
            engine.books.recent.extend(fill_of(row[1:], Side(row[0])) for row in reversed(latest))

    @staticmethod
    def _restore_orders(connection: sqlite3.Connection, engine: GridEngine, leg: str) -> None:
        for _, rows in groupby(settled.leg_rows(connection, leg), lambda row: row.order.client_id):
            executed = Decimal(0)
            for row in rows:
                if row.fill is not None:
                    engine.restore_fill(leg, row.fill)
                    executed += row.fill.quantity
            engine.restore_order(row.order, executed)

    def orders(self, grid_run_id: int) -> list[Order]:
        """The orders of a grid that are not settled, oldest first."""
        with self.reported():
            rows = self._connection.execute(
                f"SELECT {ORDER_COLUMNS} FROM orders"  # noqa: S608 - constant columns
                " WHERE generation = ? ORDER BY rowid",
                (grid_run_id,),
            ).fetchall()
        return [order_of(row) for row in rows]

    def knows(self, client_id: str) -> bool:
        """Whether an order with this client order ID is in the books, of any grid."""
        with self.reported():
            row = self._connection.execute(
                "SELECT 1 FROM orders WHERE client_id = ?", (client_id,)
            ).fetchone()
            return row is not None or settled.knows(self._connection, client_id)

    def fills(self, grid_run_id: int) -> list[Fill]:
        """The fills of a grid that are not settled, oldest first."""
        with self.reported():
            rows = self._connection.execute(
                f"{SELECT_FILLS} WHERE f.generation = ? ORDER BY f.time_ms, {PADDED_ID}",
                (grid_run_id,),
            ).fetchall()
        return [fill_of(row[1:], Side(row[0])) for row in rows]

    def has_fill(self, grid_run_id: int, trade_id: str) -> bool:
        """Whether a trade of a grid is stored and not settled."""
        with self.reported():
            row = self._connection.execute(
                "SELECT 1 FROM fills WHERE generation = ? AND trade_id = ?",
                (grid_run_id, trade_id),
            ).fetchone()
        return row is not None

    def closed_order(self, grid_run_id: int, exchange_id: str) -> str | None:
        """Client order ID of a grid's order with this ID, where the books have it closed."""
        with self.reported():
            row = self._connection.execute(
                "SELECT client_id FROM orders WHERE generation = ? AND exchange_id = ?"
                " AND state NOT IN (?, ?)",
                (grid_run_id, exchange_id, OrderState.INTENDED, OrderState.OPEN),
            ).fetchone()
        return None if row is None else str(row[0])

    # Halts.

    def halt(
        self,
        symbol: str,
        *,
        reason_code: str,
        text: str,
        price: Decimal,
        at_ms: int,
        liquidate: bool = False,
        ends: tuple[int, dict[str, Any]] | None = None,
    ) -> None:
        """Write down that a kill switch has fired; the first one stands until it is cleared.

        Args:
            symbol: unified name.
            reason_code: which rule.
            text: one line for a person.
            price: price at which it fired (quote).
            at_ms: Unix milliseconds.
            liquidate: whether the base held is to be sold.
            ends: the grid that it ends, and what is remembered of that from now on (a JSON
                object): the grid comes to its end even where the switch is cleared before.
        """
        with self.transaction() as connection:
            if ends is not None:
                _write_watch(connection, *ends)
            connection.execute(
                "INSERT INTO halts (symbol, reason_code, text, price, at_ms, liquidate)"
                " SELECT ?,?,?,?,?,? WHERE NOT EXISTS"
                " (SELECT 1 FROM halts WHERE symbol = ? AND cleared_ms IS NULL)",
                (symbol, reason_code, text, str(price), at_ms, int(liquidate), symbol),
            )

    def open_halt(self, symbol: str) -> HaltRow | None:
        """The kill switch that has fired for a symbol and was not cleared."""
        with self.reported():
            row = self._connection.execute(
                "SELECT symbol, reason_code, text, price, at_ms, liquidate FROM halts"
                " WHERE symbol = ? AND cleared_ms IS NULL",
                (symbol,),
            ).fetchone()
        if row is None:
            return None
        return HaltRow(row[0], row[1], row[2], Decimal(row[3]), row[4], bool(row[5]))

    def clear_halt(self, symbol: str, now_ms: int) -> bool:
        """A person lets trading go on; whether there was anything to clear."""
        with self.transaction() as connection:
            changed = connection.execute(
                "UPDATE halts SET cleared_ms = ? WHERE symbol = ? AND cleared_ms IS NULL",
                (now_ms, symbol),
            ).rowcount
        return changed > 0

    # Pauses.

    def pause(self, symbol: str, *, reason: str, at_ms: int, cancel: bool = False) -> bool:
        """A person pauses a symbol's grid; the first reason stands until it goes on.

        Args:
            symbol: unified name.
            reason: one line for a person.
            at_ms: Unix milliseconds.
            cancel: its orders are taken back; once told, until it goes on.

        Returns:
            Whether that was new.
        """
        with self.transaction() as connection:
            new = connection.execute(
                "INSERT INTO pauses (symbol, reason, at_ms, cancel) VALUES (?,?,?,?)"
                " ON CONFLICT (symbol) WHERE cleared_ms IS NULL DO UPDATE SET cancel = 1"
                " WHERE excluded.cancel > cancel",
                (symbol, reason, at_ms, int(cancel)),
            ).rowcount
        return new > 0

    def open_pause(self, symbol: str) -> PauseRow | None:
        """The pause that a person has told a symbol's grid, as long as it lasts."""
        with self.reported():
            row = self._connection.execute(
                "SELECT symbol, reason, at_ms, cancel FROM pauses"
                " WHERE symbol = ? AND cleared_ms IS NULL",
                (symbol,),
            ).fetchone()
        return None if row is None else PauseRow(row[0], row[1], row[2], bool(row[3]))

    def stands_still(self, symbol: str) -> bool:
        """Whether a person or a kill switch has told a symbol's grid to send nothing more."""
        with self.reported():
            row = self._connection.execute(
                "SELECT EXISTS (SELECT 1 FROM pauses WHERE symbol = :symbol AND cleared_ms IS NULL)"
                " OR EXISTS (SELECT 1 FROM halts WHERE symbol = :symbol AND cleared_ms IS NULL)",
                {"symbol": symbol},
            ).fetchone()
        return bool(row[0])

    def clear_pause(self, symbol: str, now_ms: int) -> bool:
        """A person lets a grid go on; whether it was paused."""
        with self.transaction() as connection:
            changed = connection.execute(
                "UPDATE pauses SET cleared_ms = ? WHERE symbol = ? AND cleared_ms IS NULL",
                (now_ms, symbol),
            ).rowcount
        return changed > 0

    # What was seen of the price.

    def sample(self, samples: Iterable[Sample]) -> None:
        """Write down what was seen of the price; parts of one hour are put together."""
        written = list(samples)
        if not written:
            return  # the usual case: the hour is not over
        with self.transaction() as connection:
            for sample in written:
                row = connection.execute(
                    "SELECT * FROM samples WHERE symbol = ? AND hour_ms = ?",
                    (sample.symbol, sample.hour_ms),
                ).fetchone()
                whole = sample if row is None else merged(sample_of(row), sample)
                connection.execute(
                    "INSERT OR REPLACE INTO samples VALUES (?,?,?,?,?,?,?,?)",
                    sample_values(whole),
                )

    def samples(self, symbol: str) -> Iterator[Sample]:
        """The hours that were seen of a symbol, oldest first."""
        with self.reported():
            rows = self._connection.execute(
                "SELECT * FROM samples WHERE symbol = ? ORDER BY hour_ms", (symbol,)
            )
            for row in rows:
                yield sample_of(row)


def _hand_over(connection: sqlite3.Connection, previous: GridRun) -> None:
    """End the grid before; one that has ended may have been told meanwhile to leave nothing."""
    ended = connection.execute(
        "UPDATE generations SET closed_ms = ?, closing = ? WHERE id = ? AND closed_ms IS NULL",
        (previous.closed_ms, result_text(previous.result), previous.id),
    ).rowcount
    leaves = connection.execute(
        "SELECT json_extract(closing, '$.takes_over') FROM generations WHERE id = ?",
        (previous.id,),
    ).fetchone()
    if not ended and not leaves[0]:
        raise StoreError(
            f"{previous.symbol}: what the grid before left is not to be taken over any more",
            lasting=False,
        )


def _write_watch(
    connection: sqlite3.Connection, grid_run_id: int, document: dict[str, Any]
) -> None:
    connection.execute(
        "UPDATE progress SET watch = ? WHERE generation = ?",
        (dumps(document, sort_keys=True), grid_run_id),
    )
