"""A person pauses a grid, or ends it, beside the bot that runs."""

from decimal import Decimal

import pytest
from gridbot import cli
from gridbot.core.orders import OrderState
from gridbot.exchanges.port import BrokerError
from gridbot.service.grid_worker import GridWorker
from gridbot.trading.trader import Trader

from .conftest import unreachable, zigzag
from .test_policies import FALL, balances, ended, path


@pytest.fixture
def say(monkeypatch, capsys):
    """Run a command beside the bot of a world; its exit status, and what it says."""

    def said(world, *words):
        for name in ("pause", "flatten", "resume"):
            monkeypatch.setattr(f"gridbot.commands.{name}.load_config", lambda _: world.config)
        capsys.readouterr()
        status = cli.main([*words, "--config", "bot.toml"])
        return status, capsys.readouterr().out

    return said


def step(world, trader: Trader, seconds: float) -> None:
    until = world.clock.seconds + seconds
    while world.clock.seconds < until:
        again = trader.step()
        world.clock.sleep(0.25 if again else 2.0)


def fail(world, trader: Trader, wanted: str) -> None:
    """A step whose requests of this method do not arrive."""
    world.wire.before = lambda method, _path: unreachable() if method == wanted else None
    with pytest.raises(BrokerError, match="cannot be reached"):
        trader.step()
    world.wire.before = lambda *_: None


def is_equal(world, trader: Trader) -> bool:
    """Whether the books are the exchange's, at this instant."""
    while trader.step():
        pass
    return world.audit().differences == []


def running(make_world, candles=None, **settings):
    world = make_world(zigzag() if candles is None else candles, **settings)
    trader = world.trader()
    step(world, trader, 6)
    assert trader.engine.grid_started
    return world, trader


def placed(world) -> int:
    return world.wire.requests.count(("POST", "order"))


def intended(trader: Trader) -> int:
    return sum(order.state is OrderState.INTENDED for order in trader.engine.live.values())


def test_a_paused_grid_sends_nothing_and_books_what_fills(make_world, say):
    world, trader = running(make_world)
    assert say(world, "pause", "--reason", "holidays") == (
        0,
        "BTC/USDT: paused; open orders stay, and may fill\n",
    )
    sent, trades = placed(world), trader.engine.books.buys + trader.engine.books.sells
    step(world, trader, 120)
    assert placed(world) == sent
    filled = trader.engine.books.buys + trader.engine.books.sells - trades
    assert filled > 0
    assert len(world.broker().open_orders()) == len(trader.engine.live) - intended(trader) > 0
    assert intended(trader) > 0
    assert trader.paused.startswith("paused by hand since ")
    assert trader.paused.endswith(": holidays")
    assert say(world, "resume") == (0, "BTC/USDT: goes on after its pause (holidays)\n")
    step(world, trader, 6)
    assert is_equal(world, trader)
    assert placed(world) > sent
    assert intended(trader) == 0


@pytest.mark.parametrize("words", [("pause",), ("flatten", "--yes")])
def test_what_is_said_in_the_middle_of_a_step_counts(make_world, say, words):
    world = make_world(zigzag())
    trader = world.trader()
    fail(world, trader, "POST")
    say(world, "pause")
    step(world, trader, 4)
    say(world, "resume")
    orders = []

    def speak(method, path):
        if (method, path) == ("POST", "order"):
            orders.append(path)
            if len(orders) == 2:  # the first one buys the base
                say(world, *words)

    world.wire.before = speak
    step(world, trader, 20)
    assert len(orders) == 2


def test_a_pause_lasts_over_a_restart(make_world, say):
    world, _ = running(make_world)
    say(world, "pause")
    sent = placed(world)
    step(world, world.trader(), 60)
    assert placed(world) == sent
    assert say(world, "pause") == (
        1,
        "BTC/USDT: was paused before; open orders stay, and may fill\n",
    )


def test_a_paused_grid_may_take_its_orders_back_and_place_them_again(make_world, say):
    world, trader = running(make_world)
    say(world, "pause")
    status, text = say(world, "pause", "--cancel")
    assert (status, text) == (0, "BTC/USDT: paused; open orders are taken back\n")
    sent = placed(world)
    step(world, trader, 30)
    assert world.broker().open_orders() == []
    assert placed(world) == sent
    assert intended(trader) == len(trader.engine.live)
    say(world, "resume")
    step(world, trader, 10)
    assert is_equal(world, trader)
    assert len(world.broker().open_orders()) == len(trader.engine.live)


def test_a_first_grid_waits_as_long_as_it_is_paused(make_world, say):
    world = make_world(zigzag())
    trader = world.trader()
    fail(world, trader, "POST")
    assert trader.engine is not None
    say(world, "pause")
    sent = placed(world)
    step(world, trader, 30)
    assert placed(world) == sent
    assert not trader.engine.grid_started
    say(world, "resume")
    step(world, trader, 10)
    assert trader.engine.grid_started


def test_a_refused_purchase_is_not_planned_again_while_it_is_paused(make_world, say):
    refused = {"kind": "reject", "method": "POST", "path": "order", "count": 1}
    world = make_world(zigzag(), faults={"rules": [refused]})
    trader = world.trader()
    with pytest.raises(BrokerError):
        trader.step()
    assert trader.engine.waiting_for_price
    say(world, "pause")
    planned = len(world.store.orders(1))
    step(world, trader, 30)
    assert len(world.store.orders(1)) == planned
    say(world, "resume")
    step(world, trader, 10)
    assert trader.engine.grid_started


def test_a_grid_may_be_paused_and_go_on_again_and_again(make_world, say, caplog):
    caplog.set_level("INFO")
    world, trader = running(make_world, path(50_000, 50_000), at_end="hold")
    for _ in range(3):
        say(world, "pause", "--cancel")
        step(world, trader, 6)
        assert intended(trader) == world.grid.grid.grids
        say(world, "resume")
        step(world, trader, 6)
        assert intended(trader) == 0  # what the bot itself has canceled does not have to wait
    assert caplog.text.count("BTC/USDT paused") == caplog.text.count("BTC/USDT goes on") == 3


def test_flatten_ends_a_grid_that_moves(make_world, say):
    candles = path(50_000, 50_000, 56_000, minutes=3)
    world, _ = running(make_world, candles, at_end="hold")
    world.document |= {"reposition": {"direction": "up", "cooldown_minutes": 0}}
    trader = world.trader()
    while trader.wind_down is None:
        trader.step()
        world.clock.sleep(1.0)
    say(world, "pause")
    step(world, trader, 20)
    assert ended(world) == []
    say(world, "flatten", "--yes", "--sell")
    step(world, trader, 40)
    (grid,) = ended(world)
    assert grid.result.next_range is None
    assert grid.result.base < Decimal("0.0001")


def test_a_range_does_not_move_while_it_is_paused(make_world, say):
    candles = path(50_000, 50_000, 56_000, minutes=3)
    world, trader = running(make_world, candles, at_end="hold")
    world.document |= {"reposition": {"direction": "up", "cooldown_minutes": 0}}
    trader = world.trader()
    say(world, "pause")
    step(world, trader, 120)
    assert ended(world) == []
    say(world, "resume")
    step(world, trader, 120)
    assert len(ended(world)) == 1


def test_a_kill_switch_fires_for_a_paused_grid(make_world, say):
    world, _ = running(make_world, FALL, at_end="hold")
    say(world, "pause")
    world.document |= {"stop": {"loss_price": "46500", "liquidate": True}}
    step(world, world.trader(), 60)
    (grid,) = ended(world)
    assert grid.result.base < Decimal("0.00001")
    assert world.broker().open_orders() == []


@pytest.mark.parametrize("sell", [False, True])
def test_flatten_ends_a_grid_for_good(make_world, say, sell):
    world, trader = running(make_world)
    option = ["--sell"] * sell
    held, count = trader.engine.books.base_held, len(trader.engine.live)
    status, text = say(world, "flatten", *option)
    does = f"cancel {count} open orders and {'sell' if sell else 'keep'} {held.normalize():f} BTC"
    assert (status, text) == (1, f"BTC/USDT: would {does}; add --yes to do it\n")
    step(world, trader, 4)
    assert trader.engine is not None
    status, text = say(world, "flatten", *option, "--yes", "--reason", "sold the house")
    assert (status, text.count("is told to")) == (0, 1)
    step(world, trader, 40)
    assert trader.engine is None
    assert trader.halt.text == "flattened by hand: sold the house"
    assert world.broker().open_orders() == []
    (grid,) = ended(world)
    assert (balances(world).get("BTC", Decimal(0)) > Decimal("0.001")) is not sell
    assert grid.result.takes_over
    assert world.audit().differences == []
    assert say(world, "flatten", "--yes")[0] == 1
    say(world, "resume")
    step(world, trader, 10)
    assert trader.engine.grid_started
    assert is_equal(world, trader)


def test_a_grid_that_is_half_ended_ends_though_the_word_is_taken_back(make_world, say):
    world, _ = running(make_world)
    say(world, "flatten", "--yes")
    trader = world.trader()
    fail(world, trader, "DELETE")
    say(world, "resume")
    trader = world.trader()
    step(world, trader, 20)
    assert len(ended(world)) == 1
    assert is_equal(world, trader)


def test_nothing_is_flattened_where_no_grid_runs(make_world, say):
    world = make_world(zigzag())
    world.trader()  # has made its books
    assert say(world, "flatten", "--yes") == (1, "BTC/USDT: nothing to do: no grid runs\n")


def test_a_reason_is_one_line(make_world, monkeypatch, capsys):
    world = make_world(zigzag())
    for name in ("pause", "flatten"):
        monkeypatch.setattr(f"gridbot.commands.{name}.load_config", lambda _: world.config)
        assert cli.main([name, "--config", "bot.toml", "--reason", "two\nlines"]) == 2
        said = capsys.readouterr().err
        assert said == f"gridbot {name}: --reason needs one line of printable characters\n"


def test_the_page_and_status_say_paused(make_world, say):
    world, _ = running(make_world)
    say(world, "pause", "--reason", "holidays")
    worker = GridWorker(world.config.account, world.config.grids[0], world.broker(), world.clock)
    worker.step(lambda: world.store)
    shown = worker.document()
    assert shown["state"] == "paused"
    assert shown["paused_by_hand"]
    assert shown["reason"].endswith(": holidays")
    assert worker.troubles() == []
