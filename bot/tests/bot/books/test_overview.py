"""What the page shows of a symbol's days, ended grids and prices."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate

from gridbase.tax_lots import DAY_MS
from gridbot.accounting.overview import overview, thinned
from gridbot.store import GridResult, Sample

from .conftest import START_MS, SYMBOL, Life

HOUR_MS = 3_600_000


def test_the_latest_90_days_are_shown_newest_first(lives, store):
    first_ms = lives[1].now_ms // DAY_MS * DAY_MS + DAY_MS
    price = Decimal(50000)
    seen = [Sample(SYMBOL, first_ms + n * DAY_MS, *[price] * 4, 3600, 0) for n in range(95)]
    store.sample(seen)
    days = [one["day"] for one in overview(store, SYMBOL, seen[-1].hour_ms)["days"]]
    each = [datetime.fromtimestamp(one.hour_ms / 1000, UTC) for one in seen[: -90 - 1 : -1]]
    assert days == [day.date().isoformat() for day in each]


def test_a_day_has_the_peak_until_then_and_the_fall_from_it(store):
    life = Life(store, price="54000")
    life.go("46000")
    first_ms = life.now_ms // DAY_MS * DAY_MS + DAY_MS
    prices = [Decimal(price) for price in ("45000", "60000", "50000", "70000", "40000")]
    seen = [
        Sample(SYMBOL, first_ms + n * DAY_MS, *[price] * 4, 3600, 0)
        for n, price in enumerate(prices)
    ]
    store.sample(seen)
    days = overview(store, SYMBOL, seen[-1].hour_ms)["days"][::-1]
    results = [Decimal(one["result"]) for one in days]
    assert results[0] < 0 < results[2]
    peaks = list(accumulate(results, max, initial=Decimal(0)))[1:]
    assert [Decimal(one["peak"]) for one in days] == peaks
    falls = [peak - result for peak, result in zip(peaks, results, strict=True)]
    assert [Decimal(one["drawdown"]) for one in days] == falls


def test_of_many_ended_grids_the_latest_are_shown_and_all_are_summed(store, monkeypatch):
    """One of them, of an older version's books, has no result: nothing is known of its profit."""
    monkeypatch.setattr("gridbot.accounting.overview.ENDED", 3)
    earned, ended_ms = [None, *map(Decimal, ("2", "-5", "11.5", "0.25"))], []
    for number, profit in enumerate(earned, 1):
        life = Life(store, number=number, start_ms=START_MS + number * DAY_MS)
        equity = None if profit is None else life.investment + profit
        result = profit and GridResult(equity, Decimal(50000), Decimal(0), profit, "by hand")
        ended_ms.append(life.now_ms)
        store.close_grid_run(number, life.now_ms, result)
        if number == 1:
            (alone,) = overview(store, SYMBOL, life.now_ms)["ended"]
            assert (alone["equity"], alone["profit"], alone["reason"]) == (None, None, "")
    found = overview(store, SYMBOL, life.now_ms)
    assert [one["ended_ms"] for one in found["ended"]] == ended_ms[:-4:-1]
    assert [one["profit"] for one in found["ended"]] == ["0.25", "11.5", "-5"]
    assert (found["ended_count"], found["ended_profit"]) == (5, "8.75")


def test_prices_of_a_week_are_kept_by_the_hour_and_of_a_month_each_sixth():
    now_ms = 1_790_000_000_000 // (24 * HOUR_MS) * 24 * HOUR_MS + HOUR_MS
    ages = range(40 * 24, -1, -1)  # hours ago at which each ended
    one = [Decimal(1)] * 4
    samples = [Sample(SYMBOL, now_ms - (age + 1) * HOUR_MS, *one, 3600, 0) for age in ages]
    kept = [(now_ms - time) // HOUR_MS for time, _ in thinned(samples, now_ms)]
    assert kept == [
        *(age for age in ages if age >= 30 * 24),
        *(age for age in ages if 7 * 24 <= age < 30 * 24 and (age - 1) % 6 == 0),
        *(age for age in ages if age < 7 * 24),
    ]


def test_an_ended_grid_without_an_investment_has_no_percentage(lives, store):
    now_ms = lives[1].now_ms
    (ended,) = overview(store, SYMBOL, now_ms)["ended"]
    assert ended["percent"] is not None
    store._connection.execute("UPDATE generations SET investment = '0' WHERE id = 1")
    (ended,) = overview(store, SYMBOL, now_ms)["ended"]
    assert (ended["profit"], ended["percent"]) == ("1", None)
