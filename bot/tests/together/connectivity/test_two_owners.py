"""A bot was moved, its old Pi could not be fenced, and boots by itself later."""

import pytest
from gridbase.errors import MismatchError
from gridbot.store import FILE_NAME, Store, back_up, restore
from gridbot.trading.session import Session
from gridbot.trading.trader import Trader

from .conftest import trading
from .worlds import WORLDS


@pytest.fixture(params=WORLDS)
def world(tmp_path, request):
    one = WORLDS[request.param](tmp_path, trading.zigzag(120), at_end="hold")
    yield one
    one.close()


@pytest.mark.parametrize("later", [6, 20])
def test_the_old_bot_stops_at_orders_that_its_books_do_not_have(world, later):
    world.wire.database = None  # the file of one is not that of the other
    moved = world.trader()
    for _ in range(5):
        moved.step()
        world.clock.sleep(2.0)
    old_place = world.directory / "old"
    old_place.mkdir()
    back_up(world.config.state_directory, old_place / FILE_NAME)
    before = len(world.exchange_orders())
    for _ in range(later):
        moved.step()
        world.clock.sleep(2.0)
    assert len(world.exchange_orders()) > before

    config, store = world.config, Store(old_place)
    old = Trader(Session(config.account, config.grids[0], world.broker(), store, world.clock))
    for _ in range(40):
        with pytest.raises(MismatchError, match="which were not restored: another bot has them"):
            old.step()
        world.clock.sleep(1.0)
        moved.step()
        world.clock.sleep(1.0)
    store.close()
    trading.check_books(world, moved)
    world.clock.sleep(10_000)
    world.settle(moved)
    assert world.audit().differences == []


def test_the_mark_of_a_restore_goes_once_the_books_agree(world):
    world.wire.database = None
    world.trader().step()
    copy = world.directory / "copy"
    back_up(world.config.state_directory, copy)
    world.power_off()
    restore(world.config.state_directory, copy)
    assert [path.name for path in world.config.state_directory.glob("restored-*")] == ["restored-1"]
    world.trader().step()
    assert not list(world.config.state_directory.glob("restored-*"))
