"""The WebSocket API and the streams as a client sees them, in this process."""

import json
import sqlite3
from decimal import Decimal

import pytest
from gridexchange.errors import ApiError
from gridexchange.limits import Limits

from .conftest import MINUTE_MS, sign_json

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


@pytest.fixture
def world(make_world):
    return make_world(FLAT, DIP, FLAT, at_end="hold")


def subscribed(world):
    client = world.connect()
    answer = client.signed("userDataStream.subscribe.signature")
    assert answer["result"] == {"subscriptionId": 0}
    return client


def reports(messages):
    return [
        message["event"]
        for message in messages
        if message.get("event", {}).get("e") == "executionReport"
    ]


def test_requests_have_the_same_answers_as_over_http(world):
    client = world.connect()
    placed = client.signed("order.place", **ORDER, newClientOrderId="pi1-1")
    assert placed["status"] == 200
    assert placed["result"]["status"] == "NEW"
    assert placed["result"]["clientOrderId"] == "pi1-1"

    def same(method, verb, path, **parameters):
        over_socket = client.signed(method, **parameters)
        assert over_socket["result"] == world.signed(verb, path, **parameters).json

    pair = {"symbol": "BTCUSDT"}
    same("order.status", "GET", "order", origClientOrderId="pi1-1", **pair)
    same("openOrders.status", "GET", "openOrders", **pair)
    same("allOrders", "GET", "allOrders", **pair)
    same("account.status", "GET", "account")
    world.legs(5)
    same("myTrades", "GET", "myTrades", **pair)
    assert client.ask("time")["result"] == world.get("time").json
    assert client.ask("ping")["result"] == {}
    for method, path, more in (
        ("exchangeInfo", "exchangeInfo", {}),
        ("klines", "klines", {"interval": "1m", "limit": 2}),
        ("ticker.price", "ticker/price", {}),
        ("ticker.book", "ticker/bookTicker", {}),
    ):
        asked = client.ask(method, **pair, **more)["result"]
        assert asked == world.get(path, **pair, **more).json
    assert client.ask("exchangeInfo", symbols=["BTCUSDT"])["status"] == 200
    assert client.ask("v3/ping")["status"] == 200


def test_cancel_and_what_is_refused(world):
    client = world.connect()
    client.signed("order.place", **ORDER, newClientOrderId="pi1-1")
    cancelled = client.signed("order.cancel", symbol="BTCUSDT", origClientOrderId="pi1-1")
    assert cancelled["result"]["status"] == "CANCELED"
    again = client.signed("order.cancel", symbol="BTCUSDT", origClientOrderId="pi1-1")
    assert (again["status"], again["error"]) == (
        400,
        {"code": -2011, "msg": "Unknown order sent."},
    )
    unknown = client.signed("order.status", symbol="BTCUSDT", origClientOrderId="no")
    assert unknown["error"]["code"] == -2013
    poor = client.signed("order.place", **ORDER | {"quantity": "1000"})
    assert poor["error"]["code"] == -2010
    taking = {"type": "LIMIT_MAKER", "price": "101"}
    maker = {name: value for name, value in (ORDER | taking).items() if name != "timeInForce"}
    assert client.signed("order.place", **maker)["error"] == {
        "code": -2010,
        "msg": "Order would immediately match and take.",
    }


def test_signatures_are_made_of_the_sorted_parameters(world):
    client = world.connect()
    now = world.clock.now_ms()

    def code(params):
        return client.ask("account.status", **params).get("error", {}).get("code")

    assert code(sign_json({}, now)) is None
    assert code(sign_json({"recvWindow": 100, "omitZeroBalances": "true"}, now - 100)) is None
    assert code(sign_json({}, now, secret="other")) == -1022
    assert code(sign_json({}, now) | {"recvWindow": 1000}) == -1022
    assert code(sign_json({}, now, key="other")) == -2015
    assert code({}) == -2014
    assert code(sign_json({}, now - 5001)) == -1021
    assert code(sign_json({}, now + 1000)) == -1021


def test_messages_that_make_no_sense(world):
    client = world.connect()
    for text in ("{", "[]", '"text"', "{}", '{"id":1,"method":"ping","params":[]}'):
        client.connection.receive(text)
        (answer,) = client.messages()
        assert (answer["status"], answer["error"]["code"]) == (400, -1135)
    assert client.ask("order.dance")["error"]["code"] == -1020
    assert client.ask("ticker.price", symbol={"a": 1})["error"]["code"] == -1100


def test_limits_are_shared_with_http_and_told(make_world):
    world = make_world(FLAT, limits=Limits(weight_per_minute=25))
    client = world.connect()  # costs 2
    answer = client.ask("exchangeInfo")
    assert answer["rateLimits"] == [
        {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": 25,
            "count": 22,
        }
    ]
    assert "rateLimits" not in client.ask("ping", returnRateLimits=False)
    assert "rateLimits" not in world.connect(query="returnRateLimits=false").ask("ping")
    refused = client.ask("exchangeInfo")
    assert (refused["status"], refused["error"]["code"]) == (429, -1003)
    wait = refused["error"]["data"]["retryAfter"] - refused["error"]["data"]["serverTime"]
    assert 0 < wait <= 60_000
    while (answer := client.ask("ping"))["status"] == 429:
        pass
    assert answer["status"] == 418
    assert client.connection.closed
    with pytest.raises(ApiError) as banned:
        world.connect()
    assert banned.value.status == 418


def test_orders_are_counted(world):
    client = world.connect()
    counts = client.signed("order.place", **ORDER)["rateLimits"]
    assert [(item["rateLimitType"], item["interval"], item["count"]) for item in counts] == [
        ("ORDERS", "DAY", 1),
        ("ORDERS", "SECOND", 1),
        ("REQUEST_WEIGHT", "MINUTE", 3),
    ]


def test_a_life_of_an_order_in_events(world):
    client = subscribed(world)
    answer = client.signed("order.place", **ORDER, newClientOrderId="pi1-1")["result"]
    (new,) = reports(client.events)
    expected = {
        "e": "executionReport",
        "s": "BTCUSDT",
        "c": "pi1-1",
        "C": "",
        "S": "BUY",
        "o": "LIMIT",
        "f": "GTC",
        "q": "0.10000000",
        "p": "95.00000000",
        "x": "NEW",
        "X": "NEW",
        "i": answer["orderId"],
        "l": "0.00000000",
        "z": "0.00000000",
        "N": None,
        "t": -1,
        "w": True,
        "T": answer["transactTime"],
    }
    assert new | expected == new
    world.legs(5)
    messages = client.messages()
    (trade,) = reports(messages)
    expected = {
        "x": "TRADE",
        "X": "FILLED",
        "l": "0.10000000",
        "z": "0.10000000",
        "L": "95.00000000",
        "n": "0.00010000",
        "N": "BTC",
        "t": 1,
        "m": True,
        "w": False,
        "Z": "9.50000000",
        "Y": "9.50000000",
        "T": world.clock.wall_ms + 1250,
        "O": answer["transactTime"],
    }
    assert trade | expected == trade
    position = messages[-1]["event"]
    assert position["e"] == "outboundAccountPosition"
    assert position["B"] == [
        {"a": "BTC", "f": "1.09990000", "l": "0.00000000"},
        {"a": "USDT", "f": "9990.50000000", "l": "0.00000000"},
    ]


def test_a_taker_is_told_of_its_order_first_and_then_of_its_trade(world):
    client = subscribed(world)
    client.signed("order.place", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1")
    events = reports(client.events)
    assert [(event["x"], event["X"], event["m"]) for event in events] == [
        ("NEW", "NEW", False),
        ("TRADE", "FILLED", False),
    ]


def test_a_cancellation_carries_both_names(world):
    client = subscribed(world)
    world.order(price="90", quantity="0.1", newClientOrderId="pi1-1")
    world.signed("DELETE", "order", symbol="BTCUSDT", orderId=1, newClientOrderId="stop-it")
    last = reports(client.messages())[-1]
    assert (last["x"], last["X"], last["c"], last["C"]) == (
        "CANCELED",
        "CANCELED",
        "stop-it",
        "pi1-1",
    )
    world.order(price="90", quantity="0.1", timeInForce="IOC")
    last = reports(client.messages())[-1]
    assert (last["x"], last["eR"]) == ("EXPIRED", "UNFILLED_IOC_QUANTITY_EXPIRED")


def test_subscriptions(world):
    client = subscribed(world)
    again = client.signed("userDataStream.subscribe.signature")
    assert again["error"]["code"] == -2035
    assert client.ask("session.subscriptions")["result"] == [{"subscriptionId": 0}]
    assert client.ask("userDataStream.unsubscribe", subscriptionId=5)["error"]["code"] == -2036
    assert client.ask("userDataStream.unsubscribe")["result"] == {}
    (ended,) = client.events
    assert (ended["subscriptionId"], ended["event"]["e"]) == (0, "eventStreamTerminated")
    world.order(price="90", quantity="0.1")
    assert client.messages() == []
    assert client.signed("userDataStream.subscribe.signature")["result"] == {"subscriptionId": 1}
    assert client.ask("userDataStream.subscribe")["error"]["code"] == -1002
    wrong = sign_json({}, world.clock.now_ms(), secret="other")
    assert world.connect().ask("userDataStream.subscribe.signature", **wrong)["status"] == 400


def test_who_does_not_listen_is_told_nothing(world):
    client = world.connect()
    world.order(price="90", quantity="0.1")
    assert client.messages() == []


def test_what_is_told_is_stored(world):
    """An event never leaves for something that a power cut could undo."""
    client = subscribed(world)
    world.store.commit = _fails
    assert world.order(price="90", quantity="0.1").status == 500
    assert client.connection.outgoing() == []


def _fails(*_arguments):
    raise sqlite3.OperationalError("disk I/O error")


def klines(messages):
    return [
        (event["k"]["t"], event["k"]["x"], D(event["k"]["c"]))
        for event in messages
        if event["e"] == "kline"
    ]


def test_klines_close_in_order_and_are_told_of_now_and_then(make_world):
    world = make_world(*[(100 + n, 103 + n, 99 + n, 102 + n) for n in range(9)], at_end="hold")
    client = world.connect("/ws/btcusdt@kline_1m")
    start = world.series.start
    assert klines(client.messages()) == [(start, False, 100)]
    world.legs(1)
    assert client.messages() == []  # 250 ms later: too soon
    world.legs(7)  # 2 s after the first: two candles later
    assert klines(client.messages()) == [
        (start, True, 102),
        (start + MINUTE_MS, True, 103),
        (start + 2 * MINUTE_MS, False, 102),
    ]
    world.legs(12)
    told = klines(client.messages())
    assert [kline for kline in told if kline[1]] == [
        (start + n * MINUTE_MS, True, 102 + n) for n in (2, 3, 4)
    ]


def test_kline_events_agree_with_the_klines_over_http(make_world):
    world = make_world(
        *[(100 + n, 110 + n, 90 + n, 101 + n) for n in range(12)], at_end="hold", speed=60
    )
    client = world.connect("/stream", "streams=btcusdt@kline_5m/btcusdt@kline_1m")
    for _ in range(100):
        world.legs(1)
        rows = {}
        for interval in ("5m", "1m"):
            for row in world.get("klines", symbol="BTCUSDT", interval=interval).json:
                rows[interval, row[0]] = row
        for message in client.messages():
            kline = message["data"]["k"]
            assert message["stream"] == f"btcusdt@kline_{kline['i']}"
            row = rows[kline["i"], kline["t"]]
            names = ("t", "o", "h", "l", "c", "v", "T", "q")
            assert [kline[name] for name in names] == row[:8]


def test_every_close_is_told_once_however_fast_the_market_is(make_world):
    candles = [(100 + n % 7, 110, 90, 100 + (n + 1) % 7) for n in range(300)]
    world = make_world(*candles, speed=600)
    client = world.connect("/ws/btcusdt@kline_1m")
    told = []
    for step in (1, 3, 50, 400, 7, 2000):
        world.legs(step)
        told += [start for start, closed, _ in klines(client.messages()) if closed]
    first = world.series.start
    assert told == [first + n * MINUTE_MS for n in range(world.listing.position // 4)]


def test_tickers(world):
    client = world.connect("/stream", "streams=btcusdt%40miniTicker%2Fbtcusdt%40bookTicker")
    mini, book = client.messages()
    assert mini["stream"] == "btcusdt@miniTicker"
    assert (mini["data"]["e"], mini["data"]["c"]) == ("24hrMiniTicker", "100.00000000")
    assert book["data"]["b"] == book["data"]["a"] == "100.00000000"
    world.legs(1)
    assert client.messages() == []  # the price is what it was, the mini ticker has its second
    world.legs(4)
    mini, book = client.messages()
    assert (mini["data"]["l"], book["data"]["a"]) == ("90.00000000", "90.00000000")


def test_streams_are_chosen_while_connected(world):
    client = world.connect("/ws")

    def say(method, params=(), identity=3):
        client.connection.receive(
            json.dumps({"method": method, "params": list(params), "id": identity})
        )
        return client.messages()

    answer, event = say("SUBSCRIBE", ["btcusdt@kline_1m"])
    assert (answer, event["e"]) == ({"result": None, "id": 3}, "kline")
    assert say("LIST_SUBSCRIPTIONS") == [{"result": ["btcusdt@kline_1m"], "id": 3}]
    assert say("GET_PROPERTY", ["combined"])[0]["result"] is False
    assert say("UNSUBSCRIBE", ["btcusdt@kline_1m"])[0]["result"] is None
    assert say("SUBSCRIBE", ["btcusdt@avgPrice"])[0]["code"] == 2
    assert say("DANCE")[0]["code"] == 2
    client.connection.receive("{")
    assert client.messages()[0]["code"] == 3


def test_a_connection_may_have_any_name_and_subscribe_later(world):
    client = world.connect("/ws/0")
    text = json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 1})
    client.connection.receive(text)
    answer, event = client.messages()
    assert (answer["result"], event["e"]) == (None, "kline")


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/", ""),
        ("", ""),
        ("ws-api", ""),
        ("/ws-api/v2", ""),
        ("/ws/btcusdt@avgPrice", ""),
        ("/ws/BTCUSDT@kline_1m", ""),
        ("/ws/btcusdt@kline_7m", ""),
        ("/ws/ethusdt@kline_1m", ""),
        ("/stream", "streams=btcusdt@kline_1m/nothing"),
    ],
)
def test_what_there_is_not(world, path, query):
    with pytest.raises(ApiError) as refused:
        world.connect(path, query)
    assert refused.value.status == 404


def test_too_many_connections(world):
    clients = [world.connect("/ws") for _ in range(32)]
    with pytest.raises(ApiError, match="Too many connections"):
        world.connect("/ws")
    clients[3].connection.close()
    world.connect("/ws")


def test_a_client_that_reads_nothing_is_cut(world, monkeypatch):
    monkeypatch.setattr("gridexchange.streams.connection.MOST_WAITING", 40)
    client = subscribed(world)
    rung = []
    client.connection.on_ready = lambda: rung.append(1)
    for _ in range(10):
        world.order(price="90", quantity="0.1", timeInForce="IOC")
    assert not client.connection.closed
    world.order(price="90", quantity="0.1", timeInForce="IOC")
    assert client.connection.closed
    assert client.connection.outgoing() == []
    assert rung
    assert subscribed(world).messages() == []


def test_the_end_is_announced(world):
    trading, combined, raw = world.connect(), world.connect("/stream"), world.connect("/ws")
    world.api.streams.shut_down()
    assert trading.messages()[0]["event"]["e"] == "serverShutdown"
    assert combined.messages()[0]["stream"] == "!serverShutdown"
    assert raw.messages()[0]["e"] == "serverShutdown"
    assert trading.connection.closed
    assert combined.connection.closed
    assert raw.connection.closed


def test_differences_lead_from_one_book_to_a_later_one(world):
    world.listing._depth_levels = 20
    client = world.connect("/ws/btcusdt@depth@100ms")
    assert client.messages() == []
    book = world.get("depth", symbol="BTCUSDT", limit=5000).json
    sides = {side: dict(book[name]) for side, name in (("b", "bids"), ("a", "asks"))}
    assert len(sides["b"]) == len(sides["a"]) == 20
    last = book["lastUpdateId"]
    for _ in range(3):
        world.legs(1)
        [event] = client.messages()
        assert (event["e"], event["U"]) == ("depthUpdate", last + 1)
        last = event["u"]
        for side, levels in sides.items():
            levels.update(dict(event[side]))
    later = world.get("depth", symbol="BTCUSDT", limit=5000).json
    assert later["lastUpdateId"] == last
    for side, name in (("b", "bids"), ("a", "asks")):
        kept = {price: left for price, left in sides[side].items() if float(left)}
        assert kept == dict(later[name])
