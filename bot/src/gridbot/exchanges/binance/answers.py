"""What Binance's answers and events mean. Pure."""

from decimal import Decimal
from typing import Any

from gridbase.candles.price_units import to_units
from gridbase.candles.series import Candle
from gridbase.market import Market

from gridbot.exchanges.access.request_weight import USUAL_LIMIT
from gridbot.exchanges.port import Failure, OrderEvent, RemoteOrder, RemoteTrade

Json = dict[str, Any]

NO_SUCH_ORDER = -2013
CANCEL_REFUSED = -2011
_KEY_REFUSED = {-2014, -2015, -1022, -1002}
_TOO_MANY = {-1003, -1015, -1034}
_UNKNOWN_OUTCOME = {-1000, -1001, -1006, -1007, -1008}
REFUSED_ORDER = -2010
_DUPLICATE = "Duplicate order"
_UNKNOWN_ORDER = "Unknown order"
_WOULD_TAKE = "immediately match and take"
_CLOSED = {"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"}


def failure_kind(status: int, code: int | None, detail: str) -> Failure:
    """Kind of a failure that the exchange answered with.

    Args:
        status: of HTTP, or its like in the WebSocket API.
        code: Binance's; None where there is none.
        detail: what it says in words.
    """
    table = (
        (code == NO_SUCH_ORDER, Failure.NOT_FOUND),
        # The same code says that the market is closed, or the account may not cancel.
        (code == CANCEL_REFUSED and _UNKNOWN_ORDER in detail, Failure.NOT_FOUND),
        (code in _KEY_REFUSED or status == 401, Failure.AUTH),
        (code == -1021, Failure.CLOCK),
        (code in _TOO_MANY or status in {403, 418, 429}, Failure.RATE_LIMITED),
        (code in _UNKNOWN_OUTCOME or status >= 500 or status < 400, Failure.AMBIGUOUS),
        # The first attempt did arrive: the order has to be asked for.
        (code == REFUSED_ORDER and _DUPLICATE in detail, Failure.AMBIGUOUS),
        (code == REFUSED_ORDER and _WOULD_TAKE in detail, Failure.WOULD_TAKE),
        (code is not None, Failure.REJECTED),
    )
    return next((kind for holds, kind in table if holds), Failure.UNREACHABLE)


def read_market(symbol: str, row: Json) -> Market:
    """A symbol's rules, from ``exchangeInfo``.

    Args:
        symbol: unified name, such as ``BTC/USDT``.
        row: the symbol's entry.
    """
    filters = {item["filterType"]: item for item in row["filters"]}
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {"minNotional": "0"}
    most = filters.get("MAX_NUM_ORDERS", {}).get("maxNumOrders")
    by_side = filters.get("PERCENT_PRICE_BY_SIDE", {})
    both = filters.get("PERCENT_PRICE", {})
    return Market(
        symbol=symbol,
        base=row["baseAsset"],
        quote=row["quoteAsset"],
        tick_size=above_zero(filters["PRICE_FILTER"]["tickSize"]),
        lot_size=above_zero(filters["LOT_SIZE"]["stepSize"]),
        min_quantity=Decimal(filters["LOT_SIZE"]["minQty"]),
        min_notional=Decimal(notional["minNotional"]),
        max_quantity=above_zero(filters["LOT_SIZE"]["maxQty"]),
        max_orders=None if most is None else int(most),
        buy_band=_band(by_side, "bidMultiplier") or _band(both, "multiplier"),
        sell_band=_band(by_side, "askMultiplier") or _band(both, "multiplier"),
        # 0 switches a bound off.
        min_price=Decimal(filters["PRICE_FILTER"].get("minPrice", 0)) or None,
        max_price=Decimal(filters["PRICE_FILTER"].get("maxPrice", 0)) or None,
        max_notional=Decimal(notional.get("maxNotional", 0)) or None,
    )


def _band(rule: Json, name: str) -> tuple[Decimal, Decimal] | None:
    if name + "Down" not in rule:
        return None
    return Decimal(rule[name + "Down"]), above_zero(rule[name + "Up"])


def read_weight_limit(document: Json) -> int:
    """Request weight that a minute allows, from ``exchangeInfo``."""
    for row in document.get("rateLimits", ()):
        name = row["rateLimitType"], row["interval"], int(row["intervalNum"])
        if name == ("REQUEST_WEIGHT", "MINUTE", 1):
            return int(row["limit"])
    return USUAL_LIMIT


def read_order(row: Json) -> RemoteOrder:
    """An order."""
    return RemoteOrder(
        exchange_id=str(int(row["orderId"])),
        client_id=str(row["clientOrderId"]),
        side=str(row["side"]).lower(),
        price=Decimal(row["price"]),
        quantity=Decimal(row["origQty"]),
        executed=Decimal(row["executedQty"]),
        closed=row["status"] in _CLOSED,
    )


def read_trade(row: Json) -> RemoteTrade:
    """A trade of the account."""
    return RemoteTrade(
        trade_id=str(int(row["id"])),
        exchange_id=str(int(row["orderId"])),
        side="buy" if row["isBuyer"] else "sell",
        price=Decimal(row["price"]),
        quantity=Decimal(row["qty"]),
        quote=Decimal(row["quoteQty"]),
        commission=Decimal(row["commission"]),
        commission_coin=str(row["commissionAsset"]),
        time_ms=int(row["time"]),
        maker=bool(row["isMaker"]),
    )


def read_report(event: Json) -> OrderEvent:
    """What an ``executionReport`` of the user-data stream says.

    A canceled order is reported under the name of its cancellation (``c``); its own is in ``C``,
    which is empty otherwise.
    """
    order = RemoteOrder(
        exchange_id=str(int(event["i"])),
        client_id=str(event["C"] or event["c"]),
        side=str(event["S"]).lower(),
        price=Decimal(event["p"]),
        quantity=Decimal(event["q"]),
        executed=Decimal(event["z"]),
        closed=event["X"] in _CLOSED,
    )
    # A trade without a fee names no coin for it: the trade's own record does, and has to be asked
    # for. Without the trade, the order's progress shows that one is missing.
    told = event["x"] == "TRADE" and event["N"] is not None
    return OrderEvent(order, _reported_trade(event) if told else None)


def _reported_trade(event: Json) -> RemoteTrade:
    return RemoteTrade(
        trade_id=str(int(event["t"])),
        exchange_id=str(int(event["i"])),
        side=str(event["S"]).lower(),
        price=Decimal(event["L"]),
        quantity=Decimal(event["l"]),
        quote=Decimal(event["Y"]),
        commission=Decimal(event["n"]),
        commission_coin=str(event["N"]),
        time_ms=int(event["T"]),
        maker=bool(event["m"]),
    )


def read_candle(row: list[Any]) -> Candle:
    """A candle, from ``klines``."""
    first, highest, lowest, last = (to_units(text)[0] for text in row[1:5])
    return Candle(int(row[0]), first, highest, lowest, last, float(row[5]))


def above_zero(text: str) -> Decimal:
    """An amount that has to be positive. ValueError where it is not."""
    value = Decimal(text)
    if not value > 0:
        raise ValueError(text)
    return value
