"""A bot moves to another host: two bots, one exchange, and at no moment two owners of the books."""

import http.client
import http.server
import subprocess
import threading
import time
from pathlib import Path

import pytest

from .conftest import Bench, free_port, gridbot, wait_for

ROOT = Path(__file__).parents[4]
FENCE = ROOT / "roles/grid_bot/files/fence.sh"
CHANGES = {"POST", "DELETE"}  # requests that place or cancel


class Door:
    """What one host sends to the exchange, noted on its way."""

    def __init__(self, name: str, exchange_port: int, seen: list[tuple[float, str, str]]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.command in CHANGES:
                    seen.append((time.monotonic(), name, f"{self.command} {self.path}"))
                there = http.client.HTTPConnection("127.0.0.1", exchange_port)
                there.request(self.command, self.path, body, dict(self.headers))
                reply = there.getresponse()
                content = reply.read()
                self.send_response(reply.status)
                for key, value in reply.getheaders():
                    if key.lower() not in ("transfer-encoding", "content-length", "connection"):
                        self.send_header(key, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                there.close()

            do_GET = do_POST = do_DELETE = do_PUT = answer  # noqa: N815 - the library's names

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Pi:
    """One of two hosts: a bot with books of its own, and what a container engine would do there."""

    def __init__(self, bench: Bench, name: str, door: Door) -> None:
        self.bench, self.name = bench, name
        self.books, self.folder = bench.directory / f"{name}-books", bench.directory / f"{name}-opt"
        self.books.mkdir()
        self.folder.mkdir()
        self.config = bench.config = bench.directory / f"{name}.toml"
        self.page_port = free_port()
        url = f'"http://127.0.0.1:{door.port}"'
        bench.write_config(directory=f'"{self.books}"', url=url, port=self.page_port)
        # `docker` as the fence asks it: where the books are, whether the bot runs, and to stop it.
        (self.folder / "docker").write_text(
            f'#!/bin/sh\ncase "$*" in *Mounts*) echo {self.books} ;;\n'
            f"*State*) kill -0 $(cat {self.folder}/pid) 2>/dev/null && echo running=true ;;\n"
            f"stop*) kill $(cat {self.folder}/pid) ;; esac\n"
        )
        (self.folder / "docker").chmod(0o755)

    def start(self) -> subprocess.Popen:
        """What a deployment, a person or a boot does."""
        process = self.bench.start(self.name, "gridbot", "run", "--config", self.config)
        (self.folder / "pid").write_text(str(process.pid))
        return process

    def status(self) -> dict:
        self.bench.page_port = self.page_port
        return self.bench.status()

    def trades(self, more_than: int) -> bool:
        status = self.status()
        return status.get("state") == "trading" and status["buys"] + status["sells"] > more_than

    def fence(self, text: str) -> str:
        settings = f"PROJECT=gridberry DIRECTORY={self.folder} TEXT='{text}' DRY=\n"
        done = subprocess.run(
            ["/bin/sh", "-c", settings + FENCE.read_text()],
            env={"PATH": f"{self.folder}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout


@pytest.mark.parametrize("how", ["handed over", "killed"])
def test_a_moved_bot_never_has_two_owners(bench, how):
    bench.start_exchange("--speed", "3600")
    seen: list[tuple[float, str, str]] = []
    old, new = (Pi(bench, name, Door(name, bench.exchange_port, seen)) for name in ("old", "new"))
    process = old.start()
    wait_for(lambda: old.trades(3))
    if how == "killed":
        process.kill()  # a power cut; the books are as they were
        process.wait()
    reaper = threading.Thread(target=process.wait)
    reaper.start()
    assert "changed" in old.fence("moved to new")
    reaper.join()
    assert "changed" not in old.fence("moved to new")
    copy = bench.directory / "copy"
    assert gridbot("backup", "--state", old.books, copy).returncode == 0
    assert gridbot("restore", "--state", new.books, copy).returncode == 0

    # The old host boots again and again, while the new one begins, and once it trades.
    tries = [old.start().wait(timeout=60)]
    new.start()
    tries.append(old.start().wait(timeout=60))
    wait_for(lambda: new.trades(6))
    tries.append(old.start().wait(timeout=60))
    assert tries == [4, 4, 4]
    assert "these books are another bot's now (moved to new)" in bench.log("old")

    owners = [name for _, name, _ in sorted(seen)]
    assert owners == sorted(owners, reverse=True)  # all of old, then all of new
    assert {"old", "new"} == set(owners)
    audit = gridbot("audit", "--config", new.config)
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_lifted_it_trades_again(bench):
    bench.start_exchange("--speed", "3600")
    old = Pi(bench, "old", Door("old", bench.exchange_port, []))
    assert old.fence("moved to new").split() == ["changed", "changed", "stopped"]
    assert old.start().wait(timeout=60) == 4
    assert old.fence("").split() == ["changed", "changed", "stopped"]
    old.start()
    wait_for(lambda: old.trades(0))
