"""What the exchange counts."""

from gridexchange.rest.metrics import METRICS
from prometheus_client.parser import text_string_to_metric_families

from bot.tests.base.metrics_rules import served_problems

FLAT = (100, 100, 100, 100)
DIP = (100, 104, 90, 100)


def test_requests_messages_connections_and_orders_are_counted(make_world):
    world = make_world(FLAT, DIP, FLAT, at_end="hold", faults=[{"kind": "error_after", "at_s": 9}])
    client = world.connect()
    market = world.connect("/ws/btcusdt@kline_1m")
    client.signed("userDataStream.subscribe.signature")
    client.signed("order.place", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1")
    client.ask("nonsense")
    world.order(price="80", quantity="0.1")
    world.signed("DELETE", "openOrders", symbol="BTCUSDT")
    world.get("no/such/path")
    world.call("GET", "/gridberry/health")
    market.messages()
    client.messages()
    market.connection.close()
    numbers = world.call("GET", "/gridberry/counters")
    assert numbers.status == 200
    assert numbers.json == {
        "since": world.clock.wall_ms,
        "rest": {"DELETE openOrders": 1, "POST order": 1, "other": 1},
        "socket": {"order.place": 1, "other": 1, "userDataStream.subscribe.signature": 1},
        "messages": {"answers": 3, "btcusdt@kline_1m": 1, "userData": 8},
        "orders": {"CANCELED": 1, "NEW": 2, "TRADE": 1},
        "connections": {"market": 1, "trading": 1},
        "open_connections": 1,
        "faults": {},
    }
    world.clock.pass_ms(9_000)
    world.get("time")
    after = world.call("GET", "/gridberry/counters").json
    assert after["rest"]["GET time"] == 1
    assert after["faults"] == {"error_after": 1}


def test_they_are_metrics_too(make_world):
    world = make_world(FLAT, DIP, FLAT, at_end="hold")
    client = world.connect()
    client.signed("order.place", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1")
    world.order(price="80", quantity="0.1")
    world.get("no/such/path")
    answer = []
    body = b"".join(
        world.api(
            {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"},
            lambda status, headers: answer.append((status, dict(headers))),
        )
    )
    ((status, headers),) = answer
    assert (status, headers["Content-Length"]) == ("200 OK", str(len(body)))
    text = body.decode()
    assert served_problems(text, METRICS, {}, most=20) == []
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    numbers = world.call("GET", "/gridberry/counters").json
    for group, metric in (("rest", "rest_requests"), ("orders", "order_events")):
        for name, number in numbers[group].items():
            assert told[f"gridexchange_{metric}_total", name] == number
    assert told["gridexchange_rest_requests_total", "other"] == 1
    assert told["gridexchange_open_connections",] == 1
    assert told["gridexchange_healthy",] == 1
