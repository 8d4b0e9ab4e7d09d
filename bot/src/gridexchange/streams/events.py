"""The events of Binance's streams, field by field as Binance spells them. Pure."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from gridexchange.market.klines import Bucket
from gridexchange.matching.amounts import ZERO, printed
from gridexchange.matching.orders import CANCELED, EXPIRED, FOK, IOC, OPEN_STATUSES, Report
from gridexchange.protocol.answers import NO_LIST, Json

NO_TRADE = -1
NO_GROUP = -1
EXPIRY_REASONS = {IOC: "UNFILLED_IOC_QUANTITY_EXPIRED", FOK: "UNFILLED_FOK_ORDER_EXPIRED"}


def of_report(symbol: str, report: Report, now_ms: int) -> Iterator[Json]:
    """What the user data stream says about one thing that happened to an order."""
    yield execution_report(symbol, report, now_ms)
    yield {
        "e": "outboundAccountPosition",
        "E": now_ms,
        "u": report.order.updated_ms,
        "B": [
            {"a": coin, "f": printed(free), "l": printed(locked)}
            for coin, (free, locked) in report.balances.items()
        ],
    }


def execution_report(symbol: str, report: Report, now_ms: int) -> Json:
    """What happened to an order."""
    order, trade = report.order, report.trade
    cancelled_by_client = report.kind == CANCELED and report.cancel_id
    event: Json = {
        "e": "executionReport",
        "E": now_ms,
        "s": symbol,
        "c": report.cancel_id if cancelled_by_client else order.client_order_id,
        "S": order.side,
        "o": order.type,
        "f": order.time_in_force,
        "q": printed(order.quantity),
        "p": printed(order.price),
        "P": printed(ZERO),
        "F": printed(ZERO),
        "g": NO_LIST,
        "C": order.client_order_id if cancelled_by_client else "",
        "x": report.kind,
        "X": order.status,
        "r": "NONE",
        "i": order.order_id,
        "l": printed(trade.quantity if trade else ZERO),
        "z": printed(order.executed),
        "L": printed(trade.price if trade else ZERO),
        "n": printed(trade.commission) if trade else "0",
        "N": trade.commission_asset if trade else None,
        "T": order.updated_ms,
        "t": trade.trade_id if trade else NO_TRADE,
        "w": order.status in OPEN_STATUSES,
        "m": bool(trade and trade.is_maker),
        "M": trade is not None,
        "O": order.created_ms,
        "Z": printed(order.executed_quote),
        "Y": printed(trade.quote_quantity if trade else ZERO),
        "Q": printed(order.quote_quantity),
        "W": order.created_ms,
        "V": order.self_trade_prevention,
    }
    if report.prevention is not None:
        event |= {
            "v": report.prevention.match_id,
            "A": printed(order.prevented),
            "B": printed(report.prevention.quantity),
            "u": NO_GROUP,
            "U": report.prevention.counter_order_id,
            "Cs": symbol,
        }
    if report.kind == EXPIRED:
        event["eR"] = EXPIRY_REASONS.get(order.time_in_force, "EXCHANGE_CANCELED")
    return event


def kline(symbol: str, interval: str, bucket: Bucket, now_ms: int, *, closed: bool) -> Json:
    """A kline as it is now, or as it has become."""
    start, opening, high, low, close, volume, end, traded, *_ = bucket.row()
    return {
        "e": "kline",
        "E": now_ms,
        "s": symbol,
        "k": {
            "t": start,
            "T": end,
            "s": symbol,
            "i": interval,
            "f": NO_TRADE,
            "L": NO_TRADE,
            "o": opening,
            "c": close,
            "h": high,
            "l": low,
            "v": volume,
            "n": 0,
            "x": closed,
            "q": traded,
            "V": printed(ZERO),
            "Q": printed(ZERO),
            "B": "0",
        },
    }


def mini_ticker(day: Json, now_ms: int) -> Json:
    """The last 24 hours; `day` is the answer to GET ticker/24hr."""
    return {
        "e": "24hrMiniTicker",
        "E": now_ms,
        "s": day["symbol"],
        "c": day["lastPrice"],
        "o": day["openPrice"],
        "h": day["highPrice"],
        "l": day["lowPrice"],
        "v": day["volume"],
        "q": day["quoteVolume"],
    }


def book_ticker(book: Json, update: int) -> Json:
    """Best bid and ask; `book` is the answer to GET ticker/bookTicker, `update` its number."""
    return {
        "u": update,
        "s": book["symbol"],
        "b": book["bidPrice"],
        "B": book["bidQty"],
        "a": book["askPrice"],
        "A": book["askQty"],
    }


Changes = list[tuple[Decimal, Decimal]]


def changes(before: Mapping[Decimal, Decimal], now: Mapping[Decimal, Decimal]) -> Changes:
    """Levels that are new, or have another quantity; a quantity of 0 for one that is gone."""
    gone = [(price, ZERO) for price in before if price not in now]
    return gone + [level for level in now.items() if before.get(level[0]) != level[1]]


def depth_update(
    symbol: str, updates: tuple[int, int], bids: Changes, asks: Changes, now_ms: int
) -> Json:
    """What has changed in the book with these updates, the first and the last."""
    first, last = updates
    return {
        "e": "depthUpdate",
        "E": now_ms,
        "s": symbol,
        "U": first,
        "u": last,
        "b": [[printed(price), printed(quantity)] for price, quantity in bids],
        "a": [[printed(price), printed(quantity)] for price, quantity in asks],
    }
