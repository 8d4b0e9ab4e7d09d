-- The tables of gridbot 0.1.0 (schema 1), as it wrote them.
PRAGMA application_id = 1196573762;
PRAGMA user_version = 1;
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
