"""Signing in and acting in Chromium, on a bot that trades: both clicks, and what came of it."""

import contextlib
import threading
import time

import pytest
from gridbase.http import WebServer

from .test_api import Bot
from .test_states import check_access, chromium, picture  # noqa: F401 (a fixture among them)
from .test_traffic import step


@pytest.fixture
def bot(make_world, tmp_path):
    found = Bot(make_world, tmp_path)
    found.page.sign_in = True
    return found


@contextlib.contextmanager
def served(bot):
    server = WebServer(bot.page, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    bot.page.live(lambda: bot.runner.revision, time.monotonic).start()
    try:
        yield f"http://127.0.0.1:{server.port}/"
    finally:
        server.close()
        thread.join(10)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 390)])
def test_every_action_has_its_confirmation(chromium, bot, scheme, width):  # noqa: F811
    from playwright.sync_api import expect

    errors: list[str] = []
    with (
        served(bot) as address,
        contextlib.closing(
            chromium.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
        ) as page,
    ):
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        expect(page.locator("#account")).to_be_visible()
        page.fill("#token", "wrong")
        page.click("#sign-in-now")
        expect(page.locator("#who")).to_contain_text("no such token")
        page.fill("#token", bot.act)
        page.keyboard.press("Enter")
        expect(page.locator("#who")).to_have_text("Signed in as phone")
        assert bot.act not in page.content()
        assert page.evaluate("document.cookie") == ""
        page.reload()  # the cookie lasts
        expect(page.locator("#who")).to_have_text("Signed in as phone")

        page.click("#acts button:has-text('Close and sell')")
        expect(page.locator("#confirm")).to_be_visible()
        held = bot.runner.status()["grids"][0]["base_held"]
        expect(page.locator("#confirm-what")).to_contain_text(f"sell {held} BTC")
        check_access(page)
        picture(page, f"page-confirm-{scheme}")
        page.click("#confirm-no")
        expect(page.locator("#confirm")).to_be_hidden()
        assert not bot.audit.latest(5)

        for label, action, state in (
            ("Pause", "pause", "paused"),
            ("Resume", "resume", "trading"),
            ("Close, keep the coins", "close", "halted"),
            ("Resume", "resume", "trading"),
            ("Close and sell", "liquidate", "halted"),
        ):
            page.click(f"#acts button:has-text('{label}')")
            expect(page.locator("#confirm-yes")).to_have_text(f"Yes, {action}")
            page.click("#confirm-yes")
            expect(page.locator("#told")).to_contain_text("BTC/USDT: ")
            step(bot.world, bot.runner, 30)
            assert bot.runner.status()["state"] == state
            expect(page.locator("#state")).to_contain_text(f"● {state}", timeout=15_000)
        assert [one["action"] for one in bot.audit.latest(20)[::-2]] == [
            *("pause", "resume", "close", "resume", "liquidate")
        ]
        check_access(page)
        picture(page, f"page-signed-in-{scheme}")
        page.click("#sign-out")
        expect(page.locator("#sign-in")).to_be_visible()
        page.reload()
        expect(page.locator("#sign-in")).to_be_visible()
        expect(page.locator("#signed")).to_be_hidden()
    assert errors == []
