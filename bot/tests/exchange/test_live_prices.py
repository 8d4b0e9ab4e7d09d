"""An exchange that follows another one: nothing fills that did not trade there."""

import dataclasses
import json
from decimal import Decimal

import pytest
from gridexchange.live import catching_up
from gridexchange.live.events import Traded

from .conftest import FakeClock, World, make_rules
from .live import Paper, page_of

STEP_MS = 5_000
# Seconds after which it has asked again: a minute, spread by a fifth, and two looks.
RETRIED = 85
# Down by 1,000 a minute, and up again; a volume of 1 is traded in 32 parts of 0.03125 a minute.
WAVES = [
    (50_000, 50_000, 49_000, 49_000),
    (49_000, 49_000, 48_000, 48_000),
    (48_000, 49_000, 48_000, 49_000),
    (49_000, 50_000, 49_000, 50_000),
] * 30
SPREAD_RULES = dataclasses.replace(make_rules(), spread=Decimal("0.0002"))
AWAY = (503, -1016, "This service is no longer available.")


@pytest.fixture
def make_pair(make_world, tmp_path):
    """The exchange that plays the real one, and some that follow it."""
    papers = []

    def make(*candles, rules=SPREAD_RULES, faults=(), count=1, **settings):
        clock = FakeClock()
        real = make_world(*candles, rules=rules, speed=1, clock=clock, faults=list(faults))
        places = [tmp_path / f"paper{number}" for number in range(count)]
        papers.extend(Paper(place, real.api, clock, **settings) for place in places)
        return real, *papers

    yield make
    for paper in papers:
        paper.store.close()


def live(seconds: float, *papers) -> None:
    """Let time pass; the exchanges look every five seconds."""
    for _ in range(round(seconds * 1000 / STEP_MS)):
        papers[0].clock.pass_ms(STEP_MS)
        for paper in papers:
            paper.follower.step(0.0)


def a_grid(*papers) -> None:
    """The same orders on each exchange, some of which the waves reach."""
    for paper in papers:
        for price in ("49500", "49000", "48500", "48200", "47000"):
            assert paper.order(price=price, quantity="0.04").json["status"] == "NEW"
        for price in ("50500", "49999"):
            paper.order("SELL", price=price, quantity="0.04")


def check_fills(real, paper) -> None:
    """What an order got traded at its price or beyond, after it came, and only once."""
    rows = []
    first = 0
    while page := real.get("aggTrades", symbol="BTCUSDT", fromId=first, limit=1000).json:
        rows += page
        first = page[-1]["a"] + 1
    traded = [(row["T"], Decimal(row["p"]), Decimal(row["q"])) for row in rows]
    own = [trade for trade in paper.trades() if trade["isMaker"]]
    for trade in own:
        price, buys = Decimal(trade["price"]), trade["isBuyer"]
        same = [
            Decimal(each["qty"])
            for each in own
            if each["time"] == trade["time"] and each["isBuyer"] == buys
            if (Decimal(each["price"]) >= price if buys else Decimal(each["price"]) <= price)
        ]
        there = sum(
            quantity
            for time, at, quantity in traded
            if time == trade["time"] and (at <= price if buys else at >= price)
        )
        # Orders with better prices may have had trades that were beyond theirs only.
        best = max if buys else min
        limit = best(Decimal(each["price"]) for each in own if each["isBuyer"] == buys)
        most = sum(
            quantity
            for time, at, quantity in traded
            if time == trade["time"] and (at <= limit if buys else at >= limit)
        )
        assert Decimal(trade["qty"]) <= there
        assert sum(same) <= most


def test_nobody_is_answered_before_there_is_a_price(make_pair):
    _, paper = make_pair(*WAVES)
    paper.wire.down = True
    live(120, paper)
    assert paper.get("ticker/price", symbol="BTCUSDT").error == AWAY
    assert paper.get("/sapi/v1/system/status").json["status"] == 1
    paper.wire.down = False
    live(RETRIED, paper)
    assert paper.get("ticker/price", symbol="BTCUSDT").status == 200
    assert paper.get("/sapi/v1/system/status").json["status"] == 0
    assert paper.told()["following"]


def test_nobody_is_answered_once_the_market_is_unseen_for_half_a_minute(make_pair):
    _, paper = make_pair(*WAVES)
    live(15, paper)
    client = paper.connect("/stream", "streams=btcusdt@bookTicker")
    paper.wire.down = True
    paper.wire.cut()
    live(30, paper)
    assert paper.get("ticker/price", symbol="BTCUSDT").status == 200
    live(5, paper)
    assert paper.get("ticker/price", symbol="BTCUSDT").error == AWAY
    assert paper.signed("GET", "openOrders", symbol="BTCUSDT").error == AWAY
    client.messages()
    assert client.connection.closed
    paper.wire.down = False
    live(RETRIED, paper)
    assert paper.get("ticker/price", symbol="BTCUSDT").status == 200
    assert paper.told()["gaps"] == []


def test_filters_and_candles_are_those_of_the_exchange_that_is_followed(make_pair):
    rules = make_rules(tick_size=Decimal("0.5"), lot_size=Decimal("0.001"), max_orders=77)
    real, paper = make_pair(*WAVES, rules=rules)
    live(125, paper)
    found = paper.get("exchangeInfo", symbol="BTCUSDT").json["symbols"][0]
    assert found == real.get("exchangeInfo", symbol="BTCUSDT").json["symbols"][0]
    for interval in ("1m", "1h"):
        asked = {"symbol": "BTCUSDT", "interval": interval, "limit": 5}
        assert paper.get("klines", **asked).json == real.get("klines", **asked).json
    assert paper.get("klines", symbol="BTCUSDT", interval="7m").error[1] == -1120
    for name in ("lowPrice", "highPrice", "openPrice", "lastPrice"):
        day = [each.get("ticker/24hr", symbol="BTCUSDT").json[name] for each in (real, paper)]
        assert day[0] == day[1]
    for name in ("bidPrice", "askPrice"):
        best = [each.get("ticker/bookTicker", symbol="BTCUSDT").json for each in (real, paper)]
        assert best[0][name] == best[1][name]


def test_orders_fill_from_what_traded_beyond_their_price_and_for_no_more(make_pair):
    real, paper = make_pair(*WAVES)
    live(10, paper)
    a_grid(paper)
    live(600, paper)
    trades = paper.trades()
    assert len({trade["orderId"] for trade in trades}) == 5
    assert len(trades) > 5  # 0.04 is more than one trade of 0.03125
    check_fills(real, paper)


def test_streams_say_what_the_market_does(make_pair):
    real, paper = make_pair(*WAVES)
    live(65, paper)
    names = ("btcusdt@kline_1m", "btcusdt@miniTicker", "btcusdt@bookTicker")
    client = paper.connect("/stream", f"streams={'/'.join(names)}")
    heard = []
    for _ in range(30):
        live(5, paper)
        heard += client.messages()
    assert {message["stream"] for message in heard} == set(names)
    closed = [m["data"]["k"] for m in heard if m["data"].get("k", {}).get("x")]
    rows = real.get("klines", symbol="BTCUSDT", interval="1m", limit=4).json
    assert [[k[name] for name in "tohlcv"] for k in closed] == [
        row[:6] for row in rows if row[0] in {k["t"] for k in closed}
    ]
    assert len(closed) >= 2


@pytest.mark.parametrize("reason", ["cut", "down", "maintenance", "lost events"])
def test_after_a_cut_everything_is_as_without_it(make_pair, reason, caplog):
    faults = []
    if reason == "lost events":
        faults = [
            {"kind": kind, "event": "aggTrade", "probability": 0.1}
            for kind in ("lost_event", "duplicate_event", "reordered_event")
        ]
    real, paper, twin = make_pair(*WAVES, count=2, faults=faults)
    live(15, paper, twin)
    a_grid(paper, twin)
    if reason == "maintenance":
        paper.wire.answer, paper.wire.refusing = page_of(503), True
    paper.wire.down = reason == "down"
    if reason != "lost events":
        paper.wire.cut()
        live(5, paper, twin)
        assert not paper.told()["following"]
        assert paper.order(price="48000", quantity="0.01").error == AWAY
        assert paper.signed("DELETE", "openOrders", symbol="BTCUSDT").error == AWAY
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
        order |= {"price": "48000", "quantity": "0.01"}
        assert paper.signed("POST", "order/test", **order).error == AWAY
        order |= {"cancelReplaceMode": "ALLOW_FAILURE", "cancelOrderId": 1}
        assert paper.signed("POST", "order/cancelReplace", **order).error == AWAY
        assert float(paper.get("ticker/bookTicker", symbol="BTCUSDT").json["bidPrice"]) > 40_000
        live(35, paper, twin)
    paper.wire.down, paper.wire.refusing, paper.wire.answer = False, False, None
    live(400, paper, twin)
    assert paper.told() == twin.told()
    assert paper.told()["gaps"] == []
    assert paper.trades() == twin.trades()
    assert paper.account() == twin.account()
    assert len(paper.trades()) >= 5
    if reason == "lost events":
        assert paper.exchange.counters.answer()["upstream"]["GET aggTrades"] > 10
    check_fills(real, paper)
    if reason in ("down", "maintenance"):
        assert len([line for line in caplog.messages if "next try" in line]) <= 2


def test_connections_that_end_after_24_hours_lose_no_trade(make_pair):
    real, paper, twin = make_pair(*WAVES, count=2)
    live(15, paper, twin)
    a_grid(paper, twin)
    for _ in range(10):
        live(30, paper, twin)
        paper.wire.cut()
    live(120, paper, twin)
    assert paper.trades() == twin.trades()
    assert paper.told()["gaps"] == []
    check_fills(real, paper)


@pytest.mark.parametrize("cleanly", [True, False])
def test_orders_that_rested_while_it_was_down_fill_from_what_traded(make_pair, cleanly):
    real, paper, twin = make_pair(*WAVES, count=2)
    live(15, paper, twin)
    a_grid(paper, twin)
    live(10, paper, twin)
    live(300, twin)
    paper.reopen(cleanly=cleanly)
    assert paper.get("ticker/price", symbol="BTCUSDT").error == AWAY
    live(60, paper, twin)
    assert paper.trades() == twin.trades()
    assert paper.account() == twin.account()
    check_fills(real, paper)


def test_while_trades_are_missing_no_order_is_taken(make_pair):
    _, paper = make_pair(*WAVES)
    live(15, paper)
    price, time_ms = Decimal(50_000), paper.clock.now_ms()
    number = paper.live.last_number
    for missing in (1, 3):
        trade = Traded(number + missing, price, Decimal(1), time_ms, seller_took=True)
        paper.live.inbox.append(trade)
        refused = paper.order(price="47500", quantity="0.01").json.get("code")
        assert refused == (None if missing == 1 else -1016)
    live(10, paper)
    assert paper.order(price="47400", quantity="0.01").json["status"] == "NEW"


def test_after_a_restart_without_a_trade_the_price_is_that_of_the_last_one(make_pair):
    _, paper = make_pair(*WAVES)
    live(45, paper)
    price = paper.get("ticker/price", symbol="BTCUSDT").json
    paper.reopen(cleanly=True)
    live(5, paper)
    assert paper.get("ticker/price", symbol="BTCUSDT").json == price
    assert paper.told()["following"]
    assert paper.told()["gaps"] == []


def test_what_trades_between_two_questions_is_not_missed(make_pair):
    _, paper = make_pair(*WAVES)
    live(15, paper)
    last = paper.live.last_number
    paper.wire.cut()
    paper.clock.pass_ms(120_000)
    answers = [page_of(200, "[]")]  # as if nothing had traded when it was asked first

    def answer(request):
        if "fromId" in request.url and answers:
            return answers.pop()(request)
        return paper.wire.real(request)

    paper.wire.answer = answer
    live(15, paper)
    assert answers == []
    assert paper.live.last_number > last + 50
    assert paper.told()["gaps"] == []


def test_trades_that_cannot_be_had_are_told_and_fill_nothing(make_pair, caplog):
    real, paper = make_pair(*WAVES)
    live(15, paper)
    a_grid(paper)
    before = paper.told()["last_trade_ms"]
    paper.wire.cut()
    paper.wire.down = True
    live(150, paper)
    assert paper.get("/gridberry/health").json["live"]["connected"] is False
    first = real.get("aggTrades", symbol="BTCUSDT", limit=1).json[0]
    paper.wire.down = False
    paper.wire.forget = first["a"]
    live(5, paper)
    live(RETRIED, paper)
    (gap,) = paper.told()["gaps"]
    assert (gap["from"], gap["until"]) == (before, first["T"])
    assert gap["trades"] > 10
    assert all(trade["time"] >= first["T"] for trade in paper.trades())
    assert f"{gap['trades']} trades of binance are missed" in caplog.text
    paper.reopen()
    live(5, paper)
    assert paper.told()["gaps"] == [gap]


def test_more_trades_than_it_asks_for_are_a_gap(make_pair, monkeypatch):
    monkeypatch.setattr(catching_up, "PAGE", 10)
    monkeypatch.setattr(catching_up, "MOST_PAGES", 2)
    _, paper = make_pair(*WAVES)
    live(15, paper)
    paper.wire.cut()
    paper.wire.down = True
    live(120, paper)
    paper.wire.down = False
    live(RETRIED, paper)
    (gap,) = paper.told()["gaps"]
    assert gap["trades"] > 20
    assert paper.told()["following"]


def test_an_exchange_whose_trades_are_numbered_anew_is_followed_from_there(make_pair, tmp_path):
    real, paper = make_pair(*WAVES)
    live(300, paper)
    assert paper.order(price="47500", quantity="0.01").json["status"] == "NEW"
    paper.wire.cut()
    again = World(tmp_path / "again", real.series, rules=SPREAD_RULES, speed=1, clock=paper.clock)
    paper.wire.api = again.api
    live(RETRIED, paper)
    assert paper.told()["following"]
    assert len(paper.told()["gaps"]) == 1
    last = again.get("aggTrades", symbol="BTCUSDT", limit=1).json[0]
    assert paper.live.last_number == last["a"]
    again.store.close()


def test_a_symbol_that_is_not_traded_any_more_takes_no_orders(make_pair, caplog):
    real, paper = make_pair(*WAVES)
    live(15, paper)
    a_grid(paper)
    real.listing.rules = dataclasses.replace(real.listing.rules, status="BREAK")
    live(3_700, paper)
    refused = paper.order(price="47500", quantity="0.01")
    assert refused.error == (400, -2010, "Market is closed.")
    assert paper.get("exchangeInfo").json["symbols"][0]["status"] == "BREAK"
    assert caplog.text.count("BTCUSDT is not traded: BREAK on binance") == 1
    paper.wire.answer = invalid_symbol  # and after some days it is not known at all
    live(700, paper)
    paper.wire.cut()
    live(120, paper)
    assert paper.order(price="47500", quantity="0.01").error[1] == -2010
    assert paper.signed("DELETE", "openOrders", symbol="BTCUSDT").status == 200
    real.listing.rules = dataclasses.replace(real.listing.rules, status="TRADING")
    paper.wire.answer = None
    live(400, paper)
    assert paper.order(price="47500", quantity="0.01").json["status"] == "NEW"


def test_a_symbol_that_is_gone_at_once_is_closed_within_a_minute(make_pair):
    _, paper = make_pair(*WAVES)
    live(15, paper)
    paper.wire.answer = invalid_symbol
    paper.wire.cut()
    live(60, paper)
    assert paper.order(price="47500", quantity="0.01").error[1] == -2010


def test_a_symbol_that_never_was_there_is_one_line(make_pair, caplog):
    _, paper = make_pair(*WAVES)
    paper.wire.answer = invalid_symbol
    live(1_000, paper)
    assert paper.get("ticker/price", symbol="BTCUSDT").error == AWAY
    assert caplog.text.count("symbol = BTC/USDT: binance has no such market") == 1


def test_who_does_not_answer_is_asked_less_and_less_often(make_pair):
    _, paper = make_pair(*WAVES)
    live(15, paper)
    paper.wire.answer = page_of(429)
    paper.wire.cut()
    asked = len(paper.wire.asked)
    live(600, paper)
    assert 5 < len(paper.wire.asked) - asked < 20
    assert "HTTP 429" in paper.get("/gridberry/health").json["live"]["trouble"]


def test_the_last_day_is_known_at_once(make_pair):
    high = (50_000, 60_000, 50_000, 50_000)
    real, paper = make_pair(*[WAVES[0]] * 200, high, *[WAVES[0]] * 1_400)
    paper.clock.pass_ms(1_500 * 60_000)
    live(10, paper)
    day = [each.get("ticker/24hr", symbol="BTCUSDT").json for each in (real, paper)]
    for name in ("highPrice", "openTime", "volume"):
        assert day[0][name] == day[1][name]
    assert day[0]["highPrice"] == "60000.00000000"


def invalid_symbol(_request):
    return page_of(400, json.dumps({"code": -1121, "msg": "Invalid symbol."}))(_request)


def test_what_makes_no_sense_is_one_line_and_is_asked_again(make_pair, caplog):
    _, paper = make_pair(*WAVES)
    paper.wire.answer = page_of(200, '{"symbols": [{}]}')
    live(60, paper)
    paper.wire.answer = page_of(200, "<html>")
    live(60, paper)
    paper.wire.answer = None
    live(RETRIED, paper)
    assert paper.told()["following"]
    assert len([line for line in caplog.messages if "next try" in line]) == 2


def test_bnb_costs_what_it_costs_there(make_pair):
    _, paper = make_pair(*WAVES, fee_in="bnb")
    real_answer = paper.wire.real
    paper.wire.answer = lambda request: (
        page_of(200, '{"symbol": "BNBUSDT", "price": "512.5"}')(request)
        if "BNBUSDT" in request.url
        else real_answer(request)
    )
    live(15, paper)
    assert paper.listing.rules.bnb_price == Decimal("512.5")


def test_a_quiet_hour_costs_few_requests(make_pair):
    _, paper = make_pair(*WAVES)
    live(60, paper)
    start = dict(paper.exchange.counters.answer()["upstream"])
    live(3_600, paper)
    paper.wire.cut()
    live(60, paper)
    end = paper.exchange.counters.answer()["upstream"]
    more = {name: number - start.get(name, 0) for name, number in end.items()}
    assert more == {
        "GET aggTrades": 2,
        "GET depth": 1,
        "GET exchangeInfo": 1,
        "GET klines": 1,
        "weight": 35,
    }
