"""One test for each row of docs/orders.md, named after it."""

import itertools
import math
import re
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.errors import MismatchError
from gridbase.market import plain
from gridbot.core.orders import OrderState, Role, Side
from gridbot.core.orders_in_flight import TRANSITIONS, Event, State
from gridbot.exchanges.binance.symbol import BinanceBroker
from gridbot.exchanges.port import (
    BrokerError,
    Failure,
    OrderEvent,
    RemoteOrder,
    RemoteTrade,
    StreamGap,
)
from gridbot.trading.cancels import RESTING_SECONDS
from gridbot.trading.passed_orders import PassedOrders
from gridbot.trading.reconciliation import (
    CANCELED_SECONDS,
    LISTED_SECONDS,
    RECONCILE_SECONDS,
    check_listed,
)
from gridbot.trading.session import WindDown
from gridbot.trading.submission import _wanted

from bot.tests.together.in_process import answer_of, refusal

from .conftest import Crash, World, lost, unreachable

STILL = ["timestamp,open,high,low,close,volume", "1640995200000" + ",50000" * 4 + ",1"]
# Still for ten minutes, then down to just below the first buy.
DIP = [
    *STILL[:1],
    *(f"{1_640_995_200_000 + 60_000 * minute}" + ",50000" * 4 + ",1" for minute in range(10)),
    "1640995800000,50000,50000,49650,49650,1",
]
DOCUMENT = (Path(__file__).parents[4] / "docs" / "orders.md").read_text()
STORED = {
    State.UNSENT: OrderState.INTENDED,
    State.SENT: OrderState.INTENDED,
    State.ASKED: OrderState.INTENDED,
    State.OPEN: OrderState.OPEN,
    State.CANCELING: OrderState.OPEN,
    State.FILLED: OrderState.FILLED,
    State.CANCELED: OrderState.CANCELED,
}


def test_the_documents_states_are_those_of_the_table():
    described = re.findall(r"^\| \*(\w+)\* \| ([A-Z]+) \|", DOCUMENT, re.MULTILINE)
    assert described == [(state, STORED[state].name) for state in State]


def test_the_documents_chart_is_the_table():
    edges = [f"    {row.state} --> {row.then}: {row.event} ({row.rows})\n" for row in TRANSITIONS]
    chart = "```mermaid\nstateDiagram-v2\n    [*] --> unsent: written down\n" + "".join(edges)
    assert chart + "    filled --> [*]\n    canceled --> [*]\n```\n" in DOCUMENT


def changes(name: str) -> str:
    """What the table says of a row of the document."""
    rows = [row for row in TRANSITIONS if name in row.rows.split()]
    return "; ".join(
        f"{', '.join(row.state for row in rows if row.then is then)} → {then}"
        for then in dict.fromkeys(row.then for row in rows)
    )


def test_every_row_of_the_document_changes_the_state_as_the_table_does():
    cells = dict(re.findall(r"^\| ([A-Z]\d+) \|.*\| ?([^|]*?) ?\|$", DOCUMENT, re.MULTILINE))
    assert cells == {name: changes(name) for name in cells}
    assert cells.keys() >= {name for row in TRANSITIONS for name in row.rows.split()}


def test_every_row_of_the_document_has_its_test():
    rows = re.findall(r"^\| ([A-Z]\d+) \|", DOCUMENT, re.MULTILINE)
    tests = [
        match.group(1).upper()
        for name in vars(sys.modules[__name__])
        if (match := re.match(r"test_([a-z]\d+)_", name))
    ]
    assert rows == tests


def still(make_world) -> World:
    return make_world(STILL)


def intended(trader):
    return [order for order in trader.engine.live.values() if order.state is OrderState.INTENDED]


def placed(world: World) -> list[str]:
    return [name for name in world.exchange_orders() if name.startswith("pi1-")]


def fail_post(world: World, what, *, times: int = 1, when: str = "before") -> None:
    """Let something happen to the next requests that place an order of the grid."""
    count = itertools.count()

    def disturb(method, path):
        if (method, path) == ("POST", "order") and next(count) < times:
            return what(method, path)
        return None

    setattr(world.wire, when, disturb)


def started(world: World):
    """A grid that has bought its base and holds its orders back until the first is disturbed."""
    trader = world.trader()
    trader.step()
    assert trader.engine.grid_started
    assert not intended(trader)
    return trader


def one_unsent(world: World):
    """A running grid with one order that was never sent: what a cancel by hand leads to."""
    trader = started(world)
    trader.session.broker.cancel(buy(trader).client_id)
    fail_post(world, unreachable)
    with pytest.raises(BrokerError):
        trader.step()
    world.wire.before = lambda *_: None
    (order,) = intended(trader)
    assert order.client_id in trader.session.orders.in_state(State.UNSENT)
    assert (trader.session.answers.refused, trader.session.answers.unanswered) == (0, 0)
    return trader, order


def one_sent(world: World, *, when: str):
    """A running grid with one order of which no answer came."""
    trader, order = one_unsent(world)
    fail_post(world, lost, when=when)
    with pytest.raises(BrokerError) as told:
        trader.step()
    assert told.value.failure is Failure.AMBIGUOUS
    assert trader.session.answers.unanswered == 1
    world.wire.before = world.wire.after = lambda *_: None
    assert order.client_id not in trader.session.orders.in_state(State.UNSENT)
    return trader, order


def buy(trader):
    return max(
        (order for order in trader.engine.live.values() if order.side is Side.BUY),
        key=lambda order: order.line,
    )


def state(trader, order):
    live = trader.engine.live.get(order.client_id)
    return None if live is None else live.state


# An intent.


@pytest.mark.parametrize(
    ("role", "side", "sent"),
    [
        (Role.GRID, Side.BUY, False),
        (Role.GRID, Side.SELL, True),
        (Role.INITIAL, Side.BUY, True),  # what has begun goes on
    ],
)
def test_while_buys_pause_only_those_of_the_grid_wait(make_world, role, side, sent):
    trader, order = one_unsent(still(make_world))
    trader.session.paused = "a test"
    one = replace(order, role=role, side=side)
    assert _wanted(trader.session, trader.engine, one) is sent
    trader.session.paused = ""
    assert _wanted(trader.session, trader.engine, one)


def test_i1_an_unsent_order_is_sent(make_world):
    world = still(make_world)
    trader, order = one_unsent(world)
    trader.step()
    assert state(trader, order) is OrderState.OPEN
    assert placed(world).count(order.client_id) == 1


def test_i2_a_buy_is_held_back_while_buys_pause(make_world):
    world = still(make_world)
    trader, order = one_unsent(world)
    trader._risk_guard.pause = lambda: setattr(trader.session, "paused", "downtrend")
    trader.step()
    assert order.side is Side.BUY
    assert state(trader, order) is OrderState.INTENDED
    assert trader.unsettled == 0
    trader._risk_guard.pause = lambda: setattr(trader.session, "paused", "")
    trader.step()
    assert state(trader, order) is OrderState.OPEN


def test_i3_an_unsent_order_of_a_grid_that_ends_is_closed_in_the_books(make_world):
    world = still(make_world)
    trader, order = one_unsent(world)
    trader.session.wind_down = WindDown("a test")
    for _ in range(5):
        if trader.session.wind_down is not None:
            trader.step()
    assert order.client_id not in placed(world)
    stored = {one.client_id: one.state for one in world.store.orders(1)}
    assert stored[order.client_id] is OrderState.CANCELED


@pytest.mark.parametrize("when", ["before", "after"])
def test_i4_a_kill_makes_an_intent_one_that_may_be_there(make_world, when):
    world = still(make_world)
    trader, order = one_unsent(world)

    def kill(*_request):
        raise Crash

    fail_post(world, kill, when=when)
    with pytest.raises(Crash):
        trader.step()
    setattr(world.wire, when, lambda *_: None)
    world.wire.requests.clear()
    trader = world.trader()
    trader.step()
    assert ("GET", "order") in world.wire.requests
    world.settle(trader)
    assert state(trader, order) is OrderState.OPEN
    assert placed(world).count(order.client_id) == 1


def test_i5_an_unsent_order_that_is_heard_of_is_open(make_world):
    world = still(make_world)
    trader, order = one_sent(world, when="after")
    remote = trader.session.broker.find(order.client_id)
    # As if it were known not to be there; and it is held back.
    trader.session.orders.move(order.client_id, Event.NEVER_ARRIVED)
    trader._risk_guard.pause = lambda: setattr(trader.session, "paused", "downtrend")
    stream = Stream(trader)
    stream.say(OrderEvent(remote, None))
    trader.step()
    assert state(trader, order) is OrderState.OPEN
    assert placed(world).count(order.client_id) == 1


# The answer to sending it.


def test_a1_an_accepted_order_is_open(make_world):
    world = still(make_world)
    world.clock.sleep(100)
    trader = started(world)
    stored = {one.client_id: one for one in world.store.orders(1)}
    for name, order in trader.engine.live.items():
        assert order.state is stored[name].state is OrderState.OPEN
        assert order.exchange_id == stored[name].exchange_id
    said = trader.session.answers.document()
    assert 0 <= said.pop("milliseconds") < 1000
    sent = len(trader.engine.live) + 1  # and the initial one
    assert said == {"acknowledged": sent, "refused": 0, "unanswered": 0, "doubled": 0}


def test_a2_trades_of_an_order_that_takes_are_booked(make_world):
    world = still(make_world)
    trader = started(world)
    (initial,) = [one for one in world.store.orders(1) if one.role is Role.INITIAL]
    assert initial.state is OrderState.FILLED
    assert trader.engine.books.initial_base > 0


def test_a3_a_refused_order_is_tried_again_under_its_id(make_world):
    world = still(make_world)
    trader, order = one_unsent(world)
    fail_post(world, lambda *_: refusal(400, -1013, "Filter failure: LOT_SIZE"))
    trader.step()
    assert trader.refused[order.client_id].delay == 30
    assert trader.session.answers.refused == 1
    world.wire.requests.clear()
    trader.step()
    assert ("POST", "order") not in world.wire.requests
    world.clock.sleep(31)
    trader.step()
    assert state(trader, order) is OrderState.OPEN
    assert placed(world).count(order.client_id) == 1
    assert trader.refused == {}


def test_a4_a_refused_initial_order_is_planned_again(make_world):
    world = still(make_world)
    trader = world.trader()
    fail_post(world, lambda *_: refusal(400, -2010, "Account has insufficient balance"))
    with pytest.raises(BrokerError, match="insufficient balance"):
        trader.step()
    assert trader.engine.live == {}
    trader.step()
    assert trader.engine.grid_started
    first, second = [one for one in world.store.orders(1) if one.role is Role.INITIAL]
    assert (first.state, second.state) == (OrderState.CANCELED, OrderState.FILLED)


@pytest.mark.parametrize(
    "what",
    [
        lost,
        lambda *_: answer_of("502 Bad Gateway", b"<html>"),
        lambda *_: refusal(500, -1006, "An unexpected response was received."),
        lambda *_: refusal(408, -1007, "Timeout waiting for response from backend server."),
        lambda *_: answer_of("200 OK", b"not JSON"),
    ],
)
def test_a5_without_an_answer_the_order_is_asked_for(make_world, what):
    world = still(make_world)
    trader, order = one_unsent(world)
    fail_post(world, what, when="after")
    with pytest.raises(BrokerError) as told:
        trader.step()
    assert told.value.failure is Failure.AMBIGUOUS
    world.wire.requests.clear()
    trader.step()
    orders = [one for one in world.wire.requests if one[1] == "order"]
    assert orders == [("GET", "order")]
    assert state(trader, order) is OrderState.OPEN


def test_a6_a_duplicate_is_asked_for(make_world):
    world = still(make_world)
    trader, order = one_sent(world, when="after")
    # As if it were known not to be there.
    trader.session.orders.move(order.client_id, Event.NEVER_ARRIVED)
    with pytest.raises(BrokerError, match="Duplicate order"):
        trader.step()
    trader.step()
    assert state(trader, order) is OrderState.OPEN
    assert placed(world).count(order.client_id) == 1


def test_a7_what_never_left_is_sent_again(make_world):
    world = still(make_world)
    trader, order = one_unsent(world)
    world.wire.requests.clear()
    trader.step()
    assert [one for one in world.wire.requests if one[1] == "order"] == [("POST", "order")]
    assert state(trader, order) is OrderState.OPEN


@pytest.mark.parametrize("status", [429, 418])
def test_a8_a_limit_is_waited_out(make_world, status):
    world = still(make_world)
    trader, order = one_unsent(world)
    too_many = refusal(status, -1003, "Too much request weight used", **{"Retry-After": "7"})
    fail_post(world, lambda *_: too_many)
    with pytest.raises(BrokerError) as told:
        trader.step()
    assert told.value.failure is Failure.RATE_LIMITED
    assert told.value.retry_after == 7
    assert order.client_id in trader.session.orders.in_state(State.UNSENT)


def test_a9_a_wrong_clock_is_set_and_the_order_sent_once(make_world):
    world = still(make_world)
    trader, order = one_unsent(world)
    fail_post(world, lambda *_: refusal(400, -1021, "Timestamp for this request is outside"))
    world.wire.requests.clear()
    trader.step()
    asked = [one for one in world.wire.requests if one[1] in {"order", "time"}]
    assert asked == [("POST", "order"), ("GET", "time"), ("POST", "order")]
    assert state(trader, order) is OrderState.OPEN
    assert placed(world).count(order.client_id) == 1


def test_an_order_that_is_refused_for_its_time_twice_is_unsent(make_world):
    world = still(make_world)
    trader, order = one_unsent(world)
    fail_post(world, lambda *_: refusal(400, -1021, "Timestamp is outside"), times=2)
    world.wire.requests.clear()
    with pytest.raises(BrokerError) as told:
        trader.step()
    assert told.value.failure is Failure.CLOCK
    assert world.wire.requests.count(("POST", "order")) == 2
    assert order.client_id in trader.session.orders.in_state(State.UNSENT)
    trader.step()
    assert placed(world).count(order.client_id) == 1


def test_a10_a_post_only_order_waits_until_it_rests(make_world, caplog):
    caplog.set_level("INFO")
    world = still(make_world)
    world.document["grid"]["post_only"] = True
    trader, order = one_unsent(world)
    takes = refusal(400, -2010, "Order would immediately match and take.")
    fail_post(world, lambda *_: takes, times=2)
    for _ in range(2):
        trader.step()
        assert trader.refused[order.client_id].expected
        assert trader.refused[order.client_id].delay == 10
        assert caplog.text.count("waits: the market has passed its price") == 1
        world.clock.sleep(11)
    trader.step()
    assert state(trader, order) is OrderState.OPEN
    assert placed(world).count(order.client_id) == 1


# Sent, without an answer.


def test_s1_an_order_that_is_there_is_open(make_world):
    world = still(make_world)
    trader, order = one_sent(world, when="after")
    trader.step()
    assert state(trader, order) is OrderState.OPEN


@pytest.mark.parametrize("change", [{"price": Decimal(1)}, {"quantity": Decimal(1)}])
def test_s2_another_order_under_the_same_id_stops_the_bot(make_world, monkeypatch, change):
    world = still(make_world)
    trader, _ = one_sent(world, when="after")
    broker = trader.session.broker
    find = broker.find
    monkeypatch.setattr(broker, "find", lambda name: replace(find(name), **change))
    with pytest.raises(MismatchError, match="should be buy"):
        trader.step()
    assert trader.session.answers.doubled == 1


def test_s3_a_request_that_may_still_arrive_is_waited_for(make_world):
    world = still(make_world)
    trader, order = one_sent(world, when="before")
    world.wire.requests.clear()
    for _ in range(3):
        trader.step()
        world.clock.sleep(1)
    assert [one for one in world.wire.requests if one[1] == "order"] == [("GET", "order")]
    assert state(trader, order) is OrderState.INTENDED
    assert trader.unsettled == 1


def test_s4_a_request_that_can_not_arrive_is_repeated(make_world):
    world = still(make_world)
    trader, order = one_sent(world, when="before")
    trader.step()
    world.clock.sleep(6.1)
    world.wire.requests.clear()
    trader.step()
    asked = [one for one in world.wire.requests if one[1] == "order"]
    assert asked == [("GET", "order"), ("POST", "order")]
    assert state(trader, order) is OrderState.OPEN


def test_s5_nothing_is_sent_while_asking_fails(make_world):
    world = still(make_world)
    trader, order = one_sent(world, when="after")

    def fail(method, path):
        return lost() if (method, path) == ("GET", "order") else None

    world.wire.before = fail
    world.wire.requests.clear()
    for _ in range(3):
        with pytest.raises(BrokerError):
            trader.step()
        world.clock.sleep(60)
    assert ("POST", "order") not in world.wire.requests
    world.wire.before = lambda *_: None
    trader.step()
    assert state(trader, order) is OrderState.OPEN


def test_s6_an_order_that_is_heard_of_is_open(make_world):
    world = still(make_world)
    trader, order = one_sent(world, when="after")
    remote = trader.session.broker.find(order.client_id)
    stream = Stream(trader)
    stream.say(OrderEvent(remote, None))
    # The exchange was asked, and its answer came late.
    trader.session.orders.move(order.client_id, Event.UNKNOWN)
    trader.step()
    assert state(trader, order) is OrderState.OPEN


@pytest.mark.parametrize("change", [{}, {"price": Decimal(1)}, {"quantity": Decimal(1)}])
def test_an_order_that_is_heard_of_with_other_terms_is_asked_for(make_world, change):
    trader, order = one_sent(still(make_world), when="after")
    remote = replace(trader.session.broker.find(order.client_id), **change)
    stream = Stream(trader)
    stream.say(OrderEvent(remote, None))
    trader.session.orders.move(order.client_id, Event.UNKNOWN, math.inf)
    trader.step()
    assert state(trader, order) is OrderState.OPEN
    assert stream.lists == bool(change)


# Open.


class Stream:
    """A stream that says what it is told to, over the real broker."""

    def __init__(self, trader) -> None:
        self._waiting = []
        broker = trader.session.broker
        self._real = broker
        type(self).__getattr__ = lambda self, name: getattr(self._real, name)
        trader.session.broker = self
        self.streaming = True
        self.lists = 0

    def say(self, *events) -> None:
        self._waiting += events

    def events(self):
        said, self._waiting = self._waiting, []
        return said

    def open_orders(self):
        self.lists += 1
        return self._real.open_orders()


def partly(order, traded: str, trade) -> OrderEvent:
    """An event of an order of which so much has traded in all."""
    remote = RemoteOrder(
        order.exchange_id,
        order.client_id,
        order.side,
        order.price,
        order.quantity,
        Decimal(traded),
        closed=Decimal(traded) == order.quantity,
    )
    return OrderEvent(remote, trade)


@pytest.fixture
def heard(make_world):
    """A bot that trades by stream, and what the stream has to say about its first fill."""
    world = make_world(DIP, at_end="hold")
    trader = started(world)
    trader.step()
    stream = Stream(trader)
    while True:
        world.clock.sleep(0.5)
        trades = [
            trade
            for trade in stream.trades_after(trader.session.cursor)[0]
            if trade.exchange_id in trader.engine._by_exchange_id
        ]
        if trades:
            break
    trade = trades[0]
    order = trader.engine.live[trader.engine.client_id_of(trade.exchange_id)]
    stream.lists = 0
    return world, trader, stream, order, trade


def event_of(order, trade):
    return partly(order, str(order.quantity), trade)


def test_o1_a_fill_that_is_heard_is_booked_and_answered_at_once(heard):
    world, trader, stream, order, trade = heard
    stream.say(event_of(order, trade))
    trader.step()
    assert stream.lists == 0
    assert state(trader, order) is None
    books = trader.engine.books
    assert books.buys + books.sells == 1
    neighbour = order.line + (1 if order.side is Side.BUY else -1)
    answers = [one for one in trader.engine.live.values() if one.line == neighbour]
    assert [one.side for one in answers] == [Side.SELL if order.side is Side.BUY else Side.BUY]
    assert trade.trade_id in [fill.trade_id for fill in world.store.fills(1)]


def test_o2_an_event_that_comes_twice_is_booked_once(heard):
    world, trader, stream, order, trade = heard
    stream.say(event_of(order, trade), event_of(order, trade))
    trader.step()
    stream.say(event_of(order, trade))
    trader.step()
    books = trader.engine.books
    assert books.buys + books.sells == 1
    fills = world.store.fills(1)
    assert [fill.trade_id for fill in fills].count(trade.trade_id) == 1


def test_o3_a_missing_event_is_made_up_for_by_asking(heard):
    _, trader, stream, order, trade = heard
    half = replace(trade, quantity=order.quantity / 2, quote=trade.quote / 2)
    stream.say(event_of(order, half))
    trader.step()
    assert stream.lists == 1
    assert state(trader, order) is None


def test_o4_a_gap_is_made_up_for_by_asking(heard):
    _, trader, stream, order, _ = heard
    stream.say(StreamGap())
    trader.step()
    assert stream.lists == 1
    assert state(trader, order) is None


def test_o5_a_part_is_booked_and_the_rest_waited_for(heard):
    _, trader, stream, order, trade = heard
    half = replace(trade, quantity=order.quantity / 2, quote=trade.quote / 2, commission=0)
    rest = replace(half, trade_id=trade.trade_id + "000")
    stream.say(partly(order, str(order.quantity / 2), half))
    trader.step()
    assert trader.engine.executed(order.client_id) == order.quantity / 2
    assert trader.engine.books.buys + trader.engine.books.sells == 0
    assert all(one.created_ms == order.created_ms for one in trader.engine.live.values())
    stream.say(event_of(order, rest))
    trader.step()
    assert trader.engine.books.buys + trader.engine.books.sells == 1


def test_o6_the_rest_of_a_closed_order_is_ordered_again(make_world):
    world = still(make_world)
    trader = started(world)
    order = buy(trader)
    stream = Stream(trader)
    stream.cancel(order.client_id)
    stream.say(OrderEvent(stream.find(order.client_id), None))
    trader.step()
    (again,) = [one for one in trader.engine.live.values() if one.line == order.line]
    assert again.attempt == order.attempt + 1
    assert (again.side, again.quantity) == (order.side, order.quantity)
    assert again.state is OrderState.OPEN
    # The exchange does not want it: not as fast as orders can be sent.
    stream.cancel(again.client_id)
    stream.say(OrderEvent(stream.find(again.client_id), None))
    trader.step()
    (third,) = [one for one in trader.engine.live.values() if one.line == order.line]
    assert third.state is OrderState.INTENDED
    assert trader.refused[third.client_id].delay == 30
    world.clock.sleep(31)
    trader.step()
    assert state(trader, third) is OrderState.OPEN


def test_o7_an_order_that_is_gone_from_the_list_is_asked_for(heard):
    _, trader, stream, order, trade = heard
    listed = stream.trades_after
    # The list of trades is behind; the order's own list is not.
    stream.trades_after = lambda cursor: (
        [one for one in listed(cursor)[0] if one.trade_id != trade.trade_id],
        listed(cursor)[1],
    )
    stream.say(StreamGap())
    trader.step()
    assert state(trader, order) is None
    assert trader.engine.books.buys + trader.engine.books.sells >= 1


def test_o8_an_accepted_order_that_is_unknown_stops_the_bot(make_world):
    world = still(make_world)
    trader = started(world)
    order = buy(trader)
    stream = Stream(trader)
    listed = stream._real.open_orders
    stream.open_orders = lambda: [one for one in listed() if one.client_id != order.client_id]

    def find(_name):
        raise BrokerError(Failure.NOT_FOUND, "Order does not exist.")

    stream.find = find
    stream.say(StreamGap())
    with pytest.raises(MismatchError, match="does not know it now"):
        trader.step()


def test_o9_more_traded_than_ordered_stops_the_bot(heard):
    _, trader, stream, order, trade = heard
    more = replace(trade, quantity=order.quantity * 2)
    stream.say(partly(order, str(order.quantity * 2), more))
    with pytest.raises(MismatchError, match="traded"):
        trader.step()


def test_o10_the_exchange_is_asked_now_and_then_in_any_case(make_world):
    world = still(make_world)
    trader = started(world)
    stream = Stream(trader)
    trader.step()
    stream.lists = 0
    trader.step()
    assert stream.lists == 0
    for count in (1, 2):
        world.clock.sleep(RECONCILE_SECONDS)
        for _ in range(2):
            trader.step()
        assert stream.lists == count


def test_o11_what_is_never_listed_is_not_answered_and_told(heard):
    world, trader, stream, order, trade = heard
    stream.trades_after = lambda cursor: ([], cursor)
    stream.trades_of = lambda _order: []
    stream.say(StreamGap())
    posts = world.wire.requests.count(("POST", "order"))
    for seconds in (0, LISTED_SECONDS / 2, LISTED_SECONDS / 3):
        world.clock.sleep(seconds)
        trader.step()
        check_listed(trader.session)
    world.clock.sleep(LISTED_SECONDS / 3)
    trader.step()
    said = f"order {order.client_id} has traded {plain(order.quantity)}, and only trades of 0 are"
    with pytest.raises(BrokerError, match=said) as told:
        check_listed(trader.session)
    assert told.value.failure is Failure.AMBIGUOUS
    assert state(trader, order) is OrderState.OPEN
    assert world.wire.requests.count(("POST", "order")) == posts
    del stream.trades_after, stream.trades_of
    trader.step()
    check_listed(trader.session)
    assert state(trader, order) is None
    assert trade.trade_id in [fill.trade_id for fill in world.store.fills(1)]


def test_a_bot_that_is_told_to_stop_meanwhile_sends_no_further_order(make_world):
    world = make_world(STILL)
    sent = itertools.count(1)

    def tell(method, name):
        if (method, name) == ("POST", "order") and next(sent) == 3:
            world.clock.stop_at = world.clock.seconds

    world.wire.before = tell
    trader = world.trader()
    for _ in range(3):
        trader.step()
    assert world.wire.requests.count(("POST", "order")) == 3
    assert len(trader.engine.live) > 3


def halves(order, trade):
    """An order's trade as two, of which the second has an ID of its own."""
    first = replace(trade, quantity=order.quantity / 2, quote=trade.quote / 2)
    return first, replace(first, trade_id=trade.trade_id + "1")


def booked(world: World, order) -> list[str]:
    return [fill.trade_id for fill in world.store.fills(1) if fill.client_id == order.client_id]


def test_a_trade_that_both_lists_have_is_booked_once(heard):
    world, trader, stream, order, trade = heard
    first, second = halves(order, trade)
    stream.trades_after = lambda cursor: ([first], cursor)
    stream.trades_of = lambda _order: [first, second]
    stream.say(StreamGap())
    trader.step()
    assert state(trader, order) is None
    assert sorted(booked(world, order)) == [first.trade_id, second.trade_id]


def test_a_trade_that_is_booked_is_not_booked_again_with_one_that_the_list_lacks(heard):
    world, trader, stream, order, trade = heard
    first, second = halves(order, trade)
    stream.say(partly(order, str(first.quantity), first))
    trader.step()
    assert booked(world, order) == [first.trade_id]
    stream.trades_after = lambda cursor: ([], cursor)
    stream.trades_of = lambda _order: [first, second]
    stream.say(StreamGap())
    trader.step()
    assert state(trader, order) is None
    assert sorted(booked(world, order)) == [first.trade_id, second.trade_id]


def test_the_rest_of_an_order_under_a_booked_trades_id_is_not_booked(heard, monkeypatch):
    world, trader, stream, order, trade = heard
    monkeypatch.setattr(PassedOrders, "due", lambda *_: False)  # another reason to ask
    quarter = replace(trade, quantity=order.quantity / 4, quote=trade.quote / 4)
    asked = []
    for traded in (quarter.quantity, quarter.quantity * 2):
        stream.say(partly(order, str(traded), quarter))
        trader.step()
        asked.append(stream.lists)
        assert state(trader, order) is OrderState.OPEN
    assert asked == [0, 1]
    assert booked(world, order) == [trade.trade_id]


@pytest.mark.parametrize("told_by", ["asking", "the stream"])
def test_an_order_is_not_closed_while_trades_of_it_are_missing(heard, told_by):
    _, trader, stream, order, trade = heard
    half = replace(trade, quantity=order.quantity / 2, quote=trade.quote / 2)
    closed = replace(partly(order, str(half.quantity), None).order, closed=True)
    stream.find = lambda _name: closed
    stream.trades_after = lambda cursor: ([], cursor)
    stream.trades_of = lambda _order: []
    stream.say(StreamGap() if told_by == "asking" else OrderEvent(closed, None))
    trader.step()
    assert state(trader, order) is OrderState.OPEN
    stream.trades_of = lambda _order: [half]
    trader.step()
    assert state(trader, order) is None
    (rest,) = [other for other in trader.engine.live.values() if other.leg == order.leg]
    assert rest.quantity == half.quantity


def test_books_that_lack_a_trade_do_not_hold_what_the_exchange_has(heard):
    _, trader, stream, order, trade = heard
    trader.session.compared = False
    stream.trades_after = lambda cursor: ([], cursor)
    stream.trades_of = lambda _order: []
    trader._reconciler.forget()
    trader._reconciler.follow(trader.engine)
    assert state(trader, order) is OrderState.OPEN
    assert not trader.session.compared
    stream.trades_of = lambda _order: [trade]
    trader._reconciler.follow(trader.engine)
    assert state(trader, order) is None
    assert trader.session.compared


@pytest.mark.parametrize("known", [True, False])
def test_books_just_loaded_ask_whose_a_trade_is_where_they_do_not_know_its_order(heard, known):
    _, trader, stream, _, trade = heard
    trader.session.compared = False
    one = trade if known else replace(trade, trade_id="9999", exchange_id="of another order")
    asked = []
    stream.trades_after = lambda cursor: ([one], cursor)
    stream.orders_since = lambda accepted: asked.append(accepted) or []
    trader._reconciler.forget()
    trader._reconciler.follow(trader.engine)
    assert len(asked) == (not known)


def test_an_open_order_that_is_never_listed_is_told(make_world):
    world = still(make_world)
    trader = started(world)
    order = buy(trader)
    stream = Stream(trader)
    listed = stream._real.open_orders
    stream.open_orders = lambda: [one for one in listed() if one.client_id != order.client_id]
    stream.say(StreamGap())
    trader.step()
    world.clock.sleep(LISTED_SECONDS + 1)
    trader.step()
    with pytest.raises(BrokerError, match="is open and not in the list of open orders"):
        check_listed(trader.session)
    del stream.open_orders
    trader.step()
    check_listed(trader.session)
    assert state(trader, order) is OrderState.OPEN


def test_doubts_about_one_order_after_another_are_not_one_long_doubt(make_world):
    world = still(make_world)
    trader = started(world)
    stream = Stream(trader)
    listed = stream._real.open_orders
    hidden = itertools.cycle(sorted(trader.engine.live))
    for _ in range(8):
        name = next(hidden)
        stream.open_orders = lambda name=name: [one for one in listed() if one.client_id != name]
        stream.say(StreamGap())
        trader.step()
        assert list(trader.session.orders.doubts) == [name]
        world.clock.sleep(LISTED_SECONDS / 4)
        check_listed(trader.session)


def test_what_the_stream_brought_is_not_read_again_at_the_next_start(heard):
    world, trader, stream, order, trade = heard
    stream.say(event_of(order, trade))
    trader.step()
    assert trader.session.booked == {trade.trade_id}
    world.clock.sleep(RECONCILE_SECONDS)
    trader.step()
    assert trader.session.booked == set()
    assert int(world.store.grid_run("BTC/USDT").trade_cursor) >= int(trade.trade_id)


# Canceled by the bot.


def fail_cancel(world: World, name: str, what, *, times: int = 1, when: str = "before") -> None:
    """Let something happen to the next requests that cancel one order."""
    cancel, count = BinanceBroker.cancel, itertools.count()
    asked = []

    def noted(broker, client_id):
        asked.append(client_id)
        cancel(broker, client_id)

    def disturb(method, path):
        hit = (method, path) == ("DELETE", "order") and asked[-1] == name
        return what(method, path) if hit and next(count) < times else None

    world.patch.setattr(BinanceBroker, "cancel", noted)
    setattr(world.wire, when, disturb)


@pytest.fixture
def winding_down(make_world, monkeypatch):
    """A bot whose grid is about to end."""
    world = still(make_world)
    world.patch = monkeypatch
    trader = started(world)
    trader.session.wind_down = WindDown("a test")
    return world, trader, buy(trader)


def not_canceled(*_request):
    return refusal(400, -2011, "Market is closed.")


def closed_already(*_request):
    return refusal(400, -2011, "Unknown order sent.")


def step_to_the_end(trader) -> None:
    for _ in range(5):
        if trader.session.wind_down is not None:
            trader.step()
    assert trader.engine is None


def test_x1_an_order_that_is_closed_already_is_asked_for(winding_down):
    world, trader, order = winding_down
    trader.session.broker.cancel(order.client_id)
    world.wire.requests.clear()
    trader.step()
    assert world.wire.requests.count(("DELETE", "order")) == world.grid.grid.grids
    step_to_the_end(trader)
    assert trader.session.broker.open_orders() == []


def test_an_end_cancels_before_it_asks_for_anything(winding_down, monkeypatch):
    world, trader, _ = winding_down
    filtered = []
    monkeypatch.setattr(trader._risk_guard, "pause", lambda: filtered.append(1))
    world.wire.requests.clear()
    trader.step()
    assert world.wire.requests[0] == ("DELETE", "order")
    assert filtered == []  # which may need candles


def test_x2_an_order_that_the_exchange_does_not_cancel_is_told_and_canceled_again(winding_down):
    world, trader, order = winding_down
    fail_cancel(world, order.client_id, not_canceled)
    with pytest.raises(BrokerError, match="Market is closed") as told:
        trader.step()
    assert told.value.failure is Failure.REJECTED
    assert list(trader.engine.live) == [order.client_id]
    assert trader.session.orders.in_state(State.CANCELING) == []
    step_to_the_end(trader)
    assert trader.session.broker.open_orders() == []


def test_a_pause_that_the_exchange_does_not_cancel_for_is_told(make_world, monkeypatch):
    world = still(make_world)
    world.patch = monkeypatch
    trader = started(world)
    order = buy(trader)
    fail_cancel(world, order.client_id, not_canceled)
    trader.session.store.pause("BTC/USDT", reason="a test", at_ms=0, cancel=True)
    with pytest.raises(BrokerError, match="Market is closed"):
        trader.step()
    trader.step()
    assert trader.session.broker.open_orders() == []


def test_a_cancellation_that_is_refused_for_its_time_is_sent_again_at_once(winding_down):
    world, trader, order = winding_down
    fail_cancel(world, order.client_id, lambda *_: refusal(400, -1021, "Timestamp is outside"))
    trader.step()
    assert trader.session.broker.open_orders() == []


def test_an_order_that_was_closed_in_other_words_does_not_hold_up_the_end(winding_down):
    world, trader, order = winding_down
    fail_cancel(world, order.client_id, not_canceled, when="after")
    trader.step()
    assert trader.engine is None
    assert trader.session.broker.open_orders() == []


def test_x3_an_order_that_is_listed_long_after_is_canceled_again(winding_down):
    world, trader, order = winding_down
    fail_cancel(world, order.client_id, closed_already)
    assert trader.step()  # there is more to do at once
    assert list(trader.engine.live) == [order.client_id]
    world.wire.requests.clear()
    world.clock.sleep(CANCELED_SECONDS / 2)
    trader.step()
    assert ("DELETE", "order") not in world.wire.requests
    world.clock.sleep(CANCELED_SECONDS / 2)
    trader.step()
    step_to_the_end(trader)
    assert world.wire.requests.count(("DELETE", "order")) == 1
    assert trader.session.broker.open_orders() == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_x4_without_an_answer_it_is_asked_for_and_canceled_again(winding_down, when):
    world, trader, order = winding_down
    fail_cancel(world, order.client_id, lost, when=when)
    if when == "before":
        with pytest.raises(BrokerError) as told:
            trader.step()
        assert told.value.failure is Failure.AMBIGUOUS
    else:
        trader.step()
    assert [order.client_id for order in trader.session.broker.open_orders()] == (
        [order.client_id] if when == "before" else []
    )
    step_to_the_end(trader)
    assert trader.session.broker.open_orders() == []


def resting(make_world):
    """A bot whose initial purchase rests, below the price of now."""
    world = still(make_world)
    trader = world.trader()
    stream = Stream(trader)
    stream.ask_price = lambda: Decimal(49_000)
    trader.step()
    return world, trader, stream


def test_x5_an_order_is_canceled_at_the_end_once_and_one_that_rests_again(make_world):
    world, trader, stream = resting(make_world)
    (initial,) = trader.engine.live
    canceled = []
    stream.cancel = canceled.append
    world.clock.sleep(RESTING_SECONDS)
    for times in (1, 2):
        trader.step()
        assert canceled == [initial] * times
        assert trader.session.orders.in_state(State.CANCELING) == [initial]
    del stream.cancel, stream.ask_price
    while not trader.engine.grid_started or intended(trader):
        trader.step()
    live = sorted(trader.engine.live)
    trader.session.wind_down = WindDown("a test")
    stream.cancel = canceled.append
    del canceled[:]
    trader.step()
    trader.step()
    assert sorted(canceled) == sorted(trader.session.orders.in_state(State.CANCELING)) == live


def test_after_a_restart_an_initial_order_rests_for_as_long_again(make_world):
    world, trader, _ = resting(make_world)
    (initial,) = trader.engine.live
    world.clock.sleep(RESTING_SECONDS / 2)
    world.power_off()
    trader = world.trader()
    for _ in range(3):
        trader.step()
        world.clock.sleep(RESTING_SECONDS / 4)
        assert ("DELETE", "order") not in world.wire.requests
    assert list(trader.engine.live) == [initial]
    world.clock.sleep(RESTING_SECONDS / 4)
    trader.step()
    assert ("DELETE", "order") in world.wire.requests


def test_while_a_liquidation_rests_the_price_is_looked_at(winding_down, monkeypatch):
    _, trader, _ = winding_down
    trader.session.wind_down = WindDown("a test", liquidate=True)
    Stream(trader).bid_price = lambda: Decimal(51_000)
    looked = []
    monkeypatch.setattr(trader._risk_guard, "look", looked.append)
    for steps in (1, 2):
        trader.step()
        assert len(trader.engine.live) == 1
        assert looked == [trader.engine] * steps


def test_an_order_that_the_price_has_passed_is_asked_for_at_once(make_world, monkeypatch):
    trader = started(still(make_world))
    trader.step()
    for due in (False, True):
        monkeypatch.setattr(PassedOrders, "due", lambda *_, due=due: due)
        assert trader.step() is due


def test_a_liquidation_is_left_to_trade_for_a_while(winding_down):
    world, trader, _ = winding_down
    trader.session.wind_down = WindDown("a test", liquidate=True)
    stream = Stream(trader)
    stream.bid_price = lambda: Decimal(51_000)  # above the price of now: it rests
    trader.step()
    (order,) = trader.engine.live.values()
    assert order.role is Role.LIQUIDATION
    assert trader.session.orders[order.client_id].state is State.OPEN
    for _ in range(3):
        stream.lists = 0
        trader.step()
        assert trader.session.orders[order.client_id].state is State.OPEN
        assert stream.lists == 1  # an end is not left to the stream
    world.clock.sleep(RESTING_SECONDS)
    for _ in range(2):  # it is canceled, and asked for
        trader.step()
    assert order.client_id not in trader.engine.live


def test_the_end_of_a_canceled_order_is_asked_for_at_the_next_step(make_world):
    """The stream may have lost it: that the bot hears nothing is no answer."""
    world, trader, stream = resting(make_world)
    stream.cancel = lambda _client_id: None
    world.clock.sleep(RESTING_SECONDS)
    trader.step()
    stream.lists = 0
    trader.step()
    assert stream.lists == 1


def test_x6_an_order_that_was_to_be_canceled_ends_as_the_exchange_says(heard):
    world, trader, _, order, trade = heard
    live = set(trader.engine.live)
    trader.session.wind_down = WindDown("a test")
    step_to_the_end(trader)
    ends = {one.client_id: one.state for one in world.store.orders(1) if one.client_id in live}
    assert ends.pop(order.client_id) is OrderState.FILLED
    assert set(ends.values()) == {OrderState.CANCELED}
    assert trade.trade_id in [fill.trade_id for fill in world.store.fills(1)]


# Closed, and not ours.


def test_c1_an_event_of_a_closed_order_changes_nothing(heard):
    world, trader, stream, order, trade = heard
    stream.say(event_of(order, trade))
    trader.step()
    fills = len(world.store.fills(1))
    stream.say(event_of(order, trade))
    trader.step()
    assert len(world.store.fills(1)) == fills
    assert stream.lists == 0


def foreign(world: World, name: str):
    trader = started(world)
    order = replace(buy(trader), client_id=name, price=Decimal(40_000))
    world.wire.database = None
    trader.session.broker.place(replace(order, quantity=Decimal("0.001")))
    return trader


def test_c2_orders_of_others_are_left_alone_and_counted(make_world):
    world = still(make_world)
    trader = foreign(world, "by-hand-1")
    trader.step()
    assert trader.foreign_orders == 1
    assert "by-hand-1" in [one.client_id for one in trader.session.broker.open_orders()]


def test_the_stream_tells_of_orders_of_others_at_once(make_world):
    """With a stream, the list of open orders is read every ten minutes only."""
    trader = started(still(make_world))
    trader.step()
    stream = Stream(trader)
    order = next(iter(trader.engine.live.values()))
    by_hand = replace(stream.find(order.client_id), client_id="by-hand-1", closed=False)
    stream.say(OrderEvent(by_hand, None), OrderEvent(replace(by_hand, exchange_id="by-hand"), None))
    trader.step()
    assert trader.foreign_orders == 2
    stream.say(OrderEvent(replace(by_hand, closed=True), None))
    trader.step()
    assert trader.foreign_orders == 1
    assert stream.lists == 0
    stream.say(StreamGap())
    trader.step()
    assert trader.foreign_orders == 0  # the list knows


def test_c3_an_order_of_this_name_that_is_in_no_books_stops_the_bot(make_world):
    world = still(make_world)
    trader = foreign(world, "pi1-BTCUSDT-zzzzzz-1b1")
    with pytest.raises(MismatchError, match="not in its books"):
        trader.step()


def test_c4_a_late_trade_of_a_closed_order_stops_the_bot(make_world):
    world = still(make_world)
    trader = started(world)
    order, broker = buy(trader), trader.session.broker
    number = order.exchange_id
    broker.cancel(order.client_id)
    trader.step()
    assert order.client_id not in trader.engine.live
    late = RemoteTrade(
        trade_id="late",
        exchange_id=number,
        side=order.side,
        price=order.price,
        quantity=order.quantity,
        quote=order.price * order.quantity,
        commission=Decimal(0),
        commission_coin="USDT",
        time_ms=world.clock.now_ms(),
        maker=True,
    )
    listed = broker.trades_after
    broker.trades_after = lambda cursor: ([*listed(cursor)[0], late], "later")
    trader.session.trades_due = True
    fills, cursor = len(world.store.fills(1)), trader.session.cursor
    with pytest.raises(MismatchError, match=f"closed order {order.client_id} .* traded .* after"):
        trader.step()
    assert (len(world.store.fills(1)), trader.session.cursor) == (fills, cursor)
