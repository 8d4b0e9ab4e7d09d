"""What happened on the exchange: reads it from the stream or by asking, and books it.

The stream is quick and may lose, double or reorder. Every event carries how much of its order has
traded in all, so a missing one shows; then, at every gap, and now and then in any case, the
exchange is asked for its open orders and for the trades that are not booked yet.
"""

import logging
from dataclasses import dataclass, field
from decimal import Decimal

from gridbase.errors import MismatchError
from gridbase.market import EXACT, plain

from gridbot.core.engine import Changes, GridEngine
from gridbot.core.orders import Order, OrderState, client_prefix
from gridbot.core.orders_in_flight import Event, Refusal, State
from gridbot.exchanges.port import (
    BrokerError,
    Failure,
    OrderEvent,
    RemoteOrder,
    RemoteTrade,
    StreamGap,
)
from gridbot.trading.foreign_orders import ForeignOrders
from gridbot.trading.newer_orders import agree, find_newer, refuse_rest, take_over
from gridbot.trading.passed_orders import PassedOrders
from gridbot.trading.reading import Reading, fill_of
from gridbot.trading.session import Session
from gridbot.trading.submission import REFUSED_RETRY_MOST_SECONDS, REFUSED_RETRY_SECONDS, accept

log = logging.getLogger(__name__)

# With a stream, the exchange is asked this often in any case.
RECONCILE_SECONDS = 600.0
# An order that is listed so long after it was to be canceled is canceled once more.
CANCELED_SECONDS = 10.0
# What has traded is in the exchange's lists by then.
LISTED_SECONDS = 60.0
# Without a stream, books that were compared no longer ago are up to date.
CURRENT_SECONDS = 10.0


@dataclass
class Reconciler:
    """Keeps one grid's books in step with the exchange.

    Args:
        session: the grid.

    Attributes:
        foreign: open orders on the account that are not this bot's.
        passed: open orders that the price has passed.
    """

    session: Session
    foreign: ForeignOrders = field(init=False)
    _asked_at: float = float("-inf")
    _gap: bool = True
    passed: PassedOrders = field(default_factory=PassedOrders)

    def __post_init__(self) -> None:
        """Find the bot's own orders by their name."""
        self.foreign = ForeignOrders(self._prefix())

    def forget(self) -> None:
        """Ask the exchange before anything else is believed."""
        self._gap = True
        self.passed = PassedOrders()

    @property
    def current(self) -> bool:
        """Whether the books hold what has traded, as far as the exchange tells."""
        asked = self.session.clock.monotonic() - self._asked_at
        return not self._gap and (self.session.broker.streaming or asked <= CURRENT_SECONDS)

    def follow(self, engine: GridEngine) -> None:
        """Book what happened since the last call.

        Raises:
            BrokerError: the exchange failed; nothing of what it had to say is lost.
            MismatchError: books and exchange disagree.
        """
        self._hear(engine)
        if self._ask_now(engine):
            self._ask(engine)

    def _ask_now(self, engine: GridEngine) -> bool:
        session = self.session
        if self._gap or session.trades_due or not session.broker.streaming or engine.winding_down:
            return True
        if self.passed.due(engine):
            return True
        return session.clock.monotonic() - self._asked_at >= RECONCILE_SECONDS

    # The stream.

    def _hear(self, engine: GridEngine) -> None:
        """Book what the stream said, as far as it is whole."""
        changes = self.session.changes()
        for event in self.session.broker.events():
            if isinstance(event, StreamGap):
                self._gap = True
            elif event.order.client_id in engine.live:
                self._hear_order(engine, changes, event)
            elif self._is_stray(event.order):
                self._gap = True
            else:
                self.foreign.heard(event.order)
        self.session.commit(changes)

    def _hear_order(self, engine: GridEngine, changes: Changes, event: OrderEvent) -> None:
        """Book one event of a live order."""
        remote, trade = event.order, event.trade
        order = engine.live[remote.client_id]
        known = engine.executed(order.client_id)
        if order.state is OrderState.INTENDED:
            # One that is not written down yet was sent by another bot.
            sent = order.client_id in self.session.orders
            if not sent or (remote.side, remote.price, remote.quantity) != _terms(order):
                self._gap = True  # asking tells what is there, and stops at what should not be
                return
            engine.accept(changes, order.client_id, remote.exchange_id)
            self.session.orders.move(order.client_id, Event.FOUND)
        if trade is not None and remote.executed > known:
            if EXACT.add(known, trade.quantity) != remote.executed:
                self._gap = True
                return
            if self._is_booked(trade.trade_id):
                self._gap = True  # its ID says booked, the order's sum says not
                return
            engine.record_fill(changes, fill_of(trade, order.client_id))
        elif remote.executed > known:
            self._gap = True
        if remote.closed and order.client_id in engine.live:
            if engine.executed(order.client_id) == remote.executed:
                self._record_canceled(engine, changes, order)
            else:
                self._gap = True

    def _is_booked(self, trade_id: str) -> bool:
        grid_run = self.session.grid_run
        return grid_run is not None and self.session.store.has_fill(grid_run.id, trade_id)

    def _is_stray(self, remote: RemoteOrder) -> bool:
        return (
            not remote.closed
            and remote.client_id.startswith(self._prefix())
            and not self.session.store.knows(remote.client_id)
        )

    # Asking.

    def _ask(self, engine: GridEngine) -> None:
        """Compare; books that were just loaded first take over what they lack."""
        session, winding_down = self.session, engine.winding_down
        try:
            self._compare(engine)
            while not session.compared and take_over(session, engine):
                session.trades_due = True
                self._compare(engine)
        finally:
            engine.winding_down = winding_down
        if not session.compared and not session.trades_due:
            refuse_rest(session)
            agree(session)

    def _compare(self, engine: GridEngine) -> None:
        """Compare open orders with the books, read the trades that are missing, book them."""
        session = self.session
        remote = self._open_orders(engine)
        # What the stream brought is read once more, so that the next start need not.
        missing, changed = [], session.trades_due or self._gap or bool(session.booked)
        for order in engine.live.values():
            if order.state is not OrderState.OPEN:
                continue
            if order.client_id not in remote:
                missing.append(order)
            elif remote[order.client_id].executed != engine.executed(order.client_id):
                changed = True
        if missing or changed:
            self._read(engine, remote, missing)
        else:
            self._done()
        self._asked_at = session.clock.monotonic()
        self.passed.asked(engine, self._asked_at)

    def _done(self, incomplete: dict[str, str] | None = None) -> None:
        """All that was asked for is booked, or there is more to be asked for."""
        session = self.session
        session.orders.doubt(incomplete or {}, session.clock.monotonic())
        session.trades_due = bool(incomplete)
        session.again = self._gap = False

    def _read(
        self, engine: GridEngine, remote: dict[str, RemoteOrder], missing: list[Order]
    ) -> None:
        """Read the trades that are not booked yet, and what became of orders that are gone."""
        session = self.session
        listed, cursor = session.broker.trades_after(session.cursor)
        reading = Reading([trade for trade in listed if not self._is_booked(trade.trade_id)])
        if any(engine.client_id_of(trade.exchange_id) is None for trade in reading.trades):
            find_newer(session)
        # While the ID of an order is not known, its trades cannot be told from foreign ones:
        # they are read again.
        if not session.unsettled and not session.newer:
            reading.cursor = cursor
        if session.newer:
            engine.winding_down = False  # what was answered then is answered again
        for order in engine.live.values():
            seen = remote.get(order.client_id)
            if order.state is OrderState.OPEN and seen is not None:
                self._complete(engine, reading, order, seen)
        for order in missing:
            if reading.executed(engine, order) >= order.quantity:
                continue
            seen = self._find_accepted(order)
            self._complete(engine, reading, order, seen)
            if seen.closed and seen.executed < order.quantity:
                reading.closed.append(order)
            elif not seen.closed:
                # Asked in between, as long as it does not last.
                reading.incomplete[order.client_id] = (
                    f"order {order.client_id} is open and not in the list of open orders"
                )
        reading.closed = [order for order in reading.closed if not reading.incomplete]
        self._book(engine, reading)
        self._done(reading.incomplete)

    def _complete(
        self, engine: GridEngine, reading: Reading, order: Order, seen: RemoteOrder
    ) -> None:
        """Ask for an order's own trades where the list lacks some that it says it has."""
        if reading.executed(engine, order) >= seen.executed:
            return
        known = {trade.trade_id for trade in reading.trades}
        for trade in self.session.broker.trades_of(seen.exchange_id):
            if trade.trade_id not in known and not self._is_booked(trade.trade_id):
                reading.trades.append(trade)
        listed = reading.executed(engine, order)
        if listed < seen.executed:
            reading.incomplete[order.client_id] = (
                f"order {order.client_id} has traded {plain(seen.executed)}, and only trades of "
                f"{plain(listed)} are listed"
            )

    def _open_orders(self, engine: GridEngine) -> dict[str, RemoteOrder]:
        """This grid's open orders on the exchange; others are left alone and counted."""
        remote = {order.client_id: order for order in self.session.broker.open_orders()}
        self.refuse_strays(list(remote.values()))
        self.foreign.listed(remote.values())
        self._cancel_again(remote)
        for client_id, seen in remote.items():
            order = engine.live.get(client_id)
            if order is not None and order.state is OrderState.INTENDED:
                accept(self.session, engine, order, seen)
        return remote

    def _cancel_again(self, remote: dict[str, RemoteOrder]) -> None:
        """Forget that orders were to be canceled which are still listed: the exchange did not."""
        orders, now = self.session.orders, self.session.clock.monotonic()
        for client_id in orders.in_state(State.CANCELING):
            if client_id in remote and now - orders[client_id].time >= CANCELED_SECONDS:
                log.warning(
                    "order %s was to be canceled and is still open",
                    client_id,
                    extra={"symbol": self.session.config.symbol},
                )
                orders.move(client_id, Event.NOT_CANCELED)

    def _prefix(self) -> str:
        config = self.session.config
        return client_prefix(self.session.account.bot_name, config.base + config.quote)

    def refuse_strays(self, remote: list[RemoteOrder]) -> None:
        """Stop at open orders that bear this bot's name and are not in its books.

        Raises:
            MismatchError: there is one.
        """
        prefix = self._prefix()
        named = [order.client_id for order in remote if order.client_id.startswith(prefix)]
        live = () if self.session.engine is None else self.session.engine.live
        strays = [name for name in named if name not in live and not self.session.store.knows(name)]
        if strays:
            find_newer(self.session)
        if any(name not in (self.session.newer or {}) for name in strays):
            raise MismatchError(
                f"the exchange holds {len(strays)} open orders of bot_name = "
                f"{self.session.account.bot_name} that are not in its books ({strays[0]}, ...): "
                "cancel them there, or give this bot another bot_name"
            )

    def _find_accepted(self, order: Order) -> RemoteOrder:
        try:
            return self.session.broker.find(order.client_id)
        except BrokerError as error:
            if error.failure is not Failure.NOT_FOUND:
                raise
            raise MismatchError(
                f"the exchange accepted order {order.client_id} as {order.exchange_id} "
                "and does not know it now; is this the same account? If its orders are gone for "
                f"good, remove {self.session.store.path} to start anew"
            ) from error

    def _book(self, engine: GridEngine, reading: Reading) -> None:
        """Book trades and closed orders; no request between the first change and the commit."""
        changes = self.session.changes()
        for trade in sorted(reading.trades, key=lambda item: item.time_ms):
            client_id = engine.client_id_of(trade.exchange_id)
            if client_id is None:
                self._refuse_late(trade)
                continue
            engine.record_fill(changes, fill_of(trade, client_id))
        for order in reading.closed:
            self._record_canceled(engine, changes, order)
        if reading.cursor not in {None, self.session.cursor}:
            changes.trade_cursor = reading.cursor
        self.session.commit(changes)

    def _refuse_late(self, trade: RemoteTrade) -> None:
        """Stop at a trade of an order that the exchange said was closed: it is in no book.

        Raises:
            MismatchError: it is one.
        """
        grid_run = self.session.grid_run
        if grid_run is None:
            return
        client_id = self.session.store.closed_order(grid_run.id, trade.exchange_id)
        if client_id is not None:
            raise MismatchError(
                f"the exchange closed order {client_id} ({trade.exchange_id}), and it "
                f"traded {plain(trade.quantity)} afterwards (trade {trade.trade_id}), which these "
                "books cannot take: compare them with the account by `gridbot audit`"
            )

    def _record_canceled(self, engine: GridEngine, changes: Changes, order: Order) -> None:
        canceling = self.session.orders[order.client_id].state is State.CANCELING
        asked_for = engine.winding_down or canceling
        level = logging.INFO if asked_for else logging.WARNING
        log.log(level, "order %s was closed before all of it traded", order.client_id)
        untraded = engine.executed(order.client_id) == 0
        known = len(changes.orders)
        engine.record_canceled(changes, order.client_id)
        if untraded and not asked_for:
            self._slow_down(order, changes.orders[known:])

    def _slow_down(self, order: Order, instead: list[Order]) -> None:
        """Let the next order of a leg wait where the exchange closes one untraded again and again.

        Without that, each would cost a write and a few requests, as fast as they can be made.
        """
        session = self.session
        times = session.orders.closed_untraded(order.leg)
        if times == 1:
            return
        delay = min(REFUSED_RETRY_SECONDS * 2 ** min(times - 2, 10), REFUSED_RETRY_MOST_SECONDS)
        for again in instead:
            reason = f"the exchange has closed this order {times} times before it traded"
            retry_at = session.clock.monotonic() + delay
            session.orders.wait(again.client_id, Refusal(reason, retry_at, delay))


def check_listed(session: Session) -> None:
    """Say so where the exchange does not come out with what has happened to an order.

    What such an order traded is not booked, and nothing answers it.

    Raises:
        BrokerError: `AMBIGUOUS`; it has been so for long.
    """
    now = session.clock.monotonic()
    for doubt in session.orders.doubts.values():
        if now - doubt.since > LISTED_SECONDS:
            raise BrokerError(
                Failure.AMBIGUOUS, f"exchange {session.account.exchange.name}: {doubt.reason}"
            )


def _terms(order: Order) -> tuple[str, Decimal, Decimal]:
    return (order.side, order.price, order.quantity)
