"""Bot and exchange on live prices, in virtual time: their books are equal, whatever happens."""

import pytest

from .boundaries import Boundaries
from .chance import dice
from .invariants import problems
from .live_world import LiveWorld
from .markets import market
from .sweep import memory_directory
from .world import Setup

HOURS = 8  # bot/benchmarks/live_month.py lets a month pass


@pytest.mark.parametrize("seed", [1])
def test_hours_of_live_prices_with_everything_that_goes_wrong(seed, monkeypatch):
    setup = Setup(
        candles=market("swing", 60 * (HOURS + 6), dice("live", seed), reach=600),
        grid={"lower": "47000", "upper": "53000", "grids": 20, "investment": "9000"},
        seed=seed,
    )
    with memory_directory() as directory:
        world = LiveWorld(directory, setup, Boundaries())
        world.watch_fills(monkeypatch)
        world.disturb(hours=0.5)
        world.start_bot()
        world.live(HOURS * 3600)
        world.calm()
        world.start_bot()
        world.live(3600, until=lambda: world.settled)
        assert problems(world) == []
        assert world.fill_problems() == []
        assert world.fills > 100
        assert world.restarts + world.cuts > 3
        world.exchange.close()
