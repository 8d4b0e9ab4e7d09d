"""A pool on this machine: a scheduler and workers as processes, with a certificate of their own."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import psutil
from gridbase.market import Market
from gridbot.backtest import Candles
from gridbot.backtest.data import Columns
from gridbot.backtest.search import Space, Terms
from gridbot.core.grid import Fees, FeesIn, Spacing

from bot.tests.analytics.hour import ENVIRONMENT
from bot.tests.recorder.processes import LIMIT_S, wait_until
from bot.tests.together.process.conftest import free_port


def certificate(directory: Path) -> Path:
    """As docs/analytics.md makes it."""
    directory.mkdir()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "3650", "-subj", "/CN=gridberry-analytics"),
            *("-keyout", directory / "pool.key", "-out", directory / "pool.crt"),
        ],
        check=True,
        capture_output=True,
    )
    (directory / "pool.key").chmod(0o600)
    return directory


class Pool:
    """A scheduler and workers.

    Args:
        directory: of certificate and logs.
        processes: how many workers.
    """

    def __init__(self, directory: Path, processes: int) -> None:
        self.directory = directory
        self.tls = certificate(directory / "tls")
        self.address = f"tls://127.0.0.1:{free_port()}"
        self.running: list[subprocess.Popen] = []
        self.scheduler = self.start("scheduler", "--listen", self.address)
        more = ("--processes", processes, "--memory-mb", 400)
        self.worker = self.start("worker", "--scheduler", self.address, *more)

    def start(self, name: str, *arguments: object) -> subprocess.Popen:
        path = self.directory / f"{name}.log"
        with path.open("w") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "analytics", name, *map(str, arguments)),
                    *("--tls", self.tls),
                ],
                env=ENVIRONMENT,
                stdout=log,
                stderr=log,
            )
        self.running.append(process)
        wait_until(lambda: process.poll() is not None or "ready: " in path.read_text(), LIMIT_S)
        assert process.poll() is None, path.read_text()
        return process

    def kill_one(self) -> int:
        """Kill one worker, which its parent replaces."""
        for child in psutil.Process(self.worker.pid).children(recursive=True):
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
                return child.pid
        raise AssertionError("there is no worker")

    def processor_seconds(self) -> float:
        """What the workers have used."""
        times = [
            child.cpu_times() for child in psutil.Process(self.worker.pid).children(recursive=True)
        ]
        return sum(each.user + each.system for each in times)

    def close(self) -> None:
        for process in reversed(self.running):
            if process.poll() is None:
                process.terminate()
                process.wait(LIMIT_S)


def market(candles: int, seed: int = 1) -> Candles:
    """A walk around 50,000, a minute each."""
    random = np.random.default_rng(seed)
    closes = 5_000_000 + np.cumsum(random.integers(-3_000, 3_001, candles))
    opens = np.concatenate(([5_000_000], closes[:-1]))
    high = np.maximum(opens, closes) + random.integers(0, 900, candles)
    low = np.minimum(opens, closes) - random.integers(0, 900, candles)
    times = np.arange(candles, dtype=np.int64) * 60_000
    prices = [np.asarray(each, dtype=np.int64) * 1_000_000 for each in (opens, high, low, closes)]
    return Candles("made up", Columns(times, *prices))


TERMS = Terms(
    Market("BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal(0), Decimal(0)),
    Fees(Decimal("0.001"), FeesIn.RECEIVED),
    Decimal(10_000),
)


def space(count: int) -> list:
    """So many combinations."""
    every = Space(tuple(range(5, 100)), tuple(Spacing), tuple(map(Decimal, range(3, 30))))
    return every.sample(count, 7)
