"""Rare sequences of a grid's life: each one lost money, ended the process or told a lie once."""

from dataclasses import replace
from decimal import Decimal

import pytest
from gridbase.errors import UserError
from gridbase.market import Market, plain
from gridbot import cli
from gridbot.core.engine import Carried, Changes, GridEngine
from gridbot.core.grid import Fees, GridSpec, Spacing, make_plan
from gridbot.core.orders import OrderState, Role, Side
from gridbot.exchanges.port import BrokerError, Failure
from gridbot.trading import start_grid

from bot.tests.together.in_process import refusal

from .conftest import World, lost
from .test_order_states import STILL, fail_post, one_unsent, state
from .test_policies import FALL, GRIDS, SYMBOLS, balances, ended, path, trade

ATR = {
    "range": "atr",
    "atr_interval": "1m",
    "atr_period": 14,
    "atr_multiple": "30",
    "grids": 10,
    "investment": "5000",
}


def resume(world: World, monkeypatch) -> int:
    monkeypatch.setattr("gridbot.commands.resume.load_config", lambda _path: world.config)
    return cli.main(["resume", "--config", "bot.toml"])


def test_a_stop_cleared_before_its_grid_has_ended_still_ends_it(make_world, monkeypatch):
    world = make_world(FALL, at_end="hold")
    world.document |= {"stop": {"loss_price": "46500", "liquidate": True}}
    world.document["grid"]["outside_range_purchase"] = "9000"  # the next one begins at 46,000
    trader = world.trader()
    while trader.wind_down is None:
        trader.step()
        world.clock.sleep(0.5)
    first = trader.grid_run
    trader.step()
    assert trader.wind_down is not None
    assert resume(world, monkeypatch) == 0
    world.document["stop"] = {}
    trader = trade(world, 60)
    (grid,) = ended(world)
    assert grid.id == first.id
    assert trader.grid_run.id != first.id
    assert len(trader.engine.live) == 20
    assert world.audit().differences == []


def test_candles_that_are_not_there_yet_do_not_end_the_bot(make_world):
    world = make_world(path(50_000, 50_500, 49_500, 50_500, 50_000, minutes=10), speed="1")
    world.document["grid"] = ATR
    world.clock.sleep(2400)
    # The market's time is read, the candles themselves fail: once, and twice more at once.
    fails = iter([False, True, True, True])

    def disturb(_method, name):
        if name == "klines" and next(fails, False):
            lost()

    world.wire.before = disturb
    runner = world.run(world.runner(), 300)
    assert next(fails, None) is None
    assert runner.status()["grids"][0]["lines"]


def test_a_move_whose_new_grid_does_not_do_at_once_waits_for_a_price(make_world, monkeypatch):
    world = make_world(path(50_000, 50_000, 54_000, *[54_000] * 9, minutes=60), at_end="hold")
    world.document |= {"reposition": {"direction": "up", "cooldown_minutes": 0}}
    whole, failing = start_grid.make_plan, [True]

    def make_plan(*args):
        if failing and list(world.store.grid_runs()):
            raise UserError("grid.grids = 20 puts two lines on the same price")
        return whole(*args)

    monkeypatch.setattr(start_grid, "make_plan", make_plan)
    trader = trade(world, 300)
    assert trader.held_back == "BTC/USDT: grid.grids = 20 puts two lines on the same price"
    assert ended(world) == []
    assert world.broker().open_orders() == []
    failing.clear()
    assert trade(world, 60).engine.grid_started
    (first,) = ended(world)
    assert first.result.reason == "moved up"


def too_small(*_args):
    raise UserError("grid.investment = 9000 is too small")


def test_an_initial_trade_that_can_not_be_planned_again_waits(make_world, monkeypatch):
    world = make_world(STILL)
    trader = world.trader()
    fail_post(world, lambda *_: refusal(400, -2010, "Account has insufficient balance"))
    with pytest.raises(BrokerError, match="insufficient balance"):
        trader.step()
    whole = start_grid.make_plan
    monkeypatch.setattr(start_grid, "make_plan", too_small)
    with pytest.raises(BrokerError, match=r"grid\.investment = 9000 is too small"):
        trader.step()
    monkeypatch.setattr(start_grid, "make_plan", whole)
    trader.step()
    assert trader.engine.grid_started


def test_a_moved_grid_that_is_planned_again_keeps_its_range(make_world):
    rise = path(50_000, 50_000, 54_000, *[54_000] * 9, minutes=60)
    world = make_world(rise, at_end="hold", fee_in="quote")
    world.document |= {
        "fees": {"in": "quote"},
        "reposition": {"direction": "up", "cooldown_minutes": 0},
    }

    def disturb(method, name):
        moved = len(list(world.store.grid_runs())) == 2
        if disturb.on and moved and (method, name) == ("POST", "order"):
            disturb.on = False
            return refusal(400, -2010, "Account has insufficient balance")
        return None

    disturb.on = True
    world.wire.before = disturb
    try:
        trade(world, 280)
    except BrokerError:
        assert not disturb.on
    world.wire.before = lambda *_: None
    trader = trade(world, 30)
    (first,) = ended(world)
    assert first.result.base == 0
    assert trader.engine.grid_started
    assert trader.engine.plan.lines[0] < 54_000 < trader.engine.plan.lines[-1]
    assert trader.engine.books.investment == first.result.equity
    plan = trader.engine.plan
    (config,) = world.config.grids
    spec = config.grid.spec(plan.lines[0], plan.lines[-1])
    spec = replace(spec, investment=first.result.equity)
    whole = make_plan(spec, trader.engine.market, config.fees, plan.start_price)
    assert plan.quantity == whole.quantity
    assert world.audit().differences == []


def test_a_grid_of_a_quantity_that_is_planned_again_keeps_it(make_world):
    world = make_world(path(50_000, 50_000, 48_000, 48_000, minutes=10), at_end="hold", speed="1")
    quantity = {"lower": "47000", "upper": "53000", "grids": 20, "quantity": "0.005"}
    world.document["grid"] = quantity
    trader = world.trader()
    fail_post(world, lambda *_: refusal(400, -2010, "Account has insufficient balance"))
    with pytest.raises(BrokerError, match="insufficient balance"):
        trader.step()
    before = trader.engine.plan
    world.clock.sleep(1800)
    trader.step()
    after = trader.engine.plan
    assert after.start_price < before.start_price
    assert (before.quantity, after.quantity) == (Decimal("0.005"), Decimal("0.005"))


def test_planned_again_it_asks_for_the_money_that_what_it_took_over_did_not_cost(
    make_world, monkeypatch
):
    rise = path(50_000, 50_000, 52_500, 47_600, *[47_600] * 4, minutes=60)
    world = make_world(rise, at_end="hold")
    trader = trade(world, 240, stop={"profit_percent": "1"})
    assert trader.halt is not None
    assert trader.result.base > 0
    assert resume(world, monkeypatch) == 0
    asked, check = [], start_grid.check_funds

    def checked(config, broker, needed):
        asked.append(needed)
        check(config, broker, needed)

    monkeypatch.setattr(start_grid, "check_funds", checked)
    fail_post(world, lambda *_: refusal(400, -2010, "Account has insufficient balance"))
    with pytest.raises(BrokerError, match="insufficient balance"):
        trade(world, 60)
    trader = trade(world, 60)
    assert trader.engine.grid_started
    assert trader.grid_run.carried_cost > 0
    assert len(asked) == 2
    assert asked[0] == asked[1] == trader.grid_run.investment - trader.grid_run.carried_cost


def test_an_order_that_was_refused_and_then_found_is_not_shown_as_refused(make_world):
    world = make_world(STILL)
    trader, order = one_unsent(world)
    fail_post(world, lambda *_: refusal(400, -1013, "Filter failure: LOT_SIZE"))
    trader.step()
    assert order.client_id in trader.refused
    world.clock.sleep(31)
    world.wire.before = lambda *_: None
    fail_post(world, lost, when="after")
    with pytest.raises(BrokerError):
        trader.step()
    trader.step()
    assert state(trader, order) is OrderState.OPEN
    assert trader.refused == {}


def test_a_grid_that_may_not_begin_is_logged_once(make_world, caplog):
    caplog.set_level("INFO")
    world = make_world(path(46_000, 46_000), at_end="hold")
    trade(world, 60, stop={"loss_price": "46500"})
    assert caplog.text.count("no grid begins while stop.loss_price holds") == 1
    assert "go on again" not in caplog.text


def test_more_than_the_exchange_takes_at_once_is_traded_in_parts(make_world, monkeypatch):
    fall = path(50_000, 50_000, 46_000, minutes=60)
    world = make_world(fall, at_end="hold", max_quantity="0.02")
    trader = trade(world, 1)
    plan = trader.engine.plan
    assert not trader.engine.grid_started
    # What is left to buy needs a price and no plan: there is one.
    monkeypatch.setattr(start_grid, "make_plan", too_small)
    trader = trade(world, 60, stop={"loss_price": "46500", "liquidate": True})
    assert trader.engine.grid_started
    assert trader.engine.plan.quantity == plan.quantity
    trader = trade(world, 200)
    assert trader.halt is not None
    assert balances(world).get("BTC", Decimal(0)) < Decimal("0.00001")
    (grid,) = ended(world)
    dust = grid.result.base * grid.result.price
    earned = grid.result.grid_profit + grid.result.liquidation_profit
    assert grid.result.equity - grid.investment == earned + dust
    assert world.audit().differences == []


def test_a_changed_grid_can_be_ended_as_the_bot_advises(make_world, caplog):
    world = make_world(STILL)
    trade(world, 6)
    world.document["grid"] = {"lower": "40000", "upper": "60000", "grids": 10, "quantity": "0.01"}
    with pytest.raises(UserError, match="or end that grid with: gridbot close"):
        world.trader().step()
    world.wire.requests.clear()
    assert world.trader().close_grid(60) == 20
    assert ("GET", "exchangeInfo") in world.wire.requests  # clock, rules and key come first
    assert world.broker().open_orders() == []
    grid_run = trade(world, 6).grid_run
    (ended_by_hand,) = ended(world)
    assert ended_by_hand.result.base > 0
    assert (grid_run.id, grid_run.carried) == (2, 0)  # what it left is its owner's
    assert "takes nothing over" not in caplog.text  # nothing was to be


def test_a_grid_is_not_ended_on_another_account(make_world):
    world = make_world(STILL)
    trade(world, 6)
    world.document["bot_name"] = "pi2"
    with pytest.raises(UserError, match=r"bot_name = pi2 differs from pi1, .*: set it back$"):
        world.trader().close_grid(60)


def test_closing_all_grids_leaves_out_those_that_have_ended(make_world, monkeypatch, capsys):
    world = make_world(symbols=SYMBOLS, speed="60")
    del world.document["market"], world.document["grid"]
    world.document["grids"] = GRIDS[:2]
    world.run(world.runner(), 20)
    first, second = world.config.grids
    monkeypatch.setattr("gridbot.commands.close.load_config", lambda _path: world.config)
    monkeypatch.setattr("gridbot.commands.close.start_logging", lambda _level: None)
    monkeypatch.setattr("gridbot.commands.close.SystemClock", lambda: world.clock)
    monkeypatch.setattr("gridbot.commands.close.open_account", lambda *_: world.account())
    assert cli.main(["close", "--config", "bot.toml", "--symbol", first.symbol]) == 0
    assert cli.main(["close", "--config", "bot.toml"]) == 0
    assert world.broker(symbol=second.symbol).open_orders() == []
    assert cli.main(["close", "--config", "bot.toml"]) == 2
    assert "no grid is running" in capsys.readouterr().err


def test_a_stop_fires_while_the_base_is_still_being_bought(make_world):
    world = make_world(FALL, at_end="hold", max_quantity="0.01")
    trader = trade(world, 60, stop={"loss_price": "46500", "liquidate": True})
    assert trader.halt.reason_code == "stop.loss_price"
    (grid,) = ended(world)
    bought = sum(one.quantity for one in world.store.fills(grid.id) if one.side == "buy")
    assert 0 < bought < grid.plan.initial_quantity
    assert balances(world).get("BTC", Decimal(0)) < Decimal("0.00001")
    earned = grid.result.grid_profit + grid.result.liquidation_profit
    dust = grid.result.base * grid.result.price
    assert grid.result.equity - grid.investment == earned + dust
    assert world.audit().differences == []


def test_a_grid_is_not_given_up_while_no_other_may_begin(make_world):
    world = make_world(path(50_000, 50_000, 46_000, *[46_000] * 9, minutes=60), at_end="hold")
    world.document |= {
        "reposition": {"direction": "down", "cooldown_minutes": 0},
        "stop": {"loss_price": "40000"},
    }
    trader = trade(world, 10)
    trader._risk_guard.pause = lambda: setattr(trader.session, "paused", "downtrend")
    for _ in range(150):
        trader.step()
        world.clock.sleep(2.0)
    assert ended(world) == []
    assert trader.engine is not None
    trader._risk_guard.pause = lambda: setattr(trader.session, "paused", "")
    for _ in range(20):
        trader.step()
        world.clock.sleep(2.0)
    assert len(ended(world)) == 1
    assert trader.engine.grid_started


def test_a_stop_fires_while_the_rest_of_the_base_waits_for_money(make_world, monkeypatch):
    world = make_world(FALL, at_end="hold", max_quantity="0.01")
    world.document["stop"] = {"loss_price": "46500", "liquidate": True}
    trader = world.trader()
    trader.step()
    assert trader.engine.books.base_held > 0

    def refuse(*_args):
        raise BrokerError(Failure.REJECTED, "the account has 0 free")

    monkeypatch.setattr(start_grid, "check_funds", refuse)
    with pytest.raises(BrokerError, match="the account has 0 free"):
        trader.step()
    world.clock.sleep(20)
    for _ in range(10):
        trader.step()
        world.clock.sleep(2.0)
    assert trader.halt.reason_code == "stop.loss_price"
    assert balances(world).get("BTC", Decimal(0)) < Decimal("0.00001")
    assert world.audit().differences == []


@pytest.mark.parametrize(
    ("carried", "bought", "sold"),
    [("0.00004", "0.0001", None), ("0.0001", None, "0.0001"), ("0.00000001", "0.00011", None)],
)
def test_a_sell_of_what_is_taken_over_is_one_that_the_exchange_takes(carried, bought, sold):
    market = Market(
        symbol="BTC/USDT",
        base="BTC",
        quote="USDT",
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.00001"),
        min_quantity=Decimal("0.00001"),
        min_notional=Decimal(5),
    )
    spec = GridSpec(Decimal(47_000), Decimal(53_000), 20, Spacing.ARITHMETIC, Decimal(120))
    plan = make_plan(spec, market, Fees(Decimal("0.001")), Decimal(52_650))
    assert len(plan.sell_lines) == 1
    base = Decimal(carried)
    engine = GridEngine(
        bot_name="pi1",
        tag="000001",
        market=market,
        plan=plan,
        investment=plan.investment,
        carried=Carried(base, base * plan.start_price),
    )
    changes = Changes(0)
    engine.begin(changes)
    initial = [plain(one.quantity) for one in changes.orders if one.role is Role.INITIAL]
    sells = [plain(one.quantity) for one in changes.orders if one.side is Side.SELL]
    assert initial == ([] if bought is None else [bought])
    assert sells == ([] if sold is None else [sold])


def test_one_order_that_can_not_be_canceled_does_not_keep_the_others_open(make_world):
    world = make_world(STILL)
    trader = world.trader()
    trader.step()
    stubborn = min(trader.engine.live)
    broker = trader.session.broker
    cancel = broker.cancel

    def cancel_most(client_id):
        if client_id == stubborn:
            raise BrokerError(Failure.REJECTED, "Order is not cancelable.")
        cancel(client_id)

    broker.cancel = cancel_most
    trader.session.wind_down = start_grid.WindDown("a test")
    with pytest.raises(BrokerError, match="not cancelable"):
        trader.step()
    assert [order.client_id for order in broker.open_orders()] == [stubborn]
    broker.cancel = cancel
    for _ in range(3):
        if trader.session.wind_down is not None:
            trader.step()
    assert broker.open_orders() == []
