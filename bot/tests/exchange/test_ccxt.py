"""The real ccxt classes over loopback HTTP, signing for real."""

import time

import ccxt
import pytest

from .conftest import KEY, SECRET

SYMBOL = "BTC/USDT"


@pytest.fixture
def server(make_server, tmp_path):
    candles = tmp_path / "candles.csv"
    start = 1_640_991_660_000
    rows = [f"{start + n * 60_000},50000.0,51000.0,49000.0,50000.0,12.5\n" for n in range(100)]
    candles.write_text("timestamp,open,high,low,close,volume\n" + "".join(rows))
    return make_server("--candles", str(candles), "--speed", "600", "--balance", "USDT=10000")


def client(server, name="binance", key=KEY, secret=SECRET, **options):
    spot_only = {"fetchCurrencies": False, "fetchMargins": False}
    exchange = getattr(ccxt, name)(
        {
            "apiKey": key,
            "secret": secret,
            "enableRateLimit": False,
            "options": spot_only | {"fetchMarkets": {"types": ["spot"]}} | options,
        }
    )
    for api in ("public", "private"):
        exchange.urls["api"][api] = f"{server.url}/api/v3"
    exchange.urls["api"]["v1"] = f"{server.url}/api/v1"
    return exchange


@pytest.mark.parametrize("name", ["binance", "binanceus"])
def test_a_trader_finds_what_binance_offers(server, name):
    exchange = client(server, name)
    market = exchange.load_markets()[SYMBOL]
    assert market["precision"]["price"] == 0.01
    assert market["precision"]["amount"] == 0.00001
    assert market["limits"]["cost"]["min"] == 5
    assert market["limits"]["amount"]["min"] == 0.00001
    assert exchange.fetch_balance()["USDT"]["free"] == 10_000
    assert exchange.fetch_ticker(SYMBOL)["last"] in (49000, 50000, 51000)
    assert exchange.fetch_ohlcv(SYMBOL, "1m")[0][:2] == [1_640_991_660_000, 50_000]
    assert exchange.fetch_order_book(SYMBOL)["bids"][0][0] in (49000, 50000, 51000)
    assert exchange.last_response_headers["X-Gridberry-Market"].startswith("recorded candles.csv")

    bought = exchange.create_order(SYMBOL, "market", "buy", 0.02)
    assert (bought["status"], bought["filled"]) == ("closed", 0.02)
    assert bought["fee"] == {"currency": "BTC", "cost": 0.00002}

    name = {"newClientOrderId": "pi1-sell-1"}
    sell = exchange.create_order(SYMBOL, "limit", "sell", 0.01, 100_000, name)
    assert (sell["status"], sell["clientOrderId"]) == ("open", "pi1-sell-1")
    with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
        exchange.create_order(SYMBOL, "limit", "sell", 0.001, 100_000, name)
    by_name = exchange.fetch_order(None, SYMBOL, {"origClientOrderId": "pi1-sell-1"})
    assert by_name["id"] == sell["id"]
    assert [order["id"] for order in exchange.fetch_open_orders(SYMBOL)] == [sell["id"]]
    assert exchange.fetch_balance()["BTC"]["used"] == 0.01
    assert exchange.cancel_order(sell["id"], SYMBOL)["status"] == "canceled"
    trades = exchange.fetch_my_trades(SYMBOL, None, None, {"fromId": 1})
    assert [(trade["order"], trade["takerOrMaker"]) for trade in trades] == [
        (bought["id"], "taker")
    ]
    assert [order["status"] for order in exchange.fetch_orders(SYMBOL)] == ["closed", "canceled"]


def test_candles_move_the_price_and_fill_orders(server):
    exchange = client(server)
    exchange.create_order(SYMBOL, "market", "buy", 0.02)
    orders = [
        exchange.create_order(SYMBOL, "limit", "sell", 0.01, 51_000),
        exchange.create_order(SYMBOL, "limit", "buy", 0.01, 49_000),
    ]
    deadline = time.monotonic() + 30
    prices = set()
    while len(prices) < 3 or exchange.fetch_open_orders(SYMBOL):
        prices.add(exchange.fetch_ticker(SYMBOL)["last"])
        assert time.monotonic() < deadline
        time.sleep(0.03)
    assert prices == {49_000, 50_000, 51_000}
    for order in orders:
        closed = exchange.fetch_order(order["id"], SYMBOL)
        assert (closed["status"], closed["average"]) == ("closed", order["price"])


def test_errors_arrive_as_ccxt_classes(server):
    exchange = client(server)
    exchange.load_markets()

    def refused(error, side="buy", amount=0.001, price=40_000, **params):
        with pytest.raises(error):
            exchange.create_order(SYMBOL, "limit", side, amount, price, params)

    refused(ccxt.InsufficientFunds, amount=1)
    refused(ccxt.InsufficientFunds, side="sell", amount=1, price=60_000)
    refused(ccxt.OrderImmediatelyFillable, price=60_000, postOnly=True)
    refused(ccxt.BadRequest, amount=0.0001)  # NOTIONAL
    refused(ccxt.InvalidOrder, price=5_000, amount=0.01)  # PERCENT_PRICE_BY_SIDE
    with pytest.raises(ccxt.InvalidOrder, match="PRICE_FILTER"):
        exchange.privatePostOrder(
            {
                "symbol": "BTCUSDT",
                "side": "BUY",
                "type": "LIMIT",
                "timeInForce": "GTC",
                "quantity": "0.001",
                "price": "40000.001",
            }
        )
    with pytest.raises(ccxt.OrderNotFound):
        exchange.fetch_order("99", SYMBOL)
    with pytest.raises(ccxt.OrderNotFound):
        exchange.cancel_order("99", SYMBOL)
    with pytest.raises(ccxt.BadSymbol):
        exchange.publicGetTickerPrice({"symbol": "NOSUCH"})


def test_wrong_credentials_and_clock(server):
    with pytest.raises(ccxt.AuthenticationError, match="-2015"):
        client(server, key="wrong").fetch_balance()
    with pytest.raises(ccxt.AuthenticationError, match="-2014"):
        client(server, key="!").fetch_balance()
    with pytest.raises(ccxt.AuthenticationError, match="-1022"):
        client(server, secret="wrong").fetch_balance()
    with pytest.raises(ccxt.InvalidNonce, match="-1021"):
        client(server, timeDifference=3_600_000).fetch_balance()


@pytest.fixture
def wide(make_server, tmp_path):
    """A market that stands still, with a spread, fees in BNB, and no orders that meet."""
    (tmp_path / "candles.csv").write_text(
        "timestamp,open,high,low,close,volume\n1640991660000,50000,50000,50000,50000,1\n"
    )
    (tmp_path / "exchange.toml").write_text(
        'candles = "candles.csv"\nspread = "0.002"\nself_trade_prevention = "EXPIRE_MAKER"\n'
        'fee_in = "bnb"\nbnb_price = "500"\n'
        'balances = {USDT = "10000", BTC = "1", BNB = "0.003"}\n'
        "[price_band]\nminutes = 5\n".replace("candles.csv", str(tmp_path / "candles.csv"))
    )
    return make_server("--config", str(tmp_path / "exchange.toml"))


def test_a_trader_meets_a_spread_its_own_orders_and_fees_in_bnb(wide):
    exchange = client(wide)
    book = exchange.fetch_order_book(SYMBOL)
    assert (book["bids"][0][0], book["asks"][0][0]) == (49_950, 50_050)
    assert exchange.fetch_bids_asks([SYMBOL])[SYMBOL]["ask"] == 50_050
    assert exchange.publicGetAvgPrice({"symbol": "BTCUSDT"})["price"] == "50000.00000000"
    own = exchange.create_order(SYMBOL, "limit", "sell", 0.01, 50_010)
    bought = exchange.create_order(SYMBOL, "market", "buy", 0.02)
    assert (bought["status"], bought["average"]) == ("closed", 50_050)
    # 1001 USDT are 2.002 BNB: 0.1 % of that, less a quarter.
    assert bought["fee"] == {"currency": "BNB", "cost": 0.0015015}
    met = exchange.fetch_order(own["id"], SYMBOL)
    assert (met["status"], met["info"]["status"]) == ("expired", "EXPIRED_IN_MATCH")
    # What is left of the BNB is too little for another one.
    again = exchange.create_order(SYMBOL, "market", "buy", 0.02)
    assert again["fee"] == {"currency": "BTC", "cost": 0.00002}
    # Two have traded, and the one that met an own order still counts.
    assert int(exchange.privateGetRateLimitOrder()[1]["count"]) == 1


def test_an_order_is_edited_and_time_is_told_in_microseconds(wide):
    exchange = client(wide, recvWindow="4999.5")
    exchange.load_markets()
    first = exchange.create_order(SYMBOL, "limit", "buy", 0.01, 40_000)
    edited = exchange.edit_order(first["id"], SYMBOL, "limit", "buy", 0.02, 41_000)
    assert (edited["status"], edited["price"], edited["amount"]) == ("open", 41_000, 0.02)
    assert [order["price"] for order in exchange.fetch_open_orders(SYMBOL)] == [41_000]
    with pytest.raises(ccxt.BaseError, match="-2022"):
        exchange.edit_order(first["id"], SYMBOL, "limit", "buy", 0.02, 42_000)
    exchange.headers = {"X-MBX-TIME-UNIT": "MICROSECOND"}
    (order,) = exchange.privateGetOpenOrders({"symbol": "BTCUSDT"})
    assert len(str(order["time"])) == len(str(first["timestamp"])) + 3


def test_used_up_weight(make_server, tmp_path):
    config = tmp_path / "exchange.toml"
    config.write_text("weight_per_minute = 50\n")
    exchange = client(make_server("--config", str(config)))
    # 60 in one minute, or in two when a minute just ends: the sixth is over in any case.
    answers = []
    for _ in range(6):
        try:
            exchange.publicGetExchangeInfo()
        except ccxt.DDoSProtection as error:
            answers.append(str(error))
    assert "-1003" in answers[-1]
    assert int(exchange.last_response_headers["Retry-After"]) <= 60
