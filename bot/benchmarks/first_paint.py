"""How soon the page shows something: first contentful paint in Chromium, nothing cached.

    python -m tests.browser paint [--url URL] [--runs N] [--limit S] [--json]

Without an address a real bot that trades serves its page on loopback; with one, whoever answers
there, as a virtual Pi behind its forwarded port. Each run is a browser context of its own. Beside
the paint stands the moment at which the price is there. Exits 1 where the median of the paint is
above the limit: 1 s here; 2 s is what a virtual Pi has.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from page_load import busy_market
from start import bench

LIMIT_S = 1.0
PHONE = {"width": 390, "height": 844}
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
PRICE = "/[0-9]/.test(document.getElementById('price').textContent) && performance.now()"


@contextlib.contextmanager
def served(url: str | None, patience: float) -> Iterator[str]:
    """The address of a page: the one that was given, or that of a bot which trades."""
    if url is not None:
        yield url
        return
    with bench(patience) as one:
        one.start_exchange("--candles", str(busy_market(one.directory / "busy.csv")))
        one.start_bot()
        one.wait_for_trading()
        yield f"http://127.0.0.1:{one.page}/"


def when(page: Any, expression: str, patience: float) -> float:
    """The first value of an expression that is not 0; the page's own policy allows no eval."""
    deadline = time.monotonic() + patience
    while not (value := page.evaluate(expression)):
        if time.monotonic() > deadline:
            raise SystemExit(f"first_paint: nothing came of {expression}")
        page.wait_for_timeout(5)
    return float(value)


def look(browser: Any, url: str, patience: float) -> tuple[float, float]:
    """Milliseconds until the first paint, and until the price is on a page not seen before."""
    with contextlib.closing(browser.new_context(viewport=PHONE)) as context:
        page = context.new_page()
        page.goto(url, wait_until="commit", timeout=patience * 1000)
        price = when(page, PRICE, patience)
        return when(page, PAINT, patience), price


def measure(url: str | None, runs: int, patience: float) -> dict[str, Any]:
    """What was measured, as printed."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("first_paint: chromium is not installed; apt-get install chromium")
    with served(url, patience) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        times = [look(browser, address, patience) for _ in range(runs)]
        browser.close()
    paints, prices = ([one[n] for one in times] for n in (0, 1))
    return {
        "runs": runs,
        "paint_ms": {"median": median(paints), "most": max(paints)},
        "price_ms": {"median": median(prices), "most": max(prices)},
        "load": os.getloadavg()[0],
    }


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a page that is served already")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="for the median paint (s)")
    parser.add_argument("--patience", type=float, default=60, help="longest wait in seconds")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.url, args.runs, args.patience)
    if args.json:
        print(json.dumps(found))
    else:
        for name in ("paint", "price"):
            one = found[f"{name}_ms"]
            print(f"{name}: median {one['median']:.0f} ms, at most {one['most']:.0f} ms")
        print(
            f"first paint {found['paint_ms']['median']:.0f} ms of {args.limit * 1000:.0f},"
            f" {args.runs} runs, load {found['load']:.1f}"
        )
    return int(found["paint_ms"]["median"] > args.limit * 1000)


if __name__ == "__main__":
    sys.exit(main())
