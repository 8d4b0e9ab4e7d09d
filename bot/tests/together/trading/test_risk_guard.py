"""What the risk guard lets a grid do, and what it keeps it from."""

from decimal import Decimal

import pytest
from gridbot.core.prices import Seen
from gridbot.exchanges.port import BrokerError
from gridbot.trading import start_grid
from gridbot.trading.session import WindDown

from .conftest import lost
from .test_policies import ended, path
from .test_takeover import DOWN, crash_after_a_move, go_on, pause


def test_no_grid_is_given_up_for_a_move_while_buys_pause(make_world):
    world = make_world(crash_after_a_move(46_000), at_end="hold")
    world.document |= DOWN
    trader = world.trader()
    go_on(world, trader, 30)
    pause(trader, "downtrend")
    go_on(world, trader, 1000)
    assert trader.price < trader.engine.plan.lines[0]
    assert trader.wind_down is None
    assert trader.engine.live
    pause(trader, "")
    go_on(world, trader, 20)
    (first,) = ended(world)
    assert first.result.reason == "moved down"


def test_a_grid_does_not_move_where_its_loss_price_would_be_within_its_range(make_world, caplog):
    """Be it only within the lowest of its steps, of which the next one begins at 43,300."""
    world = make_world(crash_after_a_move(46_000), at_end="hold")
    world.document |= DOWN | {"stop": {"loss_price": "43100"}}
    trader = world.trader()
    go_on(world, trader, 300)
    assert ended(world) == []
    assert "BTC/USDT stays in its range: stop.loss_price = 43100" in caplog.text


def test_a_grid_does_not_move_where_its_profit_price_would_be_within_its_range(make_world, caplog):
    """Be it only within the highest of its steps, of which the last one ends at 57,000."""
    world = make_world(path(50_000, 50_000, *[54_000] * 4, minutes=60), at_end="hold")
    reposition = {"direction": "up", "cooldown_minutes": 0}
    world.document |= {"reposition": reposition, "stop": {"profit_price": "56800"}}
    trader = world.trader()
    go_on(world, trader, 300)
    assert ended(world) == []
    assert "BTC/USDT stays in its range: stop.profit_price = 56800" in caplog.text


def test_a_price_that_came_back_has_to_stay_away_for_as_long_again(make_world):
    """Below the range for less than `CONFIRM_MS` (a second is a minute of the market), and back."""
    stations = [46_900] * 4 + [47_200] * 2 + [46_900] * 10
    world = make_world(path(47_200, *stations, minutes=10), at_end="hold")
    reposition = {"direction": "down", "cooldown_minutes": 0, "margin_percent": "0.1"}
    world.document["reposition"] = reposition
    trader = world.trader()
    go_on(world, trader, 100)
    assert trader.price < trader.engine.plan.lines[0]
    assert trader.wind_down is None
    assert ended(world) == []
    go_on(world, trader, 60)
    (first,) = ended(world)
    assert first.result.reason == "moved down"


@pytest.fixture
def purchase_refused(make_world):
    """A grid whose initial purchase has been refused: a price for the next try is still to come."""
    refused = {"kind": "reject", "method": "POST", "path": "order", "count": 1}
    world = make_world(path(50_000, 50_000), faults={"rules": [refused]})
    trader = world.trader()
    with pytest.raises(BrokerError):
        trader.step()
    assert trader.engine.waiting_for_price
    return world, trader


def test_a_stop_that_fires_while_the_initial_purchase_waits_is_carried_out_at_once(
    purchase_refused,
):
    world, trader = purchase_refused
    world.wire.requests.clear()
    fires = WindDown("a test")
    trader._risk_guard.look = lambda _engine: setattr(trader.session, "wind_down", fires)
    assert trader.step()
    assert world.wire.requests == []  # nothing else was done


def test_an_initial_purchase_is_planned_again_once_the_books_are_compared(
    purchase_refused, monkeypatch
):
    """Books that were restored may lack that it has come off."""
    trader = purchase_refused[1]
    planned = []
    monkeypatch.setattr(start_grid, "reprice", lambda *_: planned.append(trader.session.compared))
    trader.session.compared = False
    for _ in range(2):
        trader.step()
    assert planned == [True]


def test_for_how_long_the_grid_before_was_outside_its_range_says_nothing_of_the_next(make_world):
    world = make_world(path(50_000, 50_000), at_end="hold")
    world.document |= DOWN
    trader = world.trader()
    go_on(world, trader, 10)
    below = Seen.at(Decimal(44_000))
    trader._risk_guard.watch(trader.engine, below)
    world.clock.sleep(3600)
    trader._risk_guard._watched = None  # another grid has begun
    trader._risk_guard.watch(trader.engine, below)
    assert trader.wind_down is None
    world.clock.sleep(3600)
    trader._risk_guard.watch(trader.engine, below)
    assert trader.wind_down is not None


def test_a_grid_that_has_not_bought_its_base_does_not_move(make_world):
    world = make_world(path(50_000, 50_000), at_end="hold")
    world.document |= DOWN
    world.wire.before = lambda method, _name: lost() if method == "POST" else None
    trader = world.trader()
    with pytest.raises(BrokerError):
        trader.step()
    assert not trader.engine.grid_started
    for _ in range(3):
        trader._risk_guard.watch(trader.engine, Seen.at(Decimal(44_000)))
        world.clock.sleep(3600)
    assert trader.wind_down is None


@pytest.mark.parametrize("rules", [DOWN, {"stop": {"loss_price": "46500"}}], ids=["move", "stop"])
def test_a_grid_that_is_given_up_takes_no_further_step_from_that_moment_on(make_world, rules):
    """A sell that fills before its orders are canceled puts no buy in its place."""
    world = make_world(crash_after_a_move(46_000), at_end="hold")
    world.document |= rules
    trader = world.trader()
    while trader.wind_down is None:
        assert world.clock.seconds < 1000
        assert not trader.engine or not trader.engine.winding_down
        again = trader.step()
        world.clock.sleep(2.0)
    assert again  # there is something to do at once
    assert trader.engine.winding_down
    assert trader.is_halting is ("stop" in rules)


def test_what_a_grid_came_to_is_known_as_soon_as_it_has_ended(make_world, caplog):
    caplog.set_level("INFO")
    world = make_world(crash_after_a_move(46_000), at_end="hold")
    world.document |= {"stop": {"loss_price": "46500"}}
    trader = world.trader()
    while not ended(world):
        assert world.clock.seconds < 1000
        assert trader.result is None
        trader.step()
        world.clock.sleep(2.0)
    assert trader.result == ended(world)[0].result
    assert trader.halt is not None
    assert f"BTC/USDT grid {ended(world)[0].tag} ended (price " in caplog.text


def test_a_kill_switch_that_has_fired_does_not_fire_again_while_its_grid_winds_down(make_world):
    """Its price falls on, and the reason stays that of the first time."""
    world = make_world(crash_after_a_move(46_000), at_end="hold")
    world.document |= {"stop": {"loss_price": "46500"}}
    trader = world.trader()
    while trader.wind_down is None:
        assert world.clock.seconds < 1000
        trader.step()
        world.clock.sleep(2.0)
    fired = trader.wind_down
    trader._risk_guard.watch(trader.engine, Seen.at(Decimal(45_000)))
    assert trader.wind_down is fired


def test_a_move_goes_on_at_once(make_world, caplog):
    """The new grid is compared with the exchange in the next step, not a poll later."""
    caplog.set_level("INFO")
    world = make_world(crash_after_a_move(46_000), at_end="hold")
    world.document |= DOWN
    trader = world.trader()
    while not ended(world):
        again = trader.step()
        world.clock.sleep(0.25 if again else 2.0)
    assert again
    assert caplog.text.count("ended (moved down)") == 1
