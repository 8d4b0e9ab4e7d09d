"""Profit by period equals the books; what cannot be known is said."""

import json
import re
from datetime import datetime
from decimal import Decimal

import pytest
from gridbase.market import plain
from gridbot.accounting.profit_plot import report_figure
from gridbot.accounting.profit_report import By, document, make_report, total
from gridbot.cli import main
from gridbot.store import Sample, Store

from .conftest import START_MS, SYMBOL, Life

HOUR_MS = 3_600_000


@pytest.mark.parametrize("by", list(By))
def test_the_periods_add_up_to_the_books(lives, store, by):
    report = make_report(store, SYMBOL, by, None)
    whole, books = total(report), [life.engine.books for life in lives]
    assert whole.pairs == sum(one.sells for one in books)
    assert whole.grid_profit == sum(one.grid_profit for one in books)
    assert whole.fees == sum(one.fees_in_quote for one in books)
    assert whole.fills == sum(len(life.fills) for life in lives)
    for coin in ("BTC", "USDT"):
        assert report.fees_by_coin[coin] == sum(one.fees[coin] for one in books)
    price = lives[1].fills[-1].price
    flows = sum(one.quote_flow + one.base_held * price for one in books)
    assert whole.result == flows
    assert report.liquidation_profit == Decimal("-12.5")
    assert list(report.periods) == sorted(report.periods)
    names = {"day": r"2026-02-1\d", "month": "2026-02"}
    assert re.fullmatch(names[by], list(report.periods)[-1])


def test_a_year_alone(lives, store):
    every = make_report(store, SYMBOL, By.MONTH, None)
    years = [make_report(store, SYMBOL, By.MONTH, year) for year in (2025, 2026)]
    assert years[0].periods | years[1].periods == every.periods
    assert list(years[0].periods) == ["2025-12"]
    assert [report.liquidation_profit for report in years] == [0, Decimal("-12.5")]
    assert make_report(store, SYMBOL, By.MONTH, 2024).drawdown is None
    assert lives


def test_the_drawdown_is_the_deepest_fall_that_prices_tell(store):
    life = Life(store, price="54000")
    life.go("46000")
    report = make_report(store, SYMBOL, By.DAY, None)
    held, quote = Decimal(0), Decimal(0)
    results = []
    for fill in life.fills:
        sign = 1 if fill.side == "buy" else -1
        held += sign * fill.quantity - (fill.commission if fill.commission_coin == "BTC" else 0)
        quote -= sign * fill.quote + (fill.commission if fill.commission_coin == "USDT" else 0)
        results.append(quote + held * fill.price)
    deepest = max(peak - low for at, peak in enumerate(results) for low in results[at:])
    assert report.drawdown.quote == deepest > 0
    share = deepest / (life.investment + max(results))
    assert abs(report.drawdown.share - share) < Decimal("1E-9")
    # An hour's price tells of a deeper one.
    hour = life.now_ms // HOUR_MS * HOUR_MS
    store.sample([Sample(SYMBOL, hour, *map(Decimal, (46000, 46000, 30000, 30000)), 3000, 1500)])
    later = make_report(store, SYMBOL, By.DAY, None)
    assert later.drawdown.quote == max(results) - (quote + held * 30000)
    assert (later.watched_seconds, later.in_range_seconds) == (3000, 1500)
    (day,) = later.periods.values()
    assert (day.low, day.high) == (30000, max(fill.price for fill in life.fills))
    told = document(later)["drawdown"]
    assert (told["quote"], told["low_ms"]) == (plain(later.drawdown.quote), hour + HOUR_MS)
    assert document(make_report(store, SYMBOL, By.DAY, 2024))["drawdown"] is None


def test_a_grid_that_ended_without_a_result_counts_its_trades(lives, store):
    store.close_grid_run(2, lives[1].now_ms)
    every = make_report(store, SYMBOL, By.DAY, None)
    assert every.liquidation_profit == Decimal("-12.5")
    assert total(every).pairs == sum(life.engine.books.sells for life in lives)


def test_of_two_falls_as_deep_the_first_is_told(store):
    life = Life(store, price="54000")
    first_ms = life.now_ms // HOUR_MS * HOUR_MS + HOUR_MS
    closes = [Decimal(close) for close in (60000, 30000, 60000, 30000)]
    hours = [Sample(SYMBOL, first_ms + n * HOUR_MS, *[c] * 4, 0, 0) for n, c in enumerate(closes)]
    store.sample(hours)
    fall = make_report(store, SYMBOL, By.DAY, None).drawdown
    assert (fall.peak_ms, fall.low_ms) == (first_ms + HOUR_MS, first_ms + 2 * HOUR_MS)


def command(capsys, *arguments):
    status = main(["report", *(str(argument) for argument in arguments)])
    return status, capsys.readouterr()


def test_the_command(lives, store, tmp_path, capsys):
    status, text = command(capsys, "--state", tmp_path, "--by", "month")
    assert status == 0
    lines = text.out.splitlines()
    assert lines[0] == "BTC/USDT, amounts in USDT"
    assert [line.split()[0] for line in lines[2:6]] == ["2025-12", "2026-01", "2026-02", "total"]
    assert "in range: not known, no full hour was watched" in text.out
    _, text = command(capsys, "--state", tmp_path, "--json")
    assert json.loads(text.out)["symbols"][SYMBOL]["time_in_range"] is None
    hour = START_MS // HOUR_MS * HOUR_MS
    store.sample([Sample(SYMBOL, hour, *[Decimal(50000)] * 4, 3600, 1800)])
    _, text = command(capsys, "--state", tmp_path, "--year", "2025")
    assert "in range: 50.0 % of the 1.0 hours watched" in text.out
    _, text = command(capsys, "--state", tmp_path, "--json")
    told = json.loads(text.out)["symbols"][SYMBOL]
    assert told["time_in_range"] == 0.5
    store.sample([Sample(SYMBOL, hour, *[Decimal(50000)] * 4, 3600, 1200)])
    _, again = command(capsys, "--state", tmp_path, "--json")
    assert json.loads(again.out)["symbols"][SYMBOL]["time_in_range"] == 0.416667
    assert Decimal(told["total"]["grid_profit"]) == sum(
        life.engine.books.grid_profit for life in lives
    )
    assert sum(period["pairs"] for period in told["periods"].values()) == sum(
        life.engine.books.sells for life in lives
    )


def test_the_plot_needs_nothing_from_elsewhere(lives, tmp_path, capsys):
    path = tmp_path / "report.html"
    status, _ = command(capsys, "--state", tmp_path, "--plot", path)
    assert status == 0
    page = path.read_text()
    assert page.count("<svg") == 3
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "grid profit" in page
    assert lives


def test_the_plot_shows_what_the_report_says(lives, store):
    report = make_report(store, SYMBOL, By.DAY, None)
    figure = report_figure({SYMBOL: report})
    periods = list(report.periods.values())
    [together, results], [each], [prices] = (panel.layers for panel in figure.panels)
    assert list(each.y) == [float(period.grid_profit) for period in periods]
    begins = [datetime.fromisoformat(f"{day}T00:00:00+00:00") for day in report.periods]
    assert list(each.x) == [begin.timestamp() * 1000 for begin in begins]
    whole = total(report)
    facts = [f"{plain(whole.grid_profit)} USDT", str(whole.pairs), f"{plain(whole.fees)} USDT"]
    names = ("grid profit", "pairs", "fees")
    assert figure.facts == tuple((f"{SYMBOL}: {n}", f) for n, f in zip(names, facts, strict=True))
    assert together.y[-1] == pytest.approx(float(total(report).grid_profit))
    assert list(results.y) == [float(period.result) for period in periods]
    seen = [period for period in periods if period.low is not None]
    ends = [float(price) for period in seen for price in (period.low, period.high)]
    assert list(prices.y) == ends
    assert min(ends) > 0
    assert list(each.x) == sorted(each.x)
    assert lives


def test_a_bot_that_has_not_traded_yet_is_reported(store, tmp_path, capsys):
    life = Life(store, price="44000")  # below all lines: nothing trades but the initial purchase
    store._connection.execute("DELETE FROM fills")
    status, text = command(capsys, "--state", tmp_path, "--plot", tmp_path / "report.html")
    assert status == 0
    assert "fees: none" in text.out
    status, text = command(capsys, "--state", tmp_path, "--json")
    whole = json.loads(text.out)["symbols"][SYMBOL]["total"]
    assert (status, whole["low"], whole["high"]) == (0, None, None)
    hour = life.now_ms // HOUR_MS * HOUR_MS
    store.sample([Sample(SYMBOL, hour, *map(Decimal, (44000, 44100, 43900, 44000)), 3600, 0)])
    _, text = command(capsys, "--state", tmp_path, "--json")
    whole = json.loads(text.out)["symbols"][SYMBOL]["total"]
    assert (whole["low"], whole["high"]) == ("43900", "44100")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--year", "x"], 2, '--year x needs a year such as 2026, or "all"'),
        (["--plot", "report.pdf"], 2, r"--plot = report.pdf needs a name that ends in .*"),
        (["--symbol", "ETH/USDT"], 4, "--symbol ETH/USDT: .* holds BTC/USDT only"),
    ],
)
def test_every_mistake_is_one_line(tmp_path, capsys, arguments, status, message):
    store = Store(tmp_path)
    Life(store)
    code, text = command(capsys, "--state", tmp_path, *arguments)
    assert code == status
    assert re.fullmatch(f"gridbot report: {message}\n", text.err)
    store.close()


def test_what_is_settled_meanwhile_is_counted_once(lives, store, tmp_path, monkeypatch):
    from gridbot.accounting import profit_report as module

    second, profit = lives[1], sum(life.engine.books.grid_profit for life in lives)
    trades = module.trades

    def settle_meanwhile(*arguments):
        assert second.swing(2).settle() > 0
        return trades(*arguments)

    monkeypatch.setattr(module, "trades", settle_meanwhile)
    reader = Store(tmp_path, read_only=True)
    assert total(make_report(reader, SYMBOL, By.DAY, None)).grid_profit == profit
    monkeypatch.undo()
    later = sum(life.engine.books.grid_profit for life in lives)
    assert total(make_report(reader, SYMBOL, By.DAY, None)).grid_profit == later > profit
    reader.close()
    assert store
