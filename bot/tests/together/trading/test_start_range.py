"""A grid begins where the price is within its range; elsewhere only where that is confirmed."""

from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.errors import UserError
from gridbot import cli
from gridbot.config.load import parse_config
from gridbot.core.grid import make_plan
from gridbot.trading.start_range import check_start

from bot.tests.bot.core.conftest import BTC

from .conftest import World
from .test_grid_worker import nursed
from .test_policies import GRIDS, SYMBOLS, path

ABOVE = {"lower": "90000", "upper": "110000", "grids": 20, "investment": "9000"}
BELOW = {"lower": "30000", "upper": "40000", "grids": 20, "investment": "9000"}


def checked(price: str, **grid: object) -> None:
    settings = {"lower": "47000", "upper": "53000", "grids": 20, "investment": "9000"} | grid
    document = {
        "bot_name": "pi1",
        "exchange": {
            "name": "binance",
            "url": "http://exchange.test",
            "api_key_file": "/key",
            "api_secret_file": "/secret",
        },
        "market": {"symbol": "BTC/USDT"},
        "grid": settings,
    }
    (config,) = parse_config(document, Path("bot.toml")).grids
    plan = make_plan(config.grid.fixed, BTC, config.fees, Decimal(price))
    check_start(config.grid, plan, BTC)


@pytest.mark.parametrize("price", ["47000", "53000", "50000"])
def test_the_range_holds_its_own_ends(price):
    checked(price)


@pytest.mark.parametrize(
    ("price", "said"),
    [
        (
            "46999.99",
            r"^grid.lower = 47000 is above the price at the start, 46999.99: it would buy",
        ),
        ("53000.01", r"^grid.upper = 53000 is below the price at the start, 53000.01: no order"),
    ],
)
def test_a_price_outside_has_to_be_confirmed(price, said):
    with pytest.raises(UserError, match=said) as refused:
        checked(price)
    assert str(refused.value).endswith("or confirm it with grid.start_outside_range = true")
    checked(price, start_outside_range=True)


def bought(world: World) -> bool:
    return ("POST", "order") in world.wire.requests


@pytest.mark.parametrize(
    ("grid", "said"),
    [(ABOVE, "grid.lower = 90000 is above"), (BELOW, "grid.upper = 40000 is below")],
)
def test_a_first_grid_waits_for_its_range_and_says_so(make_world, grid, said):
    world = make_world(path(50_000, 50_000, minutes=3), at_end="hold")
    world.document["grid"] = grid
    nurse = nursed(world, 60)
    assert not bought(world)
    assert nurse.notes[-1][1] == "waiting"
    assert nurse.notes[-1][2].startswith(f"{said} the price at the start, 50000: ")


def test_it_begins_once_the_price_is_in_its_range(make_world):
    world = make_world(path(50_000, 44_000, 44_000, minutes=8), at_end="hold")
    world.document["grid"] = {"lower": "43000", "upper": "46000", "grids": 10, "investment": "9000"}
    world.run(world.runner(), 1200)
    trader = world.trader()
    trader.step()
    assert trader.engine.grid_started
    assert Decimal(43_000) <= trader.engine.plan.start_price <= Decimal(46_000)


def test_a_confirmed_start_is_made(make_world):
    world = make_world(path(50_000, 50_000, minutes=3), at_end="hold")
    world.document["grid"] = BELOW | {"start_outside_range": True}
    world.run(world.runner(), 60)
    assert bought(world)


def test_a_grid_outside_its_range_does_not_hold_up_the_others(tmp_path):
    world = World(tmp_path, path(50_000, minutes=1), symbols=SYMBOLS)
    del world.document["market"], world.document["grid"]
    world.document["grids"] = [GRIDS[0] | {"lower": "90000", "upper": "99000"}, GRIDS[1]]
    runner = world.run(world.runner(), 60)
    first, second = (worker.trader for worker in runner._workers)
    assert first.engine is None
    assert second.engine.grid_started
    world.close()


def test_a_running_grid_goes_on_outside_its_range(make_world):
    """A price that leaves the range is what a grid lives through, also over a restart."""
    world = make_world(path(50_000, 50_000, 46_000, minutes=8), at_end="hold")
    world.run(world.runner(), 600)
    runner = world.run(world.runner(), 60)
    (worker,) = runner._workers
    assert worker.trader.price < 47_000
    assert worker.trader.engine.grid_started


# Before anything trades: `gridbot check`.


@pytest.fixture
def check(monkeypatch, capsys):
    """Run `gridbot check` on a world; its status and what it says."""

    def run(world: World, *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("gridbot.commands.check.load_config", lambda _path: world.config)
        monkeypatch.setattr(
            "gridbot.exchanges.open_account.open_account", lambda *_: world.account()
        )
        status = cli.main(["check", "--config", "bot.toml", *arguments])
        return status, capsys.readouterr().err

    return run


def test_check_refuses_a_price_outside_the_range(make_world, check):
    world = make_world(path(50_000, 50_000, minutes=3), at_end="hold")
    world.document["grid"] = ABOVE
    assert check(world, "--offline") == (0, "")  # no price is known
    for where in ([], ["--offline", "--price", "46000"]):
        status, said = check(world, *where)
        assert status == 2
        assert said.startswith("gridbot check: grid.lower = 90000 is above the price at the start")
        assert said.count("\n") == 1
    world.document["grid"] = ABOVE | {"start_outside_range": True}
    assert check(world) == (0, "")


def test_check_does_not_refuse_a_grid_that_runs(make_world, check):
    world = make_world(path(50_000, 50_000, 46_000, minutes=8), at_end="hold")
    world.run(world.runner(), 600)
    assert check(world) == (0, "")


def test_a_line_that_the_exchange_does_not_take_is_refused_before_anything_trades(
    make_world, check
):
    """The practice exchange takes prices up to 1,000,000."""
    band = {"price_band": {"ask_up": "100"}}
    world = make_world(path(50_000, 50_000, minutes=3), at_end="hold", **band)
    grid = {"lower": "47000", "upper": "1000000", "grids": 20, "investment": "9000"}
    world.document["grid"] = grid
    assert check(world) == (0, "")
    world.document["grid"] = grid | {"upper": "1000001"}
    line = "grid.upper = 1000001 is above the highest price that the exchange takes for BTC/USDT"
    assert check(world) == (2, f"gridbot check: {line}: use 1000000 or less\n")
    with pytest.raises(UserError, match=f"^{line}"):
        world.run(world.runner(), 60)
    assert not bought(world)
