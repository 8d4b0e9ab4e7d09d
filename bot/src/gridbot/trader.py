"""Keeps one grid and the exchange in step.

All I/O of trading happens here, in this order:

1. every intent without an answer is settled: the exchange is asked for its client order ID;
2. open orders are compared with the books, and trades are read if anything differs;
3. what happened and the orders that answer it are committed in one transaction;
4. only then are those orders sent.

A step may stop at any point, by an error or by a power cut: the next one begins with 1.
"""

import logging
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

from gridbot.broker import Broker, BrokerError, Failure, RemoteOrder, RemoteTrade
from gridbot.clock import Clock
from gridbot.config import Config
from gridbot.engine import Changes, GridEngine
from gridbot.errors import MismatchError, UserError
from gridbot.grid import make_plan, plan_warnings
from gridbot.market import Market, plain
from gridbot.orders import Fill, Order, OrderState, Role, Side, client_prefix, generation_tag
from gridbot.store import Generation, Store

log = logging.getLogger(__name__)

# The initial purchase rests this long at its price before it is tried at a new one.
INITIAL_ORDER_SECONDS = 10.0
# A request may arrive this much later than the exchange's own limit says (clocks differ).
LATE_ARRIVAL_SECONDS = 1.0
REFUSED_RETRY_SECONDS = 30.0
REFUSED_RETRY_MOST_SECONDS = 600.0

_NOT_ACCEPTED = {
    Failure.REJECTED,
    Failure.UNREACHABLE,
    Failure.AUTH,
    Failure.RATE_LIMITED,
    Failure.CLOCK,
}


@dataclass
class Refusal:
    """An order that the exchange refused: why, and when to try again (monotonic seconds)."""

    reason: str
    retry_at: float
    delay: float


def settings_of(config: Config) -> dict[str, str]:
    """What a running grid depends on: a change of any needs a new grid."""
    return {
        "mode": config.mode,
        "bot_name": config.bot_name,
        "exchange.name": config.exchange.name,
        "market.symbol": config.symbol,
        "grid.lower": plain(config.grid.lower),
        "grid.upper": plain(config.grid.upper),
        "grid.grids": str(config.grid.grids),
        "grid.spacing": str(config.grid.spacing),
        "grid.investment": plain(config.grid.investment),
    }


class Trader:
    """One grid on one account.

    Args:
        config: a valid configuration.
        broker: the exchange.
        store: the state; this trader is its only writer.
        clock: time.

    Attributes:
        engine: the grid in memory; None until it is loaded or started.
        generation: the stored grid.
        price: latest price seen (quote).
        refused: orders that the exchange refused, by client order ID.
        foreign_orders: open orders on the account that are not this bot's.
    """

    def __init__(self, config: Config, broker: Broker, store: Store, clock: Clock) -> None:
        self.config = config
        self.broker = broker
        self.store = store
        self.clock = clock
        self.engine: GridEngine | None = None
        self.generation: Generation | None = None
        self.price: Decimal | None = None
        self.refused: dict[str, Refusal] = {}
        self.foreign_orders = 0
        self._market: Market | None = None
        self._cursor = 0
        self._unsent: set[str] = set()  # certainly not on the exchange
        self._arrived_by: dict[str, float] = {}  # monotonic: later than this, it never will
        self._asked: set[str] = set()  # for these the exchange knew nothing yet
        self._initial_since = 0.0
        self._trades_due = True  # something happened of which no order list tells
        self._again = False  # and it is there to be read at once

    # One step.

    def step(self) -> bool:
        """Bring grid and exchange in step once.

        Returns:
            Whether there is more to do at once.

        Raises:
            BrokerError: the exchange failed; try again later.
            MismatchError: books and exchange disagree; nothing is traded.
            StoreError: the state can not be written; `forget` before trying again.
            UserError: the configuration will not do.
        """
        engine = self._ready()
        self._settle(engine)
        if engine.waiting_for_price and not engine.closing:
            self._reprice(engine)
            self._settle(engine)
        self._poll(engine)
        self._settle(engine)
        self._hurry_initial_purchase(engine)
        self.price = self.broker.last_price()
        return self._again

    @property
    def unsettled(self) -> int:
        """Number of orders of which it is not known yet whether the exchange has them."""
        live = () if self.engine is None else self.engine.live.values()
        return sum(
            order.state is OrderState.INTENDED and order.client_id not in self._unsent
            for order in live
        )

    def forget(self) -> None:
        """Drop what is in memory; the next step loads it from the store again."""
        self.engine = None
        self.refused.clear()
        self._unsent.clear()
        self._arrived_by.clear()
        self._asked.clear()
        self._trades_due = True

    def _ready(self) -> GridEngine:
        if self._market is None:
            self._market = self.broker.connect()
            log.info("connected: %s", self.config.symbol)
        if self.engine is None:
            generation = self.store.generation(self.config.symbol)
            if generation is None or generation.closed_ms is not None:
                self._start_grid(self._market)
            else:
                self._load_grid(generation)
        if self.engine is None:
            raise AssertionError("a grid was loaded or started")
        return self.engine

    def _load_grid(self, generation: Generation) -> None:
        check_settings(self.config, generation)
        engine = self._new_engine(generation)
        self.store.restore(generation.id, engine)
        self.generation, self.engine = generation, engine
        self._cursor = generation.trade_cursor
        self._trades_due = True
        self._initial_since = self.clock.monotonic()
        # A request of the process before may still be on its way.
        by = self._latest_arrival()
        self._arrived_by = dict.fromkeys(engine.live, by)
        log.info(
            "grid %s loaded: %d orders live, %d buys and %d sells done",
            generation.tag,
            len(engine.live),
            engine.books.buys,
            engine.books.sells,
        )

    def _new_engine(self, generation: Generation) -> GridEngine:
        return GridEngine(
            bot_name=self.config.bot_name,
            tag=generation.tag,
            market=generation.market,
            plan=generation.plan,
            investment=self.config.grid.investment,
        )

    def _start_grid(self, market: Market) -> None:
        """Write down a new grid; its first orders are sent when the intents are settled."""
        plan = make_plan(self.config.grid, market, self.config.fees, self.broker.ask_price())
        self._refuse_strays(self.broker.open_orders())
        first_trade = self.broker.latest_trade_id() + 1
        opening = self.broker.balances()
        check_funds(self.config, self.broker)
        now = self.clock.now_ms()
        previous = self.store.newest_generation()  # ids and tags run over all symbols
        generation = Generation(
            id=1 if previous is None else previous.id + 1,
            symbol=market.symbol,
            tag=generation_tag(now, None if previous is None else previous.tag),
            settings=settings_of(self.config),
            market=market,
            plan=plan,
            investment=self.config.grid.investment,
            opening=opening,
            first_trade_id=first_trade,
            trade_cursor=first_trade,
            started_ms=now,
        )
        engine = self._new_engine(generation)
        changes = Changes(now)
        engine.begin(changes)
        self.store.start_generation(generation, changes)
        self.generation, self.engine = generation, engine
        self._cursor = first_trade
        self._after_commit(changes)
        for warning in plan_warnings(plan, market, self.config.fees):
            log.warning("%s", warning)
        log.info(
            "grid %s started at %s: %d buys, %d sells of %s %s",
            generation.tag,
            plain(plan.start_price),
            len(plan.buy_lines),
            len(plan.sell_lines),
            plain(plan.quantity),
            market.base,
        )

    def _commit(self, changes: Changes) -> None:
        if changes and self.generation is not None:
            self.store.commit(self.generation.id, changes)
            self._after_commit(changes)

    def _after_commit(self, changes: Changes) -> None:
        self._unsent.update(order.client_id for order in changes.orders)
        if any(order.role is Role.INITIAL for order in changes.orders):
            self._initial_since = self.clock.monotonic()
        if changes.trade_cursor is not None:
            self._cursor = changes.trade_cursor
        for fill in changes.fills:
            log.info(
                "%s %s at %s (order %s, fee %s %s)",
                "bought" if fill.side == "buy" else "sold",
                plain(fill.quantity),
                plain(fill.price),
                fill.client_id,
                plain(fill.commission),
                fill.commission_coin,
            )

    # Intents.

    def _settle(self, engine: GridEngine) -> None:
        """Send what was never sent; ask for what may have been."""
        for order in list(engine.live.values()):
            if self.clock.stopping:
                return
            if order.state is not OrderState.INTENDED:
                continue
            refusal = self.refused.get(order.client_id)
            if refusal is not None and self.clock.monotonic() < refusal.retry_at:
                continue
            absent = order.client_id in self._unsent or self._never_arrived(engine, order)
            if absent and not engine.closing:
                self._send(engine, order)

    def _never_arrived(self, engine: GridEngine, order: Order) -> bool:
        """Ask for an order that may have been sent; whether it is certain that it was not.

        It is asked for at once, and once more when it can not arrive any more.
        """
        late = self.clock.monotonic() >= self._arrived_by[order.client_id]
        if order.client_id in self._asked and not late:
            return False
        try:
            remote = self.broker.find(order.client_id)
        except BrokerError as error:
            if error.failure is not Failure.NOT_FOUND:
                raise
            if late:
                self._unsent.add(order.client_id)
            else:
                self._asked.add(order.client_id)
            return late
        self._accept(engine, order, remote)
        return False

    def _send(self, engine: GridEngine, order: Order) -> None:
        self._unsent.discard(order.client_id)
        self._asked.discard(order.client_id)
        try:
            remote = self.broker.place(order)
        except BrokerError as error:
            self._arrived_by[order.client_id] = self._latest_arrival()
            if error.failure in _NOT_ACCEPTED:
                self._unsent.add(order.client_id)
            if error.failure is not Failure.REJECTED:
                raise
            self._refuse(engine, order, error)
            return
        self.refused.pop(order.client_id, None)
        self._accept(engine, order, remote)

    def _latest_arrival(self) -> float:
        window = self.broker.receive_window_ms / 1000
        return self.clock.monotonic() + window + LATE_ARRIVAL_SECONDS

    def _refuse(self, engine: GridEngine, order: Order, error: BrokerError) -> None:
        """Keep a refused order for later: its intent stands, nothing is on the exchange."""
        before = self.refused.get(order.client_id)
        delay = REFUSED_RETRY_SECONDS
        if before is not None:
            delay = min(before.delay * 2, REFUSED_RETRY_MOST_SECONDS)
        log.error("order %s refused: %s; next try in %.0f s", order.client_id, error, delay)
        if order.role is Role.INITIAL:
            # Its price is stale by then: give it up, and plan again at the price of the day.
            changes = Changes(self.clock.now_ms())
            engine.record_canceled(changes, order.client_id)
            self._commit(changes)
            self._unsent.discard(order.client_id)
            raise error
        retry_at = self.clock.monotonic() + delay
        self.refused[order.client_id] = Refusal(str(error), retry_at, delay)

    def _accept(self, engine: GridEngine, order: Order, remote: RemoteOrder) -> None:
        same = (order.side, order.price, order.quantity)
        if (remote.side, remote.price, remote.quantity) != same:
            raise MismatchError(
                f"order {order.client_id} should be {_words(*same)} and is "
                f"{_words(remote.side, remote.price, remote.quantity)}"
            )
        changes = Changes(self.clock.now_ms())
        engine.accept(changes, order.client_id, remote.exchange_id)
        self._commit(changes)
        self._arrived_by.pop(order.client_id, None)
        self._unsent.discard(order.client_id)
        self._asked.discard(order.client_id)
        log.info(
            "order %s accepted: %s",
            order.client_id,
            _words(order.side, order.price, order.quantity),
        )
        if remote.executed or remote.closed:
            self._trades_due = self._again = True

    # What happened on the exchange.

    def _poll(self, engine: GridEngine) -> bool:
        """Read what happened, book it, and write down what answers it."""
        remote = self._open_orders(engine)
        if self.unsettled:
            # A trade of an order whose number is not known yet could not be told from a foreign
            # one.
            return False
        missing, changed = [], self._trades_due
        for order in engine.live.values():
            if order.state is not OrderState.OPEN:
                continue
            seen = remote.get(order.client_id)
            if seen is None:
                missing.append(order)
            elif seen.executed != engine.executed(order.client_id):
                changed = True
        if not (missing or changed):
            return False
        trades = self.broker.trades_from(self._cursor)
        self._trades_due = self._again = False
        closed = self._closed_early(engine, missing, trades)
        return self._book(engine, trades, closed)

    def _open_orders(self, engine: GridEngine) -> dict[str, RemoteOrder]:
        """This grid's open orders on the exchange; others are left alone and counted."""
        remote = {order.client_id: order for order in self.broker.open_orders()}
        foreign = self._refuse_strays(list(remote.values()))
        if foreign != self.foreign_orders:
            log.warning("%d open orders on the account are not this bot's", foreign)
            self.foreign_orders = foreign
        for client_id, seen in remote.items():
            order = engine.live.get(client_id)
            if order is not None and order.state is OrderState.INTENDED:
                self._accept(engine, order, seen)
        return remote

    def _refuse_strays(self, remote: list[RemoteOrder]) -> int:
        """Stop at open orders that bear this bot's name and are not in its books.

        Returns:
            Number of open orders that bear another name.
        """
        prefix = client_prefix(self.config.bot_name, self.config.base + self.config.quote)
        named = [order.client_id for order in remote if order.client_id.startswith(prefix)]
        live = () if self.engine is None else self.engine.live
        strays = [name for name in named if name not in live and not self.store.knows(name)]
        if strays:
            raise MismatchError(
                f"the exchange holds {len(strays)} open orders of bot_name = "
                f"{self.config.bot_name} that are not in its books ({strays[0]}, ...): cancel "
                "them there, or give this bot another bot_name"
            )
        return len(remote) - len(named)

    def _closed_early(
        self, engine: GridEngine, missing: list[Order], trades: list[RemoteTrade]
    ) -> list[Order]:
        """Orders that closed before all of them traded, and whose trades are all known."""
        traded: defaultdict[int, Decimal] = defaultdict(Decimal)
        for trade in trades:
            traded[trade.exchange_id] += trade.quantity
        closed = []
        for order in missing:
            executed = engine.executed(order.client_id) + traded[order.exchange_id or 0]
            if executed >= order.quantity:
                continue
            remote = self._find_accepted(order)
            if remote.closed and remote.executed == executed:
                closed.append(order)
            else:
                self._trades_due = True  # its trades are not all listed yet
        return closed

    def _find_accepted(self, order: Order) -> RemoteOrder:
        try:
            return self.broker.find(order.client_id)
        except BrokerError as error:
            if error.failure is not Failure.NOT_FOUND:
                raise
            raise MismatchError(
                f"the exchange accepted order {order.client_id} as number {order.exchange_id} "
                "and does not know it now; is this the same account? If its orders are gone for "
                f"good, remove {self.store.path} to start anew"
            ) from error

    def _book(self, engine: GridEngine, trades: list[RemoteTrade], closed: list[Order]) -> bool:
        """Book trades and closed orders; no request between the first change and the commit."""
        changes = Changes(self.clock.now_ms())
        for trade in trades:
            client_id = engine.client_id_of(trade.exchange_id)
            if client_id is not None:
                engine.record_fill(changes, _fill(trade, client_id))
        for order in closed:
            level = logging.INFO if engine.closing else logging.WARNING
            log.log(level, "order %s was closed before all of it traded", order.client_id)
            engine.record_canceled(changes, order.client_id)
        if trades:
            changes.trade_cursor = trades[-1].trade_id + 1
        self._commit(changes)
        return bool(changes)

    # The initial purchase.

    def _hurry_initial_purchase(self, engine: GridEngine) -> None:
        """Take back an initial order that rests, so that it is tried at a new price."""
        if engine.grid_started:
            return
        if self.clock.monotonic() - self._initial_since < INITIAL_ORDER_SECONDS:
            return
        for order in engine.live.values():
            if order.state is OrderState.OPEN:
                log.info("order %s rests; trying again at the price of now", order.client_id)
                _cancel(self.broker, order.client_id)
                self._trades_due = True

    def _reprice(self, engine: GridEngine) -> None:
        plan = make_plan(self.config.grid, engine.market, self.config.fees, self.broker.ask_price())
        self.broker.balances()
        check_funds(self.config, self.broker, engine.books.initial_cost)
        changes = Changes(self.clock.now_ms())
        engine.reprice(changes, plan)
        self._commit(changes)

    # The end.

    def close_grid(self, patience_seconds: float) -> int:
        """Cancel this grid's open orders, book what they traded, and end it.

        Args:
            patience_seconds: how long to wait for the exchange to confirm everything.

        Returns:
            Number of orders that were canceled.

        Raises:
            UserError: there is no running grid, or the exchange does not confirm in time.
        """
        self._market = self.broker.connect()
        generation = self.store.generation(self.config.symbol)
        if generation is None or generation.closed_ms is not None:
            raise UserError(f"state.directory = {self.config.state_directory}: no grid is running")
        self._load_grid(generation)
        engine = self._ready()
        engine.closing = True
        canceled: set[str] = set()
        deadline = self.clock.monotonic() + patience_seconds
        while engine.live:
            if self.clock.monotonic() > deadline:
                raise BrokerError(
                    Failure.AMBIGUOUS,
                    f"{len(engine.live)} orders are not confirmed as closed yet; run this again",
                )
            self._settle(engine)
            self._give_up_unsent(engine)
            for order in list(engine.live.values()):
                if order.state is OrderState.OPEN and order.client_id not in canceled:
                    _cancel(self.broker, order.client_id)
                    canceled.add(order.client_id)
            if not self._poll(engine) and engine.live:
                self.clock.sleep(1.0)
        self.store.close_generation(generation.id, self.clock.now_ms())
        return len(canceled)

    def _give_up_unsent(self, engine: GridEngine) -> None:
        changes = Changes(self.clock.now_ms())
        for client_id in list(engine.live):
            if client_id in self._unsent:
                engine.record_canceled(changes, client_id)
        self._commit(changes)


def check_settings(config: Config, generation: Generation) -> None:
    """Refuse a configuration that is not the running grid's.

    Raises:
        UserError: names the first setting that differs and what would do.
    """
    for key, value in settings_of(config).items():
        before = generation.settings.get(key)
        if before != value:
            raise UserError(
                f"{key} = {value} differs from {before}, with which the running grid was started: "
                f"set it back, or end that grid with: gridbot close --config {config.path}"
            )


def check_funds(config: Config, broker: Broker, spent: Decimal = Decimal(0)) -> None:
    """Refuse to begin a grid that the account can not pay.

    Args:
        config: says what the grid may spend.
        broker: has read the balances.
        spent: what the grid has spent already (quote).

    Raises:
        BrokerError: names what is there and what is needed.
    """
    free = broker.free_balance(config.quote)
    needed = config.grid.investment - spent
    if free < needed:
        raise BrokerError(
            Failure.REJECTED,
            f"grid.investment = {plain(config.grid.investment)} needs {plain(needed)} "
            f"{config.quote}, and the account has {plain(free)} free; deposit more or invest less",
        )


def _cancel(broker: Broker, client_id: str) -> None:
    """Cancel an order, or learn that it is closed already."""
    try:
        broker.cancel(client_id)
    except BrokerError as error:
        if error.failure is not Failure.NOT_FOUND:
            raise


def _fill(trade: RemoteTrade, client_id: str) -> Fill:
    return Fill(
        trade_id=trade.trade_id,
        client_id=client_id,
        side=Side(trade.side),
        price=trade.price,
        quantity=trade.quantity,
        quote=trade.quote,
        commission=trade.commission,
        commission_coin=trade.commission_coin,
        time_ms=trade.time_ms,
        maker=trade.maker,
    )


def _words(side: str, price: Decimal, quantity: Decimal) -> str:
    return f"{side} {plain(quantity)} at {plain(price)}"
