"""What is known of each order between its intent and its end: one state, moved by one table. Pure.

`TRANSITIONS` is the life of an order, with the rows of docs/orders.md. None of this is stored:
what is kept of an order is its `OrderState`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from gridbot.core.engine import Changes
from gridbot.core.orders import Order, OrderState


class State(StrEnum):
    """Where an order stands.

    UNSENT: written down, and certainly not on the exchange. SENT: it may be there. ASKED: the
    exchange did not know it when asked, and the request may still arrive. OPEN: it is there.
    CANCELING: the exchange was asked to cancel it. FILLED, CANCELED: see `OrderState`.
    """

    UNSENT = "unsent"
    SENT = "sent"
    ASKED = "asked"
    OPEN = "open"
    CANCELING = "canceling"
    FILLED = "filled"
    CANCELED = "canceled"


class Event(StrEnum):
    """What may happen to an order."""

    LOAD = "loaded by a new process"
    SEND = "sent"
    FOUND = "is there"
    REFUSED = "not accepted"
    UNANSWERED = "no answer"
    UNKNOWN = "unknown, may still arrive"
    NEVER_ARRIVED = "unknown, cannot arrive any more"
    CANCEL = "to be canceled"
    NOT_CANCELED = "still open"
    TRADED = "all of it traded"
    CLOSED = "closed"


class Transition(NamedTuple):
    """One row of the table.

    Attributes:
        state: where the order stands.
        event: what happens.
        then: where it stands after that.
        rows: of docs/orders.md.
    """

    state: State
    event: Event
    then: State
    rows: str


TRANSITIONS = (
    Transition(State.UNSENT, Event.SEND, State.SENT, "I1"),
    Transition(State.UNSENT, Event.LOAD, State.SENT, "I4"),
    Transition(State.UNSENT, Event.FOUND, State.OPEN, "I5"),
    Transition(State.UNSENT, Event.CLOSED, State.CANCELED, "I3 A4"),
    Transition(State.SENT, Event.FOUND, State.OPEN, "A1 A2 A9 S1 S6"),
    Transition(State.SENT, Event.REFUSED, State.UNSENT, "A3 A4 A7 A8 A9 A10"),
    Transition(State.SENT, Event.UNANSWERED, State.SENT, "A5 A6"),
    Transition(State.SENT, Event.UNKNOWN, State.ASKED, "S3"),
    Transition(State.SENT, Event.NEVER_ARRIVED, State.UNSENT, "S4"),
    Transition(State.ASKED, Event.FOUND, State.OPEN, "S1 S6"),
    Transition(State.ASKED, Event.NEVER_ARRIVED, State.UNSENT, "S4"),
    Transition(State.OPEN, Event.TRADED, State.FILLED, "O1 O7"),
    Transition(State.OPEN, Event.CLOSED, State.CANCELED, "O6 O7"),
    Transition(State.OPEN, Event.CANCEL, State.CANCELING, "X5"),
    Transition(State.CANCELING, Event.CANCEL, State.CANCELING, "X5"),
    Transition(State.CANCELING, Event.NOT_CANCELED, State.OPEN, "X2 X3 X4"),
    Transition(State.CANCELING, Event.TRADED, State.FILLED, "X1 X6"),
    Transition(State.CANCELING, Event.CLOSED, State.CANCELED, "X1 X6"),
)
_NEXT = {(row.state, row.event): row.then for row in TRANSITIONS}
_ENDS = {OrderState.FILLED: Event.TRADED, OrderState.CANCELED: Event.CLOSED}


@dataclass(frozen=True)
class Refusal:
    """Why an order waits that the exchange refused.

    Attributes:
        reason: why.
        retry_at: when to try again (monotonic seconds).
        delay: how long was waited for that (seconds).
        expected: it is no trouble: the market has passed a post-only order's price, or is closed.
    """

    reason: str
    retry_at: float
    delay: float
    expected: bool = False


@dataclass(frozen=True)
class Doubt:
    """An order of which the exchange says more than it lists.

    Attributes:
        reason: what it says.
        since: when that was first seen (monotonic seconds).
    """

    reason: str
    since: float


@dataclass
class InFlight:
    """One order.

    Attributes:
        state: where it stands.
        time: of its state (monotonic seconds): when a request that was sent has arrived or never
            will; when it was asked to be canceled.
        refusal: why it waits, or had to wait before it was sent again.
        doubt: what of it cannot be booked yet.
    """

    state: State
    time: float = 0.0
    refusal: Refusal | None = None
    doubt: Doubt | None = None


class OrdersInFlight:
    """All orders of one grid that have not ended, by client order ID, oldest first."""

    def __init__(self) -> None:
        self._orders: dict[str, InFlight] = {}
        self._waits: dict[str, Refusal] = {}  # of orders that are about to be written down
        self._untraded: dict[str, int] = {}

    def __getitem__(self, client_id: str) -> InFlight:
        return self._orders[client_id]

    def __contains__(self, client_id: str) -> bool:
        return client_id in self._orders

    def in_state(self, *states: State) -> list[str]:
        """The client order IDs of those that stand there."""
        return [name for name, order in self._orders.items() if order.state in states]

    @property
    def refused(self) -> dict[str, Refusal]:
        """Why orders wait, or had to wait before they were sent again."""
        return {name: order.refusal for name, order in self._orders.items() if order.refusal}

    @property
    def doubts(self) -> dict[str, Doubt]:
        """Orders of which not all can be booked that the exchange says."""
        return {name: order.doubt for name, order in self._orders.items() if order.doubt}

    def load(self, orders: Iterable[Order], arrived_by: float) -> None:
        """Take up stored orders: an intent may have been sent by the process before.

        Args:
            orders: those that have not ended.
            arrived_by: when its requests have arrived or never will (monotonic seconds).
        """
        for order in orders:
            is_open = order.state is OrderState.OPEN
            self._orders[order.client_id] = InFlight(State.OPEN if is_open else State.UNSENT)
            if not is_open:
                self.move(order.client_id, Event.LOAD, arrived_by)

    def take(self, changes: Changes) -> None:
        """Take up new intents and let go of orders that have ended, as they are written down.

        Raises:
            AssertionError: an order ends that cannot, where it stands.
        """
        for order in changes.orders:
            wait = self._waits.pop(order.client_id, None)
            self._orders[order.client_id] = InFlight(State.UNSENT, refusal=wait)
        for order in changes.updated:
            if order.state in _ENDS:
                self.move(order.client_id, _ENDS[order.state])
                del self._orders[order.client_id]
        for leg, _ in changes.complete:
            self._untraded.pop(leg, None)

    def move(self, client_id: str, event: Event, time: float | None = None) -> None:
        """Something happened to an order.

        Args:
            client_id: which one.
            event: what.
            time: of its new state (monotonic seconds), see `InFlight`; None where it stays.

        Raises:
            AssertionError: the table has no row for that.
        """
        order = self._orders[client_id]
        then = _NEXT.get((order.state, event))
        if then is None:
            raise AssertionError(f"order {client_id} is {order.state}: no row for {event!r}")
        order.state = then
        if time is not None:
            order.time = time
        if then is State.OPEN:
            order.refusal = None

    def wait(self, client_id: str, refusal: Refusal) -> None:
        """Let an order that is about to be written down wait before it is sent."""
        self._waits[client_id] = refusal

    def closed_untraded(self, leg: str) -> int:
        """The exchange has closed an order of a leg untraded; how often by now."""
        self._untraded[leg] = self._untraded.get(leg, 0) + 1
        return self._untraded[leg]

    def doubt(self, reasons: Mapping[str, str], now: float) -> None:
        """What of which orders cannot be booked yet; of all others everything is.

        Args:
            reasons: by client order ID.
            now: monotonic seconds.
        """
        for client_id, order in self._orders.items():
            since = now if order.doubt is None else order.doubt.since
            reason = reasons.get(client_id)
            order.doubt = None if reason is None else Doubt(reason, since)
