"""Following another exchange over real sockets, and what the unmodified ccxt makes of its words."""

import json
import time

import pytest
import requests
from websockets.sync.client import connect

from .conftest import Server
from .test_ccxt import client

SYMBOL = "BTC/USDT"
LIMIT_S = 30.0


@pytest.fixture
def servers(tmp_path):
    """The exchange that plays the real one, and one that follows it."""
    candles = tmp_path / "candles.csv"
    start = 1_640_991_660_000
    rows = [f"{start + n * 60_000},50000.0,51000.0,49000.0,50000.0,12.5\n" for n in range(100)]
    candles.write_text("timestamp,open,high,low,close,volume\n" + "".join(rows))
    places = [tmp_path / name for name in ("real", "paper")]
    for place in places:
        place.mkdir()
    flags = ("--candles", str(candles), "--speed", "60", "--stream-port", "0")
    real = Server(places[0], *flags)
    flags = ("--live-rest", real.url, "--live-streams", real.stream_url, "--stream-port", "0")
    paper = Server(places[1], "--live", "binance", *flags)
    yield real, paper
    for server in (paper, real):
        if server.process.poll() is None:
            server.kill()


def until(true) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_live_prices_over_real_sockets(servers):
    real, paper = servers
    until(lambda: health(paper)["live"]["symbols"]["BTCUSDT"]["following"])
    assert health(paper)["market"] == "live prices of binance"
    exchange = client(paper)
    assert exchange.load_markets()[SYMBOL]["precision"]["price"] == 0.01
    bought = exchange.create_order(SYMBOL, "market", "buy", 0.02)
    assert bought["filled"] == 0.02
    exchange.create_order(SYMBOL, "limit", "sell", 0.019, 50_900)
    until(lambda: exchange.fetch_open_orders(SYMBOL) == [])
    assert all(trade["price"] >= 50_900 for trade in exchange.fetch_my_trades(SYMBOL)[1:])
    real.kill()
    until(lambda: not health(paper)["live"]["symbols"]["BTCUSDT"]["following"])
    assert paper.stop() == 0
    assert "Traceback" not in paper.text


def test_ccxt_reads_the_trades_the_book_and_the_candles(servers):
    real, _ = servers
    exchange = client(real)
    market = exchange.load_markets()[SYMBOL]
    until(lambda: len(exchange.fetch_trades(SYMBOL)) > 10)
    # ccxt sorts those of one millisecond by their ID as a text: 10 before 9.
    trades = sorted(exchange.fetch_trades(SYMBOL, limit=10), key=lambda one: int(one["id"]))
    numbers = [int(trade["id"]) for trade in trades]
    assert numbers == list(range(numbers[0], numbers[0] + 10))
    assert exchange.fetch_trades(SYMBOL, params={"fromId": numbers[3]}, limit=1) == [trades[3]]
    assert all(48_999 < trade["price"] < 51_001 and trade["amount"] > 0 for trade in trades)
    heard = {}
    with connect(f"{real.stream_url}/stream?streams=btcusdt@aggTrade/btcusdt@depth20") as socket:
        while len(heard) < 2:
            message = json.loads(socket.recv(LIMIT_S))
            heard[message["stream"]] = message["data"]
    said = heard["btcusdt@aggTrade"]
    trade = exchange.parse_trade(said, market)
    assert trade["info"]["e"] == "aggTrade"
    again = exchange.fetch_trades(SYMBOL, params={"fromId": said["a"]}, limit=1)[0]
    assert all(trade[name] == again[name] for name in ("id", "price", "amount", "side"))
    book = exchange.parse_order_book(heard["btcusdt@depth20"], SYMBOL)
    assert 48_999 < book["bids"][0][0] <= book["asks"][0][0] < 51_001


def health(server) -> dict:
    return requests.get(f"{server.url}/gridberry/health", timeout=LIMIT_S).json()
