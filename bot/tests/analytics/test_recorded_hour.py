"""A bot that traded is held against a backtest of what was recorded meanwhile: real processes."""

import shutil
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from analytics.compare.books import Stretch
from analytics.compare.day import Comparison, compare_symbol
from analytics.compare.prices import read_prices
from analytics.compare.steps import Why
from gridbot.core.grid import Fees, FeesIn
from gridbot.store import Store

from bot.tests.analytics.hour import Hour, run
from bot.tests.recorder.processes import wait_until

FEES = Fees(Decimal("0.001"), FeesIn.RECEIVED)


# It rested for so long that nobody can say that it was on its way.
RESTED = "o.role = 'grid' AND f.maker AND f.time_ms - o.created_ms > 7500"


@pytest.fixture(scope="module")
def hour(tmp_path_factory):
    hour = Hour(tmp_path_factory.mktemp("hour"))
    try:
        hour.record()
        wait_until(lambda: len(hour.booked()) > 12 and hour.booked(RESTED))
        hour.until = hour.finish_amid()
        yield hour
    finally:
        hour.close()


def compared(hour: Hour, state: Path, from_ms: int, to_ms: int) -> Comparison:
    ready = hour.recorder.data / "ready/exchange=binance/kind=trades/symbol=BTCUSDT"
    prices = read_prices([ready], from_ms, to_ms)
    store = Store(state, read_only=True)
    try:
        (found,) = compare_symbol(store, "BTC/USDT", prices, FEES, Stretch(from_ms, to_ms))
    finally:
        store.close()
    return found


def test_every_fill_is_explained(hour):
    found = compared(hour, hour.state, int(hour.began * 1000), hour.until)
    assert Why.UNEXPLAINED not in found.classes()
    both = [each.pairing for each in found.differences if each.pairing.expected]
    assert sum(each.done is not None for each in both) > 8
    bot, backtest = found.side(done=True), found.side(done=False)
    money = sum((amount for _, amount in found.classes().values()), Decimal(0))
    assert money == bot.result - backtest.result
    told = {each.pairing.done.name for each in found.differences if each.pairing.done}
    with closing(sqlite3.connect(hour.state / "gridbot.sqlite3")) as books:
        rows = books.execute(
            "SELECT DISTINCT leg FROM orders JOIN fills USING (client_id) WHERE time_ms < ?",
            (hour.until,),
        )
        assert told == {row[0] for row in rows}


def test_the_command_says_the_same(hour):
    for document in hour.compare():
        for grid in document["symbols"]["BTC/USDT"]["grids"]:
            parts = [Decimal(each["money"]) for each in grid["reasons"].values()]
            assert sum(parts) == Decimal(grid["difference"])
            bot = Decimal(grid["bot"]["result"])
            assert bot - Decimal(grid["backtest"]["result"]) == Decimal(grid["difference"])
            assert sum(each["steps"] for each in grid["reasons"].values()) == len(grid["steps"])


def test_a_fill_that_the_books_lack_is_unexplained(hour, tmp_path):
    planted = tmp_path / "books"
    shutil.copytree(hour.state, planted)
    with closing(sqlite3.connect(planted / "gridbot.sqlite3")) as books:
        name, leg = books.execute(
            f"SELECT o.client_id, o.leg FROM orders o JOIN fills f USING (client_id) WHERE {RESTED}"  # noqa: S608
            " ORDER BY f.time_ms LIMIT 1"
        ).fetchone()
        books.execute("DELETE FROM fills WHERE client_id = ?", (name,))
        books.execute("UPDATE orders SET state = 'open' WHERE client_id = ?", (name,))
        books.execute("UPDATE legs SET complete = 0 WHERE id = ?", (leg,))
        books.commit()
    found = compared(hour, planted, int(hour.began * 1000), hour.until)
    assert Why.UNEXPLAINED in found.classes()
    words = ("--state", planted, "--recording", hour.recorder.data)
    answers = [
        run("analytics", "compare", *words, "--date", each["date"]) for each in hour.compare()
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
    begin, whole = (
        int(hour.began * 1000),
        compared(hour, hour.state, int(hour.began * 1000), hour.until),
    )
    done = [each.pairing.done.step.time_ms for each in whole.differences if each.pairing.done]
    middle = sorted(done)[len(done) // 2]
    halves = [compared(hour, hour.state, *half) for half in ((begin, middle), (middle, hour.until))]
    for half in halves:
        assert Why.UNEXPLAINED not in half.classes()
    told = [
        each.pairing.done.step.time_ms
        for half in halves
        for each in half.differences
        if each.pairing.done
    ]
    assert sorted(told) == sorted(done)
