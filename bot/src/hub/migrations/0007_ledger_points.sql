-- How far the ledger has booked a bot's trades of a symbol, and what they came to: who begins there
-- need not read them all. A row counts as long as there are as many trades before its day as it has
-- booked, and these were booked by today's rules.

CREATE TABLE ledger_points (
    bot_id integer NOT NULL REFERENCES bots,
    symbol text COLLATE "C" NOT NULL,
    day date NOT NULL,                    -- the first one (UTC) that is not booked
    fills bigint NOT NULL,                -- trades that are
    rules text NOT NULL,                  -- names the code that has booked them
    book jsonb NOT NULL,                  -- open lots, sums by year and by day; amounts are texts
    PRIMARY KEY (bot_id, symbol)
);
