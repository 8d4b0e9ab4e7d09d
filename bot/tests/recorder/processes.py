"""The recorder and the practice exchange as processes, over loopback."""

import json
import os
import subprocess
import sys
import time
from bisect import bisect_right
from pathlib import Path

from gridbase.health import fetch
from recorder.core.book import rebuild
from recorder.core.rows import COLUMNS, Kind, Stream
from recorder.files.catalog import Catalog
from recorder.files.parquet import groups

from bot.tests.exchange.conftest import SOURCE, Server

LIMIT_S = float(os.environ.get("RECORDER_LIMIT_S", "60"))
ENVIRONMENT = os.environ | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}


def start_exchange(
    directory: Path, coins: tuple[str, ...], speed: int = 60, more: str = ""
) -> Server:
    """A practice exchange of made-up markets, its book 20 levels deep, with more settings."""
    directory.mkdir()
    path = directory / "exchange.toml"
    symbols = [
        f'[[symbols]]\nsymbol = "{coin}/USDT"\nseed = {number}\nspread = "0.0002"\nbook_levels = 20'
        f'\ntick_size = "0.01"\nlot_size = "0.00001"\n'
        for number, coin in enumerate(coins)
    ]
    path.write_text(f"speed = {speed}\nstream_port = 0\nbalances = {{}}\n{more}" + "".join(symbols))
    return Server(directory, "--config", str(path))


class Recorder:
    """`recorder run`."""

    def __init__(
        self,
        directory: Path,
        server: Server,
        symbols: list[str],
        market: str = "weight_per_minute = 6000",
        **settings,
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.data = directory / "data"
        self.config = directory / "recorder.toml"
        values = {"directory": str(self.data), "listen": "127.0.0.1:0"} | settings
        text = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        text += [
            "[[markets]]",
            'exchange = "binance"',
            f"symbols = {json.dumps(symbols)}",
            f'rest = "{server.url}"',
            f'streams = "{server.stream_url}"',
            market,
        ]
        self.config.write_text("\n".join(text))
        self.log = directory / "log"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        began = self.log.stat().st_size if self.log.exists() else 0
        self.launch()
        wait_until(lambda: self.process.poll() is not None or self.port(began))
        assert self.process.poll() is None, self.log.read_text()[began:]
        self.url = f"http://127.0.0.1:{self.port(began)}"

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "recorder", "run", "--config", self.config],
                env=ENVIRONMENT,
                stdout=log,
                stderr=log,
            )

    def port(self, began: int) -> int | None:
        text = self.log.read_text()[began:]
        return (
            int(text.split("status on port ")[1].split()[0]) if "status on port " in text else None
        )

    def get(self, path: str) -> bytes:
        status, body = fetch(self.url + path, LIMIT_S)
        assert status == 200, body
        return body

    def status(self) -> dict:
        return json.loads(self.get("/status"))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=LIMIT_S)


def wait_until(true, limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def command(*arguments: object) -> subprocess.CompletedProcess:
    """A command of the recorder, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "recorder", *map(str, arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def rows_of(directory: Path, stream: Stream) -> list[tuple[int, ...]]:
    """All rows of a stream in the files that count."""
    catalog = Catalog(directory, read_only=True)
    found = []
    for entry in catalog.files(stream):
        for batch in groups(directory / "ready" / entry.path):
            columns = [batch.column(name).to_pylist() for name in COLUMNS[stream.kind]]
            found += zip(*columns, strict=True)
    catalog.close()
    return found


def around(times: list[int], moment: float) -> tuple[int, int] | None:
    """The rows before and after a moment, by their times in order; None where one is missing."""
    place = bisect_right(times, moment)
    return (times[place - 1], times[place]) if 0 < place < len(times) else None


def check_kept(
    directory: Path, symbols: list[str], moments: list[float]
) -> tuple[int, list[float]]:
    """See that a recorder, ended at moments, has every trade, and lists what else it lost.

    Args:
        directory: Its data, all of it in Parquet.
        symbols: What it recorded.
        moments: When it was ended (Unix time in ms).

    Returns:
        How many rows it has; and of each stream of quotes or differences, and each moment between
        two rows of it, how much before the moment (ms) its last row is.
    """
    catalog = Catalog(directory, read_only=True)
    lost = []  # on a slow machine a stream may have no row yet at a moment
    for symbol in symbols:
        numbers = [row[1] for row in rows_of(directory, Stream("binance", Kind.TRADES, symbol))]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        for kind in (Kind.DEPTH, Kind.QUOTES):
            stream = Stream("binance", kind, symbol)
            rows = rows_of(directory, stream)
            if kind == Kind.DEPTH:
                assert rebuild(rows)[2] == 0
            times = sorted(row[0] for row in rows)
            gaps = catalog.gaps(stream)
            for moment in moments:
                if pair := around(times, moment):
                    before, after = pair
                    listed = any(one.from_ms <= before and one.to_ms >= after for one in gaps)
                    assert listed, f"{stream}: nothing says what is missing at {moment:.0f}"
                    lost.append(moment - before)
    rows_in_all = catalog.totals()[1]
    catalog.close()
    return rows_in_all, lost
