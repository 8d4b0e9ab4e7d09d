-- The tables of schema 5, before a person could pause a grid.
PRAGMA application_id = 1196573762;
PRAGMA user_version = 5;
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

CREATE TABLE acknowledgements (
    generation INTEGER NOT NULL REFERENCES generations,
    coin TEXT NOT NULL,
    amount TEXT NOT NULL,         -- by which the account has more than the books; below 0: less
    reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;

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
