"""The life of an order: what the table allows, and what belongs to each state."""

import itertools
from decimal import Decimal

import pytest
from gridbot.core.engine import Changes
from gridbot.core.orders import Order, OrderState, Role, Side
from gridbot.core.orders_in_flight import (
    TRANSITIONS,
    Doubt,
    Event,
    OrdersInFlight,
    Refusal,
    State,
)

NEXT = {(row.state, row.event): row.then for row in TRANSITIONS}
ENDS = {State.FILLED, State.CANCELED}
REFUSAL = Refusal("no money", retry_at=30.0, delay=30.0)


def order(name: str = "a", state: OrderState = OrderState.INTENDED) -> Order:
    return Order(
        client_id=name,
        leg="leg",
        role=Role.GRID,
        side=Side.BUY,
        line=1,
        attempt=1,
        price=Decimal(1),
        quantity=Decimal(1),
        state=state,
        exchange_id=None,
        created_ms=0,
    )


def in_flight(state: State) -> OrdersInFlight:
    """One order ``a`` that stands there."""
    orders = OrdersInFlight()
    orders.take(Changes(0, orders=[order()]))
    orders["a"].state = state
    return orders


def test_each_event_leads_to_one_state():
    assert len(NEXT) == len(TRANSITIONS)


def test_no_order_leaves_its_end_and_each_comes_to_one():
    reached = {State.UNSENT}
    for _ in State:
        reached |= {then for (state, _), then in NEXT.items() if state in reached}
    assert reached == set(State)
    assert set(State) - {state for state, _ in NEXT} == ENDS
    assert {event for _, event in NEXT} == set(Event)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_an_event_moves_an_order_as_the_table_says_or_raises(state, event):
    orders = in_flight(state)
    if (state, event) in NEXT:
        orders.move("a", event)
        assert orders["a"].state is NEXT[state, event]
    else:
        with pytest.raises(AssertionError, match=f"order a is {state}: no row for <Event"):
            orders.move("a", event)
        assert orders["a"].state is state


def test_nothing_happens_to_an_order_that_is_not_known():
    with pytest.raises(KeyError):
        OrdersInFlight().move("a", Event.SEND)


def test_what_is_known_is_in_it():
    orders = in_flight(State.OPEN)
    assert "a" in orders
    assert "b" not in orders


def test_a_time_stays_until_there_is_another_one():
    orders = in_flight(State.UNSENT)
    assert orders["a"].time == 0
    orders.move("a", Event.SEND, 6.0)
    orders.move("a", Event.UNKNOWN)
    assert orders["a"].time == 6
    orders.move("a", Event.NEVER_ARRIVED, 0.0)
    assert orders["a"].time == 0


def test_why_an_order_had_to_wait_is_known_until_it_is_there():
    orders = in_flight(State.UNSENT)
    orders["a"].refusal = REFUSAL
    orders.move("a", Event.SEND)
    orders.move("a", Event.REFUSED)
    assert orders.refused == {"a": REFUSAL}
    assert not REFUSAL.expected
    orders.move("a", Event.FOUND)
    assert orders.refused == {}


def test_orders_are_found_by_their_state_oldest_first():
    orders = OrdersInFlight()
    orders.take(Changes(0, orders=[order(name) for name in "cab"]))
    orders.move("a", Event.SEND)
    assert orders.in_state(State.UNSENT) == ["c", "b"]
    assert orders.in_state(State.UNSENT, State.SENT) == ["c", "a", "b"]
    assert orders.in_state(State.OPEN) == []


def test_a_stored_intent_may_have_been_sent():
    orders = OrdersInFlight()
    orders.load([order("a"), order("b", OrderState.OPEN)], arrived_by=6.0)
    assert (orders["a"].state, orders["a"].time) == (State.SENT, 6.0)
    assert (orders["b"].state, orders["b"].refusal, orders["b"].doubt) == (State.OPEN, None, None)


@pytest.mark.parametrize("end", [OrderState.FILLED, OrderState.CANCELED])
def test_an_order_that_has_ended_is_let_go(end):
    orders = in_flight(State.OPEN)
    orders.take(Changes(0, updated=[order(state=OrderState.OPEN)]))
    assert orders.in_state(*State) == ["a"]
    orders.take(Changes(0, updated=[order(state=end)]))
    assert orders.in_state(*State) == []


@pytest.mark.parametrize(
    ("state", "end"),
    [
        (State.UNSENT, OrderState.FILLED),
        (State.SENT, OrderState.CANCELED),
        (State.ASKED, OrderState.CANCELED),
    ],
)
def test_an_order_that_may_be_there_does_not_just_end(state, end):
    with pytest.raises(AssertionError, match="no row for"):
        in_flight(state).take(Changes(0, updated=[order(state=end)]))


def test_an_order_may_have_to_wait_from_its_intent_on():
    orders = OrdersInFlight()
    orders.wait("b", REFUSAL)
    assert orders.refused == {}
    orders.take(Changes(0, orders=[order("a"), order("b")]))
    assert orders.refused == {"b": REFUSAL}
    orders.take(Changes(0, orders=[order("b")]))
    assert orders.refused == {}


def test_orders_that_were_closed_untraded_are_counted_until_their_leg_is_complete():
    orders = OrdersInFlight()
    assert [orders.closed_untraded(leg) for leg in ("leg", "leg", "other")] == [1, 2, 1]
    orders.take(Changes(0, complete=[("leg", 0), ("third", 0)]))
    assert [orders.closed_untraded(leg) for leg in ("leg", "other")] == [1, 2]


def test_a_doubt_is_as_old_as_its_order_has_been_doubtful_without_a_break():
    orders = OrdersInFlight()
    orders.take(Changes(0, orders=[order("a"), order("b")]))
    orders.doubt({"a": "half", "gone": "all"}, 1.0)
    orders.doubt({"a": "less", "b": "half"}, 2.0)
    assert orders.doubts == {"a": Doubt("less", 1.0), "b": Doubt("half", 2.0)}
    orders.doubt({"b": "half"}, 3.0)
    assert orders.doubts == {"b": Doubt("half", 2.0)}
    orders.doubt({"a": "half"}, 4.0)
    assert orders.doubts == {"a": Doubt("half", 4.0)}
