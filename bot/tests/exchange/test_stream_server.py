"""The WebSocket side over real sockets on the loopback."""

import json
import socket
import time
from itertools import pairwise

import pytest
import requests
from gridexchange.streams.server import StreamServer
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import connect

from .conftest import sign_json

PATIENCE_S = 30


def opened(server, path="/ws-api/v3"):
    return connect(server.stream_url + path, compression=None)


def signed(client, method, **params):
    return ask(client, method, **sign_json(params, time.time_ns() // 1_000_000))


def ask(client, method, **params):
    client.send(json.dumps({"id": 1, "method": method, "params": params}))
    events = []
    while True:
        message = json.loads(client.recv(timeout=PATIENCE_S))
        if "id" in message:
            return message, events
        events.append(message["event"])


def test_orders_and_their_fills_over_one_socket(make_server):
    server = make_server("--stream-port", "0", "--speed", "600")
    with opened(server) as client:
        answer, _ = signed(client, "userDataStream.subscribe.signature")
        assert answer["result"] == {"subscriptionId": 0}
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
        price = ask(client, "ticker.price", symbol="BTCUSDT")[0]["result"]["price"]
        limit = f"{float(price) - 1:.2f}"
        answer, events = signed(client, "order.place", quantity="0.01", price=limit, **order)
        assert answer["status"] == 200
        while not any(event.get("x") == "TRADE" for event in events):
            # Nobody asks: the exchange goes on by itself and tells.
            events.append(json.loads(client.recv(timeout=PATIENCE_S))["event"])
        trade = next(event for event in events if event.get("x") == "TRADE")
        assert trade["i"] == answer["result"]["orderId"]
        _, trades = server.request("GET", "myTrades", symbol="BTCUSDT")
        assert [item["id"] for item in trades] == [trade["t"]]


def test_closed_candles_arrive_in_order(make_server):
    server = make_server("--stream-port", "0", "--speed", "6000")
    with opened(server, "/stream?streams=btcusdt@kline_1m") as client:
        closes = []
        while len(closes) < 100:
            kline = json.loads(client.recv(timeout=PATIENCE_S))["data"]["k"]
            if kline["x"]:
                closes.append(kline["t"])
    assert [later - earlier for earlier, later in pairwise(closes)] == [60_000] * 99


def test_refusals_are_http_answers(make_server, tmp_path):
    config = tmp_path / "exchange.toml"
    config.write_text("stream_port = 0\nstream_connections = 2\n")
    server = make_server("--config", str(config))
    with pytest.raises(InvalidStatus) as refused, opened(server, "/nothing"):
        pass
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body)["code"] == -1020
    with opened(server), opened(server) as second:
        with pytest.raises(InvalidStatus) as refused, opened(server):
            pass
        assert refused.value.response.status_code == 503
        second.close()
        wait_until(lambda: connects(server))
    url = server.stream_url.replace("ws://", "http://")
    assert requests.get(url, timeout=PATIENCE_S).status_code == 426


def connects(server) -> bool:
    try:
        with opened(server):
            return True
    except InvalidStatus:
        return False


def wait_until(true) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_orderly_stop_is_announced(make_server):
    server = make_server("--stream-port", "0")
    with opened(server) as client:
        ask(client, "ping")
        assert server.stop() == 0
        assert json.loads(client.recv(timeout=PATIENCE_S))["event"]["e"] == "serverShutdown"
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=PATIENCE_S)


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_a_client_that_takes_nothing_is_cut(make_world, monkeypatch):
    """Its socket's buffers are full: the server gives up on it and goes on."""
    monkeypatch.setattr("gridexchange.streams.server.SEND_LIMIT_S", 1)
    world = make_world((100, 100, 100, 100))
    listener = socket.create_server(("127.0.0.1", 0))
    server = StreamServer(world.api.streams, listener)
    slow = socket.create_connection(listener.getsockname())
    slow.sendall(HANDSHAKE)
    wait_until(world.api.streams.open_connections)
    (side,) = world.api.streams.open_connections()
    for _ in range(9_000):
        side.send("x" * 2_000)
    side.ready()
    wait_until(lambda: not world.api.streams.open_connections())
    slow.close()
    server.stop()


def test_faults_break_real_sockets(make_server, tmp_path):
    config = tmp_path / "exchange.toml"
    rules = [
        "kind = 'lost_request'\nmethod = 'CONNECT'\ncount = 1",
        "kind = 'hang'\nseconds = 1\npath = 'time'\ncount = 1",
        "kind = 'delay'\nseconds = 1\npath = 'ping'\ncount = 1",
        "kind = 'maintenance'\nseconds = 3600\npath = 'depth'",
    ]
    text = "".join(f"[[faults.rules]]\n{rule}\n" for rule in rules)
    config.write_text(f"stream_port = 0\n{text}")
    server = make_server("--config", str(config))
    with pytest.raises((InvalidMessage, ConnectionClosed, OSError)), opened(server):
        pass
    with opened(server) as client:
        client.send('{"id":1,"method":"time"}')
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=PATIENCE_S)
    with opened(server) as client, opened(server) as other:
        assert ask(client, "ping")[0]["status"] == 200
        assert ask(client, "depth", symbol="BTCUSDT")[0]["status"] == 503
        for cut in (client, other):
            with pytest.raises(ConnectionClosed):
                cut.recv(timeout=PATIENCE_S)
    with pytest.raises(InvalidStatus) as refused, opened(server):
        pass
    assert refused.value.response.status_code == 503
    assert server.stop() == 0
    assert "Traceback" not in server.text, server.text


@pytest.mark.parametrize(
    ("flag", "value", "line"),
    [("--stream-port", "70000", "stream_port = 70000: needs a whole number from 0 to 65535")],
)
def test_bad_settings(make_server, flag, value, line):
    with pytest.raises(AssertionError, match=line):
        make_server(flag, value)
