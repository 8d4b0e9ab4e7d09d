"""The worlds that tests and benchmarks sweep: one definition, in two sizes."""

from dataclasses import replace

from .chance import dice
from .markets import crash, market
from .person import CANCEL, FLATTEN, PAUSE, RESUME, SELL
from .start_purchase import SETTING
from .world import Setup

GRIDS = 10


def sweep_setup(seed: int) -> Setup:
    """A swinging market, ten lines and every kind of fault, for a sweep of any length."""
    return Setup(
        candles=market("swing", 4_000, dice("sweep", seed)),
        grid={"lower": "47000", "upper": "53000", "grids": GRIDS, "investment": "9000"},
        exchange={"speed": "60"},
        kept=50,
        seed=seed,
        fault_rate=0.04,
        world_seconds=40.0,
    )


def moving_setup(seed: int) -> Setup:
    """A market that leaves the range again and again, and a range that follows it."""
    return replace(
        sweep_setup(seed),
        candles=market("trend", 1_000, dice("moving", seed), reach=1_500),
        grid={"lower": "49000", "upper": "51000", "grids": GRIDS, "investment": "9000"},
        exchange={"speed": "20"},
        more={"reposition": {"direction": "both", "cooldown_minutes": 0}},
    )


def stopping_setup(seed: int) -> Setup:
    """A market that falls until the grid is stopped for good and sold."""
    falling = [
        f"{1_640_995_200_000 + minute * 60_000},{start},{start + 90},{start - 200},{start - 150},1"
        for minute, start in enumerate(range(50_000, 43_000, -150))
    ]
    return replace(
        sweep_setup(seed),
        candles=["timestamp,open,high,low,close,volume", *falling],
        more={"stop": {"max_drawdown_percent": "3", "liquidate": True}},
    )


def sinking_setup(seed: int) -> Setup:
    """Sells fill, then the price falls through the stop in a minute, and stays there."""
    return replace(
        sweep_setup(seed),
        candles=crash(dice("sinking", seed), 47_000, 53_000, 46_500),
        exchange={"speed": "30"},
        more={"stop": {"loss_price": "46500", "liquidate": seed % 2 == 0}},
    )


def outside_setup(seed: int) -> Setup:
    """A market at the lower end of the range; the first orders are refused there.

    Nobody has confirmed a purchase outside of it: the grid begins once the price is in it again.
    """
    swept = sweep_setup(seed)
    return replace(
        swept,
        grid=swept.grid | {"lower": "49900", "upper": "55900", SETTING: None},
        script=[{"kind": "reject", "method": "POST", "path": "order", "at_s": 0, "count": 3}],
    )


def told_setup(seed: int) -> Setup:
    """A person pauses the grid again and again, with its orders and without, and ends it twice."""
    words = (PAUSE, RESUME, CANCEL, RESUME, SELL, RESUME, PAUSE, CANCEL, FLATTEN, RESUME, PAUSE)
    pick = dice("told", seed)
    return replace(
        sweep_setup(seed),
        person=[(at * 90 + pick.uniform(0, 60), word) for at, word in enumerate(words, 1)],
    )


SWEPT = {
    "swing": sweep_setup,
    "moving": moving_setup,
    "stopping": stopping_setup,
    "sinking": sinking_setup,
    "outside": outside_setup,
    "told": told_setup,
}
