import contextlib
import os
import sqlite3
import subprocess
import tempfile
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.market import Market
from gridbot.core.engine import Changes
from gridbot.core.grid import Plan
from gridbot.core.orders import Fill, Leg, Order, OrderState, Role, Side
from gridbot.store import (
    Closing,
    GridRun,
    HaltRow,
    Sample,
    Store,
    StoreError,
    acknowledged,
)
from gridbot.store.acknowledged import Acknowledgement

MARKET = Market(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00001"),
    min_quantity=Decimal("0.00001"),
    min_notional=Decimal(5),
    max_orders=200,
)
GENERATION = GridRun(
    id=1,
    symbol="BTC/USDT",
    tag="abc123",
    settings={"bot_name": "pi1", "grid.investment": "1000"},
    market=MARKET,
    plan=Plan((Decimal("1.10"), Decimal("2.20")), Decimal("1.5"), 0, Decimal("0.1"), Decimal(1000)),
    investment=Decimal(1000),
    opening={"USDT": Decimal("1000.00000001")},
    first_trade_id=7,
    trade_cursor=7,
    started_ms=123,
)
LEG = Leg("pi1-BTCUSDT-abc123-1s1", Role.GRID, Side.SELL, 1, Decimal("0.1"))
ORDER = Order(
    client_id=LEG.id,
    leg=LEG.id,
    role=Role.GRID,
    side=Side.SELL,
    line=1,
    cycle=1,
    price=Decimal("2.20"),
    quantity=Decimal("0.1"),
    state=OrderState.INTENDED,
    exchange_id=None,
    created_ms=124,
)
FILL = Fill(
    trade_id=9,
    client_id=LEG.id,
    side=Side.SELL,
    price=Decimal("2.20"),
    quantity=Decimal("0.05"),
    quote=Decimal("0.11"),
    commission=Decimal("1E-8"),
    commission_coin="USDT",
    time_ms=125,
    maker=True,
)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    yield store
    store.close()


def test_what_is_written_is_read_back(tmp_path, store):
    store.start_grid_run(GENERATION, Changes(1, legs=[LEG], orders=[ORDER]))
    accepted = replace(ORDER, state=OrderState.OPEN, exchange_id=55)
    store.commit(1, Changes(2, updated=[accepted], fills=[FILL], trade_cursor=10))
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store._connection.execute("SELECT 1")
    again = Store(tmp_path)
    assert again.grid_run("BTC/USDT") == replace(GENERATION, trade_cursor=10)
    assert again.orders(1) == [accepted]
    assert again.fills(1, 9) == [FILL]
    assert again.fills(1, 8) == []
    assert again.knows(LEG.id)
    assert not again.knows("other")
    again.close()


def test_a_transaction_is_all_or_nothing(store):
    store.start_grid_run(GENERATION, Changes(1, legs=[LEG], orders=[ORDER]))
    other = replace(ORDER, client_id="new")
    with pytest.raises(StoreError):
        store.commit(1, Changes(2, orders=[other, other]))
    assert store.orders(1) == [ORDER]


def test_every_commit_is_on_the_disk(store):
    rows = [store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in (
        "journal_mode", "synchronous", "foreign_keys", "page_size", "wal_autocheckpoint",
        "journal_size_limit",
    )]  # fmt: skip
    assert rows == ["wal", 2, 1, 1024, 1000, 1_048_576]


@pytest.mark.usefixtures("store")
def test_a_second_bot_on_the_same_directory_is_refused(tmp_path):
    with pytest.raises(StoreError, match="is in use by another running bot") as refused:
        Store(tmp_path)
    assert refused.value.lasting
    assert refused.value.exit_code == 4
    reader = Store(tmp_path, read_only=True)
    assert reader.grid_run("BTC/USDT") is None
    with pytest.raises(StoreError, match="readonly"):
        reader.close_grid_run(1, 0)
    reader.close()


def test_the_lock_goes_with_the_bot(tmp_path, store):
    store.close()
    Store(tmp_path).close()


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match="is not a directory; create it"):
        Store(tmp_path / "none")


def test_reading_before_the_first_start_says_so(tmp_path):
    with pytest.raises(StoreError, match="holds no grid yet"):
        Store(tmp_path, read_only=True)


def test_a_newer_schema_is_refused(tmp_path, store):
    store._connection.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreError, match="written by a newer gridbot"):
        Store(tmp_path)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "gridbot.sqlite3").write_bytes(b"something else entirely" * 100)
    with pytest.raises(StoreError, match="is damaged") as refused:
        Store(tmp_path)
    assert refused.value.lasting
    assert "\n" not in str(refused.value)


@pytest.fixture
def small_disk():
    """A file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    with tempfile.TemporaryDirectory() as directory:
        command = ["mount", "-t", "tmpfs", "-o", "size=256k", "gridbot-test", directory]
        if subprocess.run(command, check=False, capture_output=True).returncode != 0:
            pytest.skip("mounting is not allowed here")
        try:
            yield Path(directory)
        finally:
            subprocess.run(["umount", directory], check=True)


def fill_up(path):
    """Write until there is no room."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0" * 4096)


def write_on(store, written):
    for name in map(str, range(500)):
        store.commit(1, Changes(2, orders=[replace(ORDER, client_id=name)]))
        written.append(name)


def test_a_full_disk_is_told_loses_nothing_and_heals(small_disk):
    store = Store(small_disk)
    store.start_grid_run(GENERATION, Changes(1, legs=[LEG], orders=[ORDER]))
    ballast = small_disk / "ballast"
    fill_up(ballast)
    written = []
    with pytest.raises(StoreError, match=r"full|disk I/O") as refused:
        write_on(store, written)
    assert str(small_disk) in str(refused.value)
    assert not refused.value.lasting
    assert [order.client_id for order in store.orders(1)] == [ORDER.client_id, *written]
    ballast.unlink()
    store.commit(1, Changes(3, orders=[replace(ORDER, client_id="after")]))
    store.close()
    again = Store(small_disk)
    assert len(again.orders(1)) == len(written) + 2
    again.close()


# Grids of several symbols, their ends, and what the stop rules remember.

CLOSING = Closing(
    equity=Decimal("1010.5"),
    price=Decimal("1.6"),
    grid_profit=Decimal("9.5"),
    liquidation_profit=Decimal(1),
    reason="take-profit",
)


def other_grid(number, symbol="ETH/USDT", **changes):
    return replace(GENERATION, id=number, symbol=symbol, tag=f"tag00{number}", **changes)


def test_each_symbol_has_its_own_latest_grid(store):
    second, third = other_grid(2), other_grid(3, "BTC/USDT", carried=Decimal("0.25"))
    for grid_run in (GENERATION, second, third):
        store.start_grid_run(grid_run, Changes(1))
    assert store.grid_run("BTC/USDT") == store.newest_grid_run() == third
    assert store.grid_run("ETH/USDT") == second
    assert store.grid_run("LTC/USDT") is None
    assert list(store.grid_runs("BTC/USDT")) == [GENERATION, third]
    assert list(store.grid_runs()) == [GENERATION, second, third]


def test_a_grid_ends_with_what_it_was_worth(store):
    store.start_grid_run(GENERATION, Changes(1))
    store.close_grid_run(1, 500, CLOSING)
    assert store.grid_run("BTC/USDT") == replace(GENERATION, closed_ms=500, closing=CLOSING)


def test_what_the_account_had_is_stored_with_an_end(store):
    closing = replace(CLOSING, account=Decimal("0.50"), next_range=(Decimal(1), Decimal(2)))
    store.start_grid_run(GENERATION, Changes(1))
    store.close_grid_run(1, 500, closing)
    assert store.grid_run("BTC/USDT").closing == closing


def test_a_grid_ends_with_the_begin_of_the_next_one_or_not_at_all(store):
    store.start_grid_run(GENERATION, Changes(1))
    end = replace(GENERATION, closed_ms=500, closing=replace(CLOSING, takes_over=True))
    with pytest.raises(StoreError):
        store.start_grid_run(
            replace(other_grid(2, "BTC/USDT"), tag=GENERATION.tag), Changes(1), end
        )
    assert list(store.grid_runs()) == [GENERATION]
    second = other_grid(2, "BTC/USDT")
    store.start_grid_run(second, Changes(1), end)
    assert list(store.grid_runs()) == [end, second]


def test_an_ended_grid_can_be_told_what_to_leave_until_the_next_one_begins(store):
    leaves = replace(CLOSING, takes_over=True)
    store.start_grid_run(GENERATION, Changes(1))
    store.close_grid_run(1, 500, leaves)
    end = store.grid_run("BTC/USDT")
    assert store.set_closing(1, CLOSING)
    with pytest.raises(StoreError, match="is not to be taken over any more") as refused:
        store.start_grid_run(other_grid(2, "BTC/USDT"), Changes(1), end)
    assert not refused.value.lasting
    assert list(store.grid_runs()) == [replace(end, closing=CLOSING)]
    assert store.set_closing(1, leaves)
    store.start_grid_run(other_grid(2, "ETH/USDT"), Changes(1))
    assert store.set_closing(1, leaves), "another symbol's grid is not the next one"
    store.start_grid_run(other_grid(3, "BTC/USDT"), Changes(1), end)
    assert not store.set_closing(1, CLOSING)
    assert next(store.grid_runs()).closing == leaves


def test_a_market_is_stored_with_all_its_rules(store):
    rules = replace(MARKET, buy_band=(Decimal("0.2"), Decimal("1.10")), max_quantity=Decimal(9))
    store.start_grid_run(replace(GENERATION, market=rules), Changes(1))
    assert store.grid_run("BTC/USDT").market == rules


def test_what_the_stop_rules_remember_is_written_with_the_step(store):
    store.start_grid_run(replace(GENERATION, watch={"peak": "1000"}), Changes(1))
    assert store.grid_run("BTC/USDT").watch == {"peak": "1000"}
    store.commit(1, Changes(2, trade_cursor=8), {"peak": "1001"})
    store.commit(1, Changes(3, trade_cursor=9))
    after = store.grid_run("BTC/USDT")
    assert (after.watch, after.trade_cursor) == ({"peak": "1001"}, 9)
    with pytest.raises(StoreError):
        store.commit(1, Changes(4, orders=[replace(ORDER, leg="none")]), {"peak": "2"})
    assert store.grid_run("BTC/USDT").watch == {"peak": "1001"}
    store.set_watch(1, {})
    assert store.grid_run("BTC/USDT").watch == {}


def test_trades_that_the_cursor_has_not_reached_are_known(store):
    store.start_grid_run(GENERATION, Changes(1, legs=[LEG], orders=[ORDER]))
    fills = [replace(FILL, trade_id=number) for number in (9, 12, 15)]
    store.commit(1, Changes(2, fills=fills))
    assert store.known_trades(1, 12) == {12, 15}
    assert store.known_trades(2, 0) == set()


def test_a_halt_stands_until_a_person_clears_it(store):
    fields = {"reason_code": "loss_price", "text": "price 1 is below 2", "liquidate": True}
    store.halt("BTC/USDT", price=Decimal("1.5"), at_ms=7, **fields)
    store.halt("BTC/USDT", price=Decimal(9), at_ms=8, reason_code="drawdown", text="later")
    first = HaltRow("BTC/USDT", price=Decimal("1.5"), at_ms=7, **fields)
    assert store.open_halt("BTC/USDT") == first
    assert store.open_halt("ETH/USDT") is None
    assert not store.clear_halt("ETH/USDT", 9)
    assert store.clear_halt("BTC/USDT", 9)
    assert not store.clear_halt("BTC/USDT", 9)
    assert store.open_halt("BTC/USDT") is None
    store.halt("BTC/USDT", price=Decimal(9), at_ms=10, reason_code="drawdown", text="later")
    assert store.open_halt("BTC/USDT").reason_code == "drawdown"


def test_the_log_does_not_stay_large(tmp_path, store):
    store.start_grid_run(GENERATION, Changes(1, legs=[LEG], orders=[ORDER]))
    reader = Store(tmp_path, read_only=True)
    with reader.transaction("DEFERRED") as connection:  # holds the log open
        connection.execute("SELECT * FROM generations").fetchall()
        for number in range(600):
            store.commit(1, Changes(2, orders=[replace(ORDER, client_id=f"o{number}")]))
        log = tmp_path / "gridbot.sqlite3-wal"
        assert log.stat().st_size > 1_500_000
    reader.close()
    for number in range(20):
        store.commit(1, Changes(2, orders=[replace(ORDER, client_id=f"p{number}")]))
    assert log.stat().st_size <= 1_048_576 + 1024


def test_parts_of_an_hour_are_put_together(store):
    first = Sample("BTC/USDT", 0, *map(Decimal, ("10", "12", "9", "11")), 600, 600)
    later = Sample("BTC/USDT", 0, *map(Decimal, ("20", "100", "20", "30")), 60, 0)
    store.sample([first])
    store.sample([later, replace(later, hour_ms=3_600_000)])
    whole = Sample("BTC/USDT", 0, *map(Decimal, ("10", "100", "9", "30")), 660, 600)
    assert list(store.samples("BTC/USDT")) == [whole, replace(later, hour_ms=3_600_000)]


# A file of the version before.


def write_schema_1(directory):
    """A file as version 1 wrote it: one grid, one order with a fill, one intent."""
    connection = sqlite3.connect(directory / "gridbot.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(Path(__file__).with_name("schema_1.sql").read_text())
    market = (
        '{"symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "tick_size": "0.01", '
        '"lot_size": "0.00001", "min_quantity": "0.00001", "min_notional": "5", '
        '"max_quantity": null, "max_orders": 200}'
    )
    settings = '{"bot_name": "pi1", "grid.investment": "1000"}'
    connection.execute(
        "INSERT INTO generations VALUES (1,'abc123',?,?,?,'1.5',0,'0.1',?,7,10,123,NULL)",
        (settings, market, '["1.10", "2.20"]', '{"USDT": "1000.00000001"}'),
    )
    for number in range(2):
        leg = LEG.id[:-1] + str(number + 1)
        connection.execute("INSERT INTO legs VALUES (?,1,'grid','sell',1,'0.1',NULL,0,0)", (leg,))
        connection.execute(
            "INSERT INTO orders VALUES (?,1,?,'grid','sell',1,?,'2.20','0.1',?,?,124,125)",
            (leg, leg, number + 1, *(("open", 55), ("intended", None))[number]),
        )
    connection.execute(
        "INSERT INTO fills VALUES (1,9,?,'2.20','0.05','0.11','1E-8','USDT',125,1)", (LEG.id,)
    )
    connection.close()


def check_migrated(directory):
    store = Store(directory)
    assert store.grid_run("BTC/USDT") == replace(GENERATION, trade_cursor=10)
    accepted = replace(ORDER, state=OrderState.OPEN, exchange_id=55)
    second = LEG.id[:-1] + "2"
    assert store.orders(1) == [accepted, replace(ORDER, client_id=second, leg=second, cycle=2)]
    assert store.fills(1, 9) == [FILL]
    tables = store._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    assert not [name for (name,) in tables if name.endswith("_1")]
    pragmas = ("user_version", "page_size", "journal_mode", "foreign_keys")
    values = [store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
    assert values == [3, 1024, "wal", 1]
    store.close()


def test_a_file_of_version_1_is_brought_up_to_date(tmp_path):
    write_schema_1(tmp_path)
    check_migrated(tmp_path)
    check_migrated(tmp_path)


def test_a_file_of_version_2_is_brought_up_to_date(store, tmp_path):
    store.start_grid_run(GENERATION, Changes(1))
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "gridbot.sqlite3")) as older:
        older.executescript("DROP TABLE acknowledgements; PRAGMA user_version = 2")
    said = Acknowledgement("USDT", Decimal("-1E-8"), "a fee", 5)
    for _ in range(2):
        store = Store(tmp_path)
        assert store.grid_run("BTC/USDT") == GENERATION
        with store.transaction() as connection:
            acknowledged.add(connection, 1, [said])
        store.close()
    store = Store(tmp_path, read_only=True)
    with store.transaction("DEFERRED") as connection:
        assert acknowledged.of_grid(connection, 1) == [said, said]
        assert acknowledged.of_grid(connection, 2) == []
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    store.close()


def test_a_reader_does_not_touch_a_file_of_version_1(tmp_path):
    write_schema_1(tmp_path)
    with pytest.raises(StoreError, match=r"by an older gridbot .* start the bot once") as refused:
        Store(tmp_path, read_only=True)
    assert refused.value.lasting
    check_migrated(tmp_path)


class Cut(BaseException):
    """The power is cut."""


def test_a_cut_at_any_statement_of_the_update_loses_nothing(tmp_path, monkeypatch):
    count = {"left": 0}

    class Connection(sqlite3.Connection):
        def execute(self, *arguments):
            if count["left"] == 0:
                raise Cut
            count["left"] -= 1
            return super().execute(*arguments)

    connect, cuts = sqlite3.connect, 0
    for statements in range(200):
        directory = tmp_path / str(statements)
        directory.mkdir()
        write_schema_1(directory)
        count["left"] = statements
        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Connection))
            try:
                Store(directory).close()
            except Cut:
                cuts += 1
        if cuts == statements:
            break
        check_migrated(directory)
    else:
        pytest.fail("the update never came to its end")
    assert cuts > 40
