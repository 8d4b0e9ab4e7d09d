"""Books of a stock that are put back from a backup meet the Gateway before an order leaves."""

import random
from dataclasses import replace
from datetime import date

import pytest
from gridbot.store import back_up, restore
from gridexchange.ib.calendar import session_of

from .boundaries import Boundaries
from .ib.invariants import booked, problems
from .ib.sizes import stock_setup
from .ib.world import IbWorld
from .sweep import settle

PLACE, CANCEL = 3, 4
TUESDAY = session_of(date(2026, 9, 22))


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A bot that has traded, copies of its books meanwhile, and a market that stands still now."""
    monkeypatch.setattr(random, "_urandom", random._urandom)  # a world seeds it
    made = IbWorld(tmp_path, replace(stock_setup(3), fault_rate=0.0), Boundaries())
    gateway, made.sent, made.copies = made.gateway, [], {}
    handle = gateway._handle

    def arrive(link, fields):
        made.sent += [int(fields[0])] if int(fields[0]) in {PLACE, CANCEL} else []
        handle(link, fields)

    gateway._handle = arrive
    for number in range(30):
        trade(made, 20.0)
        copy = tmp_path / f"{number}.sqlite3"
        back_up(made.state, copy)
        made.copies[copy] = (gateway.account.shares, len(gateway.account.executions))
    gateway.market.feed.limit = lambda _wanted: gateway.account.position
    trade(made, 20.0)
    assert booked(made) == sorted(gateway.account.executions)
    return made


def trade(world, seconds):
    world.start_bot()
    world.live(seconds)


def older(world, wanted):
    """A copy of eight executions ago or more, by whether it has as many shares as there are now."""
    account = world.gateway.account
    return next(
        copy
        for copy, (shares, executions) in world.copies.items()
        if wanted(shares == account.shares) and 4 < executions <= len(account.executions) - 8
    )


def put_back(world, copy):
    """Restore; how many orders and cancellations have left until then."""
    restore(world.state, copy)
    assert len(booked(world)) == world.copies[copy][1]
    return len(world.sent)


def test_on_the_same_day_the_bot_takes_over_what_its_books_lack(world):
    made = put_back(world, older(world, bool))
    trade(world, 60.0)
    assert booked(world) == sorted(world.gateway.account.executions)
    assert len(world.sent) == made
    settle(world)
    assert problems(world) == []


@pytest.mark.parametrize(
    ("same", "said"),
    [
        (False, "which the executions of today do not explain: trades of an earlier day"),
        (True, "and does not know it now"),
    ],
)
def test_on_a_later_day_the_bot_says_what_it_cannot_know_and_sends_nothing(
    world, caplog, same, said
):
    """The Gateway tells the executions of today alone; as many shares as before prove nothing."""
    world.step_seconds = 600.0
    world.time.sleep((TUESDAY.opens - world.time.now_ms()) / 1000 + 60)
    world.step_seconds = 0.5
    made = put_back(world, older(world, lambda equal: equal is same))
    trade(world, 600.0)
    (waits,) = [one.message for one in caplog.records if one.levelname == "ERROR"]
    assert waits.startswith("SPY/USD waits: ")
    assert said in waits
    assert len(world.sent) == made
