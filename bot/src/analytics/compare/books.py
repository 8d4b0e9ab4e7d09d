"""A bot's books as a comparison needs them: grids, their legs, pauses and kill switches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from gridbase.market import EXACT
from gridbot.accounting import trade_history
from gridbot.core.orders import OrderState, Role, Side
from gridbot.store import GridRun, Store, TradeRow

from analytics.compare.steps import ZERO, Attempt, Leg, Step

FOREVER = 2**62
ACCOUNT = "account"  # the symbol of a judge's verdict over all grids
_PAUSES = "SELECT at_ms, cleared_ms FROM pauses WHERE symbol = ? ORDER BY at_ms"
_HALTS = "SELECT at_ms, cleared_ms FROM halts WHERE symbol IN (?, ?) ORDER BY at_ms"


@dataclass(frozen=True)
class Stretch:
    """From when to when something held (Unix milliseconds)."""

    from_ms: int
    to_ms: int

    def meets(self, from_ms: int, to_ms: int) -> bool:
        """Whether it held at some moment of another stretch, both ends included."""
        return self.from_ms <= to_ms and from_ms <= self.to_ms


@dataclass(frozen=True)
class Traded:
    """One grid run with all that it did.

    Attributes:
        run: the grid.
        legs: in the order of their first orders.
    """

    run: GridRun
    legs: list[Leg]

    @property
    def start_ms(self) -> int:
        """When the plan was made that the grid trades by (Unix milliseconds)."""
        initial = [leg.created_ms for leg in self.legs if leg.role is Role.INITIAL]
        first = [leg.created_ms for leg in self.legs[:1]]
        return max(initial, default=max(first, default=self.run.started_ms))


def traded(store: Store, run: GridRun) -> Traded:
    """A grid with its legs, settled or not.

    Args:
        store: the books, opened for reading.
        run: the grid.

    Raises:
        StoreError: the books cannot be read.
    """
    found: dict[str, _Sum] = {}
    for row in trade_history.rows(store, run.symbol, run.id):
        found.setdefault(row.order.leg, _Sum()).add(row)
    legs = sorted((each.leg(run) for each in found.values()), key=lambda leg: leg.created_ms)
    answered = {(leg.line, leg.side): leg.created_ms for leg in legs if leg.role is Role.GRID}
    return Traded(run, [_ended(leg, answered) for leg in legs])


def pauses(store: Store, symbol: str) -> list[Stretch]:
    """When a person had paused a symbol's grid."""
    with store.transaction("DEFERRED") as connection:
        return _stretches(connection.execute(_PAUSES, (symbol,)))


def halts(store: Store, symbol: str) -> list[Stretch]:
    """When a kill switch had stopped a symbol's grid."""
    with store.transaction("DEFERRED") as connection:
        return _stretches(connection.execute(_HALTS, (symbol, ACCOUNT)))


def _stretches(rows: Iterable[tuple[int, int | None]]) -> list[Stretch]:
    return [Stretch(begin, FOREVER if end is None else end) for begin, end in rows]


@dataclass
class _Sum:
    """A leg's rows put together."""

    rows: dict[str, TradeRow] = field(default_factory=dict)
    trades: int = 0
    first_ms: int = FOREVER
    last_ms: int = 0
    took: bool = False
    quantity: Decimal = ZERO
    quote: Decimal = ZERO
    fees: dict[str, Decimal] = field(default_factory=dict)

    def add(self, row: TradeRow) -> None:
        self.rows[row.order.client_id] = row
        fill = row.fill
        if fill is None:
            return
        self.trades += 1
        self.first_ms = min(self.first_ms, fill.time_ms)
        self.last_ms = max(self.last_ms, fill.time_ms)
        self.took = self.took or not fill.maker
        self.quantity = EXACT.add(self.quantity, fill.quantity)
        self.quote = EXACT.add(self.quote, fill.quote)
        before = self.fees.get(fill.commission_coin, ZERO)
        self.fees[fill.commission_coin] = EXACT.add(before, fill.commission)

    def leg(self, run: GridRun) -> Leg:
        orders = sorted((row.order for row in self.rows.values()), key=lambda each: each.attempt)
        # Of a running number that a place goes on with: the first one names the leg.
        first, last = orders[0], orders[-1]
        step = None
        if self.trades:
            step = Step(
                self.last_ms,
                first.line,
                first.side,
                first.role,
                self.quantity,
                self.quote,
                self.fees,
            )
        price = run.plan.lines[first.line] if first.role is Role.GRID else first.price
        return Leg(
            name=first.leg,
            role=first.role,
            side=first.side,
            line=first.line,
            price=price,
            quantity=first.quantity,
            attempts=tuple(
                Attempt(each.created_ms, each.exchange_id is not None) for each in orders
            ),
            complete=last.state is OrderState.FILLED,
            trades=self.trades,
            first_ms=self.first_ms if self.trades else 0,
            took=self.took,
            step=step,
        )


def _ended(leg: Leg, answered: dict[tuple[int, Side], int]) -> Leg:
    """A leg whose last order was closed before all of it traded has ended where it was answered."""
    if leg.complete or leg.step is None or leg.role is not Role.GRID:
        return leg
    counter = (leg.line + 1, Side.SELL) if leg.side is Side.BUY else (leg.line - 1, Side.BUY)
    done = answered.get(counter, 0) >= leg.step.time_ms
    return Leg(**{**vars(leg), "complete": done})
