"""The worlds of a stock that tests and benchmarks sweep, and those of the stories."""

from ..chance import dice
from ..markets import market
from .world import IbSetup

CENTRE = 10_000  # cents
GRIDS = 8


def stock_market(kind, count, pick, reach):
    """Rows of a candle file; reach in cents."""
    header, *rows = market(kind, count, pick, centre=CENTRE, reach=reach)
    cents = [row.split(",") for row in rows]
    return [header, *(",".join([row[0], *map(_dollars, row[1:5]), row[5]]) for row in cents)]


def _dollars(cents):
    return f"{int(cents) / 100:.2f}"


def stock_setup(seed: int) -> IbSetup:
    """A swinging stock, eight lines and every kind of fault, for a sweep of any length."""
    return IbSetup(
        candles=stock_market("swing", 4_000, dice("stock", seed), 160),
        grid={"lower": "92", "upper": "108", "grids": GRIDS, "quantity": "10"},
        seed=seed,
        fault_rate=0.05,
        world_seconds=40.0,
    )


def story_setup(seed: int) -> tuple[IbSetup, float]:
    """The world of one seed, and how long it lasts before all is calm (world seconds)."""
    pick = dice("stock story", seed)
    grids = pick.randint(3, 10)
    half = pick.choice((4, 8))
    setup = IbSetup(
        candles=stock_market(
            pick.choice(("swing", "jump", "gap", "flat", "trend")), 600, pick, half * 300 // grids
        ),
        grid={
            "lower": str(100 - half),
            "upper": str(100 + half),
            "grids": grids,
            "quantity": str(pick.choice((1, 10, 25))),
        },
        seed=seed,
        fault_rate=pick.choice((0.03, 0.08, 0.2)),
        world_seconds=pick.choice((8.0, 25.0)),
        speed=pick.choice((10, 20, 60)),
        largest_fill=pick.choice((3, 100)),
    )
    return setup, pick.uniform(60.0, 140.0)
