"""SQL, tables and dumps of a recording that was made beside the practice exchange."""

import csv
import hashlib
import io
import json
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
import recorder
from gridbase.candles.reader import load_series, open_candles
from gridbase.errors import UserError
from gridbot.cli import main as gridbot
from recorder.core.rows import Gap, Kind, Stream
from recorder.files.catalog import Catalog
from recorder.reading.database import open_database
from recorder.reading.dumps import export_day

from bot.tests.recorder.processes import command
from bot.tests.recorder.world import START_MS, World

DAY = "2025-11-25"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("recording"))
    world.run(20)
    world.kill()
    world.clock.pass_ms(3_000)
    world.open()
    world.run(10)
    world.close()
    return world


@pytest.fixture
def data(world) -> Path:
    return world.directory / "data"


def test_sql_reads_what_was_recorded(data):
    database = open_database(data)
    [(number, first, last)] = database.execute(
        "SELECT count(*), min(id), max(id) FROM trades WHERE symbol = 'BTCUSDT'"
    ).fetchall()
    assert number == last - first + 1 > 500
    [(price, time)] = database.execute(
        "SELECT price, time FROM trades WHERE symbol = 'BTCUSDT' ORDER BY id LIMIT 1"
    ).fetchall()
    assert isinstance(price, Decimal)
    assert Decimal(10_000) < price < Decimal(100_000)
    assert time.date().isoformat() == DAY
    [(reason,)] = database.execute(
        "SELECT DISTINCT reason FROM gaps WHERE kind = 'depth'"
    ).fetchall()
    assert reason == "the recorder was not running"
    assert database.execute("SELECT count(*) FROM candles").fetchone()[0] > 20


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('{data}/../exchange/key')",
        "SELECT * FROM '{data}/../exchange/exchange.toml'",
        "SELECT * FROM read_parquet('{data}/ready/../../secret.parquet')",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '/tmp/recorder-escaped.csv'",
        "ATTACH '/tmp/recorder-escaped.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "RESET lock_configuration",
        "SELECT * FROM data",
        "SELECT getenv('HOME')",
        "PRAGMA enable_profiling; PRAGMA profile_output='/tmp/recorder-escaped.json'",
        "EXPORT DATABASE '/tmp/recorder-escaped'",
        # Nor may it write where the recording is.
        "COPY (SELECT 1) TO '{file}' (FORMAT parquet)",
        "COPY (SELECT 1) TO '{data}/ready/recorder-escaped.csv'",
        "EXPORT DATABASE '{data}/ready/recorder-escaped'",
        "ATTACH '{data}/ready/recorder-escaped.db'",
        "SELECT * FROM read_parquet('{file}')",
    ],
)
def test_sql_reads_and_writes_nothing_else(world, data, sql):
    file = next((data / "ready").rglob("*.parquet"))
    (world.directory / "secret.parquet").write_bytes(content := file.read_bytes())
    with pytest.raises(duckdb.Error):
        open_database(data).execute(sql.format(data=data, file=file))
    assert not list(Path("/tmp").glob("recorder-escaped*"))
    assert not list((data / "ready").glob("recorder-escaped*"))
    assert file.read_bytes() == content


def test_what_is_refused_is_one_line(data):
    answer = command("query", "--directory", data, "SELECT * FROM read_text('/etc/passwd')")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("recorder query: Permission Error")
    assert answer.stderr.count("\n") == 1


def test_load_gives_a_table_and_its_gaps(data):
    loaded = recorder.load(data, "trades", "ETHUSDT")
    assert loaded.table.num_rows > 500
    assert loaded.gaps == []
    start = datetime.fromtimestamp(START_MS / 1000 + 5, UTC).replace(tzinfo=None)
    later = recorder.load(data, "quotes", "ETHUSDT", start=start)
    assert 0 < later.table.num_rows < recorder.load(data, "quotes", "ETHUSDT").table.num_rows
    assert len(later.gaps) == 1
    with pytest.raises(UserError, match="kind = 'prices' needs one of"):
        recorder.load(data, "prices", "ETHUSDT")


def test_a_day_is_exported_as_binance_does(data, tmp_path):
    catalog = Catalog(data, read_only=True)
    path = export_day(catalog, Stream("binance", Kind.TRADES, "BTCUSDT"), DAY, tmp_path)
    assert path.name == f"BTCUSDT-aggTrades-{DAY}.zip"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (tmp_path / f"{path.name}.CHECKSUM").read_text() == f"{digest}  {path.name}\n"
    with zipfile.ZipFile(path) as archive:
        [name] = archive.namelist()
        rows = list(csv.reader(io.StringIO(archive.read(name).decode())))
    assert name == f"BTCUSDT-aggTrades-{DAY}.csv"
    table = recorder.load(data, "trades", "BTCUSDT").table
    assert [int(row[0]) for row in rows] == table.column("id").to_pylist()
    assert [Decimal(row[1]) for row in rows] == table.column("price").to_pylist()
    assert [Decimal(row[2]) for row in rows] == table.column("quantity").to_pylist()
    assert {row[6] for row in rows} == {"True", "False"}
    assert len(rows[0][5]) == 16  # microseconds


def test_exported_candles_are_candles_for_the_bot(data, tmp_path):
    catalog = Catalog(data, read_only=True)
    stream = Stream("binance", Kind.CANDLES, "BTCUSDT")
    [day] = {entry.date for entry in catalog.files(stream)}  # of the made-up market
    path = export_day(catalog, stream, day, tmp_path)
    assert path.name == f"BTCUSDT-1m-{day}.zip"
    candles = list(open_candles(path))
    table = recorder.load(data, "candles", "BTCUSDT").table
    assert len(candles) == table.num_rows > 20
    assert [Decimal(candle.close).scaleb(-8) for candle in candles] == table["close"].to_pylist()


def test_gaps_are_listed(data):
    answer = command("gaps", "--directory", data, "--symbol", "BTCUSDT")
    assert answer.returncode == 1
    assert "binance BTCUSDT depth  2025-11-25T00:00:" in answer.stdout
    assert "the recorder was not running" in answer.stdout


def test_a_directory_without_a_recording_is_one_line(tmp_path):
    for arguments in (("query", "SELECT 1"), ("gaps",)):
        answer = command(arguments[0], "--directory", tmp_path, *arguments[1:])
        assert answer.returncode == 4
        assert answer.stderr.endswith("holds no recording\n")


def recorded(data: Path, kind: str) -> Path:
    return data / "ready/exchange=binance" / f"kind={kind}" / "symbol=BTCUSDT"


def test_the_bot_reads_recorded_trades_one_by_one(data):
    candles = list(open_candles(recorded(data, "trades")))
    table = recorder.load(data, "trades", "BTCUSDT").table
    assert [Decimal(each.close).scaleb(-8) for each in candles] == table["price"].to_pylist()
    assert all(each.open == each.high == each.low == each.close for each in candles)


def test_the_bot_reads_recorded_candles(data):
    candles = list(open_candles(recorded(data, "candles")))
    table = recorder.load(data, "candles", "BTCUSDT").table
    assert [Decimal(each.high).scaleb(-8) for each in candles] == table["high"].to_pylist()


def test_the_practice_exchange_plays_recorded_trades_by_the_second(data):
    series = load_series(recorded(data, "trades"))
    assert series.interval_ms == 1_000
    times = [series.candle(number).time for number in range(series.length)]
    assert times == list(range(times[0], times[-1] + 1, 1_000))
    trades = list(open_candles(recorded(data, "trades")))
    assert series.candle(series.length - 1).close == trades[-1].close
    assert max(series.candle(n).high for n in range(series.length)) == max(t.high for t in trades)


@pytest.mark.parametrize("kind", ["trades", "candles"])
def test_a_backtest_names_the_gaps_of_the_recording(data, capsys, kind):
    gap = Gap(Stream("binance", Kind(kind), "BTCUSDT"), START_MS, START_MS + 1_500, 1, 2, "gone")
    catalog = Catalog(data)
    catalog.add_gaps([gap])
    catalog.write_manifests()
    catalog.close()
    options = ("--lower", "40000", "--upper", "60000", "--grids", "20", "--investment", "1000")
    options += ("--fee-rate", "0.001", "--symbol", "BTC/USDT", "--json")
    assert gridbot(["backtest", "--data", str(recorded(data, kind)), *options]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert "1 gaps in the recording, 1.5 s in all" in answer["notes"]


def test_a_directory_that_is_no_recording_is_one_line(tmp_path):
    with pytest.raises(UserError, match="is a directory; name a file, or what was recorded"):
        open_candles(tmp_path)
