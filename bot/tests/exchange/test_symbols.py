"""Several symbols on one account."""

import dataclasses
import os
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.errors import UserError
from gridexchange.config import load_config
from gridexchange.server import build_api, market_label

from .conftest import KEY, SECRET, Client, FakeClock, World, make_series

D = Decimal
TWO = """
fee_rate = "0.001"
max_orders = 3
speed = 60
[balances]
USDT = "1000"
BTC = "1"
ETH = "2"
[[symbols]]
symbol = "BTC/USDT"
candles = "btc.csv"
at_end = "hold"
[[symbols]]
symbol = "ETH/USDT"
tick_size = "0.5"
candles = "eth.csv"
at_end = "hold"
max_orders = 1
"""
BANDED = """
candles = "btc.csv"
balances = {USDT = "1000", BTC = "2"}
[price_band]
bid_up = "1.2"
bid_down = "0.5"
ask_up = "3"
ask_down = "0.9"
"""
BTC = [(100, 100, 100, 100), (100, 104, 90, 100), (100, 100, 100, 100)]
ETH = [(10, 10, 10, 10), (10, 12, 8, 10), (10, 10, 10, 10)]


class Served(World):
    """A world that is built from a file of settings."""

    def __init__(self, directory, text=TWO) -> None:
        self.directory = directory
        self.clock = FakeClock()
        for name, content in (("key", KEY), ("secret", SECRET)):
            (directory / name).touch(mode=0o600)
            (directory / name).write_text(content)
        for name, candles in (("btc", BTC), ("eth", ETH)):
            series = make_series(*candles)
            rows = [
                f"{series.start + n * 60_000},{','.join(map(str, row))},1"
                for n, row in enumerate(candles)
            ]
            header = "timestamp,open,high,low,close,volume"
            (directory / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")
        path = directory / "exchange.toml"
        text = text.replace('candles = "', f'candles = "{directory}/')
        path.write_text(
            f'state_directory = "{directory}/state"\napi_key_file = "{directory}/key"\n'
            f'api_secret_file = "{directory}/secret"\n{text}'
        )
        self.config = load_config(path, {})
        self.open()

    def open(self) -> None:
        self.api = build_api(self.config, self.clock)
        self.exchange = self.api.exchange
        self.store = self.exchange.store


@pytest.fixture
def world(tmp_path):
    world = Served(tmp_path)
    yield world
    world.store.close()


def legs(world, count):
    world.clock.pass_ms(count * 250)


def place(world, symbol, price, quantity="1", side="BUY", **more):
    return world.order(side, symbol=symbol, price=str(price), quantity=quantity, **more)


def test_each_symbol_has_its_rules_its_market_and_its_numbers(world):
    info = world.get("exchangeInfo").json["symbols"]
    assert [item["symbol"] for item in info] == ["BTCUSDT", "ETHUSDT"]
    ticks = [item["filters"][0]["tickSize"] for item in info]
    assert ticks == ["0.01000000", "0.50000000"]
    assert [item["price"] for item in world.get("ticker/price").json] == [
        "100.00000000",
        "10.00000000",
    ]
    assert world.get("ticker/price", symbols='["ETHUSDT"]').json == [
        {"symbol": "ETHUSDT", "price": "10.00000000"}
    ]
    assert place(world, "BTCUSDT", 95, "0.1").json["orderId"] == 1
    assert place(world, "ETHUSDT", 9).json["orderId"] == 1
    assert place(world, "BTCUSDT", 80, "0.1").json["orderId"] == 2
    assert place(world, "ETHUSDT", "8.7").error[1:] == (-1013, "Filter failure: PRICE_FILTER")
    assert place(world, "ETHUSDT", 8).error[1:] == (-1013, "Filter failure: MAX_NUM_ORDERS")
    legs(world, 5)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        (trade,) = world.signed("GET", "myTrades", symbol=symbol).json
        assert (trade["symbol"], trade["id"], trade["orderId"]) == (symbol, 1, 1)
    (open_order,) = world.signed("GET", "openOrders").json
    assert (open_order["symbol"], open_order["orderId"]) == ("BTCUSDT", 2)
    assert world.signed("GET", "openOrders", symbol="ETHUSDT").json == []


def test_one_account_pays_for_all(world):
    place(world, "BTCUSDT", 90, "10")
    assert place(world, "ETHUSDT", 9, "12").error[1] == -2010
    assert place(world, "ETHUSDT", 9, "11").status == 200
    assert world.account()["USDT"] == (D(1), D(999))
    legs(world, 5)
    account = world.account()
    assert account["USDT"] == (1, 0)
    assert account["BTC"] == (D("10.99"), 0)
    assert account["ETH"] == (D("12.989"), 0)


def test_the_same_client_order_id_may_stand_for_an_order_of_each(world):
    for symbol in ("BTCUSDT", "ETHUSDT"):
        assert place(world, symbol, 9 if symbol == "ETHUSDT" else 90, newClientOrderId="pi1-1")
    for symbol, price in (("BTCUSDT", 90), ("ETHUSDT", 9)):
        found = world.signed("GET", "order", symbol=symbol, origClientOrderId="pi1-1").json
        assert D(found["price"]) == price
    gone = world.signed("DELETE", "openOrders", symbol="BTCUSDT").json
    assert len(gone) == 1
    assert len(world.signed("GET", "openOrders").json) == 1


def test_books_of_all_survive_a_power_cut(world):
    place(world, "BTCUSDT", 95, "0.1")
    place(world, "ETHUSDT", 9)
    legs(world, 5)
    before = world.account()
    world.store.close()
    world.open()
    assert world.account() == before
    positions = [listing.position for listing in world.exchange.listings.values()]
    assert positions == [5, 5]
    assert place(world, "ETHUSDT", 9).json["orderId"] == 2


def test_streams_of_all_on_one_connection(world):
    client = Client(world, world.api.streams.connect("/ws-api/v3", "", "10.0.0.2"))
    client.signed("userDataStream.subscribe.signature")
    names = "streams=btcusdt@kline_1m/ethusdt@kline_1m"
    market = Client(world, world.api.streams.connect("/stream", names, "10.0.0.2"))
    market.messages()
    place(world, "BTCUSDT", 95, "0.1")
    place(world, "ETHUSDT", 9)
    legs(world, 5)
    events = [message["event"] for message in client.messages()]
    reports = [(e["s"], e["x"], e["t"]) for e in events if e["e"] == "executionReport"]
    assert reports == [
        ("BTCUSDT", "NEW", -1),
        ("ETHUSDT", "NEW", -1),
        ("BTCUSDT", "TRADE", 1),
        ("ETHUSDT", "TRADE", 1),
    ]
    assert [message["stream"] for message in market.messages()] == [
        "btcusdt@kline_1m",
        "ethusdt@kline_1m",
    ]


def test_a_symbol_may_be_added_to_the_books_but_not_taken_away(tmp_path):
    one = TWO.partition('[[symbols]]\nsymbol = "ETH')[0]
    world = Served(tmp_path, one)
    place(world, "BTCUSDT", 80, "0.1")
    world.store.close()
    world = Served(tmp_path)
    assert len(world.signed("GET", "openOrders").json) == 1
    assert world.account()["USDT"] == (D(992), D(8))
    world.store.close()
    with pytest.raises(UserError, match="holds the books of BTC/USDT, ETH/USDT, not of BTC/USDT"):
        Served(tmp_path, one)


def test_the_label_names_every_market(world):
    assert market_label(world.config) == (
        "BTCUSDT recorded btc.csv speed=60, ETHUSDT recorded eth.csv speed=60"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("symbols = 5", "symbols = 5: needs tables, such as"),
        ("symbols = []", "symbols = []: needs tables, such as"),
        ("[[symbols]]\nseed = 5", "table 1: needs a table with symbol"),
        ('symbol = "A/B"\n[[symbols]]\nsymbol = "A/B"', "symbol stands in each of [[symbols]]"),
        (
            '[[symbols]]\nsymbol = "A/B"\nfee_rate = "0"',
            "table 1: fee_rate is no setting of a symbol; these are symbol, candles",
        ),
        ('[[symbols]]\nsymbol = "A/B"\n[[symbols]]\nsymbol = "A/B"', "needs each symbol once"),
        (
            '[[symbols]]\nsymbol = "A/B"\n[[symbols]]\nsymbol = "C/B"\ntick_size = "x"',
            "table 2: tick_size = 'x': needs an amount above 0",
        ),
        ('[price_band]\nbid = "2"', "price_band = {'bid': '2'}: needs a table with bid_up"),
        ("[price_band]\nbid_up = 2.5", "bid_up = 2.5: needs quotes"),
        ('[price_band]\nask_up = "0.5"', "needs multiples down of at most 1 and up of at"),
    ],
)
def test_bad_settings(tmp_path, text, line):
    with pytest.raises(UserError) as wrong:
        Served(tmp_path, text)
    assert line in str(wrong.value)


def test_the_price_band_is_told_and_enforced_by_side(tmp_path):
    world = Served(tmp_path, BANDED)
    info = world.get("exchangeInfo").json["symbols"][0]
    filters = {item["filterType"]: item for item in info["filters"]}
    told = filters["PERCENT_PRICE_BY_SIDE"]
    assert [told[name] for name in sorted(told) if "Multiplier" in name] == [
        "0.9",
        "3",
        "0.5",
        "1.2",
    ]
    refused = (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE")
    assert place(world, "BTCUSDT", "49.99").error[1:] == refused
    assert place(world, "BTCUSDT", "120.01").error[1:] == refused
    assert place(world, "BTCUSDT", "300.01", side="SELL").error[1:] == refused
    assert place(world, "BTCUSDT", "89.99", side="SELL").error[1:] == refused
    assert place(world, "BTCUSDT", "50").status == 200
    assert place(world, "BTCUSDT", "300", side="SELL").status == 200
    world.store.close()


def test_books_in_memory_leave_nothing_behind(world):
    world.store.close()
    memory = dataclasses.replace(world.config, state_directory=Path(":memory:"))
    api = build_api(memory, world.clock)
    other = build_api(memory, world.clock)
    world.api, world.exchange, world.store = api, api.exchange, api.exchange.store
    place(world, "BTCUSDT", 80, "0.1")
    assert len(world.signed("GET", "openOrders").json) == 1
    assert not other.exchange.store.open_orders("BTCUSDT")
    other.exchange.close()


def test_books_in_memory_can_be_forked(world):
    """A child has books of its own, which what it does to them stays in."""
    world.store.close()
    memory = dataclasses.replace(world.config, state_directory=Path(":memory:"))
    world.api = build_api(memory, world.clock)
    world.exchange, world.store = world.api.exchange, world.api.exchange.store
    place(world, "BTCUSDT", 80, "0.1")
    child = os.fork()
    if child == 0:
        orders = 0
        try:
            place(world, "BTCUSDT", 81, "0.1")
            orders = len(world.signed("GET", "allOrders", symbol="BTCUSDT").json)
        finally:
            os._exit(orders)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert len(world.signed("GET", "allOrders", symbol="BTCUSDT").json) == 1
