"""The demo's machines: provisioned when something has changed, and else only switched on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from fleet import demo
from fleet.try_out import free_port
from virtual_pi.errors import VirtualPiError
from virtual_pi.machines import Machine, Settings, Status
from virtual_pi.processes import name_process

ROOT = Path(__file__).resolve().parents[2]
NO_SETTINGS = dict.fromkeys(demo.SETTINGS, "")


def on(machine: Machine) -> None:
    """Have a machine boot, as far as its status says."""
    machine.write_status(Status("booting", supervisor=name_process(os.getpid())))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a file in each place that a machine is provisioned from."""
    for source in demo.SOURCES:
        place = tmp_path / source
        if (ROOT / source).is_dir():
            place.mkdir(parents=True)
            place /= "file"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("as it was")
    return tmp_path


def test_every_source_is_there() -> None:
    for source in demo.SOURCES:
        assert list(demo.files_of([source], ROOT)), source


@pytest.mark.parametrize("source", demo.SOURCES)
def test_each_source_counts(checkout: Path, source: str) -> None:
    before = demo.recipe(checkout, NO_SETTINGS)
    assert demo.recipe(checkout, NO_SETTINGS) == before
    next(demo.files_of([source], checkout)).write_text("otherwise")
    assert demo.recipe(checkout, NO_SETTINGS) != before


def test_what_moves_becomes_executable_or_is_cached(checkout: Path) -> None:
    before = demo.recipe(checkout, NO_SETTINGS)
    script = checkout / "roles" / "file"
    cached = checkout / "roles" / "__pycache__" / "file.pyc"
    cached.parent.mkdir()
    cached.write_text("of Python")
    assert demo.recipe(checkout, NO_SETTINGS) == before
    script.chmod(0o755)
    executable = demo.recipe(checkout, NO_SETTINGS)
    script.rename(checkout / "roles" / "moved")
    assert len({before, executable, demo.recipe(checkout, NO_SETTINGS)}) == 3


def test_settings_and_the_content_of_candles_count(checkout: Path) -> None:
    candles = checkout / "candles.csv"
    candles.write_text("1")
    settings = NO_SETTINGS | {demo.CANDLES: str(candles)}
    seen = {demo.recipe(checkout, NO_SETTINGS), demo.recipe(checkout, settings)}
    candles.write_text("2")
    seen.add(demo.recipe(checkout, settings))
    seen.add(demo.recipe(checkout, settings | {"GRIDBERRY_SPEED": "600"}))
    assert len(seen) == 4


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path / "state", "pi1")
    made.directory.mkdir(parents=True)
    return made


def with_page(machine: Machine, port: int | None) -> Machine:
    settings = Settings(
        memory_mib=1, cpus=1, release="trixie", nvme=True, mac="", ssh_port=1,
        forwards={8080: port} if port else {}, time_port=1,
    )  # fmt: skip
    machine.settings_file.write_text(settings.to_json())
    return machine


@pytest.mark.parametrize("status", [0, 2])
def test_only_what_was_provisioned_whole_is_not_due(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    runs: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        runs.append(command)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(subprocess, "run", run)
    demo.mark(machine).write_text("this")
    assert demo.due([machine], "this") == []
    assert demo.due([machine], "that") == [machine]
    assert demo.provision([machine], "that", "made-up prices") == status
    assert runs[0][-1].endswith("playbooks/site.yml")
    # One that failed has neither the old mark nor a new one.
    assert demo.due([machine], "this") == [machine]
    assert demo.due([machine], "that") == ([machine] if status else [])
    # Its bot may trade already.
    assert demo.market_file(machine).read_text() == "made-up prices"


def test_one_that_is_not_made_yet_is_due(tmp_path: Path) -> None:
    missing = Machine(tmp_path, "pi2")
    assert demo.due([missing], "this") == [missing]


def test_another_market_is_refused_before_a_machine_starts(
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    candles = tmp_path / "SOLUSDT-1m-2024-01.csv"
    candles.write_text("1704067200000,101.5,101.6,101.4,101.5,10,1704067259999,1,1,1,1,0\n")
    sol = "SOL/USDT, 40 grids from 93 to 110"

    def starts(machines: object) -> None:
        raise AssertionError(machines)

    monkeypatch.setenv("GRIDBERRY_STATE", str(machine.state_dir))
    monkeypatch.setenv(demo.CANDLES, str(candles))
    monkeypatch.setattr(demo, "switch_on", starts)
    demo.market_file(machine).write_text("made-up prices")
    for words in ([], ["--due"], ["--again", "--due"]):
        assert demo.main(words) == 2
        assert capsys.readouterr().err == (
            f"gridberry: pi1 trades made-up prices, and this demo is of {sol}: remove the virtual"
            " Pis and their books with ./gridberry down --machines, then run it again\n"
        )
    demo.market_file(machine).write_text(sol)
    assert demo.main(["--due"]) == 0
    monkeypatch.delenv(demo.CANDLES)
    assert demo.main(["--due"]) == 2
    assert f"trades {sol}, and this demo is of made-up prices" in capsys.readouterr().err
    demo.market_file(machine).unlink()
    assert demo.main(["--due"]) == 0


class Page(BaseHTTPRequestHandler):
    """A bot that is healthy from the third question on."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        answers = self.path != "/health" or type(self).asked >= 3
        self.send_response(200 if answers else 503)
        self.end_headers()
        if self.path == "/api/status":
            self.wfile.write(json.dumps(STATUS).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


STATUS = {
    "state": "trading", "mode": "paper", "symbol": "BTC/USDT", "price": "45828.94",
    "open_orders": 40,
}  # fmt: skip


@pytest.fixture
def page() -> Iterator[int]:
    Page.asked = 0
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_it_waits_for_the_bot_and_not_for_ever(
    machine: Machine, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "POLL_SECONDS", 0)
    on(machine)
    assert demo.wait_for_bots([with_page(machine, page)], 60) == []
    assert Page.asked == 3
    silent = with_page(machine, free_port())
    assert demo.wait_for_bots([silent], 0) == [silent]


def test_a_machine_that_does_not_boot_is_not_waited_for(machine: Machine) -> None:
    machine.write_status(Status("bricked", "cmdline.txt has no root=", 1))
    with pytest.raises(VirtualPiError, match=r"pi1 is bricked: cmdline\.txt has no root="):
        demo.wait_for_bots([with_page(machine, free_port())], 60)


def test_the_last_line_says_what_the_bot_does_and_where_its_page_is(
    machine: Machine, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert demo.told(with_page(machine, page)) == (
        "pi1: trading, paper, BTC/USDT at 45828.94, 40 orders open;"
        f" the page: http://127.0.0.1:{page}/"
    )
    monkeypatch.setattr(sys.modules[__name__], "STATUS", STATUS | {"price": None, "open_orders": 0})
    assert f", BTC/USDT, 0 orders open; the page: http://127.0.0.1:{page}/" in demo.told(machine)
    closed = free_port()
    assert demo.told(with_page(machine, closed)) == (
        f"pi1: the bot does not answer yet at http://127.0.0.1:{closed}/: see ./gridberry status"
    )


def test_a_machine_whose_page_is_not_forwarded_is_not_asked(machine: Machine) -> None:
    unreached = with_page(machine, None)
    assert demo.wait_for_bots([unreached], 60) == []
    assert demo.told(unreached) == "pi1: its page is not forwarded to this computer"


@pytest.mark.parametrize("answers", [True, False])
def test_a_bot_that_stays_silent_is_a_failure(
    machine: Machine,
    page: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answers: bool,
) -> None:
    """Nothing has changed: neither SSH nor site.yml is waited for."""
    monkeypatch.setenv("GRIDBERRY_STATE", str(machine.state_dir))
    monkeypatch.setattr(demo, "switch_on", lambda _machines: None)
    monkeypatch.setattr(demo, "POLL_SECONDS", 0)
    monkeypatch.setattr(demo, "HEALTHY_SECONDS", 60 if answers else 0)
    on(machine)
    with_page(machine, page if answers else free_port())
    demo.mark(machine).write_text(demo.recipe(ROOT, NO_SETTINGS))
    assert demo.main([]) == int(not answers)
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert "site.yml is not run again" in lines[0]
    assert ("40 orders open" in lines[-1]) is answers


@pytest.mark.parametrize("status", [0, 2])
def test_one_that_is_due_is_provisioned_once_it_answers_on_ssh(
    machine: Machine,
    page: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
) -> None:
    done: list[str] = []

    def provision(*_: object) -> int:
        done.append("site.yml")
        return status

    monkeypatch.setenv("GRIDBERRY_STATE", str(machine.state_dir))
    monkeypatch.setattr(demo, "switch_on", lambda _machines: done.append("on"))
    monkeypatch.setattr(demo, "wait_for_ssh", lambda _machines: done.append("ssh"))
    monkeypatch.setattr(demo, "provision", provision)
    monkeypatch.setattr(demo, "POLL_SECONDS", 0)
    on(with_page(machine, page))
    assert demo.main([]) == int(status != 0)
    assert done == ["on", "ssh", "site.yml"]
    assert ("40 orders open" in capsys.readouterr().out) is (status == 0)


@pytest.mark.parametrize(("words", "switched_on"), [([], True), (["--due"], False)])
def test_a_machine_that_does_not_come_up_is_one_line(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    switched_on: bool,
) -> None:
    asked: list[list[str]] = []

    def fails(machines: list[Machine]) -> None:
        asked.append([each.name for each in machines])
        raise VirtualPiError("pi1 is bricked: no cmdline.txt")

    monkeypatch.setenv("GRIDBERRY_STATE", str(machine.state_dir))
    monkeypatch.setattr(demo, "switch_on", fails)
    # Not switched on to find that it is due.
    assert demo.main(["--pis", "2", *words]) == int(switched_on)
    assert asked == ([["pi1", "pi2"]] if switched_on else [])
    assert capsys.readouterr().err == (
        "gridberry: pi1 is bricked: no cmdline.txt\n" if switched_on else ""
    )
