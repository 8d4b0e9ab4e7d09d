"""The real commands, in processes of their own, over loopback."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "src"
PATIENCE_SECONDS = 60


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def gridbot(*arguments: object, **options) -> subprocess.CompletedProcess:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gridbot", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        **options,
    )


def wait_for(condition):
    """Poll until `condition` is true; its value. Fails after a long while, never by speed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not so after {PATIENCE_SECONDS} s")


class Bench:
    """An exchange and a bot that can be started, stopped and killed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.exchange_port, self.page_port, self.stream_port = (free_port() for _ in range(3))
        self.running: list[subprocess.Popen] = []
        for name in ("key", "secret"):
            (directory / name).touch(mode=0o600)
            (directory / name).write_text(f"test-{name}")
        for name in ("exchange", "bot"):
            (directory / name).mkdir()
        self.config = directory / "bot.toml"
        self.write_config()

    def write_config(self, *, streams: bool = False, **changes: object) -> None:
        """Write the bot's file; `changes` replace whole lines of it, by key, or come at its end."""
        stream_url = {"stream_url": f'"ws://127.0.0.1:{self.stream_port}"'} if streams else {}
        lines = {
            "mode": '"paper"',
            "bot_name": '"pi1"',
            "[exchange]": None,
            "name": '"binance"',
            "url": f'"http://127.0.0.1:{self.exchange_port}"',
            **stream_url,
            "api_key_file": f'"{self.directory}/key"',
            "api_secret_file": f'"{self.directory}/secret"',
            "timeout_seconds": 5,
            "[market]": None,
            "symbol": '"BTC/USDT"',
            "[grid]": None,
            "lower": '"47000"',
            "upper": '"53000"',
            "grids": 20,
            "investment": '"9000"',
            "[state]": None,
            "directory": f'"{self.directory}/bot"',
            "[page]": None,
            "host": '"127.0.0.1"',
            "port": self.page_port,
            "[loop]": None,
            "poll_seconds": '"0.2"',
        } | changes
        text = [key if value is None else f"{key} = {value}" for key, value in lines.items()]
        self.config.write_text("\n".join(text) + "\n")

    def start(self, name: str, program: str, *arguments: object) -> subprocess.Popen:
        log = (self.directory / f"{name}.log").open("a")
        process = subprocess.Popen(
            [sys.executable, "-m", program, *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"},
            stdout=log,
            stderr=log,
        )
        log.close()
        self.running.append(process)
        return process

    def start_exchange(self, *flags: object) -> subprocess.Popen:
        process = self.start(
            "exchange",
            "gridexchange",
            *("--port", self.exchange_port),
            *("--stream-port", self.stream_port),
            *("--state-directory", self.directory / "exchange"),
            *("--api-key-file", self.directory / "key"),
            *("--api-secret-file", self.directory / "secret"),
            *flags,
        )
        wait_for(lambda: self._answers(self.exchange_port, "/api/v3/ping"))
        return process

    def start_bot(self) -> subprocess.Popen:
        return self.start("bot", "gridbot", "run", "--config", self.config)

    def _answers(self, port: int, path: str) -> tuple[int, bytes, dict[str, str]] | None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read(), dict(response.getheaders())
        except OSError:
            return None
        finally:
            connection.close()

    def page(self, path: str) -> tuple[int, bytes, dict[str, str]] | None:
        return self._answers(self.page_port, path)

    def status(self) -> dict:
        answer = self.page("/api/status")
        return {} if answer is None else json.loads(answer[1])

    def shown(self, *arguments: object) -> subprocess.CompletedProcess:
        """What `gridbot status` prints."""
        url = f"http://127.0.0.1:{self.page_port}/api/status"
        return gridbot("status", "--url", url, *arguments)

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    @staticmethod
    def stop(process: subprocess.Popen) -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()
