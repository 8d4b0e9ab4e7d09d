"""Where a paper bot's prices come from: what the role's script finds, and what it keeps."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "roles/grid_bot/files/prices.sh"
NOWHERE = "http://127.0.0.1:9"


def look(directory: Path, address: str) -> str:
    """What the script prints."""
    script = f"DIRECTORY={directory}\nADDRESS={address}\n{SCRIPT.read_text()}"
    done = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True)
    assert not done.stderr
    return done.stdout.strip()


@contextmanager
def exchange(status: int, body: bytes) -> Iterator[str]:
    """An exchange that answers so; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_an_exchange_that_answers_is_followed(tmp_path):
    with exchange(200, b"{}") as address:
        assert look(tmp_path, address) == "found live"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (451, b"{}", "found made-up HTTP Error 451: Unavailable For Legal Reasons"),
        (200, b"<p>Log in to this hotel", "found made-up what answers is no exchange"),
    ],
)
def test_one_that_answers_something_else_is_not(tmp_path, status, body, says):
    with exchange(status, body) as address:
        assert look(tmp_path, address) == says


def test_one_that_is_closed_is_not(tmp_path):
    assert look(tmp_path, NOWHERE) == "found made-up [Errno 111] Connection refused"


def test_one_that_says_nothing_is_given_up(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        said = look(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert said in ("found made-up no answer in 6 seconds", "found made-up timed out")


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ('live = "binance"\n', "kept live"),
        ("speed = 60\nseed = 7\n", "kept made-up"),
        # Nobody has chosen between live and made-up prices yet.
        ('speed = 60\ncandles = "/c.csv.gz"\n', "found live"),
    ],
)
def test_what_was_chosen_is_kept(tmp_path, before, says):
    (tmp_path / "exchange.toml").write_text(before)
    with exchange(200, b"{}") as address:
        assert look(tmp_path, NOWHERE if "live" in before else address) == says


def chosen(directory: Path, hosts: dict[str, dict], addresses: dict[str, str]) -> tuple[str, dict]:
    """What the role says of hosts, in check mode, and where the prices of each come from.

    Args:
        directory: A directory.
        hosts: Their settings.
        addresses: Where each exchange answers.
    """
    inventory = {"all": {"vars": {"ansible_connection": "local"}, "hosts": hosts}}
    (directory / "inventory.yml").write_text(yaml.safe_dump(inventory))
    found = {"content": "{{ __grid_bot_prices }} {{ __grid_bot_volume }}",
             "dest": "{{ playbook_dir }}/{{ inventory_hostname }}.found"}  # fmt: skip
    tasks = [
        {"import_role": {"name": "grid_bot", "tasks_from": "prices.yml", "public": True}},
        {"copy": found, "check_mode": False},
    ]
    play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
    (directory / "play.yml").write_text(yaml.safe_dump([play]))
    extra = json.dumps({"__grid_bot_public_addresses": addresses})
    words = ["-i", directory / "inventory.yml", directory / "play.yml", "--check", "-e", extra]
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", *words],
        env=os.environ | {"ANSIBLE_NOCOLOR": "true", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, {name: (directory / f"{name}.found").read_text() for name in hosts}


def test_a_host_says_once_what_it_found_and_keeps_to_it(tmp_path):
    hosts = {name: {"grid_bot_directory": str(tmp_path / name)} for name in ("old", "follows")}
    hosts["new"] = {}
    hosts["far"] = {"grid_bot_exchange": "binanceus"}
    for name, line in (("old", "speed = 60"), ("follows", 'live = "binanceus"')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "exchange.toml").write_text(f"{line}\n")
    hosts["follows"]["grid_bot_exchange"] = "binanceus"
    with exchange(200, b"{}") as address:
        said, found = chosen(tmp_path, hosts, {"binance": address, "binanceus": NOWHERE})
    assert found == {
        "old": "made-up gridberry-paper-bot",
        "new": "live gridberry-paper-binance-bot",
        "far": "made-up gridberry-paper-bot",
        "follows": "live gridberry-paper-binanceus-bot",
    }
    said = " ".join(said.split())
    meaning = "prices are made up, and profit there means nothing. For live prices: grid_bot_prices"
    assert f"far: binanceus cannot be reached: [Errno 111] Connection refused; {meaning}" in said
    assert f"old: as chosen on an earlier run; {meaning}" in said
    assert said.count(meaning) == 2
