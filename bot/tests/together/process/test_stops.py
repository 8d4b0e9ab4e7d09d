"""A price that falls through the stop, seen by real processes over loopback.

Bot and exchange talk through a tap, which notes when the bot is handed a price below the stop.
"""

import contextlib
import itertools
import json
import re
import socket
import sqlite3
import threading
import time
from decimal import Decimal

import pytest

from .conftest import free_port, gridbot, wait_for

FIRST_MS = 1_640_995_200_000
DAY_MS = 86_400_000
BOTTOM = "79.37"  # no other amount looks like it
HALT_MS = 5_000
GRID = {"lower": '"90"', "upper": '"110"', "grids": 10, "investment": '"1000"'}
STOP = {"[stop]": None, "loss_price": '"85"'}
# At the bottom the coins of the start have lost 11 %, and with those of the buys on the way 18 %.
DRAWDOWN = {"[stop]": None, "max_drawdown_percent": '"14"'}


class Tap:
    """Hands on what bot and exchange say, on one port.

    Args:
        target: port of the exchange.
        needle: what shows the price, in an answer or a message.
    """

    def __init__(self, target: int, needle: str) -> None:
        self.shown_ms: list[int] = []
        self._target = target
        self._needle = re.compile(rf'"{re.escape(needle)}'.encode())
        self._listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                for ends in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, tells: bool) -> None:
        tail = b""
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
                if tells and self._needle.search(tail + data):
                    self.shown_ms.append(time.time_ns() // 1_000_000)
                tail = data[-16:]
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


def write_market(bench, name, prices, day=0):
    """A file of candles that go straight from price to price, a minute each."""
    rows = ["timestamp,open,high,low,close,volume"]
    for minute, (before, after) in enumerate(itertools.pairwise(prices)):
        ends = sorted((before, after), key=float)
        time_ms = FIRST_MS + day * DAY_MS + minute * 60_000
        rows.append(f"{time_ms},{before},{ends[1]},{ends[0]},{after},1")
    path = bench.directory / f"{name}.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


class Fall:
    """A grid that trades at 100, and the market that it falls in afterwards."""

    def __init__(self, bench, *, streams, liquidate=True, stop=STOP):
        self.bench = bench
        self.taps = [Tap(port, BOTTOM) for port in (bench.exchange_port, bench.stream_port)]
        url, stream_url = (tap.port for tap in self.taps)
        stream = {"stream_url": f'"ws://127.0.0.1:{stream_url}"'} if streams else {}
        where = {"url": f'"http://127.0.0.1:{url}"'}
        bench.write_config(
            streams=streams, **where, **stream, **GRID, **stop, liquidate=str(liquidate).lower()
        )
        self.exchange = self.start_exchange(write_market(bench, "flat", ["100", "100"]))
        self.bot = bench.start_bot()
        wait_for(lambda: bench.status().get("state") == "trading")
        self.trading_ms = time.time_ns() // 1_000_000

    def start_exchange(self, candles, *rules):
        text = "\n".join(["[faults]", "seed = 1", *("[[faults.rules]]\n" + rule for rule in rules)])
        path = self.bench.directory / "exchange.toml"
        path.write_text(text + "\n")
        flags = ("--candles", candles, "--at-end", "hold", "--speed", "60", "--config", path)
        return self.bench.start_exchange(*flags)

    def begin(self, *rules, prices):
        """The exchange comes back with another market."""
        self.bench.stop(self.exchange)
        self.start_exchange(write_market(self.bench, "fall", prices, day=1), *rules)

    def wait_for_halt(self):
        """The bot has halted, and nothing of it is open."""
        wait_for(lambda: self.bench.status().get("state") == "halted")
        audit = gridbot("audit", "--config", self.bench.config, "--json")
        assert audit.returncode == 0, audit.stdout + audit.stderr
        assert json.loads(audit.stdout)["equal"] is True
        assert self.read("exchange", "SELECT count(*) FROM orders WHERE status = 'NEW'") == [(0,)]

    def read(self, whose, query):
        name = "exchange" if whose == "exchange" else "gridbot"
        path = self.bench.directory / whose / f"{name}.sqlite3"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    def check(self, *, filled):
        """The switch fired in time, and no buy came after the price could be known."""
        shown_ms = min(at for tap in self.taps for at in tap.shown_ms)
        ((halt_ms, price),) = self.read("bot", "SELECT at_ms, price FROM halts")
        assert halt_ms - shown_ms < HALT_MS
        assert Decimal(price) == Decimal(BOTTOM)
        times = self.read("exchange", "SELECT created_ms FROM orders WHERE side = 'BUY'")
        late = [at for (at,) in times if at > (self.trading_ms if filled else shown_ms)]
        assert late == []

    def close(self):
        for tap in self.taps:
            tap.close()


@pytest.fixture
def make_fall(bench):
    falls = []

    def make(**options):
        falls.append(Fall(bench, **options))
        return falls[-1]

    yield make
    for fall in falls:
        fall.close()


def market_is_at(bench, price):
    answer = bench._answers(bench.exchange_port, "/api/v3/ticker/price?symbol=BTCUSDT")
    return answer is not None and json.loads(answer[1]).get("price", "").startswith(price)


@pytest.mark.parametrize("streams", [False, True], ids=["polled", "streams"])
def test_the_price_falls_through_the_stop_while_the_bot_is_dead(bench, make_fall, streams):
    fall = make_fall(streams=streams)
    fall.bot.kill()
    fall.bot.wait()
    fall.begin(prices=["100", "111", BOTTOM])
    wait_for(lambda: market_is_at(bench, BOTTOM))
    bench.start_bot()
    fall.wait_for_halt()
    fall.check(filled=True)


def test_the_price_falls_through_the_stop_during_maintenance(make_fall):
    fall = make_fall(streams=True)
    fall.begin(
        'kind = "maintenance"\nat_s = 0.01\nseconds = 5', prices=["100", "111", BOTTOM, BOTTOM]
    )
    fall.wait_for_halt()
    fall.check(filled=True)


REFUSED = 'kind = "error_before"\nmethod = "POST"\npath = "order"'
SILENT = 'kind = "lost_event"\nevent = "executionReport"'


@pytest.mark.parametrize(
    ("rule", "more"),
    [(REFUSED, {"liquidate": False}), (SILENT, {}), (SILENT, {"stop": DRAWDOWN})],
    ids=["refused", "silent", "silent, by drawdown"],
)
def test_the_price_falls_through_the_stop_while_the_exchange_fails_in_part(make_fall, rule, more):
    fall = make_fall(streams=True, **more)
    fall.begin(rule, prices=["100", *["103"] * 4, BOTTOM, BOTTOM])
    fall.wait_for_halt()
    fall.check(filled=False)
