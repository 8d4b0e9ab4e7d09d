-- What an option watcher has seen: snapshots of options, and one-minute bars of their stocks.
-- Amounts are in the currency that the watcher asks for; null is what the Gateway did not tell.

CREATE TABLE option_snapshots (
    time timestamptz NOT NULL,
    symbol text COLLATE "C" NOT NULL,     -- of the stock
    expiry date NOT NULL,
    strike numeric NOT NULL,
    "right" text COLLATE "C" NOT NULL CHECK ("right" IN ('C', 'P')),
    under_price numeric,                  -- of the stock
    bid numeric,
    ask numeric,
    model numeric,                        -- the Gateway's own price
    volatility numeric,                   -- implied, of a year
    delta numeric,
    gamma numeric,
    vega numeric,
    theta numeric
);
SELECT create_hypertable('option_snapshots', 'time', chunk_time_interval => interval '28 days',
                         create_default_indexes => false);
CREATE UNIQUE INDEX option_snapshots_key ON option_snapshots (symbol, expiry, strike, "right", time);

CREATE TABLE stock_bars (
    time timestamptz NOT NULL,            -- of its beginning
    symbol text COLLATE "C" NOT NULL,
    open numeric NOT NULL,
    high numeric NOT NULL,
    low numeric NOT NULL,
    close numeric NOT NULL,
    volume numeric
);
SELECT create_hypertable('stock_bars', 'time', chunk_time_interval => interval '28 days',
                         create_default_indexes => false);
CREATE UNIQUE INDEX stock_bars_key ON stock_bars (symbol, time);
