"""Lots and gains: worked examples checked by hand, and sums that equal the books."""

import csv
import json
import re
import resource
import sqlite3
from decimal import Decimal

import pytest
from gridbase.errors import UserError
from gridbase.tax_lots import DAY_MS, LotBook, Method
from gridbot.accounting.tax_report import write_report
from gridbot.cli import main
from gridbot.core.orders import Fill, Side
from gridbot.store import Store
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import SYMBOL, Life, many_trades, market

BTC = market.BTC


def fill(number, side, quantity, *money, day=0):
    """Money: what it cost or brought, and the fee and its coin if there is one."""
    quote, fee, coin = (*money, "0", "USDT")[:3] if len(money) == 1 else (*money, "USDT")[:3]
    return Fill(
        trade_id=str(number),
        client_id="any",
        side=Side(side),
        price=Decimal(quote) / Decimal(quantity),
        quantity=Decimal(quantity),
        quote=Decimal(quote),
        commission=Decimal(fee),
        commission_coin=coin,
        time_ms=day * DAY_MS,
        maker=True,
    )


def book_all(method, fills):
    book = LotBook(BTC, method)
    return book, [disposal for one in fills for disposal in book.book(one)]


# 1 BTC for 100 + 1 fee, 1 BTC for 300 + 3, 1 BTC for 200 + 2; then 1.5 BTC sold for 450 - 4.5.
BUYS_AND_A_SALE = [
    fill(1, "buy", 1, 100, "1", day=0),
    fill(2, "buy", 1, 300, "3", day=1),
    fill(3, "buy", 1, 200, "2", day=2),
    fill(4, "sell", "1.5", 450, "4.5", day=400),
]


@pytest.mark.parametrize(
    ("method", "expected", "open_cost"),
    [
        # Whole lot 1 (cost 101, proceeds 300, fee 3), half of lot 2 (151.5, 150, 1.5).
        ("fifo", [(1, "1", "101", "196", 400), (2, "0.5", "151.5", "-3", 399)], "353.5"),
        # Whole lot 3 (202), half of lot 2 (151.5).
        ("lifo", [(3, "1", "202", "95", 398), (2, "0.5", "151.5", "-3", 399)], "252.5"),
        # The dearest: whole lot 2 (303), half of lot 3 (101).
        ("hifo", [(2, "1", "303", "-6", 399), (3, "0.5", "101", "47.5", 398)], "202"),
    ],
)
def test_a_worked_example(method, expected, open_cost):
    book, disposals = book_all(Method(method), BUYS_AND_A_SALE)
    seen = [(int(d.buy_trade), d.quantity, d.cost, d.gain, d.days) for d in disposals]
    assert seen == [
        (lot, Decimal(quantity), Decimal(cost), Decimal(gain), days)
        for lot, quantity, cost, gain, days in expected
    ]
    assert [d.proceeds for d in disposals] == [300, 150]
    assert [d.fees for d in disposals] == [3, Decimal("1.5")]
    assert (book.open_lots, book.open_quantity) == (2, Decimal("1.5"))
    assert book.open_cost == Decimal(open_cost)
    assert all(d.is_long_term for d in disposals)


def test_of_lots_that_cost_the_same_the_oldest_goes_first():
    buys = [fill(number, "buy", number, 100 * number, day=number) for number in (1, 2, 3, 4)]
    book, first = book_all(Method.HIFO, [*buys[:3], fill(5, "sell", 2, 300)])
    assert [(int(d.buy_trade), d.quantity) for d in first] == [(1, 1), (2, 1)]
    later = [*book.book(buys[3]), *book.book(fill(6, "sell", 7, 900))]
    assert [(int(d.buy_trade), d.quantity) for d in later] == [(2, 1), (3, 3), (4, 3)]


@pytest.mark.parametrize("method", list(Method))
def test_a_buy_that_its_fee_took_whole_opens_no_lot(method):
    book, _ = book_all(method, [fill(1, "buy", 1, 100, "1", "BTC"), fill(2, "buy", 1, 100)])
    assert (book.open_lots, book.open_quantity) == (1, 1)


def test_a_fee_in_the_base_coin_makes_the_lot_smaller():
    buy = fill(1, "buy", 1, 100, "0.1", "BTC")
    book, disposals = book_all(Method.FIFO, [buy, fill(2, "sell", "0.45", 90)])
    assert (disposals[0].cost, disposals[0].gain) == (50, 40)
    assert (book.open_quantity, book.open_cost) == (Decimal("0.45"), 50)
    with pytest.raises(UserError, match=r"trade 3 sells 0.05 BTC that no trade .* has bought"):
        list(book.book(fill(3, "sell", "0.5", 90)))


def test_a_fee_in_the_base_coin_of_a_sale_is_given_away():
    fills = [fill(1, "buy", 1, 100), fill(2, "sell", "0.9", 90, "0.1", "BTC")]
    book, disposals = book_all(Method.FIFO, fills)
    assert (disposals[0].quantity, disposals[0].gain) == (1, -10)
    assert book.open_lots == 0


def test_what_of_a_fee_in_the_base_coin_was_never_bought_is_listed_beside():
    # BNB that was on the account before pays the fees of a grid that trades BNB.
    fills = [fill(1, "buy", 1, 100), fill(2, "sell", "0.95", 120, "0.07", "BTC")]
    book, disposals = book_all(Method.FIFO, fills)
    assert (disposals[0].quantity, disposals[0].proceeds, disposals[0].gain) == (1, 120, 20)
    assert disposals[0].other_fees == {"BTC": Decimal("0.02")}
    assert book.open_lots == 0
    with pytest.raises(UserError, match=r"trade 3 sells 0.1 BTC that no trade .* has bought"):
        list(book.book(fill(3, "sell", "0.1", 120, "0.01", "BTC")))


def test_a_fee_in_a_third_coin_is_listed_beside():
    fills = [fill(1, "buy", 2, 100, "0.4", "BNB"), fill(2, "sell", 1, 60, "0.1", "BNB")]
    _, disposals = book_all(Method.FIFO, fills)
    assert disposals[0].other_fees == {"BNB": Decimal("0.3")}
    assert (disposals[0].fees, disposals[0].gain) == (0, 10)


def test_long_is_more_than_365_days():
    for later, long in ((0, False), (1, True)):
        sale = fill(2, "sell", 1, 60, day=365)
        sale = Fill(**{**vars(sale), "time_ms": sale.time_ms + later})
        _, disposals = book_all(Method.FIFO, [fill(1, "buy", 1, 100), sale])
        assert (disposals[0].days, disposals[0].is_long_term) == (365, long)


@settings(max_examples=60, deadline=None)
@given(
    trades=st.lists(
        st.tuples(
            st.integers(-50, 100).filter(bool),
            st.integers(1, 10**6),
            st.integers(0, 1000),
            st.sampled_from(["USDT", "BTC", "BNB"]),
        ),
        max_size=40,
    )
)
def test_gains_and_open_lots_add_up_to_what_the_coins_say(trades):
    for method in Method:
        book, held, flow, bnb = LotBook(BTC, method), Decimal(0), Decimal(0), Decimal(0)
        gains = others = Decimal(0)
        for number, (size, quote, fee, coin) in enumerate(trades):
            quantity, fee_amount = abs(Decimal(size)) / 7, Decimal(fee) / 1_000_000
            quantity = quantity.quantize(Decimal("1E-8"))
            side = "buy" if size > 0 else "sell"
            in_base = fee_amount if coin == "BTC" else 0
            if side == "sell" and held < quantity + in_base:
                continue
            one = fill(number, side, str(quantity), quote, str(fee_amount), coin, day=number)
            sign = 1 if size > 0 else -1
            held += sign * quantity - in_base
            flow += -sign * quote - (fee_amount if coin == "USDT" else 0)
            bnb += fee_amount if coin == "BNB" else 0
            for disposal in book.book(one):
                gains += disposal.gain
                others += disposal.other_fees.get("BNB", 0)
        others += sum(lot.other_fees.get("BNB", 0) for lot in book._open)
        assert book.open_quantity == held
        assert gains - book.open_cost == flow
        assert others == bnb


# From the books to the file.


@pytest.fixture
def lives(store):
    """Two grids after each other, the first settled in part, the second carries its base."""
    first = Life(store, start_ms=1_767_223_800_000).swing(4)
    first.go("50000")
    first.settle()
    store.close_grid_run(1, first.now_ms)
    second = Life(store, number=2, start_ms=first.now_ms + DAY_MS).swing(3)
    return first, second


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", list(Method))
def test_the_years_add_up_to_the_books(lives, store, tmp_path, method):
    report = write_report(store, [SYMBOL], None, method, tmp_path / "tax.csv")
    assert [path.name for path in report.files] == ["tax-2025.csv", "tax-2026.csv"]
    rows = [row for path in report.files for row in rows_of(path)]
    fills = [fill for life in lives for fill in life.fills]
    sign = {Side.BUY: 1, Side.SELL: -1}
    held = flow = Decimal(0)
    for one in fills:
        held += sign[one.side] * one.quantity
        flow -= sign[one.side] * one.quote
        held -= one.commission if one.commission_coin == "BTC" else 0
        flow -= one.commission if one.commission_coin == "USDT" else 0
    books = [life.engine.books for life in lives]
    assert held == sum(book.base_held for book in books)
    assert flow == sum(book.quote_flow for book in books)
    part = report.symbols[0]
    assert part.open_quantity == held
    assert sum(Decimal(row["gain"]) for row in rows) - part.open_cost == flow
    assert sum(sums.gain for sums in part.years.values()) == part.open_cost + flow
    sold = [int(row["sell_trade"]) for row in rows]
    assert sold == sorted(sold)
    assert {row["currency"] for row in rows} == {"USDT"}
    assert {row["term"] for row in rows} == {"short"}


def test_a_year_alone_has_the_lots_of_the_years_before(lives, store, tmp_path):
    every = write_report(store, [SYMBOL], None, Method.FIFO, tmp_path / "all.csv")
    alone = write_report(store, [SYMBOL], 2026, Method.FIFO, tmp_path / "alone.csv")
    assert rows_of(alone.files[0]) == rows_of(every.files[1])
    assert alone.symbols[0].years == {2026: every.symbols[0].years[2026]}
    assert lives


def test_what_was_held_for_more_than_a_year_is_long_term(store, tmp_path):
    life = Life(store, price="54000")
    life.go("46000")
    life.minutes += 400 * DAY_MS // 60_000
    life.go("64500")
    report = write_report(store, [SYMBOL], 2027, Method.FIFO, tmp_path / "tax.csv")
    rows = rows_of(report.files[0])
    assert {row["term"] for row in rows} == {"long"}
    gain = sum(Decimal(row["gain"]) for row in rows)
    assert report.symbols[0].years[2027].gain_long == gain > 0


def test_a_symbol_without_a_grid_is_named(lives, store, tmp_path):
    with pytest.raises(UserError, match="holds no grid of ETH/USDT"):
        write_report(store, [SYMBOL, "ETH/USDT"], None, Method.FIFO, tmp_path / "tax.csv")
    assert list(tmp_path.glob("tax*")) == []
    assert lives


def command(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    return status, capsys.readouterr()


def test_the_command_beside_a_running_bot(lives, tmp_path, capsys):
    out = tmp_path / "tax.csv"
    arguments = ("tax", "--state", tmp_path, "--method", "fifo", "--out", out)
    status, text = command(capsys, *arguments, "--year", "2026")
    assert status == 0
    assert "BTC/USDT 2026: " in text.out
    assert f"written: {out}" in text.out
    lines = out.read_text().splitlines()
    assert lines[0].startswith("symbol,acquired,sold,quantity,proceeds,cost_basis,fees,gain,")
    assert "T" in lines[1].split(",")[1]
    status, text = command(capsys, *arguments, "--year", "2024", "--json")
    document = json.loads(text.out)
    assert document["symbols"][SYMBOL]["years"] == {}
    assert out.read_text().count("\n") == 1  # a header, and nothing sold
    status, text = command(capsys, *arguments, "--year", "2026", "--json", "--symbol", SYMBOL)
    year = json.loads(text.out)["symbols"][SYMBOL]["years"]["2026"]
    parts = [Decimal(year[name]) for name in ("proceeds", "cost_basis", "fees", "gain")]
    assert parts[0] - parts[1] - parts[2] == parts[3]
    assert lives


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"--year": "26"}, 2, '--year 26 needs a year such as 2026, or "all"'),
        ({"--out": "tax.txt"}, 2, "--out tax.txt needs a name that ends with .csv"),
        (
            {"--out": "/none/tax.csv", "--year": "2026"},
            2,
            "--out /none/tax.csv: No such file or directory",
        ),
        ({"--symbol": "ETH/USDT"}, 4, "--symbol ETH/USDT: .* holds BTC/USDT only"),
        ({"--state": "/none"}, 4, "state.directory = /none is not a directory; create it"),
    ],
)
def test_every_mistake_is_one_line(tmp_path, capsys, changes, status, message):
    store = Store(tmp_path)
    Life(store)
    options = {"--state": tmp_path, "--year": "all", "--method": "hifo", "--out": "tax.csv"}
    flat = [item for pair in (options | changes).items() for item in pair]
    code, text = command(capsys, "tax", *flat)
    assert code == status
    assert re.fullmatch(f"gridbot tax: {message}\n", text.err)
    store.close()


def test_nothing_is_half_written(lives, tmp_path, capsys):
    out = tmp_path / "tax.csv"
    out.write_text("before")
    connection = sqlite3.connect(tmp_path / "gridbot.sqlite3")
    connection.execute("INSERT INTO archive_files VALUES ('a.csv', 'BTC/USDT', 2024, 5, 5, 1)")
    connection.commit()
    connection.close()
    arguments = ("--method", "fifo", "--out", out)
    status, text = command(capsys, "tax", "--state", tmp_path, "--year", "2026", *arguments)
    assert status == 4
    assert "archive a.csv of an older gridbot is not in" in text.err
    assert out.read_text() == "before"
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*.tmp"))
    (tmp_path / "dir.csv").mkdir()
    arguments = ("--method", "fifo", "--out", tmp_path / "dir.csv")
    status, text = command(capsys, "tax", "--state", tmp_path, "--year", "2026", *arguments)
    assert status == 2
    assert "dir.csv is a directory; name a file" in text.err
    assert lives


def test_no_room_for_temporary_files_is_told(store, tmp_path, capsys):
    many_trades(store, 40_000)
    arguments = ("--year", "2026", "--method", "fifo", "--out", tmp_path / "tax.csv")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # the report itself fits
    try:
        status, text = command(capsys, "tax", "--state", tmp_path, *arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 4
    assert re.fullmatch(
        "gridbot tax: temporary files: .*; set TMPDIR to a directory with room\n", text.err
    )
    assert not (tmp_path / "tax.csv").exists()


@pytest.mark.usefixtures("store")
def test_a_state_without_a_grid_is_told(tmp_path, capsys):
    arguments = ("--year", "all", "--method", "fifo", "--out", "tax.csv")
    status, text = command(capsys, "tax", "--state", tmp_path, *arguments)
    assert status == 4
    assert "gridbot.sqlite3 holds no grid yet" in text.err
