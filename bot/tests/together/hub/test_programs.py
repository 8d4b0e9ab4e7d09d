"""What the page shows beside the bots: a real recorder and a watcher's file, by a real hub."""

import json
import os
import shutil
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import pytest
from watcher.files import Files

from bot.tests.recorder.processes import Recorder, start_exchange, wait_until
from bot.tests.together.hub.test_api import Client, free_port

PAGE = Path(__file__).with_name("page.mjs")
STALE_MS = 120_000
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Documents of the hub: both heard, then the recorder gone."""
    directory = tmp_path_factory.mktemp("beside")
    exchange = start_exchange(directory / "exchange", ("BTC",))
    recorder = Recorder(directory / "recorder", exchange, ["BTCUSDT"])
    recorder.start()
    wait_until(lambda: recorder.status()["rows_written"] > 100)
    signal = {
        "state": "watching",
        "until_ms": None,
        "reason": HOSTILE,
        "circuit": {"state": "open"},
    }
    look = {"time_ms": 1_767_366_000_000, "price": 512.25, "signal": "rich", "missing": ["bars"]}
    written = {"written_ms": time.time_ns() // 1_000_000, "symbols": {"SPY": look}}
    Files(directory / "watcher").write_signal(signal | written)
    port = free_port()
    config = directory / "hub.toml"
    config.write_text(f"""
[server]
port = {port}
[[server.programs]]
name = "market data"
kind = "recorder"
url = "{recorder.url}/status"
[[server.programs]]
name = "options"
kind = "watcher"
file = "{directory}/watcher/signal.json"
[[server.programs]]
name = "nobody"
kind = "recorder"
url = "http://127.0.0.1:{free_port()}/status"
""")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "hub", "serve", "--config", str(config)]
    hub = subprocess.Popen(command, env=environment)
    client = Client(port)

    def programs():
        try:
            return {one["name"]: one for one in client.get("bots")[1]["programs"]}
        except OSError:
            return {}

    try:
        wait_until(lambda: len(asked(programs())) == 3)
        heard, status = client.get("bots")[1], recorder.status()
        assert recorder.stop() == 0
        wait_until(lambda: programs()["market data"]["problem"])
        yield heard, status, client.get("bots")[1]
    finally:
        hub.terminate()
        hub.wait(timeout=20)
        exchange.kill()


def asked(programs):
    return [one for one in programs.values() if one["heard_ms"] or one["problem"]]


def named(document, name):
    return next(one for one in document["programs"] if one["name"] == name)


def figures(program):
    return {one["label"]: (one["value"], one["worry"]) for one in program["figures"]}


def test_a_recorder_is_shown_as_it_says_of_itself(seen):
    heard, status, gone = seen
    program = named(heard, "market data")
    assert (program["about"], program["healthy"], program["stale"]) == (
        "binance 1 symbols",
        status["healthy"],
        False,
    )
    shown = figures(program)
    assert set(shown) == {
        "Messages a second", "Lag", "Queue", "Gaps of a day", "Files", "Bytes a row",
        "Not copied", "Memory", "Disk free",
    }  # fmt: skip
    assert shown["Files"][0].startswith(f"{status['files']}, ")
    assert shown["Queue"][1] is False
    # What it said last stays, with the reason why there is nothing newer.
    later = named(gone, "market data")
    assert later["figures"]
    assert "refused" in later["problem"]
    assert named(heard, "nobody")["heard_ms"] is None


def test_a_watcher_is_the_second_user_of_the_same_section(seen):
    heard, _, _ = seen
    program = named(heard, "options")
    assert figures(program) == {
        "State": ("watching", False),
        "Last cycle": ("2026-01-02 15:00:00 UTC", False),
        "SPY": ("rich · 512.25", False),
        "Circuit breaker": ("open", True),
    }
    assert program["notes"] == ["SPY: missing: bars"]
    assert not program["stale"]


def test_the_page_shows_what_is_old_as_old_and_text_as_text(seen):
    if shutil.which("node") is None:
        pytest.skip("needs node, which runs the page's script")
    heard, _, gone = seen
    now = named(heard, "market data")["heard_ms"]
    steps = [
        {"document": heard, "now": now},
        {"document": heard | {"programs": []}, "now": now},
        {"document": gone, "now": now},
        {"document": None, "now": now + STALE_MS + 30_000},
    ]
    html = resources.files("hub").joinpath("page/index.html").read_text(encoding="utf-8")
    asked = json.dumps({"html": html, "steps": steps})
    done = subprocess.run(
        ["node", PAGE], input=asked, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    fresh, none, silent, old = json.loads(done.stdout)
    recorder, nobody, options = fresh["programs"]
    assert [one["class"] for one in fresh["programs"]] == ["card", "card stale", "card"]
    assert "RECORDER" in fresh["texts"][0]
    assert "Messages a second" in fresh["texts"][0]
    assert "never heard" in fresh["texts"][1]
    assert fresh["state"] == "0 bots, 3 beside them, 1 stale"
    # What a program says is a text in one element, and no element of its own.
    assert {"name": "p", "class": "soft", "children": [HOSTILE]} in options["children"]
    assert not any(isinstance(one, dict) and one["name"] == "img" for one in options["children"])
    assert (none["programs"], none["heading"]) == ([], False)
    assert silent["programs"][0]["class"] == "card"
    assert "Cannot be asked: " in silent["texts"][0]
    # Nothing came since, and the hub says nothing: the page sees by itself that it is old.
    assert [one["class"] for one in old["programs"]] == ["card stale", "card stale", "card"]
    assert "STALE" in old["texts"][0]
    assert old["title"].startswith("(2 stale)")
    assert recorder["children"] != nobody["children"]
