"""Books that an earlier version wrote are taken over in place."""

import sqlite3
from decimal import Decimal

import pytest
from gridbase.errors import UserError
from gridexchange.store.store import Store

from .conftest import World, make_series

D = Decimal
FLAT = (100, 100, 100, 100)
SCHEMA_1 = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE balances (
    asset TEXT PRIMARY KEY, free TEXT NOT NULL, locked TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE orders (
    order_id INTEGER PRIMARY KEY,
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
    updated_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX orders_by_client_id ON orders (client_order_id);
CREATE INDEX orders_open ON orders (status) WHERE status IN ('NEW', 'PARTIALLY_FILLED');
CREATE TABLE trades (
    trade_id INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES orders (order_id),
    price TEXT NOT NULL,
    quantity TEXT NOT NULL,
    quote_quantity TEXT NOT NULL,
    commission TEXT NOT NULL,
    commission_asset TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    is_buyer INTEGER NOT NULL,
    is_maker INTEGER NOT NULL
) STRICT;
CREATE INDEX trades_by_order ON trades (order_id);
INSERT INTO orders VALUES
    (1, 'pi1-1', 'BUY', 'LIMIT', 'GTC', '95', '0.1', '0', '0.1', '9.5', '0', 'FILLED', 10, 20),
    (2, 'pi1-2', 'SELL', 'LIMIT', 'GTC', '120', '0.2', '0', '0', '0', '0.2', 'NEW', 30, 30);
INSERT INTO trades VALUES (1, 1, '95', '0.1', '9.5', '0.0001', 'BTC', 20, 1, 1);
INSERT INTO balances VALUES ('BTC', '0.8999', '0.2'), ('USDT', '9990.5', '0');
PRAGMA user_version = 1;
"""

SCHEMA_2 = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE balances (
    asset TEXT PRIMARY KEY, free TEXT NOT NULL, locked TEXT NOT NULL
) STRICT, WITHOUT ROWID;
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
INSERT INTO orders VALUES
    ('BTCUSDT', 1, 'pi1-1', 'BUY', 'LIMIT', 'GTC', '95', '0.2', '0', '0.1', '9.5', '9.5',
     'PARTIALLY_FILLED', 10, 20),
    ('BTCUSDT', 2, 'pi1-2', 'SELL', 'LIMIT', 'GTC', '120', '0.2', '0', '0', '0', '0.2', 'NEW',
     30, 30);
INSERT INTO trades VALUES ('BTCUSDT', 1, 1, '95', '0.1', '9.5', '0.0001', 'BTC', 20, 1, 1);
INSERT INTO balances VALUES ('BTC', '0.8999', '0.2'), ('USDT', '9981', '9.5');
INSERT INTO facts VALUES ('symbols', 'BTC/USDT'), ('position BTC/USDT', '5');
PRAGMA user_version = 2;
"""


@pytest.fixture
def old_books(tmp_path):
    """Two orders and a trade of schema 1, five legs into the market."""
    directory = tmp_path / "state"
    directory.mkdir()
    series = make_series(FLAT, FLAT, FLAT)
    database = sqlite3.connect(directory / "exchange.sqlite3")
    database.executescript(SCHEMA_1)
    facts = {
        "symbol": "BTC/USDT",
        "position": "5",
        "market_fingerprint": series.fingerprint,
    }
    database.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
    database.commit()
    database.close()
    return directory, series


def test_everything_is_still_there(old_books):
    world = World(*old_books)
    assert world.listing.position == 5
    assert not world.listing.restarted
    (trade,) = world.signed("GET", "myTrades", symbol="BTCUSDT").json
    assert (trade["id"], trade["orderId"], trade["price"]) == (1, 1, "95.00000000")
    (resting,) = world.signed("GET", "openOrders").json
    assert (resting["orderId"], resting["clientOrderId"]) == (2, "pi1-2")
    assert world.account() == {"BTC": (D("0.8999"), D("0.2")), "USDT": (D("9990.5"), D(0))}
    named = world.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="pi1-1").json
    assert named["status"] == "FILLED"
    assert world.order(price="80", quantity="0.1").json["orderId"] == 3
    world.reopen()
    assert len(world.signed("GET", "openOrders").json) == 2
    assert world.store._database.execute("PRAGMA foreign_key_check").fetchall() == []
    assert world.store._database.execute("PRAGMA user_version").fetchone() == (3,)
    world.store.close()


def test_books_of_schema_2_go_on_with_self_trade_prevention(tmp_path):
    series = make_series(FLAT, FLAT, FLAT)
    directory = tmp_path / "state"
    directory.mkdir()
    database = sqlite3.connect(directory / "exchange.sqlite3")
    database.executescript(SCHEMA_2)
    fact = ("market_fingerprint BTC/USDT", series.fingerprint)
    database.execute("INSERT INTO facts VALUES (?, ?)", fact)
    database.commit()
    database.close()
    world = World(directory, series)
    reached, resting = world.signed("GET", "openOrders").json
    assert (reached["clientOrderId"], reached["executedQty"]) == ("pi1-1", "0.10000000")
    assert (resting["clientOrderId"], resting["status"]) == ("pi1-2", "NEW")
    assert resting["selfTradePreventionMode"] == "NONE"
    assert "preventedQuantity" not in resting
    # The market had reached the first one, and fills the rest of it in its next leg.
    world.legs(1)
    order = world.signed("GET", "order", symbol="BTCUSDT", orderId=1).json
    assert (order["status"], order["executedQty"]) == ("FILLED", "0.20000000")
    assert world.account()["USDT"] == (D(9981), D(0))
    world.reopen()
    (left,) = world.signed("GET", "openOrders").json
    assert left["clientOrderId"] == "pi1-2"
    world.store.close()


@pytest.mark.parametrize("step", ["TAKE_OVER_1", "TAKE_OVER_2"])
def test_a_takeover_that_fails_changes_nothing(old_books, monkeypatch, step):
    directory, series = old_books
    before = dump(directory)
    with monkeypatch.context() as broken:
        broken.setattr(f"gridexchange.store.schema.{step}", "INSERT INTO nowhere VALUES (1);")
        with pytest.raises(UserError, match="cannot be used: no such table: nowhere"):
            Store(directory)
    assert dump(directory) == before
    world = World(directory, series)
    assert world.listing.position == 5
    world.store.close()


def dump(directory) -> list[str]:
    database = sqlite3.connect(directory / "exchange.sqlite3")
    lines = [*database.iterdump(), str(database.execute("PRAGMA user_version").fetchone())]
    database.close()
    return lines
