"""The bot's metrics: what `/metrics` tells, made from the document behind `/api/status`. Pure.

Labels are bounded: symbols, coins, and words of the bot's own. No order's ID, no text of others.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gridbase.metrics import Durations, Kind, Metric, Reading, Values, of_process, render

from gridbot.service.grid_state import CAUSES, STATES

PREFIX = "gridbot"
_BREAKER = ("closed", "open", "half-open")
_KILL_SWITCHES = (
    "stop.loss_price", "stop.profit_price", "stop.max_drawdown_percent", "stop.daily_loss_percent",
    "stop.profit_percent", "account_loss", "by_hand",
)  # fmt: skip


@dataclass(frozen=True)
class Timings:
    """How long things took, since the bot started.

    Attributes:
        acknowledgements: from sending an order to its acknowledgement, by symbol.
        steps: a completed step of a grid, by symbol.
        commits: a transaction of the books; None before they were opened.
        books_bytes: size of the books' file and of its log.
    """

    acknowledgements: Mapping[str, Durations]
    steps: Mapping[str, Durations]
    commits: Durations | None
    books_bytes: Mapping[str, int]


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}_{name}", Kind.GAUGE, text, labels)


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}_{name}", Kind.COUNTER, text, labels)


def _histogram(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}_{name}", Kind.HISTOGRAM, text, labels)


BUILD = _gauge("build_info", "Always 1; its labels say what runs", "version", "mode", "exchange")
BOT = _gauge("bot_info", "Always 1; the bot's name in its orders", "bot")
HEALTHY = _gauge("healthy", "1 where /health says that all is well")
TROUBLES = _gauge("troubles", "Reasons for which the bot is not well")
BREAKER = _gauge("circuit_breaker_state", "1 for the state that the breaker is in", "state")
BREAKER_FAILURES = _gauge("circuit_breaker_failures", "Failures in a row")
BREAKER_CHANGES = _counter("circuit_breaker_changes_total", "How often it opened or closed", "to")
CALLS = _counter("exchange_requests_total", "Requests to the exchange, by what came", "outcome")
WEIGHT = _gauge("request_weight", "In this minute: used at the address, allowed, own", "part")
STREAM = _gauge("stream_up", "1 where the stream is up", "stream")
RECONNECTS = _counter("stream_reconnects_total", "Connections that were lost", "stream")
CLOCK = _gauge("clock_ahead_seconds", "How far this machine's clock is ahead of the exchange's")
BOOKS = _gauge("books_bytes", "Size of the books and of their log, the archive in them", "part")
COMMITS = _histogram("commit_duration_seconds", "A transaction of the books")

STATE = _gauge("grid_state", "1 for the state that the grid is in", "symbol", "state")
WAITS = _gauge("grid_waiting", "1 for what a waiting grid waits for", "symbol", "cause")
PAUSED = _gauge("grid_paused", "1 where buys wait, for a person or for a policy", "symbol", "by")
KILLED = _gauge("kill_switch_fired", "1 for the kill switch that has fired", "symbol", "rule")
STARTED = _gauge("grid_start_time_seconds", "When the grid began (Unix time)", "symbol")
LINES = _gauge("grid_lines", "Lines of the grid", "symbol")
ORDERS = _gauge("orders", "Orders of the grid", "symbol", "side", "state")
UNSETTLED = _gauge("orders_unsettled", "Orders that have no answer yet", "symbol")
FOREIGN = _gauge("orders_foreign", "Open orders on the account that are not the bot's", "symbol")
ANSWERS = _counter("order_answers_total", "What the exchange said to orders", "symbol", "answer")
FILLS = _counter("fills_total", "Filled orders of the grid that runs", "symbol", "side")
ARCHIVED = _counter("archived_positions_total", "Closed positions moved to the archive", "symbol")
PRICE = _gauge("price", "The latest price", "symbol", "coin")
SEEN = _gauge("price_time_seconds", "When the price was seen (Unix time, minutes)", "symbol")
RANGE = _gauge("range_price", "Price of lowest and highest line", "symbol", "coin", "end")
PLACE = _gauge("range_position_ratio", "The price's place in the range: 0 low, 1 high", "symbol")
INVESTMENT = _gauge("investment", "What the grid was given", "symbol", "coin")
EQUITY = _gauge("equity", "What the grid is worth", "symbol", "coin")
DRAWDOWN = _gauge("drawdown_ratio", "How far equity is below its highest since the start", "symbol")
GRID_PROFIT = _gauge("grid_profit", "Profit of matched pairs after fees", "symbol", "coin")
UNREALIZED = _gauge("unrealized_profit", "Gain of what is held, at the price", "symbol", "coin")
HELD = _gauge("held", "What the grid holds of the base coin", "symbol", "coin")
FEES = _gauge("fees", "Fees of the grid that runs, by the coin paid in", "symbol", "coin")
FEES_VALUE = _gauge("fees_value", "All fees in the quote coin", "symbol", "coin")
ACKNOWLEDGED = _histogram("acknowledgement_duration_seconds", "Order until answer", "symbol")
STEPS = _histogram("step_duration_seconds", "A completed step of the grid", "symbol")

METRICS = (
    BUILD, BOT, HEALTHY, TROUBLES, BREAKER, BREAKER_FAILURES, BREAKER_CHANGES, CALLS, WEIGHT,
    STREAM, RECONNECTS, CLOCK, BOOKS, COMMITS, STATE, WAITS, PAUSED, KILLED, STARTED, LINES,
    ORDERS, UNSETTLED, FOREIGN, ANSWERS, FILLS, ARCHIVED, PRICE, SEEN, RANGE, PLACE, INVESTMENT,
    EQUITY, DRAWDOWN, GRID_PROFIT, UNREALIZED, HELD, FEES, FEES_VALUE, ACKNOWLEDGED, STEPS,
    *of_process(PREFIX),
)  # fmt: skip

# Fields of a grid's document that are amounts in its quote coin.
_AMOUNTS = (
    (PRICE, "price"), (INVESTMENT, "investment"), (EQUITY, "equity"), (GRID_PROFIT, "grid_profit"),
    (UNREALIZED, "unrealised_profit"), (FEES_VALUE, "fees"),
)  # fmt: skip


def exposition(status: Callable[[], dict[str, Any]], timings: Callable[[], Timings]) -> bytes:
    """What `/metrics` says now.

    Args:
        status: gives the document behind `/api/status`.
        timings: gives how long things took.
    """
    return render(reading(status(), timings()), PREFIX)


def reading(status: dict[str, Any], timings: Timings) -> Reading:
    """The values of all metrics.

    Args:
        status: the document behind `/api/status`.
        timings: how long things took.
    """
    values: dict[Metric, dict[tuple[str, ...], float | Durations]] = {}
    for metric, labels, value in (*_of_bot(status), *_of_grids(status["grids"])):
        values.setdefault(metric, {})[labels] = value
    values[BOOKS] = {(part,): float(size) for part, size in timings.books_bytes.items()}
    values[COMMITS] = {} if timings.commits is None else {(): timings.commits}
    values[ACKNOWLEDGED] = {(symbol,): took for symbol, took in timings.acknowledgements.items()}
    values[STEPS] = {(symbol,): took for symbol, took in timings.steps.items()}
    return [(metric, _ordered(values[metric])) for metric in METRICS if metric in values]


def _ordered(values: dict[tuple[str, ...], float | Durations]) -> Values:
    return dict(sorted(values.items()))


_Sample = tuple[Metric, tuple[str, ...], float]


def _of_bot(status: dict[str, Any]) -> Iterator[_Sample]:
    yield BUILD, (status["version"], status["mode"], status["exchange"]), 1
    yield BOT, (status["bot_name"],), 1
    yield HEALTHY, (), status["health"]["ok"]
    yield TROUBLES, (), len(status["health"]["reasons"])
    connection = status["connection"]
    if not connection:
        return  # before the first step
    circuit = connection["circuit"]
    for state in _BREAKER:
        yield BREAKER, (state.replace("-", "_"),), circuit["state"] == state
    yield BREAKER_FAILURES, (), circuit["failures"]
    for to, times in connection["circuit_changes"].items():
        yield BREAKER_CHANGES, (to,), times
    # What follows, not every way to an exchange has.
    for outcome, times in connection.get("requests", {}).items():
        yield CALLS, (outcome,), times
    for part in ("used", "limit", "own", "share"):
        if connection[f"weight_{part}"] is not None:
            yield WEIGHT, (part,), connection[f"weight_{part}"]
    for stream, losses in (("account", "reconnects"), ("market", "market_reconnects")):
        if connection[f"{stream}_stream"] is not None:
            yield STREAM, (stream,), connection[f"{stream}_stream"]
        if losses in connection:
            yield RECONNECTS, (stream,), connection[losses]
    yield CLOCK, (), connection["clock_ahead_ms"] / 1000


def _of_grids(grids: list[dict[str, Any]]) -> Iterator[_Sample]:
    for grid in grids:
        yield from _situation(grid)
        yield from _orders(grid)
        if grid["started_ms"] is not None:
            yield from _figures(grid)


def _situation(grid: dict[str, Any]) -> Iterator[_Sample]:
    """What the grid does, and what keeps it from more."""
    symbol = grid["symbol"]
    for state in STATES:
        yield STATE, (symbol, state), grid["state"] == state
    for cause in CAUSES:
        yield WAITS, (symbol, cause), grid["cause"] == cause
    yield PAUSED, (symbol, "person"), grid["paused_by_hand"]
    yield PAUSED, (symbol, "policy"), bool(grid["paused"]) and not grid["paused_by_hand"]
    fired = grid["halt"]["reason"] if grid["halt"] else None
    for rule in _KILL_SWITCHES:
        yield KILLED, (symbol, rule), fired == rule
    if fired is not None and fired not in _KILL_SWITCHES:
        yield KILLED, (symbol, "other"), 1


def _orders(grid: dict[str, Any]) -> Iterator[_Sample]:
    symbol = grid["symbol"]
    counts = {
        (side, state): 0
        for side in ("buy", "sell")
        for state in ("intended", "open", "refused", "waits_for_price")
    }
    for order in grid["orders"]:
        counts[order["side"], _order_state(order)] += 1
    for (side, state), count in counts.items():
        yield ORDERS, (symbol, side, state), count
    yield UNSETTLED, (symbol,), grid["unsettled"]
    yield FOREIGN, (symbol,), grid["foreign_orders"]
    for answer in ("acknowledged", "refused", "unanswered", "doubled"):
        yield ANSWERS, (symbol, answer), grid["answers"][answer]
    yield ARCHIVED, (symbol,), grid["archived"]


def _order_state(order: dict[str, Any]) -> str:
    if order["refused"]:
        return "refused"
    return "waits_for_price" if order["waits_for_price"] else str(order["state"])


def _figures(grid: dict[str, Any]) -> Iterator[_Sample]:
    """What a grid that runs has made, in coins."""
    symbol, quote = grid["symbol"], grid["quote"]
    yield STARTED, (symbol,), grid["started_ms"] / 1000
    yield FILLS, (symbol, "buy"), grid["buys"]
    yield FILLS, (symbol, "sell"), grid["sells"]
    yield HELD, (symbol, grid["base"]), float(grid["base_held"])
    for coin, amount in grid["fees_by_coin"].items():
        yield FEES, (symbol, coin), float(amount)
    for metric, name in _AMOUNTS:
        if grid[name] is not None:
            yield metric, (symbol, quote), float(grid[name])
    if grid["price_ms"] is not None:
        yield SEEN, (symbol,), grid["price_ms"] / 1000
    if grid["drawdown"] is not None:
        yield DRAWDOWN, (symbol,), float(grid["drawdown"])
    yield from _range(grid)


def _range(grid: dict[str, Any]) -> Iterator[_Sample]:
    symbol, lines = grid["symbol"], grid["lines"]
    yield LINES, (symbol,), len(lines)
    lower, upper = float(lines[0]["price"]), float(lines[-1]["price"])
    yield RANGE, (symbol, grid["quote"], "lower"), lower
    yield RANGE, (symbol, grid["quote"], "upper"), upper
    if grid["price"] is not None:
        yield PLACE, (symbol,), (float(grid["price"]) - lower) / (upper - lower)
