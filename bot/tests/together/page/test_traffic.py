"""What an open tab costs: requests as the page makes them, to the application behind it."""

import gzip
import json

import pytest
from gridbot.service.web import Page

MOST_BYTES = 20e6  # of a day
DAY_SECONDS = 86_400
# As the page has them; `test_document.py` compares.
BURST, BYTES_PER_SECOND, HEAD_BYTES = 100_000, 220, 1000

COARSE = {"allow_losing_pairs": True}  # lots of 0.00001 BTC are coarse for so many lines


class Tab:
    """Asks as the page's script does, and counts the bytes of both directions."""

    def __init__(self, application) -> None:
        self._application = application
        self._tag = ""
        self.document = None
        self.bytes = 0
        self.answers: list[str] = []

    def ask(self, path: str = "/api/page", *, deltas: bool = True) -> None:
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "HTTP_ACCEPT_ENCODING": "gzip, br"}
        if self._tag:
            environ["HTTP_IF_NONE_MATCH"] = self._tag
            if deltas:
                environ["HTTP_A_IM"] = "gridberry-changes"
        got = {}
        body = b"".join(
            self._application(
                environ, lambda status, headers: got.update(status=status, headers=dict(headers))
            )
        )
        head = sum(len(name) + len(value) + 4 for name, value in got["headers"].items())
        assert head + 150 < HEAD_BYTES / 2  # the server's own Date, Server; the other half asks
        self.bytes += HEAD_BYTES + len(body)
        status, self._tag = got["status"][:3], got["headers"]["ETag"]
        self.answers.append(status)
        if status == "304":
            assert body == b""
            assert "Content-Length" not in got["headers"]
            return
        assert got["headers"]["Content-Length"] == str(len(body))
        if got["headers"].get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self._take(status, json.loads(body))

    def _take(self, status: str, news) -> None:
        if status == "200":
            self.document = news
            return
        assert status == "226"
        holder = {"now": self.document}
        for path, part in news:
            *way, last = ["now", *path]
            at = holder
            for key in way:
                at = at[key]
            at[last] = part
        self.document = holder["now"]


def fresh(application, path="/api/page"):
    """The whole document, as somebody gets it who has none."""
    tab = Tab(application)
    tab.ask(path)
    return tab.document


def step(world, runner, seconds):
    until = world.clock.seconds + seconds
    while world.clock.seconds < until:
        world.clock.sleep(runner._step())
        if world.clock.seconds >= runner._books._due:
            runner._books.read()  # here, not in a thread: two looks at one moment are the same


@pytest.fixture
def several(make_world):
    symbols = "\n".join(
        f'[[symbols]]\nsymbol = "{coin}/USDT"\nseed = {seed}\nstart_price = "50000"'
        for seed, coin in enumerate(("BTC", "ETH", "LTC"))
    )

    def make():
        world = make_world(symbols=symbols)
        del world.document["market"], world.document["grid"]
        grid = {"lower": "47000", "upper": "53000", "grids": 40, "investment": "3000"} | COARSE
        world.document["grids"] = [
            {"symbol": f"{coin}/USDT", **grid} for coin in ("BTC", "ETH", "LTC")
        ]
        return world

    return make


def market(make_world, grids):
    world = make_world()
    world.document["grid"] |= {"grids": grids, "lower": "36000", "upper": "66000"} | COARSE
    return world


@pytest.mark.parametrize("shape", ["40 lines", "199 lines", "three grids"])
def test_a_tab_costs_at_most_20_megabytes_a_day(make_world, several, shape):
    world = several() if shape == "three grids" else market(make_world, int(shape.split()[0]) - 1)
    runner = world.runner()
    step(world, runner, 30)
    tab = Tab(Page(runner))
    tab.ask("/api/page")
    first, begun = tab.bytes, world.clock.seconds
    # Every price is another one, and the grid trades all the time: the dearest of days.
    while world.clock.seconds < begun + 600:
        step(world, runner, 2)
        if tab.bytes < BURST + BYTES_PER_SECOND * (world.clock.seconds - begun):
            tab.ask()
            assert tab.document == fresh(Page(runner))
    asked = len(tab.answers) - 1
    each = (tab.bytes - first) / asked
    print(f"{shape}: first {first} bytes, then {each:.0f} bytes each, {asked} in 600 s")
    assert tab.answers.count("226") > asked / 2
    assert each < 4 * BYTES_PER_SECOND * 5  # within the bound every twenty seconds or sooner
    assert BURST + BYTES_PER_SECOND * DAY_SECONDS < MOST_BYTES


def test_what_has_not_changed_is_not_sent_again(make_world):
    world = make_world()
    runner = world.runner()
    step(world, runner, 70)
    world.clock.sleep(60 - world.clock.seconds % 60)
    for path in ("/api/page", "/api/status", "/api/history", "/api/books"):
        tab = Tab(Page(runner))
        tab.ask(path)
        world.clock.sleep(1)  # time alone is nothing new
        tab.ask(path)
        assert tab.answers == ["200", "304"], path


def test_changes_come_alone_only_to_who_understands_them(make_world):
    world = make_world()
    runner = world.runner()
    step(world, runner, 20)
    application = Page(runner)
    tab = Tab(application)
    tab.ask("/api/status")
    step(world, runner, 30)
    tab.ask("/api/status", deltas=False)
    step(world, runner, 30)
    tab.ask("/api/status")
    assert tab.answers == ["200", "200", "226"]
    assert tab.document == json.loads(json.dumps(runner.status()))


def test_a_state_that_is_long_gone_gets_all_of_the_document(make_world):
    world = make_world()
    runner = world.runner()
    step(world, runner, 20)
    application = Page(runner)
    tab, other = Tab(application), Tab(application)
    tab.ask()
    while other.answers.count("200") + other.answers.count("226") < 12:
        step(world, runner, 8)
        other.ask()
    tab.ask()
    assert tab.answers == ["200", "200"]
    assert tab.document == other.document
