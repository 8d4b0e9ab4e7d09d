"""The page, the documents that a real bot serves for it, and a browser without layout."""

import json
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest
from gridbot.service.view import view

from bot.tests.together.trading.conftest import World, make_world, tmp_path  # noqa: F401 (fixtures)

BROWSER = Path(__file__).with_name("browser.mjs")


@pytest.fixture(scope="session")
def html() -> str:
    return (
        resources.files("gridbot.service").joinpath("page/index.html").read_text(encoding="utf-8")
    )


def reported(world: World, seconds: float, **document: object) -> tuple[dict, dict]:
    """What a bot says of itself after so many seconds: status and history, as a browser gets it."""
    world.document |= document
    runner = world.runner()
    until = world.clock.seconds + seconds
    while world.clock.seconds < until:
        world.clock.sleep(runner._step())
    runner._books.read()
    answers = json.loads(json.dumps([runner.status(), runner.history(), runner.books()]))
    world.power_off()
    answers[0]["read"] = answers[2]  # what the page's document is made of, beside the status
    return answers[0], answers[1]


def seen(status: dict) -> dict:
    """The page's document."""
    return view(status, status.get("read", {"grids": {}})) | {"machine": [], "sign_in": False}


def seen_ms(status: dict | None) -> int | None:
    """A minute after the bot saw its first price: when somebody looks."""
    price_ms = status["grids"][0]["price_ms"] if status else None
    return None if price_ms is None else price_ms + 60_000


class Browser:
    """Shows the page, one look after the other."""

    def __init__(self, html: str) -> None:
        self._html = html

    def look(self, *steps: dict, hash: str = "") -> list[dict]:  # noqa: A002 (the browser's word)
        """What the page shows at each step.

        A step has `status` and `history` (documents; None: no answer) and may `click` a grid, then
        press a `key`, or choose a `span` of time. `http` has
        status, tag and body of the answer to `/api/page`. Its answers have so many `bytes`.
        """
        said = [
            {
                "answers": {
                    "/api/page": seen(step["status"]) if step.get("status") else None,
                    "/api/history": step.get("history"),
                },
                "click": step.get("click"),
                "key": step.get("key"),
                "bytes": step.get("bytes"),
                "span": step.get("span"),
                "http": step.get("http"),
                "now": step.get("now", seen_ms(step.get("status"))),
            }
            for step in steps
        ]
        done = subprocess.run(
            ["node", BROWSER],
            input=json.dumps({"html": self._html, "hash": hash, "steps": said}),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)


@pytest.fixture
def browser(html):
    if shutil.which("node") is None:
        pytest.skip("needs node, which runs the page's script")
    return Browser(html)
