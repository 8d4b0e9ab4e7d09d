-- Orders and candles are archived, too. Rows of a time whose chunk is archived wait in a table of
-- their own; so do orders of such a time that may still trade.

CREATE TABLE late_orders (LIKE orders, PRIMARY KEY (run_id, created, client_id));
CREATE INDEX late_orders_created ON late_orders (created DESC);
CREATE TABLE late_candles (LIKE candles, PRIMARY KEY (bot_id, symbol, time));
INSERT INTO horizons VALUES ('orders', '1970-01-01Z'), ('candles', '1970-01-01Z');
