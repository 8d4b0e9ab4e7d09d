import gzip
import json
import os
import sys
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.candles.price_units import from_units, print_units, to_units
from gridbase.candles.reader import load_series, open_candles, to_milliseconds
from gridbase.errors import UserError
from gridbot.cli import main

HEADER = "timestamp,open,high,low,close,volume\n"
START = 1_640_991_660_000
ROWS = [
    (START, "46319.0", "46385.0", "46319.0", "46377.0", "2300413.7295"),
    (START + 60_000, "46377.0", "46411.5", "46377.0", "46411.25", "1829623.1938"),
    (START + 120_000, "46411.25", "46425.0", "46400.125", "46420.0", "466452.1722"),
]
EXPECTED = [
    (START, 4_631_900_000_000, 4_638_500_000_000, 4_631_900_000_000, 4_637_700_000_000),
    (START + 60_000, 4_637_700_000_000, 4_641_150_000_000, 4_637_700_000_000, 4_641_125_000_000),
    (START + 120_000, 4_641_125_000_000, 4_642_500_000_000, 4_640_012_500_000, 4_642_000_000_000),
]
DATA = Path(os.environ.get("GRIDBERRY_TEST_DATA", Path(__file__).parents[5] / "shared" / "data"))
REAL = DATA / "btc-usd-perp-1m-2022-01.csv"


def csv_text(rows=ROWS, header=HEADER) -> str:
    return header + "".join(",".join(map(str, row)) + "\n" for row in rows)


def candles(path: Path) -> list[tuple]:
    series = load_series(path)
    return [series.candle(index)[:5] for index in range(series.length)]


def dump_text(scale: int) -> str:
    """As Binance publishes klines: no header, twelve columns."""
    lines = []
    for time, *prices, volume in ROWS:
        end = (time + 60_000) * scale - 1
        lines.append(f"{time * scale},{','.join(prices)},{volume},{end},1.0,9,0.5,0.5,0\n")
    return "".join(lines)


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


def row(**changes) -> str:
    names = ("timestamp", "open", "high", "low", "close", "volume")
    values = dict(zip(names, ROWS[1], strict=True)) | changes
    return csv_text([ROWS[0], tuple(values[name] for name in names)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (HEADER, "holds no candles"),
        ("timestamp,open,high,close,volume\n", "line 1: column low is missing"),
        ("a,b\n1,2\n", "line 1: column timestamp is missing; the header is: a,b"),
        (row(open="abc"), "line 3: open 'abc' is not a number"),
        (row(open="nan"), "line 3: open 'nan' is not a number"),
        (row(open="inf"), "line 3: open 'inf' is not a number"),
        (row(open=""), "line 3: open '' is not a number"),
        (row(open="-1"), "line 3: open '-1' is not above 0"),
        (row(open="1e300"), "line 3: open '1e300' is too large"),
        (row(volume="many"), "line 3: volume 'many' is not a number"),
        (row(volume="-1"), "line 3: volume '-1' is not a number of 0 or more"),
        (row(high="46376.0"), "line 3: high 46376.0 is below low 46377.0"),
        (row(open="46376.0"), "line 3: open 46376.0 is outside low 46377.0 high 46411.5"),
        (row(close="46500"), "line 3: close 46500 is outside low"),
        (row(timestamp=START - 1), "line 3: time goes backwards, to 2021-12-31T23:00:59.999"),
        (row(timestamp="yesterday"), "line 3: timestamp 'yesterday' is neither ISO 8601 nor"),
        (csv_text() + "1640991900000,1,2\n", "line 5: 3 columns where timestamp, open"),
        (b"\x80\x81\x82\x83\n", "not a CSV text file"),
        (gzip.compress(b"x" * 99)[:20], "damaged csv.gz file"),
        (b"PK\x03\x04 and then nothing", "damaged zip file"),
    ],
)
def test_bad_file_gets_one_line(tmp_path, capsys, text, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main(["candles", "info", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"gridbot candles: {path}: ")
    assert message in line


def test_missing_file(tmp_path, capsys):
    assert main(["candles", "info", str(tmp_path / "no.csv")]) == 2
    assert "no.csv: cannot be read: No such file or directory" in capsys.readouterr().err
    assert main(["candles", "info", str(tmp_path)]) == 2
    assert "cannot be read: Is a directory" in capsys.readouterr().err


def test_duplicates_and_gaps_are_counted_and_the_rest_is_used(tmp_path, capsys):
    flat = ("10", "10", "10", "10", "1")
    times = [0, 1, 1, 2, 5, 6, 8]
    path = tmp_path / "a.csv"
    path.write_text(csv_text([(START + 60_000 * minute, *flat) for minute in times]))
    series = load_series(path)
    assert series.length == 6
    assert series.interval_ms == 60_000
    assert series.findings.sentences() == [
        "1 duplicate candles left out",
        "2 gaps, 3 candles missing",
    ]
    assert main(["candles", "convert", str(path), str(tmp_path / "b.csv")]) == 0
    assert "2 gaps, 3 candles missing" in capsys.readouterr().out


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


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz"])
def test_convert_is_exact_and_repeatable(tmp_path, name):
    source, target = tmp_path / "a.csv", tmp_path / name
    source.write_text(dump_text(1000))
    assert main(["candles", "convert", str(source), str(target)]) == 0
    assert candles(target) == EXPECTED
    first = target.read_bytes()
    other = tmp_path / "elsewhere" / name
    other.parent.mkdir()
    assert main(["candles", "convert", str(source), str(other)]) == 0
    assert other.read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.csv", name, "elsewhere"])


def test_convert_leaves_nothing_behind_when_it_fails(tmp_path, capsys):
    source, target = tmp_path / "a.csv", tmp_path / "out.csv"
    source.write_text(row(open="abc"))
    target.write_text("what was there")
    assert main(["candles", "convert", str(source), str(target)]) == 2
    assert target.read_text() == "what was there"
    assert len(list(tmp_path.iterdir())) == 2
    assert main(["candles", "convert", str(source), str(source)]) == 2
    assert "is the input as well" in capsys.readouterr().err
    source.write_text(csv_text())
    assert main(["candles", "convert", str(source), str(tmp_path / "no" / "out.csv")]) == 2
    assert "out.csv: cannot be written: No such file" in capsys.readouterr().err


def test_info(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text(csv_text())
    assert main(["candles", "info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["candles"], facts["format"], facts["interval_seconds"]) == (3, "csv", 60)
    assert (facts["low"], facts["high"]) == ("46319", "46425")
    assert (facts["first"], facts["last"]) == ("2021-12-31T23:01:00Z", "2021-12-31T23:03:00Z")
    assert main(["candles", "info", str(path)]) == 0
    assert "first open" in capsys.readouterr().out


@pytest.mark.skipif(not REAL.exists(), reason=f"no recorded candles at {REAL}")
def test_real_recording(tmp_path):
    series = load_series(REAL)
    assert (series.length, series.interval_ms) == (45_031, 60_000)
    assert series.findings.sentences() == []
    first, last = series.candle(0), series.candle(series.length - 1)
    assert (first.time, print_units(first.open)) == (1_640_991_660_000, "46319")
    assert (last.time, print_units(last.close)) == (1_643_693_460_000, "38544")
    target = tmp_path / "real.csv.gz"
    assert main(["candles", "convert", str(REAL), str(target)]) == 0
    assert load_series(target).fingerprint == series.fingerprint
    assert target.stat().st_size < 1_000_000
