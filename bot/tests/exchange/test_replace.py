"""Cancelling and placing in one request, and how many orders count."""

from decimal import Decimal

import pytest
from gridexchange.limits import Limits

FLAT = (100, 100, 100, 100)
DIP = (100, 104, 90, 100)  # walks 100, 90, 104, 100
UNKNOWN = {"code": -2011, "msg": "Unknown order sent."}
WOULD_TAKE = {"code": -2010, "msg": "Order would immediately match and take."}
BY_NAME = {"cancelOrigClientOrderId": "old"}
NEW = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "price": "94",
    "quantity": "0.1",
    "newClientOrderId": "new",
    "cancelReplaceMode": "STOP_ON_FAILURE",
} | BY_NAME


@pytest.fixture
def world(make_world):
    world = make_world(FLAT, FLAT, FLAT)
    world.order(price="95", quantity="0.1", newClientOrderId="old")
    return world


def replace(world, **changes):
    values = {name: value for name, value in (NEW | changes).items() if value is not None}
    return world.signed("POST", "order/cancelReplace", **values)


def open_orders(world) -> list[str]:
    return [order["clientOrderId"] for order in world.signed("GET", "openOrders").json]


def counts(world) -> list[int]:
    return [row["count"] for row in world.signed("GET", "rateLimit/order").json]


def test_an_order_takes_the_place_of_another(world):
    answer = replace(world, cancelNewClientOrderId="bye")
    assert answer.status == 200
    assert (answer.json["cancelResult"], answer.json["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    cancelled, placed = answer.json["cancelResponse"], answer.json["newOrderResponse"]
    assert (cancelled["status"], cancelled["origClientOrderId"]) == ("CANCELED", "old")
    assert cancelled["clientOrderId"] == "bye"
    assert (placed["status"], placed["fills"], placed["orderId"]) == ("NEW", [], 2)
    assert open_orders(world) == ["new"]
    assert answer.headers["X-MBX-ORDER-COUNT-10S"] == "2"
    assert world.account()["USDT"][1] == Decimal("9.4")


def test_the_coins_of_the_old_order_are_there_for_the_new_one(make_world):
    world = make_world(FLAT, FLAT, balances={"USDT": 10_000})
    world.order(price="95", quantity="100", newClientOrderId="old")
    assert world.order(price="95", quantity="100").json["code"] == -2010
    assert replace(world, quantity="100").status == 200


@pytest.mark.parametrize(
    ("changes", "status", "code", "results", "halves", "left"),
    [
        (
            {"cancelOrigClientOrderId": "no"},
            400,
            -2022,
            ("FAILURE", "NOT_ATTEMPTED"),
            (UNKNOWN, None),
            ["old"],
        ),
        (
            {"type": "LIMIT_MAKER", "timeInForce": None, "price": "100"},
            409,
            -2021,
            ("SUCCESS", "FAILURE"),
            (None, WOULD_TAKE),
            [],
        ),
        (
            {"cancelReplaceMode": "ALLOW_FAILURE", "cancelOrigClientOrderId": "no"},
            409,
            -2021,
            ("FAILURE", "SUCCESS"),
            (UNKNOWN, None),
            ["old", "new"],
        ),
        (
            {
                "cancelReplaceMode": "ALLOW_FAILURE",
                "cancelOrigClientOrderId": "no",
                "type": "LIMIT_MAKER",
                "timeInForce": None,
                "price": "100",
            },
            400,
            -2022,
            ("FAILURE", "FAILURE"),
            (UNKNOWN, WOULD_TAKE),
            ["old"],
        ),
    ],
)
def test_what_fails_is_told_half_by_half(world, changes, status, code, results, *, halves, left):
    answer = replace(world, **changes)
    partly = "partially failed" if code == -2021 else "failed"
    assert answer.error == (status, code, f"Order cancel-replace {partly}.")
    data = answer.json["data"]
    assert (data["cancelResult"], data["newOrderResult"]) == results
    for half, expected in zip(("cancelResponse", "newOrderResponse"), halves, strict=True):
        if expected is not None or results[1] == "NOT_ATTEMPTED":
            assert data[half] == expected
        else:
            assert data[half]["symbol"] == "BTCUSDT"
    assert open_orders(world) == left
    assert counts(world) == [2, 2]  # whatever came of the new order


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"price": "94.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"cancelReplaceMode": None}, -1102, "'cancelReplaceMode'"),
        ({"cancelReplaceMode": "MAYBE"}, -1130, "'cancelReplaceMode'"),
        ({"cancelOrigClientOrderId": None}, -1102, "'cancelOrigClientOrderId' or 'cancelOrderId'"),
        ({"cancelRestrictions": "NONE"}, -1130, "'cancelRestrictions'"),
    ],
)
def test_a_request_that_makes_no_sense_does_neither(world, changes, code, message):
    answer = replace(world, **changes)
    assert (answer.status, answer.json["code"]) == (400, code)
    assert message in answer.json["msg"]
    assert open_orders(world) == ["old"]
    assert counts(world) == [1, 1]


def test_number_and_name_must_fit_and_so_must_the_status(world):
    assert replace(world, cancelOrderId=1, cancelOrigClientOrderId="other").json["code"] == -2022
    answer = replace(world, cancelRestrictions="ONLY_PARTIALLY_FILLED")
    assert answer.json["data"]["cancelResponse"] == {
        "code": -2011,
        "msg": "Order was not canceled due to cancel restrictions.",
    }
    assert replace(world, cancelOrderId=1, cancelRestrictions="ONLY_NEW").status == 200


def test_the_same_over_the_websocket_api(world):
    client = world.connect()
    answer = client.signed("order.cancelReplace", **NEW)
    assert answer["status"] == 200
    assert answer["result"]["newOrderResponse"]["clientOrderId"] == "new"
    assert [row["count"] for row in answer["rateLimits"]][:2] == [2, 2]
    again = client.signed("order.cancelReplace", **NEW)
    assert (again["status"], again["error"]["code"]) == (400, -2022)
    assert again["error"]["data"]["cancelResponse"] == UNKNOWN
    told = client.signed("account.rateLimits.orders")
    assert [row["count"] for row in told["result"]] == [3, 3]


def test_too_many_orders(make_world):
    world = make_world(FLAT, limits=Limits(orders_per_10s=1))
    world.order(price="95", quantity="0.1", newClientOrderId="old")
    many = {"code": -1015, "msg": "Too many new orders; current limit is 1 orders per 10 SECOND."}
    assert replace(world).error == (429, *many.values())
    assert open_orders(world) == ["old"]
    answer = replace(world, orderRateLimitExceededMode="CANCEL_ONLY")
    assert (answer.status, answer.json["code"]) == (429, -2021)
    assert answer.json["data"]["newOrderResponse"] == many
    assert open_orders(world) == []
    again = replace(world, orderRateLimitExceededMode="CANCEL_ONLY")
    assert (again.status, again.json["code"]) == (429, -2022)
    assert again.json["data"]["newOrderResult"] == "NOT_ATTEMPTED"


def test_orders_that_trade_do_not_count(make_world):
    world = make_world(FLAT, DIP, FLAT, at_end="hold", limits=Limits(orders_per_10s=8))
    answer = world.signed("GET", "rateLimit/order")
    assert answer.headers["X-MBX-USED-WEIGHT"] == "40"
    assert answer.json == [
        {
            "rateLimitType": "ORDERS",
            "interval": interval,
            "intervalNum": number,
            "limit": limit,
            "count": 0,
        }
        for interval, number, limit in (("SECOND", 10, 8), ("DAY", 1, 200_000))
    ]
    for number in range(8):
        world.order(price=str(95 if number == 0 else 50 + number), quantity="0.1")
    assert counts(world) == [8, 8]
    assert world.order(price="50", quantity="0.1").status == 429
    world.legs(5)  # 90: the first of them has traded as maker
    assert counts(world) == [3, 3]
    taken = world.order("BUY", "MARKET", quantity="0.1")
    assert taken.headers["X-MBX-ORDER-COUNT-10S"] == "3"
    world.signed("DELETE", "openOrders", symbol="BTCUSDT")
    assert counts(world) == [3, 3]
    expired = world.order(price="50", quantity="0.1", timeInForce="IOC")
    assert expired.headers["X-MBX-ORDER-COUNT-1D"] == "4"
    for _ in range(6):
        world.order("BUY", "MARKET", quantity="0.1")
    world.clock.pass_ms(10_000)
    assert counts(world) == [0, 4]


def test_an_order_counts_once_however_many_trades_it_takes(make_world):
    parts = [{"kind": "partial_fill", "parts": 3}]
    world = make_world(FLAT, DIP, FLAT, at_end="hold", faults=parts)
    for number in range(12):
        world.order(price=str(95 if number == 0 else 50 + number), quantity="0.1")
    seen = []
    for legs in (5, 1, 1):
        world.legs(legs)
        seen.append(counts(world)[1])
    assert len(world.signed("GET", "myTrades", symbol="BTCUSDT").json) == 3
    assert seen == [7, 7, 7]


def test_fills_give_no_credit_for_later(make_world):
    world = make_world(FLAT, DIP, FLAT, at_end="hold")
    world.order(price="95", quantity="0.1")
    world.legs(5)
    assert counts(world) == [0, 0]
    world.order(price="50", quantity="0.1")
    assert counts(world) == [1, 1]
