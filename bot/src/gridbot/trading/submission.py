"""Orders that are written down: sends what was never sent, asks for what may have been.

An order leaves only after its intent is committed. Whether an exchange has an order of which no
answer came is asked for by its client order ID, and it is sent again, under the same ID, only when
it certainly has not. The rules are the table in docs/orders.md.

`_send` is the only way out for an order. One that adds risk passes only where the kill switches
have been judged at the price of now, and none fires: `Session.clears`. None passes that a person
has told to wait: `Session.may_send`.
"""

import logging
from decimal import Decimal

from gridbase.errors import MismatchError
from gridbase.market import plain

from gridbot.core.engine import GridEngine
from gridbot.core.orders import Order, OrderState, Role, Side
from gridbot.core.orders_in_flight import Event, Refusal, State
from gridbot.exchanges.port import BrokerError, Failure, RemoteOrder
from gridbot.trading.session import Session

log = logging.getLogger(__name__)

# A request may arrive this much later than the exchange's own limit says (clocks differ).
LATE_ARRIVAL_SECONDS = 1.0
REFUSED_RETRY_SECONDS = 30.0
REFUSED_RETRY_MOST_SECONDS = 600.0
# A post-only order whose price the market has passed waits for it to come back.
PASSED_RETRY_SECONDS = 10.0

_NOT_ACCEPTED = {
    Failure.REJECTED,
    Failure.WOULD_TAKE,
    Failure.UNREACHABLE,
    Failure.AUTH,
    Failure.RATE_LIMITED,
    Failure.CLOCK,
}


def settle(session: Session, engine: GridEngine) -> None:
    """Send or ask for every order without an answer, as far as that is due.

    Raises:
        BrokerError: the exchange failed; the rest is left for the next time.
        MismatchError: the exchange has an order under this name that is another one.
    """
    for order in list(engine.live.values()):
        if session.clock.stopping:
            return
        if order.state is not OrderState.INTENDED:
            continue
        known = session.orders[order.client_id]
        if known.refusal is not None and session.clock.monotonic() < known.refusal.retry_at:
            continue
        absent = known.state is State.UNSENT or _never_arrived(session, engine, order)
        if absent and session.compared and _wanted(session, engine, order):
            _send(session, engine, order)


def _wanted(session: Session, engine: GridEngine, order: Order) -> bool:
    """Whether an order that the exchange does not have is to be sent now."""
    if engine.winding_down:
        return order.role is Role.LIQUIDATION
    held_back = session.paused and order.role is Role.GRID and order.side is Side.BUY
    return not held_back


def _never_arrived(session: Session, engine: GridEngine, order: Order) -> bool:
    """Ask for an order that may have been sent; whether it is certain that it was not.

    It is asked for at once, and once more when it cannot arrive any more.
    """
    known = session.orders[order.client_id]
    late = session.clock.monotonic() >= known.time
    if known.state is State.ASKED and not late:
        return False
    try:
        remote = session.broker.find(order.client_id)
    except BrokerError as error:
        if error.failure is not Failure.NOT_FOUND:
            raise
        session.orders.move(order.client_id, Event.NEVER_ARRIVED if late else Event.UNKNOWN)
        return late
    accept(session, engine, order, remote)
    return False


def _send(session: Session, engine: GridEngine, order: Order, *, again: bool = False) -> None:
    if order.side is Side.BUY and not session.clears(engine):
        return
    if not session.may_send(order):
        return
    # From here on it may be there, whatever happens to this process.
    session.orders.move(order.client_id, Event.SEND, latest_arrival(session))
    post_only = session.config.grid.post_only and order.role is Role.GRID
    since = session.clock.monotonic()
    try:
        remote = session.broker.place(order, post_only=post_only)
    except BrokerError as error:
        event = Event.REFUSED if error.failure in _NOT_ACCEPTED else Event.UNANSWERED
        session.orders.move(order.client_id, event, latest_arrival(session))
        session.answers.refused += error.failure is Failure.REJECTED
        session.answers.unanswered += event is Event.UNANSWERED
        if error.failure is Failure.WOULD_TAKE:
            _wait_for_price(session, order, error)
        elif error.failure is Failure.REJECTED:
            _refuse(session, engine, order, error)
        elif error.failure is Failure.CLOCK and not again:
            # The time is set; that may have taken longer than a price is the price of now.
            _send(session, engine, order, again=True)
        else:
            raise
        return
    session.answers.acknowledge(session.clock.monotonic() - since)
    accept(session, engine, order, remote)


def latest_arrival(session: Session) -> float:
    """Monotonic time after which a request sent now cannot arrive any more."""
    window = session.broker.receive_window_ms / 1000
    return session.clock.monotonic() + window + LATE_ARRIVAL_SECONDS


def _refuse(session: Session, engine: GridEngine, order: Order, error: BrokerError) -> None:
    """Keep a refused order for later: its intent stands, nothing is on the exchange."""
    known = session.orders[order.client_id]
    delay = REFUSED_RETRY_SECONDS
    if known.refusal is not None:
        delay = min(known.refusal.delay * 2, REFUSED_RETRY_MOST_SECONDS)
    closed = session.broker.closed_until is not None  # as it is every night
    log.log(
        logging.INFO if closed else logging.ERROR,
        "order %s refused: %s; next try in %.0f s",
        order.client_id,
        error,
        delay,
        extra={"symbol": session.config.symbol},
    )
    if order.role is not Role.GRID:
        # Its price is stale by then: give it up, and plan again at the price of the day.
        give_up(session, engine, [order.client_id])
        raise error
    retry_at = session.clock.monotonic() + delay
    known.refusal = Refusal(str(error), retry_at, delay, expected=closed)


def _wait_for_price(session: Session, order: Order, error: BrokerError) -> None:
    """Keep a post-only order that would have taken: as it should be, and no trouble."""
    known = session.orders[order.client_id]
    if known.refusal is None:
        log.info(
            "order %s waits: the market has passed its price",
            order.client_id,
            extra={"symbol": session.config.symbol},
        )
    retry_at = session.clock.monotonic() + PASSED_RETRY_SECONDS
    known.refusal = Refusal(str(error), retry_at, PASSED_RETRY_SECONDS, expected=True)


def give_up(session: Session, engine: GridEngine, client_ids: list[str]) -> None:
    """Close orders in the books that are certainly not on the exchange."""
    changes = session.changes()
    for client_id in client_ids:
        engine.record_canceled(changes, client_id)
    session.commit(changes)


def accept(session: Session, engine: GridEngine, order: Order, remote: RemoteOrder) -> None:
    """Write down that the exchange has an order.

    Raises:
        MismatchError: what it has under this name is another order.
    """
    same = (order.side, order.price, order.quantity)
    if (remote.side, remote.price, remote.quantity) != same:
        session.answers.doubled += 1
        raise MismatchError(
            f"order {order.client_id} should be {_words(*same)} and is "
            f"{_words(remote.side, remote.price, remote.quantity)}"
        )
    changes = session.changes()
    engine.accept(changes, order.client_id, remote.exchange_id)
    session.orders.move(order.client_id, Event.FOUND)
    session.commit(changes)
    log.info(
        "order %s accepted: %s",
        order.client_id,
        _words(order.side, order.price, order.quantity),
        extra={"symbol": session.config.symbol},
    )
    if remote.executed or remote.closed:
        session.trades_due = session.again = True
        session.news += 1  # the market is beyond its price


def _words(side: str, price: Decimal, quantity: Decimal) -> str:
    return f"{side} {plain(quantity)} at {plain(price)}"
