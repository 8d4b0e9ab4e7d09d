"""The stream of the page: one chain of changes for all who look, at a bounded pace."""

import json

import pytest
from gridbot.service.live import BURST, BYTES_PER_SECOND, PRICE_SECONDS, Pace, is_urgent
from gridbot.service.web import Page

from .test_traffic import MOST_BYTES, Tab, fresh, step


class Listener:
    """Follows the chain as the page's script does."""

    def __init__(self, page, world):
        self.page, self.world = page, world
        self.events, self.at = [], []
        page.channel.connect(self._hear)
        page.channel.clients += 1
        self.tab = Tab(page)
        self.tab.ask()

    def _hear(self, _, event):
        if not event.startswith(b"event: changes"):
            return
        news = json.loads(event.partition(b"data: ")[2])
        self.events.append(len(event))
        self.at.append(self.world.clock.seconds)
        if news["from"] == self.tab._tag:
            self.tab._tag = news["to"]
            self.tab._take("226", news["changes"])
        elif news["to"] != self.tab._tag:
            self.tab.ask()


@pytest.fixture
def bot(make_world):
    world = make_world()
    runner = world.runner()
    step(world, runner, 20)
    page = Page(runner)
    live = page.live(lambda: runner.revision, lambda: world.clock.seconds)
    return world, runner, page, live


def look(world, runner, live, seconds):
    until = world.clock.seconds + seconds
    while world.clock.seconds < until:
        step(world, runner, 0.5)
        live.look()


def test_who_follows_the_chain_has_what_is_there(bot):
    world, runner, page, live = bot
    listener = Listener(page, world)
    live._pace.allows = lambda *_, **__: True  # nothing is held back
    for _ in range(40):
        look(world, runner, live, 3)
        live.look()
        assert listener.tab.document == fresh(Page(runner))
    assert len(listener.events) > 20
    assert listener.tab.answers == ["200"]  # not asked again


def test_also_while_others_ask(bot):
    """Who asks for the document sees a state that the stream has not told yet: then it does."""
    world, runner, page, live = bot
    first, second = Listener(page, world), None
    for _ in range(30):
        look(world, runner, live, 1)
        second = Tab(page)
        second.ask()
        assert first.tab._tag == second._tag
        assert first.tab.document == second.document
    assert first.tab.answers == ["200"]


def test_a_fill_is_told_at_once(bot):
    world, runner, page, live = bot
    listener = Listener(page, world)
    fills, told = None, 0
    while live._pace._bytes > BURST / 10:  # it fills more orders here than a market does
        step(world, runner, 0.5)
        now = runner.status()["grids"][0]["recent_fills"]
        changed, fills = fills is not None and now != fills, now
        live.look()
        if changed:
            told += 1
            shown = listener.tab.document["grids"][0]["fills"]
            assert [one["time"] for one in shown] == [one["time"] for one in now]
    assert told > 10


def test_nothing_is_made_where_nobody_looks(bot):
    _, _, page, live = bot
    live._build = None
    live.look()
    assert page.versions["/api/page"]._kept == {}


def test_a_listening_tab_costs_as_little_as_one_that_asks(bot):
    world, runner, page, live = bot
    listener, begun = Listener(page, world), world.clock.seconds
    look(world, runner, live, 900)
    spent = sum(listener.events)
    print(f"{len(listener.events)} events, {spent} bytes in 900 s")
    assert spent < BURST + BYTES_PER_SECOND * (world.clock.seconds - begun) + max(listener.events)
    assert BURST + BYTES_PER_SECOND * 86_400 < MOST_BYTES


def test_the_price_waits_and_a_fill_does_not():
    pace = Pace(0)
    assert not pace.allows(1, urgent=False)
    assert pace.allows(1, urgent=True)
    assert pace.allows(PRICE_SECONDS, urgent=False)
    pace.spend(500, 10)
    assert not pace.allows(10 + PRICE_SECONDS / 2, urgent=False)
    pace.spend(BURST * 0.6, 20)
    assert not pace.allows(23, urgent=False)
    assert pace.allows(23, urgent=True)
    pace.spend(BURST, 30)
    assert not pace.allows(31, urgent=True)
    assert pace.allows(31 + BURST / BYTES_PER_SECOND, urgent=True)


def test_what_is_urgent():
    assert is_urgent([(["grids", 0, "fills"], [])])
    assert is_urgent([(["grids", 1, "lines", 3, 2], "buy")])
    assert is_urgent([(["state", 0], "halted")])
    assert is_urgent([(["halts"], [])])
    assert is_urgent([([], {})])
    assert not is_urgent([(["grids", 0, "price_text"], "1"), (["grids", 0, "range", 1], "2")])
