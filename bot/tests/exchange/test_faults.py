"""What goes wrong on purpose, kind by kind: over HTTP, the WebSocket API and the streams."""

import json
import time
from decimal import Decimal

import pytest
import requests
from gridbase.settings import WrongValueError
from gridexchange.faults.plan import KINDS, PLAN, REST, SOCKET, Fate, Faults, Severed
from gridexchange.faults.settings import read_faults

from .conftest import KEY, FakeClock, sign, sign_json

D = Decimal
FLAT = (100, 100, 100, 100)
DIP = (100, 104, 90, 100)  # walks 100, 90, 104, 100
ORDER = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "price": "95",
    "quantity": "0.1",
}
POST = {"method": "POST", "path": "order"}


def place(world):
    return world.order(price="95", quantity="0.1")


def known_orders(world):
    """How many orders the exchange has, past all faults."""
    return len(world.exchange.store.orders("BTCUSDT", None, 0, None, 1000))


def signed_in(world):
    client = world.connect()
    assert client.signed("userDataStream.subscribe.signature")["status"] == 200
    return client


def reports(messages):
    events = [message["event"] for message in messages if "event" in message]
    return [(e["x"], e["i"]) for e in events if e["e"] == "executionReport"]


def test_nothing_goes_wrong_unless_asked_for(make_world):
    world = make_world(FLAT)
    assert not world.api.faults.active
    assert world.api.faults.plan(REST, "POST", "order").fate is Fate.ANSWER


# Requests.


def test_a_request_is_lost_before_it_acts(make_world):
    world = make_world(FLAT, faults=[{"kind": "lost_request", "at_request": 1, **POST}])
    with pytest.raises(Severed):
        place(world)
    assert known_orders(world) == 0
    assert place(world).status == 200
    assert world.api.faults.struck == {"lost_request": 1}


def test_an_answer_is_lost_after_the_request_has_acted(make_world):
    world = make_world(FLAT, faults=[{"kind": "lost_answer", "at_request": 2}])
    assert place(world).status == 200
    with pytest.raises(Severed):
        place(world)
    assert known_orders(world) == 2


@pytest.mark.parametrize(("acts", "orders"), [(True, 1), (False, 0)])
def test_a_request_hangs(make_world, acts, orders):
    rule = {"kind": "hang", "seconds": 30, "acts": acts, "count": 1}
    world = make_world(FLAT, faults=[rule])
    with pytest.raises(Severed) as hung:
        place(world)
    assert hung.value.hang_s == 30
    assert known_orders(world) == orders


def test_delays_before_and_after_acting(make_world):
    rules = [
        {"kind": "delay", "seconds": 3, "count": 1},
        {"kind": "delay", "seconds": 4, "answer": True, "count": 1},
    ]
    world = make_world(FLAT, faults=rules)
    start = world.clock.now_ms()
    assert place(world).json["transactTime"] == start + 3_000
    assert place(world).json["transactTime"] == start + 3_000
    assert world.clock.now_ms() == start + 7_000


def test_a_request_that_is_too_late_is_refused(make_world):
    world = make_world(FLAT, faults=[{"kind": "delay", "seconds": 6, "count": 1}])
    assert place(world).error[1] == -1021
    assert known_orders(world) == 0


@pytest.mark.parametrize(
    ("rule", "status", "code", "orders"),
    [
        ({"kind": "error_before"}, 503, -1008, 0),
        ({"kind": "error_before", "status": 500}, 500, -1000, 0),
        ({"kind": "error_after"}, 504, -1007, 1),
        ({"kind": "error_after", "status": 503}, 503, -1000, 1),
        ({"kind": "rate_limit", "seconds": 7}, 429, -1003, 0),
        ({"kind": "ban"}, 418, -1003, 0),
        ({"kind": "reject"}, 400, -2010, 0),
        ({"kind": "reject", "code": -1013}, 400, -1013, 0),
        ({"kind": "clock_skew", "ms": 60_000}, 400, -1021, 0),
    ],
)
def test_answers_that_are_no_success(make_world, rule, status, code, orders):
    world = make_world(FLAT, faults=[rule | {"count": 2} | POST])
    answer = place(world)
    assert answer.error[:2] == (status, code)
    assert known_orders(world) == orders
    if status in (429, 418):
        assert int(answer.headers["Retry-After"]) == rule.get("seconds", 120)
    client = world.connect()
    over_socket = client.signed("order.place", **ORDER)
    assert (over_socket["status"], over_socket["error"]["code"]) == (status, code)
    assert known_orders(world) == orders * 2
    if status in (429, 418):
        data = over_socket["error"]["data"]
        assert data["retryAfter"] - data["serverTime"] == rule.get("seconds", 120) * 1000
    assert world.get("time").json == {"serverTime": world.clock.now_ms()}


def test_the_servers_clock_is_off_for_everybody_who_asks(make_world):
    world = make_world(FLAT, faults=[{"kind": "clock_skew", "ms": -9_000}])
    now = world.clock.now_ms()
    assert world.get("time").json == {"serverTime": now - 9_000}
    assert world.signed("GET", "account").error[1] == -1021
    text = sign({}, now - 9_000)
    assert world.call("GET", "account", KEY, text).status == 200


def test_a_rejection_concerns_new_orders_only(make_world):
    world = make_world(FLAT, faults=[{"kind": "reject"}])
    assert world.signed("GET", "account").status == 200
    assert place(world).error[1] == -2010
    cancel = world.signed("DELETE", "order", symbol="BTCUSDT", orderId=1)
    assert cancel.error[1] == -2011


def test_a_wire_may_bring_the_plan(make_world):
    """It sees to the connection, the application to the rest."""
    world = make_world(FLAT, faults=[{"kind": "lost_answer"}])
    plan = world.api.faults.plan(REST, "POST", "/api/v3/order")
    assert plan.fate is Fate.LOSE_ANSWER
    sent = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/api/v3/ping",
        "QUERY_STRING": "",
        PLAN: plan,
    }
    assert b"".join(world.api(environ, lambda *said: sent.append(said))) == b"{}"
    assert sent[0][0] == "200 OK"


# The WebSocket API.


def test_a_socket_loses_a_request_or_an_answer(make_world):
    rules = [
        {"kind": "lost_request", "count": 1, **POST},
        {"kind": "lost_answer", "count": 1, **POST},
    ]
    world = make_world(FLAT, faults=rules)
    for orders in (0, 1):
        client = signed_in(world)
        params = sign_json(ORDER, world.clock.now_ms())
        client.connection.receive(json.dumps({"id": 1, "method": "order.place", "params": params}))
        # Neither the answer nor the events that acting has brought arrive.
        assert client.messages() == []
        assert client.connection.closed
        assert known_orders(world) == orders
    assert world.connect().signed("order.place", **ORDER)["status"] == 200


def test_a_socket_hangs_and_breaks_at_last(make_world):
    world = make_world(FLAT, faults=[{"kind": "hang", "seconds": 30, "count": 1, **POST}])
    client = signed_in(world)
    params = sign_json(ORDER, world.clock.now_ms())
    client.connection.receive(json.dumps({"id": 1, "method": "order.place", "params": params}))
    for _ in range(2):
        client.connection.receive('{"id":2,"method":"ping"}')
        assert client.messages() == []
        assert not client.connection.closed
    assert known_orders(world) == 1
    assert client.connection.wait_ms() == 30_000
    world.clock.pass_ms(30_000)
    assert client.messages() == []
    assert client.connection.closed


def test_a_socket_is_slow_in_both_directions(make_world):
    rules = [
        {"kind": "delay", "seconds": 2, "count": 1, **POST},
        {"kind": "delay", "seconds": 3, "answer": True, "count": 1, **POST},
    ]
    world = make_world(FLAT, faults=rules)
    client = world.connect()
    for wait_s, orders in ((2, 0), (3, 2)):
        params = sign_json(ORDER, world.clock.now_ms())
        client.connection.receive(json.dumps({"id": 1, "method": "order.place", "params": params}))
        assert client.messages() == []
        assert known_orders(world) == orders
        assert world.api.streams.wait_ms() is not None
        assert client.connection.wait_ms() == wait_s * 1000
        world.clock.pass_ms(wait_s * 1000)
        (answer,) = client.messages()
        assert answer["status"] == 200
    assert known_orders(world) == 2


def test_connecting_can_fail(make_world):
    rules = [
        {"kind": "lost_request", "count": 1, "method": "CONNECT", "path": "stream"},
        {"kind": "error_before", "count": 1, "method": "CONNECT", "path": "ws-api"},
    ]
    world = make_world(FLAT, faults=rules)
    with pytest.raises(Severed):
        world.connect("/stream")
    with pytest.raises(Exception, match="overloaded"):
        world.connect()
    world.connect("/stream")
    world.connect()


# Events.


def events_of(make_world, rule):
    """Orders 1 to 4 are placed; the reports that arrive, now and after a while."""
    world = make_world(FLAT, faults=[rule | {"event": "executionReport"}])
    client = signed_in(world)
    for _ in range(4):
        place(world)
    now = [order_id for _, order_id in reports(client.messages())]
    world.clock.pass_ms(1_000)
    return now, [order_id for _, order_id in reports(client.messages())], client.connection


def test_events_are_lost(make_world):
    now, later, _ = events_of(make_world, {"kind": "lost_event", "count": 1})
    assert (now, later) == ([2, 3, 4], [])


def test_events_are_doubled(make_world):
    now, later, _ = events_of(make_world, {"kind": "duplicate_event", "count": 2})
    assert (now, later) == ([1, 1, 2, 2, 3, 4], [])


def test_events_are_swapped(make_world):
    now, _, _ = events_of(make_world, {"kind": "reordered_event", "count": 2})
    assert now == [3, 1, 2, 4]


def test_an_overtaken_event_that_nothing_overtakes_comes_late(make_world):
    world = make_world(FLAT, faults=[{"kind": "reordered_event"}])
    client = signed_in(world)
    place(world)
    assert reports(client.messages()) == []
    world.clock.pass_ms(1_000)
    assert reports(client.messages()) == [("NEW", 1)]


def test_an_event_cuts_the_socket(make_world):
    now, later, connection = events_of(make_world, {"kind": "drop", "probability": 1.0, "count": 1})
    assert (now, later) == ([], [])
    assert connection.closed


def test_the_script_cuts_a_socket_at_its_time(make_world):
    world = make_world(FLAT, faults=[{"kind": "drop", "at_s": 5}])
    client = world.connect()
    world.clock.pass_ms(4_999)
    assert client.messages() == []
    assert not client.connection.closed
    world.clock.pass_ms(1)
    client.messages()
    assert client.connection.closed
    world.connect().messages()
    assert world.api.faults.struck == {"drop": 1}


def test_market_events_suffer_as_well(make_world):
    rules = [{"kind": "lost_event", "event": "kline", "count": 1}]
    world = make_world(FLAT, FLAT, FLAT, faults=rules)
    client = world.connect("/ws/btcusdt@kline_1m")
    assert client.messages() == []
    world.legs(4)
    assert [message["k"]["x"] for message in client.messages()] == [True]


def test_maintenance(make_world):
    rules = [{"kind": "maintenance", "at_s": 5, "seconds": 10}]
    world = make_world(FLAT, FLAT, DIP, FLAT, at_end="hold", faults=rules, speed=10)
    place(world)
    client = signed_in(world)
    world.clock.pass_ms(5_000)
    client.messages()
    assert client.connection.closed
    assert place(world).status == 503
    assert world.call("GET", "/sapi/v1/system/status").json["status"] == 1
    with pytest.raises(Exception, match="no longer available"):
        world.connect()
    world.clock.pass_ms(10_000)
    assert world.call("GET", "/sapi/v1/system/status").json["status"] == 0
    # The order was kept, and the market went on.
    world.connect()
    assert world.signed("GET", "order", symbol="BTCUSDT", orderId=1).json["status"] == "FILLED"


# The market.


def test_an_order_fills_in_parts_while_the_market_goes_on(make_world):
    rules = [{"kind": "partial_fill", "parts": 3}]
    world = make_world(FLAT, DIP, FLAT, FLAT, at_end="hold", faults=rules)
    client = signed_in(world)
    place(world)
    client.messages()
    seen = []
    for _ in range(8):
        world.legs(1)
        order = world.signed("GET", "order", symbol="BTCUSDT", orderId=1).json
        seen.append((order["status"], D(order["executedQty"])))
    assert seen[3:] == [
        ("NEW", 0),
        ("PARTIALLY_FILLED", D("0.03333")),
        ("PARTIALLY_FILLED", D("0.06666")),
        ("FILLED", D("0.1")),
        ("FILLED", D("0.1")),
    ]
    trades = world.signed("GET", "myTrades", symbol="BTCUSDT").json
    assert [trade["qty"] for trade in trades] == ["0.03333000", "0.03333000", "0.03334000"]
    assert {trade["price"] for trade in trades} == {"95.00000000"}
    assert reports(client.messages()) == [("TRADE", 1)] * 3
    bought = sum(D(trade["qty"]) - D(trade["commission"]) for trade in trades)
    assert world.account() == {"BTC": (1 + bought, 0), "USDT": (D("9990.5"), 0)}


def test_the_rest_of_an_order_can_be_cancelled(make_world):
    rules = [{"kind": "partial_fill", "parts": 4}]
    world = make_world(FLAT, DIP, FLAT, FLAT, at_end="hold", faults=rules)
    place(world)
    world.legs(5)
    cancelled = world.signed("DELETE", "order", symbol="BTCUSDT", orderId=1).json
    assert (cancelled["status"], cancelled["executedQty"]) == ("CANCELED", "0.02500000")
    world.legs(3)
    assert len(world.signed("GET", "myTrades", symbol="BTCUSDT").json) == 1
    assert world.account()["USDT"] == (10_000 - D("0.025") * 95, 0)


def test_a_partly_filled_order_survives_a_power_cut(make_world):
    rules = [{"kind": "partial_fill", "parts": 4, "count": 1}]
    world = make_world(FLAT, DIP, FLAT, FLAT, at_end="hold", faults=rules)
    place(world)
    world.legs(5)
    world.signed("GET", "account")
    world.reopen()
    seen = []
    for _ in range(3):
        world.legs(1)
        order = world.signed("GET", "order", symbol="BTCUSDT", orderId=1).json
        seen.append((order["status"], order["executedQty"]))
    assert seen == [
        ("PARTIALLY_FILLED", "0.05000000"),
        ("PARTIALLY_FILLED", "0.07500000"),
        ("FILLED", "0.10000000"),
    ]


@pytest.mark.parametrize("status", ["EXPIRED", "CANCELED"])
def test_the_exchange_ends_an_order(make_world, status):
    rules = [{"kind": "exchange_cancel", "status": status, "at_s": 1}]
    world = make_world(FLAT, FLAT, FLAT, faults=rules)
    client = signed_in(world)
    world.order(price="80", quantity="0.1", newClientOrderId="pi1-1")
    world.order(price="81", quantity="0.1", newClientOrderId="pi1-2")
    client.messages()
    world.legs(3)
    assert len(world.signed("GET", "openOrders").json) == 2
    world.legs(2)
    assert len(world.signed("GET", "openOrders").json) == 1
    (event,) = [
        message["event"]
        for message in client.messages()
        if message["event"]["e"] == "executionReport"
    ]
    assert (event["x"], event["X"], event["C"]) == (status, status, "")
    assert event["c"] in ("pi1-1", "pi1-2")
    assert event.get("eR") == ("EXCHANGE_CANCELED" if status == "EXPIRED" else None)
    assert world.account()["USDT"][1] in (8, D("8.1"))


def test_fills_while_nobody_is_connected_are_there_afterwards(make_world):
    world = make_world(FLAT, DIP, FLAT, at_end="hold")
    client = signed_in(world)
    client.signed("order.place", **ORDER)
    client.connection.close()
    world.legs(5)
    again = signed_in(world)
    (trade,) = again.signed("myTrades", symbol="BTCUSDT", fromId=1)["result"]
    assert trade["orderId"] == 1
    assert again.signed("openOrders.status", symbol="BTCUSDT")["result"] == []


# Chance and script.


def test_equal_seeds_strike_equally():
    def strikes(seed, *more):
        rules = [{"kind": "lost_answer", "probability": 0.3}, *more]
        faults = Faults(read_faults({"seed": seed, "rules": rules}), FakeClock())
        return [faults.plan(REST, "GET", "time").fate for _ in range(200)]

    assert strikes(1) == strikes(1)
    assert strikes(1) != strikes(2)
    event = {"kind": "lost_event", "probability": 0.5}
    assert strikes(1, event) == strikes(1)
    assert 30 < strikes(1).count(Fate.LOSE_ANSWER) < 90


def test_where_and_when_a_rule_strikes():
    rules = [
        {"kind": "lost_answer", "at_request": 3, "channel": "socket", "count": 2},
        {"kind": "lost_request", "at_s": 10, "path": "order", "method": "DELETE"},
    ]
    clock = FakeClock()
    faults = Faults(read_faults({"rules": rules}), clock)

    def fate(channel, method, path):
        return faults.plan(channel, method, path).fate

    assert fate(SOCKET, "GET", "time") is Fate.ANSWER  # the first request
    assert fate(SOCKET, "GET", "time") is Fate.ANSWER
    assert fate(REST, "GET", "time") is Fate.ANSWER
    assert fate(SOCKET, "GET", "time") is Fate.LOSE_ANSWER
    assert fate(SOCKET, "POST", "order") is Fate.LOSE_ANSWER
    assert fate(SOCKET, "POST", "order") is Fate.ANSWER
    assert fate(REST, "DELETE", "/api/v3/order") is Fate.ANSWER
    clock.pass_ms(10_000)
    assert fate(REST, "POST", "/api/v3/order") is Fate.ANSWER
    assert fate(REST, "DELETE", "/api/v3/order") is Fate.LOSE_REQUEST
    assert fate(REST, "DELETE", "/api/v3/order") is Fate.ANSWER  # a script strikes once
    faults.active = False
    assert fate(SOCKET, "GET", "time") is Fate.ANSWER


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (5, "needs a table with seed and rules"),
        ({"sed": 1}, "unknown setting sed; known are seed, rules"),
        ({"seed": -1}, "seed = -1: needs a whole number from 0"),
        ({"rules": 5}, "rules: needs tables"),
        ({"rules": [{"kind": "lost_anser"}]}, "rule 1: kind = 'lost_anser': there is no such"),
        ({"rules": [{"kind": "lost_anser"}]}, "did you mean lost_answer?"),
        ({"rules": [{}]}, "known are maintenance, lost_request"),
        (
            {"rules": [{"kind": "drop"}, {"kind": "drop", "seconds": 3}]},
            "rule 2: drop takes no seconds; it takes probability, at_request",
        ),
        (
            {"rules": [{"kind": "drop", "probability": 2}]},
            "rule 1: probability = 2: needs a number from 0 to 1",
        ),
        (
            {"rules": [{"kind": "drop", "channel": "tcp"}]},
            "rule 1: channel = 'tcp': needs rest or socket",
        ),
        (
            {"rules": [{"kind": "error_after", "status": 404}]},
            "rule 1: status = 404: needs 500 or 502 or 503 or 504",
        ),
        ({"rules": [{"kind": "hang", "acts": 1}]}, "acts = 1: needs true or false"),
        ({"rules": [{"kind": "partial_fill", "parts": 1}]}, "parts = 1: needs a whole number"),
    ],
)
def test_bad_rules_get_one_line(section, line):
    with pytest.raises(WrongValueError) as wrong:
        read_faults(section)
    assert line in str(wrong.value)


def test_every_kind_can_be_asked_for():
    settings = read_faults({"rules": [{"kind": kind} for kind in KINDS]})
    assert [rule.kind for rule in settings.rules] == list(KINDS)


# Over real sockets.


def test_a_real_server_breaks_connections(make_server, tmp_path):
    config = tmp_path / "exchange.toml"
    config.write_text(
        "\n".join(
            f"[[faults.rules]]\nkind = '{kind}'\ncount = 1\npath = 'order'"
            for kind in ("lost_request", "lost_answer")
        )
        + "\n[[faults.rules]]\nkind = 'hang'\nseconds = 3600\ncount = 1\npath = 'time'\n"
    )
    server = make_server("--config", str(config))
    assert "faults are on: lost_request, lost_answer, hang" in server.text

    def market_order():
        parameters = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
        text = sign(parameters, time.time_ns() // 1_000_000)
        return requests.post(
            f"{server.url}/api/v3/order?{text}", headers={"X-MBX-APIKEY": KEY}, timeout=30
        )

    for orders in (0, 1):
        with pytest.raises(requests.ConnectionError):
            market_order()
        assert len(server.request("GET", "allOrders", symbol="BTCUSDT")[1]) == orders
    assert market_order().status_code == 200
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{server.url}/api/v3/time", timeout=1)
    assert requests.get(f"{server.url}/api/v3/time", timeout=30).status_code == 200
    assert server.stop() == 0
    assert "Traceback" not in server.text, server.text
