"""What the database knows of the archive, and what it gives to it."""

import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gridbot.core.orders import Leg, Role, Side
from gridbot.core.settled_totals import Totals, totals_of, totals_text
from gridbot.store.records import FileRecord, TradeRow
from gridbot.store.rows import (
    FILL_COLUMNS,
    LEG_COLUMNS,
    ORDER_COLUMNS,
    PADDED_ID,
    fill_of,
    leg_of,
    order_of,
)

_PLACE = re.compile(r"(?P<tag>[0-9a-z]+)-(?P<place>\d*[a-z])(?P<cycle>\d+)")


@dataclass(frozen=True)
class ClosedPair:
    """A position that is closed.

    Attributes:
        sell: id of the sell leg.
        parent: id of the leg that it answers: the pair's buy, or an initial leg.
        time_ms: of the sell's last trade (Unix milliseconds).
    """

    sell: str
    parent: str
    time_ms: int


@dataclass(frozen=True)
class StoredLeg:
    """A leg with how far it got: `complete`, and the number of sells that share its cost."""

    leg: Leg
    complete: bool
    shares: int


def totals(connection: sqlite3.Connection, grid_run: int) -> Totals:
    """Sums over what is archived of a grid."""
    row = connection.execute(
        "SELECT totals FROM archived WHERE generation = ?", (grid_run,)
    ).fetchone()
    return Totals() if row is None else totals_of(row[0])


def knows(connection: sqlite3.Connection, client_id: str) -> bool:
    """Whether an order with this client order ID may be in the archive, by its running number."""
    match = _PLACE.fullmatch("-".join(client_id.rsplit("-", 2)[1:]))
    if match is None:
        return False
    row = connection.execute(
        "SELECT totals FROM archived JOIN generations ON id = generation WHERE tag = ?",
        (match["tag"],),
    ).fetchone()
    if row is None:
        return False
    return int(match["cycle"]) <= totals_of(row[0]).attempts.get(match["place"], 0)


def records(connection: sqlite3.Connection, symbol: str) -> list[FileRecord]:
    """The archive's files of a symbol."""
    rows = connection.execute(
        "SELECT name, symbol, year, length, checksum, rows FROM archive_files"
        " WHERE symbol = ? ORDER BY name",
        (symbol,),
    )
    return [FileRecord(*row) for row in rows]


def unarchived(connection: sqlite3.Connection, symbol: str) -> list[tuple[int, int]]:
    """Closed grids of a symbol of which rows are left: id, and when they closed (ms)."""
    return connection.execute(
        "SELECT id, closed_ms FROM generations g WHERE symbol = ? AND closed_ms IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM archived WHERE generation = g.id AND whole) ORDER BY id",
        (symbol,),
    ).fetchall()


def count_pairs(connection: sqlite3.Connection, grid_run: int) -> int:
    """Number of closed positions of a grid that are not archived."""
    count: int = connection.execute(
        "SELECT count(*) FROM legs WHERE generation = ? AND complete AND side = ? AND role = ?",
        (grid_run, Side.SELL, Role.GRID),
    ).fetchone()[0]
    return count


def closed_pairs(connection: sqlite3.Connection, grid_run: int, count: int) -> list[ClosedPair]:
    """The positions of a grid that were closed first, and are not archived."""
    rows = connection.execute(
        "SELECT l.id, l.parent, max(coalesce(f.time_ms, o.updated_ms)) FROM legs l"  # noqa: S608  constant columns
        " JOIN orders o ON o.leg = l.id LEFT JOIN fills f ON f.client_id = o.client_id"
        " WHERE l.generation = ? AND l.complete AND l.side = ? AND l.role = ?"
        " GROUP BY l.id ORDER BY max(coalesce(f.time_ms, o.updated_ms)),"
        f" max({PADDED_ID}) LIMIT ?",
        (grid_run, Side.SELL, Role.GRID, count),
    )
    return [ClosedPair(*row) for row in rows]


def leg_ids(connection: sqlite3.Connection, grid_run: int) -> list[str]:
    """All legs of a grid that are not archived, oldest first."""
    rows = connection.execute(
        "SELECT id FROM legs WHERE generation = ? ORDER BY rowid", (grid_run,)
    )
    return [row[0] for row in rows]


def stored_leg(connection: sqlite3.Connection, leg_id: str) -> StoredLeg:
    """One leg."""
    row = connection.execute(
        f"SELECT {LEG_COLUMNS} FROM legs WHERE id = ?",  # noqa: S608 - constant columns
        (leg_id,),
    ).fetchone()
    return StoredLeg(leg_of(row), bool(row[6]), row[7])


def leg_rows(
    connection: sqlite3.Connection, grid_run: int, leg_id: str, pair: str = ""
) -> Iterator[TradeRow]:
    """The orders of a leg and their trades, in the order in which they were written."""
    orders = connection.execute(
        f"SELECT {ORDER_COLUMNS} FROM orders WHERE leg = ? ORDER BY rowid",  # noqa: S608  constant columns
        (leg_id,),
    ).fetchall()
    for order_row in orders:
        order = order_of(order_row)
        fills = connection.execute(
            f"SELECT {FILL_COLUMNS} FROM fills WHERE client_id = ?"  # noqa: S608  constant columns
            f" ORDER BY time_ms, {PADDED_ID}",
            (order.client_id,),
        ).fetchall()
        for row in fills:
            yield TradeRow(grid_run, pair, order, fill_of(row, order.side))
        if not fills:
            yield TradeRow(grid_run, pair, order, None)


def symbol_rows(connection: sqlite3.Connection, symbol: str) -> Iterator[TradeRow]:
    """Every order of a symbol that is not archived, with its trades."""
    columns = ", ".join(
        [f"o.{name}" for name in ORDER_COLUMNS.split(", ")]
        + [f"f.{name}" for name in FILL_COLUMNS.split(", ")]
    )
    rows = connection.execute(
        f"SELECT o.generation, {columns} FROM generations g"  # noqa: S608 - constant columns
        " JOIN orders o ON o.generation = g.id LEFT JOIN fills f ON f.client_id = o.client_id"
        " WHERE g.symbol = ?",
        (symbol,),
    )
    for grid_run, *values in rows:
        order = order_of(tuple(values))
        traded = tuple(values[11:])
        fill = None if traded[0] is None else fill_of(traded, order.side)
        yield TradeRow(grid_run, "", order, fill)


def remove_legs(connection: sqlite3.Connection, legs: Iterable[str]) -> None:
    """Delete legs that are in the archive, with their orders and trades."""
    keys = [(leg,) for leg in legs]
    connection.executemany(
        "DELETE FROM fills WHERE client_id IN (SELECT client_id FROM orders WHERE leg = ?)", keys
    )
    connection.executemany("DELETE FROM orders WHERE leg = ?", keys)
    connection.executemany("DELETE FROM legs WHERE id = ?", keys)


def save(
    connection: sqlite3.Connection,
    grid_run: int,
    sums: Totals,
    files: Iterable[FileRecord],
    *,
    whole: bool,
) -> None:
    """Let what was appended to the archive count."""
    connection.execute(
        "INSERT OR REPLACE INTO archived VALUES (?,?,?)",
        (grid_run, totals_text(sums), int(whole)),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO archive_files VALUES (?,?,?,?,?,?)",
        [(f.name, f.symbol, f.year, f.length, f.checksum, f.rows) for f in files],
    )
