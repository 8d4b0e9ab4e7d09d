"""`gridbot backtest` as its user meets it."""

import json
import os
import re
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from gridbot.cli import main

SOURCE = Path(__file__).parents[3] / "src"
START = 1_640_991_660_000
PRICES = [(57_000, 57_000, 53_000, 53_000), (53_000, 57_000, 53_000, 57_000), (57_000,) * 4]
GRID = ("--lower", "45000", "--upper", "65000", "--grids", "5", "--investment", "22957.25202")
BYBIT = (*GRID, "--fee-rate", "0.001")
KEYS = {
    "candles", "buys", "sells", "pairs", "grid_profit", "unrealised_profit", "fees", "quantity",
    "lines", "final", "max_drawdown", "seconds", "candles_per_second", "initial_base",
    "initial_cost",
}  # fmt: skip


def rows(time=lambda minute: str(START + minute * 60_000)):
    return [(time(number), *prices, 1) for number, prices in enumerate(PRICES)]


def csv_text(header="timestamp,open,high,low,close,volume\n", **options) -> str:
    return header + "".join(",".join(map(str, row)) + "\n" for row in rows(**options))


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "market.csv"
    path.write_text(csv_text())
    return path


def answer(capsys, *arguments) -> dict:
    assert main(["backtest", "--json", *map(str, arguments)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def refusal(capsys, *arguments) -> str:
    assert main(["backtest", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_json_holds_everything_and_amounts_are_texts(capsys, data):
    found = answer(capsys, "--data", data, *BYBIT, "--fills")
    assert found.keys() >= KEYS
    assert (found["candles"], found["buys"], found["sells"], found["pairs"]) == (3, 1, 1, 1)
    assert found["lines"] == ["45000", "49000", "53000", "57000", "61000", "65000"]
    assert found["quantity"] == "0.08795882"
    assert round(Decimal(found["grid_profit"]), 2) == Decimal("341.81")
    assert found["initial_cost"] == "10027.30548"
    assert Decimal(found["initial_base"]) == Decimal("0.17591764") * Decimal("0.999")
    assert found["fills"] == [
        {
            "time": START,
            "side": "buy",
            "price": "53000",
            "quantity": "0.08795882",
            "fee": "0.00008795882",
            "fee_currency": "base",
        },
        {
            "time": START + 60_000,
            "side": "sell",
            "price": "57000",
            "quantity": "0.08787086",
            "fee": "5.00863902",
            "fee_currency": "quote",
        },
    ]
    final = {name: Decimal(text) for name, text in found["final"].items()}
    assert final["equity"] == final["quote"] + final["base"] * final["price"]
    profit = Decimal(found["grid_profit"]) + Decimal(found["unrealised_profit"])
    assert final["equity"] - Decimal("22957.25202") == profit
    assert 0 < Decimal(found["max_drawdown"]) < 1
    assert found["seconds"] > 0
    assert found["candles_per_second"] > 0


def test_fills_are_printed_only_when_asked_for(capsys, data):
    assert "fills" not in answer(capsys, "--data", data, *BYBIT)


def test_every_format_gives_the_same(capsys, tmp_path):
    def iso(minute):
        return datetime.fromtimestamp(START / 1000 + minute * 60, UTC).isoformat()

    (tmp_path / "market.csv").write_text(csv_text())
    (tmp_path / "iso.csv").write_text(csv_text(time=iso))
    dump = "".join(
        f"{row[0]},{','.join(map(str, row[1:]))},{int(row[0]) + 59_999},1,9,1,1,0\n"
        for row in rows()
    )
    (tmp_path / "dump.csv").write_text(dump)
    with zipfile.ZipFile(tmp_path / "dump.zip", "w") as archive:
        archive.writestr("BTCUSDT-1m-2022-01.csv", dump)
    results = []
    for name in ("market.csv", "iso.csv", "dump.csv", "dump.zip"):
        found = answer(capsys, "--data", tmp_path / name, *BYBIT, "--fills")
        results.append({key: found[key] for key in KEYS - {"seconds", "candles_per_second"}})
    assert results == [results[0]] * 4


def test_parquet(capsys, data, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    names = ("timestamp", "open", "high", "low", "close", "volume")
    columns = zip(*((int(row[0]), *map(float, row[1:])) for row in rows()), strict=True)
    table = pyarrow.table(dict(zip(names, map(list, columns), strict=True)))
    parquet.write_table(table, tmp_path / "market.parquet")
    found = answer(capsys, "--data", tmp_path / "market.parquet", *BYBIT)
    expected = answer(capsys, "--data", data, *BYBIT)
    assert found["final"] == expected["final"]


def test_people_get_a_table(capsys, data):
    assert main(["backtest", "--data", str(data), *BYBIT, "--symbol", "BTC/USDT", "--fills"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^grid profit +341\.81 USDT, after fees$", printed, re.MULTILINE)
    assert re.search(r"^fills +1 buys, 1 sells \(1 pairs\)$", printed, re.MULTILINE)
    assert "2021-12-31T23:02:00Z  sell  57000  0.08787086  5.00863902     USDT" in printed


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--lower", "abc", "--lower = abc needs an amount above 0"),
        ("--lower", "0", "--lower = 0 needs an amount above 0"),
        ("--lower", "-5", "--lower = -5 needs an amount above 0"),
        ("--lower", "65000", "--lower = 65000 must be below --upper = 65000"),
        ("--upper", "1e5", "--upper = 1e5 needs an amount above 0"),
        ("--upper", "1000000000000", "--upper = 1000000000000 is above 92233720368.54775807"),
        ("--grids", "2.5", "--grids = 2.5 needs a whole number from 1 to 999"),
        ("--grids", "1000", "--grids = 1000 needs a whole number from 1 to 999"),
        ("--grids", "300", "--grids = 300 puts lines at 45000 and 45066"),
        ("--spacing", "even", "--spacing = even needs arithmetic or geometric"),
        ("--investment", "0.000001", "--investment = 0.000001 is too small for 5 grids"),
        ("--fee-rate", "0.5", "--fee-rate = 0.5 needs an amount 0 or more and below 0.5"),
        ("--fee-in", "bnb", "--fee-in = bnb needs received or quote"),
        ("--tick", "0", "--tick = 0 needs an amount above 0"),
        ("--tick", "30000", "--grids = 5 puts two lines on the same price"),
        ("--tick", "0.0000000000001", "at most 12 of them after the point"),
        ("--lot", "x", "--lot = x needs an amount above 0"),
        ("--lot", "1", "--investment = 22957.25202 is too small for 5 grids"),
        ("--min-notional", "1e9", "--min-notional = 1e9 needs an amount 0 or more"),
        ("--min-notional", "5000", "the smallest investment that is allowed is"),
        ("--symbol", "BTCUSDT", "--symbol = BTCUSDT needs two coins"),
        ("--symbol", "BTC/BTC", "--symbol = BTC/BTC needs two different coins"),
        ("--plot", "picture.pdf", "--plot = picture.pdf needs a name that ends in .png or .html"),
        ("--plot", "/no/such/place/a.html", "is in a directory that does not exist"),
        ("--data", "/no/such/file.csv", "/no/such/file.csv: cannot be read"),
    ],
)
def test_a_mistake_is_one_line(capsys, data, option, value, reason):
    assert reason in refusal(capsys, "--data", data, *BYBIT, option, value)


def test_a_file_that_is_wrong_is_named_with_its_line(capsys, data):
    data.write_text(csv_text() + "nonsense\n")
    assert f"{data}: line 5:" in refusal(capsys, "--data", data, *BYBIT)


def test_oddities_of_the_file_are_reported(capsys, data):
    last = rows()[-1]
    data.write_text(csv_text() + f"{int(last[0]) + 300_000},57000,57000,57000,57000,1\n")
    assert answer(capsys, "--data", data, *BYBIT)["notes"] == ["1 gaps, 4 candles missing"]


def test_html_needs_nothing_from_elsewhere(capsys, data, tmp_path):
    picture = tmp_path / "a.html"
    answer(capsys, "--data", data, *BYBIT, "--plot", picture)
    page = picture.read_text()
    assert page.count("<svg") == page.count("</svg>") == 2
    assert "http" not in page
    assert "<script" not in page
    assert "nan" not in page
    assert len(re.findall(r'class="dots" [^>]*d="M[^"]+"', page)) == 2


def test_png_is_drawn_by_matplotlib(capsys, data, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "a.png"
    answer(capsys, "--data", data, *BYBIT, "--plot", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_png_without_matplotlib_says_what_to_install(capsys, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    reason = refusal(capsys, "--data", data, *BYBIT, "--plot", tmp_path / "a.png")
    assert "needs matplotlib, which is not installed" in reason
    assert "a.html" in reason


def test_the_command_alone_imports_numpy():
    """What runs on a Pi must not pay for the backtest."""
    code = "import sys, gridbot.cli; sys.exit('numpy' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == 0
