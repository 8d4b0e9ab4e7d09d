"""The tables, and the way from an older file's tables to them."""

import sqlite3

APPLICATION_ID = 0x47524442
SCHEMA_VERSION = 6
# The oldest version whose bots trade rightly on these tables. A change that they need not know of
# (a column with a default, a table for reports) leaves it: then a release can be taken back. Each
# version is to be read by the one before it; what cannot be, as version 6, says so: a bot of
# version 5 would not heed a pause.
OLDEST_READER = 6
# A commit writes every page that it touches, mostly for a few bytes: small pages wear the card
# less.
PAGE_BYTES = 1024

_ACKNOWLEDGEMENTS = """
CREATE TABLE acknowledgements (
    generation INTEGER NOT NULL REFERENCES generations,
    coin TEXT NOT NULL,
    amount TEXT NOT NULL,         -- by which the account has more than the books; below 0: less
    reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;
"""
_COMPATIBILITY = f"""
CREATE TABLE compatibility (
    oldest_reader INTEGER NOT NULL  -- the oldest version whose bots may use this file
) STRICT;
INSERT INTO compatibility VALUES ({OLDEST_READER});
"""  # noqa: S608  a constant
# What a person has told a grid: to send nothing, and maybe to take its orders back.
_PAUSES = """
CREATE TABLE pauses (
    id INTEGER PRIMARY KEY,
    symbol TEXT NOT NULL,
    reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    cancel INTEGER NOT NULL,      -- take back what rests
    cleared_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX pauses_open ON pauses (symbol) WHERE cleared_ms IS NULL;
"""
# A row of `generations` is a grid run; the file keeps the name that it began with.
# `progress` changes with every trade: it is apart from `generations`, whose rows are long.
# `legs.parent` may name a leg that is settled already, so it references nothing.
# Rows of legs and orders are read back in the order in which they were written (rowid).
# Tables in which an ID of the exchange, or a cursor of its adapter, is a text.
_IDENTITIES = """
CREATE TABLE generations (
    id INTEGER PRIMARY KEY,
    symbol TEXT NOT NULL,
    tag TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL,       -- what the grid was started with; a change needs a new grid
    market TEXT NOT NULL,         -- the exchange's rules at the start
    lines TEXT NOT NULL,
    start_price TEXT NOT NULL,
    empty_line INTEGER NOT NULL,
    quantity TEXT NOT NULL,
    investment TEXT NOT NULL,
    carried TEXT NOT NULL DEFAULT '0',  -- base of the grid before
    carried_cost TEXT NOT NULL DEFAULT '0',  -- what it counts for in the investment
    opening TEXT NOT NULL,        -- balances of the account at the start
    first_cursor TEXT NOT NULL,   -- the exchange's trades of this grid are after it
    started_ms INTEGER NOT NULL,
    closed_ms INTEGER,
    closing TEXT                  -- what the grid was worth at its end
) STRICT;
CREATE INDEX generations_by_symbol ON generations (symbol, id);
CREATE TABLE progress (
    generation INTEGER PRIMARY KEY REFERENCES generations,
    trade_cursor TEXT NOT NULL,
    watch TEXT                    -- what the stop rules remember
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
    exchange_id TEXT,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX orders_by_leg ON orders (leg);
CREATE TABLE fills (
    generation INTEGER NOT NULL REFERENCES generations,
    trade_id TEXT NOT NULL,
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
"""
# What is closed, and no start reads. A row is one trade with its order, or an order that never
# traded: docs/books.md has its columns, which are those of the archive's files until version 4.
_SETTLED = """
CREATE TABLE settled (
    generation INTEGER NOT NULL REFERENCES generations, pair TEXT NOT NULL, leg TEXT NOT NULL,
    role TEXT NOT NULL, side TEXT NOT NULL, line INTEGER NOT NULL, "order" TEXT NOT NULL,
    cycle INTEGER NOT NULL, exchange_id TEXT, state TEXT NOT NULL, order_price TEXT NOT NULL,
    order_quantity TEXT NOT NULL, created_ms INTEGER NOT NULL, trade_id TEXT, time_ms INTEGER,
    price TEXT, quantity TEXT, quote TEXT, fee TEXT, fee_coin TEXT, maker INTEGER, profit TEXT
) STRICT;
CREATE INDEX settled_by_generation ON settled (generation);
CREATE TABLE settled_totals (
    generation INTEGER PRIMARY KEY REFERENCES generations,
    totals TEXT NOT NULL,         -- sums over what is settled of this grid
    whole INTEGER NOT NULL DEFAULT 0    -- all of it is settled
) STRICT;
"""
# `archive_files` names the files of an older version's archive that are not taken over yet.
SCHEMA = """
CREATE TABLE legs (
    id TEXT PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations,
    role TEXT NOT NULL,
    side TEXT NOT NULL,
    line INTEGER NOT NULL,
    quantity TEXT NOT NULL,
    parent TEXT,
    complete INTEGER NOT NULL DEFAULT 0,
    shares INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX legs_by_generation ON legs (generation);
CREATE TABLE archive_files (
    name TEXT PRIMARY KEY,
    symbol TEXT NOT NULL,
    year INTEGER NOT NULL,
    length INTEGER NOT NULL,      -- bytes that count; what follows was never committed
    checksum INTEGER NOT NULL,    -- CRC-32 of those bytes
    rows INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE halts (
    id INTEGER PRIMARY KEY,
    symbol TEXT NOT NULL,
    reason_code TEXT NOT NULL,
    text TEXT NOT NULL,
    price TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    liquidate INTEGER NOT NULL,
    cleared_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX halts_open ON halts (symbol) WHERE cleared_ms IS NULL;
CREATE TABLE samples (
    symbol TEXT NOT NULL,
    hour_ms INTEGER NOT NULL,
    open TEXT NOT NULL,
    high TEXT NOT NULL,
    low TEXT NOT NULL,
    close TEXT NOT NULL,
    seconds INTEGER NOT NULL,     -- of the hour, how long the price was watched
    in_range_seconds INTEGER NOT NULL,
    PRIMARY KEY (symbol, hour_ms)
) STRICT, WITHOUT ROWID;
"""
SCHEMA += _IDENTITIES + _ACKNOWLEDGEMENTS + _SETTLED + _PAUSES + _COMPATIBILITY

_PUT_ASIDE = """
DROP INDEX fills_by_order;
DROP INDEX orders_by_leg;
ALTER TABLE fills RENAME TO old_fills;
ALTER TABLE orders RENAME TO old_orders;
ALTER TABLE generations RENAME TO old_generations;
"""
_PUT_ASIDE_1 = """
ALTER TABLE legs RENAME TO old_legs;
"""
_COPY_FROM_1 = """
INSERT INTO generations SELECT
    id, json_extract(market, '$.symbol'), tag, settings, market, lines, start_price, empty_line,
    quantity, json_extract(settings, '$."grid.investment"'), '0', '0', opening,
    CAST(first_trade_id - 1 AS TEXT), started_ms, closed_ms, NULL
    FROM old_generations;
INSERT INTO progress SELECT id, CAST(trade_cursor - 1 AS TEXT), NULL FROM old_generations;
INSERT INTO legs SELECT * FROM old_legs ORDER BY rowid;
DROP TABLE old_legs;
"""
# Up to version 3 IDs were numbers, and a cursor was the first one that is not booked: now it is the
# last one that is. The columns of orders and fills have been the same since version 1.
_COPY_IDENTITIES = """
INSERT INTO orders SELECT
    client_id, generation, leg, role, side, line, cycle, price, quantity, state,
    CAST(exchange_id AS TEXT), created_ms, updated_ms FROM old_orders ORDER BY rowid;
INSERT INTO fills SELECT
    generation, CAST(trade_id AS TEXT), client_id, price, quantity, quote, commission,
    commission_coin, time_ms, maker FROM old_fills;
DROP TABLE old_fills;
DROP TABLE old_orders;
DROP TABLE old_generations;
"""
_PUT_ASIDE_3 = """
DROP INDEX generations_by_symbol;
ALTER TABLE progress RENAME TO old_progress;
"""
_COPY_FROM_3 = """
INSERT INTO generations SELECT
    id, symbol, tag, settings, market, lines, start_price, empty_line, quantity, investment,
    carried, carried_cost, opening, CAST(first_trade_id - 1 AS TEXT), started_ms, closed_ms, closing
    FROM old_generations;
INSERT INTO progress SELECT generation, CAST(trade_cursor - 1 AS TEXT), watch FROM old_progress;
DROP TABLE old_progress;
"""
_COPY_TOTALS = """
INSERT INTO settled_totals SELECT * FROM archived;
DROP TABLE archived;
"""


def create(connection: sqlite3.Connection) -> None:
    """Write the tables of this version into an empty file."""
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    _write(connection, SCHEMA)


def oldest_reader(connection: sqlite3.Connection, version: int) -> int:
    """Return the oldest version whose bots may use a file.

    Args:
        connection: to the file.
        version: its version.
    """
    if version < 6:  # it does not say so
        return version
    return int(connection.execute("SELECT oldest_reader FROM compatibility").fetchone()[0])


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring an older file to this version: all of it or nothing, whenever the power goes.

    Args:
        connection: to the file.
        version: its version, which is below this one.
    """
    if version == 1:
        _renew_pages(connection)
        script = _PUT_ASIDE + _PUT_ASIDE_1 + SCHEMA + _COPY_FROM_1 + _COPY_IDENTITIES
    elif version == 5:
        script = _PAUSES + _COMPATIBILITY
    else:
        script = _SETTLED + _COPY_TOTALS + _ACKNOWLEDGEMENTS * (version == 2)
        script += _PAUSES + _COMPATIBILITY
        if version < 4:
            before = _PUT_ASIDE + _PUT_ASIDE_3 + _IDENTITIES + _COPY_FROM_3 + _COPY_IDENTITIES
            script = before + script
    # Tables are dropped whose rows are referenced, by their name: the copies are checked instead.
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA legacy_alter_table = ON")
    _write(connection, script)
    connection.execute("PRAGMA legacy_alter_table = OFF")
    connection.execute("PRAGMA foreign_keys = ON")


def _renew_pages(connection: sqlite3.Connection) -> None:
    """Give a file of version 1 pages of today's size: the file is copied.

    It is done before all else, so that a cut in between leaves a good file of version 1.
    """
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("VACUUM")
    connection.execute("PRAGMA journal_mode = WAL")


def _write(connection: sqlite3.Connection, script: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _statements(script):
            connection.execute(statement)
        _check_references(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check_references(connection: sqlite3.Connection) -> None:
    broken = connection.execute("PRAGMA foreign_key_check").fetchone()
    if broken is not None:
        raise sqlite3.IntegrityError(f"a row of {broken[0]} names one of {broken[2]} that is gone")


def _statements(script: str) -> list[str]:
    """The script's statements; comments may hold a semicolon."""
    statements, begun = [], ""
    for line in script.splitlines():
        begun += line + "\n"
        if sqlite3.complete_statement(begun):
            statements.append(begun)
            begun = ""
    return statements
