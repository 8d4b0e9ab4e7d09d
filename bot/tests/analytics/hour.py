"""An hour in small: practice exchange, recorder and bot as processes, then the comparison."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from bot.tests.exchange.conftest import SOURCE, Server
from bot.tests.recorder.processes import LIMIT_S, Recorder, wait_until
from bot.tests.together.process.conftest import free_port

ENVIRONMENT = os.environ | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}
START_PRICE = 50_000
LINES = 40
STEP = 125  # 0.25 %


def write_candles(path: Path, minutes: int, seed: int) -> None:
    """A market that moves by about a line each minute, on the tick."""
    random = Random(seed)  # noqa: S311
    rows, price = ["timestamp,open,high,low,close,volume"], START_PRICE * 100
    for minute in range(minutes):
        close = price + round(random.gauss(0, STEP * 100))
        high = max(price, close) + round(abs(random.gauss(0, STEP * 40)))
        low = min(price, close) - round(abs(random.gauss(0, STEP * 40)))
        prices = ",".join(f"{each / 100:.2f}" for each in (price, high, low, close))
        rows.append(f"{1_700_000_040_000 + minute * 60_000},{prices},10")
        price = close
    path.write_text("\n".join(rows) + "\n")


class Hour:
    """The three processes.

    Args:
        directory: of all.
        seed: of the market.
        minutes: of the market, which stands still then.
        speed: market seconds in a second.
        faults: of the exchange, as lines of its file.
    """

    def __init__(self, directory: Path, *, seed=1, minutes=600, speed=120, faults=()) -> None:
        self.directory = directory
        home = directory / "exchange"
        home.mkdir()
        write_candles(home / "candles.csv", minutes, seed)
        (home / "exchange.toml").write_text(
            f'speed = {speed}\nat_end = "hold"\nstream_port = 0\nsymbol = "BTC/USDT"\n'
            f'candles = "{home / "candles.csv"}"\nspread = "0.0002"\nbook_levels = 20\n'
            f'tick_size = "0.01"\nlot_size = "0.0000001"\nbalances = {{USDT = "20000"}}\n'
            "orders_per_10s = 10000\nweight_per_minute = 1000000\n" + "\n".join(faults)
        )
        self.server = Server(home, "--config", str(home / "exchange.toml"))
        self.over_at = time.time() + minutes * 60 / speed + 1
        self.recorder = Recorder(
            directory / "recorder", self.server, ["BTCUSDT"], silent_seconds=30
        )
        self.bot: subprocess.Popen | None = None
        self.state = directory / "bot"
        self.state.mkdir()
        self.config = directory / "bot.toml"
        self.config.write_text(self._bot())
        self.began = time.time()

    def _bot(self) -> str:
        key = self.directory / "exchange" / "key"
        half = LINES // 2 * STEP
        return f"""
mode = "paper"
bot_name = "pi1"
[exchange]
name = "binance"
url = "{self.server.url}"
stream_url = "{self.server.stream_url}"
api_key_file = "{key}"
api_secret_file = "{key.with_name("secret")}"
timeout_seconds = 5
[market]
symbol = "BTC/USDT"
[grid]
lower = "{START_PRICE - half}"
upper = "{START_PRICE + half}"
grids = {LINES}
investment = "9000"
[state]
directory = "{self.state}"
[page]
host = "127.0.0.1"
port = {free_port()}
[loop]
poll_seconds = "0.2"
"""

    def start_bot(self) -> None:
        with (self.directory / "bot.log").open("a") as log:
            self.bot = subprocess.Popen(
                [sys.executable, "-m", "gridbot", "run", "--config", self.config],
                env=ENVIRONMENT,
                stdout=log,
                stderr=log,
            )

    def kill_bot(self) -> None:
        self.bot.kill()
        self.bot.wait()

    def gridbot(self, *arguments: object) -> None:
        run("gridbot", *arguments, check=True)

    def record(self) -> None:
        """Begin: first the recorder, so that nothing of the bot's is before it."""
        self.recorder.start()
        wait_until(lambda: self.recorder.status()["rows_written"] > 0)
        self.start_bot()
        wait_until(lambda: " accepted: " in (self.directory / "bot.log").read_text())

    def wait_for_the_end(self) -> None:
        """Until the market stands still, and the bot has had time to see all of it."""
        time.sleep(max(0, self.over_at - time.time()))

    def finish(self) -> None:
        """Stop both; the bot first, so that nothing of it is after the recording."""
        self.bot.send_signal(signal.SIGTERM)
        assert self.bot.wait(LIMIT_S) == 0, (self.directory / "bot.log").read_text()
        assert self.recorder.stop() == 0

    def finish_amid(self) -> int:
        """While the market goes on; returns until when the books have everything (Unix ms)."""
        until = int(time.time() * 1000)
        time.sleep(1)
        wait_until(lambda: self.traded(until) <= self.booked())
        self.finish()
        return until

    def traded(self, until: int) -> set[str]:
        """The exchange's trades."""
        _, rows = self.server.request("GET", "myTrades", symbol="BTCUSDT", limit=1000)
        return {str(row["id"]) for row in rows if row["time"] <= until}

    def booked(self, which: str = "1") -> set[str]:
        """The bot's trades; of those, the ones of which SQL says so."""
        path = self.state / "gridbot.sqlite3"
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as books:
            rows = books.execute(
                f"SELECT trade_id FROM fills f JOIN orders o USING (client_id) WHERE {which}"  # noqa: S608
            )
            return {row[0] for row in rows}

    def compare(self) -> list[dict]:
        """What `analytics compare` says of each day that it took."""
        found = []
        days = {datetime.fromtimestamp(at, UTC).date() for at in (self.began, time.time())}
        for day in sorted(days):
            told = run(
                *("analytics", "compare", "--config", self.config, "--fills", "--json"),
                *("--recording", self.recorder.data, "--date", day),
            )
            assert told.returncode in {0, 1}, told.stderr
            found.append(json.loads(told.stdout))
        return found

    def close(self) -> None:
        for process in (self.bot, self.recorder.process, self.server.process):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def run(program: str, *arguments: object, check: bool = False) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", program, *map(str, arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=check,
    )
