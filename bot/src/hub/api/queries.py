"""What the API asks of the database. Every query has its index: a test looks at their plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from gridbase.market import EXACT, plain

from hub.archive.rows import ORDERS, FillRow, Key, OrderRow
from hub.units import Units

_ROLES = {"i": "initial", "g": "grid", "l": "liquidation"}
STATES = {"i": "intended", "o": "open", "f": "filled", "c": "canceled"}
_SIDES = {"b": "buy", "s": "sell"}
HOUR = timedelta(hours=1)

# Of a bot that has gone from paper to live, or back, what was heard last.
BOTS = (
    "SELECT DISTINCT ON (b.name) b.id, b.name, b.mode, b.exchange, b.account, b.heard, b.answered,"
    " b.status,"
    " (SELECT version FROM releases r WHERE r.bot_id = b.id ORDER BY seen DESC LIMIT 1) AS version"
    " FROM bots b ORDER BY b.name, b.heard DESC"
)
RUNS = (
    "SELECT r.id, r.bot_id, b.name AS bot, b.mode, r.symbol, r.base, r.quote, r.investment,"
    " r.carried, r.carried_cost, r.started, r.closed"
    " FROM grid_runs r JOIN bots b ON b.id = r.bot_id ORDER BY r.started, r.id"
)
# $1 to $3 the key of the last row, $4 runs, $5 rows, $6 and $7 bounds of time. None is archived.
OPEN_ORDERS = (
    f"SELECT {ORDERS.fields} FROM (SELECT * FROM orders UNION ALL SELECT * FROM late_orders) one"  # noqa: S608  constants
    " WHERE run_id = ANY($4::int[]) AND state IN ('i', 'o') AND created >= $6 AND created < $7"
    " AND (created, run_id, client_id) < ($1, $2, $3)"
    " ORDER BY created DESC, run_id DESC, client_id DESC LIMIT $5"
)
# Those that a name means, what was heard last first. $1 name or null, $2 mode or null.
NAMED = (
    "SELECT id FROM bots WHERE ($1::text IS NULL OR name = $1)"
    " AND ($2::text IS NULL OR mode = $2) ORDER BY heard DESC"
)
# $1 bots or null, $2 kind or null, $3 and $4 the key of the last row, $5 rows.
INCIDENTS = (
    "SELECT i.id, b.name AS bot, b.mode, i.kind, i.symbol, i.at, i.ended, i.code, i.text"
    " FROM incidents i JOIN bots b ON b.id = i.bot_id WHERE i.at <= $3 AND (i.at, i.id) < ($3, $4)"
    " AND ($1::int[] IS NULL OR i.bot_id = ANY($1)) AND ($2::text IS NULL OR i.kind = $2)"
    " ORDER BY i.at DESC, i.id DESC LIMIT $5"
)
# Whole days, and of the day itself the hours before.
FLOWS_BEFORE = (
    "SELECT run_id, coin, sum(amount) AS amount FROM ("
    "SELECT run_id, coin, amount FROM flow_days"
    " WHERE run_id = ANY($1::int[]) AND day < ($2::timestamptz AT TIME ZONE 'UTC')::date"
    " UNION ALL SELECT run_id, coin, amount FROM flows WHERE run_id = ANY($1::int[])"
    " AND hour >= date_trunc('day', $2::timestamptz, 'UTC') AND hour < $2::timestamptz"
    ") AS before GROUP BY run_id, coin"
)
FLOWS = (
    "SELECT run_id, hour, coin, amount FROM flows"
    " WHERE run_id = ANY($1::int[]) AND hour >= $2 AND hour < $3 ORDER BY hour"
)
RELEASES = (
    "SELECT b.name AS bot, b.mode, r.version, r.seen FROM releases r JOIN bots b ON b.id = r.bot_id"
    " ORDER BY r.seen DESC LIMIT $1"
)


def milliseconds(time: datetime | None) -> int | None:
    """A time as Unix milliseconds."""
    return None if time is None else round(time.timestamp() * 1000)


def fill_document(row: FillRow, run: Mapping[str, Any], units: Units) -> dict[str, Any]:
    """A trade; amounts are exact texts, times Unix milliseconds."""
    price, quantity = units.price(row.price), units.quantity(row.quantity)
    quote = EXACT.multiply(price, quantity) if row.quote is None else row.quote
    return {
        "time": milliseconds(row.time),
        "bot": run["bot"],
        "mode": run["mode"],
        "symbol": run["symbol"],
        "side": _SIDES[row.side],
        "role": _ROLES[row.role],
        "maker": row.maker,
        "price": plain(price),
        "quantity": plain(quantity),
        "quote": plain(quote),
        "fee": plain(row.fee),
        "fee_coin": row.fee_coin,
        "trade_id": row.trade_id,
        "order": row.client_id,
    }


def order_document(row: OrderRow, run: Mapping[str, Any], units: Units) -> dict[str, Any]:
    """An order; amounts are exact texts, times Unix milliseconds."""
    return {
        "created": milliseconds(row.created),
        "bot": run["bot"],
        "mode": run["mode"],
        "symbol": run["symbol"],
        "side": _SIDES[row.side],
        "role": _ROLES[row.role],
        "state": STATES[row.state],
        "line": row.line,
        "price": plain(units.price(row.price)),
        "quantity": plain(units.quantity(row.quantity)),
        "order": row.client_id,
        "exchange_id": row.exchange_id,
    }


def candle_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """An hour of `History.hours`; prices are exact texts."""
    return {**row, "time": milliseconds(row["time"])}


def order_key(row: OrderRow) -> Key:
    """By which orders are paged."""
    return row.created, row.run_id, row.client_id


def equity(
    runs: Sequence[Any], before: Sequence[Any], flows: Sequence[Any], candles: Sequence[Any]
) -> list[dict[str, Any]]:
    """Equity at the end of each hour that the bot has seen: quote left, and base at its close.

    Args:
        runs: grid runs of one bot's symbol, oldest first.
        before: sums of flows before the first hour.
        flows: of these hours, by time.
        candles: the hours, of `History.closes`.
    """
    amounts = {(row["run_id"], row["coin"]): row["amount"] for row in before}
    points, waiting, coming, run = [], list(reversed(flows)), list(reversed(runs)), None
    for candle in candles:
        end = candle["time"] + HOUR
        while waiting and waiting[-1]["hour"] < end:
            row = waiting.pop()
            name = (row["run_id"], row["coin"])
            amounts[name] = EXACT.add(amounts.get(name, Decimal(0)), row["amount"])
        while coming and coming[-1]["started"] < end:
            run = coming.pop()
        if run is None or (run["closed"] is not None and run["closed"] <= candle["time"]):
            continue
        zero = Decimal(0)
        left = EXACT.subtract(run["investment"], run["carried_cost"])
        left = EXACT.add(left, amounts.get((run["id"], run["quote"]), zero))
        held = EXACT.add(run["carried"], amounts.get((run["id"], run["base"]), zero))
        worth = EXACT.add(left, EXACT.multiply(held, candle["close"]))
        points.append(
            {
                "time": milliseconds(end),
                "equity": plain(worth),
                "investment": plain(run["investment"]),
                "held": plain(held),
                "price": plain(candle["close"]),
            }
        )
    return points
