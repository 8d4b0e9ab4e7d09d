"""Rows of a bot's books as records. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_SIDES = {"buy": "b", "sell": "s"}


@dataclass(frozen=True)
class GridRun:
    """A row of `generations`; amounts as there.

    Attributes:
        number: its id.
        symbol: such as ``BTC/USDT``.
        tag: unique in the bot.
        base: coin that is traded.
        quote: coin that prices are in.
        tick_size: quote per base.
        lot_size: base.
        investment: quote.
        carried: base of the grid before.
        carried_cost: what that counts for in the investment (quote).
        settings: what it was started with.
        lines: its prices (quote), as texts.
        started_ms: Unix milliseconds.
        closed_ms: Unix milliseconds; None while it runs.
        result: what it was worth at its end.
    """

    number: int
    symbol: str
    tag: str
    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal
    investment: Decimal
    carried: Decimal
    carried_cost: Decimal
    settings: dict[str, Any]
    lines: list[str]
    started_ms: int
    closed_ms: int | None
    result: dict[str, Any] | None


@dataclass(frozen=True)
class Order:
    """An order, as far as it is known; `side`, `role` and `state` by their first letters."""

    run: int
    client_id: str
    side: str
    role: str
    state: str
    line: int
    attempt: int
    price: Decimal
    quantity: Decimal
    created_ms: int
    exchange_id: str | None


@dataclass(frozen=True)
class Fill:
    """A trade, as the exchange reported it; `side` and `role` by their first letters."""

    run: int
    trade_id: str
    client_id: str
    side: str
    role: str
    price: Decimal
    quantity: Decimal
    quote: Decimal
    fee: Decimal
    fee_coin: str
    time_ms: int
    maker: bool


@dataclass(frozen=True)
class Incident:
    """A kill switch, a pause, or what a person has acknowledged."""

    kind: str
    symbol: str
    at_ms: int
    ended_ms: int | None
    code: str
    text: str


@dataclass(frozen=True)
class Candle:
    """An hour of `samples`; prices in quote."""

    symbol: str
    hour_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    seconds: int
    in_range_seconds: int


@dataclass(frozen=True)
class Batch:
    """Orders with their trades.

    Attributes:
        orders: each once.
        fills: of these orders.
        position: the rowid of the last row.
        mark: names that row: another one there means other books.
    """

    orders: list[Order]
    fills: list[Fill]
    position: int
    mark: str


def candle_of(row: tuple[Any, ...]) -> Candle:
    """An hour, from the columns of `samples` with the hour first."""
    opened, high, low, close = map(Decimal, row[2:6])
    return Candle(row[1], row[0], opened, high, low, close, row[6], row[7])


def grid_run_of(row: tuple[Any, ...]) -> GridRun:
    """A grid run, from its columns in the order of `Books.grid_runs`."""
    market = json.loads(row[4])
    return GridRun(
        number=row[0],
        symbol=row[1],
        tag=row[2],
        base=market["base"],
        quote=market["quote"],
        tick_size=Decimal(market["tick_size"]),
        lot_size=Decimal(market["lot_size"]),
        investment=Decimal(row[6]),
        carried=Decimal(row[7]),
        carried_cost=Decimal(row[8]),
        settings=json.loads(row[3]),
        lines=json.loads(row[5]),
        started_ms=row[9],
        closed_ms=row[10],
        result=None if row[11] is None else json.loads(row[11]),
    )


def _fill(run: int, name: str, side: str, role: str, row: tuple[Any, ...]) -> Fill:
    trade_id, price, quantity, quote, fee, coin, time_ms, maker = row
    return Fill(
        run=run,
        trade_id=trade_id,
        client_id=name,
        side=side,
        role=role,
        price=Decimal(price),
        quantity=Decimal(quantity),
        quote=Decimal(quote),
        fee=Decimal(fee),
        fee_coin=coin,
        time_ms=time_ms,
        maker=bool(maker),
    )


def batch_of(rows: list[tuple[Any, ...]], after: int) -> Batch:
    """Orders and trades of rows that have both."""
    orders: dict[str, Order] = {}
    fills = []
    for _, run, name, side, role, *rest in rows:
        state, line, attempt, price, quantity, created_ms, exchange_id, trade_id, *traded = rest
        orders[name] = Order(
            run,
            name,
            _SIDES[side],
            role[0],
            state[0],
            line,
            attempt,
            Decimal(price),
            Decimal(quantity),
            created_ms,
            exchange_id,
        )
        if trade_id is not None:
            fills.append(_fill(run, name, _SIDES[side], role[0], (trade_id, *traded)))
    if not rows:
        return Batch([], [], after, "")
    last = rows[-1]
    return Batch(list(orders.values()), fills, last[0], f"{last[2]} {last[12] or ''}")
