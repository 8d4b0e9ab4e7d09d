"""Legs, orders and fills as rows and back."""

import sqlite3
from decimal import Decimal
from typing import Any

from gridbot.core.engine import Changes
from gridbot.core.orders import ID_WIDTH, Fill, Leg, Order, OrderState, Role, Side
from gridbot.store.records import lines_text

LEG_COLUMNS = "id, role, side, line, quantity, parent, complete, shares"
ORDER_COLUMNS = (
    "client_id, leg, role, side, line, cycle, price, quantity, state, exchange_id, created_ms"
)
FILL_COLUMNS = (
    "trade_id, client_id, price, quantity, quote, commission, commission_coin, time_ms, maker"
)

# Sorts what is of one moment; see `orders.padded`.
PADDED_ID = f"printf('%{ID_WIDTH}s', trade_id)"

SELECT_FILLS = (
    "SELECT o.side, "  # noqa: S608 - constant columns
    + ", ".join(f"f.{name}" for name in FILL_COLUMNS.split(", "))
    + " FROM fills f JOIN orders o USING (client_id)"
)


def write_changes(connection: sqlite3.Connection, grid_run: int, changes: Changes) -> None:
    """Write one step of the engine, inside the caller's transaction."""
    plan = changes.plan
    if plan is not None:
        connection.execute(
            "UPDATE generations SET lines = ?, start_price = ?, empty_line = ?, quantity = ?"
            " WHERE id = ?",
            (
                lines_text(plan),
                str(plan.start_price),
                plan.empty_line,
                str(plan.quantity),
                grid_run,
            ),
        )
    connection.executemany(
        "INSERT INTO legs (id, generation, role, side, line, quantity, parent)"
        " VALUES (?,?,?,?,?,?,?)",
        [
            (leg.id, grid_run, leg.role, leg.side, leg.line, str(leg.quantity), leg.parent)
            for leg in changes.legs
        ],
    )
    _write_orders(connection, grid_run, changes)
    connection.executemany(
        "INSERT INTO fills VALUES (?,?,?,?,?,?,?,?,?,?)",
        [
            (
                grid_run,
                fill.trade_id,
                fill.client_id,
                str(fill.price),
                str(fill.quantity),
                str(fill.quote),
                str(fill.commission),
                fill.commission_coin,
                fill.time_ms,
                int(fill.maker),
            )
            for fill in changes.fills
        ],
    )
    connection.executemany(
        "UPDATE legs SET complete = 1, shares = ? WHERE id = ?",
        [(shares, leg) for leg, shares in changes.complete],
    )
    if changes.trade_cursor is not None:
        connection.execute(
            "UPDATE progress SET trade_cursor = ? WHERE generation = ?",
            (changes.trade_cursor, grid_run),
        )


def _write_orders(connection: sqlite3.Connection, grid_run: int, changes: Changes) -> None:
    connection.executemany(
        "INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
        [
            (
                order.client_id,
                grid_run,
                order.leg,
                order.role,
                order.side,
                order.line,
                order.attempt,
                str(order.price),
                str(order.quantity),
                order.state,
                order.exchange_id,
                order.created_ms,
                changes.now_ms,
            )
            for order in changes.orders
        ],
    )
    connection.executemany(
        "UPDATE orders SET state = ?, exchange_id = ?, updated_ms = ? WHERE client_id = ?",
        [
            (order.state, order.exchange_id, changes.now_ms, order.client_id)
            for order in changes.updated
        ],
    )


def order_of(row: tuple[Any, ...]) -> Order:
    """A row of `ORDER_COLUMNS` read back."""
    return Order(
        client_id=row[0],
        leg=row[1],
        role=Role(row[2]),
        side=Side(row[3]),
        line=row[4],
        attempt=row[5],
        price=Decimal(row[6]),
        quantity=Decimal(row[7]),
        state=OrderState(row[8]),
        exchange_id=row[9],
        created_ms=row[10],
    )


def fill_of(row: tuple[Any, ...], side: Side) -> Fill:
    """A row of `FILL_COLUMNS` read back, with its order's side."""
    return Fill(
        trade_id=row[0],
        client_id=row[1],
        side=side,
        price=Decimal(row[2]),
        quantity=Decimal(row[3]),
        quote=Decimal(row[4]),
        commission=Decimal(row[5]),
        commission_coin=row[6],
        time_ms=row[7],
        maker=bool(row[8]),
    )


def leg_of(row: tuple[Any, ...]) -> Leg:
    """The leg in a row of `LEG_COLUMNS`."""
    return Leg(row[0], Role(row[1]), Side(row[2]), row[3], Decimal(row[4]), row[5])
