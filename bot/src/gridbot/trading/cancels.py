"""Takes orders back: those that rest too long, and all of a grid that comes to its end."""

import logging
from decimal import Decimal

from gridbot.core.engine import GridEngine
from gridbot.core.orders import Order, OrderState, Role, Side
from gridbot.core.orders_in_flight import Event, State
from gridbot.exchanges.port import BrokerError, Failure
from gridbot.trading.session import Session

log = logging.getLogger(__name__)

# An order of the initial trade or the liquidation rests this long before it is tried at the price
# of the moment.
RESTING_SECONDS = 10.0


def hurry(session: Session, engine: GridEngine) -> None:
    """Take back an order of the initial trade or the liquidation that rests."""
    if session.clock.monotonic() - session.traded_since < RESTING_SECONDS:
        return
    for order in list(engine.live.values()):
        if order.role is not Role.GRID and order.state is OrderState.OPEN:
            log.info(
                "order %s rests; trying again at the price of now",
                order.client_id,
                extra={"symbol": session.config.symbol},
            )
            cancel(session, order)


def cancel(session: Session, order: Order) -> None:
    """Cancel an order, or learn that it is closed already."""
    session.orders.move(order.client_id, Event.CANCEL, session.clock.monotonic())
    session.trades_due = True
    try:
        session.broker.cancel(order.client_id)
    except BrokerError as error:
        if error.failure is not Failure.NOT_FOUND:
            session.orders.move(order.client_id, Event.NOT_CANCELED)
            raise
    session.progress += 1


def cancel_all(session: Session, engine: GridEngine) -> dict[str, BrokerError]:
    """Cancel what is open, buys first; one that fails does not hold up the others.

    Returns:
        Why, by client order ID, for those that may not be canceled: they may be closed.

    Raises:
        BrokerError: the exchange cannot be asked for anything now.
    """
    failed = {}
    for order in sorted(engine.live.values(), key=_next_to_trade):
        if order.state is not OrderState.OPEN or order.role is Role.LIQUIDATION:
            continue
        if session.orders[order.client_id].state is not State.CANCELING:
            try:
                cancel(session, order)
            except BrokerError as error:
                if error.failure not in {Failure.REJECTED, Failure.AMBIGUOUS}:
                    raise
                failed[order.client_id] = error
    return failed


def _next_to_trade(order: Order) -> tuple[bool, Decimal]:
    """Sorts buys before sells, and those before that a falling market reaches first."""
    return order.side is Side.SELL, -order.price
