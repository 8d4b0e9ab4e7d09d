"""The Gateway's books on disk: SQLite; what a client was told outlives the process."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

from gridbase.errors import ExitCode, UserError

from gridexchange.ib.records import Execution, StockOrder

_TABLES = """
CREATE TABLE IF NOT EXISTS orders (perm_id INTEGER PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS executions (
    stem TEXT PRIMARY KEY, number INTEGER NOT NULL, document TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class GatewayStore:
    """The database; one process has it, and one thread at a time.

    Args:
        directory: where ``gateway.sqlite3`` lives; created if missing.

    Raises:
        UserError: it cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "gateway.sqlite3"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"state_directory {directory}: {error}", ExitCode.STATE) from error

    def close(self) -> None:
        """Close it."""
        self._database.close()

    def facts(self) -> dict[str, str]:
        """What else is known, by name."""
        return dict(self._database.execute("SELECT name, value FROM facts"))

    def orders(self) -> list[StockOrder]:
        """All orders, oldest first."""
        rows = self._database.execute("SELECT document FROM orders ORDER BY perm_id")
        return [StockOrder(**_read(StockOrder, text)) for (text,) in rows]

    def executions(self) -> list[Execution]:
        """All trades as they were last corrected, oldest first."""
        rows = self._database.execute("SELECT document FROM executions ORDER BY number")
        return [Execution(**_read(Execution, text)) for (text,) in rows]

    def save(
        self,
        orders: Iterable[StockOrder],
        executions: Iterable[tuple[int, Execution]],
        facts: dict[str, str],
    ) -> None:
        """Write what has changed, all or nothing; executions with their running numbers."""
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany(
            "INSERT OR REPLACE INTO orders VALUES (?,?)",
            [(order.perm_id, _document(order)) for order in orders],
        )
        self._database.executemany(
            "INSERT OR REPLACE INTO executions VALUES (?,?,?)",
            [(trade.stem, number, _document(trade)) for number, trade in executions],
        )
        self._database.executemany("INSERT OR REPLACE INTO facts VALUES (?,?)", facts.items())
        self._database.execute("COMMIT")


def _document(record: StockOrder | Execution) -> str:
    return json.dumps(asdict(record), default=str)


def _read(kind: type[StockOrder] | type[Execution], text: str) -> dict[str, Any]:
    """The attributes of a record; amounts are texts in the file."""
    document: dict[str, Any] = json.loads(text)
    amounts = {field.name for field in fields(kind) if field.type is Decimal}
    return {name: Decimal(value) if name in amounts else value for name, value in document.items()}
