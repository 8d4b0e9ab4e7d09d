"""A grid begins where the price is within its range; elsewhere only where that is confirmed."""

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.errors import UserError
from gridbase.market import Market
from gridbot import cli
from gridbot.config.load import parse_config
from gridbot.core.grid import make_plan, pair_profit
from gridbot.trading.start_range import check_first, check_purchase, check_start, first_purchase

from bot.tests.bot.core.conftest import BTC
from bot.tests.together.in_process import refusal

from .conftest import World
from .test_grid_worker import nursed
from .test_policies import GRIDS, SYMBOLS, path

ABOVE = {"lower": "90000", "upper": "110000", "grids": 20, "investment": "9000"}
BELOW = {"lower": "30000", "upper": "40000", "grids": 20, "investment": "9000"}


def planned(price: str, *, rules: Market = BTC, fees=None, **grid) -> tuple:
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
        "fees": fees or {},
    }
    (config,) = parse_config(document, Path("bot.toml")).grids
    plan = make_plan(config.grid.fixed, rules, config.fees, Decimal(price))
    return config, plan, rules


def checked(price: str, **settings: object) -> None:
    check_start(*planned(price, **settings))


@pytest.mark.parametrize("price", ["47000", "53000", "50000"])
def test_the_range_holds_its_own_ends(price):
    checked(price)


RANGE = "is outside the range grid.lower = 47000 to grid.upper = 53000: the grid would "
ALLOW = "; move the range to the price, or allow it with grid.outside_range_purchase = "


def refusal_of(price: str, **settings: object) -> str:
    with pytest.raises(UserError) as refused:
        checked(price, **settings)
    return str(refused.value)


def test_a_price_below_the_range_needs_the_amount_that_is_bought():
    said = refusal_of("46999.99")
    bought = "buy 0.1914894 BTC for 8999.999885106 USDT at once"
    assert said == f'the price 46999.99 {RANGE}{bought}{ALLOW}"9000"'
    checked("46999.99", outside_range_purchase="9000")
    checked("46999.99", outside_range_purchase="8999.999885106")
    less = refusal_of("46999.99", outside_range_purchase="8999.999885")
    assert "at once, more than grid.outside_range_purchase = 8999.999885; move" in less
    assert less.endswith('outside_range_purchase = "9000"')


def test_a_price_above_the_range_buys_nothing_and_needs_to_be_confirmed_too():
    said = refusal_of("53000.01")
    waits = "buy nothing and trade only once the price has fallen into it"
    assert said == f'the price 53000.01 {RANGE}{waits}{ALLOW}"0"'
    checked("53000.01", outside_range_purchase="0")
    assert "more than grid.outside_range_purchase = 0;" in refusal_of(
        "46999.99", outside_range_purchase="0"
    )


def test_a_fee_in_quote_is_part_of_what_is_spent():
    assert " for 8991.00" in refusal_of("46000", investment="8991.01")
    assert " for 8999.99" in refusal_of("46000", fees={"in": "quote"})  # 1.001 times as much


def test_what_is_taken_over_is_not_bought_again():
    start = planned("46999.99")

    def would(carried: str) -> str:
        with pytest.raises(UserError) as refused:
            check_purchase(*start, first_purchase(*start[1:], Decimal(carried)))
        return str(refused.value)

    assert "would buy 0.0914894 BTC for 4300.00" in would("0.1")
    assert "would buy nothing" in would("0.5")
    assert "would buy 0.09148939 BTC" in would("0.1000000049")  # whole lots
    # Less than the exchange's smallest order is missing: that is bought.
    assert "for 5.00" in would("0.19147")


@pytest.mark.parametrize("spent", ["0.5", "250"])
def test_what_was_spent_before_is_told(spent):
    with pytest.raises(UserError, match=f", after {re.escape(spent)} USDT that it has spent"):
        check_purchase(*planned("46999.99"), Decimal("0.1"), Decimal(spent))


def test_pairs_without_profit_have_to_be_confirmed():
    coarse = replace(BTC, lot_size=Decimal("0.0001"))
    small = {"rules": coarse, "investment": "500"}
    said = refusal_of("50000", **small)
    assert said.startswith("20 of 20 pairs show no profit in USDT: of each buy of 0.0005 BTC, ")
    assert said.endswith(
        "invest more or use fewer grids, or allow it with grid.allow_losing_pairs = true"
    )
    checked("50000", allow_losing_pairs=True, **small)


def test_a_bot_that_runs_begins_no_grid_whose_pairs_show_no_profit_either():
    small = planned("50000", rules=replace(BTC, lot_size=Decimal("0.0001")), investment="500")
    with pytest.raises(UserError, match="20 of 20 pairs show no profit"):
        check_first(*small, None, Decimal(0))


def test_it_is_all_pairs_together_that_have_to_earn():
    grid = {"lower": "42000", "upper": "50000", "grids": 40}
    usual = grid | {"rules": replace(BTC, lot_size=Decimal("0.00001"))}
    said = refusal_of("46000", investment="5300", **usual)
    assert said.startswith("23 of 40 pairs show no profit in USDT")
    checked("46000", investment="5400", **usual)  # 20 of them show none


def test_one_pair_may_earn_for_all():
    """Be it the highest, where the distances of a coarse tick are the widest."""
    rules = replace(BTC, tick_size=Decimal(1), lot_size=Decimal("0.01"))
    grid = {"lower": "100", "upper": "105", "grids": 2, "spacing": "geometric"}
    config, plan, _ = planned("100", rules=rules, investment="100", **grid)
    earned = [pair_profit(plan, line, rules, config.fees) for line in range(2)]
    assert earned == [Decimal("-0.06998"), Decimal("0.39855")]
    check_start(config, plan, rules)


def bought(world: World) -> bool:
    return ("POST", "order") in world.wire.requests


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (ABOVE, "grid.lower = 90000 to grid.upper = 110000: the grid would buy 0.18 BTC for 9000"),
        (BELOW, "grid.lower = 30000 to grid.upper = 40000: the grid would buy nothing"),
    ],
)
def test_a_first_grid_waits_for_its_range_and_says_so(make_world, grid, said):
    world = make_world(path(50_000, 50_000, minutes=3), at_end="hold")
    world.document["grid"] = grid
    nurse = nursed(world, 60)
    assert not bought(world)
    assert nurse.notes[-1][1] == "waiting"
    expected = f"BTC/USDT: the price 50000 is outside the range {said}"
    assert nurse.notes[-1][2].startswith(expected)


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
    world.document["grid"] = BELOW | {"outside_range_purchase": "0"}
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


REFUSED = refusal(400, -2010, "Account has insufficient balance for requested action.")


def test_a_purchase_that_is_planned_again_outside_the_range_waits_for_it(make_world):
    """The first plan was made in the range; its order was refused, and the price has left."""
    prices = path(47_100, 47_100, 46_000, 46_000, 48_000, minutes=4)
    world = make_world(prices, at_end="hold", speed="1")
    world.wire.before = lambda *request: REFUSED if request == ("POST", "order") else None
    world.run(world.runner(), 600)  # refused again and again, while the price falls
    world.wire.before = lambda *_request: None
    sent = len(world.wire.requests)
    nurse = nursed(world, 300)
    assert ("POST", "order") not in world.wire.requests[sent:]
    assert nurse.notes[-1][1] == "waiting"
    assert nurse.notes[-1][2].startswith("BTC/USDT: the price 46000 is outside the range")
    world.run(world.runner(), 1200)
    trader = world.trader()
    trader.step()
    assert trader.engine.grid_started
    assert trader.engine.plan.start_price >= 47_000
    assert world.audit().differences == []


def test_the_rest_of_a_purchase_waits_for_the_range_as_well(make_world):
    prices = path(47_100, 47_100, 46_000, 46_000, minutes=4)
    world = make_world(prices, at_end="hold", speed="1", max_quantity="0.01")
    orders = []

    def three(*request):
        if request == ("POST", "order"):
            orders.append(request)
        return REFUSED if orders[3:] and request == ("POST", "order") else None

    world.wire.before = three
    world.run(world.runner(), 750)
    world.wire.before = lambda *_request: None
    said = nursed(world, 100).notes[-1][2]
    assert said.startswith("BTC/USDT: the price 46000 is outside the range")
    assert " for 7406 USDT at once, after 1413 USDT that it has spent; " in said
    world.document["grid"]["outside_range_purchase"] = "8818"
    assert "after 1413 USDT that it has spent, more than" in nursed(world, 100).notes[-1][2]
    assert world.trader().session.store.fills(1)[3:] == []
    assert said.endswith('grid.outside_range_purchase = "8820"')
    world.document["grid"]["outside_range_purchase"] = "8820"
    world.run(world.runner(), 300)
    trader = world.trader()
    trader.step()
    assert trader.engine.grid_started
    assert trader.engine.books.initial_cost <= 8820
    assert world.audit().differences == []


# Before anything trades: `gridbot check`.


@pytest.fixture
def check(monkeypatch, capsys):
    """Run `gridbot check` on a world; its status and what it says."""

    def run(world: World, *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("gridbot.commands.check.load_config", lambda _path: world.config)
        monkeypatch.setattr(
            "gridbot.exchanges.open_account.open_account", lambda *_, **__: world.account()
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
        assert said.startswith("gridbot check: BTC/USDT: the price ")
        assert "is outside the range grid.lower = 90000 to grid.upper = 110000: the grid" in said
        assert said.count("\n") == 1
    world.document["grid"] = ABOVE | {"outside_range_purchase": "9000"}
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
    line = "BTC/USDT: grid.upper = 1000001 is above the highest price that the exchange takes"
    assert check(world) == (2, f"gridbot check: {line}: use 1000000 or less\n")
    with pytest.raises(UserError, match=f"^{line}"):
        world.run(world.runner(), 60)
    assert not bought(world)
