"""The API as a client sees it, spoken in this process under a clock that the tests move."""

import hashlib
import hmac
from decimal import Decimal

import pytest
from gridexchange.limits import Limits

from .conftest import KEY, SECRET, sign

D = Decimal
FLAT = (100, 100, 100, 100)
DIP = (100, 104, 90, 100)  # walks 100, 90, 104, 100


@pytest.fixture
def world(make_world):
    return make_world(FLAT, DIP, FLAT, at_end="hold")


def limit(world, side="BUY", price="95", quantity="0.1", **more):
    return world.order(side, price=price, quantity=quantity, **more)


def test_every_answer_names_the_market(world):
    assert world.get("time").headers["X-Gridberry-Market"] == "test market"
    assert world.get("nothing").headers["X-Gridberry-Market"] == "test market"


def test_general_endpoints(world):
    assert world.get("ping").json == {}
    assert world.get("time").json == {"serverTime": world.clock.now_ms()}
    info = world.get("exchangeInfo", symbol="BTCUSDT").json
    filters = {item["filterType"]: item for item in info["symbols"][0]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"
    assert filters["PERCENT_PRICE_BY_SIDE"]["bidMultiplierDown"] == "0.2"
    assert world.call("GET", "/api/v1/ping").json == {}


def test_market_data_follows_the_walk(world):
    assert world.get("ticker/price", symbol="BTCUSDT").json["price"] == "100.00000000"
    world.legs(5)
    assert world.get("ticker/price").json == [{"symbol": "BTCUSDT", "price": "90.00000000"}]
    book = world.get("ticker/bookTicker", symbol="BTCUSDT").json
    assert (book["bidPrice"], book["askPrice"]) == ("90.00000000", "90.00000000")
    (first, forming) = world.get("klines", symbol="BTCUSDT", interval="1m").json
    assert first[1:5] == ["100.00000000"] * 4
    assert forming[1:5] == ["100.00000000", "100.00000000", "90.00000000", "90.00000000"]
    assert forming[0] - first[0] == 60_000
    assert forming[6] == forming[0] + 59_999
    day = world.get("ticker/24hr", symbol="BTCUSDT").json
    assert (day["openPrice"], day["lastPrice"], day["lowPrice"]) == (
        "100.00000000",
        "90.00000000",
        "90.00000000",
    )
    assert (day["priceChange"], day["priceChangePercent"]) == ("-10.00000000", "-10.000")


def test_order_lives_from_new_to_filled(world):
    answer = limit(world, newClientOrderId="pi1-1")
    assert answer.json["status"] == "NEW"
    assert answer.json["fills"] == []
    assert answer.headers["X-MBX-ORDER-COUNT-10S"] == "1"
    assert world.account()["USDT"] == (D("9990.5"), D("9.5"))
    (resting,) = world.signed("GET", "openOrders", symbol="BTCUSDT").json
    assert (resting["orderId"], resting["clientOrderId"]) == (1, "pi1-1")
    depth = world.get("depth", symbol="BTCUSDT").json
    assert depth["bids"][1] == ["95.00000000", "0.10000000"]
    world.legs(5)
    order = world.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="pi1-1").json
    assert (order["status"], order["executedQty"], order["cummulativeQuoteQty"]) == (
        "FILLED",
        "0.10000000",
        "9.50000000",
    )
    (trade,) = world.signed("GET", "myTrades", symbol="BTCUSDT", fromId=1).json
    assert (trade["orderId"], trade["price"], trade["isMaker"]) == (1, "95.00000000", True)
    assert (trade["commission"], trade["commissionAsset"]) == ("0.00010000", "BTC")
    # The leg was due 1250 ms after the start, whenever somebody asked.
    assert trade["time"] == world.clock.wall_ms + 1250
    assert world.account() == {"BTC": (D("1.0999"), D(0)), "USDT": (D("9990.5"), D(0))}


def test_order_placed_by_a_fill_can_fill_later_in_the_same_candle(world):
    limit(world, "BUY", "95")
    world.legs(5)
    assert limit(world, "SELL", "99", "0.0999").json["status"] == "NEW"
    world.legs(1)
    trades = world.signed("GET", "myTrades", symbol="BTCUSDT").json
    assert [(trade["isBuyer"], trade["price"]) for trade in trades] == [
        (True, "95.00000000"),
        (False, "99.00000000"),
    ]


def test_answer_details(world):
    ack = limit(world, newOrderRespType="ACK").json
    assert sorted(ack) == ["clientOrderId", "orderId", "orderListId", "symbol", "transactTime"]
    assert "fills" not in limit(world, newOrderRespType="RESULT").json
    full = world.order("BUY", "MARKET", quantity="0.1").json
    assert full["fills"] == [
        {
            "price": "100.00000000",
            "qty": "0.10000000",
            "commission": "0.00010000",
            "commissionAsset": "BTC",
            "tradeId": 1,
        }
    ]
    assert "status" not in world.order("BUY", "LIMIT_MAKER", price="90", quantity="1").json


def test_cancel(world):
    for number in range(3):
        limit(world, newClientOrderId=f"order-{number}")
    cancelled = world.signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId="order-1")
    assert (cancelled.json["status"], cancelled.json["origClientOrderId"]) == (
        "CANCELED",
        "order-1",
    )
    rest = world.signed("DELETE", "openOrders", symbol="BTCUSDT").json
    assert [order["orderId"] for order in rest] == [1, 3]
    assert world.account()["USDT"] == (D(10_000), D(0))
    unknown = (400, -2011, "Unknown order sent.")
    assert world.signed("DELETE", "openOrders", symbol="BTCUSDT").error == unknown
    assert world.signed("DELETE", "order", symbol="BTCUSDT", orderId=1).error == unknown


def test_lists_by_number_and_time(world):
    for _ in range(3):
        world.order("BUY", "MARKET", quantity="0.1")
        world.clock.pass_ms(1)

    def numbers(path, **parameters):
        answer = world.signed("GET", path, symbol="BTCUSDT", **parameters)
        return [item.get("id", item["orderId"]) for item in answer.json]

    start = world.clock.wall_ms
    assert numbers("myTrades") == [1, 2, 3]
    assert numbers("myTrades", limit=2) == [2, 3]
    assert numbers("myTrades", fromId=2) == [2, 3]
    assert numbers("myTrades", fromId=2, limit=1) == [2]
    assert numbers("myTrades", orderId=3) == [3]
    assert numbers("myTrades", startTime=start + 1, endTime=start + 1) == [2]
    assert numbers("allOrders") == [1, 2, 3]
    assert numbers("allOrders", limit=2) == [2, 3]
    assert numbers("allOrders", orderId=2) == [2, 3]
    assert numbers("allOrders", startTime=start + 2) == [3]


def test_test_order_checks_and_changes_nothing(world):
    parameters = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET"}
    assert world.signed("POST", "order/test", **parameters, quantity="1").json == {}
    refused = world.signed("POST", "order/test", **parameters, quantity="1000")
    assert refused.error[1] == -2010
    assert world.signed("GET", "allOrders", symbol="BTCUSDT").json == []


PRECISE = "0.123456789"
BAD_ORDERS = [
    ({"symbol": None}, -1102, "Mandatory parameter 'symbol' was not sent"),
    ({"symbol": "ETHUSDT"}, -1121, "Invalid symbol."),
    ({"symbol": "BTC/USDT"}, -1100, "legal range is '^[A-Z0-9-_.]{1,20}$'"),
    ({"side": "buy"}, -1117, "Invalid side."),
    ({"type": "FANCY"}, -1116, "Invalid orderType."),
    ({"type": "STOP_LOSS"}, -2010, "Stop loss orders are not supported for this symbol."),
    ({"timeInForce": None}, -1102, "Mandatory parameter 'timeInForce'"),
    ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
    ({"price": None}, -1102, "Mandatory parameter 'price'"),
    ({"quantity": None}, -1102, "Mandatory parameter 'quantity'"),
    ({"quantity": "1e-3"}, -1100, r"legal range is '^([0-9]{1,20})(\.[0-9]{1,20})?$'"),
    ({"quantity": "-1"}, -1100, "'quantity'"),
    ({"quantity": PRECISE}, -1111, "Parameter 'quantity' has too much precision."),
    ({"price": PRECISE}, -1111, "Parameter 'price' has too much precision."),
    ({"quantity": "0"}, -1013, "Invalid quantity."),
    ({"price": "0.0"}, -1013, "Invalid price."),
    ({"price": "95.001"}, -1013, "Filter failure: PRICE_FILTER"),
    ({"price": "19.99"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    ({"quantity": "0.100001"}, -1013, "Filter failure: LOT_SIZE"),
    ({"quantity": "0.01"}, -1013, "Filter failure: NOTIONAL"),
    ({"quantity": "1000"}, -2010, "Account has insufficient balance for requested action."),
    ({"newClientOrderId": "a.b"}, -1100, "legal range is '^[a-zA-Z0-9-_]{1,36}$'"),
    ({"newClientOrderId": "x" * 37}, -1100, "'newClientOrderId'"),
    ({"newClientOrderId": ""}, -1105, "Parameter 'newClientOrderId' was empty."),
    ({"newOrderRespType": "ALL"}, -1130, "'newOrderRespType' is not valid"),
    ({"stopPrice": "90"}, -1106, "Parameter 'stopPrice' sent when not required."),
    ({"quoteOrderQty": "90"}, -1106, "Parameter 'quoteOrderQty' sent when not required."),
    ({"colour": "red"}, -1104, "Not all sent parameters were read; read '8'"),
    ({"type": "MARKET"}, -1106, "Parameter 'price' sent when not required."),
    (
        {"type": "MARKET", "price": None, "timeInForce": None, "quantity": None},
        -1102,
        "Param 'quantity' or 'quoteOrderQty' must be sent",
    ),
    (
        {"type": "MARKET", "price": None, "timeInForce": None, "quoteOrderQty": "50"},
        -1128,
        "Combination of optional parameters invalid.",
    ),
    ({"type": "LIMIT_MAKER"}, -1106, "Parameter 'timeInForce' sent when not required."),
    (
        {"type": "LIMIT_MAKER", "timeInForce": None, "price": "100"},
        -2010,
        "Order would immediately match and take.",
    ),
]


@pytest.mark.parametrize(("change", "code", "message"), BAD_ORDERS)
def test_bad_order(world, change, code, message):
    good = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "price": "95",
        "quantity": "0.1",
    }
    sent = {name: value for name, value in (good | change).items() if value is not None}
    answer = world.signed("POST", "order", **sent)
    assert (answer.status, answer.json["code"]) == (400, code)
    assert message in answer.json["msg"]
    assert world.signed("GET", "allOrders", symbol="BTCUSDT").json == []


def test_duplicate_client_order_id(world):
    limit(world, newClientOrderId="same")
    again = limit(world, newClientOrderId="same")
    assert again.error == (400, -2010, "Duplicate order sent.")


@pytest.mark.parametrize(
    ("method", "path", "parameters", "code", "message"),
    [
        ("GET", "order", {"orderId": 9}, -2013, "Order does not exist."),
        ("GET", "order", {"origClientOrderId": "no"}, -2013, "Order does not exist."),
        ("GET", "order", {}, -1102, "Param 'origClientOrderId' or 'orderId' must be sent"),
        ("GET", "order", {"orderId": "one"}, -1100, "legal range is '^[0-9]{1,20}$'"),
        ("GET", "order", {"orderId": 2**63}, -1108, "Parameter 'orderId' overflowed."),
        ("GET", "myTrades", {"fromId": 1, "startTime": 1}, -1128, "Combination"),
        ("GET", "myTrades", {"startTime": 1, "endTime": 10**8}, -1127, "More than 24 hours"),
        ("GET", "myTrades", {"limit": 0}, -1130, "Data sent for parameter 'limit'"),
        ("GET", "account", {"symbol": "BTCUSDT"}, -1104, "Not all sent parameters were read"),
        ("GET", "account", {"recvWindow": 60_001}, -1131, "recvWindow must be less than 60000."),
    ],
)
def test_bad_signed_request(world, method, path, parameters, *, code, message):
    symbol = {} if path == "account" else {"symbol": "BTCUSDT"}
    answer = world.signed(method, path, **symbol, **parameters)
    assert (answer.status, answer.json["code"]) == (400, code)
    assert message in answer.json["msg"]


def test_bad_public_requests(world):
    assert world.get("klines", symbol="BTCUSDT", interval="7m").error[1:] == (
        -1120,
        "Invalid interval.",
    )
    assert world.get("ticker/price", symbol="ETHUSDT").error[1:] == (-1121, "Invalid symbol.")
    assert world.get("exchangeInfo", symbols='["ETHUSDT"]').error[1:] == (-1121, "Invalid symbol.")
    assert world.get("time", a=1).error == (
        400,
        -1101,
        "Too many parameters; expected '0' and received '1'.",
    )
    twice = world.call("GET", "depth", text="symbol=BTCUSDT&symbol=BTCUSDT")
    assert twice.error[1:] == (-1101, "Duplicate values for parameter 'symbol' detected.")
    assert world.get("nothing").status == 404
    assert world.call("POST", "ping").status == 405
    assert world.call("GET", "/").status == 404


def test_keys_signatures_and_times(world):
    now = world.clock.now_ms()
    text = sign({}, now)

    def error(key=KEY, text=text):
        return world.call("GET", "account", key, text).error

    bad_format = (401, -2014, "API-key format invalid.")
    assert error(key=None) == bad_format
    assert error(key="not a key") == bad_format
    assert error(key="other-key") == (401, -2015, "Invalid API-key, IP, or permissions for action.")
    assert error(text=sign({}, now, secret="other"))[1:] == (
        -1022,
        "Signature for this request is not valid.",
    )
    assert error(text=text.replace("timestamp=1", "recvWindow=100&timestamp=1"))[1] == -1022
    assert error(text=f"timestamp={now}")[1:] == (
        -1102,
        "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.",
    )
    assert "'timestamp'" in error(text="signature=00")[2]
    late = (-1021, "Timestamp for this request is outside of the recvWindow.")
    assert error(text=sign({}, now - 5001))[1:] == late
    assert error(text=sign({"recvWindow": 100}, now - 101))[1:] == late
    assert error(text=sign({}, now + 1000))[1:] == (
        -1021,
        "Timestamp for this request was 1000ms ahead of the server's time.",
    )
    for good in (sign({}, now + 999), sign({}, now - 5000), sign({"recvWindow": 100}, now - 100)):
        assert world.call("GET", "account", KEY, good).status == 200


def test_parameters_in_the_body_or_split_between_body_and_query(world):
    text = sign({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET"}, world.clock.now_ms())
    query = text.partition("&signature=")[0]
    assert world.call("POST", "order", KEY, body=text.encode()).error[1] == -1102
    body = sign(
        {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"},
        world.clock.now_ms(),
    )
    assert world.call("POST", "order", KEY, body=body.encode()).json["status"] == "FILLED"
    # Binance's documented oddity: query and body are signed without an & between them.
    split = sign_split(query, "quantity=0.1")
    assert world.call("POST", "order", KEY, query, split.encode()).json["status"] == "FILLED"


def sign_split(query: str, body: str) -> str:
    signature = hmac.new(SECRET.encode(), (query + body).encode(), hashlib.sha256).hexdigest()
    return f"{body}&signature={signature.upper()}"


def test_too_long_a_body(world):
    assert world.call("POST", "order", KEY, body=b"x" * 70_000).status == 413


def test_weights_warn_and_then_ban(make_world):
    world = make_world(FLAT, limits=Limits(weight_per_minute=25))
    assert world.get("exchangeInfo").headers["X-MBX-USED-WEIGHT-1M"] == "20"
    assert world.get("ping").headers["X-MBX-USED-WEIGHT"] == "21"
    answer = world.get("exchangeInfo")
    assert (answer.status, answer.json["code"]) == (429, -1003)
    assert "current limit is 25 request weight per 1 MINUTE" in answer.json["msg"]
    wait = int(answer.headers["Retry-After"])
    assert 0 < wait <= 60
    world.clock.pass_ms(wait * 1000)
    assert world.get("exchangeInfo").status == 200
    statuses = [world.get("exchangeInfo").status for _ in range(12)]
    assert statuses == [429] * 10 + [418] * 2
    banned = world.get("ping")
    assert (banned.status, banned.headers["Retry-After"]) == (418, "120")
    assert "IP banned until" in banned.json["msg"]
    world.clock.pass_ms(120_000)
    assert world.get("ping").status == 200


def test_order_rate_limit(make_world):
    world = make_world(FLAT, limits=Limits(orders_per_10s=2))
    assert limit(world).status == limit(world).status == 200
    assert limit(world).error == (
        429,
        -1015,
        "Too many new orders; current limit is 2 orders per 10 SECOND.",
    )
    world.clock.pass_ms(10_000)
    assert limit(world).headers["X-MBX-ORDER-COUNT-1D"] == "3"


def test_trades_of_others_by_number_and_by_time(make_world):
    world = make_world(*[("1.00", "1.10", "0.90", "1.05")] * 4)
    world.legs(12)

    def asked(**parameters) -> list[int]:
        answer = world.get("aggTrades", symbol="BTCUSDT", **parameters).json
        return [trade["a"] for trade in answer]

    trades = world.get("aggTrades", symbol="BTCUSDT").json
    times = [trade["T"] for trade in trades]
    last = len(trades) - 1
    assert [trade["a"] for trade in trades] == list(range(last + 1))
    assert asked(limit=3) == [last - 2, last - 1, last]
    assert asked(fromId=5, limit=3) == [5, 6, 7]
    middle = times[20]
    later = [number for number, time_ms in enumerate(times) if time_ms >= middle]
    assert asked(startTime=middle, limit=3) == later[:3]
    assert asked(startTime=middle) == later
    until = [number for number, time_ms in enumerate(times) if time_ms <= middle]
    assert asked(endTime=middle, limit=2) == until[-2:]
    assert asked(startTime=middle, endTime=middle) == [n for n in later if n in until]
    assert asked(startTime=times[-1] + 1) == []
    refused = world.get("aggTrades", symbol="BTCUSDT", fromId=1, startTime=middle)
    assert refused.error[1] == -1128


def test_klines_of_longer_intervals(make_world):
    world = make_world(
        *[(100 + n, 110 + n, 90 + n, 101 + n) for n in range(12)], at_end="hold", speed=60
    )
    world.legs(100)
    rows = world.get("klines", symbol="BTCUSDT", interval="5m").json
    start = world.series.start  # 23:01, so the first 5 minutes hold 4 candles
    assert [row[0] for row in rows] == [
        start - 60_000,
        start + 4 * 60_000,
        start + 9 * 60_000,
    ]
    assert [row[1:5] for row in rows] == [
        ["100.00000000", "113.00000000", "90.00000000", "104.00000000"],
        ["104.00000000", "118.00000000", "94.00000000", "109.00000000"],
        ["109.00000000", "121.00000000", "99.00000000", "112.00000000"],
    ]
    latest = world.get("klines", symbol="BTCUSDT", interval="5m", limit=1).json
    assert latest == rows[-1:]
    by_time = world.get(
        "klines", symbol="BTCUSDT", interval="5m", startTime=start, endTime=start + 9 * 60_000
    ).json
    assert [row[0] for row in by_time] == [rows[1][0], rows[2][0]]
    month = world.get("klines", symbol="BTCUSDT", interval="1M").json
    assert [row[6] + 1 - row[0] for row in month] == [31 * 86_400_000]


def test_health(world):
    answer = world.call("GET", "/gridberry/health")
    assert (answer.status, answer.json["ok"], answer.json["reasons"]) == (200, True, [])
