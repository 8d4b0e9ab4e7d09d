"""What one grid leaves to the next: watched until that begins, and never somebody else's coins."""

import itertools
from dataclasses import replace
from decimal import Decimal

import pytest
from gridbase.errors import UserError
from gridbot import cli
from gridbot.core.orders import Order, OrderState, Role, Side
from gridbot.store import Store
from gridbot.trading import start_grid
from gridbot.trading.session import WindDown
from gridbot.trading.trader import MOVE_AGAIN_SECONDS
from gridexchange.config import load_config as load_exchange_config
from gridexchange.server import build_api

from .conftest import World, lost
from .test_policies import balances, ended, path, trade

DOWN = {"reposition": {"direction": "down", "cooldown_minutes": 0}}
LEFT = Decimal("0.182817")  # what the grid of these markets holds at the bottom
DUST = Decimal("0.00001")

RANGE = (Decimal(35_000), Decimal(45_000))


@pytest.mark.parametrize(
    ("end", "noted"),
    [
        ({"takes_over": True}, True),
        ({"takes_over": True, "liquidate": True}, False),
        ({"takes_over": True, "next_range": RANGE}, False),
        ({"takes_over": False}, False),
    ],
)
@pytest.mark.parametrize("held", ["0.1", None])
def test_what_the_account_holds_is_noted_where_it_is_asked_for_later(
    make_world, monkeypatch, end, noted, held
):
    world = make_world(path(50_000, 50_000), at_end="hold")
    trader = trade(world, 3.5)
    coins = {} if held is None else {"BTC": Decimal(held)}
    monkeypatch.setattr(trader.session.broker, "balances", lambda: coins)
    result = start_grid._ended(trader.session, trader.engine, WindDown("a test", **end)).result
    assert result.account == (Decimal(held or 0) if noted else None)


@pytest.mark.parametrize(("takes_over", "said"), [(True, 1), (False, 0), (None, 0)])
def test_why_nothing_is_taken_over_is_told_where_something_was_left(
    make_world, caplog, takes_over, said
):
    world = make_world(path(50_000, 50_000), at_end="hold")
    trader = trade(world, 3.5)
    session, end = trader.session, WindDown("a test", takes_over=bool(takes_over))
    previous = start_grid._ended(session, trader.engine, end)
    elsewhere = previous.settings | {"bot_name": "pi2"}
    previous = replace(previous, settings=elsewhere)
    if takes_over is None:
        previous = replace(previous, result=None)
    taken = start_grid._taken_over(session, session.market, previous, Decimal(50_000), {})
    assert taken == (None, Decimal(0))
    assert caplog.text.count("takes nothing over: bot_name = pi1") == said


# Moves.


def moving(world: World, **document: object):
    """A bot whose grid has just been given up for a move; its orders are still open."""
    world.document |= DOWN | document
    trader = world.trader()
    while trader.wind_down is None:
        assert world.clock.seconds < 1000
        trader.step()
        world.clock.sleep(2.0)
    assert trader.wind_down.next_range is not None
    return trader


def go_on(world: World, trader, seconds: float) -> None:
    until = world.clock.seconds + seconds
    while world.clock.seconds < until:
        again = trader.step()
        world.clock.sleep(0.25 if again else 2.0)


def pause(trader, reason: str) -> None:
    trader._risk_guard.pause = lambda: setattr(trader.session, "paused", reason)


def crash_after_a_move(*stations: int) -> list[str]:
    return path(50_000, 50_000, 46_000, *[46_000] * 3, *stations, *[38_000] * 5, minutes=60)


LIQUIDATE = {"loss_price": "42000", "liquidate": True}


def test_a_stop_that_holds_once_the_exchange_is_back_turns_a_move_into_an_end(make_world):
    world = make_world(crash_after_a_move(40_000, 38_000), at_end="hold")
    world.document |= DOWN | {"stop": LIQUIDATE}
    since = []

    def before(method, name):
        if (method, name) == ("DELETE", "order"):
            since.append(world.clock.seconds)
        if since and world.clock.seconds < since[0] + 400:
            lost()

    world.wire.before = before
    runner = world.run(world.runner(), 1500)
    assert world.clock.seconds > since[0] + 400
    assert runner.status()["halt"]["reason"] == "stop.loss_price"
    assert balances(world)["BTC"] < DUST
    assert world.broker().open_orders() == []
    assert world.audit().differences == []


def test_a_grid_that_moves_stays_while_buys_pause_and_its_stops_go_on(make_world):
    world = make_world(crash_after_a_move(43_500, 38_000), at_end="hold")
    trader = moving(world, stop=LIQUIDATE)
    pause(trader, "downtrend")
    go_on(world, trader, 20)
    assert trader.halt is None
    assert ended(world) == []
    assert trader.engine.live == {}
    assert trader.engine.books.base_held == LEFT
    go_on(world, trader, 500)
    assert trader.halt.reason_code == "stop.loss_price"
    (grid,) = ended(world)
    assert grid.result.next_range is None
    assert balances(world)["BTC"] < DUST
    assert world.audit().differences == []


def test_a_move_that_was_held_back_goes_on(make_world):
    world = make_world(crash_after_a_move(46_000), at_end="hold")
    trader = moving(world)
    pause(trader, "downtrend")
    go_on(world, trader, 30)
    assert ended(world) == []
    pause(trader, "")
    go_on(world, trader, 10)
    (first,) = ended(world)
    assert trader.grid_run.carried == first.result.base == LEFT
    assert len(trader.engine.live) == 20
    assert world.audit().differences == []


def test_a_move_is_under_way_from_the_first_look_of_the_next_process_on(make_world):
    world = make_world(crash_after_a_move(46_000), at_end="hold")
    moving(world)
    trader = world.trader()
    trader._load()
    assert trader.engine.winding_down


def test_what_the_stops_write_down_meanwhile_does_not_forget_the_move(make_world):
    world = make_world(crash_after_a_move(46_000), at_end="hold")
    trader = moving(world, stop={"daily_loss_percent": "90"})
    pause(trader, "downtrend")
    go_on(world, trader, 10)
    before = world.store.grid_run("BTC/USDT").watch
    world.clock.sleep(86_400)
    trader.step()
    after = world.store.grid_run("BTC/USDT").watch
    assert after["stop"]["day"] == before["stop"]["day"] + 1
    assert after["ending"] == before["ending"]
    trader = trade(world, 10)
    (first,) = ended(world)
    assert first.result.reason == "moved down"
    assert trader.grid_run.carried == LEFT


def test_coins_of_a_move_are_watched_while_the_next_grid_does_not_do(make_world, monkeypatch):
    world = make_world(crash_after_a_move(43_500, 38_000), at_end="hold")
    trader = moving(world, stop=LIQUIDATE)
    old, tries = trader.grid_run.id, []

    def too_small(*_args):
        tries.append(world.clock.seconds)
        raise UserError("grid.grids = 20 puts two lines on the same price")

    monkeypatch.setattr(start_grid, "make_plan", too_small)
    go_on(world, trader, 10)
    assert "puts two lines" in trader.held_back
    assert trader.engine.live == {}
    looks = []
    whole = trader._risk_guard.watch
    monkeypatch.setattr(
        trader._risk_guard,
        "watch",
        lambda *look: (looks.append(world.clock.seconds), whole(*look)),
    )
    while trader.halt is None:
        assert world.clock.seconds < 1000
        trader.step()
        world.clock.sleep(2.0)
    # Trying again is patient, looking at the stops is not.
    waits = [later - sooner for sooner, later in itertools.pairwise(tries)]
    assert MOVE_AGAIN_SECONDS <= min(waits) <= max(waits) < MOVE_AGAIN_SECONDS + 3
    assert max(later - sooner for sooner, later in itertools.pairwise(looks)) < 3
    assert trader.held_back == ""
    (grid,) = ended(world)
    assert grid.id == old
    assert balances(world)["BTC"] < DUST
    assert world.audit().differences == []


def test_the_end_of_a_moved_grid_and_the_next_one_are_one_commit(make_world, monkeypatch):
    world = make_world(crash_after_a_move(46_000), at_end="hold")
    trader = moving(world)
    seen = []
    whole = Store.transaction

    def transaction(self, mode="IMMEDIATE"):
        reader = Store(world.config.state_directory, read_only=True)
        grids = list(reader.grid_runs())
        reader.close()
        seen.append((len(grids), sum(one.closed_ms is not None for one in grids)))
        return whole(self, mode)

    monkeypatch.setattr(Store, "transaction", transaction)
    go_on(world, trader, 10)
    assert set(seen) == {(1, 0), (2, 1)}


def test_coins_that_an_older_version_left_between_two_grids_are_no_health(make_world):
    world = make_world(crash_after_a_move(38_000), at_end="hold")
    trader = moving(world)
    while not ended(world):
        trader.step()
    (old,) = ended(world)
    assert old.result.base == LEFT
    world.power_off()
    # As the older version left it: the next grid had not begun.
    store = world.open_store()
    later = trader.grid_run.id
    with store.transaction() as connection:
        for table in ("orders", "legs", "progress"):
            statement = f"DELETE FROM {table} WHERE generation = ?"  # noqa: S608 - our own names
            connection.execute(statement, (later,))
        connection.execute("DELETE FROM generations WHERE id = ?", (later,))
    world.document |= {"stop": LIQUIDATE}
    world.clock.sleep(600)
    seen = []
    runner = world.runner()
    runner._workers[0].publish = lambda state, reason, _="": seen.append((state, reason))
    world.run(runner, 5)
    assert seen[0][0] == "waiting"
    assert "0.182817 BTC of a grid that moved are watched by no stop" in seen[0][1]


def test_a_bot_whose_grid_can_not_move_yet_is_not_healthy(make_world, monkeypatch):
    world = make_world(crash_after_a_move(46_000), at_end="hold")
    world.document |= DOWN
    whole, seen = start_grid.make_plan, []

    def make_plan(*args):
        if seen and len(list(world.store.grid_runs())) == 1 and world.clock.seconds < 300:
            raise UserError("grid.grids = 20 puts two lines on the same price")
        return whole(*args)

    monkeypatch.setattr(start_grid, "make_plan", make_plan)
    runner = world.runner()

    def after_step(_trader, _store):
        seen.append((runner.status()["state"], tuple(runner.health()["reasons"])))

    runner._workers[0]._after_step = after_step
    world.run(runner, 400)
    waited = ("waiting", ("BTC/USDT: grid.grids = 20 puts two lines on the same price",))
    assert seen.count(waited) > 20
    assert seen[-1] == ("trading", ())
    first, _ = grids(world)
    assert first.result.reason == "moved down"


# Cleared stops.


def resume(world: World, monkeypatch, *switches: str) -> int:
    monkeypatch.setattr("gridbot.commands.resume.load_config", lambda _path: world.config)
    return cli.main(["resume", "--config", "bot.toml", *switches])


def stopped(make_world, **flags: object) -> World:
    """A world in which a stop has ended the grid and kept the coins; the price is back since."""
    candles = path(50_000, 50_000, 46_000, 50_000, *[50_000] * 10, minutes=3)
    world = make_world(candles, at_end="hold", **flags)
    trader = trade(world, 14, stop={"loss_price": "46500"})
    assert trader.halt is not None
    (grid,) = ended(world)
    assert grid.result.base == LEFT
    assert grid.result.account == balances(world)["BTC"]
    return world


def sell_by_hand(world: World, quantity: str) -> None:
    broker = world.broker()
    broker.connect()
    price = broker.bid_price()
    place = Role.GRID, Side.SELL, 0, 1
    broker.place(
        Order("by-hand", "x", *place, price, Decimal(quantity), OrderState.INTENDED, None, 0)
    )


def reasons(world: World, seconds: float) -> list[str]:
    """Run the bot; why it waited."""
    runner, seen = world.runner(), []
    worker = runner._workers[0]
    publish = worker.publish

    def note(state, reason, cause=""):
        publish(state, reason, cause)
        if state == "waiting":
            assert runner.health()["reasons"] == [reason]
            seen.append(reason)

    worker.publish = note
    world.run(runner, seconds)
    return seen


def grids(world: World):
    reader = Store(world.config.state_directory, read_only=True)
    try:
        return list(reader.grid_runs())
    finally:
        reader.close()


def latest(world: World):
    return grids(world)[-1]


def test_a_cleared_stop_goes_on_with_what_it_left(make_world, monkeypatch, capsys):
    world = stopped(make_world)
    assert resume(world, monkeypatch) == 0
    said = capsys.readouterr().out
    assert "; a new grid begins with 0.182817 BTC and 0.975 USDT that the ended one left" in said
    assert reasons(world, 20) == []
    assert latest(world).carried == LEFT
    assert world.audit().differences == []


def test_coins_that_are_gone_are_not_taken_over(make_world, monkeypatch, capsys):
    world = stopped(make_world)
    sell_by_hand(world, "0.18281")
    assert resume(world, monkeypatch) == 0
    world.wire.requests.clear()
    (reason, *_) = reasons(world, 60)
    assert "would go on with 0.182817 BTC of the one before" in reason
    assert "the account has 0.000007 BTC" in reason
    assert ("POST", "order") not in world.wire.requests
    capsys.readouterr()
    assert resume(world, monkeypatch, "--take-nothing") == 0
    assert capsys.readouterr().out == "BTC/USDT: a new grid begins and takes nothing over\n"
    assert reasons(world, 20) == []
    grid = latest(world)
    assert (grid.carried, grid.investment) == (0, 9000)
    assert world.audit().differences == []
    assert resume(world, monkeypatch, "--take-nothing") == 1


@pytest.mark.parametrize(
    ("switch", "carried", "account"),
    [("--take-nothing", 0, Decimal("0.300007")), ("--take-over", LEFT, Decimal("0.300007"))],
)
def test_somebody_elses_coins_do_not_stand_in_for_those_that_are_gone(
    make_world, monkeypatch, switch, carried, account
):
    world = stopped(make_world, balances={"USDT": "10000", "BTC": "0.3"})
    sell_by_hand(world, "0.18281")
    assert resume(world, monkeypatch) == 0
    world.wire.requests.clear()
    (reason, *_) = reasons(world, 60)
    assert "the account has 0.300007 BTC, and had 0.482817 BTC when the grid before" in reason
    assert ("POST", "order") not in world.wire.requests
    # Only a person knows whose they were.
    assert resume(world, monkeypatch, switch) == 0
    assert reasons(world, 20) == []
    grid = latest(world)
    assert (grid.carried, grid.opening["BTC"]) == (carried, account)
    assert world.audit().differences == []


def test_a_stop_is_cleared_and_nothing_taken_over_at_once(make_world, monkeypatch, capsys):
    world = stopped(make_world)
    assert resume(world, monkeypatch, "--take-nothing") == 0
    assert "a new grid begins and takes nothing over" in capsys.readouterr().out
    assert reasons(world, 20) != []  # not enough USDT: the rest is in coins
    sell_by_hand(world, "0.18281")
    assert reasons(world, 20) == []
    assert latest(world).carried == 0


def test_a_grid_that_has_not_ended_can_not_be_told_what_to_leave(make_world, monkeypatch, capsys):
    world = make_world(path(50_000, 50_000, 46_000, minutes=3), at_end="hold")
    world.document["stop"] = {"loss_price": "46500"}
    trader = world.trader()
    while trader.wind_down is None:
        trader.step()
        world.clock.sleep(0.5)
    assert resume(world, monkeypatch, "--take-nothing") == 1
    assert "the grid has not ended yet" in capsys.readouterr().out
    assert world.store.open_halt("BTC/USDT") is not None
    assert resume(world, monkeypatch) == 0
    assert "begins once this one has ended, with what it leaves" in capsys.readouterr().out


def test_another_exchange_has_nothing_of_what_was_left(make_world, monkeypatch, capsys, tmp_path):
    world = stopped(make_world)
    # The owner has coins there as well, which the bot was never told of.
    (tmp_path / "second").mkdir()
    (tmp_path / "second.toml").write_text('[balances]\nUSDT = "10000"\nBTC = "0.5"\n')
    flags = {
        "state_directory": str(tmp_path / "second"),
        "api_key_file": str(tmp_path / "key"),
        "api_secret_file": str(tmp_path / "secret"),
        "candles": str(tmp_path / "candles.csv"),
    }
    first = world.wire.application
    second = build_api(load_exchange_config(tmp_path / "second.toml", flags), world.clock)
    world.wire.application = second
    world.document["exchange"]["name"] = "binanceus"
    world.document["stop"] = {}
    assert resume(world, monkeypatch) == 0
    said = capsys.readouterr().out
    assert "takes nothing over: exchange.name = binanceus, and the grid before ran with" in said
    assert reasons(world, 20) == []
    grid = latest(world)
    assert (grid.carried, grid.investment) == (0, 9000)
    balance = balances(world)
    bought = balance["BTC"] - Decimal("0.5")
    sells = [one for one in world.broker().open_orders() if one.side == "sell"]
    assert 0 < sum(one.quantity for one in sells) <= bought
    second.exchange.close()
    world.wire.application = first


def test_coins_that_are_no_longer_to_be_taken_over_begin_no_grid(make_world, monkeypatch):
    world = stopped(make_world)
    assert resume(world, monkeypatch) == 0
    trader = world.trader()
    broker = trader.session.broker
    ask = broker.latest_cursor

    def told_meanwhile():
        assert resume(world, monkeypatch, "--take-nothing") == 0
        return ask()

    broker.latest_cursor = told_meanwhile
    with pytest.raises(UserError, match="is not to be taken over any more"):
        trader.step()
    assert len(list(world.store.grid_runs())) == 1


def test_an_end_that_an_older_version_wrote_is_read(make_world):
    world = stopped(make_world)
    (grid,) = ended(world)
    with world.store.transaction() as connection:
        connection.execute("UPDATE generations SET closing = json_remove(closing, '$.account')")
    (again,) = ended(world)
    assert again == replace(grid, result=replace(grid.result, account=None))
