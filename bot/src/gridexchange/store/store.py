"""The exchange's books on disk: SQLite, every acknowledged change durable before its answer.

Orders, trades, balances and the replay position commit in one transaction, so that after a power
cut the market goes on from the position that the books belong to.
"""

import fcntl
import sqlite3
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import IO

from gridbase.errors import ExitCode, UserError
from gridbase.market import plain

from gridexchange.matching.ledger import Changes
from gridexchange.matching.orders import OPEN_STATUSES, Balance, Order, Trade
from gridexchange.store.schema import SCHEMA_VERSION, steps_from

PAGE_BYTES = 1024
PROBE_BYTES = 65_536
POSITION = "position"
FINGERPRINT = "market_fingerprint"
SYMBOLS = "symbols"
PROBE = "probe"
IN_MEMORY = Path(":memory:")
# Never REPLACE: that deletes the row, which its trades refer to.
WRITE_ORDER = """
INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
ON CONFLICT DO UPDATE SET executed = excluded.executed, executed_quote = excluded.executed_quote,
    locked = excluded.locked, status = excluded.status, updated_ms = excluded.updated_ms,
    prevented = excluded.prevented, prevented_match_id = excluded.prevented_match_id,
    parts = excluded.parts
"""
WRITE_TRADE = "INSERT INTO trades VALUES (?,?,?,?,?,?,?,?,?,?,?)"


class Store:
    """The database in a state directory, open for one process.

    Args:
        directory: where `exchange.sqlite3` lives; created if missing. `:memory:` keeps the books
            in memory only.

    Raises:
        UserError: the directory cannot be used, another process has it, the database is damaged
            or of another version.
    """

    def __init__(self, directory: Path) -> None:
        in_memory = directory == IN_MEMORY
        self.path = directory if in_memory else directory / "exchange.sqlite3"
        self._lock = None if in_memory else _lock(directory)
        try:
            # One lock in the service keeps threads apart; SQLite need not check them.
            self._database = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            if self._lock is not None:
                self._lock.close()
            raise self._unusable(error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise self._unusable(error) from error
        except UserError:
            self.close()
            raise

    def _unusable(self, error: sqlite3.Error) -> UserError:
        return UserError(f"{self.path}: cannot be used: {error}", ExitCode.STATE)

    def _prepare(self) -> None:
        run = self._database.execute
        # A commit writes every page that it touches, mostly for a few bytes: small pages wear
        # the card less.
        run(f"PRAGMA page_size = {PAGE_BYTES}")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA foreign_keys = ON")
        # SQLite's own 2 MB fill within weeks, and look like a leak until then.
        run("PRAGMA cache_size = -512")
        result = run("PRAGMA quick_check(1)").fetchone()[0]
        if result != "ok":
            raise UserError(f"{self.path}: is damaged: {result}", ExitCode.STATE)
        version = run("PRAGMA user_version").fetchone()[0]
        steps = steps_from(version)
        if steps is not None:
            self._database.executescript(
                f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )
        elif version != SCHEMA_VERSION:
            raise UserError(
                f"{self.path}: has schema {version}, this program knows {SCHEMA_VERSION}",
                ExitCode.STATE,
            )

    def close(self) -> None:
        """Close the database and let another process have it."""
        self._database.close()
        if self._lock is not None:
            self._lock.close()

    def fact(self, name: str) -> str | None:
        """A single value, such as the replay position."""
        row = self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def symbols(self) -> set[str]:
        """Names of the symbols that the books hold, such as BTC/USDT; empty for new books."""
        stored = self.fact(SYMBOLS)
        return set() if stored is None else set(stored.split(","))

    def commit(
        self, changes: Mapping[str, Changes], balances: dict[str, Balance], facts: dict[str, str]
    ) -> None:
        """Write everything that changed in one durable transaction.

        Args:
            changes: orders, trades and the coins whose balance changed, by symbol.
            balances: all balances.
            facts: single values to set.

        Raises:
            sqlite3.Error: it could not be written; nothing of it was.
        """
        run, many = self._database.execute, self._database.executemany
        run("BEGIN IMMEDIATE")
        try:
            assets: set[str] = set()
            for symbol, change in changes.items():
                assets |= change.assets
                many(WRITE_ORDER, [_order_row(symbol, item) for item in change.orders.values()])
                if change.trades:
                    many(WRITE_TRADE, [_trade_row(symbol, item) for item in change.trades])
            many(
                "INSERT OR REPLACE INTO balances VALUES (?,?,?)",
                [
                    (asset, plain(balances[asset].free), plain(balances[asset].locked))
                    for asset in sorted(assets)
                ],
            )
            many("INSERT OR REPLACE INTO facts VALUES (?,?)", list(facts.items()))
            run("COMMIT")
        except BaseException:
            # After a full disk SQLite may have rolled back by itself already.
            if self._database.in_transaction:
                run("ROLLBACK")
            raise

    def probe(self) -> None:
        """Find out whether there is room again for more than the next few bytes.

        Raises:
            sqlite3.Error: there is none.
        """
        for content in ("-" * PROBE_BYTES, ""):
            self.commit({}, {}, {PROBE: content})

    def balances(self) -> dict[str, Balance]:
        """All balances by coin."""
        rows = self._database.execute("SELECT asset, free, locked FROM balances")
        return {asset: Balance(Decimal(free), Decimal(locked)) for asset, free, locked in rows}

    def open_orders(self, symbol: str) -> list[Order]:
        """A symbol's orders that can still be executed, oldest first."""
        marks = ",".join("?" * len(OPEN_STATUSES))
        where = f"status IN ({marks}) ORDER BY order_id"
        return list(self._orders(symbol, where, OPEN_STATUSES))

    def order(self, symbol: str, order_id: int) -> Order | None:
        """The order with this number."""
        return next(self._orders(symbol, "order_id = ?", (order_id,)), None)

    def order_by_client_id(self, symbol: str, client_order_id: str) -> Order | None:
        """The latest order with this client order ID."""
        where = "client_order_id = ? ORDER BY order_id DESC LIMIT 1"
        return next(self._orders(symbol, where, (client_order_id,)), None)

    def orders(
        self, symbol: str, from_id: int | None, start_ms: int, end_ms: int | None, limit: int
    ) -> list[Order]:
        """Orders from number `from_id` on (or the latest), created between two times."""
        where, values = "created_ms >= ?", [start_ms]
        if end_ms is not None:
            where, values = f"{where} AND created_ms <= ?", [*values, end_ms]
        if from_id is not None:
            return list(
                self._orders(
                    symbol,
                    f"{where} AND order_id >= ? ORDER BY order_id LIMIT ?",
                    (*values, from_id, limit),
                )
            )
        order = "order_id ASC" if start_ms else "order_id DESC"
        found = list(self._orders(symbol, f"{where} ORDER BY {order} LIMIT ?", (*values, limit)))
        return found if start_ms else found[::-1]

    def trades(
        self,
        symbol: str,
        *,
        order_id: int | None,
        from_id: int | None,
        start_ms: int,
        end_ms: int | None,
        limit: int,
    ) -> list[Trade]:
        """Trades, oldest first: from a number or a time on, else the latest; maybe of one order."""
        where, values = "time_ms >= ?", [start_ms]
        if end_ms is not None:
            where, values = f"{where} AND time_ms <= ?", [*values, end_ms]
        if order_id is not None:
            where, values = f"{where} AND order_id = ?", [*values, order_id]
        if from_id is not None:
            where, values = f"{where} AND trade_id >= ?", [*values, from_id]
        latest = from_id is None and not start_ms
        direction = "DESC" if latest else "ASC"
        rows = self._database.execute(
            f"SELECT * FROM trades WHERE symbol = ? AND {where}"  # noqa: S608  no user text in it
            f" ORDER BY trade_id {direction} LIMIT ?",
            (symbol, *values, limit),
        )
        found = [_trade(row) for row in rows]
        return found[::-1] if latest else found

    def next_ids(self, symbol: str) -> tuple[int, int, int]:
        """Numbers of a symbol's next order, next trade and next prevented match."""
        row = self._database.execute(
            "SELECT (SELECT max(order_id) FROM orders WHERE symbol = :symbol),"
            " (SELECT max(trade_id) FROM trades WHERE symbol = :symbol),"
            " (SELECT max(prevented_match_id) FROM orders"
            " WHERE symbol = :symbol AND prevented_match_id >= 0)",
            {"symbol": symbol},
        ).fetchone()
        # Orders and trades count from 1, prevented matches from 0.
        return (row[0] or 0) + 1, (row[1] or 0) + 1, 0 if row[2] is None else row[2] + 1

    def _orders(self, symbol: str, where: str, values: tuple[object, ...]) -> Iterator[Order]:
        rows = self._database.execute(
            f"SELECT * FROM orders WHERE symbol = ? AND {where}",  # noqa: S608  no user text in it
            (symbol, *values),
        )
        return map(_order, rows)


def _lock(directory: Path) -> IO[str]:
    """Hold the directory for as long as the returned file is open."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / "exchange.lock").open("a")
    except OSError as error:
        raise UserError(
            f"state directory {directory}: cannot be used: {error.strerror}", ExitCode.STATE
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise UserError(
            f"state directory {directory}: another exchange is using it", ExitCode.STATE
        ) from error
    return file


def _order_row(symbol: str, order: Order) -> tuple[object, ...]:
    return (
        symbol,
        order.order_id,
        order.client_order_id,
        order.side,
        order.type,
        order.time_in_force,
        plain(order.price),
        plain(order.quantity),
        plain(order.quote_quantity),
        plain(order.executed),
        plain(order.executed_quote),
        plain(order.locked),
        order.status,
        order.created_ms,
        order.updated_ms,
        order.self_trade_prevention,
        plain(order.prevented),
        order.prevented_match_id,
        order.parts,
    )


def _order(row: tuple[object, ...]) -> Order:
    _, number, client_id, side, kind, tif, *amounts, status, created, updated = row[:15]
    prevention, prevented, match_id, parts = row[15:]
    price, quantity, quote_quantity, executed, executed_quote, locked = map(
        Decimal, map(str, amounts)
    )
    return Order(
        order_id=int(str(number)),
        client_order_id=str(client_id),
        side=str(side),
        type=str(kind),
        time_in_force=str(tif),
        price=price,
        quantity=quantity,
        quote_quantity=quote_quantity,
        executed=executed,
        executed_quote=executed_quote,
        locked=locked,
        status=str(status),
        created_ms=int(str(created)),
        updated_ms=int(str(updated)),
        self_trade_prevention=str(prevention),
        prevented=Decimal(str(prevented)),
        prevented_match_id=int(str(match_id)),
        parts=int(str(parts)),
    )


def _trade_row(symbol: str, trade: Trade) -> tuple[object, ...]:
    return (
        symbol,
        trade.trade_id,
        trade.order_id,
        plain(trade.price),
        plain(trade.quantity),
        plain(trade.quote_quantity),
        plain(trade.commission),
        trade.commission_asset,
        trade.time_ms,
        int(trade.is_buyer),
        int(trade.is_maker),
    )


def _trade(row: tuple[object, ...]) -> Trade:
    _, number, order_id, price, quantity, quote, commission, asset, time_ms, buyer, maker = row
    return Trade(
        trade_id=int(str(number)),
        order_id=int(str(order_id)),
        price=Decimal(str(price)),
        quantity=Decimal(str(quantity)),
        quote_quantity=Decimal(str(quote)),
        commission=Decimal(str(commission)),
        commission_asset=str(asset),
        time_ms=int(str(time_ms)),
        is_buyer=bool(buyer),
        is_maker=bool(maker),
    )
