"""The recorder and the practice exchange as processes, over loopback."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from gridbase.health import fetch

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
