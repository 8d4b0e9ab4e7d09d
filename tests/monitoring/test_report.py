"""The weekly report: the real store, and channels on loopback that take, refuse or vanish."""

from __future__ import annotations

import email
import email.policy
import json
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.monitoring import tools
from benchmarks.monitoring.world import free_port
from tests.monitoring.loopback import TOKEN, Tls

FILES = Path(__file__).resolve().parents[2] / "roles/monitoring/files"
sys.path.append(str(FILES))

import report_page  # noqa: E402
import report_week  # noqa: E402

DAY, MINUTE = 86_400, 60
HOSTILE = '<img src=x onerror="a()">'
NONE = {"discord_url": "", "ntfy_url": "", "ntfy_token": "", "telegram_token": "",
        "telegram_chat": "", "webhook_url": "", "email": {"to": ""}}  # fmt: skip
needs_store = pytest.mark.skipif(
    bool(tools.missing()) or not shutil.which("openssl"), reason=tools.missing() or "no openssl"
)


class Channel:
    """A receiver of HTTP: keeps what it is sent, and answers as the test says; 0: not at all."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status: Callable[[dict[str, str]], int] = lambda _: 200
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers["content-length"]))
                told.got.append((self.path, headers, body))
                status = told.status(headers)
                if status:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                else:
                    self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/secret-4711"


class Mail(socketserver.ThreadingTCPServer):
    """A mail server, as far as a client needs one; it may fall silent after it took a message."""

    daemon_threads = True

    def __init__(self, *, lost: bool = False) -> None:
        self.got: list[bytes] = []
        told = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 here\r\n")
                for line in self.rfile:
                    verb = line[:4].upper().strip()
                    if verb == b"DATA":
                        self.wfile.write(b"354 go on\r\n")
                        lines = iter(self.rfile.readline, b".\r\n")
                        told.got.append(b"".join(one.removeprefix(b".") for one in lines))
                        if lost:
                            return
                    if verb == b"QUIT":
                        return
                    self.wfile.write(b"250 ok\r\n")

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server_address[1]}"


def ask(url: str, body: bytes | None = None) -> bytes:
    """What a server on loopback answers."""
    with urllib.request.urlopen(url, body, timeout=10) as answer:  # noqa: S310
        return answer.read()


class Fleet:
    """The real store with a week of samples, behind TLS; and the program with its settings."""

    def __init__(self, place: Path) -> None:
        self.place, self.week = place, report_week.last_week(time.time())
        port = free_port()
        self.store = subprocess.Popen(
            [tools.program("victoria-metrics"), f"-httpListenAddr=127.0.0.1:{port}",
             f"-storageDataPath={place}/store", "-retentionPeriod=1", "-memory.allowedBytes=40MB"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.url = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                ask(f"{self.url}/health")
                break
            except OSError:
                time.sleep(0.05)
        self.front = Tls(place, self.forward)
        (place / "read.token").write_text(TOKEN)
        self.settings()

    def forward(self, path: str) -> bytes:
        return ask(self.url + path)

    def settings(self, **changed: Any) -> None:
        """Write the program's settings; nothing was sent yet."""
        shutil.rmtree(self.place / "state", ignore_errors=True)
        (self.place / "state").mkdir()
        told = {"server": self.front.url, "watched": "pi1", **NONE,
                "accounts": {"pi1": "main", "pi2": "spare", "pi9": "main"}, **changed}  # fmt: skip
        (self.place / "messages.json").write_text(json.dumps(told))

    def load(self, lines: list[dict[str, Any]]) -> None:
        """Import samples, and wait until they are found."""
        body = "\n".join(map(json.dumps, lines)).encode()
        ask(f"{self.url}/api/v1/import", body)
        ask(f"{self.url}/internal/force_flush")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Start the program as systemd does."""
        environment = {
            "PATH": "/usr/bin:/bin",
            "CREDENTIALS_DIRECTORY": str(self.place),
            "STATE_DIRECTORY": str(self.place / "state"),
            "PATIENCE_SECONDS": "0",
        }
        return subprocess.run(
            [sys.executable, "-IS", FILES / "report.py", *words],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def sent(self) -> dict[str, str]:
        """What the program has written down of its channels."""
        told = json.loads((self.place / "state/report.json").read_text())
        assert told["week"] == self.week.name
        return told["channels"]


def samples(
    name: str,
    labels: dict[str, str],
    week: report_week.Week,
    value: Callable[[float], float | None],
) -> dict[str, Any]:
    """A series, every minute from a day before the week until its end; by days since it began."""
    times = range(week.begin - DAY, week.end + 1, MINUTE)
    found = [(at, value((at - week.begin) / DAY)) for at in times]
    kept = [(at * 1000, number) for at, number in found if number is not None]
    return {
        "metric": {"__name__": name, **labels},
        "timestamps": [at for at, _ in kept],
        "values": [number for _, number in kept],
    }


def a_week(week: report_week.Week) -> list[dict[str, Any]]:
    """Two bots: one's grid ends on Thursday noon; the other is off from Tuesday to Wednesday."""
    one, two = {"host": "pi1", "job": "bot"}, {"host": "pi2", "job": "bot"}
    old, new, other = week.begin - 9 * DAY, week.begin + 3.5 * DAY, week.begin - 30 * DAY

    def of(name: str, value: Callable[[float], float | None], **labels: str) -> None:
        lines.append(samples(name, labels, week, value))

    def alive(value: Callable[[float], float]) -> Callable[[float], float | None]:
        return lambda day: None if 1 <= day < 2 else value(day)

    lines: list[dict[str, Any]] = []
    grid = {"symbol": "BTC/USDT", **one}
    of("gridbot_build_info", lambda _: 1, mode="live", **one)
    of("gridbot_grid_start_time_seconds", lambda d: new if d >= 3.5 else old, **grid)
    # Ten a day; the second grid begins at zero again.
    of("gridbot_grid_profit", lambda d: (d - 3.5 if d >= 3.5 else d + 90) * 10, coin="USDT", **grid)
    of("gridbot_fees_value", lambda d: d - 3.5 if d >= 3.5 else d + 9, coin="USDT", **grid)
    for side, many in (("buy", 24), ("sell", 48)):
        counted = lambda d, many=many: int((d - 3.5 if d >= 3.5 else d + 9) * many)  # noqa: E731
        of("gridbot_fills_total", counted, side=side, **grid)
    of("gridbot_equity", lambda d: 1000 + d * 10, coin="USDT", **grid)
    of("gridbot_drawdown_ratio", lambda d: 0.125 if 2 <= d < 2.1 else 0.01, **grid)
    of("gridbot_range_position_ratio", lambda d: 1.5 if 5 <= d < 5.5 else 0.5, **grid)
    of("gridbot_kill_switch_fired", lambda d: 1.0 * (3.4 <= d < 3.5), rule="by_hand", **grid)
    of("gridbot_circuit_breaker_changes_total", lambda d: 2.0 + (d > 4), to="open", **one)
    of("gridbot_process_start_time_seconds", lambda d: week.begin + 3 * DAY * (d >= 3), **one)
    coin = {"symbol": HOSTILE, **two}
    of("gridbot_build_info", alive(lambda _: 1), mode="paper", **two)
    of("gridbot_grid_start_time_seconds", alive(lambda _: other), **coin)
    of("gridbot_grid_profit", alive(lambda d: 5 * (d + 30)), coin="USDT", **coin)
    of("gridbot_fees_value", alive(lambda d: d + 30), coin="USDT", **coin)
    of("gridbot_fills_total", alive(lambda d: int((d + 30) * 10)), side="buy", **coin)
    of("gridbot_equity", alive(lambda _: 500), coin="USDT", **coin)
    of("up", lambda _: 1, **one)
    of("up", alive(lambda _: 1), **two)
    for host in ("pi1", "pi2", "pi8"):
        of("gridberry_expected_host", lambda _: 1, host=host, job="node")
    of("up", lambda _: 1, host="pi1", job="node")
    of("gridberry_temperature_celsius", lambda d: 81 if 4 <= d < 4.1 else 50, host="pi1")
    boot = lambda d: week.begin + (2 * DAY if d >= 2 else -DAY)  # noqa: E731
    of("node_boot_time_seconds", boot, host="pi1", job="node")
    for kind, at in (("under_voltage", week.begin + 2 * DAY), ("oom_kill", week.begin - DAY)):
        of("gridberry_incident_last_timestamp_seconds", lambda _, at=at: at, kind=kind, host="pi1")
    fired = {"alertname": "UnderVoltage", "alertstate": "firing", "host": "pi1"}
    of("ALERTS", lambda d: 1 if 2 <= d < 2.25 else None, **fired)
    return lines


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    made = Fleet(tmp_path_factory.mktemp("report"))
    made.load(a_week(made.week))
    yield made
    made.store.terminate()
    made.store.wait()
    made.front.close()


@pytest.fixture
def fleet(loaded):
    loaded.settings()
    return loaded


def rows(html: str) -> dict[str, str]:
    """First cell of each row and its second; of the same name the latest."""
    found = re.findall(r"<tr><td>(.*?)</td><td class=\"n\">(.*?)</td>", html)
    return dict(found)


def section(html: str, name: str) -> str:
    """What is under a heading."""
    return html.split(f"<h2>{name}", 1)[1].split("<h2>", 1)[0]


@needs_store
def test_the_figures_are_those_of_the_week_of_each_bot(fleet, tmp_path):
    done = fleet.run("--to", str(tmp_path / "report.html"))
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "report.html").read_text()
    one = rows(section(html, "pi1, BTC/USDT, live, account main"))
    # Ten a day; what the first grid made between its last sample and noon is not known.
    assert one["profit"] == "+69.90 USDT"
    assert [one[day] for day in fleet.week.dates] == ["+10.00 USDT"] * 3 + ["+9.90 USDT"] + [
        "+10.00 USDT"
    ] * 3
    assert one["fills"] == "502"
    assert one["fees"] == "6.99 USDT"
    assert one["equity"].startswith("1,070.00 USDT")
    assert one["largest drawdown"] == "12.5%"
    assert one["out of range"] == "12.0 h, 7% of what was seen"
    assert one["kill switches"] == "1"
    assert one["breaker openings"] == "1"
    assert one["starts of the bot"] == "1"
    assert one["grids that ran"] == "2"
    two = section(html, "pi2")
    # Nothing that was made while nobody heard it is lost.
    assert rows(two)["profit"] == "+35.00 USDT"
    assert rows(two)["answered"].startswith("85.")


@needs_store
def test_what_needs_a_look_and_what_is_missing_are_said(fleet, tmp_path):
    said = fleet.run("--to", str(tmp_path / "report.html")).stdout
    html = (tmp_path / "report.html").read_text()
    look = section(html, "What needs a look")
    for line in (
        "pi9: nothing was heard of this bot",
        "pi8: nothing was heard of this Pi",
        "pi1: kill switches: 1",
        "pi2: heard 86% of the week",
        "pi1: 81 °C at its hottest",
        "pi1: under voltage",
    ):
        assert line in look
    assert "oom kill" not in look  # of the week before
    pis = section(html, "The Pis")
    assert re.search(r"<td>pi1</td><td class=\"n\">81 °C</td><td class=\"n\">1</td>", pis)
    assert "6.0 h" in section(html, "Alerts of the week")
    assert said.splitlines()[1:3] == [
        "live, account main: +69.90 USDT, 502 fills, 1 grids",
        "paper, account spare: +35.00 USDT, 70 fills, 1 grids",
    ]


@needs_store
def test_the_hubs_gains_are_added_by_mode_and_its_absence_is_said(fleet, tmp_path):
    asked = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            one = {"bot": "pi1", "symbol": "BTC/USDT", "mode": "live", "gain": "1.00000001"}
            if "after=" not in self.path:
                pages = {"days": [one, one | {"mode": "paper", "gain": "700"}], "next": "Mg=="}
            else:
                other = one | {"bot": "pi2", "gain": "9000"}
                pages = {"days": [one | {"gain": "-3"}, other], "next": None}
            body = json.dumps(pages).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    hub = {"url": f"http://127.0.0.1:{http.server_address[1]}", "token": "hub-4711"}
    fleet.settings(hub=hub)
    fleet.run("--to", str(tmp_path / "report.html"))
    later = datetime.fromtimestamp(fleet.week.end, UTC).date()
    one = rows(section((tmp_path / "report.html").read_text(), "pi1, BTC/USDT, live"))
    assert one["gain of sales, as the ledger has it"] == "-1.99999999 USDT"
    # A page for all grids together, and the next one: not a request for each grid.
    (first, token), (second, _) = asked
    assert token == "Bearer hub-4711"
    assert first == f"/api/v1/profit?from={fleet.week.dates[0]}&to={later}&limit=1000"
    assert second == first + "&after=Mg%3D%3D"
    http.shutdown()
    http.server_close()
    fleet.settings(hub=hub)
    done = fleet.run("--to", str(tmp_path / "report.html"))
    assert done.returncode == 0
    assert "the hub does not answer" in (tmp_path / "report.html").read_text()


class Sources(HTMLParser):
    """Tags and what they would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [name for name, _ in attrs if name in {"src", "href"} or name[:2] == "on"]


@needs_store
def test_the_page_loads_nothing_and_what_comes_from_outside_is_no_markup(fleet, tmp_path):
    fleet.run("--to", str(tmp_path / "report.html"))
    html = (tmp_path / "report.html").read_text()
    found = Sources()
    found.feed(html)
    assert found.loads == []
    assert found.tags.isdisjoint({"script", "img", "link", "iframe", "object"})
    assert "url(" not in html
    assert "&lt;img src=x" in html


@needs_store
def test_every_channel_gets_the_page_in_its_way_and_once(fleet):
    discord, ntfy, telegram, webhook, mail = Channel(), Channel(), Channel(), Channel(), Mail()
    fleet.settings(
        discord_url=discord.url, ntfy_url=ntfy.url, ntfy_token="t", webhook_url=webhook.url,
        telegram_token="1:a", telegram_chat="-100", telegram_api=telegram.url,
        email={"to": "a@b.c", "from": "d@e.f", "server": mail.address, "user": "", "password": ""},
    )  # fmt: skip
    for _ in range(3):
        done = fleet.run()
        assert (done.returncode, done.stderr) == (0, "")
    assert set(fleet.sent().values()) == {"sent"}
    for one in (discord, ntfy, telegram, webhook, mail):
        assert len(one.got) == 1

    form = form_of(discord)
    said = json.loads(form["payload_json"])
    assert said["allowed_mentions"] == {"parse": []}
    assert "69.90 USDT" in said["content"]
    assert form["files[0]"].startswith("<!DOCTYPE html>")
    assert form_of(telegram)["document"] == form["files[0]"]
    assert telegram.got[0][0].endswith("/bot1:a/sendDocument")
    _, headers, body = ntfy.got[0]
    assert headers["filename"] == f"gridberry-{fleet.week.name}.html"
    assert body.decode() == form["files[0]"]
    told = json.loads(webhook.got[0][2])
    assert told["key"] == f"gridberry-report-pi1-{fleet.week.name}"
    message = email.message_from_bytes(mail.got[0], policy=email.policy.default)
    assert message["Message-ID"] == f"<{told['key']}@gridberry.invalid>"
    assert message.get_body(("html",)).get_content().splitlines() == told["html"].splitlines()
    assert [one.get_filename() for one in message.iter_attachments()] == [told["name"]]


def form_of(channel: Channel) -> dict[str, str]:
    """The fields of a form that a channel got."""
    _, headers, body = channel.got[0]
    head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    return {
        part["Content-Disposition"].params["name"]: part.get_content().removesuffix("\r\n")
        for part in message.iter_parts()
    }


@needs_store
def test_what_may_have_come_is_not_sent_again_and_what_was_refused_is(fleet):
    lost, refusing, mail = Channel(), Channel(), Mail(lost=True)
    lost.status = lambda _: 0
    refusing.status = lambda _: 429
    fleet.settings(
        discord_url=lost.url, webhook_url=refusing.url, ntfy_url="http://127.0.0.1:9/secret-4711",
        email={"to": "a@b.c", "from": "d@e.f", "server": mail.address, "user": "", "password": ""},
    )  # fmt: skip
    done = fleet.run()
    assert done.returncode == 1
    assert "secret-4711" not in done.stderr
    assert fleet.sent() == {
        "discord": "unknown", "email": "unknown", "ntfy": "refused", "webhook": "refused"
    }  # fmt: skip
    refusing.status = lambda _: 200
    fleet.run()
    fleet.run()
    assert (len(lost.got), len(mail.got), len(refusing.got)) == (1, 1, 2)


@needs_store
def test_a_power_cut_while_sending_does_not_send_twice(fleet):
    discord = Channel()
    fleet.settings(discord_url=discord.url)
    # The channel takes the report, and the program dies before it hears so.
    seen: list[dict[str, str]] = []

    def die(_: dict[str, str]) -> int:
        seen.append(fleet.sent())
        return 0

    discord.status = die
    fleet.run()
    assert seen == [{"discord": "sending"}]
    (fleet.place / "state/report.json").write_text(
        json.dumps({"week": fleet.week.name, "channels": seen[0]})
    )
    assert fleet.run().returncode == 0
    assert len(discord.got) == 1


@needs_store
def test_an_ntfy_server_that_takes_no_files_gets_the_text(fleet):
    ntfy = Channel()
    ntfy.status = lambda headers: 400 if "filename" in headers else 200
    fleet.settings(ntfy_url=ntfy.url)
    assert fleet.run().returncode == 0
    assert b"69.90 USDT" in ntfy.got[1][2]


@needs_store
@pytest.mark.parametrize("wrong", ["away", "damaged", "later"])
def test_what_goes_wrong_is_one_line_and_nothing_is_sent(fleet, wrong):
    discord, state = Channel(), fleet.place / "state/report.json"
    changed = {"server": "https://127.0.0.1:9"} if wrong == "away" else {}
    fleet.settings(discord_url=discord.url, **changed)
    if wrong == "damaged":
        state.write_text("{")
    if wrong == "later":
        state.write_text(json.dumps({"week": "2099-W01", "channels": {"discord": "sent"}}))
    done = fleet.run()
    assert (done.returncode, len(done.stderr.splitlines()), discord.got) == (1, 1, [])


@needs_store
def test_a_week_that_is_none_or_not_over_is_refused(fleet, tmp_path):
    for week, said in (("47", "use a week such as"), ("2099-W01", "it is not over")):
        done = fleet.run("--to", str(tmp_path / "x.html"), "--week", week)
        assert done.returncode == 1
        assert said in done.stderr


def test_a_bar_of_a_loss_goes_down_and_no_number_is_needed():
    drawn = report_page.bars(["2026-11-16", "2026-11-17"], [2.0, -1.0], "Profit")
    tops = [float(one) for one in re.findall(r'<rect x="[^"]*" y="([0-9.]+)"', drawn)]
    zero = float(re.findall(r'd="M0 ([0-9.]+)H', drawn)[0])
    assert tops[0] < zero
    assert tops[1] == zero
    assert "NaN" not in report_page.bars(["a"], [0.0], "none")
    assert "<svg" in report_page.line([(0, 1.0)], "one")
