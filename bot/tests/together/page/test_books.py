"""Profit, days and ended grids on the page are those of the books, digit by digit."""

import time
from decimal import Decimal

import pytest
from gridbase.market import plain
from gridbot.accounting.overview import thinned
from gridbot.accounting.profit_report import By, document, make_report
from gridbot.accounting.trade_history import trades
from gridbot.service.status import RECENT_FILLS
from gridbot.service.view import shown as cut
from gridbot.store import Sample, Store

from bot.tests.together.trading.test_policies import FALL

from .conftest import reported
from .test_page import rows_of, shown, text

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
D = Decimal


def books_of(world):
    return Store(world.config.state_directory, read_only=True)


def cells(page, name):
    return [["".join(cell["children"]) for cell in row["children"]] for row in rows_of(page, name)]


@pytest.fixture
def days(make_world):
    """A grid that traded on three days, and was off in between."""
    world = make_world()
    for _ in range(2):
        reported(world, 60)
        world.clock.sleep(1.5 * 86_400)
    status, history = reported(world, 60)
    return world, status, history


def test_days_are_those_of_the_report(days, browser):
    world, status, history = days
    read = status["read"]["grids"]["BTC/USDT"]
    store = books_of(world)
    try:
        periods = document(make_report(store, "BTC/USDT", By.DAY, None))["periods"]
    finally:
        store.close()
    assert [day["day"] for day in read["days"]] == sorted(periods, reverse=True)
    assert len(periods) >= 3
    for day in read["days"]:
        for name in ("pairs", "grid_profit", "fees", "result"):
            assert day[name] == periods[day["day"]][name], name
    assert sum(D(day["change"]) for day in read["days"]) == D(read["days"][0]["result"])
    assert sum(D(day["grid_profit"]) for day in read["days"]) == D(status["grid_profit"])
    table = cells(shown(browser, status, history), "days")
    assert table == [
        [day["day"], str(day["pairs"])]
        + [cut(day[name], 2) for name in ("grid_profit", "change", "fees")]
        for day in read["days"]
    ]


def test_total_profit_is_equity_less_investment(days, browser):
    _, status, history = days
    earned, page = status["profit"], shown(browser, status, history)
    total = D(status["equity"]) - D(status["investment"])
    assert D(earned["total"]) == total
    assert total == D(status["grid_profit"]) + D(status["unrealised_profit"])
    assert D(earned["percent"]) == round(100 * total / D(status["investment"]), 2)
    money = f"{cut(earned['total'], 2)} USDT ({cut(earned['percent'], 2)} %)"
    day, year = cut(earned["per_day"], 2), cut(earned["per_year_percent"], 2)
    figures = page["figures"]["text"]
    assert f"Total profit{money}Since" in figures
    assert f"On average{day} a day, {year} % a year" in figures


def test_before_a_day_is_over_there_is_no_average(make_world, browser):
    status, history = reported(make_world(), 60)
    assert status["profit"]["per_day"] is None
    assert "On average" not in text(shown(browser, status, history), "figures")


def test_the_next_orders_and_what_is_held(days, browser):
    _, status, history = days
    orders = [order for order in status["orders"] if order["state"] == "open"]
    price = D(status["price"])
    best = {
        "buy": max(D(order["price"]) for order in orders if order["side"] == "buy"),
        "sell": min(D(order["price"]) for order in orders if order["side"] == "sell"),
    }
    figures = shown(browser, status, history)["figures"]["text"]
    for side, line in best.items():
        told = status["next"][side]
        assert D(told["price"]) == line
        assert D(told["distance_percent"]) == round(100 * (line - price) / price, 2)
        way = f"{cut(told['distance_percent'], 2)} % away"
        assert f"Next {side}{told['quantity']} at {cut(told['price'])} ({way})" in figures
    held = D(status["base_held"]) * D(status["average_cost"])
    unrealised = D(status["base_held"]) * price - held
    assert abs(unrealised - D(status["unrealised_profit"])) < D("0.00001")


def test_ended_grids_are_listed_with_what_they_came_to(make_world, browser):
    world = make_world(FALL, at_end="hold")
    status, history = reported(world, 60, stop={"loss_price": "46500", "liquidate": True})
    (ended,) = status["read"]["grids"]["BTC/USDT"]["ended"]
    result = status["closing"]
    assert ended["equity"] == result["equity"]
    assert D(ended["profit"]) == D(result["equity"]) - D(ended["investment"])
    assert ended["reason"] == result["reason"]
    row, total = cells(shown(browser, status, history), "ended")
    assert row[2:] == [
        cut(ended["investment"], 2),
        cut(ended["profit"], 2),
        f"{cut(ended['percent'], 2)} %",
        result["reason"],
    ]
    assert total == ["all 1", "", "", cut(ended["profit"], 2)]


def test_without_books_the_page_shows_the_rest(browser, make_world):
    world = make_world()
    runner = world.runner()
    runner._books.read()
    assert "holds no grid yet" in runner.books()["error"]
    assert runner.books()["grids"] == {}
    page = shown(browser, runner.status(), runner.history())
    assert "days-box" not in page
    assert "ended-box" not in page


def test_books_are_read_again_once_it_is_time(make_world):
    world = make_world()
    reported(world, 60)
    runner = world.runner()
    runner._books.read()
    assert runner._books._due - world.clock.monotonic() >= 60
    first = runner.books()
    world.clock.sleep(runner._books._due - world.clock.monotonic())
    assert runner.books() is first  # a thread reads meanwhile
    deadline = time.monotonic() + 30
    while runner.books() is first:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert runner.books() == first


def test_the_latest_trades_are_those_of_the_books(days):
    world, status, _ = days
    store = books_of(world)
    try:
        every = list(trades(store, "BTC/USDT"))
    finally:
        store.close()
    assert len(every) > RECENT_FILLS
    names = ("time", "side", "role", "price", "quantity", "fee", "profit")
    told = [tuple(one[name] for name in names) for one in status["recent_fills"]]
    stored = []
    for row, fill in every[: -RECENT_FILLS - 1 : -1]:
        amounts = (fill.price, fill.quantity, fill.commission, row.profit)
        texts = (None if amount is None else plain(amount) for amount in amounts)
        stored.append((fill.time_ms, fill.side, row.order.role, *texts))
    assert told == stored
    assert {one["side"] for one in status["recent_fills"] if one["profit"]} == {"sell"}


def test_an_overview_of_years_stays_small():
    now_ms = 1_790_000_000_000 // HOUR_MS * HOUR_MS
    hours = range(now_ms - 5 * 365 * DAY_MS, now_ms, HOUR_MS)
    samples = (
        Sample("BTC/USDT", hour, D(1), D(2), D(1), D(number), 3600, 0)
        for number, hour in enumerate(hours)
    )
    seen = thinned(samples, now_ms)
    assert len(seen) < 250 + 24 * 4 + 24 * 7 + 1
    assert seen == sorted(seen)
    assert seen[0] == (hours[0] + HOUR_MS, "0")
    assert seen[-1] == (now_ms, str(len(hours) - 1))
    week = [time for time, _ in seen if time > now_ms - 7 * DAY_MS]
    assert week == list(range(now_ms - 7 * DAY_MS + HOUR_MS, now_ms + 1, HOUR_MS))
    assert thinned([], now_ms) == []


SPANS = {"24 h": 24, "7 d": 168, "30 d": 720, "all": 999}


@pytest.mark.parametrize(("span", "hours"), SPANS.items())
def test_the_chart_shows_the_time_that_is_chosen(browser, make_world, span, hours):
    status, history = reported(make_world(), 60)
    now_ms = history["grids"]["BTC/USDT"][-1][0]
    status["grids"][0] |= {"state": "waiting"}  # no newer price
    history["grids"]["BTC/USDT"] = [[now_ms, "50000"]]
    history["hours"]["BTC/USDT"] = [[now_ms - n * HOUR_MS, "50000"] for n in range(999, 0, -1)]
    (look,) = browser.look({"status": status, "history": history, "span": span})
    drawn = look["ids"]["grid"]["tree"]["children"]
    (line,) = [one for one in drawn if one["name"] == "polyline"]
    assert len(line["attributes"]["points"].split()) == hours + 1
    buttons = look["ids"]["spans"]["tree"]["children"]
    pressed = {one["children"][0]: one["attributes"]["aria-pressed"] for one in buttons}
    assert pressed == dict.fromkeys(SPANS, "false") | {span: "true"}
