"""A bot that traded is held against a backtest of what was recorded meanwhile: real processes."""

import shutil
import sqlite3
from contextlib import closing
from decimal import Decimal

import pytest
from analytics.compare.books import Stretch
from analytics.compare.day import compare_symbol
from analytics.compare.prices import read_prices
from analytics.compare.steps import Why
from gridbot.core.grid import Fees, FeesIn
from gridbot.store import Store

from bot.tests.analytics.hour import Hour, run

FEES = Fees(Decimal("0.001"), FeesIn.RECEIVED)


@pytest.fixture(scope="module")
def hour(tmp_path_factory):
    hour = Hour(tmp_path_factory.mktemp("hour"))
    try:
        hour.record()
        hour.finish()
        yield hour
    finally:
        hour.close()


def grids_of(documents: list[dict]) -> list[dict]:
    return [grid for each in documents for grid in each["symbols"]["BTC/USDT"]["grids"]]


def test_every_fill_is_explained(hour):
    documents = hour.compare()
    grids = grids_of(documents)
    assert [each["unexplained"] for each in documents] == [0] * len(documents)
    both = [step for grid in grids for step in grid["steps"] if step["expected"] and step["done"]]
    assert len(both) > 8
    for grid in grids:
        parts = [Decimal(each["money"]) for each in grid["reasons"].values()]
        assert sum(parts) == Decimal(grid["difference"])
        bot = Decimal(grid["bot"]["result"])
        assert bot - Decimal(grid["backtest"]["result"]) == Decimal(grid["difference"])
    with closing(sqlite3.connect(hour.state / "gridbot.sqlite3")) as books:
        (fills,) = books.execute("SELECT count(DISTINCT client_id) FROM fills").fetchone()
    assert sum(1 for grid in grids for step in grid["steps"] if step["done"]) == fills


def test_a_fill_that_the_books_lack_is_unexplained(hour, tmp_path):
    planted = tmp_path / "books"
    shutil.copytree(hour.state, planted)
    with closing(sqlite3.connect(planted / "gridbot.sqlite3")) as books:
        # The last order that rested for long before it traded.
        name, leg = books.execute(
            "SELECT o.client_id, o.leg FROM orders o JOIN fills f USING (client_id)"
            " WHERE o.role = 'grid' AND f.maker AND f.time_ms - o.created_ms > 5500"
            " ORDER BY f.time_ms DESC LIMIT 1"
        ).fetchone()
        books.execute("DELETE FROM fills WHERE client_id = ?", (name,))
        books.execute("UPDATE orders SET state = 'open' WHERE client_id = ?", (name,))
        books.execute("UPDATE legs SET complete = 0 WHERE id = ?", (leg,))
        books.commit()
    answers = [
        run(
            *("analytics", "compare", "--state", planted, "--recording", hour.recorder.data),
            *("--date", each["date"]),
        )
        for each in hour.compare()
    ]
    assert 1 in [each.returncode for each in answers]
    assert "unexplained" in "".join(each.stdout for each in answers)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--date", "31.1.2026"], "--date 31.1.2026 needs a day such as 2026-01-31"),
        (["--date", "2020-01-31"], "nothing is recorded"),
        (["--symbol", "ETH/USDT"], "holds BTC/USDT only"),
        (["--exchange", "kraken"], "no trades of BTCUSDT of kraken are in it"),
        (["--fee-rate", "2"], "--fee-rate = 2 needs an amount"),
    ],
)
def test_a_mistake_is_one_line(hour, words, line):
    told = run(
        *("analytics", "compare", "--state", hour.state, "--recording", hour.recorder.data), *words
    )
    assert told.returncode in {2, 4}
    assert line in told.stderr
    assert told.stderr.count("\n") == 1


def test_a_day_may_begin_while_the_grid_trades(hour):
    ready = hour.recorder.data / "ready/exchange=binance/kind=trades/symbol=BTCUSDT"
    begin, end = int(hour.began * 1000), int(hour.over_at * 1000) + 60_000
    store = Store(hour.state, read_only=True)
    done = 0
    try:
        for stretch in _halves(begin, end, (begin + int(hour.over_at * 1000)) // 2):
            prices = read_prices([ready], stretch.from_ms, stretch.to_ms)
            (found,) = compare_symbol(store, "BTC/USDT", prices, FEES, stretch)
            assert Why.UNEXPLAINED not in found.classes()
            done += sum(each.pairing.done is not None for each in found.differences)
    finally:
        store.close()
    steps = [step for grid in grids_of(hour.compare()) for step in grid["steps"]]
    assert done == sum(step["done"] is not None for step in steps)


def _halves(begin: int, end: int, middle: int) -> list[Stretch]:
    return [Stretch(begin, middle), Stretch(middle, end)]
