"""`gridbot candles`: what it converts, tells and refuses."""

import gzip
import json

import pytest
from gridbase.candles.price_units import print_units
from gridbase.candles.reader import load_series
from gridbot.cli import main

from bot.tests.base.candles.files import (
    EXPECTED,
    HEADER,
    REAL,
    START,
    candles,
    csv_text,
    dump_text,
    row,
)


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
    assert "is a directory; name a file, or what was recorded" in capsys.readouterr().err


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
