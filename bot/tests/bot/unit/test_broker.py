"""Binance's addresses, answers and failures, read; what is done with them: tests/connectivity."""

import copy
from decimal import Decimal
from pathlib import Path

import pytest
import requests
from gridbase.clock import SystemClock
from gridbase.errors import UserError
from gridbot.config.load import LIVE_CONFIRMATION, parse_config
from gridbot.exchanges.binance.account import BinanceAccount
from gridbot.exchanges.binance.account_stream import signature
from gridbot.exchanges.binance.answers import failure_kind, read_market, read_report
from gridbot.exchanges.binance.connection import stream_urls
from gridbot.exchanges.binance.rest import BinanceRest
from gridbot.exchanges.ccxt.connection import _client
from gridbot.exchanges.port import Failure, RemoteOrder, RemoteTrade
from gridbot.service.status import base_document

PAPER = {
    "bot_name": "pi1",
    "exchange": {
        "name": "binance",
        "url": "http://exchange:8000",
        "api_key_file": "/run/secrets/key",
        "api_secret_file": "/run/secrets/secret",
    },
    "market": {"symbol": "BTC/USDT"},
    "grid": {"lower": "45000", "upper": "65000", "grids": 5, "investment": "10000"},
}


def account(document):
    config = parse_config(document, Path("bot.toml")).account
    return BinanceAccount(config, "key", "secret", clock=SystemClock())


@pytest.mark.parametrize("name", ["binance", "binanceus"])
def test_a_paper_bot_knows_one_address(name):
    document = copy.deepcopy(PAPER)
    document["exchange"]["name"] = name
    client = account(document).rest._client
    assert client.id == name
    own = {"http://exchange:8000/api/v3", "http://exchange:8000/sapi/v1"}
    assert set(client.urls["api"].values()) == own


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("binance", "https://api.binance.com/api/v3"),
        ("binanceus", "https://api.binance.us/api/v3"),
    ],
)
def test_a_live_bot_talks_to_the_exchange_itself(name, address):
    document = copy.deepcopy(PAPER) | {"mode": "live", "live_confirmation": LIVE_CONFIRMATION}
    document["exchange"]["name"] = name
    del document["exchange"]["url"]
    assert account(document).address == address


@pytest.mark.parametrize(
    ("status", "code", "text", "kind"),
    [
        (400, -2013, "Order does not exist.", Failure.NOT_FOUND),
        (400, -2011, "Unknown order sent.", Failure.NOT_FOUND),
        (400, -2011, "Market is closed.", Failure.REJECTED),
        (400, -2011, "This account may not place or cancel orders.", Failure.REJECTED),
        (400, -2011, "This action is disabled on this account.", Failure.REJECTED),
        (401, -2015, "Invalid API-key, IP, or permissions for action.", Failure.AUTH),
        (400, -2014, "API-key format invalid.", Failure.AUTH),
        (400, -1022, "Signature for this request is not valid.", Failure.AUTH),
        (400, -1021, "Timestamp is outside of the recvWindow.", Failure.CLOCK),
        (429, -1003, "Too much request weight used.", Failure.RATE_LIMITED),
        (418, -1003, "Way too much request weight used; banned.", Failure.RATE_LIMITED),
        (429, -1015, "Too many new orders.", Failure.RATE_LIMITED),
        (403, None, "HTTP 403 Forbidden", Failure.RATE_LIMITED),
        (400, -2010, "Account has insufficient balance.", Failure.REJECTED),
        (400, -2010, "Duplicate order sent.", Failure.AMBIGUOUS),
        (400, -1013, "Filter failure: LOT_SIZE", Failure.REJECTED),
        (400, -1007, "Timeout waiting for response from backend server.", Failure.AMBIGUOUS),
        (503, -1008, "Server is currently overloaded.", Failure.AMBIGUOUS),
        (500, None, "HTTP 500", Failure.AMBIGUOUS),
        (200, None, "HTTP 200 OK", Failure.AMBIGUOUS),
        (404, None, "HTTP 404 Not Found", Failure.UNREACHABLE),
    ],
)
def test_every_failure_has_one_kind(status, code, text, kind):
    assert failure_kind(status, code, text) is kind


@pytest.mark.parametrize(
    ("changes", "urls"),
    [
        ({}, None),
        (
            {"stream_url": "ws://exchange:8001"},
            ("ws://exchange:8001", "ws://exchange:8001"),
        ),
        ({"stream_url": "ws://exchange:8001", "name": "binanceus"}, None),
    ],
)
def test_a_paper_bot_knows_no_other_streams_than_it_is_told(changes, urls):
    document = copy.deepcopy(PAPER)
    document["exchange"] |= changes
    assert stream_urls(parse_config(document, Path("bot.toml")).account.exchange) == urls


@pytest.mark.parametrize(
    ("name", "urls"),
    [
        ("binance", ("wss://ws-api.binance.com:443", "wss://stream.binance.com:443")),
        ("binanceus", None),
    ],
)
def test_a_live_bot_knows_the_exchanges_streams(name, urls):
    document = copy.deepcopy(PAPER) | {"mode": "live", "live_confirmation": LIVE_CONFIRMATION}
    document["exchange"]["name"] = name
    del document["exchange"]["url"]
    assert stream_urls(parse_config(document, Path("bot.toml")).account.exchange) == urls


def with_testnet(name: str = "binance"):
    document = copy.deepcopy(PAPER)
    document["exchange"] = {**document["exchange"], "name": name, "testnet": True}
    del document["exchange"]["url"]
    return parse_config(document, Path("bot.toml"))


def on_testnet(name: str = "binance"):
    return with_testnet(name).account.exchange


def addresses(urls: object) -> list[str]:
    if isinstance(urls, dict):
        return [address for each in urls.values() for address in addresses(each)]
    return [str(urls)]


def test_a_status_on_the_testnet_says_so_before_the_exchange_answers():
    config = with_testnet()
    document = base_document(config.account, config.grids[0])
    assert (document["market"], document["prices"]) == ("testnet", "testnet")


def test_a_bot_on_the_testnet_knows_no_address_of_the_exchange_itself():
    config = on_testnet()
    rest = BinanceRest(config, "key", "secret", now_ms=lambda: 0, on_weight=lambda _: None)
    assert rest.address == "https://testnet.binance.vision/api/v3"
    client = rest._client
    assert client.urls["api"]["public"] == rest.address
    assert {address.split("/")[2] for address in addresses(client.urls)} == {
        *("testnet.binance.vision", "testnet.binancefuture.com"),
    }
    assert stream_urls(config) == (
        "wss://ws-api.testnet.binance.vision:443",
        "wss://stream.testnet.binance.vision:443",
    )
    rest.close()


def test_other_exchanges_have_a_testnet_where_ccxt_knows_one():
    session = requests.Session()
    client = _client(on_testnet("bybit"), "key", "secret", session)
    assert all("testnet" in address for address in addresses(client.urls))
    with pytest.raises(UserError, match="ccxt knows no test network of kraken; leave it out"):
        _client(on_testnet("kraken"), "key", "secret", session)


REPORT = {
    "e": "executionReport",
    "s": "BTCUSDT",
    "c": "pi1-a",
    "S": "SELL",
    "q": "1.00000000",
    "p": "0.10264410",
    "C": "",
    "x": "NEW",
    "X": "NEW",
    "i": 4293153,
    "l": "0.00000000",
    "z": "0.00000000",
    "L": "0.00000000",
    "n": "0",
    "N": None,
    "T": 1499405658657,
    "t": -1,
    "m": False,
    "Y": "0.00000000",
}
TRADE = {
    "x": "TRADE",
    "X": "PARTIALLY_FILLED",
    "l": "0.4",
    "z": "0.6",
    "L": "0.1027",
    "n": "0.00004",
    "N": "USDT",
    "t": 77,
    "m": True,
    "Y": "0.04108",
}


def test_a_new_order_is_told_without_a_trade():
    event = read_report(REPORT)
    order = RemoteOrder(
        exchange_id="4293153",
        client_id="pi1-a",
        side="sell",
        price=Decimal("0.10264410"),
        quantity=Decimal(1),
        executed=Decimal(0),
        closed=False,
    )
    assert (event.order, event.trade) == (order, None)


def test_a_trade_is_told_with_its_fee():
    event = read_report(REPORT | TRADE)
    assert (event.order.executed, event.order.closed) == (Decimal("0.6"), False)
    assert event.trade == RemoteTrade(
        trade_id="77",
        exchange_id="4293153",
        side="sell",
        price=Decimal("0.1027"),
        quantity=Decimal("0.4"),
        quote=Decimal("0.04108"),
        commission=Decimal("0.00004"),
        commission_coin="USDT",
        time_ms=1499405658657,
        maker=True,
    )


def test_a_trade_that_names_no_coin_for_its_fee_is_left_to_be_asked_for():
    event = read_report(REPORT | TRADE | {"n": "0", "N": None})
    assert (event.order.executed, event.trade) == (Decimal("0.6"), None)


def test_a_canceled_order_is_told_under_its_own_name():
    canceled = {"x": "CANCELED", "X": "CANCELED", "c": "name-of-the-cancellation", "C": "pi1-a"}
    event = read_report(REPORT | canceled)
    assert (event.order.client_id, event.order.closed) == ("pi1-a", True)


@pytest.mark.parametrize(
    ("kind", "status", "closed"),
    [
        ("EXPIRED", "EXPIRED", True),
        ("REJECTED", "REJECTED", True),
        ("TRADE_PREVENTION", "EXPIRED_IN_MATCH", True),
        ("TRADE", "FILLED", True),
        ("REPLACED", "NEW", False),
        ("NEW", "PENDING_NEW", False),
    ],
)
def test_an_order_is_closed_by_its_status(kind, status, closed):
    assert read_report(REPORT | {"x": kind, "X": status}).order.closed is closed


def test_a_requests_signature_is_the_one_of_binances_documentation():
    # https://developers.binance.com/docs/binance-spot-api-docs/websocket-api/request-security
    key = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
    secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
    parameters = {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.01000000",
        "price": "52000.00",
        "recvWindow": 100,
        "timestamp": 1645423376532,
        "apiKey": key,
    }
    expected = "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"
    assert signature(parameters, secret.encode()) == expected


FILTERS = [
    {"filterType": "PRICE_FILTER", "tickSize": "0.01000000"},
    {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
    {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
]
BY_SIDE = {
    "filterType": "PERCENT_PRICE_BY_SIDE",
    "bidMultiplierUp": "5",
    "bidMultiplierDown": "0.2",
    "askMultiplierUp": "4",
    "askMultiplierDown": "0.5",
}
BOTH = {"filterType": "PERCENT_PRICE", "multiplierUp": "3", "multiplierDown": "0.3"}


@pytest.mark.parametrize(
    ("more", "buy_band", "sell_band"),
    [
        ([], None, None),
        ([BY_SIDE], (Decimal("0.2"), Decimal(5)), (Decimal("0.5"), Decimal(4))),
        ([BOTH], (Decimal("0.3"), Decimal(3)), (Decimal("0.3"), Decimal(3))),
    ],
)
def test_price_bands_are_read(more, buy_band, sell_band):
    row = {"baseAsset": "BTC", "quoteAsset": "USDT", "filters": FILTERS + more}
    market = read_market("BTC/USDT", row)
    assert (market.tick_size, market.min_notional) == (Decimal("0.01"), Decimal(5))
    assert (market.buy_band, market.sell_band) == (buy_band, sell_band)


def test_the_largest_notional_is_read():
    row = {"baseAsset": "BTC", "quoteAsset": "USDT", "filters": FILTERS}
    assert read_market("BTC/USDT", row).max_notional is None
    rules = {"minNotional": "5", "maxNotional": "9000000.00"}
    kept = [one for one in FILTERS if one["filterType"] not in {"NOTIONAL", "MIN_NOTIONAL"}]
    row["filters"] = [*kept, {"filterType": "NOTIONAL"} | rules]
    assert read_market("BTC/USDT", row).max_notional == Decimal(9_000_000)
    row["filters"] = [*kept, {"filterType": "NOTIONAL"} | rules | {"maxNotional": "0.00"}]
    assert read_market("BTC/USDT", row).max_notional is None


@pytest.mark.parametrize(
    ("texts", "bounds"),
    [
        ({"minPrice": "0.01000000", "maxPrice": "1000000.00000000"}, ("0.01", "1000000")),
        ({"minPrice": "0.00000000", "maxPrice": "0.00000000"}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_the_bounds_of_prices_are_read(texts, bounds):
    filters = [FILTERS[0] | texts, *FILTERS[1:]]
    row = {"baseAsset": "BTC", "quoteAsset": "USDT", "filters": filters}
    market = read_market("BTC/USDT", row)
    expected = tuple(None if bound is None else Decimal(bound) for bound in bounds)
    assert (market.min_price, market.max_price) == expected
