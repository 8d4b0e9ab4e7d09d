"""`./gridberry try`: two real processes, their page, and books that outlast an interruption."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet import try_out

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 120


class Trial:
    """A run of the program, and what it has said so far."""

    def __init__(self, state: Path, *words: str) -> None:
        command = [sys.executable, "-m", "fleet.try_out", "--no-browser", "--port", "0", *words]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"GRIDBERRY_STATE": os.fspath(state), "PYTHONPATH": path()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""

    def until(self, words: str) -> str:
        """Read until it says something; returns all that it has said."""
        assert self.process.stdout is not None
        while words not in self.said:
            line = self.process.stdout.readline()
            assert line, self.said
            self.said += line
        return self.said

    def status(self) -> dict:
        """What the bot's page says."""
        port = re.search(r"http://127\.0\.0\.1:(\d+)/", self.said)
        assert port is not None
        answer = try_out.ask(int(port[1]), "/api/status")
        assert answer is not None
        return json.loads(answer)

    def wait_for_fills(self, count: int) -> dict:
        """Wait until the bot has traded so often."""
        end = time.monotonic() + PATIENCE_SECONDS
        while (status := self.status())["buys"] + status["sells"] < count:
            assert time.monotonic() < end, status
            time.sleep(0.2)
        return status

    def end(self, number: int = signal.SIGINT) -> int:
        """End it; its exit status."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.said += self.process.stdout.read()
        return self.process.wait()


def path() -> str:
    """Where its packages are."""
    return os.pathsep.join([os.fspath(ROOT), os.fspath(ROOT / "bot" / "src")])


@contextmanager
def trial(state: Path, *words: str) -> Iterator[Trial]:
    """A run, ended with the block."""
    one = Trial(state, *words)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.end(signal.SIGTERM)


def write_candles(file: Path) -> Path:
    """A market that swings by a tenth around 100 and comes back, in minutes."""
    rows = ["timestamp,open,high,low,close,volume"]
    for minute in range(3000):
        price = 100 + abs(minute % 40 - 20) / 2 - 5
        rows.append(
            f"{1_704_067_200_000 + 60_000 * minute},{price},{price + 1},{price - 1},{price},9"
        )
    file.write_text("\n".join(rows) + "\n")
    return file


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes that it has started."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], check=True, capture_output=True, text=True
    )
    return [int(pid) for pid in listed.stdout.split()]


def test_it_trades_candles_and_goes_on_with_its_books(tmp_path: Path) -> None:
    candles = write_candles(tmp_path / "SOLUSDT-1m-2024-01.csv")
    with trial(tmp_path, "--candles", str(candles), "--speed", "3600") as one:
        said = one.until("orders are on the exchange")
        assert "SOL/USDT on recorded prices (SOLUSDT-1m-2024-01.csv): 40 grids from" in said
        before = one.wait_for_fills(4)
        started = children(one.process)
        assert len(started) == 2
        assert one.end() == 0
        assert "Stopped. Books, settings and logs: " in one.said
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with trial(tmp_path, "--candles", str(candles), "--speed", "3600") as two:
        two.until("orders are on the exchange")
        after = two.status()
    assert after["buys"] >= before["buys"]
    assert after["sells"] >= before["sells"]
    assert len(list((tmp_path / "try").iterdir())) == 1


def test_made_up_prices_are_called_so_and_keys_are_its_own(tmp_path: Path) -> None:
    with trial(tmp_path) as one:
        said = one.until("the page")
        assert "BTC/USDT on made-up prices (profit here means nothing): 40 grids" in said
        place = tmp_path / "try" / "BTC-USDT-made-up"
        assert place.stat().st_mode & 0o777 == 0o700
        assert (place / "api_secret").stat().st_mode & 0o777 == 0o600
        # The books have one owner: a second run of the same market is refused.
        with trial(tmp_path) as other:
            assert other.process.wait() == 1
            assert "another exchange is using it" in other.until("ended")


def test_a_program_that_ends_by_itself_is_named(tmp_path: Path) -> None:
    with trial(tmp_path) as one:
        one.until("the page")
        os.kill(max(children(one.process)), signal.SIGKILL)
        assert one.process.wait() == 1
        assert one.process.stdout is not None
        said = one.process.stdout.read()
    assert "gridberry: the bot ended: " in said
    assert "bot.log" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--candles", "/nowhere.csv"], "gridberry: --candles: /nowhere.csv"),
        (["--speed", "0"], "--speed is 0; a whole number from 1 on is allowed"),
        (["--port", "70000"], "--port is 70000; 0 to 65535 is allowed"),
        (["--exchange", "binanceus"], "--exchange is for --live-prices; add that, or leave it out"),
        (["--live-prices", "--speed", "2"], "--speed is 2; live prices take their time"),
        (["--live-prices", "--candles", "x"], "argument --candles: not allowed with argument"),
        (["--slow"], "unrecognized arguments: --slow"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    says: str,
) -> None:
    monkeypatch.setenv("GRIDBERRY_STATE", str(tmp_path))
    try:
        status = try_out.main(words)
    except SystemExit as ended:
        status = int(str(ended.code))
    assert status == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "try").exists()


def test_a_taken_port_is_another() -> None:
    first = try_out.free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert try_out.free_port(first) != first
    assert try_out.free_port(first) == first


def test_texts_are_toml() -> None:
    odd = 'a "quoted" \\ path\u00e9\n'
    text = try_out.toml({"": {"x": odd, "n": 3}, "table": {"y": odd}})
    assert tomllib.loads(text) == {"x": odd, "n": 3, "table": {"y": odd}}
