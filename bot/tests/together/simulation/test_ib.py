"""A grid on a stock: crashes and stories, a few of those that the benchmarks take."""

import random
from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from gridbot.exchanges.ib.answers import read_trade
from gridexchange.ib.calendar import session_of

from . import clocks
from .boundaries import Boundaries
from .ib.invariants import booked, problems
from .ib.sizes import stock_setup
from .ib.story import StockStory
from .ib.world import IbWorld
from .sweep import Sweep, settle
from .workers import Workers, settle_memory

SEED, SECONDS, EVERY = 2, 100.0, 23
STORIES = 12


def crashes(seed=SEED, every=EVERY):
    workers = Workers()
    sweep = Sweep(
        stock_setup(seed),
        SECONDS,
        lambda number: number % every == 0,
        workers,
        make_world=IbWorld,
        judge=problems,
    )
    settle_memory()
    sweep.run()
    return sweep, workers


def test_nothing_is_doubled_or_lost_wherever_the_bot_is_killed():
    sweep, workers = crashes()
    assert sweep.own_problems == []
    failed = [result for result in workers.results if result["problems"]]
    assert not failed, "\n".join(
        f"crash_sweep.py --world stock --seed {SEED} --seconds {SECONDS} "
        f"--boundary {result['name']}: {result['problems']}"
        for result in failed
    )
    assert len(workers.results) == sum(sweep.picked.values()) > 15
    assert len(sweep.picked) >= 4


def test_books_and_account_agree_after_every_story():
    workers = Workers()
    settle_memory()
    for seed in range(STORIES):
        workers.start(str(seed), lambda report, seed=seed: StockStory(seed, report).tell())
    workers.finish()
    failed = [result for result in workers.results if result["problems"]]
    assert not failed, "\n".join(
        f"fault_world.py --stock --seed {result['name']}: {result['problems']}" for result in failed
    )
    faults = Counter()
    for result in workers.results:
        faults.update(result["faults"])
    assert len(faults) > 12
    assert sum(result["fills"] for result in workers.results) > 3 * STORIES


def test_an_outage_at_the_close_loses_no_trade(tmp_path, monkeypatch):
    """After midnight the Gateway does not tell of them any more."""
    closes = session_of(date(2026, 9, 21)).closes
    monkeypatch.setattr(clocks, "START_MS", closes - 300_000)
    monkeypatch.setattr(random, "_urandom", random._urandom)  # a world seeds it
    world = IbWorld(tmp_path, replace(stock_setup(3), fault_rate=0.0), Boundaries())
    network, executions = world.network, world.gateway.account.executions

    def outage():
        network.down = True
        network.drop_all()
        known.append(len(executions))

    def back():
        network.down = False

    known, reasons = [], ["not asked"]
    world.time.after(120.0, outage)
    world.time.after(
        7000.0, lambda: reasons.pop() and reasons.extend(world.runner.health()["reasons"])
    )
    world.time.after(3600.0, back)
    world.start_bot()
    world.live(2 * 3600.0)
    assert len(executions) > known[0] > 0
    assert booked(world) == sorted(executions)
    # The orders that answer them wait for the opening: nobody has to be woken.
    assert world.trader.refused
    assert reasons == []


def test_nothing_that_was_to_come_happens_once_all_is_calm(tmp_path, monkeypatch):
    """The judge would find nobody to ask at a Gateway that restarts."""
    monkeypatch.setattr(random, "_urandom", random._urandom)
    world = IbWorld(tmp_path, replace(stock_setup(3), fault_rate=0.0), Boundaries())
    world.start_bot()
    world.live(60.0)
    world.gateway.restart_at(world.time.now_ms() + 500, 20.0)
    world.start_bot()
    settle(world)
    assert problems(world) == []


def _free_of_charge(*arguments):
    trade = read_trade(*arguments)
    return replace(trade, trade=replace(trade.trade, commission=Decimal(0)))


async def _nothing(_stock):
    return []


@pytest.mark.parametrize(
    "planted",
    [
        {"read_trade": _free_of_charge},
        {"Stock.open_orders": _nothing, "Stock.completed_orders": _nothing},
    ],
    ids=["fee", "name"],
)
def test_a_planted_fault_is_found(monkeypatch, planted):
    """The invariants are not blind: fees that are misread, orders that no list has."""
    for name, instead in planted.items():
        monkeypatch.setattr(f"gridbot.exchanges.ib.stock.{name}", instead)
    workers = Workers()
    settle_memory()
    for seed in range(2):
        workers.start(str(seed), lambda report, seed=seed: StockStory(seed, report).tell())
    workers.finish()
    assert any(result["problems"] for result in workers.results)
