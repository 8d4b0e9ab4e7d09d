"""The market against time, restarts, and a disk that fails."""

import sqlite3
from decimal import Decimal
from fractions import Fraction

import pytest
from gridbase.errors import UserError
from gridexchange.exchange import RETRY_MS, SAVE_POSITION_MS
from gridexchange.store.store import Store

from .conftest import make_rules, make_series

D = Decimal
FLAT = (100, 100, 100, 100)
DIP = (100, 104, 90, 100)


def place(world, side, price, quantity="0.1"):
    return world.order(side, price=str(price), quantity=quantity).json


def trades(world):
    answer = world.signed("GET", "myTrades", symbol="BTCUSDT").json
    return [(trade["isBuyer"], D(trade["price"])) for trade in answer]


def test_many_legs_at_once_give_the_same_books_as_one_by_one(make_world, tmp_path):
    candles = [(100, 104 + n % 3, 90 - n % 2, 100 + n % 5) for n in range(40)]
    results = []
    for number, step in enumerate((1, 7, 160)):
        world = make_world(*candles, at_end="hold", speed=Fraction(600))
        for price in (91, 93, 95, 97):
            place(world, "BUY", price)
        for price in (103, 104, 105):
            place(world, "SELL", price)
        for _ in range(0, 161, step):
            world.legs(step)
            world.call("GET", "/gridberry/health")
        results.append((trades(world), world.account()))
        world.store.close()
        world.directory.rename(tmp_path / f"done{number}")
    assert results[0] == results[1] == results[2]
    assert len(results[0][0]) == 7


def test_power_cut_loses_nothing_and_the_market_goes_on_where_the_books_are(make_world):
    world = make_world(FLAT, DIP, FLAT, FLAT, at_end="hold")
    place(world, "BUY", 95)
    place(world, "SELL", 110)
    world.legs(5)
    before = (trades(world), world.account(), world.listing.position)
    assert before[0] == [(True, D(95))]
    world.reopen()
    assert (trades(world), world.account(), world.listing.position) == before
    assert [o["orderId"] for o in world.signed("GET", "openOrders").json] == [2]
    assert place(world, "BUY", 80)["orderId"] == 3
    world.legs(1)
    assert world.get("ticker/price", symbol="BTCUSDT").json["price"] == "104.00000000"


def test_market_without_fills_saves_its_position_seldom(make_world):
    world = make_world(FLAT, *[FLAT] * 200)
    commits = []
    real = world.store.commit
    world.store.commit = lambda *arguments: (commits.append(1), real(*arguments))
    for _ in range(SAVE_POSITION_MS // 1000):
        world.clock.pass_ms(1000)
        world.exchange.advance()
    assert len(commits) == 1
    world.reopen()
    assert world.listing.position == SAVE_POSITION_MS // 250


def test_orderly_stop_saves_the_position(make_world):
    world = make_world(FLAT, DIP, FLAT)
    world.legs(6)
    world.reopen(cleanly=True)
    assert world.listing.position == 6


def test_wall_clock_that_jumps_back_moves_neither_market_nor_trade_times(make_world):
    world = make_world(FLAT, DIP, FLAT, at_end="hold")
    place(world, "BUY", 95)
    world.clock.wall_ms -= 3_600_000
    world.legs(5)
    order = world.signed("GET", "order", symbol="BTCUSDT", orderId=1).json
    assert order["status"] == "FILLED"
    assert order["updateTime"] >= order["time"]


def test_recording_repeats(make_world):
    world = make_world(DIP, speed=60)
    place(world, "BUY", 95)
    world.legs(4)
    assert trades(world) == [(True, D(95))]
    place(world, "BUY", 95)
    world.legs(4)
    assert len(trades(world)) == 2


def test_another_market_starts_anew_and_keeps_the_books(make_world):
    world = make_world(FLAT, DIP, FLAT)
    place(world, "BUY", 80)
    place(world, "SELL", 120)
    world.legs(3)
    world.exchange.close()
    world.series = make_series((70, 75, 60, 65), FLAT)
    world.open()
    assert world.listing.restarted == "its prices are others than in the last run"
    assert trades(world) == [(True, D(80))]
    assert world.listing.engine.last_price == 70
    world.reopen()
    assert not world.listing.restarted


def test_books_of_another_symbol_are_refused(make_world):
    world = make_world(FLAT)
    world.exchange.close()
    world.rules = make_rules(symbol="ETH/USDT", base="ETH")
    with pytest.raises(UserError, match="holds the books of BTC/USDT, not of ETH/USDT"):
        world.open()


def test_start_balances_count_once(make_world):
    world = make_world(FLAT, balances={"USDT": D(500)})
    world.exchange.close()
    world.balances = {"USDT": D(9)}
    world.open()
    assert world.account() == {"BTC": (0, 0), "USDT": (D(500), 0)}


def test_second_exchange_on_the_same_directory_is_refused(make_world):
    world = make_world(FLAT)
    with pytest.raises(UserError, match="another exchange is using it"):
        Store(world.directory)


def test_damaged_database_is_refused(make_world):
    world = make_world(FLAT)
    world.exchange.close()
    world.store.path.write_bytes(b"this is no database" * 100)
    with pytest.raises(UserError, match="cannot be used: file is not a database"):
        world.open()


def test_database_of_another_version_is_refused(make_world):
    world = make_world(FLAT)
    world.exchange.close()
    with sqlite3.connect(world.store.path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(UserError, match="has schema 99, this program knows 3"):
        world.open()


def fill_disk(world) -> None:
    """Let the database not grow by a single page, as a full disk would."""
    run = world.store._database.execute
    pages = run("PRAGMA page_count").fetchone()[0]
    run(f"PRAGMA max_page_count = {pages}")


def free_disk(world) -> None:
    world.store._database.execute("PRAGMA max_page_count = 1000000")


def test_full_disk_refuses_the_order_and_recovers(make_world):
    world = make_world(FLAT, DIP, FLAT, at_end="hold")
    fill_disk(world)
    accepted = 0
    while (answer := world.order(price="80", quantity="0.1")).status == 200:
        accepted += 1
        world.clock.pass_ms(1)
        assert accepted < 99
    assert answer.error == (
        500,
        -1001,
        "Internal error; unable to process your request. Please try again.",
    )
    assert len(world.signed("GET", "openOrders").json) == accepted
    locked = accepted * 8
    assert world.account()["USDT"] == (D(10_000 - locked), D(locked))
    world.clock.pass_ms(5_000)
    health = world.call("GET", "/gridberry/health")
    assert health.status == 503
    assert health.json["reasons"] == ["books cannot be written: database or disk is full"]
    free_disk(world)
    world.clock.pass_ms(RETRY_MS)
    assert world.call("GET", "/gridberry/health").status == 200
    assert world.order(price="80", quantity="0.1").json["orderId"] == accepted + 1


def test_full_disk_stops_the_market_before_a_fill_it_cannot_write(make_world):
    world = make_world(FLAT, DIP, FLAT, at_end="hold")
    place(world, "BUY", 95)
    real = world.store.commit

    def full(*_arguments):
        raise sqlite3.OperationalError("database or disk is full")

    world.store.commit = full
    world.legs(5)
    assert world.signed("GET", "myTrades", symbol="BTCUSDT").status == 500
    health = world.call("GET", "/gridberry/health")
    assert health.status == 503
    assert health.json["reasons"] == ["books cannot be written: database or disk is full"]
    world.store.commit = real
    world.legs(5)
    assert trades(world) == [(True, D(95))]
    assert world.call("GET", "/gridberry/health").status == 200


def test_unreadable_books_are_read_again_when_they_can_be(make_world):
    world = make_world(FLAT, DIP, FLAT, at_end="hold")
    place(world, "BUY", 95)

    def broken(*_arguments):
        raise sqlite3.OperationalError("disk I/O error")

    real = world.store.commit, world.store.balances
    world.store.commit = world.store.balances = broken
    assert world.order(price="80", quantity="0.1").status == 500
    assert world.signed("GET", "account").status == 500
    assert world.exchange.trouble == "books cannot be read: disk I/O error"
    world.store.commit, world.store.balances = real
    assert world.account()["USDT"] == (D("9990.5"), D("9.5"))
