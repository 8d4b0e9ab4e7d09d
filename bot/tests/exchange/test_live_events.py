"""Messages as Binance's documents have them, read here and by the unmodified ccxt."""

from decimal import Decimal

import ccxt
import pytest
from gridbase.candles.series import Candle
from gridexchange.live import events
from gridexchange.matching.rules import PriceBand

from .conftest import make_rules

FILTERS = [
    {
        "filterType": "PRICE_FILTER",
        "minPrice": "0.01000000",
        "maxPrice": "1000000.00000000",
        "tickSize": "0.01000000",
    },
    {
        "filterType": "LOT_SIZE",
        "minQty": "0.00010000",
        "maxQty": "9000.00000000",
        "stepSize": "0.00001000",
    },
    {"filterType": "ICEBERG_PARTS", "limit": 100},
    {
        "filterType": "MARKET_LOT_SIZE",
        "minQty": "0.00000000",
        "maxQty": "86.25000000",
        "stepSize": "0.00000000",
    },
    {"filterType": "TRAILING_DELTA", "minTrailingAboveDelta": 10, "maxTrailingAboveDelta": 2000},
    {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
    {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
]
BAND = {
    "filterType": "PERCENT_PRICE_BY_SIDE",
    "bidMultiplierUp": "5",
    "bidMultiplierDown": "0.2",
    "askMultiplierUp": "4",
    "askMultiplierDown": "0.1",
    "avgPriceMins": 5,
}
OLD_BAND = {
    "filterType": "PERCENT_PRICE",
    "multiplierUp": "1.3",
    "multiplierDown": "0.7",
    "avgPriceMins": 1,
}
NOTIONAL = {
    "filterType": "NOTIONAL",
    "minNotional": "5.00000000",
    "applyMinToMarket": True,
    "maxNotional": "9000000.00000000",
    "applyMaxToMarket": False,
    "avgPriceMins": 5,
}
OLD_NOTIONAL = {
    "filterType": "MIN_NOTIONAL",
    "minNotional": "10.00000000",
    "applyToMarket": True,
    "avgPriceMins": 5,
}


def symbol(*more, status="TRADING") -> dict:
    return {
        "symbol": "BTCUSDT",
        "status": status,
        "baseAsset": "BTC",
        "baseAssetPrecision": 8,
        "quoteAsset": "USDT",
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": [*FILTERS, *more],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


@pytest.mark.parametrize(
    ("band", "notional", "kept", "least", "most"),
    [
        (
            BAND,
            NOTIONAL,
            PriceBand(Decimal(5), Decimal("0.2"), Decimal(4), Decimal("0.1"), 5),
            5,
            9e6,
        ),
        (OLD_BAND, OLD_NOTIONAL, PriceBand(*map(Decimal, ("1.3", "0.7") * 2), 1), 10, None),
    ],
)
def test_rules_are_those_that_ccxt_reads(band, notional, kept, least, most):
    rules = events.listed(
        symbol(band, notional), make_rules(fee_rate="0.0007", lot_size=Decimal(1))
    )
    no_margin = {"crossMarginPairsData": [], "isolatedMarginPairsData": []}
    market = ccxt.binance({"options": no_margin}).parse_market(symbol(band, notional))
    found, limits = rules.market, market["limits"]
    assert (found.tick_size, found.lot_size) == (Decimal("0.01"), Decimal("0.00001"))
    assert float(found.tick_size) == market["precision"]["price"]
    assert float(found.lot_size) == market["precision"]["amount"]
    assert float(found.min_quantity) == limits["amount"]["min"] == 0.0001
    assert float(found.max_quantity) == limits["amount"]["max"]
    assert float(found.max_price) == limits["price"]["max"]
    assert float(found.min_notional) == limits["cost"]["min"] == least
    assert found.max_notional == most
    assert (found.max_orders, rules.band, rules.status) == (200, kept, "TRADING")
    assert str(rules.fee_rate) == "0.0007"


def test_a_symbol_whose_status_is_break_is_not_traded():
    rules = events.listed(symbol(BAND, NOTIONAL, status="BREAK"), make_rules())
    assert rules.status == "BREAK"


def test_trade_book_and_candle():
    said = {
        "e": "aggTrade",
        "E": 1672515782136,
        "s": "BNBBTC",
        "a": 12345,
        "p": "0.001",
        "q": "100",
        "f": 100,
        "l": 105,
        "T": 1672515782130,
        "m": True,
        "M": True,
    }
    trade = events.traded(said)
    read = ccxt.binance().parse_trade(said)
    assert (trade.number, trade.time_ms) == (int(read["id"]), read["timestamp"])
    assert (float(trade.price), float(trade.quantity)) == (read["price"], read["amount"])
    assert trade.seller_took is (read["side"] == "sell")

    book = {"lastUpdateId": 160, "bids": [["0.0024", "10"]], "asks": [["0.0026", "100"]]}
    shown = events.shown(book)
    read = ccxt.binance().parse_order_book(book, "BNB/BTC")
    assert [tuple(map(float, level)) for level in shown.bids] == [tuple(read["bids"][0])]
    assert [tuple(map(float, level)) for level in shown.asks] == [tuple(read["asks"][0])]

    kline = {
        "t": 1672515780000,
        "T": 1672515839999,
        "s": "BNBBTC",
        "i": "1m",
        "f": 100,
        "L": 200,
        "o": "0.0010",
        "c": "0.0020",
        "h": "0.0025",
        "l": "0.0015",
        "v": "1000",
        "n": 100,
        "x": False,
        "q": "1.0000",
        "V": "500",
        "Q": "0.500",
        "B": "123456",
    }
    candle = Candle(1672515780000, 100_000, 250_000, 150_000, 200_000, 1000.0)
    assert events.streamed_candle({"e": "kline", "k": kline}) == candle
    row = [1672515780000, "0.0010", "0.0025", "0.0015", "0.0020", "1000", 1672515839999]
    assert events.candle(row) == candle
    assert ccxt.binance().parse_ohlcv(row)[1:] == [0.001, 0.0025, 0.0015, 0.002, 1000.0]
