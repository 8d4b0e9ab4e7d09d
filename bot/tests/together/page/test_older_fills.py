"""All fills of a grid on the page, on demand, in Chromium."""

import contextlib

from gridbot.accounting.settle import Settler

from .test_acting import bot, served  # noqa: F401 (a fixture)
from .test_api import Bot
from .test_states import check_access, chromium  # noqa: F401 (a fixture)
from .test_traffic import step


def test_older_fills_come_when_they_are_asked_for(chromium, bot: Bot):  # noqa: F811
    from playwright.sync_api import expect

    while len(bot.runner.status()["grids"][0]["recent_fills"]) < 20 or fills(bot) < 130:
        step(bot.world, bot.runner, 30)
    (worker,) = bot.runner._workers
    Settler(worker.trader.session.store, kept=5).run(worker.trader.grid_run, worker.trader.engine)
    count = fills(bot)
    errors: list[str] = []
    with (
        served(bot) as address,
        contextlib.closing(chromium.new_page(viewport={"width": 390, "height": 900})) as page,
    ):
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        expect(page.locator("#account")).to_be_visible()
        expect(page.locator("#older-box")).to_be_hidden()  # the API is for those with a token
        page.fill("#token", bot.read)
        page.keyboard.press("Enter")
        page.click("#older-box summary")
        expect(page.locator("#older tr")).to_have_count(100)
        while page.locator("#older-more").is_visible():
            before = page.locator("#older tr").count()
            page.click("#older-more")
            expect(page.locator("#older tr")).not_to_have_count(before)
        expect(page.locator("#older tr")).to_have_count(count)
        check_access(page)
    assert errors == []


def fills(made):
    """How many trades the API has, by all its pages."""
    found, after = set(), ""
    while after is not None:
        told = made.ask(f"/fills?limit=200{after and '&after=' + after}", made.read)[1]
        found |= {one["trade_id"] for one in told["items"]}
        after = told["next"]
    return len(found)
