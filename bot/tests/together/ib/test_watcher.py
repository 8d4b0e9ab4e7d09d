"""The option watcher at the practice Gateway: what it asks and keeps, and what it never sends."""

import ast
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import watcher
from gridbase.circuit_breaker import State
from gridbase.clock import SystemClock
from gridbase.errors import UserError
from gridbase.gateway.hours import Hours
from gridbase.gateway.limits import LINES
from gridbase.gateway.shared import SharedPacer
from gridexchange.ib.account import AccountSettings
from gridexchange.ib.calendar import session_of
from gridexchange.ib.gateway import GatewaySettings
from gridexchange.ib.messages import NEW_YORK
from gridexchange.ib.opening import MarketSettings, open_gateway
from gridexchange.ib.records import Stock, followers
from ib_async.client import Client
from ib_async.contract import Contract
from ib_async.order import LimitOrder
from watcher.config import Config
from watcher.files import Files
from watcher.gateway import ALLOWED
from watcher.metrics import METRICS
from watcher.service import STATES, Watcher

from bot.tests.base.metrics_rules import served_problems
from bot.tests.exchange.ib.conftest import OPENED_MS, GatewayClock, serving
from bot.tests.together.ib.watching import WatcherWorld

SOURCES = sorted(Path(watcher.__file__).parent.glob("*.py"))
# Every call of ib_async's client that changes something at IB.
CHANGES = {"placeOrder", "cancelOrder", "reqGlobalCancel", "exerciseOptions", "replaceFA"}


def signal(world):
    return json.loads((world.data / "signal.json").read_text())


def looks(world):
    [journal] = (world.data / "active").iterdir()
    return [json.loads(line) for line in journal.read_text().splitlines()]


def at(*when):
    return round(datetime(*when, tzinfo=NEW_YORK).timestamp() * 1000)


def test_a_cycle_reads_strikes_near_the_money_with_greeks_and_bars(tmp_path):
    world = WatcherWorld(tmp_path)
    world.watch(280)
    said = signal(world)
    assert said["state"] == "watching"
    spy = said["symbols"]["SPY"]
    rows = spy["options"]
    assert [(row["strike"], row["right"]) for row in rows] == [
        (strike, right) for strike in sorted({row["strike"] for row in rows}) for right in "CP"
    ]
    assert len(rows) == 10
    price = spy["price"]
    assert max(abs(row["strike"] - price) for row in rows) <= 15
    for row in rows:
        assert row["bid"] < row["model"] < row["ask"]
        assert (row["delta"] > 0) == (row["right"] == "C")
        assert row["theta"] < 0 < row["vega"]
        assert 0.1 < row["volatility"] < 0.3
    assert spy["expiry"] == "20261002"
    assert spy["signal"] in {"rich", "fair", "cheap"}
    assert spy["implied_volatility"] == pytest.approx(0.2, abs=0.01)
    assert {symbol: row["missing"] for symbol, row in said["symbols"].items()} == {
        "SPY": [],
        "QQQ": [],
        "IWM": [],
    }
    bars = looks(world)[0]["bars"]
    assert bars[-1]["time"] + 60 <= said["written_ms"] / 1000  # the minute was over
    assert +world.gateway.rules.broken == {}
    assert world.gateway.rules.calls["history"] == 3
    assert set(world.kinds) <= ALLOWED


def test_a_day_of_cycles_is_whole_in_parquet_and_breaks_no_rule(tmp_path):
    world = WatcherWorld(tmp_path, start_ms=at(2026, 9, 22, 15, 0), symbols=("SPY", "QQQ"))
    world.watch(2 * 3600)
    assert +world.gateway.rules.broken == {}
    assert world.gateway.hang_ups == []
    assert signal(world)["state"] == "closed"
    assert list((world.data / "active").iterdir()) == []
    options = pq.ParquetFile(
        world.data / "ready/exchange=ib/kind=options/symbol=QQQ/date=2026-09-22/day.parquet"
    ).read()
    assert options.num_rows == 12 * 10
    row = options.to_pylist()[0]
    assert isinstance(row["strike"], Decimal)
    assert row["under_price"] > 0
    bars = pq.ParquetFile(
        world.data / "ready/exchange=ib/kind=bars/symbol=QQQ/date=2026-09-22/day.parquet"
    ).read()
    times = bars.column("time_ms").to_pylist()
    assert times == sorted(set(times))
    assert set(range(times[0], times[-1] + 1, 60_000)) == set(times)
    assert times[-1] < session_of(datetime(2026, 9, 22, tzinfo=NEW_YORK).date()).closes
    assert world.gateway.connections == []  # closed outside of sessions


def test_a_dry_run_writes_nothing_but_its_counts(tmp_path, capsys):
    world = WatcherWorld(tmp_path, write=False)
    world.watch(once=True)
    assert json.loads(capsys.readouterr().out)["symbols"]["SPY"]["options"]
    assert {path.name for path in world.data.iterdir()} == {"counts", "slots"}


def test_cycles_keep_their_distance_over_restarts_of_the_watcher(tmp_path):
    world = WatcherWorld(tmp_path, symbols=("SPY",))
    for _ in range(6):
        world.watch(70)
        world.watcher = world.new_watcher()
    world.watch(700)
    assert +world.gateway.rules.broken == {}
    assert world.gateway.rules.calls["history"] == 4


def test_no_order_call_is_linked_in():
    names = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Attribute, ast.Name))
    }
    texts = {
        node.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
    }
    assert set(dir(Client)) >= CHANGES
    assert not CHANGES & (names | texts)
    assert not {"Order", "LimitOrder", "getattr", "sendMsg"} & names
    modules = {
        alias.name if isinstance(node, ast.Import) else node.module
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert {name for name in modules if name and name.startswith("ib_async")} == {
        "ib_async.client",
        "ib_async.contract",
        "ib_async.decoder",
    }


def test_an_order_that_is_tried_all_the_same_does_not_leave(tmp_path):
    world = WatcherWorld(tmp_path)
    gateway = world.watcher._gateway

    async def trade():
        await gateway.connect()
        client = gateway._client
        contract = Contract(secType="STK", symbol="SPY", exchange="SMART", currency="USD")
        for change in (
            lambda: client.placeOrder(7, contract, LimitOrder("BUY", 1, 1.0)),
            lambda: client.cancelOrder(7),
            client.reqGlobalCancel,
            lambda: client.exerciseOptions(1, contract, 1, 1, "DU1", 0),
            lambda: client.replaceFA(1, 1, ""),
        ):
            with pytest.raises(PermissionError):
                change()
        await gateway.close()

    world.loop.run_until_complete(trade())
    world.time.sleep(5)
    assert world.kinds == [71]


def test_a_client_id_that_is_in_use_is_passed_over(tmp_path):
    world = WatcherWorld(tmp_path)
    other = WatcherWorld.new_watcher(world)
    world.loop.run_until_complete(other._gateway.connect())
    world.watch(once=True)
    assert (other._gateway.client_id, world.watcher._gateway.client_id) == (900, 901)
    assert signal(world)["symbols"]["SPY"]["options"]


def test_the_restart_is_slept_through(tmp_path, caplog):
    caplog.set_level("INFO", "watcher")
    world = WatcherWorld(tmp_path, restart=14 * 60 + 30, symbols=("SPY",))  # 10:30 in New York
    restarts = at(2026, 9, 22, 10, 30)
    sent = []
    arrived = world.gateway._handle

    def handle(connection, fields):
        sent.append(world.time.now_ms())
        arrived(connection, fields)

    world.gateway._handle = handle
    world.gateway.restart_at(restarts, 60.0)
    world.watch(3600)
    assert not [time for time in sent if restarts - 120_000 <= time < restarts + 300_000]
    assert max(sent) > restarts + 300_000
    assert world.gateway.hang_ups == []  # it had left before
    states = [record.getMessage().split(" ")[0] for record in caplog.records]
    assert [word for word in states if word in {"watching", "restart:", "restart"}] == [
        "watching",
        "restart",
        "watching",
    ]


def test_a_gateway_that_is_gone_is_waited_for(tmp_path, caplog):
    caplog.set_level("INFO", "watcher")
    world = WatcherWorld(tmp_path, symbols=("SPY",))
    world.network.time.after(400, lambda: world.gateway.restart(900.0))
    world.watch(2400)
    assert caplog.text.count("unreachable") == 1
    assert signal(world)["state"] == "watching"
    assert +world.gateway.rules.broken == {}


def test_signal_and_metrics_have_state_breaker_and_what_was_seen(tmp_path):
    metrics = tmp_path / "watcher.prom"
    world = WatcherWorld(tmp_path, symbols=("SPY",), config={"metrics_file": metrics})
    world.watch(300)

    def numbers():
        text = metrics.read_text()
        assert served_problems(text, METRICS, {"state": {*STATES, *State}}, most=6) == []
        each = (line.rpartition(" ") for line in text.splitlines() if line[0] != "#")
        return {name: float(value) for name, _, value in each}

    seen = numbers()
    assert seen['watcher_state{state="watching"}'] == 1
    assert (seen["watcher_cycles_total"], seen['watcher_options{symbol="SPY"}']) == (1, 10)
    looked = signal(world)["symbols"]["SPY"]["time_ms"]
    assert seen['watcher_look_time_seconds{symbol="SPY"}'] == looked / 1000
    assert signal(world)["circuit"] == {
        "state": "closed",
        "failures": 0,
        "opened_ms": None,
        "retry_in_seconds": None,
    }
    world.gateway.restart(900.0)
    world.watcher = world.new_watcher()
    world.watch(40)  # five failures, 5 s from one to the next, and then half a minute of rest
    gone = numbers()
    assert gone['watcher_state{state="unreachable"}'] == 1
    assert gone['watcher_state{state="watching"}'] == 0
    assert gone['watcher_circuit_breaker_state{state="closed"}'] == 0
    assert gone['watcher_circuit_breaker_changes_total{to="open"}'] == 1
    assert gone["watcher_circuit_breaker_failures"] == 5
    assert signal(world)["circuit"]["state"] == "open"
    metrics.unlink()
    metrics.mkdir()  # it cannot be replaced, and what is kept goes on
    world.watcher = world.new_watcher()
    world.watch(1300)
    assert signal(world)["state"] == "watching"


def test_one_that_answers_nothing_is_asked_less_and_less(tmp_path):
    world = WatcherWorld(tmp_path, symbols=("SPY",))
    world.watch(60)
    world.gateway._handlers = dict.fromkeys(world.gateway._handlers, (ignored, False))
    world.watcher = world.new_watcher()
    world.watcher._cycles._hours_asked = world.time.seconds
    world.watcher._cycles.hours = session_hours()
    world.watcher._cycles._contracts = {"SPY": Contract(symbol="SPY", secType="STK", conId=756733)}
    before = world.kinds.count(1)
    world.watch(4 * 3600)
    assert 4 <= world.kinds.count(1) - before <= 7
    assert world.kinds.count(2) >= 4  # each that had no end was canceled
    assert signal(world)["state"] == "unanswered"


def ignored(_gateway, _connection, _fields):
    pass


def session_hours():
    return Hours("20260922:0930-20260922:1600", "US/Eastern")


@pytest.mark.parametrize("seed", range(4))
def test_faults_cost_rows_and_break_no_rule(tmp_path, seed):
    world = WatcherWorld(tmp_path, fault_rate=0.08)
    world.gateway.faults.dice.seed(seed)
    world.watch(1500)
    assert +world.gateway.rules.broken == {}
    assert sum(world.gateway.faults.counts.values()) > 3
    assert sum(len(look["options"]) for look in looks(world)) > 20
    assert any(look["missing"] for look in looks(world))


def test_a_second_look_waits_for_its_time(tmp_path, caplog):
    caplog.set_level("INFO", "watcher")
    world = WatcherWorld(tmp_path, symbols=("SPY",))
    world.watch(once=True)
    began = world.time.seconds
    world.watcher = world.new_watcher()
    world.watch(once=True)
    assert world.time.seconds - began > 250
    assert "waiting until 2026-09-22 14:05 UTC" in caplog.text
    assert +world.gateway.rules.broken == {}


def test_others_that_have_all_lines_end_a_cycle_and_not_the_watcher(tmp_path):
    world = WatcherWorld(tmp_path, symbols=("SPY",))
    others = SharedPacer(world.data, world.clock.monotonic)
    held = [others.slot("lines") for _ in range(LINES)]
    world.watch(100)
    assert "no place among lines is free" in looks(world)[0]["missing"][0]
    del held
    world.watcher = world.new_watcher()
    world.watch(700)
    assert signal(world)["symbols"]["SPY"]["options"]


def test_a_stop_ends_a_cycle_at_once(tmp_path):
    world = WatcherWorld(tmp_path)
    began = world.time.seconds
    world.watch(15.0)
    assert world.time.seconds - began < 16
    world.time.sleep(1.0)
    assert world.gateway.connections == []


def test_a_symbol_that_nobody_knows_is_one_line(tmp_path):
    world = WatcherWorld(tmp_path, symbols=("SPY", "NONE"))
    with pytest.raises(UserError, match=r"symbols = .*does not know one of them"):
        world.watch(60)


def test_outside_of_sessions_one_cycle_says_that_there_is_none(tmp_path):
    world = WatcherWorld(tmp_path, start_ms=at(2026, 9, 22, 17, 0))
    with pytest.raises(UserError, match="no cycle now: closed"):
        world.watch(once=True)
    assert world.gateway.rules.calls["snapshot"] == 0


class TestOverSockets:
    """The same over real sockets, and as a process."""

    def test_one_cycle(self, tmp_path):
        clock = GatewayClock()
        gateway = open_gateway(
            GatewaySettings(AccountSettings(), Stock(), others=followers(["QQQ"])),
            MarketSettings(),
            tmp_path / "gateway",
            clock,
        )
        began = time.monotonic()

        class Now(SystemClock):
            def now_ms(self):
                clock.ms = OPENED_MS + round((time.monotonic() - began) * 1000)
                return clock.ms

        with serving(gateway) as (port, _):
            config = Config(("127.0.0.1", port), ("SPY", "QQQ"), tmp_path, strikes=3)

            async def watch():
                watching = Watcher(config, Now(), Files(tmp_path))
                ticking = asyncio.create_task(tick())
                await watching.run(once=True)
                ticking.cancel()

            async def tick():
                while True:
                    Now().now_ms()
                    await asyncio.sleep(0.02)

            asyncio.run(watch())
        [journal] = (tmp_path / "active").iterdir()
        seen = [json.loads(line) for line in journal.read_text().splitlines()]
        assert [len(look["options"]) for look in seen] == [6, 6]
        assert +gateway.rules.broken == {}

    def test_a_gateway_that_is_not_there_is_one_line(self, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        config = tmp_path / "watcher.toml"
        config.write_text(
            f'gateway = "127.0.0.1:{port}"\nsymbols = ["SPY"]\ndirectory = "{tmp_path}"\n'
        )
        done = subprocess.run(
            [sys.executable, "-m", "watcher", "--config", config, "--once"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert done.returncode == 3
        assert "no cycle now: unreachable: it cannot be reached" in done.stderr
        assert "Traceback" not in done.stderr
