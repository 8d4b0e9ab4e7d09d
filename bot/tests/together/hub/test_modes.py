"""A bot that goes from paper to live: two histories under one name, which nothing adds up."""

import asyncio
import contextlib
from decimal import Decimal

from gridbot.store import Sample, Store
from hub.api.endpoints import ENDPOINTS, Hub
from hub.api.live import Fleet
from hub.api.parameters import Parameters
from hub.database import pool
from hub.history import History
from hub.ledger import Ledger

from bot.tests.bot.books.conftest import START_MS, SYMBOL, Life
from bot.tests.together.hub.conftest import bot_of, collect, rows

HOUR_MS = 3_600_000
LATER_MS = START_MS + 40 * 24 * HOUR_MS


def books(directory, start_ms, swings):
    """Books with some trades, and two hours of prices."""
    directory.mkdir()
    with contextlib.closing(Store(directory)) as store:
        life = Life(store, start_ms=start_ms).swing(swings)
        store.halt(SYMBOL, reason_code="drawdown", text="down", price=Decimal(1), at_ms=start_ms)
        first = start_ms // HOUR_MS * HOUR_MS
        price = Decimal(50_000 + swings)
        for hour_ms in (first, first + HOUR_MS):
            store.sample([Sample(SYMBOL, hour_ms, price, price, price, price, 3600, 3600)])
    return life


def answers(address, *asked):
    """What the API says: each a path's name and its parameters."""

    async def run():
        async with await pool(address, 3) as connections:
            history = History(connections, None)
            fleet = Fleet(connections, None, ())
            hub = Hub(fleet, connections, history, Ledger(connections, history))
            await fleet._look()
            found = []
            for name, given in asked:
                path = f"/api/v1/{name}"
                parameters = Parameters(given, ENDPOINTS[path].parameters)
                found.append(await ENDPOINTS[path].answer(hub, parameters))
            return found

    return asyncio.run(run())


def test_both_histories_stay_apart(address, tmp_path):
    known = {"bot": "pi1", "symbol": SYMBOL}
    paper = books(tmp_path / "paper", START_MS, 3)
    collect(address, bot_of(tmp_path / "paper", "pi1", "paper"))
    asked = (
        ("equity", known | {"mode": "paper"}), ("candles", known | {"mode": "paper"}),
        ("fills", {"mode": "paper", "limit": "1000"}), ("incidents", {"mode": "paper"}),
    )  # fmt: skip
    alone = answers(address, ("ledger", {}), *asked)
    live = books(tmp_path / "live", LATER_MS, 1)
    collect(address, bot_of(tmp_path / "live", "pi1", "live"))

    ledger, *same = answers(address, ("ledger", {}), *asked)
    # What was paper is what it was, in every answer.
    assert same == alone[1:]
    by_mode = {one["mode"]: one for one in ledger["accounts"]}
    assert by_mode["paper"] == alone[0]["accounts"][0]
    assert set(by_mode) == {"paper", "live"}
    assert [one["mode"] for one in ledger["positions"]] == ["live", "paper"]
    # And live is what the live books have, also where nobody names a mode.
    fills, equity, candles, bots, profit = answers(
        address,
        ("fills", {"mode": "live", "limit": "1000"}),
        ("equity", known),
        ("candles", known),
        ("bots", {}),
        ("profit", {"limit": "1000"}),
    )
    assert len(fills["fills"]) == len(live.fills) < len(paper.fills)
    assert {one["price"] for one in equity["equity"]} == {"50001"}
    assert {one["close"] for one in candles["candles"]} == {"50001"}
    assert [(one["name"], one["mode"]) for one in bots["bots"]] == [("pi1", "live")]
    assert {one["mode"] for one in profit["days"]} == {"paper", "live"}
    pages: list[dict] = []
    while not pages or pages[-1]["next"]:
        given = {"limit": "1"} | ({"after": pages[-1]["next"]} if pages else {})
        pages += answers(address, ("profit", given))
    assert [day for page in pages for day in page["days"]] == profit["days"]
    for mode in ("paper", "live"):
        gain = sum(Decimal(day["gain"]) for day in profit["days"] if day["mode"] == mode)
        years = by_mode[mode]["years"].values()
        assert gain == sum(Decimal(year["gain"]) for year in years)


def test_back_to_paper_goes_on_where_it_was(address, tmp_path):
    for mode, start_ms in (("paper", START_MS), ("live", LATER_MS)):
        books(tmp_path / mode, start_ms, 1)
        assert collect(address, bot_of(tmp_path / mode, "pi1", mode)) > 0
    before = rows(address, "SELECT count(*) FROM grid_runs")
    assert collect(address, bot_of(tmp_path / "paper", "pi1", "paper")) == 0
    assert rows(address, "SELECT count(*) FROM grid_runs") == before == [(2,)]
    (bots,) = answers(address, ("bots", {}))
    assert [(one["name"], one["mode"]) for one in bots["bots"]] == [("pi1", "paper")]
