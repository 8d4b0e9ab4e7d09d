"""What a person sees on the page, from what a real bot says of itself."""

import copy
import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from gridbot.service.deltas import changes
from gridbot.service.status import market_of, prices_of, resume_command, totals
from gridbot.service.view import shown as shown_amount
from gridbot.store import Store

from bot.tests.together.trading.test_policies import DOWNTREND, FALL, TREND, path

from .conftest import reported, seen


@pytest.fixture
def trading(make_world):
    return reported(make_world(), 60)


def shown(browser, status, history=None, **options):
    (look,) = browser.look({"status": status, "history": history}, **options)
    return {name: element for name, element in look["ids"].items() if not element["hidden"]}


def rows_of(elements, name):
    return elements[name]["tree"]["children"]


def text(elements, name):
    return elements[name]["text"].replace("\u202f", " ")


def texts(svg, *, times=False):
    """Texts of the chart: prices, or times."""
    found = [one for one in svg["children"] if one["name"] == "text"]
    return [one for one in found if (one["attributes"].get("class") == "time") is times]


WIDE = 6  # of a character, in browser.mjs


def several(status):
    """A second grid beside the one of a status."""
    other = copy.deepcopy(status["grids"][0])
    other |= {"symbol": "ETH/USDT", "base": "ETH", "state": "trading", "price": "3456.7"}
    other |= {"lines": [], "orders": [], "recent_fills": []}
    return status | {"grids": [status["grids"][0], other]}


def test_a_trading_grid(browser, trading):
    status, history = trading
    page = shown(browser, status, history)
    assert text(page, "name") == "BTC/USDT · pi1"
    assert text(page, "mode") == "PAPER"
    assert (text(page, "state"), page["state"]["class"]) == ("● trading", "badge good")
    whole = f"{int(float(status['price'])):,}".replace(",", " ")
    assert text(page, "price").startswith(whole)
    assert text(page, "price").endswith(" USDT")
    assert "% of the range 47 000 to 53 000" in text(page, "place")
    assert 0 <= float(page["mark"]["style"]["left"].removesuffix("%")) <= 100
    assert f"Buys / sells{status['buys']} / {status['sells']}" in text(page, "figures")
    assert "Open orders20" in text(page, "figures")
    assert len(page["fills"]["tree"]["children"]) == len(status["recent_fills"]) > 0
    label = page["grid"]["tree"]["attributes"]["aria-label"]
    assert label.startswith("21 lines: ")
    drawn = [one["name"] for one in page["grid"]["tree"]["children"]]
    assert drawn.count("line") == 21
    assert "polyline" in drawn
    hidden = {"halts", "reasons", "grids", "paused", "refusals", "rules", "no-fills"}
    assert {name for name in hidden if name in page and page[name]["text"]} == set()


def test_the_connection_is_shown_as_the_account_tells_it(browser, trading):
    status, history = trading
    page = shown(browser, status, history)
    assert "Account streamnot up: asked over REST" in text(page, "connection")
    assert "Circuit breakerclosed" in text(page, "connection")
    limit = status["connection"]["weight_limit"]
    assert f"of {limit}" in text(page, "connection")
    circuit = {"state": "open", "failures": 6, "opened_ms": 1, "retry_in_seconds": 12.3}
    status["connection"] |= {"circuit": circuit, "account_stream": True, "clock_ahead_ms": -1500}
    page = shown(browser, status, history)
    assert "Circuit breakeropen, 6 failures in a row, next try in 13 s" in text(page, "connection")
    assert "Account streamup" in text(page, "connection")
    assert "1.5 s behind" in text(page, "connection")


def test_before_the_first_step(browser, make_world):
    world = make_world()
    status = world.runner().status()
    page = shown(browser, status)
    assert text(page, "state") == "● starting"
    assert text(page, "reasons") == "starting"
    assert text(page, "price") == "\u2013 USDT"
    assert text(page, "connection") == "Exchangenot asked yet"
    assert "range" not in page
    assert "chart" not in page
    assert "no-fills" in page
    assert text(page, "market") == "prices not known yet"


def test_a_fired_kill_switch_says_what_to_do(browser, make_world):
    stop = {"loss_price": "46500", "liquidate": True}
    status, history = reported(make_world(FALL, at_end="hold"), 60, stop=stop)
    assert status["state"] == "halted"
    page = shown(browser, status, history)
    assert (text(page, "state"), page["state"]["class"]) == ("● halted", "badge bad")
    assert "Kill switch: BTC/USDT does not trade" in text(page, "halts")
    assert "at or below the stop 46500 (stop.loss_price)" in text(page, "halts")
    assert "Its orders are canceled, the coins held are sold." in text(page, "halts")
    assert text(page, "halts").endswith(
        ", where the bot runs: gridbot resume --config bot.toml --symbol BTC/USDT"
    )
    assert page["halts"]["tree"]["attributes"]["role"] == "alert"
    assert "stops at a price at or below 46500 USDT" in text(page, "policies")
    figures = text(page, "figures")
    assert f"The latest grid ended{status['closing']['reason']}" in figures
    assert "Liquidation profit-" in figures
    assert "Open orders" not in figures
    assert "chart" in page, "the prices of the fall can still be seen"
    assert f"BTC held{status['closing']['base']}" in figures
    assert text(page, "legend") == "Price"
    axis = [one["children"][0] for one in texts(page["grid"]["tree"])]
    seen = [Decimal(price) for _, price in history["grids"]["BTC/USDT"]] + [Decimal(46000)]
    assert axis[:2] == [str(min(seen)), str(max(seen))]
    rows = [[cell["children"][0] for cell in row["children"]] for row in rows_of(page, "fills")]
    assert rows[0][1] == "sell (end)"
    assert rows[-1][1] == "buy (start)"
    assert "no-fills" not in page


def test_a_halted_grid_has_ended_also_while_the_exchange_is_away(browser, make_world):
    stop = {"loss_price": "46500", "liquidate": True}
    status, _ = reported(make_world(FALL, at_end="hold"), 60, stop=stop)
    ended = copy.deepcopy(status)
    ended["grids"][0]["state"] = "waiting"
    assert "Its orders are canceled" in text(shown(browser, ended), "halts")
    ended["grids"][0]["closing"] = None
    assert "Its orders are being canceled" in text(shown(browser, ended), "halts")


BOTH = "BTCUSDT synthetic seed=3 speed=60, ETHUSDT recorded eth.csv speed=60"
MADE_UP = "made-up prices: profit here means nothing"
LIVE = "live prices of binance"  # as the practice exchange says it


@pytest.mark.parametrize(
    "case",
    [
        (("paper", "synthetic seed=7 speed=60"), "", f"{MADE_UP} seed=7 speed=60", "made-up"),
        (("paper", "recorded x.csv speed=60"), "", "recorded prices x.csv speed=60", "recorded"),
        (("paper", BOTH), "", f"{MADE_UP} seed=3 speed=60", "made-up"),
        (("paper", BOTH), "#ETH%2FUSDT", "recorded prices eth.csv speed=60", "recorded"),
        (("paper", LIVE), "", "live prices of binance", "live-on-paper"),
        (("paper", "another word"), "", "prices not known yet word", "unknown"),
        (("paper", ""), "", "binance", "exchange"),
        (("live", ""), "", "binance", "exchange"),
        (("paper", "testnet"), "", "test network: play money, prices of its own", "testnet"),
    ],
)
def test_where_the_prices_of_each_grid_come_from(browser, trading, case):
    (mode, label), chosen, badge, kind = case
    status = several(trading[0]) | {"mode": mode}
    for grid in status["grids"]:
        grid["market"] = market_of(label, grid["base"] + grid["quote"])
        grid["prices"] = prices_of(mode, grid["market"], connected=True)
    page = shown(browser, status, hash=chosen)
    assert text(page, "market") == badge
    assert page["market"]["class"] == f"badge {kind}"
    assert text(page, "mode") == mode.upper()


def test_a_practice_exchange_without_prices_is_told_as_that(browser, trading):
    status = copy.deepcopy(trading[0])
    status["grids"][0] |= {"market": LIVE, "prices": "live-on-paper"}
    status["connection"]["circuit"] = {"state": "open", "failures": 5, "retry_in_seconds": 30}
    assert text(shown(browser, status), "market") == f"{LIVE}: none now"
    status["grids"][0] |= {"market": "synthetic seed=7", "prices": "made-up"}
    assert text(shown(browser, status), "market") == f"{MADE_UP} seed=7"


def test_before_the_exchange_answers_nobody_knows_the_prices():
    assert prices_of("paper", "", connected=False) == "unknown"
    assert prices_of("live", "", connected=False) == "exchange"


@pytest.mark.parametrize(("price", "step"), [("116463.41", "520.41"), ("0.00001353", "0.00000004")])
def test_prices_have_room_beside_the_chart(browser, trading, price, step):
    status, history = trading
    grid = status["grids"][0]
    grid["price"] = price
    history["grids"]["BTC/USDT"] = [[1, price], [2, price]]
    grid["price_ms"] = 3
    for line in grid["lines"]:
        line["price"] = f"{Decimal(price) + line['line'] * Decimal(step):f}"
    svg = shown(browser, status, history)["grid"]["tree"]
    width = float(svg["attributes"]["viewBox"].split()[2])
    labels = texts(svg)
    assert len(labels) == 22
    *lines, now = sorted(labels, key=lambda one: one["attributes"].get("id", ""))
    spaces = [one["attributes"]["x1"] for one in svg["children"] if one["name"] == "line"]
    for label in lines:  # their right end stands at x
        end = float(label["attributes"]["x"])
        assert end >= WIDE * len(label["children"][0])
        assert end < float(spaces[0])
    begin = float(now["attributes"]["x"])
    assert begin + WIDE * len(now["children"][0]) <= width


def test_paused_buys_say_why(browser, make_world):
    world = make_world(path(50_000, 50_000, 48_000, 48_400, 48_000, minutes=40), at_end="hold")
    reported(world, 60)
    status, history = reported(world, 30, trend=TREND)
    assert status["state"] == "trading"
    page = shown(browser, status, history)
    assert (text(page, "state"), page["state"]["class"]) == ("● trading, buys paused", "badge")
    assert text(page, "paused").startswith("New buys are paused: downtrend: ADX")
    assert "buys pause while ADX(" in text(page, "policies")


def test_a_grid_that_a_person_has_paused_says_so(browser, make_world):
    world = make_world(path(50_000, 50_000, 48_000, minutes=40), at_end="hold")
    reported(world, 20)
    books = Store(world.config.state_directory, beside=True)
    books.pause("BTC/USDT", reason="holidays until Monday", at_ms=1_640_995_200_000)
    books.close()
    status, history = reported(world, 10)
    page = shown(browser, status, history)
    assert text(page, "state") == "● paused"
    assert text(page, "paused") == (
        "Paused by hand since 2022-01-01 00:00 UTC: holidays until Monday."
        " Nothing is sent until gridbot resume."
    )


def test_orders_that_are_held_back_are_not_drawn_as_open(browser, make_world):
    world = make_world(DOWNTREND, at_end="hold")
    reported(world, 80)
    status, history = reported(world, 55, trend=TREND)
    held = [order for order in status["orders"] if order["state"] == "intended"]
    assert {order["side"] for order in held} == {"buy"}
    grid = shown(browser, status, history)["grid"]["tree"]
    kinds = [one["attributes"]["class"] for one in grid["children"] if one["name"] == "line"]
    assert kinds.count("buy held") == len(held)
    assert f"{len(held)} with an order held back" in grid["attributes"]["aria-label"]


def test_a_grid_that_waits_to_begin_says_why(browser, make_world):
    world = make_world(path(50_000, 50_000, 48_000, minutes=30), at_end="hold")
    world.clock.sleep(45)
    status, history = reported(world, 6, trend=TREND)
    assert status["state"] == "paused"
    page = shown(browser, status, history)
    assert text(page, "paused") == f"The next grid waits: {status['paused']}."
    assert text(page, "state") == "● paused"


def test_a_grid_that_ends_says_why(browser, make_world):
    world = make_world(FALL, at_end="hold")
    for _ in range(100):
        status, history = reported(world, 0.1, stop={"loss_price": "46500"})
        if status["state"] == "ending":
            break
    assert status["state"] == "ending"
    page = shown(browser, status, history)
    assert text(page, "paused").startswith("Now the grid ends: price ")
    assert page["state"]["class"] == "badge"


def test_an_exchange_that_counts_no_weight(browser, trading):
    status, history = trading
    status["connection"] |= {"weight_used": None, "weight_limit": None}
    assert "weight" not in text(shown(browser, status, history), "connection")


def test_several_grids_can_be_looked_at_in_turn(browser, trading):
    status, history = trading
    history["grids"]["ETH/USDT"] = [[1, "3400"], [2, "3450"]]
    looks = browser.look(
        {"status": several(status), "history": history, "click": "ETH/USDT"},
        {"status": several(status)},
    )
    first, again = (look["ids"] for look in looks)
    for ids in (first, again):
        pressed = [one["attributes"]["aria-pressed"] for one in ids["grids"]["tree"]["children"]]
        assert pressed == ["false", "true"]
        assert ids["price"]["text"] == "3\u202f456.7 USDT"
        assert ids["name"]["text"] == "pi1"
        assert ids["range"]["hidden"]
    assert looks[1]["hash"] == "#ETH%2FUSDT"
    page = shown(browser, several(status), history, hash="#ETH%2FUSDT")
    assert text(page, "price") == "3 456.7 USDT"
    page = shown(browser, several(status), history, hash="#GONE")
    assert text(page, "price") != "3 456.7 USDT"


def test_arrow_keys_walk_over_the_grids_and_updates_leave_the_focus_alone(browser, trading):
    status, changed = several(trading[0]), several(trading[0])
    changed["grids"][1]["equity"] = "12345.67"
    looks = browser.look(
        {"status": status, "click": "BTC/USDT", "key": "ArrowRight"},
        {"status": changed},
        {"status": changed, "key": "ArrowRight"},
        {"status": changed, "key": "ArrowLeft"},
        {"status": changed, "key": "Home"},
    )
    focused = [look["focus"].split("/")[0] for look in looks]
    assert focused == ["ETH", "ETH", "BTC", "ETH", "ETH"]
    assert "12\u202f345.67 USDT" in looks[1]["focus"]
    assert {look["ids"]["grids"]["writes"] for look in looks} == {1}
    assert [look["hash"] for look in looks[1:3]] == ["#ETH%2FUSDT", "#BTC%2FUSDT"]


def test_an_answer_is_paid_for_before_the_next_is_asked_for(browser, trading):
    step = {"status": trading[0], "bytes": 120_000}
    asked = [look["asked"] for look in browser.look(step, step, step)]
    assert asked == [["/api/history", "/api/page"], [], []]
    small = step | {"bytes": 300}
    assert browser.look(small, small)[1]["asked"] == ["/api/page"]


def test_changes_are_put_into_what_the_page_has(browser, trading):
    status, changed = trading[0], copy.deepcopy(trading[0])
    grid = changed["grids"][0]
    grid |= {"price": "51234.5", "recent_fills": grid["recent_fills"][:3]}
    grid["orders"][2]["refused"] = "too dear"
    gone = copy.deepcopy(changed)
    gone["grids"][0] |= {"lines": [], "orders": [], "price": None}
    first, second, third = (json.loads(json.dumps(seen(one))) for one in (status, changed, gone))
    looks = browser.look(
        {"http": [200, "one", first]},
        {"http": [226, "two", changes(first, second)]},
        {"http": [304, "two", None]},
        {"http": [226, "three", changes(second, third)]},
    )
    sent = [look["requested"] and look["requested"]["If-None-Match"] for look in looks]
    assert sent == [None, "one", "two", "two"]
    assert looks[1]["requested"]["A-IM"] == "gridberry-changes"
    whole = [browser.look({"http": [200, "x", one]})[0]["ids"] for one in (first, second, third)]
    for look, expected in zip(looks, [whole[0], whole[1], whole[1], whole[2]], strict=True):
        for name in ("price", "figures", "fills", "refused", "footer"):
            assert look["ids"][name]["tree"]["children"] == expected[name]["tree"]["children"], name


def test_all_grids_together(browser, trading):
    status = several(trading[0])
    status["grids"][0] |= {"investment": "9000", "equity": "9100.5"}
    status["grids"][1] |= {"investment": "1000", "equity": "989.499"}
    status["grids"][1]["state"] = "waiting"
    status |= {"state": "waiting", "totals": totals(status["grids"])}
    page = shown(browser, status)
    assert text(page, "total") == (
        "Total profit of 2 running grids: 89.99 USDT (0.90 %), equity 10 089.99"
    )
    assert status["totals"]["USDT"]["profit"] == "89.999"
    assert (text(page, "state"), page["state"]["class"]) == ("● 1 trading, 1 waiting", "badge")
    assert "total" not in shown(browser, trading[0])


def test_an_old_price_is_dimmed_with_its_age(browser, trading):
    status, history = trading
    grid = status["grids"][0]
    step = {"status": status, "history": history}
    for state, age, old in (("trading", 2, False), ("trading", 5, True), ("waiting", 1, True)):
        grid["state"] = state
        (look,) = browser.look(step | {"now": grid["price_ms"] + age * 60_000})
        page = look["ids"]
        assert page["price"]["class"] == ("old" if old else "")
        assert page["age"]["hidden"] is not old
        assert not old or text(page, "age").endswith(f", {age} min ago")
    grid["state"] = "trading"
    silent = browser.look(step, {})[1]["ids"]
    assert silent["price"]["class"] == "old"


def test_the_initial_purchase_is_shown(browser, trading):
    status, history = trading
    grid = status["grids"][0]
    assert Decimal(grid["initial_base"]) > 0
    cost = shown_amount(grid["initial_cost"], 2)
    bought = f"Bought at the start{grid['initial_base']} BTC for {cost} USDT".replace("\u202f", " ")
    assert bought in text(shown(browser, status, history), "figures")


def test_each_fill_has_its_fee_and_each_pair_its_profit(browser, trading):
    status, history = trading
    page = shown(browser, status, history)
    heads = [cell["children"][0] for cell in rows_of(page, "fills-head")[0]["children"]]
    assert heads == ["Time", "Side", "Price", "Quantity", "Fee", "Pair's profit"]
    profits = [fill["profit"] for fill in status["recent_fills"]]
    assert [bool(profit) for profit in profits].count(True) > 2
    cells = [row["children"] for row in rows_of(page, "fills")]
    told = [row[5]["children"][0].replace("\u202f", "") for row in cells]
    assert told == [profit or "" for profit in profits]
    assert [row[4]["attributes"]["data-name"] for row in cells] == ["Fee"] * len(cells)


@pytest.mark.parametrize(("grids", "drawn"), [(20, 21), (198, 67)])
def test_many_lines_and_a_far_price_leave_room_between_labels(browser, trading, grids, drawn):
    status, history = trading
    grid = status["grids"][0]
    line = grid["lines"][0]
    grid["lines"] = [line | {"line": n, "price": str(47_000 + n)} for n in range(grids + 1)]
    history["grids"]["BTC/USDT"] = [[1, "47000"], [2, grid["lines"][-1]["price"]]]
    grid |= {"price": grid["lines"][-1]["price"], "price_ms": 3}
    svg = shown(browser, status, history)["grid"]["tree"]
    assert len([one for one in svg["children"] if one["name"] == "line"]) == drawn
    history["grids"]["BTC/USDT"][0][1] = "10000"
    for chart in (svg, shown(browser, status, history)["grid"]["tree"]):
        *labels, _ = sorted(texts(chart), key=lambda one: one["attributes"].get("id", ""))
        heights = sorted(float(one["attributes"]["y"]) for one in labels)
        assert all(below - above >= 13 for above, below in pairwise(heights))
    assert len(texts(svg, times=True)) == 3


def test_a_kill_switch_of_one_grid_names_it(browser, trading):
    status = several(trading[0])
    halt = {"reason": "stop.loss_price", "text": "gone", "price": "1", "at_ms": 1}
    halt["resume"] = resume_command(Path("/etc/gridbot/bot.toml"), "ETH/USDT")
    status["grids"][1] |= {"state": "halted", "halt": halt | {"liquidate": False}}
    page = shown(browser, status | {"state": "halted"})
    assert "the coins held are kept" in text(page, "halts")
    command = "gridbot resume --config /etc/gridbot/bot.toml --symbol ETH/USDT"
    assert text(page, "halts").endswith(f": {command}")
    assert (text(page, "state"), page["state"]["class"]) == ("● 1 trading, 1 halted", "badge bad")


def test_the_command_that_resumes_is_the_one_of_where_the_bot_runs(monkeypatch):
    role = Path(__file__).parents[4] / "roles/grid_bot/vars/main.yml"
    service = yaml.safe_load(role.read_text(encoding="utf-8"))["__grid_bot_service"]
    command = service["environment"]["GRIDBOT_COMMAND"]
    assert f"exec {service['container_name']} " in command
    monkeypatch.setenv("GRIDBOT_COMMAND", command.replace("{{ grid_bot_project }}", "gridberry"))
    assert resume_command(Path(service["command"][-1]), "BTC/USDT") == (
        "sudo docker exec gridberry-bot gridbot resume --config /etc/gridbot/bot.toml"
        " --symbol BTC/USDT"
    )


def test_refused_orders_and_reasons(browser, trading):
    status, history = trading
    order = status["grids"][0]["orders"][0]
    order["refused"] = "PRICE_FILTER <b>"
    status["health"] = {"ok": False, "reasons": ["one", "two"]}
    page = shown(browser, status, history)
    assert text(page, "refused") == (
        f"{order['side']} {order['quantity']} at {int(order['price']):,}: PRICE_FILTER <b>".replace(
            ",", " "
        )
    )
    assert text(page, "state") == "● trading, not well"
    assert text(page, "reasons") == "one · two"


def test_a_price_outside_the_range_says_how_far(browser, trading):
    status, history = trading
    grid = status["grids"][0]
    for price, expected in (("54590", "3.00 % above"), ("46530", "1.00 % below")):
        grid["price"] = price
        page = shown(browser, status, history)
        assert text(page, "place") == f"{expected} the range 47 000 to 53 000"


def test_a_bot_that_falls_silent_keeps_what_it_said_last(browser, trading):
    status, history = trading
    looks = browser.look({"status": status, "history": history}, {}, {"status": status})
    silent, back = looks[1]["ids"], looks[2]["ids"]
    assert silent["state"]["text"] == "● no answer"
    assert silent["price"]["text"] == looks[0]["ids"]["price"]["text"]
    assert "does not answer" in silent["reasons"]["text"]
    assert not silent["reasons"]["hidden"]
    assert back["state"]["text"] == "● trading"
    assert back["reasons"]["hidden"]


def test_what_has_not_changed_is_not_read_aloud_again(browser, make_world):
    status, history = reported(make_world(FALL, at_end="hold"), 60, stop={"loss_price": "46500"})
    step = {"status": status, "history": history}
    looks = browser.look(step, step, step)
    for name in ("halts", "state", "reasons", "paused", "figures", "fills"):
        assert looks[0]["ids"][name]["writes"] == looks[2]["ids"][name]["writes"], name


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("1234567.891", "1 234 567.89"),
        ("0.000012345678", "0.00001234"),
        ("-0.5", "-0.50"),
        ("0", "0"),
        ("-12.3", "-12.30"),
        (None, "\u2013"),
    ],
)
def test_amounts_are_cut_for_reading_and_never_to_nothing(browser, trading, amount, expected):
    status, history = trading
    status["grids"][0]["equity"] = amount
    page = shown(browser, status, history)
    assert f"Equity{expected}Fees" in text(page, "figures")
