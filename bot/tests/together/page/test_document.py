"""The page's text: it stands alone, is small, and can be read by everyone."""

import base64
import gzip
import hashlib
import re
from html.parser import HTMLParser

import pytest
from gridbot.service.web import Page

from . import test_traffic

MOST_BYTES = 12_288  # as it is sent: compressed


class Reader(HTMLParser):
    """Collects what there is."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, list[str]] = {}
        self._inside = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, _tag):
        self._inside = ""

    def handle_data(self, data):
        self.blocks.setdefault(self._inside, []).append(data)


@pytest.fixture(scope="module")
def read(html):
    reader = Reader()
    reader.feed(html)
    return reader


def answer(method, path):
    """Status and headers of one request to the application."""
    got = {}

    def start_response(status, headers):
        got["status"], got["headers"] = status, dict(headers)

    body = b"".join(Page(None)({"REQUEST_METHOD": method, "PATH_INFO": path}, start_response))
    return got["status"], got["headers"], body


def test_it_is_small_enough_for_a_pi(html):
    assert len(gzip.compress(html.encode())) <= MOST_BYTES


def test_it_asks_as_rarely_as_the_measurement_of_its_traffic(html):
    found = re.search(r"BURST = (.*?), PER_MS = (.*?), HEADERS = (.*?);", html)
    assert [float(number) for number in found.groups()] == [
        test_traffic.BURST,
        test_traffic.BYTES_PER_SECOND / 1000,
        test_traffic.HEAD_BYTES,
    ]


def test_nothing_comes_from_elsewhere(html, read):
    for tag, attributes in read.tags:
        assert tag not in {"img", "iframe", "object", "embed", "form", "base", "meta"} or (
            tag == "meta" and "http-equiv" not in attributes
        )
        for name in ("src", "href", "action", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
    for word in ("innerHTML", "eval(", "import(", "@import", "url(", "document.write"):
        assert word not in html


def test_the_policy_lets_its_own_script_and_style_run_and_nothing_else(read):
    _, headers, _ = answer("GET", "/")
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    for tag in ("script", "style"):
        (block,) = read.blocks[tag]
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_only_shows(method):
    status, headers, _ = answer(method, "/")
    assert status.startswith("405")
    assert headers["Allow"] == "GET, HEAD"


def test_every_element_that_the_script_names_is_there_once(read):
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    (script,) = read.blocks["script"]
    named = set(re.findall(r'\b(?:byId|put|fill)\("([\w-]+)"', script))
    assert len(named) > 15
    assert named <= set(ids)


def test_it_is_marked_up_for_phones_and_screen_readers(read):
    def having(**wanted):
        return [
            attributes
            for _, attributes in read.tags
            if all(attributes.get(name) == value for name, value in wanted.items())
        ]

    assert ("html", {"lang": "en"}) in read.tags
    assert having(name="viewport", content="width=device-width, initial-scale=1")
    assert having(name="color-scheme", content="light dark")
    assert {one["id"] for one in having(role="alert")} == {"halts", "reasons"}
    assert {one["id"] for one in having(role="status")} == {"state", "paused", "told"}
    assert having(role="img")[0]["aria-label"]
    assert having(id="grids")[0]["aria-label"]
    assert all(attributes.get("scope") == "col" for tag, attributes in read.tags if tag == "th")


def themes(html):
    """Colours by name, light and dark."""
    blocks = re.findall(r":root \{(.*?)\}", html, re.DOTALL)
    colours = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]
    assert len(colours) == 2
    assert colours[0].keys() == colours[1].keys()
    return colours


def luminance(colour):
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_text_can_be_told_from_its_ground_by_day_and_night(html):
    on = {
        "paper": ("ink", "soft", "accent", "buy", "sell", "warn"),
        "card": ("ink", "soft", "accent", "buy", "sell"),
        "warn-bg": ("warn",),
        "stop-bg": ("stop",),
        "sell": ("card",),
    }
    for theme in themes(html):
        pairs = [(ground, text) for ground, texts in on.items() for text in texts]
        for ground, text in pairs:
            dark, light = sorted((luminance(theme[ground]), luminance(theme[text])))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ground, text)
