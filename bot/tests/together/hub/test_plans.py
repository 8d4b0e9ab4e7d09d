"""Every query of the API has its index: PostgreSQL's own plans over enough rows say so."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hub import history, ledger
from hub.api import queries
from hub.database import Address

from bot.tests.together.hub.conftest import in_database

FILL = """
INSERT INTO bots (name, mode, exchange, account, heard)
SELECT 'pi' || i, 'paper', 'binance', 'main', now() FROM generate_series(1, 20) i;
INSERT INTO markets (base, quote, tick_size, lot_size) VALUES ('BTC', 'USDT', 0.01, 0.00001);
INSERT INTO grid_runs (bot_id, tag, number, symbol, base, quote, investment, carried, carried_cost,
                       settings, lines, started)
SELECT i, 'tag', 1, 'BTC/USDT', 'BTC', 'USDT', 1000, 0, 0, '{}', '[]', '2026-01-01Z'
FROM generate_series(1, 20) i;
INSERT INTO fills
SELECT '2026-01-01Z'::timestamptz + i * interval '30 seconds', i % 20 + 1, 1, 'b', 'g', true,
       6000000 + i % 1000, 100 + i % 7, NULL, 0.06, 'USDT', i::text, 'pi-BTCUSDT-abc123-1b' || i
FROM generate_series(1, 60000) i;
INSERT INTO orders
SELECT '2026-01-01Z'::timestamptz + i * interval '30 seconds', i % 20 + 1, 1, 'b', 'g',
       CASE WHEN i % 500 = 0 THEN 'o' ELSE 'f' END::"char", 1, i, 6000000, 100,
       'pi-BTCUSDT-abc123-1b' || i, i::text
FROM generate_series(1, 60000) i;
INSERT INTO late_orders SELECT * FROM orders WHERE created < '2026-01-08Z';
INSERT INTO flows
SELECT i % 20 + 1, '2026-01-01Z'::timestamptz + (i / 20) * interval '1 hour', coin, 1, 0, 1
FROM generate_series(1, 20000) i, (VALUES ('BTC'), ('USDT')) AS coins (coin);
INSERT INTO candles
SELECT '2026-01-01Z'::timestamptz + (i / 20) * interval '1 hour', i % 20 + 1, 'BTC/USDT', 1, 1, 1,
       1, 3600, 3600
FROM generate_series(1, 20000) i;
INSERT INTO late_candles SELECT * FROM candles WHERE time < '2026-02-01Z';
INSERT INTO incidents (bot_id, kind, symbol, at, code, text)
SELECT i % 20 + 1, 'pause', 'BTC/USDT', '2026-01-01Z'::timestamptz + i * interval '1 hour', 'kept',
       'why'
FROM generate_series(1, 20000) i;
INSERT INTO ledger_points
SELECT i % 20 + 1, 'COIN' || i / 20 || '/USDT', '2026-01-01', 1, 'rules', '{}'
FROM generate_series(0, 9999) i;
ANALYZE;
"""
BEGIN, LAST = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 20, tzinfo=UTC)
KEY = (LAST, 5, "7")
WEEK = timedelta(days=7)
PAGE = (BEGIN, LAST, *KEY, 101)
HOURS = (3, "BTC/USDT", BEGIN, BEGIN + WEEK, 101)
CASES = {
    "fills of all": (history.LATEST, (None, BEGIN, LAST, *KEY, 101), "fills_time"),
    "fills of a bot": (history.LATEST_OF_RUNS, ([3], BEGIN, LAST, *KEY, 101), "fills_key"),
    "fills of many": (history.LATEST, ([3, 4], BEGIN, LAST, *KEY, 101), "fills_key|fills_time"),
    "fills in order": (history.OLDEST, ([3], *KEY, LAST + WEEK, 20_000), "fills_key|fills_time"),
    "orders of all": (history.ORDERS_LATEST, (None, *PAGE, None), "orders_created"),
    "orders of a bot": (history.ORDERS_OF_RUNS, ([3], *PAGE, "f"), "orders_key"),
    "orders of many": (history.ORDERS_LATEST, ([3], *PAGE, "f"), "orders_key|orders_created"),
    "late orders": (history.LATE_ORDERS, (None, *PAGE, None), "late_orders_created"),
    "late orders of a bot": (history.LATE_ORDERS, ([3], *PAGE, "f"), "late_orders_"),
    "open orders": (queries.OPEN_ORDERS, (*KEY, [3, 4], 101, BEGIN, LAST), "orders_open"),
    "candles": (history.HOURS, HOURS, "candles_key"),
    "late candles": (history.LATE_HOURS, HOURS, "late_candles_pkey"),
    "closes": (history.CLOSES, HOURS, "candles_key"),
    "late closes": (history.LATE_CLOSES, HOURS, "late_candles_pkey"),
    "flows": (queries.FLOWS, ([3], BEGIN, BEGIN + WEEK), "flows_pkey"),
    "flows before": (queries.FLOWS_BEFORE, ([3], BEGIN + WEEK), "flows_pkey"),
    "days before": (queries.FLOWS_BEFORE, ([3], BEGIN + WEEK), "flow_days_pkey"),
    "count of trades": (ledger._COUNT, ([3], LAST.date()), "flow_days_pkey"),
    "days of a bot": (ledger._DAYS, ([3], LAST.date()), "flow_days_pkey"),
    "point of a book": (ledger._POINT, (3, "BTC/USDT", "rules"), "ledger_points_pkey"),
    "hours of a bot": (history.TRADED, ([3, 4],), "flows_pkey"),
    "incidents": (queries.INCIDENTS, (None, None, LAST, 2**31 - 1, 101), "incidents_at"),
    "incidents of a bot": (queries.INCIDENTS, ([3], None, LAST, 2**31 - 1, 101), "incidents_"),
}


@pytest.fixture(scope="module")
def filled(server, template):
    server.sql(f"CREATE DATABASE plans TEMPLATE {template.database} STRATEGY file_copy")
    server.sql(FILL, "plans")
    return Address(server.host, server.port, "plans", "postgres")


@pytest.mark.parametrize("name", CASES)
def test_a_query_uses_its_index(filled, name):
    query, values, index = CASES[name]

    async def explain(connection):
        found = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS OFF) {query}", *values)
        return "\n".join(row[0] for row in found)

    plan = in_database(filled, explain)
    scans = re.findall(r"Seq Scan on (?!bots|grid_runs|markets)\S+", plan)
    used = re.findall(r"(?:using|on) (?:_hyper_\d+_\d+_chunk_)?(\w+)", plan)
    assert not scans, plan
    assert any(re.match(index, one) for one in used), plan
