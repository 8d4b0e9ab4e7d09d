"""Microseconds, in what a client sends and in what it is told."""

import pytest

from .conftest import KEY, sign

FLAT = (100, 100, 100, 100)
DIP = (100, 104, 90, 100)


@pytest.fixture
def world(make_world):
    return make_world(FLAT, DIP, FLAT, at_end="hold")


def account(world, **parameters):
    return world.call("GET", "account", KEY, sign(parameters, world.clock.now_ms()))


@pytest.mark.parametrize(
    ("window", "behind_us", "code"),
    [
        ("0.5", 500, None),
        ("0.5", 501, -1021),
        ("0.499", 500, -1021),
        ("100.001", 100_001, None),
        ("100", 100_001, -1021),
        ("60000.000", 0, None),
        ("60000.001", 0, -1131),
        ("100.0001", 0, -1100),
        ("1.", 0, -1100),
        ("-1", 0, -1100),
    ],
)
def test_a_receive_window_has_up_to_three_decimals(world, window, behind_us, code):
    sent = world.clock.now_ms() * 1000 - behind_us
    answer = account(world, timestamp=sent, recvWindow=window)
    assert answer.json.get("code") == code


def test_a_time_may_be_sent_in_microseconds(world):
    now_us = world.clock.now_ms() * 1000
    assert account(world, timestamp=now_us + 999_999).status == 200
    assert account(world, timestamp=now_us + 1_000_000).json["code"] == -1021
    assert account(world, timestamp=now_us - 5_000_000).status == 200
    assert account(world, timestamp=now_us - 5_000_001).json["code"] == -1021
    world.order("BUY", "MARKET", quantity="0.1")
    for start, found in ((now_us, 1), (now_us + 1, 0)):
        trades = world.signed("GET", "myTrades", symbol="BTCUSDT", startTime=start).json
        assert len(trades) == found
    start = world.series.start
    rows = world.get("klines", symbol="BTCUSDT", interval="1m", startTime=start * 1000).json
    assert rows[0][0] == start


def in_microseconds(world, method: str, path: str, unit="MICROSECOND", **parameters):
    """A request with the header, and the same without."""
    text = sign(parameters, world.clock.now_ms()) if method != "PUBLIC" else None
    if text is None:
        text = "&".join(f"{name}={value}" for name, value in parameters.items())
    verb = "GET" if method == "PUBLIC" else method
    key = None if method == "PUBLIC" else KEY
    return (
        world.call(verb, path, key, text, unit=unit),
        world.call(verb, path, key, text),
    )


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("time", ["serverTime"]),
        ("exchangeInfo", ["serverTime"]),
        ("avgPrice", ["closeTime"]),
        ("ticker/24hr", ["openTime", "closeTime"]),
    ],
)
def test_public_answers(world, path, names):
    more = {} if path in ("time", "exchangeInfo") else {"symbol": "BTCUSDT"}
    long, short = in_microseconds(world, "PUBLIC", path, unit="microsecond", **more)
    times = {name: short.json[name] * 1000 for name in names}
    assert long.json == short.json | times


def test_orders_trades_and_klines(world):
    world.order("BUY", "MARKET", quantity="0.1")
    pair = {"symbol": "BTCUSDT"}
    for path, names in (
        ("allOrders", ["time", "updateTime", "workingTime"]),
        ("myTrades", ["time"]),
    ):
        long, short = in_microseconds(world, "GET", path, **pair)
        (row,) = short.json
        assert long.json == [row | {name: row[name] * 1000 for name in names}]
    long, short = in_microseconds(world, "PUBLIC", "klines", interval="1m", **pair)
    assert [row[0] for row in long.json] == [row[0] * 1000 for row in short.json]
    assert [row[6] for row in long.json] == [row[6] * 1000 for row in short.json]
    assert [row[8] for row in long.json] == [0]
    order = {"side": "BUY", "type": "MARKET", "quantity": "0.1"}
    placed, _ = in_microseconds(world, "POST", "order", **pair, **order)
    assert placed.json["transactTime"] == placed.json["workingTime"] == world.clock.now_ms() * 1000
    assert placed.json["orderId"] == 2


def test_the_answer_inside_a_failure(world):
    failed, _ = in_microseconds(
        world,
        "POST",
        "order/cancelReplace",
        symbol="BTCUSDT",
        side="BUY",
        type="MARKET",
        quantity="0.1",
        cancelReplaceMode="ALLOW_FAILURE",
        cancelOrderId=9,
    )
    placed = failed.json["data"]["newOrderResponse"]
    assert placed["transactTime"] == world.clock.now_ms() * 1000


def test_a_unit_that_there_is_not(world):
    refused = (400, -1194)
    message = "Invalid value for time unit; expected either MICROSECOND or MILLISECOND."
    answer, _ = in_microseconds(world, "PUBLIC", "time", unit="SECOND")
    assert answer.error == (*refused, message)
    plain, _ = in_microseconds(world, "PUBLIC", "time", unit="MILLISECOND")
    assert plain.json["serverTime"] == world.clock.now_ms()


def test_streams(world):
    client = world.connect(query="timeUnit=MICROSECOND")
    now_us = world.clock.now_ms() * 1000
    assert client.ask("time")["result"] == {"serverTime": now_us}
    client.signed("userDataStream.subscribe.signature")
    world.order(price="95", quantity="0.1")
    report, position = (message["event"] for message in client.messages())
    assert {report[name] for name in "ETOW"} == {now_us}
    assert report["t"] == -1
    assert {position[name] for name in "Eu"} == {now_us}
    market = world.connect(
        "/stream",
        "streams=btcusdt@kline_1m/btcusdt@miniTicker/btcusdt@bookTicker&timeUnit=microsecond",
    )
    told = {message["stream"]: message["data"] for message in market.messages()}
    kline = told["btcusdt@kline_1m"]
    assert (kline["E"], kline["k"]["t"]) == (now_us, world.series.start * 1000)
    assert kline["k"]["T"] == world.series.start * 1000 + 59_999_000
    assert told["btcusdt@miniTicker"]["E"] == now_us
    assert told["btcusdt@bookTicker"]["u"] == 1
