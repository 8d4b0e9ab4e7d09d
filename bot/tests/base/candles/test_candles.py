import gzip
import sys
import zipfile
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from gridbase.candles.price_units import from_units, print_units, to_units
from gridbase.candles.reader import load_series, open_candles, to_milliseconds
from gridbase.errors import UserError

from bot.tests.base.candles.files import (
    EXPECTED,
    ROWS,
    START,
    candles,
    csv_text,
    dump_text,
)


def test_csv_with_milliseconds(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(csv_text())
    assert candles(path) == EXPECTED
    series = load_series(path)
    assert (series.interval_ms, series.length, series.span_ms) == (60_000, 3, 180_000)
    assert series.candle(0).volume == 2300413.7295


def iso(time: int, suffix: str = "Z") -> str:
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + suffix


@pytest.mark.parametrize(
    "text",
    [
        csv_text([(iso(time), *rest) for time, *rest in ROWS]),
        csv_text([(iso(time, "+00:00"), *rest) for time, *rest in ROWS]),
        csv_text([(iso(time, "").replace("T", " "), *rest) for time, *rest in ROWS]),
        csv_text([(time // 1000, *rest) for time, *rest in ROWS]),
        csv_text([(f"{time}.0", *rest) for time, *rest in ROWS]),
        csv_text([(time * 10**6, *rest) for time, *rest in ROWS]),
        "\ufeff" + csv_text().replace("\n", "\r\n"),
        csv_text(header="Open_Time,OPEN,High,Low,Close,Volume\n"),
        csv_text(
            [(o, v, t, h, low, c, "x") for t, o, h, low, c, v in ROWS],
            "open,volume,timestamp,high,low,close,note\n",
        ),
        dump_text(1),
        dump_text(1000),
        csv_text().replace("46319.0", "4.6319e4"),
        csv_text() + "\n",
    ],
    ids=[
        "iso-z", "iso-offset", "iso-no-zone", "seconds", "float-ms", "nanoseconds",
        "bom-and-crlf", "other-names", "other-order", "dump-ms", "dump-us", "exponent",
        "blank-line",
    ],
)  # fmt: skip
def test_csv_of_every_kind(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    assert candles(path) == EXPECTED


def test_gzip_and_zip_whatever_the_name(tmp_path):
    packed = tmp_path / "packed.csv"
    packed.write_bytes(gzip.compress(csv_text().encode()))
    assert candles(packed) == EXPECTED
    assert open_candles(packed).format == "csv.gz"
    archive = tmp_path / "BTCUSDT-1m-2025-01.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("BTCUSDT-1m-2025-01.csv", dump_text(1000))
    assert candles(archive) == EXPECTED
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("more.csv", dump_text(1000))
    with pytest.raises(UserError, match="holds 2 CSV files where one is expected"):
        load_series(archive)


@pytest.mark.parametrize("kind", ["timestamp", "milliseconds", "text"])
def test_parquet(tmp_path, kind):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    times = [row[0] for row in ROWS]
    if kind == "timestamp":
        times = pyarrow.array([time * 1000 for time in times], pyarrow.timestamp("us"))
    columns = {"timestamp": times}
    for place, name in enumerate(("open", "high", "low", "close", "volume"), start=1):
        values = [row[place] for row in ROWS]
        columns[name] = values if kind == "text" else [float(value) for value in values]
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    assert candles(path) == EXPECTED
    del columns["low"]
    parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(UserError, match="column low is missing"):
        load_series(path)
    path.write_bytes(b"PAR1 and then nothing of the kind")
    with pytest.raises(UserError, match="damaged parquet file"):
        load_series(path)


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"install gridbot\[parquet\]"):
        load_series(path)


def test_all_formats_of_the_same_candles_have_one_fingerprint(tmp_path):
    prints = set()
    for number, text in enumerate((csv_text(), dump_text(1), dump_text(1000))):
        path = tmp_path / f"{number}.csv"
        path.write_text(text)
        prints.add(load_series(path).fingerprint)
    assert len(prints) == 1
    path.write_text(csv_text(ROWS[:2]))
    assert load_series(path).fingerprint not in prints


def test_digits_beyond_the_eighth_are_rounded_and_counted(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(csv_text([(START, "0.1234567890", "0.3", "0.1", "0.30000000000000004", "1")]))
    series = load_series(path)
    assert series.candle(0).open == 12_345_679
    assert series.candle(0).close == 30_000_000
    assert series.findings.rounded_prices == 2


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("1", 10**8),
        ("0.00000001", 1),
        ("46319.0", 4_631_900_000_000),
        ("1e-8", 1),
        (" 2 ", 2 * 10**8),
    ],
)
def test_units_are_exact(text, units):
    assert to_units(text) == (units, False)
    assert from_units(units) == Decimal(text.strip())
    assert Decimal(print_units(units)) == Decimal(text.strip())


@pytest.mark.parametrize("text", ["-1", "9" * 25, "1e12", "2022-13-01", ""])
def test_time_that_is_none(text):
    with pytest.raises(ValueError, match=r"."):
        to_milliseconds(text)
