"""How the practice Gateway answers each kind of request."""

from decimal import Decimal

from gridbase.candles.price_units import UNITS_PER_QUOTE
from gridbase.candles.series import Candle
from gridbase.market import plain

from gridexchange.ib import messages
from gridexchange.ib.calendar import day_of, liquid_hours
from gridexchange.ib.connection import Connection
from gridexchange.ib.gateway import Gateway, Handler
from gridexchange.ib.options import Quoted, expiries, stock_of, strikes
from gridexchange.ib.quotes import not_yet, price_of
from gridexchange.ib.records import Stock
from gridexchange.ib.requests import HistoryRequest, Reader, WantedContract, read_history
from gridexchange.ib.wire import WireError
from gridexchange.market.feed import LEGS

HISTORY_MS = 100
MOST_BARS = 1000
NO_CONTRACT = "No security definition has been found for the request"
PACING = "Historical Market Data Service error message:API pacing violation"
TOO_MANY_LINES = "Max number of tickers has been reached"
COMPETING = "No market data during competing live session"
# A length of candle, and a duration, in minutes of a session.
BAR_MINUTES = {
    **{f"{count} mins": count for count in (2, 3, 5, 10, 15, 20, 30)},
    "1 min": 1,
    "1 hour": 60,
    "2 hours": 120,
    "3 hours": 180,
    "4 hours": 240,
    "1 day": 390,
}
DURATION_MINUTES = {"S": 1 / 60, "D": 390, "W": 1950, "M": 8190, "Y": 98280}


def count_snapshot(gateway: Gateway, connection: Connection, fields: list[str]) -> None:
    """A snapshot counts as it arrives."""
    reader = Reader(fields[2:])
    contract = reader.contract()
    reader.skip(2)
    now = gateway.clock.now_ms()
    quoted = gateway.quotes.find(contract, gateway.account.price, now)
    if reader.switch() and quoted is not None:
        gateway.rules.snapshot(connection.client_id or 0, stock_of(quoted), now / 1000)


def market_data(gateway: Gateway, connection: Connection, fields: list[str]) -> None:
    """A stream of prices, or one snapshot of them."""
    reader = Reader(fields[1:])
    request, contract = reader.number(), reader.contract()
    reader.skip(2)  # delta-neutral contract, generic ticks
    snapshot = reader.switch()
    now, client = gateway.clock.now_ms(), connection.client_id or 0
    quoted = gateway.quotes.find(contract, gateway.account.price, now)
    if quoted is None:
        gateway.error(connection, request, 200, NO_CONTRACT)
    elif gateway.competing:
        gateway.error(connection, request, 10197, COMPETING)
    elif not gateway.rules.lines(1 + sum(each.open_lines for each in gateway.connections)):
        gateway.error(connection, request, 101, TOO_MANY_LINES)
    elif not snapshot:
        connection.lines[request] = quoted
        gateway.tick(connection, request, quoted)
    elif not gateway.rules.throttled(client, now / 1000):
        connection.snapshots.add(request)
        for told in not_yet(request, quoted):
            connection.send(told)
        ends = now + gateway.settings.snapshot_ms
        gateway.later.at(ends, lambda: _end(gateway, connection, request, quoted))


def _end(gateway: Gateway, connection: Connection, request: int, quoted: Quoted) -> None:
    """The end of a snapshot, unless it was canceled."""
    if request in connection.snapshots:
        connection.snapshots.discard(request)
        gateway.tick(connection, request, quoted)
        connection.send([57, 1, request])


def cancel_market_data(_gateway: Gateway, connection: Connection, fields: list[str]) -> None:
    """End a stream, or a snapshot."""
    request = Reader(fields[1:]).number()
    connection.lines.pop(request, None)
    connection.snapshots.discard(request)


def option_chain(gateway: Gateway, connection: Connection, fields: list[str]) -> None:
    """Expiries and strikes of a stock's options."""
    reader = Reader(fields)
    request, symbol = reader.number(), reader.text()
    reader.skip(2)  # exchange of futures, kind
    con_id = reader.number()
    stock = gateway.quotes.stock(WantedContract(con_id, symbol, "STK", "", ""))
    if stock is None:
        gateway.error(connection, request, 200, NO_CONTRACT)
        return
    days = expiries(day_of(gateway.clock.now_ms()))
    listed = strikes(price_of(stock, gateway.account.price))
    for exchange in ("CBOE", "SMART"):
        connection.send(messages.option_chain(request, exchange, stock, days, listed))
    connection.send([76, request])


def cancel_order(gateway: Gateway, connection: Connection, fields: list[str]) -> None:
    """Cancel an order of this client."""
    number = Reader(fields[1:]).number()
    order = gateway.account.find(connection.client_id or 0, number)
    if gateway.settings.read_only:
        gateway.error(connection, number, 321, "The API interface is in Read-Only mode.")
    elif order is None:
        gateway.error(
            connection, number, 10147, f"OrderId {number} that needs to be cancelled is not found."
        )
    elif order.done:
        gateway.error(
            connection,
            number,
            10148,
            f"OrderId {number} cannot be cancelled, state: {order.status}.",
        )
    else:
        gateway.account.cancel(order, gateway.clock.now_ms())
        gateway.account.commit()
        gateway.tell_order(order)
        gateway.error(connection, number, 202, "Order Canceled - reason:")


def own_orders(gateway: Gateway, connection: Connection, _fields: list[str]) -> None:
    """Open orders of this client."""
    _open_orders(gateway, connection, own=True)


def all_orders(gateway: Gateway, connection: Connection, _fields: list[str]) -> None:
    """Open orders of all clients."""
    _open_orders(gateway, connection, own=False)


def _open_orders(gateway: Gateway, connection: Connection, *, own: bool) -> None:
    for order in gateway.account.open_orders:
        if not own or order.client_id == connection.client_id:
            gateway.tell_order(order, connection)
    connection.send([53, 1])


def completed_orders(gateway: Gateway, connection: Connection, _fields: list[str]) -> None:
    """Orders that were done today: no older ones are told."""
    today = day_of(gateway.clock.now_ms())
    for order in gateway.account.orders.values():
        if order.done and day_of(order.closed_ms) == today:
            connection.send(
                messages.completed_order(connection.version, gateway.stock, order, gateway.name)
            )
    connection.send([102])


def executions(gateway: Gateway, connection: Connection, fields: list[str]) -> None:
    """Trades since midnight, with what they cost."""
    request = Reader(fields[1:]).number()
    today = gateway.account.executions_of_today(gateway.clock.now_ms())
    for trade in today:
        gateway.tell_trade(trade, connection, request)
    connection.send([55, 1, request])
    for trade in today:
        gateway.tell_commission(trade, connection)


def contract_details(gateway: Gateway, connection: Connection, fields: list[str]) -> None:
    """A contract's rules and hours."""
    reader = Reader(fields[1:])
    request, contract = reader.number(), reader.contract()
    stock = gateway.quotes.stock(contract)
    if stock is None:
        gateway.error(connection, request, 200, NO_CONTRACT)
        return
    hours = liquid_hours(gateway.clock.now_ms())
    connection.send(messages.contract_details(connection.version, request, stock, hours))
    connection.send([52, 1, request])


def account_updates(gateway: Gateway, connection: Connection, fields: list[str]) -> None:
    """Figures of the account, once; a wrong account is refused."""
    reader = Reader(fields[1:])
    subscribe, name = reader.switch(), reader.text()
    account, currency = gateway.account, gateway.stock.currency
    if name not in {"", gateway.name}:
        gateway.error(connection, -1, 321, "Error validating request: Invalid account code.")
        return
    if not subscribe:
        return
    for key, value in _figures(gateway):
        connection.send(messages.account_value(key, value, currency, gateway.name))
    connection.send(messages.portfolio(gateway.stock, account.shares, account.price, gateway.name))
    connection.send([54, 1, gateway.name])


def _figures(gateway: Gateway) -> list[tuple[str, Decimal]]:
    account = gateway.account
    total = account.cash + account.shares * account.price
    return [
        ("TotalCashBalance", account.cash),
        ("TotalCashValue", account.cash),
        ("AvailableFunds", account.cash),
        ("NetLiquidation", total),
    ]


def account_updates_multi(gateway: Gateway, connection: Connection, fields: list[str]) -> None:
    """Figures of the account by request."""
    request = Reader(fields[1:]).number()
    for key, value in _figures(gateway):
        row = [73, 1, request, gateway.name, "", key, value, gateway.stock.currency]
        connection.send([*row])
    connection.send([74, 1, request])


def positions(gateway: Gateway, connection: Connection, _fields: list[str]) -> None:
    """Shares held."""
    account = gateway.account
    if account.shares:
        connection.send(
            messages.position(gateway.stock, account.shares, account.price, gateway.name)
        )
    connection.send([62, 1])


def history(gateway: Gateway, connection: Connection, fields: list[str]) -> None:
    """Candles; a pacing violation is error 162."""
    wanted = read_history(fields)
    now = gateway.clock.now_ms()
    connection.history.add(wanted.request)
    key = (
        wanted.contract.con_id or wanted.contract.symbol,
        wanted.until,
        wanted.bar,
        wanted.duration,
    )
    fine = gateway.rules.history(key, wanted.what, now / 1000, len(connection.history))
    stock = gateway.quotes.stock(wanted.contract)
    if stock is None:
        gateway.error(connection, wanted.request, 200, NO_CONTRACT)
    elif not fine:
        gateway.error(connection, wanted.request, 162, PACING)
    elif wanted.bar not in BAR_MINUTES:
        gateway.error(connection, wanted.request, 321, "Invalid bar size")
    else:
        gateway.later.at(now + HISTORY_MS, lambda: _send_bars(gateway, connection, wanted, stock))
        return
    connection.history.discard(wanted.request)


def _send_bars(
    gateway: Gateway, connection: Connection, wanted: HistoryRequest, stock: Stock
) -> None:
    if wanted.request not in connection.history:
        return
    connection.history.discard(wanted.request)
    amount, _, unit = wanted.duration.partition(" ")
    if not amount.isdigit() or unit not in DURATION_MINUTES:
        raise WireError(f"no duration: {wanted.duration[:20]}")
    size = BAR_MINUTES[wanted.bar]
    minutes = max(1, int(int(amount) * DURATION_MINUTES[unit]))
    position = gateway.account.position
    market = gateway.market
    last = position // LEGS
    candles = market.minutes(position, min(minutes, MOST_BARS * size))
    first = last - len(candles) + 1
    rows = []
    for start in range(-(-first // size) * size, last + 1, size):
        group = candles[start - first : start - first + size]
        rows.append(_bar(market.opened_ms(start) // 1000, group, stock))
    connection.send(messages.bars(wanted.request, rows))


def _bar(seconds: int, group: list[Candle], stock: Stock) -> tuple[int, str, str, str, str, str]:
    prices = (
        group[0].open,
        max(candle.high for candle in group),
        min(candle.low for candle in group),
        group[-1].close,
    )
    first, high, low, close = (
        plain(price_of(stock, Decimal(units) / UNITS_PER_QUOTE)) for units in prices
    )
    return seconds, first, high, low, close, str(round(sum(row.volume for row in group)))


def cancel_history(_gateway: Gateway, connection: Connection, fields: list[str]) -> None:
    """Give up a request for candles."""
    connection.history.discard(Reader(fields[1:]).number())


def server_time(gateway: Gateway, connection: Connection, _fields: list[str]) -> None:
    """What time it is."""
    connection.send([49, 1, gateway.clock.now_ms() // 1000])


def order_ids(gateway: Gateway, connection: Connection, _fields: list[str]) -> None:
    """A number that no order of the client had yet."""
    connection.send([9, 1, gateway.account.next_order_id(connection.client_id or 0)])


def accounts(gateway: Gateway, connection: Connection, _fields: list[str]) -> None:
    """Names of accounts."""
    connection.send([15, 1, gateway.name])


def market_rule(gateway: Gateway, connection: Connection, fields: list[str]) -> None:
    """Steps of prices."""
    connection.send([93, Reader(fields).number(), 1, 0, gateway.stock.min_tick])


def nothing(_gateway: Gateway, _connection: Connection, _fields: list[str]) -> None:
    """Requests that need no answer."""


COUNTERS: dict[int, Handler] = {1: count_snapshot}
# By the number of the message: who answers, and whether the answer may get lost.
HANDLERS: dict[int, tuple[Handler, bool]] = {
    1: (market_data, True),
    2: (cancel_market_data, False),
    3: (Gateway.place, False),
    4: (cancel_order, True),
    5: (own_orders, True),
    6: (account_updates, True),
    7: (executions, True),
    8: (order_ids, False),
    9: (contract_details, True),
    14: (nothing, False),
    15: (nothing, False),
    16: (all_orders, True),
    17: (accounts, False),
    20: (history, True),
    25: (cancel_history, False),
    49: (server_time, True),
    59: (nothing, False),
    61: (positions, True),
    64: (nothing, False),
    78: (option_chain, True),
    76: (account_updates_multi, True),
    91: (market_rule, False),
    99: (completed_orders, True),
}
