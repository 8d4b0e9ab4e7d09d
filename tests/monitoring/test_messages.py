"""The daily summary and the checker, against a monitoring server and a Discord on loopback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from benchmarks.monitoring.world import Discord
from tests.monitoring.loopback import TOKEN, Tls

PROGRAM = Path(__file__).resolve().parents[2] / "roles/monitoring/files/messages.py"
NONE = {"ntfy_url": "", "ntfy_token": "", "telegram_token": "", "telegram_chat": ""}
pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


class Server:
    """What the monitoring server answers."""

    def __init__(self, place: Path) -> None:
        self.alerts = [{"status": {"state": "active"}}]
        self.nonsense = False
        self.front = Tls(place, self.body)
        self.url = self.front.url

    def body(self, path: str) -> bytes | None:
        return None if self.nonsense else json.dumps(self.answer(path)).encode()

    def answer(self, path: str) -> object:
        if path.startswith("/api/v2/alerts/groups"):
            return [{"alerts": self.alerts}]
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)["query"][0]
        labels = {"host": "pi1", "mode": "paper"}
        found = []
        if "profit" in asked:
            found = [{"metric": {**labels, "coin": "USDT"}, "value": [0, "12.5"]}]
        elif "fills" in asked:
            found = [{"metric": labels, "value": [0, "42"]}]
        elif "ALERTS" not in asked:
            found = [{"metric": {}, "value": [0, "2"]}]
        return {"data": {"result": found}}


class Sender:
    """The program with its settings, as systemd starts it."""

    def __init__(self, place: Path) -> None:
        self.place, self.server, self.discord = place, Server(place), Discord()
        (place / "read.token").write_text(TOKEN)
        (place / "state").mkdir()
        self.settings(discord_url=self.discord.url)

    def settings(self, **changed: str) -> None:
        told = {
            "server": self.server.url, "watched": "pi1", "webhook_url": "", "discord_url": "",
            "email": {"to": ""}, **NONE, **changed,
        }  # fmt: skip
        (self.place / "messages.json").write_text(json.dumps(told))

    def run(self, verb: str, *, silent_seconds: float = 0) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": "/usr/bin:/bin",
            "CREDENTIALS_DIRECTORY": str(self.place),
            "STATE_DIRECTORY": str(self.place / "state"),
            "SILENT_SECONDS": str(silent_seconds),
        }
        return subprocess.run(
            [sys.executable, "-IS", PROGRAM, verb],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    @property
    def sent(self) -> list[str]:
        return [text.splitlines()[0] for _, text in self.discord.messages]


@pytest.fixture
def sender(tmp_path):
    """The program, its server and Discord."""
    made = Sender(tmp_path)
    yield made
    made.server.front.close()


def test_the_summary_has_the_fleet_and_a_line_for_each_bot_and_mode(sender):
    assert sender.run("summary").returncode == 0
    text = sender.discord.messages[0][1].replace("\\", "")
    assert text == (
        "Gridberry, the last day: 2 of 2 hosts, 0 alerts\npi1 (paper): +12.50 USDT, 42 fills"
    )


def test_a_silent_server_is_told_once_and_its_return_once(sender):
    for _ in range(2):
        sender.run("watch")
    sender.server.alerts = []
    for _ in range(3):
        sender.run("watch")
    sender.server.alerts = [{"status": {"state": "active"}}]
    for _ in range(3):
        sender.run("watch")
    assert [text.split(":")[0] for text in sender.sent] == ["🔴 MonitoringSilent", "🟢 Recovered"]


def test_a_short_silence_is_not_told(sender):
    sender.run("watch", silent_seconds=60)
    sender.server.alerts = []
    sender.run("watch", silent_seconds=60)
    assert sender.sent == []


def test_a_wrong_token_counts_as_silence(sender):
    sender.run("watch")
    (sender.place / "read.token").write_text("another")
    sender.run("watch")
    assert len(sender.sent) == 1


def test_what_is_no_http_counts_as_silence(sender):
    sender.run("watch")
    sender.server.nonsense = True
    assert sender.run("watch").stderr == ""
    assert len(sender.sent) == 1


def test_after_a_clock_that_was_fast_a_silence_is_told(sender):
    told = {"heard": time.time() + 86400, "told": False}
    (sender.place / "state/watch.json").write_text(json.dumps(told))
    sender.server.alerts = []
    for _ in range(2):
        sender.run("watch")
    assert len(sender.sent) == 1


def test_a_message_that_no_channel_took_is_sent_the_next_time(sender):
    sender.run("watch")
    sender.server.alerts = []
    sender.settings(discord_url="http://127.0.0.1:9/secret-4711")
    done = sender.run("watch")
    assert done.returncode == 1
    assert "no channel took the message" in done.stderr
    assert "secret-4711" not in done.stderr
    sender.settings(discord_url=sender.discord.url)
    sender.run("watch")
    assert len(sender.sent) == 1


@pytest.mark.parametrize(("status", "again"), [(401, 1), (504, 0)])
def test_a_summary_is_tried_again_where_it_was_certainly_not_taken(sender, status, again):
    """Of what a proxy answers 504 nobody knows whether it went through."""
    answers = type(
        "Answers", (BaseHTTPRequestHandler,), {"do_POST": lambda one: one.send_error(status)}
    )
    with HTTPServer(("127.0.0.1", 0), answers) as channel:
        threading.Thread(target=channel.serve_forever, daemon=True).start()
        sender.settings(discord_url=f"http://127.0.0.1:{channel.server_port}/secret-4711")
        done = sender.run("summary")
        channel.shutdown()
    assert done.returncode == again
    assert f"discord: it answers {status}" in done.stderr
    assert ("it is not sent again" in done.stderr) == (not again)
    assert "secret-4711" not in done.stderr


def test_a_summary_is_tried_again_where_the_server_does_not_answer(sender):
    sender.server.nonsense = True
    assert sender.run("summary").returncode == 1
    assert sender.sent == []


def test_one_channel_that_fails_does_not_stop_the_others(sender):
    sender.settings(webhook_url="http://127.0.0.1:9/x", discord_url=sender.discord.url)
    done = sender.run("summary")
    assert (done.returncode, len(sender.sent)) == (0, 1)
    assert "webhook: " in done.stderr
