"""What the parts of a trader share: one grid, its exchange, its books, and what is on its way."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gridbase.clock import Clock
from gridbase.market import Market, plain
from gridbase.metrics import Durations

from gridbot.config.load import AccountConfig, GridConfig
from gridbot.core.engine import Carried, Changes, GridEngine
from gridbot.core.orders import Order, OrderState, Role, Side
from gridbot.core.orders_in_flight import OrdersInFlight, State
from gridbot.exchanges.port import Broker, RemoteOrder
from gridbot.indicators.candle_cache import INTERVALS, CandleCache
from gridbot.indicators.window import CandleWindow
from gridbot.store import GridRun, PauseRow, Store

log = logging.getLogger(__name__)
RECENT_ANSWERS = 50
ACKNOWLEDGEMENT_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds


@dataclass(frozen=True)
class WindDown:
    """Why a grid comes to its end, and what follows.

    Attributes:
        reason: a few words for people.
        liquidate: sell the base that is held.
        takes_over: the next grid begins with what this one leaves.
        next_range: its lowest and highest price (quote); None where the configuration says.
    """

    reason: str
    liquidate: bool = False
    takes_over: bool = False
    next_range: tuple[Decimal, Decimal] | None = None

    def document(self) -> dict[str, Any]:
        """As stored beside the grid."""
        ends = None if self.next_range is None else [plain(end) for end in self.next_range]
        return {
            "reason": self.reason,
            "liquidate": self.liquidate,
            "takes_over": self.takes_over,
            "next_range": ends,
        }

    @staticmethod
    def from_document(document: dict[str, Any]) -> "WindDown":
        """Read back what `document` wrote."""
        ends = document["next_range"]
        next_range = None if ends is None else (Decimal(ends[0]), Decimal(ends[1]))
        return WindDown(
            document["reason"], document["liquidate"], document["takes_over"], next_range
        )


def engine_of(account: AccountConfig, grid_run: GridRun) -> GridEngine:
    """An engine for a stored grid of an account, without its history yet."""
    return GridEngine(
        bot_name=account.bot_name,
        tag=grid_run.tag,
        market=grid_run.market,
        plan=grid_run.plan,
        investment=grid_run.investment,
        carried=Carried(grid_run.carried, grid_run.carried_cost),
    )


@dataclass
class Answers:
    """What the exchange said to the orders that this process sent.

    Attributes:
        acknowledged: it has them.
        refused: it does not take them.
        unanswered: it did not answer, or broke down.
        doubled: it has another order under the same client order ID.
        seconds: how long it took to acknowledge the latest.
        durations: the same of all of them.
    """

    acknowledged: int = 0
    refused: int = 0
    unanswered: int = 0
    doubled: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_ANSWERS))
    durations: Durations = field(default_factory=lambda: Durations(ACKNOWLEDGEMENT_BOUNDS))

    def acknowledge(self, seconds: float) -> None:
        """Count an order that the exchange has acknowledged, after so many seconds."""
        self.seconds.append(seconds)
        self.durations.observe(seconds)
        self.acknowledged += 1

    def document(self) -> dict[str, int | None]:
        """As the status shows it; the median of the latest acknowledgements in milliseconds."""
        middle = sorted(self.seconds)[len(self.seconds) // 2] if self.seconds else None
        return {
            "acknowledged": self.acknowledged,
            "refused": self.refused,
            "unanswered": self.unanswered,
            "doubled": self.doubled,
            "milliseconds": None if middle is None else round(middle * 1000),
        }


@dataclass
class Session:
    """One grid on one account, as far as it is known in this process.

    Attributes:
        account: whose account, and under which name.
        config: of this grid.
        broker: the exchange.
        store: the state; this session is its only writer.
        clock: time.
        engine: the grid in memory; None until it is loaded or started.
        grid_run: the stored grid.
        market: the exchange's rules; None until it was asked.
        wind_down: the grid comes to its end; None while it runs.
        paused: why new buys wait; empty where they do not.
        pause: a person has paused the grid: nothing is sent; None where nobody has.
        price: the latest that was seen (quote); None before the first look.
        account_hold: why nothing may be bought for the whole account's sake; empty where it may.
        clears: whether an order that adds risk may leave now; see `RiskGuard.clears`.
        news: how often something became known that orders answer.
        progress: how often an order was taken, traded or canceled.
        cursor: the exchange's trades up to here are booked; see `Broker.trades_after`.
        booked: trades that were booked since, as the stream brought them.
        orders: where each order stands.
        answers: what came of those that were sent.
        archived: closed positions that were moved to the archive.
        traded_since: monotonic time since which the initial trade or liquidation rests.
        trades_due: something happened of which no order list tells.
        again: there is something to be read at once.
        compared: the books hold what the exchange had when they were loaded: orders may leave.
        newer: orders that they lack, by client order ID; None until the exchange was asked.
    """

    account: AccountConfig
    config: GridConfig
    broker: Broker
    store: Store
    clock: Clock
    engine: GridEngine | None = None
    grid_run: GridRun | None = None
    market: Market | None = None
    wind_down: WindDown | None = None
    paused: str = ""
    pause: PauseRow | None = None
    price: Decimal | None = None
    account_hold: Callable[[], str] = str
    clears: Callable[[GridEngine], bool] = lambda _engine: False
    news: int = 0
    progress: int = 0
    cursor: str = ""
    booked: set[str] = field(default_factory=set)
    orders: OrdersInFlight = field(default_factory=OrdersInFlight)
    answers: Answers = field(default_factory=Answers)
    archived: int = 0
    traded_since: float = 0.0
    trades_due: bool = True
    again: bool = False
    compared: bool = True
    newer: dict[str, RemoteOrder] | None = None
    _cache: CandleCache = field(init=False)

    def __post_init__(self) -> None:
        """Candles are kept here, and nowhere else."""
        self._cache = CandleCache(self.broker.candles)

    def candles(self, interval: str, count: int) -> CandleWindow:
        """The latest closed candles, shared by all who ask; see `CandleCache.series`."""
        newest, now = self.broker.stream_candles(interval, self._cache.push), self.broker.now_ms()
        streamed = newest is not None
        if self.broker.market_label:
            # A replayed market has a time of its own, which its newest candle tells.
            streamed = False
            if newest is None:
                newest = max((one.time for one in self.broker.candles(interval, 1)), default=0)
            now = newest + INTERVALS[interval] + self._cache.grace_ms
        self._cache.clean(now)
        return self._cache.series(interval, count, now, streamed=streamed)

    def forget(self) -> None:
        """Drop what is in memory; it is loaded from the store again."""
        self.engine = self.grid_run = self.wind_down = None
        self.orders = OrdersInFlight()
        self.booked.clear()
        self.trades_due = True

    def may_send(self, order: Order) -> bool:
        """Whether nobody has told the grid to stand still, as of now; what is held may be sold."""
        if order.side is Side.BUY and self.account_hold():
            return False
        return order.role is Role.LIQUIDATION or not self.store.stands_still(self.config.symbol)

    @property
    def unsettled(self) -> int:
        """Number of orders of which it is not known yet whether the exchange has them."""
        return len(self.orders.in_state(State.SENT, State.ASKED))

    def changes(self) -> Changes:
        """An empty collection of changes, as of now."""
        return Changes(self.clock.now_ms())

    def commit(self, changes: Changes) -> None:
        """Write changes down; only then do they count."""
        if changes and self.grid_run is not None:
            self.orders.take(changes)
            self.store.commit(self.grid_run.id, changes)
            self.committed(changes)

    def committed(self, changes: Changes) -> None:
        """What follows from changes that are written down."""
        accepted = sum(order.state is OrderState.OPEN for order in changes.updated)
        self.progress += accepted + bool(changes.fills)
        self.news += bool(changes.fills or changes.orders)
        if any(order.role is not Role.GRID for order in changes.orders):
            self.traded_since = self.clock.monotonic()
        if changes.trade_cursor is not None:
            self.cursor = changes.trade_cursor
            self.booked.clear()
        else:
            self.booked.update(fill.trade_id for fill in changes.fills)
        for fill in changes.fills:
            log.info(
                "%s %s at %s (order %s, fee %s %s)",
                "bought" if fill.side == "buy" else "sold",
                plain(fill.quantity),
                plain(fill.price),
                fill.client_id,
                plain(fill.commission),
                fill.commission_coin,
                extra={"symbol": self.config.symbol},
            )
