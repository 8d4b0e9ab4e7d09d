-- What the bots have written down: who they are, their grid runs, orders, trades and hours.
-- Amounts are whole ticks and lots of a market, or numeric where they need not be whole.

CREATE TABLE bots (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    mode text NOT NULL CHECK (mode IN ('paper', 'live')),
    exchange text NOT NULL,
    account text NOT NULL,                -- bots of one account share its balances
    heard timestamptz NOT NULL,           -- when its collector last wrote
    answered timestamptz,                 -- when it last answered its collector
    status jsonb                          -- what it answered: its /api/status
);

-- The units in which amounts are whole. A market whose exchange makes its ticks finer gets a new row.
CREATE TABLE markets (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    base text NOT NULL,
    quote text NOT NULL,
    tick_size numeric NOT NULL CHECK (tick_size > 0),
    lot_size numeric NOT NULL CHECK (lot_size > 0),
    UNIQUE (base, quote, tick_size, lot_size)
);

CREATE TABLE grid_runs (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bot_id integer NOT NULL REFERENCES bots,
    tag text NOT NULL,                    -- unique in a bot, also after its books were lost
    number integer NOT NULL,              -- in the bot's own books
    symbol text NOT NULL,
    base text NOT NULL,
    quote text NOT NULL,
    investment numeric NOT NULL,
    carried numeric NOT NULL,             -- base of the grid before
    carried_cost numeric NOT NULL,
    settings jsonb NOT NULL,
    lines jsonb NOT NULL,
    started timestamptz NOT NULL,
    closed timestamptz,
    result jsonb,
    UNIQUE (bot_id, tag)
);

-- A row is one trade, as the exchange reported it; it never changes.
CREATE TABLE fills (
    time timestamptz NOT NULL,
    run_id integer NOT NULL,
    market_id integer NOT NULL,
    side "char" NOT NULL CHECK (side IN ('b', 's')),
    role "char" NOT NULL CHECK (role IN ('i', 'g', 'l')),
    maker boolean NOT NULL,
    price bigint NOT NULL,                -- ticks
    quantity bigint NOT NULL,             -- lots
    quote numeric,                        -- null: exactly price times quantity
    fee numeric NOT NULL,
    fee_coin text COLLATE "C" NOT NULL,
    trade_id text COLLATE "C" NOT NULL,
    client_id text COLLATE "C" NOT NULL
);
SELECT create_hypertable('fills', 'time', chunk_time_interval => interval '7 days',
                         create_default_indexes => false);
CREATE UNIQUE INDEX fills_key ON fills (run_id, time, trade_id);
CREATE INDEX fills_time ON fills (time DESC);

-- Trades of a time whose chunk is archived already: the archiver takes in those that are new.
CREATE TABLE late_fills (LIKE fills, PRIMARY KEY (run_id, time, trade_id));

CREATE TABLE orders (
    created timestamptz NOT NULL,
    run_id integer NOT NULL,
    market_id integer NOT NULL,
    side "char" NOT NULL CHECK (side IN ('b', 's')),
    role "char" NOT NULL CHECK (role IN ('i', 'g', 'l')),
    state "char" NOT NULL CHECK (state IN ('i', 'o', 'f', 'c')),
    line integer NOT NULL,
    attempt integer NOT NULL,
    price bigint NOT NULL,                -- ticks
    quantity bigint NOT NULL,             -- lots
    client_id text COLLATE "C" NOT NULL,
    exchange_id text COLLATE "C"
);
SELECT create_hypertable('orders', 'created', chunk_time_interval => interval '28 days',
                         create_default_indexes => false);
CREATE UNIQUE INDEX orders_key ON orders (run_id, created, client_id);
CREATE INDEX orders_created ON orders (created DESC);
CREATE INDEX orders_open ON orders (run_id) WHERE state IN ('i', 'o');

-- What the trades of an hour have changed of each coin, fees included, and the fees among it.
CREATE TABLE flows (
    run_id integer NOT NULL,
    hour timestamptz NOT NULL,
    coin text COLLATE "C" NOT NULL,
    amount numeric NOT NULL,
    fees numeric NOT NULL,
    fills bigint NOT NULL,
    PRIMARY KEY (run_id, hour, coin)
);

-- Hours as a bot has seen its price.
CREATE TABLE candles (
    time timestamptz NOT NULL,
    bot_id integer NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    open numeric NOT NULL,
    high numeric NOT NULL,
    low numeric NOT NULL,
    close numeric NOT NULL,
    seconds integer NOT NULL,             -- of the hour, how long it was watched
    in_range_seconds integer NOT NULL
);
SELECT create_hypertable('candles', 'time', chunk_time_interval => interval '28 days',
                         create_default_indexes => false);
CREATE UNIQUE INDEX candles_key ON candles (bot_id, symbol, time);

-- How far each collector has read its bot's books; written with the rows, in one transaction.
CREATE TABLE cursors (
    bot_id integer NOT NULL REFERENCES bots,
    source text NOT NULL,
    position jsonb NOT NULL,
    PRIMARY KEY (bot_id, source)
);

-- Everything before it is in the archive. Collectors share its row while they write, the archiver
-- has it alone while it drops a chunk.
CREATE TABLE horizons (
    hypertable text PRIMARY KEY,
    archived_until timestamptz NOT NULL
);
INSERT INTO horizons VALUES ('fills', '1970-01-01Z');
