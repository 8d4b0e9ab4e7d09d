"""Messages that the Gateway sends, by the version that the client speaks. Pure.

The numbers and the order of fields are the protocol's; names are those of its documentation.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from gridexchange.ib.records import Execution, Stock, StockOrder

Fields = list[object]

ADVANCED_REJECT, SIZE_RULES, NO_FA_PROFILE = 166, 164, 177
DURATION, POST_TO_ATS, AUTO_CANCEL, PEGGED, PRICE_REVISION = 159, 160, 162, 170, 178
ZONE = "US/Eastern"
NEW_YORK = ZoneInfo("America/New_York")


def stamp(time_ms: int) -> str:
    """A time as executions bear it: ``20260921 10:13:20 US/Eastern``."""
    return f"{datetime.fromtimestamp(time_ms / 1000, NEW_YORK):%Y%m%d %H:%M:%S} {ZONE}"


def error(version: int, request: int, code: int, text: str) -> Fields:
    """An error, or a notice that looks like one; -1 as the request's ID: of none."""
    return [4, 2, request, code, text, *([""] if version >= ADVANCED_REJECT else [])]


def _short(stock: Stock) -> Fields:
    """A contract without its exchange: ID, symbol, type, month, strike, right, multiplier."""
    return [stock.con_id, stock.symbol, "STK", "", 0, "", ""]


def _contract(stock: Stock, exchange: str = "SMART") -> Fields:
    return [*_short(stock), exchange, stock.currency, stock.symbol, stock.symbol]


def contract_details(version: int, request: int, stock: Stock, hours: str) -> Fields:
    """A contract's rules; `hours` are its sessions, regular and liquid the same."""
    old = version < SIZE_RULES
    sizes: Fields = [] if old else ["1", "1", "100"]
    if version == SIZE_RULES - 1:
        sizes = ["1"]
    return [
        10,
        *([8] if old else []),
        request,
        *(stock.symbol, "STK", "", 0, "", "SMART", stock.currency, stock.symbol, stock.symbol),
        *(stock.symbol, stock.con_id, stock.min_tick),
        *([1] if old else []),
        "",
        "LMT,MKT",
        f"SMART,{stock.primary}",
        1,
        0,
        stock.long_name,
        stock.primary,
        *("", "", "", "", ZONE, hours, hours, "", 0, 0),
        *(1, "", "", "26", "", "COMMON"),
        *sizes,
    ]


def open_order(version: int, stock: Stock, order: StockOrder, account: str) -> Fields:
    """An order as it stands."""
    tail: Fields = []
    if version >= DURATION:
        tail.append("")
    if version >= POST_TO_ATS:
        tail.append("")
    if version >= AUTO_CANCEL:
        tail.append(0)
    if version >= PEGGED:
        tail += [""] * 5
    return [
        5,
        order.order_id,
        *_contract(stock),
        *(order.action, order.quantity, order.kind, order.limit, 0, order.tif, "", account, ""),
        *(0, order.reference, order.client_id, order.perm_id, order.outside_rth, 0, 0, "", ""),
        *("", "", ""),  # financial advisers
        *([""] if version < NO_FA_PROFILE else []),
        *("", "", "", "", "", 0, "", -1, 0, "", "", "", "", ""),  # model code to stock range
        *("", 0, 0, 0, "", 3, 0, 0, "", 0, 0, "", 0, "", ""),  # display to delta neutral
        *(0, 0, "", "", "", "", ""),  # continuous update to combo text
        *(0, 0, 0),  # legs and routing
        *("", "", ""),  # scale
        "",  # hedge
        *(0, "", "", 0, 0),  # routing, clearing, delta-neutral contract
        "",  # algorithm
        *(0, 0, order.status, *[""] * 9, "", "", "", "", "", 0, 0),  # what-if, state
        0,  # conditions
        *("None", "", "", "", "", "", "", 0, "", "", "", "", 0, 0, 0, 0),
        *tail,
    ]


def completed_order(version: int, stock: Stock, order: StockOrder, account: str) -> Fields:
    """An order of which nothing more will trade.

    Recorded at the real Gateway: how it ended is told in words, and the quantity of one that was
    filled is 0.
    """
    closed = stamp(order.closed_ms)
    ended = "Cancelled by Trader" if order.remaining else f"Filled Size: {order.filled}"
    quantity = order.quantity if order.remaining else 0
    return [
        101,
        *_contract(stock),
        *(order.action, quantity, order.kind, order.limit, 0, order.tif, "", account, ""),
        *(0, order.reference, order.perm_id, order.outside_rth, 0, 0, "", "", "", ""),
        *([""] if version < NO_FA_PROFILE else []),
        *("", "", "", "", "", 0, "", -1, "", "", "", "", ""),
        *("", 0, 0, "", 3, 0, "", 0, "", ""),
        *(0, 0, "", "", ""),
        *(0, 0, 0),
        *("", "", ""),
        "",
        *("", "", 0, 0),
        "",
        *(0, order.status, 0, 0),
        0,
        *("", "", "", 0, 0, "", order.filled, 0, 0, "", 0, 0, 0, closed, ended),
        *([""] * 5 if version >= PEGGED else []),
    ]


def order_status(order: StockOrder, last_price: Decimal = Decimal(0)) -> Fields:
    """How far an order has come."""
    return [
        *(3, order.order_id, order.status, order.filled, order.remaining, order.average),
        *(order.perm_id, 0, last_price, order.client_id, "", 0),
    ]


def execution(
    version: int, request: int, stock: Stock, order: StockOrder, trade: Execution, *, account: str
) -> Fields:
    """A trade; -1 as the request's ID where nobody has asked."""
    side = "BOT" if order.action == "BUY" else "SLD"
    return [
        *(11, request, order.order_id, *_contract(stock, stock.primary), trade.exec_id),
        *(stamp(trade.time_ms), account, stock.primary, side, trade.shares, trade.price),
        *(order.perm_id, order.client_id, 0, trade.cumulative, order.average, order.reference),
        *("", 0, "", 1),
        *([0] if version >= PRICE_REVISION else []),
    ]


def commission(trade: Execution, currency: str) -> Fields:
    """What a trade cost."""
    return [59, 1, trade.exec_id, trade.commission, currency, "", "", ""]


def position(stock: Stock, shares: Decimal, cost: Decimal, account: str) -> Fields:
    """Shares held."""
    return [
        *(61, 3, account, *_short(stock), "", stock.currency, stock.symbol, stock.symbol),
        *(shares, cost),
    ]


def portfolio(stock: Stock, shares: Decimal, price: Decimal, account: str) -> Fields:
    """Shares held, with their value."""
    return [
        *(7, 8, *_short(stock), stock.primary, stock.currency, stock.symbol, stock.symbol),
        *(shares, price, shares * price, 0, 0, 0, account),
    ]


def account_value(key: str, value: Decimal, currency: str, account: str) -> Fields:
    """One figure of the account."""
    return [6, 2, key, value, currency, account]


def tick_price(request: int, kind: int, price: Decimal | int, size: int = 100) -> Fields:
    """A price; kinds: 1 bid, 2 ask, 4 last, 6 high, 7 low, 9 close."""
    return [1, 6, request, kind, price, size, 1]


def bars(request: int, rows: list[tuple[int, str, str, str, str, str]]) -> Fields:
    """Candles: Unix seconds, open, high, low, close, volume."""
    fields: Fields = [17, request, "", "", len(rows)]
    for seconds, first, high, low, last, volume in rows:
        fields += [seconds, first, high, low, last, volume, last, 1]
    return fields


def option_chain(
    request: int, exchange: str, stock: Stock, expiries: list[date], strikes: list[Decimal]
) -> Fields:
    """Expiries and strikes of a stock's options; not each of them is listed with each other."""
    return [
        *(75, request, exchange, stock.con_id, stock.symbol, "100"),
        *(len(expiries), *(f"{day:%Y%m%d}" for day in expiries)),
        *(len(strikes), *strikes),
    ]


def server_time(time_ms: int) -> str:
    """The time that the handshake tells."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y%m%d %H:%M:%S} UTC"
