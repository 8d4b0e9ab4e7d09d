"""Trying a new API key: a real bot's books on a real practice exchange, without a container."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
# `docker run ... IMAGE audit` is the audit of this checkout, with the keys that are mounted.
DOCKER = """#!/bin/sh
here=$(dirname "$0")
echo "$*" >>"$here/calls"
case "$*" in
    inspect*) echo bot:1 ;;
    "volume ls"*) ;;
    run*)
        for word in "$@"; do
            case "$word" in */api_key:*) keys=$(dirname "${word%%:*}") ;; esac
        done
        stat -c '%a' "$keys" "$keys/api_key" "$keys/api_secret" >"$here/modes"
        sed "s#/run/secrets#$keys#" "$here/../bot.toml" >"$here/tried.toml"
        PYTHONPATH=SOURCE exec INTERPRETER -m gridbot audit --config "$here/tried.toml" ;;
    "compose config"*) echo bot 1 ;;
    "image ls"*) echo bot:1 1 ;;
    "ps "*) echo 1 ;;
esac
"""
BOT = """
bot_name = "pi1"
[exchange]
name = "binance"
url = "http://127.0.0.1:{port}"
api_key_file = "/run/secrets/api_key"
api_secret_file = "/run/secrets/api_secret"
[market]
symbol = "BTC/USDT"
[grid]
lower = "42000"
upper = "50000"
grids = 10
investment = "5000"
[page]
port = {page}
[state]
directory = "{directory}/state"
"""
NEW = {"api_key": "new-key-4711", "api_secret": "new-secret-0815"}


@contextmanager
def running(module: str, *words: object) -> Iterator[None]:
    """A program, ended in an orderly way."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "bot/src")},
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def host(tmp_path: Path):
    """A bot that trades, and its exchange, which takes the new key."""
    for name in ("bin", "state"):
        (tmp_path / name).mkdir()
    docker = tmp_path / "bin/docker"
    docker.write_text(
        DOCKER.replace("SOURCE", str(ROOT / "bot/src")).replace("INTERPRETER", sys.executable)
    )
    docker.chmod(0o755)
    for name, content in NEW.items():
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(content)
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        port, page = (free.getsockname()[1] for free in (one, other))
    text = BOT.format(port=port, page=page, directory=tmp_path)
    (tmp_path / "bot.toml").write_text(text)
    (tmp_path / "own.toml").write_text(text.replace("/run/secrets", str(tmp_path)))
    keys = ("--api-key-file", tmp_path / "api_key", "--api-secret-file", tmp_path / "api_secret")
    market = ("--state-directory", tmp_path / "market", "--start-price", "46000")
    with ExitStack() as stack:
        stack.enter_context(running("gridexchange", "--port", port, *keys, *market))
        wait(f"http://127.0.0.1:{port}/gridberry/health")
        stack.enter_context(running("gridbot", "run", "--config", tmp_path / "own.toml"))
        deadline = time.monotonic() + 60
        while not has_grid(tmp_path):
            assert time.monotonic() < deadline, "no grid has begun"
            time.sleep(0.2)
        yield tmp_path


def has_grid(directory: Path) -> bool:
    status = subprocess.run(
        [sys.executable, "-m", "gridbot", "audit", "--config", directory / "own.toml"],
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT / "bot/src")},
        capture_output=True,
    )
    return status.returncode == 0


def wait(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"{url} does not answer")


def try_key(host: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the part of the playbook that tries the key of the vault."""
    play = {
        "hosts": "trading",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.import_role": {"name": "grid_bot", "tasks_from": "try_key.yml"}}
        ],
    }
    (host / "play.yml").write_text(yaml.safe_dump([play]))
    mine = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "grid_bot_directory": str(host),
        "grid_bot_mode": "live",
        "__container_image_references": {"gridbot": "bot:1"},
    }
    inventory = {"trading": {"hosts": {"pi1": mine | settings}}}
    (host / "inventory.yml").write_text(yaml.safe_dump(inventory))
    own = {"__grid_bot_uid": str(os.getuid()), "__grid_bot_new_keys": str(host / "memory")}
    words = (
        "playbook",
        "-e",
        json.dumps(own),
        "-vvv",
        "--diff",
        "-i",
        host / "inventory.yml",
        host / "play.yml",
    )
    return subprocess.run(
        [sys.executable, "-m", "ansible", *words],
        check=False,
        cwd=ROOT,
        env=os.environ
        | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "true",
            "PATH": f"{host / 'bin'}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
    )


def test_a_key_is_tried_and_leaves_no_trace(host: Path) -> None:
    good = {"grid_bot_api_key": NEW["api_key"], "grid_bot_api_secret": NEW["api_secret"]}
    done = try_key(host, **good)
    assert done.returncode == 0, done.stdout
    assert "equal: " in done.stdout
    assert not (host / "memory").exists()
    assert (host / "bin/modes").read_text().split() == ["700", "600", "600"]
    for name, secret in NEW.items():
        said = done.stdout + done.stderr + (host / "bin/calls").read_text()
        assert secret not in said, name


@pytest.mark.parametrize("wrong", ["grid_bot_api_key", "grid_bot_api_secret"])
def test_a_key_that_is_not_accepted_stays_out(host: Path, wrong: str) -> None:
    good = {"grid_bot_api_key": NEW["api_key"], "grid_bot_api_secret": NEW["api_secret"]}
    done = try_key(host, **(good | {wrong: "another"}))
    assert done.returncode != 0
    setting = wrong.removeprefix("grid_bot_")
    assert "pi1: grid_bot_api_key: gridbot audit: " in done.stdout + done.stderr
    assert f"exchange.{setting}_file" in done.stdout + done.stderr
    assert "the key in use stays" in done.stdout + done.stderr
    assert not (host / "memory").exists()
