"""What the owner has said about the account: amounts that came or went beside the grid."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Acknowledgement:
    """An amount by which the account differs from a grid's books, and why that is right.

    Attributes:
        coin: the coin.
        amount: by which the account has more than the books; below 0: less.
        reason: one line of the owner's.
        at_ms: when it was written down (Unix milliseconds).
    """

    coin: str
    amount: Decimal
    reason: str
    at_ms: int


def of_grid(connection: sqlite3.Connection, grid_run: int) -> list[Acknowledgement]:
    """What was acknowledged of a grid, oldest first."""
    rows = connection.execute(
        "SELECT coin, amount, reason, at_ms FROM acknowledgements WHERE generation = ?"
        " ORDER BY rowid",
        (grid_run,),
    )
    return [Acknowledgement(coin, Decimal(amount), *rest) for coin, amount, *rest in rows]


def add(
    connection: sqlite3.Connection, grid_run: int, acknowledged: Iterable[Acknowledgement]
) -> None:
    """Write down what is acknowledged of a grid."""
    connection.executemany(
        "INSERT INTO acknowledgements VALUES (?,?,?,?,?)",
        [(grid_run, one.coin, str(one.amount), one.reason, one.at_ms) for one in acknowledged],
    )
