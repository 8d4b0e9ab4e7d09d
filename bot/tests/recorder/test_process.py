"""The recorder as a process: killed, stopped, asked."""

import json
import os
import resource
import time
from random import Random
from types import SimpleNamespace

import pytest
from recorder.cli import main
from recorder.core.rows import Kind, Stream

from bot.tests.recorder.processes import (
    LIMIT_S,
    Recorder,
    check_kept,
    command,
    rows_of,
    start_exchange,
    wait_until,
)

COINS = ("BTC", "ETH")
SYMBOLS = [f"{coin}USDT" for coin in COINS]
KILLS = int(os.environ.get("RECORDER_KILLS", "3"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = start_exchange(tmp_path_factory.mktemp("market") / "exchange", COINS)
    yield server
    server.kill()


@pytest.fixture
def recorder(tmp_path, server):
    recorder = Recorder(tmp_path / "recorder", server, SYMBOLS)
    yield recorder
    if recorder.process is not None and recorder.process.poll() is None:
        recorder.kill()


def killed(recorder: Recorder, random: Random, usual_s: float) -> tuple[float, int]:
    """Start it and kill it at a random moment: returns when (ms), and the rows it said to have.

    About every second kill comes while it starts and reads the journal of the one before.
    """
    written = 0
    if random.random() < 0.5:
        recorder.launch()
        time.sleep(random.uniform(0, usual_s))
    else:
        recorder.start()
        wait_until(lambda: recorder.status()["rows_written"] > 0)
        time.sleep(random.uniform(0, 1))  # anywhere between two writes
        written = recorder.status()["rows_written"]
    killed_ms = time.time() * 1000
    recorder.kill()
    return killed_ms, written


def test_a_kill_loses_nothing_that_was_written(recorder):
    random = Random(7)  # noqa: S311
    began = time.monotonic()
    recorder.start()
    usual_s = time.monotonic() - began
    wait_until(lambda: recorder.status()["exchanges"]["binance"]["books"] == len(SYMBOLS))
    wait_until(lambda: recorder.status()["rows_written"] > 0)
    time.sleep(2)
    killed_at, written = [], recorder.status()["rows_written"]
    recorder.kill()
    for _ in range(KILLS):
        killed_ms, rows = killed(recorder, random, usual_s)
        killed_at.append(killed_ms)
        written += rows
    recorder.start()
    wait_until(lambda: recorder.status()["exchanges"]["binance"]["books"] == len(SYMBOLS))
    time.sleep(2)
    assert recorder.stop() == 0
    rows, lost = check_kept(recorder.data, SYMBOLS, killed_at)
    assert lost
    # Whatever it said was on the disk is there; it writes each second.
    assert rows > written
    assert "Traceback" not in recorder.log.read_text()


def test_status_health_and_metrics(recorder):
    recorder.start()
    wait_until(lambda: recorder.status()["exchanges"]["binance"]["books"] == len(SYMBOLS))
    wait_until(lambda: recorder.status()["rows_written"] > 100)
    status = recorder.status()
    assert status["healthy"]
    assert status["exchanges"]["binance"]["connected"]
    assert json.loads(recorder.get("/health")) == {"reasons": []}
    metrics = recorder.get("/metrics").decode()
    assert 'recorder_connected{exchange="binance"} 1.0' in metrics
    assert "recorder_rows_written_total" in metrics
    told = command("status", "--url", f"{recorder.url}/status")
    assert told.returncode == 0
    assert told.stdout.startswith("healthy\nbinance: 2 symbols, 2 books")
    assert command("health", "--url", f"{recorder.url}/health").returncode == 0
    assert recorder.stop() == 0
    assert command("status", "--url", f"{recorder.url}/status").returncode == 1


def test_it_stops_in_an_orderly_way_where_memory_grows(tmp_path, server):
    recorder = Recorder(
        tmp_path / "small", server, SYMBOLS, memory_warn_mb=20, memory_restart_mb=30
    )
    assert command("run", "--config", recorder.config).returncode == 75
    assert not list((recorder.data / "active").iterdir())


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (('["BTCUSDT", "ETHUSDT"]', '["../../etc"]'), "symbol = '../../etc' needs letters"),
        (('["BTCUSDT", "ETHUSDT"]', "[]"), "symbols = []: needs different names"),
        (('"binance"', '"krakn"'), "exchange = 'krakn': needs binance, binanceus or a name that"),
        (("weight_per_minute = 6000", "wait = 1"), "markets: unknown setting wait; known are"),
        (('"127.0.0.1:0"', '"0.0.0.0:80"'), "listen = 0.0.0.0:80 is not loopback, so it needs"),
        (("listen", "listne"), "unknown setting listne; did you mean listen?"),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(tmp_path, capsys, change, line):
    nowhere = SimpleNamespace(url="http://127.0.0.1:9", stream_url="ws://127.0.0.1:9")
    config = Recorder(tmp_path, nowhere, SYMBOLS).config
    config.write_text(config.read_text().replace(*change))
    assert main(["run", "--config", str(config)]) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1


def test_health_asks_where_the_recorder_listens_by_default(capsys):
    with pytest.raises(SystemExit):
        main(["health", "--help"])
    assert "http://127.0.0.1:8090/health" in capsys.readouterr().out


def test_a_disk_that_takes_no_more_is_one_line_and_loses_nothing(recorder):
    recorder.start()
    wait_until(lambda: recorder.status()["rows_written"] > 0)
    most = max(path.stat().st_size for path in (recorder.data / "active").iterdir())
    resource.prlimit(recorder.process.pid, resource.RLIMIT_FSIZE, (most, most))
    assert recorder.process.wait(LIMIT_S) == 4
    told = recorder.log.read_text()
    assert f"recorder run: directory = {recorder.data}: cannot be written: File too large" in told
    assert "Traceback" not in told
    recorder.start()
    wait_until(lambda: recorder.status()["exchanges"]["binance"]["books"] == len(SYMBOLS))
    assert recorder.stop() == 0
    for symbol in SYMBOLS:
        numbers = [row[1] for row in rows_of(recorder.data, Stream("binance", Kind.TRADES, symbol))]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_a_symbol_that_the_exchange_does_not_know_is_one_line(tmp_path, server):
    recorder = Recorder(tmp_path / "r", server, [*SYMBOLS, "NONEUSDT"])
    answer = command("run", "--config", recorder.config)
    assert answer.returncode == 3
    assert "symbols: binance does not know NONEUSDT" in answer.stderr
