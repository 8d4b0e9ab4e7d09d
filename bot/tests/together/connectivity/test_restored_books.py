"""Books of last night on today's exchange: what they lack is taken over before anything is sent."""

import contextlib
from decimal import Decimal

import pytest
from gridbase.errors import MismatchError
from gridbot.core.orders import Order, OrderState, Role, Side
from gridbot.exchanges.port import BrokerError
from gridbot.store import back_up, restore

from .conftest import trading
from .worlds import WORLDS, StreamWorld


@pytest.fixture(params=WORLDS)
def world(tmp_path, request):
    one = WORLDS[request.param](tmp_path, trading.zigzag(120), at_end="hold")
    yield one
    one.close()


def trade(world, steps):
    trader = world.trader()
    for _ in range(steps):
        trader.step()
        world.clock.sleep(2.0)
    return trader


def backup(world):
    """A backup beside the bot that trades."""
    file = world.directory / "backup.sqlite3"
    back_up(world.config.state_directory, file)
    return file


def go_back(world, file):
    """The Pi is lost, and its books come from the backup; the exchange is as it is."""
    world.power_off()
    directory = world.config.state_directory
    for part in directory.iterdir():
        part.unlink()
    assert restore(directory, file) is None


def finish(world):
    """Let the market end; every trade is booked once, no order doubled, and nothing differs."""
    world.clock.sleep(10_000)
    trader = world.trader()
    world.settle(trader)
    trading.check_books(world, trader)
    report = world.audit()
    assert report.differences == []
    fills = [fill.trade_id for fill in world.store.fills(1)]
    assert len(fills) == len(set(fills)) == report.trades
    return report.trades


@pytest.mark.parametrize("steps", [3, 15])
@pytest.mark.parametrize("later", [1, 8, 60])
def test_what_traded_since_is_taken_over(world, steps, later, caplog):
    trade(world, steps)
    file = backup(world)
    trade(world, later)
    before = len(world.store.fills(1))
    go_back(world, file)
    sent = len(world.exchange_orders())
    assert len(world.open_store().fills(1)) <= before
    trader = world.trader()
    caplog.clear()
    trader.step()
    assert "newer than these books; they are taken over" in caplog.text
    assert len(world.store.fills(1)) >= before
    names = world.exchange_orders()
    assert len(names) == len(set(names)) >= sent
    assert finish(world) > 10


def test_no_name_is_used_again_where_no_order_is_open(world):
    """Nothing but trades shows that the books are old: Binance takes a closed order's name anew."""
    trade(world, 5)
    file = backup(world)
    trade(world, 40)
    world.power_off()
    broker = world.broker()
    broker.connect()
    for order in broker.open_orders():  # by hand
        broker.cancel(order.client_id)
    go_back(world, file)
    trader = world.trader()
    trader.step()
    names = world.exchange_orders()
    assert len(names) == len(set(names))
    finish(world)


@pytest.mark.parametrize("steps", range(0, 30, 3))
def test_a_cut_while_it_is_taken_over_loses_nothing(world, steps):
    trade(world, 5)
    file = backup(world)
    trade(world, 40)
    go_back(world, file)
    count = 0

    def cut(*_request):
        nonlocal count
        count += 1
        if count > steps:
            raise trading.Crash

    for _ in range(3):
        world.wire.before, count = cut, 0
        with contextlib.suppress(trading.Crash):
            world.trader().step()
    world.wire.before = lambda _method, _path: None
    finish(world)


def test_a_failing_exchange_leaves_it_for_later(world):
    """Until what the books lack is taken over, no order leaves."""
    trade(world, 5)
    file = backup(world)
    trade(world, 40)
    go_back(world, file)
    known = set(world.exchange_orders())
    trader = world.trader()
    world.wire.before = lambda _method, path: trading.lost() if path == "allOrders" else None
    if isinstance(world, StreamWorld):
        world.network.on_send = lambda text: "lost" if "allOrders" in text else None
    for _ in range(6):
        with contextlib.suppress(BrokerError):
            trader.step()
        world.clock.sleep(5.0)
    world.wire.before = lambda _method, _path: None
    if isinstance(world, StreamWorld):
        world.network.on_send = lambda _text: None
    assert set(world.exchange_orders()) == known
    finish(world)


def test_a_grid_that_began_since_is_refused(world):
    trade(world, 5)
    file = backup(world)
    trader = trade(world, 20)
    trader.close_grid(60.0)
    world.document["grid"]["investment"] = "3000"
    trade(world, 5)
    world.document["grid"]["investment"] = "9000"
    go_back(world, file)
    known = world.exchange_orders()
    with pytest.raises(MismatchError, match=r"not in its books|do not lead to"):
        world.trader().step()
    assert world.exchange_orders() == known


def test_a_kill_switch_that_fired_since_stays_fired(world):
    trade(world, 5)
    file = backup(world)
    trade(world, 30)
    halt = {"reason_code": "stop.loss_price", "text": "the price fell", "price": Decimal(47000)}
    world.store.halt("BTC/USDT", at_ms=world.clock.now_ms(), **halt)
    world.power_off()
    replaced = restore(world.config.state_directory, file)
    assert replaced.stat().st_mode & 0o777 == 0o600
    trader = world.trader()
    while trader.step():
        world.clock.sleep(2.0)
    assert trader.halt.text == "the price fell"
    grid_run = world.store.grid_run("BTC/USDT")
    assert grid_run.closed_ms is not None
    broker = world.broker()
    broker.connect()
    assert broker.open_orders() == []
    assert world.audit().differences == []


def test_trades_of_a_persons_own_do_not_disturb(world):
    trade(world, 5)
    file = backup(world)
    trade(world, 10)
    broker = world.broker()
    broker.connect()
    price = Decimal(52900)
    own = Order("mine-1", "mine", Role.GRID, Side.BUY, 0, 1, price, Decimal("0.001"),
                OrderState.INTENDED, None, 0)  # fmt: skip
    world.wire.database = None
    broker.place(own)
    go_back(world, file)
    world.trader().step()
    world.clock.sleep(10_000)
    trader = world.trader()
    world.settle(trader)
    names = world.exchange_orders()
    assert len(names) == len(set(names))
    assert "mine-1" in names


def test_trades_of_a_persons_own_while_the_bot_is_off_do_not_disturb(world):
    """Books that were not restored: what they lack is nothing of the bot's."""
    trade(world, 5)
    world.power_off()
    broker = world.broker()
    broker.connect()
    own = Order("mine-1", "mine", Role.GRID, Side.BUY, 0, 1, Decimal(52900), Decimal("0.001"),
                OrderState.INTENDED, None, 0)  # fmt: skip
    broker.place(own)
    world.clock.sleep(10_000)
    trader = world.trader()
    world.settle(trader)
    trading.check_books(world, trader)
    assert "mine-1" in world.exchange_orders()
