"""A market with hours: while it is closed, the bot holds still, and is well."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from gridbot.core.orders import Side
from gridbot.exchanges.binance.symbol import BinanceBroker

from .conftest import World, zigzag
from .test_grid_worker import Nurse, settle
from .test_policies import path

OPEN, CLOSED = 60.0, 90.0  # virtual seconds, one after the other
MARKET_LOT = Decimal("0.00001")


def closed_until(world: World) -> float | None:
    """Virtual seconds at which the market opens again; None while it is open."""
    begun, passed = divmod(world.clock.seconds, OPEN + CLOSED)
    return None if passed < OPEN else (begun + 1) * (OPEN + CLOSED)


@pytest.fixture
def with_hours(make_world, monkeypatch):
    """An exchange that has hours; a request outside of them fails the test."""

    def make(candles):
        world = make_world(candles, at_end="hold")
        world.requested = []

        def opens_ms(_broker):
            opens = closed_until(world)
            return (
                None
                if opens is None
                else world.clock.now_ms() + round((opens - world.clock.seconds) * 1000)
            )

        def before(method, path):
            # No `Exception`: those the bot outlives.
            if closed_until(world) is not None and not path.startswith("time"):
                pytest.fail(f"{method} {path} while the market is closed")
            world.requested.append((world.clock.seconds, method, path))

        monkeypatch.setattr(BinanceBroker, "closed_until", property(opens_ms))
        world.wire.before = before
        return world

    return make


def test_nothing_is_sent_or_asked_while_the_market_is_closed(with_hours):
    world = with_hours(zigzag(900))
    nurse = Nurse(world, world.runner())
    nurse.watch(4 * (OPEN + CLOSED) + 5)
    placed = [
        int(at // (OPEN + CLOSED)) for at, *what in world.requested if what == ["POST", "order"]
    ]
    # It answers in each session what happened in the one before and since.
    assert set(placed) >= {0, 1, 2, 3}
    # The last turn of a session may end after it.
    shown = {state for at, state, _ in nurse.notes if at % (OPEN + CLOSED) > OPEN + 2.5}
    assert shown == {"closed"}
    assert nurse.said(after=10.0) == {""}
    opened = {state for at, state, _ in nurse.notes if 5 < at % (OPEN + CLOSED) < OPEN}
    assert "trading" in opened
    assert "closed" not in opened
    settle(world)


def test_it_says_when_the_market_opens(with_hours):
    world = with_hours(zigzag(120))
    runner = world.run(world.runner(), OPEN + 10)
    (worker,) = runner._workers
    opens = datetime.fromtimestamp(
        (world.clock.now_ms() + (OPEN + CLOSED - world.clock.seconds) * 1000) / 1000, UTC
    )
    worker.turn(world.open_store)
    assert worker.document()["state"] == "closed"
    assert worker.document()["reason"] == (f"the market is closed until {opens:%Y-%m-%d %H:%M} UTC")
    assert worker.troubles() == []
    assert worker.document()["orders"] != []


def test_a_bot_that_starts_while_the_market_is_closed_waits_for_it(with_hours):
    world = with_hours(zigzag(120))
    world.clock.sleep(OPEN + 10)
    world.run(world.runner(), CLOSED - 20)
    assert world.requested == []
    world.run(world.runner(), 40)
    assert ["POST", "order"] in [what for _, *what in world.requested]


def test_a_stop_that_is_crossed_meanwhile_fires_when_the_market_opens(with_hours):
    # It falls through the stop while the market is closed for the first time.
    world = with_hours(path(*[50_000] * 30, *[46_400] * 60, minutes=3))
    world.document |= {"stop": {"loss_price": "46500", "liquidate": True}}
    grid = {"lower": "46800", "upper": "53000", "grids": 20, "investment": "9000"}
    world.document["grid"] = grid
    world.run(world.runner(), OPEN + CLOSED - 5)
    store = world.open_store()
    assert store.open_halt("BTC/USDT") is None
    world.power_off()
    before = len(world.requested)
    world.run(world.runner(), 30)
    later = [what for _, *what in world.requested[before:]]
    store = world.open_store()
    assert store.open_halt("BTC/USDT").reason_code == "stop.loss_price"
    # What is held is sold, and nothing is bought at the price that it opened at.
    assert ["DELETE", "order"] in later
    assert store.grid_run("BTC/USDT").result.base < MARKET_LOT
    since = world.clock.now_ms() - 30_000
    assert {one.side for one in store.orders(1) if one.created_ms > since} == {Side.SELL}
