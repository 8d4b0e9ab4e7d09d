"""Writes what was read of a bot's books to the database, each row exactly once.

Keys are the bot's own: a grid run's tag, an order's client order ID, the exchange's ID of a trade.
What is written twice, after a cut or from restored books, changes nothing the second time. Sums by
hour grow by the rows that are new, in the same statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from gridbase.market import EXACT

from hub.book_rows import Batch, Candle, Fill, GridRun, Incident, Order
from hub.config import Bot
from hub.units import Units

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_FILLS = (
    "time, run_id, market_id, side, role, maker, price, quantity, quote, fee, fee_coin, trade_id,"
    " client_id"
)
_FILL_ARRAYS = (
    'unnest($1::timestamptz[], $2::int[], $3::int[], $4::"char"[], $5::"char"[], $6::bool[],'
    " $7::bigint[], $8::bigint[], $9::numeric[], $10::numeric[], $11::text[], $12::text[],"
    " $13::text[])"
)
# What rows named `new` have changed, by run, hour and coin.
_ADD_FLOWS = """
INSERT INTO flows (run_id, hour, coin, amount, fees, fills)
SELECT run_id, date_trunc('hour', time, 'UTC'), coin, sum(amount), sum(fees),
       count(*) FILTER (WHERE counts)
FROM (
    SELECT run_id, time, base AS coin, true AS counts, 0 AS fees,
           CASE side WHEN 'b' THEN quantity * lot_size ELSE -quantity * lot_size END AS amount
    FROM new JOIN markets m ON m.id = market_id
    UNION ALL
    SELECT run_id, time, m.quote, false, 0,
           CASE side WHEN 'b' THEN -1 ELSE 1 END
           * coalesce(new.quote, price * tick_size * (quantity * lot_size))
    FROM new JOIN markets m ON m.id = market_id
    UNION ALL
    SELECT run_id, time, fee_coin, false, fee, -fee FROM new WHERE fee <> 0
) AS parts
GROUP BY 1, 2, 3
ON CONFLICT (run_id, hour, coin) DO UPDATE SET
    amount = flows.amount + excluded.amount,
    fees = flows.fees + excluded.fees,
    fills = flows.fills + excluded.fills
"""
INSERT_FILLS = (
    f"WITH new AS (INSERT INTO fills ({_FILLS}) SELECT * FROM {_FILL_ARRAYS}"  # noqa: S608  constants
    f" ON CONFLICT DO NOTHING RETURNING *), counted AS ({_ADD_FLOWS}) SELECT count(*) FROM new"
)
# The same for late rows that the archive does not have; their table is `late`.
COUNT_LATE = f"WITH new AS (SELECT * FROM late) {_ADD_FLOWS}"  # noqa: S608  constants
_INSERT_LATE = (
    f"INSERT INTO late_fills ({_FILLS}) SELECT * FROM {_FILL_ARRAYS} ON CONFLICT DO NOTHING"  # noqa: S608  constants
)
_INSERT_ORDERS = """
INSERT INTO {table} AS o (created, run_id, market_id, side, role, state, line, attempt, price,
                         quantity, client_id, exchange_id)
SELECT * FROM unnest($1::timestamptz[], $2::int[], $3::int[], $4::"char"[], $5::"char"[],
                     $6::"char"[], $7::int[], $8::int[], $9::bigint[], $10::bigint[], $11::text[],
                     $12::text[])
ON CONFLICT (run_id, created, client_id) DO UPDATE
SET state = excluded.state, exchange_id = excluded.exchange_id
WHERE (o.state, o.exchange_id) IS DISTINCT FROM (excluded.state, excluded.exchange_id)
"""
_INSERT_CANDLES = (
    "INSERT INTO {table} AS c (time, bot_id, symbol, open, high, low, close, seconds,"
    " in_range_seconds) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9)"
    " ON CONFLICT (bot_id, symbol, time) DO UPDATE SET high = excluded.high,"
    " low = excluded.low, close = excluded.close, seconds = excluded.seconds,"
    " in_range_seconds = excluded.in_range_seconds WHERE c.seconds <> excluded.seconds"
)


def moment(time_ms: int) -> datetime:
    """Unix milliseconds as a time, exactly."""
    return _EPOCH + timedelta(milliseconds=time_ms)


class Writer:
    """Writes one bot's rows, inside the caller's transactions.

    Args:
        connection: to the database.
        bot: whose.
    """

    def __init__(self, connection: Any, bot: Bot) -> None:
        self._connection = connection
        self._bot = bot
        self._id = 0
        self._runs: dict[int, tuple[int, Units]] = {}
        self._markets: dict[Units, int] = {}

    async def introduce(self) -> None:
        """Make the bot known, or bring up to date what is said of it; by its mode, too."""
        self._id = await self._connection.fetchval(
            "INSERT INTO bots (name, mode, exchange, account, heard) VALUES ($1,$2,$3,$4, now())"
            " ON CONFLICT (name, mode) DO UPDATE SET exchange = excluded.exchange,"
            " account = excluded.account, heard = excluded.heard RETURNING id",
            self._bot.name,
            self._bot.mode,
            self._bot.exchange,
            self._bot.account,
        )

    async def hear(self, status: dict[str, Any] | None) -> None:
        """Write down that the bot's collector is there, and what the bot answered."""
        if status is None:
            await self._connection.execute("UPDATE bots SET heard = now() WHERE id = $1", self._id)
            return
        await self._connection.execute(
            "UPDATE bots SET heard = now(), answered = now(), status = $2 WHERE id = $1",
            self._id,
            status,
        )
        await self._connection.execute(
            "INSERT INTO releases (bot_id, version, seen) SELECT $1::int, $2, now()"
            " WHERE $2 IS DISTINCT FROM (SELECT version FROM releases WHERE bot_id = $1"
            " ORDER BY seen DESC LIMIT 1)",
            self._id,
            str(status.get("version", "")),
        )

    async def tell(self) -> None:
        """Tell the hubs that listen, when the transaction is committed."""
        await self._connection.execute("SELECT pg_notify('gridberry_fleet', $1)", self._bot.name)

    async def cursor(self, source: str) -> dict[str, Any]:
        """How far a source was read; empty before the first time."""
        found = await self._connection.fetchval(
            "SELECT position FROM cursors WHERE bot_id = $1 AND source = $2", self._id, source
        )
        return dict(found or {})

    async def move_cursor(self, source: str, position: dict[str, Any]) -> None:
        """Write down how far a source was read."""
        await self._connection.execute(
            "INSERT INTO cursors VALUES ($1, $2, $3) ON CONFLICT (bot_id, source) DO UPDATE"
            " SET position = excluded.position",
            self._id,
            source,
            position,
        )

    async def grid_runs(self, runs: Sequence[GridRun]) -> None:
        """Write grid runs, and remember their IDs here."""
        for run in runs:
            number = await self._connection.fetchval(
                "INSERT INTO grid_runs (bot_id, tag, number, symbol, base, quote, investment,"
                " carried, carried_cost, settings, lines, started, closed, result) VALUES"
                " ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14) ON CONFLICT (bot_id, tag)"
                " DO UPDATE SET number = excluded.number, lines = excluded.lines,"
                " closed = excluded.closed, result = excluded.result RETURNING id",
                self._id,
                run.tag,
                run.number,
                run.symbol,
                run.base,
                run.quote,
                run.investment,
                run.carried,
                run.carried_cost,
                run.settings,
                run.lines,
                moment(run.started_ms),
                None if run.closed_ms is None else moment(run.closed_ms),
                run.result,
            )
            units = Units(run.base, run.quote, run.tick_size, run.lot_size)
            self._runs[run.number] = (number, units)

    def knows(self, run: int) -> bool:
        """Whether a grid run of the books was written."""
        return run in self._runs

    async def batch(self, batch: Batch) -> int:
        """Write orders and trades; how many trades were new."""
        if batch.orders:
            orders = [await self._order(order) for order in batch.orders]
            for table, rows in (await self._parted("orders", orders)).items():
                await self._connection.execute(
                    _INSERT_ORDERS.format(table=table), *zip(*rows, strict=True)
                )
        if not batch.fills:
            return 0
        fills = await self._parted("fills", [await self._fill(fill) for fill in batch.fills])
        if late := fills.get("late_fills"):
            await self._connection.execute(_INSERT_LATE, *zip(*late, strict=True))
        if not (new := fills.get("fills")):
            return 0
        return int(await self._connection.fetchval(INSERT_FILLS, *zip(*new, strict=True)))

    async def candles(self, candles: Sequence[Candle]) -> None:
        """Write hours; one that has grown since is brought up to date."""
        hours = [
            (
                moment(one.hour_ms),
                self._id,
                one.symbol,
                one.open,
                one.high,
                one.low,
                one.close,
                one.seconds,
                one.in_range_seconds,
            )
            for one in candles
        ]
        for table, rows in (await self._parted("candles", hours)).items():
            await self._connection.executemany(_INSERT_CANDLES.format(table=table), rows)

    async def _parted(self, table: str, rows: list[Any]) -> dict[str, list[Any]]:
        """Rows by the table that they go to: late ones are of a time that is archived."""
        # Shared until the end of the transaction: no chunk is dropped in between.
        until = await self._connection.fetchval(
            "SELECT archived_until FROM horizons WHERE hypertable = $1 FOR SHARE", table
        )
        parts: dict[str, list[Any]] = {}
        for row in rows:
            parts.setdefault(table if row[0] >= until else f"late_{table}", []).append(row)
        return parts

    async def incidents(self, incidents: Sequence[Incident]) -> None:
        """Write incidents; one that has ended since is brought up to date."""
        await self._connection.executemany(
            "INSERT INTO incidents AS i (bot_id, kind, symbol, at, ended, code, text)"
            " VALUES ($1,$2,$3,$4,$5,$6,$7) ON CONFLICT (bot_id, kind, symbol, at, code, text)"
            " DO UPDATE SET ended = excluded.ended WHERE i.ended IS DISTINCT FROM excluded.ended",
            [
                (
                    self._id,
                    one.kind,
                    one.symbol,
                    moment(one.at_ms),
                    None if one.ended_ms is None else moment(one.ended_ms),
                    one.code,
                    one.text,
                )
                for one in incidents
            ],
        )

    async def _order(self, order: Order) -> tuple[Any, ...]:
        number, units = self._runs[order.run]
        market, units = await self._market(units.finer([order.price], [order.quantity]))
        return (
            moment(order.created_ms),
            number,
            market,
            order.side.encode(),
            order.role.encode(),
            order.state.encode(),
            order.line,
            order.attempt,
            units.ticks(order.price),
            units.lots(order.quantity),
            order.client_id,
            order.exchange_id,
        )

    async def _fill(self, fill: Fill) -> tuple[Any, ...]:
        number, units = self._runs[fill.run]
        market, units = await self._market(units.finer([fill.price], [fill.quantity]))
        ticks, lots = units.ticks(fill.price), units.lots(fill.quantity)
        exact = fill.quote == EXACT.multiply(units.price(ticks), units.quantity(lots))
        return (
            moment(fill.time_ms),
            number,
            market,
            fill.side.encode(),
            fill.role.encode(),
            fill.maker,
            ticks,
            lots,
            None if exact else fill.quote,
            fill.fee,
            fill.fee_coin,
            fill.trade_id,
            fill.client_id,
        )

    async def _market(self, units: Units) -> tuple[int, Units]:
        known = self._markets.get(units)
        if known is None:
            values = (units.base, units.quote, units.tick_size, units.lot_size)
            await self._connection.execute(
                "INSERT INTO markets (base, quote, tick_size, lot_size) VALUES ($1,$2,$3,$4)"
                " ON CONFLICT DO NOTHING",
                *values,
            )
            known = await self._connection.fetchval(
                "SELECT id FROM markets WHERE (base, quote, tick_size, lot_size) = ($1,$2,$3,$4)",
                *values,
            )
            self._markets[units] = known
        return known, units
