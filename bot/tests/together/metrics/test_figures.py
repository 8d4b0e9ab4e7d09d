"""What `/metrics` says of a bot that trades, compared with its books."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.market import coins_of
from gridbase.metrics import Access, MetricsPage, table
from gridbot.service.grid_state import CAUSES, STATES
from gridbot.service.metrics import METRICS, exposition
from gridbot.service.web import Page
from gridbot.store import Store
from gridbot.trading.session import engine_of
from gridexchange.rest import metrics as exchange
from prometheus_client.parser import text_string_to_metric_families
from watcher import metrics as watcher

from bot.tests.base.metrics_rules import served_problems
from bot.tests.together.trading.conftest import (
    World,
    make_world,  # noqa: F401 (fixtures)
    tmp_path,  # noqa: F401 (fixtures)
    unreachable,
)
from bot.tests.together.trading.test_policies import GRIDS, SYMBOLS, path

ROOT = Path(__file__).parents[4]
SYMBOL = "BTC/USDT"
WEIGHTS = ("used", "limit", "own", "share")
BOUNDED = {
    "symbol": {SYMBOL, "ETH/USDT"},
    "coin": {"BTC", "ETH", "USDT"},
    "side": {"buy", "sell"},
    "state": {*STATES, "closed", "open", "half_open", "intended", "refused", "waits_for_price"},
    "cause": set(CAUSES),
}


def steps(world, seconds: float):
    """A bot that has traded for so long and stands still, with its books open."""
    runner = world.runner()
    until = world.clock.seconds + seconds
    while world.clock.seconds < until:
        world.clock.sleep(runner._step())
    return runner


def scrape(runner) -> str:
    return exposition(runner.status, runner.timings).decode()


def values(text: str) -> dict[tuple[str, ...], float]:
    """Values by name and the values of the labels, in the order of their declaration."""
    order = {one.name.removesuffix("_total"): one.labels for one in METRICS}
    return {
        (sample.name, *(sample.labels[label] for label in order[family.name])): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def books_of(world, symbol: str):
    """The books as the database has them: read anew."""
    store = Store(world.config.state_directory, read_only=True)
    try:
        grid_run = store.grid_run(symbol)
        engine = engine_of(world.config.account, grid_run)
        store.restore(grid_run.id, engine)
        return engine, grid_run
    finally:
        store.close()


def check_books(world, symbol: str, told: dict, price: Decimal) -> None:
    engine, grid_run = books_of(world, symbol)
    base, quote = coins_of(symbol)
    books = engine.books
    amounts = {
        ("gridbot_price", symbol, quote): price,
        ("gridbot_investment", symbol, quote): grid_run.investment,
        ("gridbot_equity", symbol, quote): books.equity(price),
        ("gridbot_grid_profit", symbol, quote): books.grid_profit,
        ("gridbot_unrealized_profit", symbol, quote): books.unrealised_profit(price),
        ("gridbot_fees_value", symbol, quote): books.fees_in_quote,
        ("gridbot_held", symbol, base): books.base_held,
        ("gridbot_range_price", symbol, quote, "lower"): engine.plan.lines[0],
        ("gridbot_range_price", symbol, quote, "upper"): engine.plan.lines[-1],
        **{("gridbot_fees", symbol, coin): paid for coin, paid in books.fees.items()},
    }
    for name, amount in amounts.items():
        assert repr(told[name]) == repr(float(amount)), name  # every digit that a float has
    assert told["gridbot_fills_total", symbol, "buy"] == books.buys
    assert told["gridbot_fills_total", symbol, "sell"] == books.sells
    for side in ("buy", "sell"):
        orders = [one for one in engine.live.values() if one.side == side]
        for state in ("intended", "open"):
            count = sum(one.state == state for one in orders)
            assert told["gridbot_orders", symbol, side, state] == count
    assert told["gridbot_grid_start_time_seconds", symbol] == grid_run.started_ms / 1000


def test_every_amount_is_that_of_the_books(make_world):  # noqa: F811
    world = make_world()
    runner = steps(world, 120)
    told, status = values(scrape(runner)), runner.status()
    check_books(world, SYMBOL, told, Decimal(status["price"]))
    assert told["gridbot_fills_total", SYMBOL, "buy"] > 3
    assert told["gridbot_grid_profit", SYMBOL, "USDT"] > 0
    lower, upper = 47000, 53000
    place = (float(status["price"]) - lower) / (upper - lower)
    assert told["gridbot_range_position_ratio", SYMBOL] == pytest.approx(place)
    assert 0 <= told["gridbot_drawdown_ratio", SYMBOL] < 1
    answers = runner._workers[0].answers
    assert told["gridbot_acknowledgement_duration_seconds_count", SYMBOL] == answers.acknowledged
    assert told["gridbot_commit_duration_seconds_count",] > answers.acknowledged
    requests = sum(told["gridbot_exchange_requests_total", one] for one in ("answered", "refused"))
    assert requests == len(world.wire.requests)
    size = (world.config.state_directory / "gridbot.sqlite3").stat().st_size
    assert told["gridbot_books_bytes", "database"] == size


def test_of_several_grids_each_has_its_own(tmp_path):  # noqa: F811
    world = World(tmp_path, path(50_000, minutes=1), symbols=SYMBOLS)
    del world.document["market"], world.document["grid"]
    world.document["grids"] = GRIDS[:2]
    try:
        runner = steps(world, 120)
        text, status = scrape(runner), runner.status()
        for grid in status["grids"]:
            check_books(world, grid["symbol"], values(text), Decimal(grid["price"]))
        assert served_problems(text, METRICS, BOUNDED, most=32) == []
    finally:
        world.close()


def test_what_is_served_is_what_is_declared(make_world):  # noqa: F811
    world = make_world()
    runner = world.runner()
    assert served_problems(scrape(runner), METRICS, BOUNDED, most=30) == []  # before the first step
    until = world.clock.seconds + 60
    while world.clock.seconds < until:
        world.clock.sleep(runner._step())
    text = scrape(runner)
    assert served_problems(text, METRICS, BOUNDED, most=30) == []
    served = {name for name, *_ in values(text)}
    for order in world.exchange_orders():
        assert order not in text
    named = {one.name for one in METRICS if one.kind != "histogram"}
    lacking = {name for name in named - served if not name.startswith("gridbot_process_")}
    assert lacking <= {"gridbot_fees"}


@pytest.mark.parametrize("file", ["binance", "ccxt", "ib"])
def test_every_way_to_an_exchange_has_metrics(make_world, file):  # noqa: F811
    """What its connection does not tell is left out; what is needed, each of them tells."""
    source = (ROOT / f"bot/src/gridbot/exchanges/{file}/connection.py").read_text(encoding="utf-8")
    told = source.partition("def document")[2].partition("\n        }\n")[0]
    runner = steps(make_world(), 10)
    status = runner.status()
    known = set(re.findall(r'"(\w+)":', told)) | {f"weight_{one}" for one in WEIGHTS}
    status["connection"] = {
        key: value for key, value in status["connection"].items() if key in known
    }
    text = exposition(lambda: status, runner.timings).decode()
    assert values(text)["gridbot_circuit_breaker_state", "closed"] == 1


def test_states_are_one_and_zero(make_world):  # noqa: F811
    world = make_world()
    runner = steps(world, 30)
    told = values(scrape(runner))
    assert {one: told["gridbot_grid_state", SYMBOL, one] for one in STATES} == {
        one: float(one == "trading") for one in STATES
    }
    assert told["gridbot_healthy",] == 1
    world.wire.before = unreachable
    for _ in range(30):
        world.clock.sleep(runner._step())
    told = values(scrape(runner))
    assert told["gridbot_grid_state", SYMBOL, "waiting"] == 1
    assert told["gridbot_grid_waiting", SYMBOL, "exchange"] == 1
    assert told["gridbot_circuit_breaker_state", "open"] == 1
    assert told["gridbot_circuit_breaker_changes_total", "open"] >= 1
    assert told["gridbot_healthy",] == 0
    world.wire.before = lambda _method, _path: None
    world.clock.sleep(120)
    for _ in range(30):
        world.clock.sleep(runner._step())
    told = values(scrape(runner))
    assert told["gridbot_circuit_breaker_state", "closed"] == 1
    assert told["gridbot_circuit_breaker_changes_total", "closed"] == 1
    assert told["gridbot_grid_state", SYMBOL, "trading"] == 1


def test_the_page_serves_them_to_those_who_may(make_world):  # noqa: F811
    runner = steps(make_world(), 10)
    scraped = MetricsPage(
        lambda: exposition(runner.status, runner.timings), Access("the-token", "0.0.0.0")
    )

    def get(page, **environ) -> tuple[str, dict, bytes]:
        got = {}
        body = page(
            {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", **environ},
            lambda status, headers: got.update(status=status, headers=dict(headers)),
        )
        return got["status"], got["headers"], b"".join(body)

    status, headers, body = get(Page(runner, scraped), HTTP_AUTHORIZATION="Bearer the-token")
    assert (status, headers["Content-Type"]) == (
        "200 OK",
        "text/plain; version=0.0.4; charset=utf-8",
    )
    assert b"gridbot_equity{" in body
    status, headers, body = get(Page(runner, scraped))
    assert status == "401 Unauthorized"
    assert b"gridbot_" not in body
    assert get(Page(runner))[0] == "404 Not Found"


def test_the_table_in_the_documentation_is_that_of_the_code():
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert table(METRICS) in text, "run docs/metrics_tables.py"
    assert table(exchange.METRICS) in text, "run docs/metrics_tables.py"
    assert table(watcher.METRICS) in text, "run docs/metrics_tables.py"
