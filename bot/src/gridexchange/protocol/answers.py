"""The JSON that the API answers with, field by field as Binance spells it. Pure."""

from collections.abc import Iterable
from decimal import Decimal

from gridbase.market import plain

from gridexchange.errors import ApiError
from gridexchange.limits import Limits, Usage
from gridexchange.matching.amounts import ZERO, printed
from gridexchange.matching.orders import (
    LIMIT,
    LIMIT_MAKER,
    MARKET,
    NO_MATCH,
    PREVENTION_MODES,
    Balance,
    Order,
    Report,
    Trade,
)
from gridexchange.matching.rules import BNB, BNB_SHARE, IN_BNB, Rules

Json = dict[str, object]

NO_LIST = -1
BASIS_POINT = Decimal("0.0001")


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


def rate_limit(usage: Usage) -> Json:
    """How much of a limit is used, for GET rateLimit/order and the WebSocket API."""
    limit = _rate_limit(usage.kind, usage.interval, usage.number, usage.limit)
    return limit | {"count": usage.count}


def _rate_limit(kind: str, interval: str, number: int, limit: int) -> Json:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def _symbol_info(rules: Rules) -> Json:
    market = rules.market
    return {
        "symbol": market.exchange_symbol,
        "status": rules.status,
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
        "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(rules),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": rules.self_trade_prevention,
        "allowedSelfTradePreventionModes": list(PREVENTION_MODES),
    }


def _filters(rules: Rules) -> list[Json]:
    market = rules.market
    band = rules.band
    filters: list[Json] = [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": printed(market.tick_size),
            "maxPrice": printed(market.max_price or ZERO),
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
            "avgPriceMins": band.minutes,  # 0: the last price is what counts
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": printed(market.min_notional),
            "applyMinToMarket": True,
            "maxNotional": printed(market.max_notional or ZERO),
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
    in_bnb = rules.fee_in == IN_BNB
    return {
        "symbol": rules.market.exchange_symbol,
        "standardCommission": nothing | {"maker": rate, "taker": rate},
        "specialCommission": nothing,
        "taxCommission": nothing,
        "discount": {
            "enabledForAccount": in_bnb,
            "enabledForSymbol": in_bnb,
            "discountAsset": BNB,
            "discount": printed(BNB_SHARE if in_bnb else ZERO),
        },
    }


def key_permissions(*, withdrawals: bool) -> Json:
    """What the key may do, for GET /sapi/v1/account/apiRestrictions."""
    return {
        "ipRestrict": False,
        "createTime": 0,
        "enableReading": True,
        "enableWithdrawals": withdrawals,
        "enableInternalTransfer": False,
        "enableMargin": False,
        "enableFutures": False,
        "permitsUniversalTransfer": False,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
        "enableSpotAndMarginTrading": True,
        "enablePortfolioMarginTrading": False,
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
        **_prevention(item),
    }


def new_order(
    symbol: str, item: Order, trades: Iterable[Trade], reports: Iterable[Report], detail: str
) -> Json:
    """The answer to POST order.

    Args:
        symbol: the exchange's name of the symbol.
        item: the order as it is now.
        trades: its trades so far.
        reports: what happened when it was placed.
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
    answer |= _prevention(item)
    if matches := _prevented_matches(item.order_id, reports):
        answer["preventedMatches"] = matches
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


def _prevention(item: Order) -> Json:
    """What an answer says about self-trade prevention."""
    answer: Json = {"selfTradePreventionMode": item.self_trade_prevention}
    if item.prevented_match_id != NO_MATCH:
        answer["preventedMatchId"] = item.prevented_match_id
        answer["preventedQuantity"] = printed(item.prevented)
    return answer


def _prevented_matches(taker_id: int, reports: Iterable[Report]) -> list[Json]:
    """The matches that an order would have made as taker, each with what it took off whom."""
    matches: dict[int, Json] = {}
    for report in reports:
        prevention = report.prevention
        if prevention is None:
            continue
        is_taker = report.order.order_id == taker_id
        maker_id = prevention.counter_order_id if is_taker else report.order.order_id
        match = matches.setdefault(
            prevention.match_id,
            {
                "preventedMatchId": prevention.match_id,
                "makerOrderId": maker_id,
                "price": printed(prevention.price),
            },
        )
        name = "takerPreventedQuantity" if is_taker else "makerPreventedQuantity"
        match[name] = printed(prevention.quantity)
    return list(matches.values())


def replaced(canceled: Json | ApiError, placed: Json | ApiError | None) -> Json:
    """Both halves of POST order/cancelReplace.

    Args:
        canceled: the answer to the cancellation, or why it was refused.
        placed: the same of the new order; None where it was not tried.
    """
    return {
        "cancelResult": "FAILURE" if isinstance(canceled, ApiError) else "SUCCESS",
        "newOrderResult": (
            "NOT_ATTEMPTED"
            if placed is None
            else "FAILURE"
            if isinstance(placed, ApiError)
            else "SUCCESS"
        ),
        "cancelResponse": _half(canceled),
        "newOrderResponse": _half(placed),
    }


def _half(answer: Json | ApiError | None) -> Json | None:
    return answer.described() if isinstance(answer, ApiError) else answer


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
        **_prevention(item),
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
