"""The tables of the exchange's books, and how books of earlier versions become them."""

SCHEMA_VERSION = 3
SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE balances (
    asset TEXT PRIMARY KEY, free TEXT NOT NULL, locked TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""
# Numbers of orders and trades count per symbol, as Binance's do.
ORDER_TABLES = """
CREATE TABLE orders (
    symbol TEXT NOT NULL,
    order_id INTEGER NOT NULL,
    client_order_id TEXT NOT NULL,
    side TEXT NOT NULL,
    type TEXT NOT NULL,
    time_in_force TEXT NOT NULL,
    price TEXT NOT NULL,
    quantity TEXT NOT NULL,
    quote_quantity TEXT NOT NULL,
    executed TEXT NOT NULL,
    executed_quote TEXT NOT NULL,
    locked TEXT NOT NULL,
    status TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (symbol, order_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_by_client_id ON orders (symbol, client_order_id);
CREATE INDEX orders_open ON orders (symbol, status)
    WHERE status IN ('NEW', 'PARTIALLY_FILLED');
CREATE TABLE trades (
    symbol TEXT NOT NULL,
    trade_id INTEGER NOT NULL,
    order_id INTEGER NOT NULL,
    price TEXT NOT NULL,
    quantity TEXT NOT NULL,
    quote_quantity TEXT NOT NULL,
    commission TEXT NOT NULL,
    commission_asset TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    is_buyer INTEGER NOT NULL,
    is_maker INTEGER NOT NULL,
    PRIMARY KEY (symbol, trade_id),
    FOREIGN KEY (symbol, order_id) REFERENCES orders (symbol, order_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX trades_by_order ON trades (symbol, order_id);
"""
# Schema 1 held one symbol, which its facts named as BTC/USDT.
PUT_ASIDE_1 = """
ALTER TABLE trades RENAME TO old_trades;
ALTER TABLE orders RENAME TO old_orders;
DROP INDEX orders_by_client_id;
DROP INDEX orders_open;
DROP INDEX trades_by_order;
"""
TAKE_OVER_1 = """
INSERT INTO orders SELECT
    (SELECT replace(value, '/', '') FROM facts WHERE name = 'symbol'), * FROM old_orders;
INSERT INTO trades SELECT
    (SELECT replace(value, '/', '') FROM facts WHERE name = 'symbol'), * FROM old_trades;
DROP TABLE old_trades;
DROP TABLE old_orders;
INSERT INTO facts SELECT
    name || ' ' || (SELECT value FROM facts WHERE name = 'symbol'), value
    FROM facts WHERE name IN ('position', 'market_fingerprint');
DELETE FROM facts WHERE name IN ('position', 'market_fingerprint');
UPDATE facts SET name = 'symbols' WHERE name = 'symbol';
"""
# Since schema 3 an order remembers self-trade prevention, and in how many parts it still fills.
TAKE_OVER_2 = """
ALTER TABLE orders ADD COLUMN self_trade_prevention TEXT NOT NULL DEFAULT 'NONE';
ALTER TABLE orders ADD COLUMN prevented TEXT NOT NULL DEFAULT '0';
ALTER TABLE orders ADD COLUMN prevented_match_id INTEGER NOT NULL DEFAULT -1;
ALTER TABLE orders ADD COLUMN parts INTEGER NOT NULL DEFAULT 0;
UPDATE orders SET parts = 1 WHERE status = 'PARTIALLY_FILLED';
CREATE INDEX orders_prevented ON orders (symbol, prevented_match_id)
    WHERE prevented_match_id >= 0;
"""


def steps_from(version: int) -> str | None:
    """SQL that makes the tables of this version out of an earlier one's.

    Args:
        version: of the books; 0 for new ones.

    Returns:
        The statements; None where the version is not an earlier one.
    """
    return {
        0: SCHEMA + ORDER_TABLES + TAKE_OVER_2,
        1: PUT_ASIDE_1 + ORDER_TABLES + TAKE_OVER_1 + TAKE_OVER_2,
        2: TAKE_OVER_2,
    }.get(version)
