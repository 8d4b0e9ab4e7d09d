"""What the practice Gateway refuses, remembers, loses and counts."""

from datetime import date
from decimal import Decimal

import pytest
from gridexchange.ib.calendar import holidays, is_open, session_of
from gridexchange.ib.faults import GatewayFaults
from gridexchange.ib.records import Stock
from gridexchange.ib.rules import PacingRules

from .conftest import OPENED_MS, MemoryPeer, frame, greeting

HOUR_MS = 3_600_000
CONTRACT = (Stock().con_id, "SPY", "STK", "", 0, "", "", "SMART", "", "USD", "", "")


def place(number, *, action="BUY", shares=10, limit="490", account="", reference="a", tif="GTC"):
    head = (3, number, *CONTRACT, "", "", action, shares, "LMT", limit, "", tif, "", account)
    return frame(*head, "", 0, reference, 1, 0, 0, 0, 0, 0, 0, 0)


def errors(messages):
    """Codes of errors, without the notices of data farms."""
    codes = [int(fields[3]) for fields in messages if fields[0] == "4"]
    return [code for code in codes if not 2100 <= code < 2200]


def of_kind(messages, kind):
    return [fields for fields in messages if fields[0] == str(kind)]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"API\0\x80\x00\x00\x00",  # 2 GB
        greeting() + b"\x7f\xff\xff\xff",
        greeting() + b"\x00\x00\x00\x00",
        greeting() + b"\x00\x00\x00\x0271",  # its field does not end
        greeting("v100..156"),
        greeting() + frame(49, 1),  # before it has said who it is
        greeting() + frame("x"),
        greeting() + frame(71, 2, "one"),
    ],
)
def test_what_is_no_message_ends_the_connection(make_gateway, data):
    gateway, peer = make_gateway(), MemoryPeer()
    gateway.accept(peer).feed(data)
    assert peer.closed
    assert gateway.connections == []


def test_a_message_may_come_byte_by_byte(make_gateway):
    gateway, peer = make_gateway(), MemoryPeer()
    connection = gateway.accept(peer)
    for byte in greeting() + frame(71, 2, 5, "") + frame(49, 1):
        connection.feed(bytes([byte]))
    assert of_kind(peer.take(), 49) == [["49", "1", str(OPENED_MS // 1000)]]


def test_a_wrong_account_is_refused(make_gateway, connect):
    gateway = make_gateway()
    connection, peer = connect(gateway)
    connection.feed(place(1, account="U7654321"))
    connection.feed(frame(6, 2, 1, "U7654321"))
    assert errors(peer.take()) == [321, 321]
    assert gateway.account.orders == {}


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (place(1, limit="490.005"), 110),
        (place(1, shares="1.5"), 10318),
        (place(1, shares=1000), 201),  # more than there is cash for
        (place(1, action="SELL"), 201),  # nothing is held
    ],
)
def test_orders_that_are_refused(make_gateway, connect, order, code):
    gateway = make_gateway()
    connection, peer = connect(gateway)
    connection.feed(order)
    assert errors(peer.take()) == [code]
    assert gateway.account.orders == {}


def test_a_read_only_gateway_takes_no_order(make_gateway, connect):
    gateway = make_gateway(read_only=True)
    connection, peer = connect(gateway)
    connection.feed(place(1))
    assert errors(peer.take()) == [321]


def test_orders_and_trades_outlive_the_process(make_gateway, connect):
    gateway = make_gateway()
    connection, _ = connect(gateway)
    connection.feed(place(1, reference="rests"))
    connection.feed(place(2, limit="600", reference="takes"))
    before = gateway.account.document()
    after = make_gateway()
    assert after.account.document() == before
    assert after.account.shares == 10
    connection, peer = connect(after)
    assert of_kind(peer.take(), 9) == [["9", "1", "3"]]
    connection.feed(frame(5, 1))
    assert [fields[23] for fields in of_kind(peer.take(), 5)] == ["rests"]


def test_nothing_trades_while_the_exchange_is_closed(make_gateway, connect, clock):
    gateway = make_gateway()
    connection, peer = connect(gateway)
    clock.ms += 6 * HOUR_MS  # after the close
    price = gateway.account.price
    connection.feed(place(1, limit="600"))
    connection.feed(place(2, limit="600", tif="DAY"))
    assert gateway.account.price != price  # it went on until the close
    assert gateway.account.executions == {}
    clock.ms += 18 * HOUR_MS
    gateway.advance()
    assert [order.status for order in gateway.account.orders.values()] == ["Filled", "Cancelled"]
    assert of_kind(peer.take(), 59)


def test_holidays_and_early_closes():
    assert date(2026, 4, 3) in holidays(2026)  # Good Friday
    assert date(2026, 7, 3) in holidays(2026)  # the fourth is a Saturday
    assert date(2026, 11, 26) in holidays(2026)
    assert session_of(date(2026, 11, 28)) is None
    early = session_of(date(2026, 11, 27))
    assert early.closes - early.opens == 3.5 * HOUR_MS
    assert is_open(OPENED_MS)


def test_each_fault_of_an_order(make_gateway, connect, clock):
    planned = ["lost acknowledgement", "late acceptance", "refused", "lost order"]
    gateway = make_gateway(faults=GatewayFaults(planned={"order": planned}))
    connection, peer = connect(gateway)
    peer.take()
    connection.feed(place(1))
    assert (peer.take(), len(gateway.account.open_orders)) == ([], 1)
    connection.feed(place(2))
    assert len(gateway.account.open_orders) == 1
    clock.ms += 4000
    gateway.advance()
    assert len(of_kind(peer.take(), 5)) == 1
    connection.feed(place(3))
    assert errors(peer.take()) == [201]
    connection.feed(place(4))
    assert peer.closed
    assert len(gateway.account.orders) == 2


def test_each_fault_of_a_trade(make_gateway, connect, clock):
    planned = ["doubled execution", "corrected execution", "late commission", "lost report"]
    gateway = make_gateway(faults=GatewayFaults(planned={"trade": planned}))
    connection, peer = connect(gateway)
    peer.take()

    def trade(number):
        connection.feed(place(number, limit="600"))
        return [fields[14] for fields in of_kind(peer.take(), 11)]

    assert len(trade(1)) == 2
    cash = gateway.account.cash
    (first,) = trade(2)
    clock.ms += 300
    gateway.advance()
    told = peer.take()
    (corrected,) = of_kind(told, 11)
    assert (corrected[14][:-3], corrected[14][-3:]) == (first[:-3], ".02")
    assert Decimal(corrected[20]) == gateway.account.price - Decimal("0.01")
    assert cash - gateway.account.cash == Decimal(corrected[20]) * 10 + 1
    assert len(of_kind(told, 59)) == 1
    connection.feed(place(3, limit="600"))
    assert of_kind(peer.take(), 59) == []
    clock.ms += 5000
    gateway.advance()
    assert len(of_kind(peer.take(), 59)) == 1
    assert trade(4) == []
    # All of them are told to whoever asks.
    connection.feed(frame(7, 3, 77, 0, "", "", "", "", "", ""))
    told = peer.take()
    assert len(of_kind(told, 11)) == len(of_kind(told, 59)) == 4


def test_lost_link(make_gateway, connect):
    gateway = make_gateway()
    connection, peer = connect(gateway)
    connection.feed(frame(1, 11, 8, *CONTRACT, 0, "", 0, 0, ""))
    gateway.lose_link()
    connection.feed(place(1, limit="600"))
    assert [order.status for order in gateway.account.orders.values()] == ["PendingSubmit"]
    assert errors(peer.take()) == [1100]
    gateway.restore_link(data_lost=True)
    assert errors(peer.take()) == [1101]
    assert connection.lines == {}
    gateway.restore_link(data_lost=False)
    assert errors(peer.take()) == [1102]


def test_a_restart_in_the_middle_of_an_order(make_gateway, connect, clock):
    gateway = make_gateway()
    connection, peer = connect(gateway)
    gateway.restart_at(clock.ms + 500, 20.0)
    connection.feed(place(1))  # in the second of the restart: lost
    clock.ms += 600
    gateway.advance()
    assert (peer.closed, gateway.accept(MemoryPeer())) == (True, None)
    clock.ms += 20_000
    connection, peer = connect(gateway)
    connection.feed(frame(16, 1))
    assert of_kind(peer.take(), 5) == []
    assert gateway.account.orders == {}


def test_a_client_that_leaves_streams_open_and_does_not_read_is_disconnected(
    make_gateway, connect, clock
):
    gateway = make_gateway()
    connection, peer = connect(gateway)
    for number in range(50):
        connection.feed(frame(1, 11, number, *CONTRACT, 0, "", 0, 0, ""))
        clock.ms += 100
    while not peer.closed and len(peer.data) < 1_000_000:
        clock.ms += 15_000
        peer.backlog = len(peer.data)
        gateway.advance()
    assert peer.closed
    assert gateway.hang_ups == ["buffer overflow: the client does not read what it has asked for"]


def history(number, what="TRADES", until=""):
    return frame(20, number, *CONTRACT, 0, until, "1 min", "3600 S", 1, what, 2, 0, "")


@pytest.mark.parametrize(
    "case",
    [
        ("identical within 15 s", "TRADES", 0, 5),
        ("6 in 2 s", "TRADES", 6, 0.1),
        ("60 in 10 minutes", "TRADES", 61, 3),
        ("60 in 10 minutes", "BID_ASK", 31, 3),
    ],
)
def test_historical_pacing(make_gateway, connect, case):
    gateway = make_gateway()
    connection, peer = connect(gateway)
    rule, what, count, seconds = case
    for number, until in enumerate(range(count) or (0, 0), 1):
        connection.feed(history(number, what, until))
        gateway.clock.ms += round(seconds * 1000)
        gateway.advance()
    assert +gateway.rules.broken == {rule: 1}
    assert errors(peer.take()) == [162]


def test_more_than_fifty_historical_requests_under_way():
    rules = PacingRules()
    for number in range(51):
        assert rules.history((number,), "TRADES", number * 10.0, number + 1) == (number < 50)
    assert +rules.broken == {"50 open": 1}


def test_bars_are_those_of_the_sessions(make_gateway, connect, clock):
    gateway = make_gateway()
    connection, peer = connect(gateway)
    connection.feed(history(1))
    clock.ms += 200
    gateway.advance()
    (bars,) = of_kind(peer.take(), 17)
    times = [int(bars[5 + 8 * number]) * 1000 for number in range(int(bars[4]))]
    assert len(times) == 60
    assert times == sorted(set(times))
    assert all(is_open(time) for time in times)
    assert times[-1] == OPENED_MS


def test_more_than_fifty_messages_in_a_second(make_gateway, connect):
    gateway = make_gateway()
    connection, peer = connect(gateway)
    for _ in range(51):
        connection.feed(frame(49, 1))
    assert errors(peer.take()) == [100]
    assert gateway.rules.broken["messages"] == 1


def test_the_twenty_first_order_of_a_side(make_gateway, connect, clock):
    gateway = make_gateway()
    connection, peer = connect(gateway)
    for number in range(1, 22):
        connection.feed(place(number, shares=1, limit=str(400 + number)))
        clock.ms += 100
    assert errors(peer.take()) == [201]
    assert gateway.rules.broken["20 orders a side"] == 1


def test_three_short_cycles_throttle_a_client(make_gateway, connect, clock):
    gateway = make_gateway()
    connection, peer = connect(gateway)

    def cycle(number):
        connection.feed(frame(1, 11, number, *CONTRACT, 0, "", 1, 0, ""))
        clock.ms += 1000
        gateway.advance()
        return bool(of_kind(peer.take(), 57))

    answered = []
    for number in range(5):
        answered.append(cycle(number))
        clock.ms += 59_000
    assert answered == [True, True, True, False, False]
    clock.ms += HOUR_MS
    assert cycle(9)
    assert not make_gateway().rules.throttled(1, clock.ms / 1000)


def test_a_competing_session_takes_the_prices(make_gateway, connect):
    gateway = make_gateway()
    connection, peer = connect(gateway)
    gateway.competing = True
    connection.feed(frame(1, 11, 8, *CONTRACT, 0, "", 1, 0, ""))
    assert errors(peer.take()) == [10197]
