"""Sixteen states of the page in Chromium: numbers are those of exchange and books, nothing is cut.

Each state is a real bot's, with a practice exchange of its own; its own web server serves it. What
the page says is compared with what the exchange holds and what the stored trades come to, not with
the document that the page was given.

    python -m tests.browser                                     # installs Playwright, runs this
    GRIDBERRY_PICTURES=docs/pictures python -m tests.browser    # and writes pictures
"""

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from email.utils import format_datetime
from pathlib import Path

import pytest
from gridbase.http import WebServer
from gridbot.accounting.profit_report import By, make_report, total
from gridbot.accounting.trade_history import trades
from gridbot.service.bot import Runner
from gridbot.service.status import RECENT_FILLS
from gridbot.service.web import Page
from gridbot.store import Store

from bot.tests.together.trading.conftest import World, unreachable, zigzag
from bot.tests.together.trading.test_policies import DOWNTREND, FALL, TREND, path

D = Decimal
THIN = "\u202f"
SERIOUS = {"serious", "critical"}
NUMBER = re.compile(rf"-?[\d{THIN}]+(?:\.\d+)?")


@dataclass
class State:
    """A state of a bot.

    Attributes:
        world: exchange and bot; time stands still while the page is looked at.
        runner: the bot.
        badge: what the page calls the state, and how it draws it.
        grid: whether a grid runs whose numbers can be compared.
        told: words that must be on the page.
        silent: whether the bot stops answering once the page has been shown.
    """

    world: World
    runner: Runner
    badge: tuple[str, str]
    grid: bool = True
    told: tuple[str, ...] = ()
    silent: bool = False
    symbols: list[str] = field(default_factory=lambda: ["BTC/USDT"])


Make = Callable[..., World]


def step(world: World, runner: Runner, seconds: float, until: str = "") -> Runner:
    end = world.clock.seconds + seconds
    while world.clock.seconds < end and not (until and runner.status()["state"] == until):
        world.clock.sleep(runner._step())
    runner._books.read()
    return runner


def begun(world: World, seconds: float, until: str = "", **document: object) -> Runner:
    world.document |= document
    return step(world, world.runner(), seconds, until)


def scaled(price: str, decimals: int) -> tuple[list[str], dict[str, str]]:
    """Candles of the zigzag around another price, and a grid around it."""
    head, *rows = zigzag()
    factor, smallest = D(price) / 50_000, D(1).scaleb(-decimals)
    told = [head]
    for row in rows:
        at, *prices, volume = row.split(",")
        cut = (str((D(one) * factor).quantize(smallest)) for one in prices)
        told.append(",".join((at, *(f"{D(one):f}" for one in cut), volume)))
    ends = {"lower": D(47_000) * factor, "upper": D(53_000) * factor}
    return told, {name: f"{end.quantize(smallest):f}" for name, end in ends.items()}


def priced(make: Make, price: str, decimals: int) -> State:
    candles, ends = scaled(price, decimals)
    world = make(candles)
    world.document["grid"] |= ends | {"allow_losing_pairs": True}
    return State(world, begun(world, 60), ("● trading", "badge good"))


def starting(make: Make) -> State:
    world = make()
    told = ("not asked yet", "prices not known yet")
    return State(world, world.runner(), ("● starting", "badge"), grid=False, told=told)


def trading(make: Make) -> State:
    return priced(make, "50000", 2)


def cheap(make: Make) -> State:
    return priced(make, "0.00001353", 8)


def dear(make: Make) -> State:
    return priced(make, "1568181.82", 2)


def days(make: Make) -> State:
    world = make()
    for _ in range(2):
        begun(world, 60)
        world.clock.sleep(1.5 * 86_400)
    return State(world, begun(world, 60), ("● trading", "badge good"), told=("Profit by day",))


def paused_buys(make: Make) -> State:
    world = make(path(50_000, 50_000, 48_000, 48_400, 48_000, minutes=40), at_end="hold")
    begun(world, 60)
    runner = begun(world, 30, trend=TREND)
    return State(world, runner, ("● trading, buys paused", "badge"), told=("downtrend: ADX",))


def held_back(make: Make) -> State:
    world = make(DOWNTREND, at_end="hold")
    begun(world, 80)
    runner = begun(world, 55, trend=TREND)
    return State(world, runner, ("● trading, buys paused", "badge"))


def waits_to_begin(make: Make) -> State:
    world = make(path(50_000, 50_000, 48_000, minutes=30), at_end="hold")
    world.clock.sleep(45)
    runner = begun(world, 6, trend=TREND)
    told = ("The next grid waits: ",)
    return State(world, runner, ("● paused", "badge"), grid=False, told=told)


def ending(make: Make) -> State:
    world = make(FALL, at_end="hold")
    runner = begun(world, 60, until="ending", stop={"loss_price": "46500"})
    told = ("Now the grid ends: price ",)
    return State(world, runner, ("● ending", "badge"), grid=False, told=told)


def sold(make: Make) -> State:
    stop = {"loss_price": "46500", "liquidate": True}
    world = make(FALL, at_end="hold")
    told = ("Kill switch: BTC/USDT does not trade", "the coins held are sold", "gridbot resume")
    runner = begun(world, 60, stop=stop)
    return State(world, runner, ("● halted", "badge bad"), grid=False, told=told)


def kept_and_away(make: Make) -> State:
    world = make(FALL, at_end="hold")
    runner = begun(world, 60, stop={"loss_price": "46500"})
    world.wire.before = unreachable
    step(world, runner, 30)
    told = ("Kill switch: BTC/USDT does not trade", "the coins held are kept")
    return State(world, runner, ("● waiting", "badge bad"), grid=False, told=told)


def several(make: Make) -> State:
    coins = ("BTC", "ETH", "LTC")
    symbols = "\n".join(
        f'[[symbols]]\nsymbol = "{coin}/USDT"\nseed = {seed}\nstart_price = "50000"'
        for seed, coin in enumerate(coins)
    )
    world = make(symbols=symbols)
    del world.document["market"], world.document["grid"]
    grid = {"lower": "47000", "upper": "53000", "grids": 40, "investment": "3000"}
    grid |= {"allow_losing_pairs": True}
    names = [f"{coin}/USDT" for coin in coins]
    world.document["grids"] = [{"symbol": name, **grid} for name in names]
    told = ("Total profit of 3 running grids", "made-up prices: profit here means nothing")
    runner = begun(world, 60)
    return State(world, runner, ("● trading", "badge good"), told=told, symbols=names)


def many_lines(make: Make) -> State:
    world = make()
    world.document["grid"] |= {"grids": 198, "lower": "36000", "upper": "66000"}
    world.document["grid"]["allow_losing_pairs"] = True
    return State(world, begun(world, 60), ("● trading", "badge good"))


def far_away(make: Make) -> State:
    world = make(path(50_000, 50_000, 61_000, minutes=3), at_end="hold")
    told = ("% above the range 47 000 to 53 000",)
    return State(world, begun(world, 90), ("● trading", "badge good"), told=told)


def exchange_away(make: Make) -> State:
    world = make()
    runner = begun(world, 60)
    world.wire.before = unreachable
    step(world, runner, 200)
    told = ("Old: seen ",)
    return State(world, runner, ("● waiting", "badge"), grid=False, told=told)


def no_answer(make: Make) -> State:
    state = trading(make)
    state.silent = True
    return state


STATES = (
    *(starting, trading, cheap, dear, days, paused_buys, held_back, waits_to_begin, ending),
    *(sold, kept_and_away, several, many_lines, far_away, exchange_away, no_answer),
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed here")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs Debian's package chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def served(state: State) -> Iterator[tuple[str, Callable[[], None]]]:
    """The bot's page at an address, on the bot's clock; and what ends its answers."""
    application = Page(state.runner)
    answering = threading.Event()
    answering.set()

    def at_its_time(environ, start_response):
        if not answering.is_set():
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]

        def begin(status, headers):
            now = datetime.fromtimestamp(state.world.clock.now_ms() / 1000, UTC)
            return start_response(status, [*headers, ("Date", format_datetime(now, usegmt=True))])

        return application(environ, begin)

    server = WebServer(at_its_time, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()

    def hush():
        answering.clear()
        server._call(lambda: [server._drop(one) for one in list(server._clients)])

    try:
        yield f"http://127.0.0.1:{server.port}/", hush
    finally:
        server.close()
        thread.join(10)


def figures(page) -> dict[str, str]:
    rows = page.eval_on_selector_all(
        "#figures > div",
        "all => all.map(d => [d.children[0].textContent, d.children[1].textContent])",
    )
    return dict(rows)


def table(page, name: str) -> list[list[str]]:
    return page.eval_on_selector_all(
        f"#{name} > tr", "all => all.map(row => [...row.children].map(cell => cell.textContent))"
    )


def first(text: str) -> str:
    found = NUMBER.search(text)
    assert found is not None, text
    return found[0]


def agree(told: str, exact: Decimal) -> None:
    """A number of the page is an exact amount, cut; and not to less than says something."""
    number = D(first(told).replace(THIN, ""))
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    assert number == exact.quantize(D(1).scaleb(exponent), ROUND_DOWN), (told, exact)
    significant = len(number.as_tuple().digits) if number else 0
    assert exact == number or exponent <= -2, (told, exact)
    assert exact == number or abs(exact) >= 1 or significant >= 4 or abs(exact) < D("1e-8")
    whole = str(abs(int(number)))
    grouped = f"{int(whole):,}".replace(",", THIN)
    assert grouped in told, f"the thousands of {told}"


def books(state: State, symbol: str) -> tuple[object, list]:
    store = Store(state.world.config.state_directory, read_only=True)
    try:
        return total(make_report(store, symbol, By.DAY, None)), list(trades(store, symbol))
    finally:
        store.close()


def check_numbers(state: State, symbol: str, page) -> None:
    """What the page says of a running grid, against the exchange and the stored trades."""
    exchange = state.world.api.exchange
    listing = exchange.listing(symbol.replace("/", ""))
    base, quote = symbol.split("/")
    (config,) = (one for one in state.world.config.grids if one.symbol == symbol)
    told, (sums, every) = figures(page), books(state, symbol)
    price = D(first(page.text_content("#price")).replace(THIN, ""))

    held = spent = D(0)
    for _, fill in every:
        sign = 1 if fill.side.value == "buy" else -1
        held += sign * fill.quantity - (fill.commission if fill.commission_coin == base else 0)
        spent += sign * fill.quote + (fill.commission if fill.commission_coin == quote else 0)
    assert held == exchange.balances[base].free + exchange.balances[base].locked
    result = held * price - spent

    agree(told["Total profit"], result)
    agree(told["Equity"], config.grid.investment + result)
    agree(told["Held"], held)
    agree(told["Not spent"], config.grid.investment - spent)
    agree(told["Grid profit"], sums.grid_profit)
    agree(told["Unrealised profit"], result - sums.grid_profit)
    agree(told["Fees paid"], sums.fees)
    resting = listing.engine.orders.values()
    assert told["Open orders"] == str(len(resting))
    sides = {side: [one.price for one in resting if one.side == side] for side in ("BUY", "SELL")}
    for label, prices, best in (("buy", sides["BUY"], max), ("sell", sides["SELL"], min)):
        if prices:
            shown = told[f"Next {label}"].split(" at ")[1]
            agree(shown, best(prices))
            away = 100 * (best(prices) - price) / price
            assert abs(D(shown.split("(")[1].split(THIN)[0].split(" ")[0]) - away) <= D("0.005")
        else:
            assert f"Next {label}" not in told
    check_fills(page, every)


def check_fills(page, every: list) -> None:
    rows = table(page, "fills")
    assert len(rows) == min(len(every), RECENT_FILLS)
    for cells, (row, fill) in zip(rows, reversed(every), strict=False):
        assert cells[1].split(" ")[0] == fill.side.value
        agree(cells[2], fill.price)
        agree(cells[3], fill.quantity)
        agree(cells[4], fill.commission)
        assert fill.commission_coin in cells[4]
        assert (row.profit is None) == (cells[5] == "")
        if row.profit is not None:
            agree(cells[5], row.profit)


def check_layout(page, width: int) -> None:
    """Nothing of the chart is cut, and nothing makes the page wider than the screen."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.evaluate(
        """() => { const svg = document.getElementById("grid"), frame = svg.getBoundingClientRect();
        return [...svg.querySelectorAll("text")].filter((one) => {
          const box = one.getBoundingClientRect();
          return box.left < frame.left - 0.5 || box.right > frame.right + 0.5; })
        .map((one) => one.textContent); }"""
    )
    assert cut == []


def check_access(page) -> None:
    """axe finds nothing serious."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in SERIOUS] == []


def picture(page, name: str) -> None:
    directory = os.environ.get("GRIDBERRY_PICTURES")
    if directory:
        page.screenshot(path=Path(directory) / f"{name}.png")


def look(state: State, page, name: str, width: int) -> None:
    """One state on one screen."""
    label, kind = state.badge
    assert page.text_content("#state") == label
    assert page.get_attribute("#state", "class") == kind
    text = page.inner_text("main").replace(THIN, " ")
    for words in state.told:
        assert words in text
    for symbol in state.symbols if state.grid else ():
        if len(state.symbols) > 1:
            page.click(f"#grids button:has-text('{symbol}')")
        check_numbers(state, symbol, page)
    check_layout(page, width)
    check_access(page)
    picture(page, name)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 390)])
@pytest.mark.parametrize("make_state", STATES, ids=lambda one: one.__name__)
def test_a_state(chromium, make_world, make_state, scheme, width):
    from playwright.sync_api import expect

    state = make_state(make_world)
    name = f"page-{make_state.__name__.replace('_', '-')}-{scheme}"
    errors: list[str] = []
    with (
        served(state) as (address, hush),
        contextlib.closing(
            chromium.new_page(
                color_scheme=scheme, viewport={"width": width, "height": 900}, timezone_id="UTC"
            )
        ) as page,
    ):
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else 0)
        page.goto(address)
        expect(page.locator("#state")).not_to_have_text("")
        look(state, page, name, width)
        assert errors == []
        if state.silent:
            hush()
            expect(page.locator("#state")).to_have_text("● no answer")
            assert page.get_attribute("#price", "class") == "old"
            assert "what it said last" in page.inner_text("#reasons")
            check_access(page)
            picture(page, f"{name}-silent")
