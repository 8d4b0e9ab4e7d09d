"""A collector whose database is away, and a hub that has none."""

import asyncio
import json
import socket
import threading
import time
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from gridbase.circuit_breaker import FAILURES, OPEN_SECONDS
from hub.api.application import application
from hub.api.endpoints import Hub
from hub.api.live import Fleet
from hub.collector import Loop
from hub.config import Bot, Collector, Live, Program
from hub.database import Address

STATUS = {"mode": "live", "exchange": "kraken", "version": "9", "grids": [], "state": "trading"}


class FakeClock:
    """Time that passes with each sleep; it ends after so many."""

    def __init__(self, sleeps):
        self.left, self.seconds, self.stopping = sleeps, 0.0, False

    def now_ms(self):
        return int(self.seconds * 1000)

    def monotonic(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds
        self.left -= 1
        self.stopping = self.left == 0


def test_a_database_that_is_away_is_left_in_peace(tmp_path, capsys):
    bot = Bot("pi1", "paper", "binance", "main", tmp_path, None)
    settings = Collector(1, tmp_path / "status.json", tmp_path / "metrics.prom")
    clock = FakeClock(FAILURES + int(OPEN_SECONDS) - 2)
    loop = Loop(bot, settings, Address(str(tmp_path), 5432, "none", "writer"), clock)
    tries = []

    async def once():
        tries.append(clock.seconds)
        raise ConnectionRefusedError

    loop.once = once
    asyncio.run(loop.run())
    assert tries == list(range(FAILURES))
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["circuit"]["state"] == "open"
    assert (status["circuit_changes"], status["last_ms"]) == (1, None)
    metrics = (tmp_path / "metrics.prom").read_text()
    assert 'gridberry_collector_circuit_closed{bot="pi1"} 0' in metrics
    assert capsys.readouterr().err.count("\n") == 1  # told once, not with each try


def test_a_disk_without_room_for_metrics_ends_no_collector(tmp_path, capsys):
    bot = Bot("pi1", "paper", "binance", "main", tmp_path, None)
    settings = Collector(1, tmp_path / "status.json", tmp_path / "gone" / "metrics.prom")
    loop = Loop(bot, settings, Address(str(tmp_path), 5432, "none", "writer"), FakeClock(3))
    rounds = []

    async def once():
        rounds.append(1)

    loop.once = once
    asyncio.run(loop.run())
    assert len(rounds) == 3
    assert "metrics.prom: cannot be written" in capsys.readouterr().err


class Page(BaseHTTPRequestHandler):
    """A bot's page."""

    def do_GET(self):
        allowed = self.headers.get("Authorization") == "Bearer gridberry_x"
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(json.dumps(STATUS).encode())

    def log_message(self, *_):
        pass


def test_a_hub_without_a_database_asks_the_bots_themselves(tmp_path):
    server = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "token").write_text("gridberry_x\n")
    (tmp_path / "token").chmod(0o600)
    url = f"http://127.0.0.1:{server.server_port}/api/status"
    bots = [Live("good", url, tmp_path / "token"), Live("refused", url, None)]

    async def run():
        fleet = Fleet(None, None, bots)
        task = asyncio.create_task(fleet.run())
        try:
            async for message in fleet.messages():
                document = json.loads(message.partition("data: ")[2])
                by_name = {one["name"]: one for one in document["bots"]}
                if len(by_name) == 2:
                    return document, by_name
        finally:
            task.cancel()

    document, by_name = asyncio.run(asyncio.wait_for(run(), 30))
    server.shutdown()
    assert document["database"] == "none"
    assert (by_name["good"]["mode"], by_name["good"]["stale"]) == ("live", False)
    assert by_name["refused"]["stale"]
    assert "401" in by_name["refused"]["problem"] or "Unauthorized" in by_name["refused"]["problem"]


def test_a_file_is_as_old_as_its_writer_says(tmp_path):
    signal = tmp_path / "signal.json"
    program = Program("options", "watcher", None, signal, None)
    fleet = Fleet(None, None, (), (program,))

    def told(text):
        signal.write_text(text)
        asyncio.run(fleet._ask_program(program))
        return fleet._told["options"]

    assert told('{"written_ms": 5, "state": "closed"}').heard_ms == 5
    # A clock that was wrong makes nothing young for ever.
    assert told('{"written_ms": 99999999999999}').heard_ms <= time.time_ns() // 1_000_000
    for text in ("", "[]", "{}", '{"written_ms": 1e999}', "[" * 100_000, "\x00"):
        assert told(text).problem
        assert "\n" not in told(text).problem


def test_what_speaks_no_http_is_asked_again():
    listener = socket.create_server(("127.0.0.1", 0))

    def greet():
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"220 mail\r\n")

    threading.Thread(target=greet, daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/status"
    program = Program("mail", "recorder", url, None, None)
    fleet = Fleet(None, None, (), (program,))
    asyncio.run(fleet._ask_program(program))
    assert fleet._told["mail"].problem == "220 mail"
    listener.close()


def test_a_page_that_looks_no_more_is_not_healthy(capsys):
    class Fleet:
        problem = ""
        fails = asyncio.Event()

        async def run(self):
            await self.fails.wait()
            raise RuntimeError

    @asynccontextmanager
    async def opened():
        yield Hub(Fleet(), None, None, None)

    async def ask():
        app = application(opened, None)
        async with app.router.lifespan_context(app):
            request = SimpleNamespace(app=app)
            (health,) = (one.endpoint for one in app.routes if one.path == "/health")
            assert (await health(request)).status_code == 200
            Fleet.fails.set()
            await asyncio.sleep(0.01)
            assert (await health(request)).status_code == 503

    with pytest.raises(RuntimeError):
        asyncio.run(ask())
    assert "RuntimeError" in capsys.readouterr().err


def test_those_who_ask_at_once_share_one_look_at_the_ledger(monkeypatch):
    looks = []

    class Ledger:
        async def books(self):
            looks.append(1)
            await asyncio.sleep(0)
            return ["book"]

    async def ask():
        hub = Hub(None, None, None, Ledger())
        assert await asyncio.gather(*(hub.books() for _ in range(20))) == [["book"]] * 20
        assert len(looks) == 1
        monkeypatch.setattr("hub.api.endpoints._FRESH_SECONDS", 0)
        await hub.books()
        assert len(looks) == 2

    asyncio.run(ask())
