"""What people who look at the page, and people who attack it, cost trading.

    python bot/benchmarks/page_load.py [--pairs N] [--seconds S] [--json]

The real bot and the real exchange trade at speed on one core; the load is on another. Each round
has three phases of S seconds: nobody; 100 pages that follow the stream, and a scraper that asks for
the metrics and the status once a second; and an attack: 1,000 connections that send a request byte
by byte or nothing at all, bodies of 10 MB, forged Host headers and foreign origins, all the while.
Compared is how long an order takes until its acknowledgement (p99), as ratio to nobody in the same
round: the median over all rounds has a limit for the pages, and is reported for the attack. During
both, `/health` has to answer. At the end the API is asked while the pages follow.

Memory is what the pages add to VmRSS. Its limit is what the image's own leaves: 70 MB, of which
a bot in the image takes 51 at its first order. An interpreter outside takes more from the start.

Exits 1 where a limit is exceeded. Below two cores the load is not apart, and the ratio says less.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from start import MEMORY_LIMIT, Bench, Figures, bench, environment

RATIO_LIMIT = 1.10
API_LIMIT_SECONDS = 0.050
API_ROUNDS = 25
IN_IMAGE = 51_000_000  # VmRSS at the first order: docs/bot.md
PAGES, CROWD = 100, 1000
START_MS, SPEED = 1_640_995_200_000, "240"
API = ("system", "grids", "orders", "fills", "profit", "equity", "prices", "log")
# Has each acknowledgement's time written to a file, beside what the bot itself keeps of it.
LAUNCHER = """
import sys
from gridbot.trading.session import Answers
times = open(sys.argv.pop(1), "a", buffering=1)
kept = Answers.acknowledge
def acknowledge(answers, seconds):
    times.write(f"{seconds}\\n")
    kept(answers, seconds)
Answers.acknowledge = acknowledge
from gridbot.cli import main
raise SystemExit(main())
"""


def busy_market(file: Path) -> Path:
    """Candles whose price crosses several lines, up and down, in every minute."""
    rows = ["timestamp,open,high,low,close,volume"]
    for minute in range(10):
        ends = (49_300, 50_700) if minute % 2 else (50_700, 49_300)
        rows.append(f"{START_MS + minute * 60_000},{ends[0]},50700,49300,{ends[1]},1")
    file.write_text("\n".join(rows) + "\n")
    return file


def cores() -> tuple[set[int], set[int]]:
    """Cores for the bot with its exchange, and for the load."""
    own = sorted(os.sched_getaffinity(0))
    return {own[0]}, {own[-1]}


def start_bot(one: Bench, core: set[int]) -> tuple[subprocess.Popen[bytes], Path]:
    """Execute the bot on a core; also the file with the times of its acknowledgements."""
    times = one.directory / "times"
    config = one.directory / "bot.toml"
    text = config.read_text().replace(
        "[page]\n", f'[page]\ntokens_file = "{config.parent}/t.json"\n'
    )
    config.write_text(text)
    with (one.directory / "bot.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(times), "run", "--config", str(config)],
            env=environment(),
            stdout=log,
            stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, core),  # noqa: PLW1509 - no threads yet
        )
    one._running.append(process)  # noqa: SLF001 - it is ended with the others
    return process, times


def token(one: Bench) -> str:
    """A token that can read."""
    words = ("tokens", "create", "bench", "--scope", "read", "--file", f"{one.directory}/t.json")
    command = [sys.executable, "-m", "gridbot", *words]
    done = subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE)
    return done.stdout.decode().strip()


class Load:
    """Clients of one phase, from threads of this process.

    Args:
        port: of the page.
        secret: a token.
    """

    def __init__(self, port: int, secret: str) -> None:
        self._port, self._secret = port, secret
        self._over = threading.Event()
        self.events = 0
        self.asked: list[float] = []
        self.unanswered = 0

    @contextlib.contextmanager
    def going_on(self, *parts: Callable[[], None]) -> Iterator[None]:
        """Run parts of a load until the end of the block."""
        threads = [threading.Thread(target=part) for part in (*parts, self._health)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
            self._over.clear()

    def _connect(self) -> socket.socket | None:
        with contextlib.suppress(OSError):
            return socket.create_connection(("127.0.0.1", self._port), timeout=5)
        return None

    def pages(self) -> None:
        """Pages that follow the stream."""
        request = b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
        watched = selectors.DefaultSelector()
        for _ in range(PAGES):
            sock = self._connect()
            if sock is not None:
                sock.sendall(request)
                watched.register(sock, selectors.EVENT_READ)
        while not self._over.is_set():
            for key, _ in watched.select(0.2):
                assert isinstance(key.fileobj, socket.socket)  # noqa: S101 - registered above
                self.events += key.fileobj.recv(65_536).count(b"event: changes")
        for key in list(watched.get_map().values()):
            watched.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]

    def scraper(self) -> None:
        """Asks for the metrics and the status, once a second."""
        while not self._over.wait(1.0):
            for path in ("metrics", "api/status"):
                self.unanswered += not self._get(path)

    def ask_api(self) -> None:
        """Asks for everything that the API tells, and keeps how long each answer took."""
        for name in API * API_ROUNDS:
            begun = time.perf_counter()
            self.unanswered += not self._get(f"api/v1/{name}")
            self.asked.append(time.perf_counter() - begun)

    def _health(self) -> None:
        while not self._over.wait(1.0):
            self.unanswered += not self._get("health")

    def _get(self, path: str) -> bool:
        url = f"http://127.0.0.1:{self._port}/{path}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self._secret}"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - http
                return bool(answer.read())
        except OSError:
            return False

    def crowd(self) -> None:
        """Connections that send a byte at a time, or nothing."""
        sockets: list[socket.socket] = []
        while not self._over.wait(0.2):
            while len(sockets) < CROWD:
                sock = self._connect()
                if sock is None:
                    break
                sockets.append(sock)
            for place, sock in enumerate(sockets):
                with contextlib.suppress(OSError):
                    if place % 2:
                        sock.send(b"G" if place % 4 == 1 else b"GET / HTTP/1.1\r\nX: y")
            kept = [sock for place, sock in enumerate(sockets) if place % 10]
            for sock in set(sockets) - set(kept):
                sock.close()  # others take their places
            sockets = kept
        for sock in sockets:
            sock.close()

    def bodies(self) -> None:
        """Bodies of 10 MB, forged hosts, foreign origins."""
        heads = (
            "Host: localhost\r\nContent-Length: 10000000",
            "Host: evil.example\r\nOrigin: http://evil.example\r\nContent-Length: 10000000",
            "Host: localhost\r\nTransfer-Encoding: chunked",
        )
        while not self._over.wait(0.05):
            for head in heads:
                sock = self._connect()
                if sock is None:
                    continue
                with sock, contextlib.suppress(OSError):
                    sock.sendall(f"POST /api/v1/actions HTTP/1.1\r\n{head}\r\n\r\n".encode())
                    for _ in range(160):
                        sock.sendall(b"10000\r\n" + bytes(65_536) + b"\r\n")


def p99(seconds: list[float]) -> float:
    """The 99th percentile."""
    return quantiles(seconds, n=100)[98] if len(seconds) > 1 else float("nan")


def phase(times: Path, seconds: float) -> list[float]:
    """Acknowledgements of the next seconds."""
    before = times.stat().st_size
    time.sleep(seconds)
    with times.open() as file:
        file.seek(before)
        return [float(line) for line in file.read().splitlines()[1:] if line]


def measure(one: Bench, pairs: int, seconds: float) -> dict[str, Any]:
    """All rounds."""
    trading, aside = cores()
    os.sched_setaffinity(0, trading)  # the exchange inherits it
    market = busy_market(one.directory / "busy.csv")
    one.start_exchange("--candles", str(market), "--speed", SPEED)
    os.sched_setaffinity(0, aside)
    process, times = start_bot(one, trading)
    one.wait_for_trading()
    load = Load(one.page, token(one))
    rounds = []
    memory = []
    for _ in range(pairs):
        quiet = phase(times, seconds)
        memory.append(Figures.of(process.pid))
        with load.going_on(load.pages, load.scraper):
            time.sleep(1)
            pages = phase(times, seconds)
            memory.append(Figures.of(process.pid))
        with load.going_on(load.crowd, load.bodies):
            time.sleep(1)
            attack = phase(times, seconds)
        rounds.append((p99(quiet), p99(pages), p99(attack)))
        names = ("nobody", "pages", "attack")
        told = (
            f"{name} {seconds * 1e3:.1f} ms of {len(every)} orders"
            for name, seconds, every in zip(names, rounds[-1], (quiet, pages, attack), strict=True)
        )
        print(f"p99: {', '.join(told)}", file=sys.stderr)
    with load.going_on(load.pages):
        time.sleep(1)
        load.ask_api()
    return {
        "rounds": rounds,
        "pages_ratio": median(pages / quiet for quiet, pages, _ in rounds),
        "attack_ratio": median(attack / quiet for quiet, _, attack in rounds),
        "api_p95_seconds": quantiles(load.asked, n=20)[18],
        "api_requests": len(load.asked),
        "events": load.events,
        "unanswered": load.unanswered,
        "rss": memory[0].rss,
        "rss_with_pages": max(one.rss for one in memory),
        "threads": memory[-1].threads,
        "alive": process.poll() is None,
    }


def main() -> int:
    """Print the table; 1 where a limit is exceeded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--patience", type=float, default=60, help="longest wait in seconds")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with bench(args.patience) as one:
        found = measure(one, args.pairs, args.seconds)
    over = found["pages_ratio"] > RATIO_LIMIT or found["api_p95_seconds"] > API_LIMIT_SECONDS
    added, room = found["rss_with_pages"] - found["rss"], MEMORY_LIMIT - IN_IMAGE
    over = over or added > room or not found["alive"]
    over = over or found["unanswered"] > 0 or found["events"] == 0
    if args.json:
        print(json.dumps(found))
        return int(over)
    print(f"{PAGES} pages: {found['events']} events, {found['threads']} threads of the bot")
    print(
        f"API p95 of {found['api_requests']}: {found['api_p95_seconds'] * 1e3:.1f} ms, limit 50 ms"
    )
    print(
        f"VmRSS {found['rss'] / 1e6:.1f} MB, with pages {added / 1e6:.1f} more,"
        f" limit {room / 1e6:.0f}"
    )
    print(f"not answered, /health among it: {found['unanswered']}")
    print(f"acknowledgement p99 under attack: {found['attack_ratio']:.3f} of that without")
    print(f"acknowledgement p99 with pages: {found['pages_ratio']:.3f}, limit {RATIO_LIMIT}")
    print("a limit is exceeded" if over else "within all limits")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
