"""The practice Gateway as a process: it serves, survives its own death, and refuses in one line."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from gridexchange.ib.cli import main

from .conftest import frame, greeting
from .test_gateway import place

SOURCE = Path(__file__).parents[3] / "src"
ACKNOWLEDGED = b"\0Submitted\0"


def start(directory, *more):
    command = [sys.executable, "-m", "gridexchange.ib", "--state-directory", str(directory), *more]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )


@contextlib.contextmanager
def running(directory):
    """Yields the process and the port that it says it listens on."""
    process = start(directory, "--port", "0", "--speed", "20")
    try:
        line = process.stdout.readline()
        assert line.startswith("practice Gateway on 127.0.0.1:")
        yield process, int(line.rsplit(":", 1)[1])
    finally:
        process.kill()
        process.communicate()


def say(port, data, until):
    """Log in, say something, and read until an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
        link.sendall(greeting() + frame(71, 2, 5, "") + data)
        heard = b""
        while until not in heard:
            more = link.recv(65536)
            assert more, heard
            heard += more
        return heard


def test_an_order_that_was_acknowledged_outlives_a_killed_gateway(tmp_path):
    with running(tmp_path) as (process, port):
        # Far below the market, which may be open or closed now.
        say(port, place(1, limit="5", reference="kept"), ACKNOWLEDGED)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with running(tmp_path) as (process, port):
        assert b"\0kept\0" in say(port, frame(16, 1), b"53\0001\0")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_it_is_a_command_of_its_own(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "usage: gridexchange.ib" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--account", "du1"), "--account du1: needs a name such as DU1234567"),
        (("--speed", "fast"), "--speed fast: needs a number from 0.001 to 100000"),
        (("--port", "70000"), "--port 70000: needs a whole number from 0 to 65535"),
        (("--symbol", "spy"), "--symbol spy: needs 1 to 8 capitals, such as SPY"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path, arguments, line):
    process = start(tmp_path, *arguments)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert line in said
    assert said.count("\n") == 1
