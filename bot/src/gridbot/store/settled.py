"""Closed positions: their rows stay in the database, in a table that no start reads."""

import re
import sqlite3
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from gridbot.core.orders import ID_WIDTH, Leg, Role, Side
from gridbot.core.settled_totals import Totals, totals_of, totals_text
from gridbot.store.records import SELECT_GRID_RUNS, GridRun, TradeRow, grid_run_of
from gridbot.store.rows import LEG_COLUMNS, PADDED_ID, fill_of, leg_of, order_of

COLUMNS = (
    "generation", "pair", "leg", "role", "side", "line", "order", "cycle", "exchange_id", "state",
    "order_price", "order_quantity", "created_ms", "trade_id", "time_ms", "price", "quantity",
    "quote", "fee", "fee_coin", "maker", "profit",
)  # fmt: skip
BY_TIME = f'ORDER BY coalesce(time_ms, created_ms), {PADDED_ID}, "order"'

# Its sell leg, its last trade, and the profit that goes there (quote).
Position = tuple[str, str | None, str | None]
NONE: Position = ("", None, None)

_PLACE = re.compile(r"(?P<tag>[0-9a-z]+)-(?P<place>\d*[a-z])(?P<cycle>\d+)")
_NAMES = ", ".join(f'"{name}"' for name in COLUMNS)
# The same columns of what is not settled. Its parameters: a position.
_UNSETTLED = (
    "SELECT o.generation, ?, o.leg, o.role, o.side, o.line, o.client_id, o.cycle, o.exchange_id,"
    " o.state, o.price, o.quantity, o.created_ms, f.trade_id, f.time_ms, f.price, f.quantity,"
    " f.quote, f.commission, f.commission_coin, f.maker, CASE f.trade_id WHEN ? THEN ? END"
    " FROM orders o LEFT JOIN fills f USING (client_id)"
)
_OF_LEG = f"{_UNSETTLED} WHERE o.leg = ? ORDER BY o.rowid, f.time_ms, {PADDED_ID}"
_LATEST = (
    f"{_UNSETTLED} WHERE o.generation = ? AND f.trade_id IS NOT NULL"
    f" AND (? IS NULL OR (f.time_ms, {PADDED_ID}) < (?, printf('%{ID_WIDTH}s', ?)))"
    f" ORDER BY f.time_ms DESC, {PADDED_ID} DESC LIMIT ?"
)
_OLDER = (
    f"SELECT rowid, {_NAMES} FROM settled WHERE generation = ? AND rowid < ?"  # noqa: S608  constant columns
    " AND trade_id IS NOT NULL ORDER BY rowid DESC LIMIT ?"
)
_EVERY = (
    f"SELECT * FROM (SELECT {_NAMES} FROM settled UNION ALL {_UNSETTLED})"  # noqa: S608  constant columns
    " WHERE generation IN (SELECT id FROM generations WHERE symbol = ? AND id = coalesce(?, id)) "
)
INSERT = f"INSERT INTO settled ({_NAMES}) "


def cells(
    connection: sqlite3.Connection, symbol: str, grid_run: int | None = None, order: str = ""
) -> Iterator[tuple[Any, ...]]:
    """Every order of a symbol, or of one grid of it, with its trades, in the order of `COLUMNS`.

    What is not settled has neither pair nor profit.
    """
    return connection.execute(_EVERY + order, (*NONE, symbol, grid_run))


def leg_rows(connection: sqlite3.Connection, leg: str) -> Iterator[TradeRow]:
    """The orders of a leg that is not settled and their trades, in the order of writing."""
    return map(trade_row, connection.execute(_OF_LEG, (*NONE, leg)).fetchall())


def latest(
    connection: sqlite3.Connection, grid_run: int, count: int, before: tuple[int, str] | None = None
) -> list[TradeRow]:
    """The latest trades of a grid that are not settled, newest first.

    Args:
        connection: to the books.
        grid_run: which grid.
        count: how many at most.
        before: time (Unix milliseconds) and ID of a trade: only those before it.
    """
    at_ms, trade_id = before or (None, None)
    values = (*NONE, grid_run, at_ms, at_ms, trade_id, count)
    return list(map(trade_row, connection.execute(_LATEST, values)))


def older(
    connection: sqlite3.Connection, grid_run: int, count: int, before: int
) -> list[tuple[int, TradeRow]]:
    """Settled trades of a grid with their row IDs, the last settled first; no sort, no count."""
    found = connection.execute(_OLDER, (grid_run, before, count))
    return [(rowid, trade_row(row)) for rowid, *row in found]


def pairs_of(connection: sqlite3.Connection, legs: Iterable[str]) -> list[tuple[str, str]]:
    """Those of these legs that close a position, each with its parent."""
    marks = ", ".join("?" * len(found := list(legs)))
    return connection.execute(
        f"SELECT id, parent FROM legs WHERE id IN ({marks})"  # noqa: S608  marks alone
        " AND complete AND side = ? AND role = ? ORDER BY rowid",
        (*found, Side.SELL, Role.GRID),
    ).fetchall()


def trade_row(row: tuple[Any, ...]) -> TradeRow:
    """A row of `COLUMNS` as a record."""
    grid_run, pair, leg, role, side, line, name, attempt, exchange_id, state, *rest = row
    price, quantity, created_ms, trade_id, time_ms, *traded, coin, maker, profit = rest
    order = order_of(
        (name, leg, role, side, line, attempt, price, quantity, state, exchange_id, created_ms)
    )
    fill = None
    if trade_id is not None:
        fill = fill_of((trade_id, name, *traded, coin, time_ms, maker), order.side)
    return TradeRow(grid_run, pair, order, fill, None if profit is None else Decimal(profit))


def totals(connection: sqlite3.Connection, grid_run: int) -> Totals:
    """Sums over what is settled of a grid."""
    row = connection.execute(
        "SELECT totals FROM settled_totals WHERE generation = ?", (grid_run,)
    ).fetchone()
    return Totals() if row is None else totals_of(row[0])


def knows(connection: sqlite3.Connection, client_id: str) -> bool:
    """Whether an order with this client order ID may be settled, by its running number."""
    match = _PLACE.fullmatch("-".join(client_id.rsplit("-", 2)[1:]))
    if match is None:
        return False
    row = connection.execute(
        "SELECT totals FROM settled_totals JOIN generations ON id = generation WHERE tag = ?",
        (match["tag"],),
    ).fetchone()
    if row is None:
        return False
    return int(match["cycle"]) <= totals_of(row[0]).attempts.get(match["place"], 0)


def unsettled(connection: sqlite3.Connection, symbol: str) -> list[GridRun]:
    """Grids of a symbol that are not settled as a whole, oldest first."""
    rows = connection.execute(
        f"{SELECT_GRID_RUNS} WHERE symbol = ?"  # noqa: S608  constant columns
        " AND id NOT IN (SELECT generation FROM settled_totals WHERE whole) ORDER BY id",
        (symbol,),
    )
    return list(map(grid_run_of, rows))


def closed_pairs(
    connection: sqlite3.Connection, grid_run: int, count: int
) -> list[tuple[str, str]]:
    """The positions of a grid that were closed first, and are not settled: sell leg and parent.

    The parent is the pair's buy, or an initial leg. A count below 0 is no limit.
    """
    return connection.execute(
        "SELECT l.id, l.parent FROM legs l"  # noqa: S608  constant columns
        " JOIN orders o ON o.leg = l.id LEFT JOIN fills f ON f.client_id = o.client_id"
        " WHERE l.generation = ? AND l.complete AND l.side = ? AND l.role = ?"
        " GROUP BY l.id ORDER BY max(coalesce(f.time_ms, o.updated_ms)),"
        f" max({PADDED_ID}) LIMIT ?",
        (grid_run, Side.SELL, Role.GRID, count),
    ).fetchall()


def leg_ids(connection: sqlite3.Connection, grid_run: int) -> list[str]:
    """All legs of a grid that are not settled, oldest first."""
    rows = connection.execute(
        "SELECT id FROM legs WHERE generation = ? ORDER BY rowid", (grid_run,)
    )
    return [row[0] for row in rows]


def stored_leg(connection: sqlite3.Connection, leg: str) -> tuple[Leg, int]:
    """One leg that is not settled, and the number of sells that share its cost."""
    row = connection.execute(
        f"SELECT {LEG_COLUMNS} FROM legs WHERE id = ?",  # noqa: S608 - constant columns
        (leg,),
    ).fetchone()
    return leg_of(row), row[7]


def move(connection: sqlite3.Connection, leg: str, position: Position = NONE) -> None:
    """Settle a leg with its orders and trades."""
    connection.execute(INSERT + _OF_LEG, (*position, leg))
    connection.execute(
        "DELETE FROM fills WHERE client_id IN (SELECT client_id FROM orders WHERE leg = ?)", (leg,)
    )
    connection.execute("DELETE FROM orders WHERE leg = ?", (leg,))
    connection.execute("DELETE FROM legs WHERE id = ?", (leg,))


def save(connection: sqlite3.Connection, grid_run: int, sums: Totals, *, whole: bool) -> None:
    """Write down the sums over what is settled of a grid."""
    connection.execute(
        "INSERT OR REPLACE INTO settled_totals VALUES (?,?,?)",
        (grid_run, totals_text(sums), int(whole)),
    )
