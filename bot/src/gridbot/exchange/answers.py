"""The JSON that the API answers with, field by field as Binance spells it. Pure."""

from collections.abc import Iterable
from decimal import Decimal

from gridbot.candles.series import Candle
from gridbot.candles.units import from_units
from gridbot.exchange.amounts import ZERO, printed
from gridbot.exchange.engine import Engine, Rules
from gridbot.exchange.limits import Limits
from gridbot.exchange.market_data import print_price, quote_volume
from gridbot.exchange.orders import BUY, LIMIT, LIMIT_MAKER, MARKET, SELL, Balance, Order, Trade
from gridbot.market import plain

Json = dict[str, object]

NO_LIST = -1
BASIS_POINT = Decimal("0.0001")
SELF_TRADE_PREVENTION = "NONE"  # one account trades here, and never with itself


def exchange_info(rules: Iterable[Rules], limits: Limits, now_ms: int) -> Json:
    """Trading rules by symbol, for GET exchangeInfo."""
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [
            _rate_limit("REQUEST_WEIGHT", "MINUTE", 1, limits.weight_per_minute),
            _rate_limit("ORDERS", "SECOND", 10, limits.orders_per_10s),
            _rate_limit("ORDERS", "DAY", 1, limits.orders_per_day),
        ],
        "exchangeFilters": [],
        "symbols": [_symbol_info(item) for item in rules],
    }


def _rate_limit(kind: str, interval: str, number: int, limit: int) -> Json:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def _symbol_info(rules: Rules) -> Json:
    market = rules.market
    return {
        "symbol": market.exchange_symbol,
        "status": "TRADING",
        "baseAsset": market.base,
        "baseAssetPrecision": 8,
        "quoteAsset": market.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": [LIMIT, LIMIT_MAKER, MARKET],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(rules),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": SELF_TRADE_PREVENTION,
        "allowedSelfTradePreventionModes": [SELF_TRADE_PREVENTION],
    }


def _filters(rules: Rules) -> list[Json]:
    market = rules.market
    band = rules.band
    filters: list[Json] = [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": printed(market.tick_size),
            "maxPrice": printed(rules.max_price),
            "tickSize": printed(market.tick_size),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": printed(market.min_quantity),
            "maxQty": printed(market.max_quantity or ZERO),
            "stepSize": printed(market.lot_size),
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": plain(band.bid_up),
            "bidMultiplierDown": plain(band.bid_down),
            "askMultiplierUp": plain(band.ask_up),
            "askMultiplierDown": plain(band.ask_down),
            "avgPriceMins": 0,  # the last price is what counts
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": printed(market.min_notional),
            "applyMinToMarket": True,
            "maxNotional": printed(rules.max_notional),
            "applyMaxToMarket": False,
            "avgPriceMins": 0,
        },
    ]
    if market.max_orders is not None:
        filters.append({"filterType": "MAX_NUM_ORDERS", "maxNumOrders": market.max_orders})
    return filters


def account(rules: Rules, balances: dict[str, Balance], now_ms: int, *, all_coins: bool) -> Json:
    """The account, for GET account."""
    rate = printed(rules.fee_rate)
    points = int(rules.fee_rate / BASIS_POINT)
    return {
        "makerCommission": points,
        "takerCommission": points,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": rate,
            "taker": rate,
            "buyer": printed(ZERO),
            "seller": printed(ZERO),
        },
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": now_ms,
        "accountType": "SPOT",
        "balances": [
            {"asset": coin, "free": printed(balance.free), "locked": printed(balance.locked)}
            for coin, balance in sorted(balances.items())
            if all_coins or balance.free or balance.locked
        ],
        "permissions": ["SPOT"],
        "uid": 1,
    }


def commission(rules: Rules) -> Json:
    """Commission rates, for GET account/commission."""
    nothing = {side: printed(ZERO) for side in ("maker", "taker", "buyer", "seller")}
    rate = printed(rules.fee_rate)
    return {
        "symbol": rules.market.exchange_symbol,
        "standardCommission": nothing | {"maker": rate, "taker": rate},
        "specialCommission": nothing,
        "taxCommission": nothing,
        "discount": {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "BNB",
            "discount": printed(ZERO),
        },
    }


def order(symbol: str, item: Order) -> Json:
    """An order, for GET order, openOrders and allOrders."""
    return {
        "symbol": symbol,
        "orderId": item.order_id,
        "orderListId": NO_LIST,
        "clientOrderId": item.client_order_id,
        **_amounts(item),
        "stopPrice": printed(ZERO),
        "icebergQty": printed(ZERO),
        "time": item.created_ms,
        "updateTime": item.updated_ms,
        "isWorking": True,
        "workingTime": item.created_ms,
        "origQuoteOrderQty": printed(item.quote_quantity),
        "selfTradePreventionMode": SELF_TRADE_PREVENTION,
    }


def new_order(symbol: str, item: Order, trades: Iterable[Trade], detail: str) -> Json:
    """The answer to POST order.

    Args:
        symbol: the exchange's name of the symbol.
        item: the order as it is now.
        trades: its trades so far.
        detail: ACK, RESULT or FULL.
    """
    answer: Json = {
        "symbol": symbol,
        "orderId": item.order_id,
        "orderListId": NO_LIST,
        "clientOrderId": item.client_order_id,
        "transactTime": item.updated_ms,
    }
    if detail == "ACK":
        return answer
    answer |= _amounts(item)
    answer["origQuoteOrderQty"] = printed(item.quote_quantity)
    answer["workingTime"] = item.created_ms
    answer["selfTradePreventionMode"] = SELF_TRADE_PREVENTION
    if detail == "FULL":
        answer["fills"] = [
            {
                "price": printed(trade.price),
                "qty": printed(trade.quantity),
                "commission": printed(trade.commission),
                "commissionAsset": trade.commission_asset,
                "tradeId": trade.trade_id,
            }
            for trade in trades
        ]
    return answer


def cancelled(symbol: str, item: Order, cancel_id: str) -> Json:
    """The answer to DELETE order; `cancel_id` names the cancellation."""
    return {
        "symbol": symbol,
        "origClientOrderId": item.client_order_id,
        "orderId": item.order_id,
        "orderListId": NO_LIST,
        "clientOrderId": cancel_id,
        "transactTime": item.updated_ms,
        **_amounts(item),
        "origQuoteOrderQty": printed(item.quote_quantity),
        "selfTradePreventionMode": SELF_TRADE_PREVENTION,
    }


def trade(symbol: str, item: Trade) -> Json:
    """One of the account's trades, for GET myTrades."""
    return {
        "symbol": symbol,
        "id": item.trade_id,
        "orderId": item.order_id,
        "orderListId": NO_LIST,
        "price": printed(item.price),
        "qty": printed(item.quantity),
        "quoteQty": printed(item.quote_quantity),
        "commission": printed(item.commission),
        "commissionAsset": item.commission_asset,
        "time": item.time_ms,
        "isBuyer": item.is_buyer,
        "isMaker": item.is_maker,
        "isBestMatch": True,
    }


def price_ticker(engine: Engine) -> Json:
    """The last price, for GET ticker/price."""
    return {"symbol": engine.rules.market.exchange_symbol, "price": printed(engine.last_price)}


def book_ticker(engine: Engine) -> Json:
    """Best bid and ask, for GET ticker/bookTicker: both are the price takers trade at."""
    price, quantity = printed(engine.last_price), printed(_offered(engine))
    return {
        "symbol": engine.rules.market.exchange_symbol,
        "bidPrice": price,
        "bidQty": quantity,
        "askPrice": price,
        "askQty": quantity,
    }


def depth(engine: Engine, position: int, limit: int) -> Json:
    """The order book, for GET depth: the market's own offer, then the account's resting orders."""
    levels: dict[str, dict[Decimal, Decimal]] = {BUY: {}, SELL: {}}
    for side in levels.values():
        side[engine.last_price] = _offered(engine)
    for item in engine.orders.values():
        side = levels[item.side]
        side[item.price] = side.get(item.price, ZERO) + item.remaining
    bids = sorted(levels[BUY].items(), reverse=True)[:limit]
    asks = sorted(levels[SELL].items())[:limit]
    return {
        "lastUpdateId": position + 1,
        "bids": [[printed(price), printed(quantity)] for price, quantity in bids],
        "asks": [[printed(price), printed(quantity)] for price, quantity in asks],
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
        "bidPrice": printed(price),
        "bidQty": printed(_offered(engine)),
        "askPrice": printed(price),
        "askQty": printed(_offered(engine)),
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


def _offered(engine: Engine) -> Decimal:
    """The market trades any quantity; what it shows is the most that one order may have."""
    return engine.rules.market.max_quantity or Decimal(1)


def _amounts(item: Order) -> Json:
    return {
        "price": printed(item.price),
        "origQty": printed(item.quantity),
        "executedQty": printed(item.executed),
        "cummulativeQuoteQty": printed(item.executed_quote),
        "status": item.status,
        "timeInForce": item.time_in_force,
        "type": item.type,
        "side": item.side,
    }
