"""The bot's memory: one SQLite file which survives a power cut at any moment.

Every change is one transaction, on the disk before the call returns (WAL with
``synchronous=FULL``). Amounts are decimal text, times are Unix milliseconds.
"""

import fcntl
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from gridbot.books import RECENT_FILLS
from gridbot.engine import Changes, GridEngine
from gridbot.errors import ExitCode, UserError
from gridbot.grid import Plan
from gridbot.market import Market
from gridbot.orders import Fill, Leg, Order, OrderState, Role, Side

FILE_NAME = "gridbot.sqlite3"
APPLICATION_ID = 0x47524442
SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE generations (
    id INTEGER PRIMARY KEY,
    tag TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL,       -- what the grid was started with; a change needs a new grid
    market TEXT NOT NULL,         -- the exchange's rules at the start
    lines TEXT NOT NULL,
    start_price TEXT NOT NULL,
    empty_line INTEGER NOT NULL,
    quantity TEXT NOT NULL,
    opening TEXT NOT NULL,        -- balances of the account at the start
    first_trade_id INTEGER NOT NULL,
    trade_cursor INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    closed_ms INTEGER
) STRICT;
CREATE TABLE legs (
    id TEXT PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations,
    role TEXT NOT NULL,
    side TEXT NOT NULL,
    line INTEGER NOT NULL,
    quantity TEXT NOT NULL,
    parent TEXT REFERENCES legs,
    complete INTEGER NOT NULL DEFAULT 0,
    shares INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE orders (
    client_id TEXT PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations,
    leg TEXT NOT NULL REFERENCES legs,
    role TEXT NOT NULL,
    side TEXT NOT NULL,
    line INTEGER NOT NULL,
    cycle INTEGER NOT NULL,
    price TEXT NOT NULL,
    quantity TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('intended', 'open', 'filled', 'canceled')),
    exchange_id INTEGER,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE fills (
    generation INTEGER NOT NULL REFERENCES generations,
    trade_id INTEGER NOT NULL,
    client_id TEXT NOT NULL REFERENCES orders,
    price TEXT NOT NULL,
    quantity TEXT NOT NULL,
    quote TEXT NOT NULL,
    commission TEXT NOT NULL,
    commission_coin TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    maker INTEGER NOT NULL,
    PRIMARY KEY (generation, trade_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX fills_by_order ON fills (client_id);
CREATE INDEX orders_by_leg ON orders (leg);
"""

# The disk may have room again, or be writable again; the rest needs a person.
_LASTING = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CONSTRAINT", "SQLITE_ERROR", "SQLITE_SCHEMA")


class StoreError(UserError):
    """The state can not be read or written.

    Args:
        message: one clear line.
        lasting: trying again does not help.
    """

    def __init__(self, message: str, *, lasting: bool) -> None:
        super().__init__(message, ExitCode.STATE)
        self.lasting = lasting


@dataclass(frozen=True)
class Generation:
    """One grid from its start to its end, as stored.

    Attributes:
        id: running number.
        tag: goes into client order IDs.
        settings: what the grid was started with.
        market: the exchange's rules at the start.
        plan: lines, start price, empty line and quantity.
        opening: the account's balances at the start, by coin.
        first_trade_id: the exchange's trades of this grid have this ID or a higher one.
        trade_cursor: trades below this ID are stored.
        started_ms: Unix milliseconds.
        closed_ms: Unix milliseconds; None while the grid runs.
    """

    id: int
    tag: str
    settings: dict[str, str]
    market: Market
    plan: Plan
    opening: dict[str, Decimal]
    first_trade_id: int
    trade_cursor: int
    started_ms: int
    closed_ms: int | None = None


class Store:
    """The state directory's database. One writer at a time; readers do not block it.

    Args:
        directory: the state directory; it must exist.
        read_only: open for reading beside a running bot.
    """

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        self.path = directory / FILE_NAME
        self._lock: TextIO | None = None
        if not directory.is_dir():
            raise StoreError(
                f"state.directory = {directory} is not a directory; create it", lasting=True
            )
        if read_only and not self.path.exists():
            raise StoreError(f"state.directory = {directory} holds no grid yet", lasting=True)
        if not read_only:
            self._lock = _take_lock(directory)
        try:
            self._connection = self._connect(read_only=read_only)
        except StoreError:
            self._release_lock()
            raise

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        with self._reported():
            connection = sqlite3.connect(
                f"{self.path.as_uri()}?mode={'ro' if read_only else 'rwc'}",
                uri=True,
                isolation_level=None,
                timeout=10,
            )
        try:
            with self._reported():
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA cache_size = -1024")
                self._check(connection, read_only=read_only)
        except StoreError:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection, *, read_only: bool) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} was written by a newer gridbot (schema {version}, this one knows "
                f"{SCHEMA_VERSION}); use that one",
                lasting=True,
            )
        if read_only:
            return  # the writer has checked the file when it started
        result = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if result != "ok":
            raise self._corrupt(result)
        if version == SCHEMA_VERSION:
            return
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )

    def _corrupt(self, detail: str) -> StoreError:
        reason = " ".join(detail.split())  # SQLite's answer may have several lines
        return StoreError(
            f"{self.path} is damaged ({reason}); restore it from a backup, or move it away and "
            "cancel the bot's orders on the exchange before starting a new grid",
            lasting=True,
        )

    def close(self) -> None:
        """Close the file and release the lock."""
        self._connection.close()
        self._release_lock()

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn SQLite's errors into one clear line."""
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "") or ""
            if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                raise self._corrupt(str(error)) from error
            raise StoreError(
                f"state.directory = {self.path.parent}: {error}",
                lasting=name.startswith(_LASTING),
            ) from error

    @contextmanager
    def _transaction(self, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """All or nothing; on the disk when it returns."""
        with self._reported():
            self._connection.execute(f"BEGIN {mode}")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    # Generations.

    def generation(self) -> Generation | None:
        """The latest grid, running or closed; None before the first."""
        with self._reported():
            row = self._connection.execute(
                "SELECT id, tag, settings, market, lines, start_price, empty_line, quantity,"
                " opening, first_trade_id, trade_cursor, started_ms, closed_ms"
                " FROM generations ORDER BY id DESC LIMIT 1"
            ).fetchone()
        return None if row is None else _generation(row)

    def start_generation(self, generation: Generation, changes: Changes) -> None:
        """Write down a new grid together with its first intents."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO generations VALUES (?,?,?,?,?,?,?,?,?,?,?,?,NULL)",
                (
                    generation.id,
                    generation.tag,
                    json.dumps(generation.settings, sort_keys=True),
                    json.dumps(_market_document(generation.market), sort_keys=True),
                    json.dumps([str(line) for line in generation.plan.lines]),
                    str(generation.plan.start_price),
                    generation.plan.empty_line,
                    str(generation.plan.quantity),
                    json.dumps({coin: str(sum_) for coin, sum_ in generation.opening.items()}),
                    generation.first_trade_id,
                    generation.trade_cursor,
                    generation.started_ms,
                ),
            )
            _write(connection, generation.id, changes)

    def commit(self, generation_id: int, changes: Changes) -> None:
        """Write down one step of the engine."""
        with self._transaction() as connection:
            _write(connection, generation_id, changes)

    def close_generation(self, generation_id: int, now_ms: int) -> None:
        """Mark a grid as ended."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE generations SET closed_ms = ? WHERE id = ?", (now_ms, generation_id)
            )

    # Reading back.

    def restore(self, generation_id: int, engine: GridEngine) -> None:
        """Give a new engine everything that is stored of its grid.

        Streams in the order of writing: memory holds only what the engine keeps.
        """
        with self._transaction("DEFERRED") as connection:
            legs = connection.execute(
                "SELECT id, role, side, line, quantity, parent, complete, shares FROM legs"
                " WHERE generation = ? ORDER BY rowid",
                (generation_id,),
            )
            for row in legs:
                leg = Leg(row[0], Role(row[1]), Side(row[2]), row[3], Decimal(row[4]), row[5])
                engine.restore_leg(leg)
                self._restore_orders(connection, engine, leg.id)
                if row[6]:
                    engine.restore_complete(leg.id, row[7])
            # Legs do not trade in the order in which they begin.
            latest = connection.execute(
                f"{_SELECT_FILLS} WHERE f.generation = ? AND o.role = ?"
                " ORDER BY f.trade_id DESC LIMIT ?",
                (generation_id, Role.GRID, RECENT_FILLS),
            ).fetchall()
            engine.books.recent.clear()
            engine.books.recent.extend(_fill(row[1:], Side(row[0])) for row in reversed(latest))

    # S608 below: the text put into the statements is this module's own list of columns.
    @staticmethod
    def _restore_orders(connection: sqlite3.Connection, engine: GridEngine, leg: str) -> None:
        orders = connection.execute(
            f"SELECT {_ORDER_COLUMNS} FROM orders WHERE leg = ? ORDER BY rowid",  # noqa: S608
            (leg,),
        ).fetchall()
        for row in orders:
            order = _order(row)
            executed = Decimal(0)
            fills = connection.execute(
                f"SELECT {_FILL_COLUMNS} FROM fills WHERE client_id = ?"  # noqa: S608
                " ORDER BY trade_id",
                (order.client_id,),
            )
            for fill_row in fills:
                fill = _fill(fill_row, order.side)
                engine.restore_fill(leg, fill)
                executed += fill.quantity
            engine.restore_order(order, executed)

    def orders(self, generation_id: int) -> list[Order]:
        """All orders of a grid, oldest first."""
        with self._reported():
            rows = self._connection.execute(
                f"SELECT {_ORDER_COLUMNS} FROM orders"  # noqa: S608 - constant columns
                " WHERE generation = ? ORDER BY rowid",
                (generation_id,),
            ).fetchall()
        return [_order(row) for row in rows]

    def knows(self, client_id: str) -> bool:
        """Whether an order with this client order ID is in the books, of any grid."""
        with self._reported():
            row = self._connection.execute(
                "SELECT 1 FROM orders WHERE client_id = ?", (client_id,)
            ).fetchone()
        return row is not None

    def fills(self, generation_id: int, up_to_trade: int) -> list[Fill]:
        """All fills of a grid up to a trade ID, oldest first."""
        with self._reported():
            rows = self._connection.execute(
                f"{_SELECT_FILLS} WHERE f.generation = ? AND f.trade_id <= ? ORDER BY f.trade_id",
                (generation_id, up_to_trade),
            ).fetchall()
        return [_fill(row[1:], Side(row[0])) for row in rows]


def _take_lock(directory: Path) -> TextIO:
    path = directory / "lock"
    try:
        file = path.open("a+")
    except OSError as error:
        raise StoreError(
            f"state.directory = {directory}: {error.strerror}", lasting=False
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise StoreError(
            f"state.directory = {directory} is in use by another running bot; stop it, or give "
            "this one a directory of its own",
            lasting=True,
        ) from error
    return file


_ORDER_COLUMNS = (
    "client_id, leg, role, side, line, cycle, price, quantity, state, exchange_id, created_ms"
)
_FILL_COLUMNS = (
    "trade_id, client_id, price, quantity, quote, commission, commission_coin, time_ms, maker"
)

_SELECT_FILLS = (
    "SELECT o.side, "  # noqa: S608 - constant columns
    + ", ".join(f"f.{name}" for name in _FILL_COLUMNS.split(", "))
    + " FROM fills f JOIN orders o USING (client_id)"
)


def _write(connection: sqlite3.Connection, generation: int, changes: Changes) -> None:
    plan = changes.plan
    if plan is not None:
        connection.execute(
            "UPDATE generations SET lines = ?, start_price = ?, empty_line = ?, quantity = ?"
            " WHERE id = ?",
            (
                json.dumps([str(line) for line in plan.lines]),
                str(plan.start_price),
                plan.empty_line,
                str(plan.quantity),
                generation,
            ),
        )
    connection.executemany(
        "INSERT INTO legs (id, generation, role, side, line, quantity, parent)"
        " VALUES (?,?,?,?,?,?,?)",
        [
            (leg.id, generation, leg.role, leg.side, leg.line, str(leg.quantity), leg.parent)
            for leg in changes.legs
        ],
    )
    _write_orders(connection, generation, changes)
    connection.executemany(
        "INSERT INTO fills VALUES (?,?,?,?,?,?,?,?,?,?)",
        [
            (
                generation,
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
            "UPDATE generations SET trade_cursor = ? WHERE id = ?",
            (changes.trade_cursor, generation),
        )


def _write_orders(connection: sqlite3.Connection, generation: int, changes: Changes) -> None:
    connection.executemany(
        "INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
        [
            (
                order.client_id,
                generation,
                order.leg,
                order.role,
                order.side,
                order.line,
                order.cycle,
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


def _order(row: tuple[Any, ...]) -> Order:
    return Order(
        client_id=row[0],
        leg=row[1],
        role=Role(row[2]),
        side=Side(row[3]),
        line=row[4],
        cycle=row[5],
        price=Decimal(row[6]),
        quantity=Decimal(row[7]),
        state=OrderState(row[8]),
        exchange_id=row[9],
        created_ms=row[10],
    )


def _fill(row: tuple[Any, ...], side: Side) -> Fill:
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


def _generation(row: tuple[Any, ...]) -> Generation:
    return Generation(
        id=row[0],
        tag=row[1],
        settings=json.loads(row[2]),
        market=_market(json.loads(row[3])),
        plan=Plan(
            lines=tuple(Decimal(line) for line in json.loads(row[4])),
            start_price=Decimal(row[5]),
            empty_line=row[6],
            quantity=Decimal(row[7]),
        ),
        opening={coin: Decimal(amount) for coin, amount in json.loads(row[8]).items()},
        first_trade_id=row[9],
        trade_cursor=row[10],
        started_ms=row[11],
        closed_ms=row[12],
    )


_MARKET_AMOUNTS = ("tick_size", "lot_size", "min_quantity", "min_notional", "max_quantity")


def _market_document(market: Market) -> dict[str, Any]:
    document = asdict(market)
    for name in _MARKET_AMOUNTS:
        if document[name] is not None:
            document[name] = str(document[name])
    return document


def _market(document: dict[str, Any]) -> Market:
    amounts = {
        name: None if document[name] is None else Decimal(document[name])
        for name in _MARKET_AMOUNTS
    }
    return Market(**{**document, **amounts})
