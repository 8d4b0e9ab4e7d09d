"""The worlds that tests and benchmarks sweep: one definition, in two sizes."""

from .chance import dice
from .markets import market
from .world import Setup

GRIDS = 10


def sweep_setup(seed: int) -> Setup:
    """A swinging market, ten lines and every kind of fault, for a sweep of any length."""
    return Setup(
        candles=market("swing", 4_000, dice("sweep", seed)),
        grid={"lower": "47000", "upper": "53000", "grids": GRIDS, "investment": "9000"},
        exchange={"speed": "60"},
        more={"archive": {"positions": 50}},
        seed=seed,
        fault_rate=0.04,
        world_seconds=40.0,
    )
