"""What is stored beside legs, orders and fills, and how it becomes rows and back. Pure."""

import json
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any

from gridbase.market import Market

from gridbot.core.grid import Plan
from gridbot.core.orders import Fill, Order

ZERO = Decimal(0)


@dataclass(frozen=True)
class GridResult:
    """What a grid was worth when it ended.

    Attributes:
        equity: quote left plus base held at `price` (quote).
        price: price that the base held was valued at (quote).
        grid_profit: what matched pairs earned (quote).
        liquidation_profit: what selling the base held earned against its cost (quote).
        reason: why the grid ended, in one line.
        base: base that the grid held (base).
        takes_over: the next grid begins with what this one leaves.
        next_range: its lowest and highest price (quote); None where the configuration says.
        account: what the account had of the base then, whoever's (base); None where that was not
            asked for, or is not to be compared with what it has later.
    """

    equity: Decimal
    price: Decimal
    grid_profit: Decimal
    liquidation_profit: Decimal
    reason: str
    base: Decimal = ZERO
    takes_over: bool = False
    next_range: tuple[Decimal, Decimal] | None = None
    account: Decimal | None = None


@dataclass(frozen=True)
class GridRun:
    """One grid from its start to its end, as stored.

    Attributes:
        id: running number, over all symbols.
        symbol: unified name, such as ``BTC/USDT``.
        tag: goes into client order IDs.
        settings: what the grid was started with.
        market: the exchange's rules at the start.
        plan: lines, start price, empty line and quantity.
        investment: what the grid may spend (quote).
        opening: the account's balances at the start, by coin.
        first_cursor: the exchange's trades of this grid are after it; see `Broker.trades_after`.
        trade_cursor: its trades up to here are stored.
        started_ms: Unix milliseconds.
        carried: base taken over from the grid before (base).
        carried_cost: what that counts for in the investment (quote).
        closed_ms: Unix milliseconds; None while the grid runs.
        result: what it was worth at its end; None while it runs, or where nobody said.
        watch: what the stop rules remember; None where there is nothing.
    """

    id: int
    symbol: str
    tag: str
    settings: dict[str, str]
    market: Market
    plan: Plan
    investment: Decimal
    opening: dict[str, Decimal]
    first_cursor: str
    trade_cursor: str
    started_ms: int
    carried: Decimal = ZERO
    carried_cost: Decimal = ZERO
    closed_ms: int | None = None
    result: GridResult | None = None
    watch: dict[str, Any] | None = None


@dataclass(frozen=True)
class HaltRow:
    """A kill switch that has fired.

    Attributes:
        symbol: unified name.
        reason_code: which rule.
        text: one line for a person.
        price: price at which it fired (quote).
        at_ms: Unix milliseconds.
        liquidate: whether the base held is to be sold.
    """

    symbol: str
    reason_code: str
    text: str
    price: Decimal
    at_ms: int
    liquidate: bool


@dataclass(frozen=True)
class PauseRow:
    """A person has paused a grid.

    Attributes:
        symbol: unified name.
        reason: one line for a person.
        at_ms: Unix milliseconds.
        cancel: whether its orders are taken back; else they rest on.
    """

    symbol: str
    reason: str
    at_ms: int
    cancel: bool


@dataclass(frozen=True)
class Sample:
    """What the bot saw of the price in one hour.

    Attributes:
        symbol: unified name.
        hour_ms: the hour's begin (Unix milliseconds).
        open: first price seen (quote).
        high: highest.
        low: lowest.
        close: last.
        seconds: how long the price was watched.
        in_range_seconds: how long of that it was between the lowest and the highest line.
    """

    symbol: str
    hour_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    seconds: int
    in_range_seconds: int


@dataclass(frozen=True)
class TradeRow:
    """One trade with its order, or an order that never traded.

    Attributes:
        grid_run: the grid's id.
        pair: id of the sell leg of the pair that it belongs to; empty where it is of none.
        order: the order.
        fill: the trade; None for an order that never traded.
        profit: what the pair earned (quote), on the last trade of each pair.
    """

    grid_run: int
    pair: str
    order: Order
    fill: Fill | None
    profit: Decimal | None = None


def merged(before: Sample, later: Sample) -> Sample:
    """Two parts of the same hour as one."""
    return Sample(
        symbol=before.symbol,
        hour_ms=before.hour_ms,
        open=before.open,
        high=max(before.high, later.high),
        low=min(before.low, later.low),
        close=later.close,
        seconds=before.seconds + later.seconds,
        in_range_seconds=before.in_range_seconds + later.in_range_seconds,
    )


def sample_values(sample: Sample) -> tuple[Any, ...]:
    """A row of `samples`."""
    return (
        sample.symbol,
        sample.hour_ms,
        str(sample.open),
        str(sample.high),
        str(sample.low),
        str(sample.close),
        sample.seconds,
        sample.in_range_seconds,
    )


def sample_of(row: tuple[Any, ...]) -> Sample:
    """A row of `samples` read back."""
    opened, high, low, close = (Decimal(price) for price in row[2:6])
    return Sample(row[0], row[1], opened, high, low, close, row[6], row[7])


SELECT_GRID_RUNS = (
    "SELECT id, symbol, tag, settings, market, lines, start_price, empty_line, quantity,"
    " investment, carried, carried_cost, opening, first_cursor, started_ms, closed_ms, closing,"
    " trade_cursor, watch FROM generations JOIN progress ON generation = id"
)


def grid_run_values(grid_run: GridRun) -> tuple[Any, ...]:
    """A row of `generations`, for a grid that begins."""
    return (
        grid_run.id,
        grid_run.symbol,
        grid_run.tag,
        json.dumps(grid_run.settings, sort_keys=True),
        json.dumps(_market_document(grid_run.market), sort_keys=True),
        lines_text(grid_run.plan),
        str(grid_run.plan.start_price),
        grid_run.plan.empty_line,
        str(grid_run.plan.quantity),
        str(grid_run.investment),
        str(grid_run.carried),
        str(grid_run.carried_cost),
        json.dumps({coin: str(amount) for coin, amount in grid_run.opening.items()}),
        grid_run.first_cursor,
        grid_run.started_ms,
    )


def lines_text(plan: Plan) -> str:
    """A plan's lines as stored."""
    return json.dumps([str(line) for line in plan.lines])


def grid_run_of(row: tuple[Any, ...]) -> GridRun:
    """A row of `SELECT_GRID_RUNS` read back."""
    return GridRun(
        id=row[0],
        symbol=row[1],
        tag=row[2],
        settings=json.loads(row[3]),
        market=_market(json.loads(row[4])),
        plan=Plan(
            lines=tuple(Decimal(line) for line in json.loads(row[5])),
            start_price=Decimal(row[6]),
            empty_line=row[7],
            quantity=Decimal(row[8]),
            investment=Decimal(row[9]),
        ),
        investment=Decimal(row[9]),
        carried=Decimal(row[10]),
        carried_cost=Decimal(row[11]),
        opening={coin: Decimal(amount) for coin, amount in json.loads(row[12]).items()},
        first_cursor=row[13],
        started_ms=row[14],
        closed_ms=row[15],
        result=None if row[16] is None else _result(json.loads(row[16])),
        trade_cursor=row[17],
        watch=None if row[18] is None else json.loads(row[18]),
    )


def result_text(result: GridResult | None) -> str | None:
    """A grid's end as stored."""
    if result is None:
        return None
    return json.dumps(asdict(result), default=str)


def _result(document: dict[str, Any]) -> GridResult:
    """A grid's end read back; what an older version did not store was not asked for."""
    ends, account = document.pop("next_range"), document.pop("account", None)
    reason, takes_over = document.pop("reason"), document.pop("takes_over")
    amounts = {name: Decimal(text) for name, text in document.items()}
    return GridResult(
        **amounts,
        reason=reason,
        takes_over=takes_over,
        next_range=None if ends is None else (Decimal(ends[0]), Decimal(ends[1])),
        account=None if account is None else Decimal(account),
    )


# The amounts among a market's rules: text in JSON, exact when read back.
_AMOUNTS = [field.name for field in fields(Market) if field.type in {Decimal, Decimal | None}]
_PAIRS = [field.name for field in fields(Market) if field.type == tuple[Decimal, Decimal] | None]


def _market_document(market: Market) -> dict[str, Any]:
    document = asdict(market)
    for name in _AMOUNTS:
        if document[name] is not None:
            document[name] = str(document[name])
    for name in _PAIRS:
        if document[name] is not None:
            document[name] = [str(amount) for amount in document[name]]
    return document


def _market(document: dict[str, Any]) -> Market:
    """A market's rules; what an older version did not store is not bounded."""
    rules = dict(document)
    for name in _AMOUNTS:
        if rules.get(name) is not None:
            rules[name] = Decimal(rules[name])
    for name in _PAIRS:
        if rules.get(name) is not None:
            rules[name] = tuple(map(Decimal, rules[name]))
    return Market(**rules)
