"""What needs no database: units, rows of the archive, parameters, the fleet's document."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hub.api.fleet import STALE_MS, Heard, breakers, fleet_document
from hub.api.live import _newer
from hub.api.parameters import ParameterError, Parameters, position
from hub.api.programs import KINDS, HeardProgram, program_documents
from hub.archive.rows import CANDLES, FILLS, ORDERS, CandleRow, FillRow, OrderRow
from hub.units import Units
from hypothesis import given, settings
from hypothesis import strategies as st

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=24)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 10**12),
    st.none() | AMOUNTS,
    AMOUNTS,
    TEXTS | st.integers(0, 10**25).map(str),
    st.integers(-(2**63), 2**63 - 1),
)
def test_a_row_comes_back_from_the_archive_as_it_was(time, quote, fee, trade, price):
    row = FillRow(
        time=BEGIN + timedelta(milliseconds=time),
        run_id=1,
        market_id=2,
        side="b",
        role="g",
        maker=True,
        price=price,
        quantity=5,
        quote=quote,
        fee=fee,
        fee_coin="USDT",
        trade_id=trade,
        client_id="pi-1",
    )
    assert FILLS.load(FILLS.store([row])) == [row]
    order = OrderRow(
        row.time, 1, 2, "b", "g", "f", -1, 3, price, 5, trade, None if quote is None else trade
    )
    assert ORDERS.load(ORDERS.store([order, order])) == [order, order]
    hour = CandleRow(row.time, 1, "BTC/USDT", fee, fee, quote or fee, fee, 3600, 0)
    assert CANDLES.load(CANDLES.store([hour])) == [hour]


def test_files_that_an_earlier_release_wrote_are_read():
    assert FILLS.schema.names == [
        "time_ms", "run_id", "market_id", "side", "role", "maker", "price", "quantity", "quote",
        "quote_digits", "quote_text", "fee", "fee_digits", "fee_text", "fee_coin", "trade_number",
        "trade_text", "client_id",
    ]  # fmt: skip
    assert FILLS.load(FILLS.store([])) == []


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 10**9), st.integers(0, 8), st.sampled_from(["0.01", "0.05", "0.25", "1", "5"])
)
def test_units_become_as_fine_as_an_amount_needs(number, digits, step):
    units = Units("BTC", "USDT", Decimal(step), Decimal(1))
    price = Decimal(number).scaleb(-digits)
    finer = units.finer([price], [Decimal(1)])
    assert finer.price(finer.ticks(price)) == price
    assert (finer == units) == (price % Decimal(step) == 0)


def test_an_amount_between_two_ticks_has_no_count():
    with pytest.raises(ValueError, match=r"0\.015 is no multiple of 0\.01"):
        Units("BTC", "USDT", Decimal("0.01"), Decimal(1)).ticks(Decimal("0.015"))


def test_the_position_of_a_page_comes_back():
    key = (BEGIN, 7, "123")
    assert Parameters({"after": position(key)}, ["after"]).after() == key


@pytest.mark.parametrize("text", ["", "x", "W10=", "bnVsbA==", "WyJhIiwxLCIiXQ==", "é"])
def test_a_position_that_is_none_is_refused(text):
    with pytest.raises(ParameterError, match="after needs the text"):
        Parameters({"after": text}, ["after"]).after()


def heard(name, mode, seconds, equity="100", profit="1"):
    grid = {"symbol": "BTC/USDT", "quote": "USDT", "equity": equity, "profit": {"total": profit}}
    status = {"grids": [grid], "connection": {"circuit": {"state": "open", "failures": 6}}}
    return Heard(name, mode, "main", "binance", "1", 10**9 - seconds * 1000, status)


def test_paper_and_live_are_never_added_up_and_stale_bots_not_at_all():
    bots = [
        heard("a", "paper", 1),
        heard("b", "live", 1, "7.5", "-2.5"),
        heard("c", "live", 1, "2", "0.1"),
        heard("d", "live", STALE_MS / 1000 + 1),
        heard("e", "live", 1, None),
        Heard("f", "", "", "", "", None, None, "no answer"),
    ]
    document = fleet_document(bots, 10**9)
    assert [one["stale"] for one in document["bots"]] == [False, False, False, True, False, True]
    paper, live = (
        next(one for one in document["totals"] if one["mode"] == mode) for mode in ("paper", "live")
    )
    assert (paper["equity"], paper["profit"], paper["grids"]) == ("100", "1", 1)
    assert (live["equity"], live["profit"], live["grids"]) == ("9.5", "-2.4", 2)
    assert live["not_counted"] == 2
    assert [one["bot"] for one in breakers(bots)] == list("abcde")


@pytest.mark.parametrize(
    "status",
    [
        {"grids": 7},
        {"grids": ["x"]},
        {"connection": 3},
        {"health": None},
        {"health": {"reasons": 7}},
    ],
)
def test_a_status_that_makes_no_sense_is_shown_as_far_as_it_does(status):
    bot = Heard("a", "paper", "main", "binance", "1", 1, status)
    assert fleet_document([bot], 2)["bots"][0]["name"] == "a"
    assert breakers([bot]) == []


def test_a_bot_knows_itself_whether_its_money_is_real():
    """It has gone live, and its collector has not started anew yet: nothing of it is paper."""
    stored = Heard("pi1", "paper", "main", "binance", "1", 5, {"state": "old"})
    asked = Heard("pi1", "live", "", "binance", "1", 6, {"state": "new"})
    assert (_newer(stored, asked).mode, _newer(stored, asked).account) == ("live", "")
    same = Heard("pi1", "paper", "", "binance", "1", 6, {"state": "new"})
    assert (_newer(stored, same).mode, _newer(stored, same).account) == ("paper", "main")
    assert _newer(stored, Heard("pi1", "", "", "", "", None, None)) == stored


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_program_that_talks_nonsense_is_shown_as_far_as_it_makes_sense(kind, data):
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
    names = "exchanges symbols reasons gaps_last_day files bytes circuit until_ms state healthy"
    inner = "symbols lag_ms queue silent trouble connected time_ms price signal missing"
    some = st.dictionaries(st.sampled_from(inner.split()), values)
    each = values | some | st.dictionaries(st.text(max_size=3), some, max_size=3)
    status = data.draw(st.dictionaries(st.sampled_from(names.split()), each))
    (document,) = program_documents([HeardProgram("a", kind, 1, status)], 2)
    assert all(isinstance(one["value"], str) for one in document["figures"])
    json.loads(json.dumps(document, allow_nan=False))


def test_figures_of_a_recorder_that_needs_its_owner():
    exchange = {"symbols": 2, "connected": False, "lag_ms": 6_400, "queue": 7, "dropped": 12}
    status = {
        "healthy": False,
        "reasons": ["the disk has only 12 MB free"],
        "exchanges": {"binance": exchange | {"silent": ["btcusdt@depth"], "trouble": "banned"}},
        "messages_per_second": 1234.5,
        "gaps_last_day": {"depth": 2, "trades": 1},
        "gap_seconds_last_day": 4.2,
        "files": 3,
        "bytes": 45_600_000,
        "bytes_per_row": 3.84,
    }
    (document,) = program_documents([HeardProgram("pi1", "recorder", 0, status)], 120_001)
    shown = {one["label"]: (one["value"], one["worry"]) for one in document["figures"]}
    assert shown["Messages a second"] == ("1\u202f234.5", False)
    assert shown["Lag"] == ("6.4 s", True)
    assert shown["Queue"] == ("7, 12 dropped", True)
    assert shown["Gaps of a day"] == ("depth 2, trades 1; 4.2 s", True)
    assert shown["Files"] == ("3, 45.6 MB", False)
    assert shown["Bytes a row"] == ("3.84", False)
    assert document["notes"] == [
        "binance: not connected",
        "binance: silent: btcusdt@depth",
        "binance: banned",
    ]
    assert document["stale"]
    assert (document["healthy"], document["reasons"]) == (False, status["reasons"])


def test_a_watcher_that_cannot_reach_its_gateway_is_not_well():
    status = {"state": "unreachable", "reason": "refused", "until_ms": None, "symbols": {}}
    (document,) = program_documents([HeardProgram("w", "watcher", 0, status)], 1_200_000)
    assert (document["healthy"], document["reasons"]) == (False, ["unreachable: refused"])
    assert not document["stale"]
