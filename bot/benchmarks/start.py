"""How fast a bot starts, and what memory it takes, beside their limits.

    python bot/benchmarks/start.py [--runs N] [--seconds S] [--patience S] [--json]

The real bot and the real exchange, in processes of their own over loopback, streams on. Measured
from the moment before `python3 -m gridbot run` is executed until the moment at which the exchange
says that it took the bot's first order: with no state, where that is the initial purchase, and with
the state of the run before, where that is a grid's order in place of one that was canceled
meanwhile. Each is the median of N. Beside it stands the same in starts of a bare interpreter
(`python3 -c pass`), which compares machines of any speed. The limit on these is what 1.5 s are on
an x86_64 machine whose bare start takes 20 ms. Measured were 12 ms on a quiet machine and 20 ms on
a busy one: of all readings of the limit in seconds, this is the strictest.

Memory is VmRSS, of which the image's file pages are a part; PSS is beside it, where the kernel
tells. It is read once the first order is there, and after S more seconds of trading.

Needs nothing but Python and gridbot: it also runs inside the image. Exits 1 where a limit is
exceeded; the seconds have one only on x86_64.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

SECONDS_LIMIT = 1.5
BARE_START_SECONDS = 0.020
UNITS_LIMIT = SECONDS_LIMIT / BARE_START_SECONDS
MEMORY_LIMIT = 70_000_000
BARE_STARTS = 9
KEY, SECRET = "benchmark-key", "benchmark-secret"  # of the exchange on loopback
SOURCE = Path(__file__).resolve().parents[1] / "src"
TICKS = os.sysconf("SC_CLK_TCK")

CONFIGURATION = """
bot_name = "bench"
[exchange]
name = "binance"
url = "http://127.0.0.1:{port}"
stream_url = "ws://127.0.0.1:{streams}"
api_key_file = "{directory}/key"
api_secret_file = "{directory}/secret"
timeout_seconds = {timeout}
[market]
symbol = "BTC/USDT"
[grid]
lower = "47000"
upper = "53000"
grids = 20
investment = "9000"
[state]
directory = "{directory}/bot"
[page]
host = "127.0.0.1"
port = {page}
"""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Figures:
    """One process as the kernel sees it; sizes in bytes, times in seconds."""

    rss: int
    pss: int | None
    threads: int
    cpu: float

    @staticmethod
    def of(pid: int) -> Figures:
        """Read them now."""
        status = _fields(Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
        try:
            pss = _fields(Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii"))["Pss"]
        except OSError:
            pss = None
        # The name in the second field may hold spaces.
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return Figures(
            rss=_size(status["VmRSS"]),
            pss=None if pss is None else _size(pss),
            threads=int(status["Threads"]),
            cpu=(int(stat[11]) + int(stat[12])) / TICKS,
        )


def _fields(text: str) -> dict[str, str]:
    parts = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in parts}


def _size(text: str) -> int:
    return int(text.removesuffix(" kB")) * 1024


class Bench:
    """An exchange that runs, and a bot that is started and stopped.

    Args:
        directory: for everything that they write.
        patience: the longest wait for anything (seconds).
    """

    def __init__(self, directory: Path, patience: float) -> None:
        self.directory = directory
        self.patience = patience
        self._port, self._streams, self.page = free_port(), free_port(), free_port()
        self._running: list[subprocess.Popen[bytes]] = []
        for name, text in (("key", KEY), ("secret", SECRET)):
            (directory / name).touch(mode=0o600)
            (directory / name).write_text(text)
        for name in ("exchange", "bot"):
            (directory / name).mkdir()
        ports = {"port": self._port, "streams": self._streams, "page": self.page}
        text = CONFIGURATION.format(directory=directory, timeout=min(60, int(patience)), **ports)
        (directory / "bot.toml").write_text(text)

    def start_exchange(self, *flags: str) -> None:
        """Execute the exchange and wait until it answers."""
        self._start(
            "exchange",
            *("gridexchange", "--port", str(self._port), "--stream-port", str(self._streams)),
            *("--state-directory", str(self.directory / "exchange")),
            *("--api-key-file", str(self.directory / "key")),
            *("--api-secret-file", str(self.directory / "secret")),
            *flags,
        )
        self.wait_for("the exchange", lambda: self.ask("ping") is not None)

    def start_bot(self) -> subprocess.Popen[bytes]:
        """Execute the bot."""
        return self._start("bot", "gridbot", "run", "--config", str(self.directory / "bot.toml"))

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env=environment(),
                stdout=log,
                stderr=log,
            )
        self._running.append(process)
        return process

    def ask(self, what: str, method: str = "GET", **parameters: object) -> Any:
        """The exchange's answer to a request, signed where it has parameters; None: none came."""
        if parameters:
            parameters |= {"timestamp": time.time_ns() // 1_000_000, "recvWindow": 60_000}
            text = urllib.parse.urlencode(parameters)
            signature = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
            what += f"?{text}&signature={signature}"
        url = f"http://127.0.0.1:{self._port}/api/v3/{what}"
        request = urllib.request.Request(url, method=method, headers={"X-MBX-APIKEY": KEY})
        try:
            with urllib.request.urlopen(request, timeout=self.patience) as answer:  # noqa: S310 - http
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise SystemExit(f"the exchange says: {error.read().decode()}") from error
        except OSError:
            return None

    def status(self) -> Any:
        """What the bot reports; None while it does not."""
        try:
            url = f"http://127.0.0.1:{self.page}/api/status"
            with urllib.request.urlopen(url, timeout=self.patience) as answer:
                return json.loads(answer.read())
        except OSError:
            return None

    def wait_for(self, what: str, condition: Callable[[], Any], every: float = 0.05) -> Any:
        """Look until a condition is true; its value."""
        deadline = time.monotonic() + self.patience
        while not (value := condition()):
            if time.monotonic() > deadline or self._running[-1].poll() is not None:
                logs = [file.read_text()[-2000:] for file in self.directory.glob("*.log")]
                raise SystemExit("\n".join([*logs, f"{what} did not come"]))
            time.sleep(every)
        return value

    def wait_for_trading(self) -> Any:
        """Wait until all orders are placed and both streams are up; the status then."""

        def trading() -> Any:
            status = self.status()
            if status is None or status["state"] != "trading":
                return None
            connection = status["connection"]
            return status if connection["account_stream"] and connection["market_stream"] else None

        return self.wait_for("trading over streams", trading, every=0.2)

    def log(self) -> str:
        """What the bot has said so far."""
        file = self.directory / "bot.log"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End a process in good order."""
        process.send_signal(signal.SIGTERM)
        process.wait(self.patience)
        self._running.remove(process)

    def close(self) -> None:
        """End everything."""
        for process in self._running:
            process.kill()
            process.wait()


def environment() -> dict[str, str]:
    """For the processes: gridbot is found beside this file, else where it is installed."""
    return os.environ | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}


@contextmanager
def bench(patience: float) -> Iterator[Bench]:
    """A bench in a directory that is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="gridbot-bench-") as directory,
        closing(Bench(Path(directory), patience)) as one,
    ):
        yield one


def bare_start() -> float:
    """Seconds that a bare interpreter takes from its execution to its end: the median."""
    return median(_bare_start() for _ in range(BARE_STARTS))


def _bare_start() -> float:
    before = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], env=environment(), check=True)
    return time.monotonic() - before


@dataclass(frozen=True)
class Start:
    """One start.

    Attributes:
        seconds: from its execution to the first order.
        bare: seconds of a bare start beside it.
        figures: of the process, once the first order was there.
    """

    seconds: float
    bare: float
    figures: Figures


def first_order(one: Bench) -> tuple[Start, subprocess.Popen[bytes]]:
    """Start the bot and wait for its first order, as the exchange dates it."""
    known = one.ask("allOrders", symbol="BTCUSDT", limit=1000)
    newest = max((order["orderId"] for order in known), default=0)
    said, bare = one.log().count(" accepted: "), bare_start()
    before = time.time_ns() / 1e9
    process = one.start_bot()
    # Its own log tells when to look: to ask the exchange all the time would slow it down.
    one.wait_for("the first order", lambda: one.log().count(" accepted: ") > said, every=0.02)
    figures = Figures.of(process.pid)
    orders = one.ask("allOrders", symbol="BTCUSDT", orderId=newest + 1, limit=1000)
    accepted = min(order["time"] for order in orders) / 1000
    return Start(accepted - before, bare, figures), process


def cancel_one(one: Bench) -> None:
    """Cancel an order of the bot's, which is to find out at its next start."""
    orders = one.ask("openOrders", symbol="BTCUSDT")
    one.ask("order", "DELETE", symbol="BTCUSDT", orderId=orders[0]["orderId"])


def measure(runs: int, seconds: float, patience: float) -> dict[str, Any]:
    """What was measured, as printed."""
    fresh: list[Start] = []
    again: list[Start] = []
    for number in range(runs):
        with bench(patience) as one:
            one.start_exchange("--speed", "3600", "--seed", "7")
            start, process = first_order(one)
            fresh.append(start)
            one.wait_for_trading()
            one.stop(process)
            cancel_one(one)
            start, process = first_order(one)
            again.append(start)
            if number == runs - 1:
                one.wait_for_trading()
                time.sleep(seconds)
                trading, status = Figures.of(process.pid), one.wait_for_trading()
                maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
    return {
        "limits": {"seconds": SECONDS_LIMIT, "units": UNITS_LIMIT, "memory": MEMORY_LIMIT},
        "machine": platform.machine(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "fresh": _document(fresh),
        "again": _document(again),
        "trading": vars(trading) | {"seconds": seconds, "fills": status["buys"] + status["sells"]},
        "needless": [name for name in ("numpy", "pyarrow") if f"/{name}/" in maps],
    }


def _document(starts: list[Start]) -> dict[str, Any]:
    return {
        "seconds": median(start.seconds for start in starts),
        "bare_seconds": median(start.bare for start in starts),
        "units": median(start.seconds / start.bare for start in starts),
        "each": [start.seconds for start in starts],
        "cpu_seconds": median(start.figures.cpu for start in starts),
        "rss": max(start.figures.rss for start in starts),
        "pss": max((start.figures.pss or 0) for start in starts) or None,
        "threads": max(start.figures.threads for start in starts),
    }


class Row(NamedTuple):
    """One line of the table; `limit` None: there is none."""

    what: str
    value: float
    limit: float | None = None
    unit: str = ""

    @property
    def over(self) -> bool:
        """Whether the limit is exceeded."""
        return self.limit is not None and self.value > self.limit

    def __str__(self) -> str:
        """As printed."""
        value = f"{self.value:.4g} {self.unit}"
        limit = "" if self.limit is None else f"{self.limit:.4g} {self.unit}"
        return f"{self.what:<26} {value:>12} {limit:>12}" + ("  OVER" if self.over else "")


def rows(found: dict[str, Any]) -> Iterator[Row]:
    """The table."""
    seconds = SECONDS_LIMIT if found["machine"] == "x86_64" else None
    for name, words in (("fresh", "no state"), ("again", "with state")):
        start = found[name]
        yield Row(f"first order, {words}", start["seconds"], seconds, "s")
        yield Row("  in bare starts", start["units"], UNITS_LIMIT)
        yield Row("  bare start", start["bare_seconds"], unit="s")
        yield Row("  CPU until seen", start["cpu_seconds"], unit="s")
        yield from _memory("  ", start)
    trading = found["trading"]
    yield from _memory(f"after {trading['seconds']:g} s more: ", trading)
    yield Row("  fills since the start", trading["fills"])
    yield Row("numpy, pyarrow loaded", len(found["needless"]), 0)


def _memory(words: str, found: dict[str, Any]) -> Iterator[Row]:
    yield Row(f"{words}VmRSS", found["rss"] / 1e6, MEMORY_LIMIT / 1e6, "MB")
    if found["pss"] is not None:
        yield Row("  PSS", found["pss"] / 1e6, unit="MB")
    yield Row("  threads", found["threads"])


def main() -> int:
    """Print the table; 1 if anything is over its limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60, help="of trading")
    parser.add_argument("--patience", type=float, default=60, help="longest wait in seconds")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.runs, args.seconds, args.patience)
    table = list(rows(found))
    exceeded = [row.what.strip() for row in table if row.over]
    exceeded = [
        what.strip() for what, value, limit, _ in table if limit is not None and value > limit
    ]
    if args.json:
        print(json.dumps(found | {"exceeded": exceeded}))
    else:
        print(f"{found['machine']}, Python {found['python']}, load {found['load']:.1f}")
        print(f"{'WHAT':<26} {'MEASURED':>12} {'LIMIT':>12}", *table, sep="\n")
    return int(bool(exceeded))


if __name__ == "__main__":
    sys.exit(main())
