"""When the exchange is asked for orders that the books lack, and which ones those are."""

from types import SimpleNamespace

import pytest
from gridbase.errors import MismatchError
from gridbot.store import restored
from gridbot.trading.newer_orders import find_newer, refuse_rest

TAG = "k00005"


class Books:
    """A session whose exchange has some orders that its books do not know, and counts questions."""

    def __init__(self, directory, *names):
        self.names = names
        self.asked = 0
        self.compared, self.newer = False, None
        self.grid_run = SimpleNamespace(id=1, tag=TAG, symbol="BTC/USDT")
        self.account = SimpleNamespace(bot_name="pi1")
        self.config = SimpleNamespace(base="BTC", quote="USDT")
        self.store = SimpleNamespace(
            directory=directory, orders=lambda _: [], knows=lambda name: name.endswith("-known")
        )
        self.broker = SimpleNamespace(orders_since=self._orders_since)

    def _orders_since(self, _accepted):
        self.asked += 1
        return [SimpleNamespace(client_id=name) for name in self.names]


@pytest.fixture
def books(tmp_path):
    """Makes books that were restored, of an exchange with these orders."""
    restored(tmp_path, 1).touch()
    return lambda *names: Books(tmp_path, *names)


def test_newer_orders_are_the_bots_of_this_grid_and_later_ones(books):
    mine = [f"pi1-BTCUSDT-{tag}-3s1" for tag in (TAG, "k00006")]
    others = ["pi1-BTCUSDT-k00004-3s1", f"pi2-BTCUSDT-{TAG}-3s1", f"pi1-BTCUSDT-{TAG}-known", "x"]
    session = books(*mine, *others)
    find_newer(session)
    assert list(session.newer) == mine


@pytest.mark.parametrize("names", [(), (f"pi1-BTCUSDT-{TAG}-3s1",)])
def test_they_are_asked_for_once(books, names):
    session = books(*names)
    for _ in range(2):
        find_newer(session)
    assert session.asked == 1
    agreed = books(*names)
    agreed.compared = True
    find_newer(agreed)
    assert agreed.asked == 0
    none = books(*names)
    none.grid_run = None
    find_newer(none)
    assert none.asked == 0


def test_after_a_refusal_they_are_asked_for_again(books):
    session = books(f"pi1-BTCUSDT-{TAG}-3s1")
    find_newer(session)
    with pytest.raises(MismatchError, match="1 orders of bot_name = pi1"):
        refuse_rest(session)
    find_newer(session)
    assert session.asked == 2
    for newer in (None, {}):
        session.newer = newer
        refuse_rest(session)


def test_books_that_were_not_restored_lack_nothing_of_their_own(tmp_path):
    session = Books(tmp_path, "mine-1")
    find_newer(session)
    assert session.newer == {}
    with pytest.raises(MismatchError, match="another bot has them"):
        find_newer(Books(tmp_path, f"pi1-BTCUSDT-{TAG}-3s1"))
