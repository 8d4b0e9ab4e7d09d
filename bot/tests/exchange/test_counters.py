"""What the exchange counts."""

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
