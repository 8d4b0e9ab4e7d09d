"""`gridbot optimize` as its user meets it."""

import csv
import json
import sys
from decimal import Decimal

import pytest
from gridbot.cli import main

FIXED = ("--investment", "10000", "--fee-rate", "0.001", "--tick", "0.01", "--jobs", "1")
SMALL = ("--grids", "10,20,200", "--width", "5:15:5")


@pytest.fixture
def data(tmp_path):
    """Ten days of hours that go up and down."""
    path = tmp_path / "market.csv"
    lines = ["timestamp,open,high,low,close,volume"]
    close = 1000
    for hour in range(240):
        opening, close = close, 1000 + [0, 40, 90, 30, -60, -20][hour % 6] + hour // 10
        high, low = max(opening, close) + 5, min(opening, close) - 5
        lines.append(f"{1_640_995_200_000 + hour * 3_600_000},{opening},{high},{low},{close},1")
    path.write_text("\n".join(lines) + "\n")
    return path


def answer(capsys, *arguments) -> dict:
    assert main(["optimize", "--json", *map(str, arguments)]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys, *arguments) -> str:
    assert main(["optimize", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_the_best_come_first_and_refused_ones_are_counted(capsys, data):
    found = answer(capsys, "--data", data, *FIXED, *SMALL, "--top", "4")
    assert (found["combinations"], found["of"], found["trials"]) == (18, 18, 18)
    assert found["refused"] == sum(reason["count"] for reason in found["refusals"]) == 6
    assert found["refusals"][0]["example"].startswith("--grids = 200 puts lines")
    profits = [Decimal(each["profit"]) for each in found["top"]]
    assert len(profits) == 4
    assert profits == sorted(profits, reverse=True)


def test_the_best_is_what_a_backtest_of_it_says(capsys, data):
    best = answer(capsys, "--data", data, *FIXED, *SMALL)["top"][0]
    arguments = ["backtest", "--json", "--data", str(data), *FIXED[:-2]]
    for name in ("lower", "upper", "grids", "spacing"):
        arguments += [f"--{name}", str(best[name])]
    assert main(arguments) == 0
    again = json.loads(capsys.readouterr().out)
    assert Decimal(again["final"]["equity"]) - 10_000 == Decimal(best["profit"])
    assert again["max_drawdown"] == best["max_drawdown"]


def test_a_random_search_says_what_it_drew_from(capsys, data):
    options = ("--search", "random", "--samples", "7", "--seed", "3", "--grids", "5:40")
    found = answer(capsys, "--data", data, *FIXED, *options)
    assert (found["combinations"], found["of"], found["seed"]) == (7, 36 * 6 * 2, 3)
    assert answer(capsys, "--data", data, *FIXED, *options)["top"] == found["top"]


def test_lower_and_upper_instead_of_a_width(capsys, data):
    options = (
        "--lower",
        "900,1000",
        "--upper",
        "950,1100",
        "--grids",
        "5",
        "--spacing",
        "geometric",
    )
    found = answer(capsys, "--data", data, *FIXED, *options)
    assert found["combinations"] == 4
    ranges = {(each["lower"], each["upper"]) for each in found["top"]}
    assert ranges == {("900", "950"), ("900", "1100"), ("1000", "1100")}
    assert found["refusals"] == [{"count": 1, "example": "--lower is not below --upper"}]


def test_walk_forward_reports_what_was_not_seen(capsys, data):
    found = answer(capsys, "--data", data, *FIXED, *SMALL, "--train", "4", "--test", "2")
    assert "top" not in found
    assert found["trials"] == 18 * 2 * 3
    total = Decimal(0)
    for fold in found["folds"]:
        train, test = fold["train"], fold["test"]
        assert train["end"] < test["start"]
        assert (train["candles"], test["candles"]) == (96, 48)
        same = ("grids", "spacing", "width")
        assert [train["best"][name] for name in same] == [test["best"][name] for name in same]
        assert 1 <= fold["test_rank"] <= fold["test_trials"]
        total += Decimal(test["best"]["profit"])
    assert Decimal(found["out_of_sample"]["profit"]) == total


def test_people_get_tables(capsys, data):
    assert main(["optimize", "--data", str(data), *FIXED, *SMALL, "--top", "2"]) == 0
    printed = capsys.readouterr().out
    assert "refused      6, such as: --grids = 200 puts lines" in printed
    assert len([line for line in printed.splitlines() if line[:3] in {"1  ", "2  "}]) == 2
    walk = ["--train", "4", "--test", "2"]
    assert main(["optimize", "--data", str(data), *FIXED, *SMALL, *walk]) == 0
    assert "out of sample, chosen by profit: " in capsys.readouterr().out


def test_all_trials_go_to_a_file(capsys, data, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    walk = ("--train", "4", "--test", "2")
    for name in ("a.csv", "a.parquet"):
        answer(capsys, "--data", data, *FIXED, *SMALL, *walk, "--out", tmp_path / name)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert len(rows) == len(table) == 18 * 2 * 3
    assert [float(row["profit"]) if row["profit"] else None for row in rows] == [
        row["profit"] for row in table
    ]
    assert {row["part"] for row in rows} == {"train", "test"}
    assert all(bool(row["refusal"]) == (row["buys"] == "") for row in rows)


@pytest.mark.parametrize("walk", [(), ("--train", "4", "--test", "2")])
@pytest.mark.parametrize("name", ["a.html", "a.png"])
def test_pictures(capsys, data, tmp_path, name, walk):
    if name == "a.png":
        pytest.importorskip("matplotlib")
    answer(capsys, "--data", data, *FIXED, *SMALL, *walk, "--plot", tmp_path / name)
    content = (tmp_path / name).read_bytes()
    assert content.startswith(b"\x89PNG") or content.count(b"<svg") == (3 if walk else 2)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--grids", "10:5"), "--grids = 10:5 needs FROM to be at most TO"),
        (("--grids", "1:2:3:4"), "--grids = 1:2:3:4 needs a list or FROM:TO[:STEP]"),
        (("--grids", "5,x"), "--grids = x needs an amount above 0"),
        (("--grids", "5.5"), "--grids = 5.5 needs a whole number from 1 to 999"),
        (("--width", "100"), "--width = 100 needs percents below 100"),
        (("--width", "1:99:0.0001"), "makes 980,001 values, above 10,000"),
        (("--lower", "5"), "the range is either --width, or both --lower and --upper"),
        (("--lower", "5", "--upper", "4"), "--lower = 5 must be below --upper = 4"),
        (("--spacing", "arithmetic,odd"), "--spacing = odd needs arithmetic or geometric"),
        (("--search", "all"), "--search = all needs grid or random"),
        (("--samples", "5"), "--samples = 5 needs --search random"),
        (("--search", "random", "--samples", "0"), "--samples = 0 needs a whole number from 1"),
        (("--grids", "1:999", "--width", "1:99:0.1"), "a grid search tries at most 1,000,000"),
        (("--grids", "900", "--width", "1"), "all 2 trials were refused; the first one: --grids"),
        (("--by", "luck"), "--by = luck needs profit or grid_profit or profit_per_drawdown"),
        (("--train", "5"), "a walk-forward split needs both --train DAYS and --test DAYS"),
        (("--train", "50", "--test", "5"), "need 55 days of candles; the file has 10.00"),
        (("--jobs", "0"), "--jobs = 0 needs a whole number from 1 to 256"),
        (("--out", "trials.xls"), "--out = trials.xls needs a name that ends in .parquet or .csv"),
        (("--plot", "a.gif"), "--plot = a.gif needs a name that ends in .png or .html"),
        (("--data", "/no/such/file"), "/no/such/file: cannot be read"),
    ],
)
def test_a_mistake_is_one_line(capsys, data, options, reason):
    assert reason in refusal(capsys, "--data", data, *FIXED, *options)


def test_parquet_without_pyarrow_says_what_to_install(capsys, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    reason = refusal(capsys, "--data", data, *FIXED, "--out", tmp_path / "a.parquet")
    assert "needs pyarrow: install gridbot[parquet], or name a.csv" in reason
