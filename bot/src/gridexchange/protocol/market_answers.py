"""The JSON that market data is answered with, field by field as Binance spells it. Pure."""

from decimal import Decimal

from gridbase.candles.price_units import from_units
from gridbase.candles.series import Candle

from gridexchange.market.klines import print_price, quote_volume
from gridexchange.market.tape import TapeTrade
from gridexchange.matching.amounts import ZERO, printed
from gridexchange.matching.matching import Engine, Level
from gridexchange.matching.orders import BUY, SELL
from gridexchange.protocol.answers import Json


def price_ticker(engine: Engine) -> Json:
    """The last price, for GET ticker/price."""
    return {"symbol": engine.rules.market.exchange_symbol, "price": printed(engine.last_price)}


def average_price(minutes: int, average: tuple[Decimal, int]) -> Json:
    """The average price of so many minutes, for GET avgPrice; `average` has its time as well."""
    price, time_ms = average
    return {"mins": minutes, "price": printed(price), "closeTime": time_ms}


def book_ticker(engine: Engine) -> Json:
    """Best bid and ask, for GET ticker/bookTicker: the prices that takers trade at."""
    return {"symbol": engine.rules.market.exchange_symbol} | _best(engine)


Rungs = tuple[list[Level], list[Level]]


def levels_of(
    engine: Engine, rungs: Rungs
) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
    """The whole book, bids and asks: the market's own offer, and the account's resting orders.

    Args:
        engine: of the symbol.
        rungs: bids and asks of others behind the best ones.
    """
    levels: dict[str, dict[Decimal, Decimal]] = {BUY: {}, SELL: {}}
    for taker, side in ((SELL, levels[BUY]), (BUY, levels[SELL])):
        side.update(engine.levels(taker))
    levels[BUY].update(rungs[0])
    levels[SELL].update(rungs[1])
    for item in engine.orders.values():
        side = levels[item.side]
        side[item.price] = side.get(item.price, ZERO) + item.remaining
    return levels[BUY], levels[SELL]


def depth(engine: Engine, update: int, limit: int, rungs: Rungs) -> Json:
    """The order book, for GET depth; see `levels_of`."""
    buys, sells = levels_of(engine, rungs)
    bids = sorted(buys.items(), reverse=True)[:limit]
    asks = sorted(sells.items())[:limit]
    return {
        "lastUpdateId": update,
        "bids": [[printed(price), printed(quantity)] for price, quantity in bids],
        "asks": [[printed(price), printed(quantity)] for price, quantity in asks],
    }


def aggregate_trade(trade: TapeTrade, time_ms: int) -> Json:
    """A trade of others, for GET aggTrades."""
    return {
        "a": trade.number,
        "p": printed(trade.price),
        "q": printed(trade.quantity),
        "f": trade.number,
        "l": trade.number,
        "T": time_ms,
        "m": trade.seller_took,
        "M": True,
    }


def day_ticker(engine: Engine, window: list[Candle]) -> Json:
    """Changes over 24 market hours, for GET ticker/24hr; `window` holds their candles."""
    first, last = window[0], window[-1]
    opening, price = from_units(first.open), engine.last_price
    change = price - opening
    volume = sum(candle.volume for candle in window)
    traded = sum(quote_volume(candle) for candle in window)
    average = traded / volume if volume else float(price)
    return {
        "symbol": engine.rules.market.exchange_symbol,
        "priceChange": printed(change),
        "priceChangePercent": f"{change / opening * 100:.3f}",
        "weightedAvgPrice": f"{average:.8f}",
        "prevClosePrice": print_price(first.open),
        "lastPrice": printed(price),
        "lastQty": printed(ZERO),
        **_best(engine),
        "openPrice": print_price(first.open),
        "highPrice": print_price(max(candle.high for candle in window)),
        "lowPrice": print_price(min(candle.low for candle in window)),
        "volume": f"{volume:.8f}",
        "quoteVolume": f"{traded:.8f}",
        "openTime": first.time,
        "closeTime": last.time,
        # A recording does not know its trades.
        "firstId": -1,
        "lastId": -1,
        "count": 0,
    }


def _best(engine: Engine) -> Json:
    """Best bid and ask, with 0 where nobody offers anything."""
    answer: Json = {}
    for name, taker in (("bid", SELL), ("ask", BUY)):
        price, quantity = next(iter(engine.levels(taker)), (ZERO, ZERO))
        answer |= {f"{name}Price": printed(price), f"{name}Qty": printed(quantity)}
    return answer
