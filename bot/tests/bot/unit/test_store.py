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
from gridbot.core.orders import Fill, Leg, Order, OrderState, Role, Side, padded
from gridbot.core.settled_totals import Totals, totals_text
from gridbot.store import (
    GridResult,
    GridRun,
    HaltRow,
    PauseRow,
    Sample,
    Store,
    StoreError,
    acknowledged,
    settled,
)
from gridbot.store.acknowledged import Acknowledgement
from gridbot.store.database import FENCED, locked

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
    first_cursor="6",
    trade_cursor="6",
    started_ms=123,
)
LEG = Leg("pi1-BTCUSDT-abc123-1s1", Role.GRID, Side.SELL, 1, Decimal("0.1"))
ORDER = Order(
    client_id=LEG.id,
    leg=LEG.id,
    role=Role.GRID,
    side=Side.SELL,
    line=1,
    attempt=1,
    price=Decimal("2.20"),
    quantity=Decimal("0.1"),
    state=OrderState.INTENDED,
    exchange_id=None,
    created_ms=124,
)
FILL = Fill(
    trade_id="9",
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
    accepted = replace(ORDER, state=OrderState.OPEN, exchange_id="55")
    store.commit(1, Changes(2, updated=[accepted], fills=[FILL], trade_cursor="9"))
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store._connection.execute("SELECT 1")
    again = Store(tmp_path)
    assert again.grid_run("BTC/USDT") == replace(GENERATION, trade_cursor="9")
    assert again.orders(1) == [accepted]
    assert again.fills(1) == [FILL]
    assert again.fills(2) == []
    assert again.knows(LEG.id)
    assert not again.knows("other")
    again.close()


def test_a_transaction_is_all_or_nothing(store):
    store.start_grid_run(GENERATION, Changes(1, legs=[LEG], orders=[ORDER]))
    other = replace(ORDER, client_id="new")
    with pytest.raises(StoreError):
        store.commit(1, Changes(2, orders=[other, other]))
    assert store.orders(1) == [ORDER]


def test_a_transaction_does_not_join_another_that_may_fail_without_it(store):
    with pytest.raises(StoreError, match="within a transaction"), store.transaction():
        store.pause("BTC/USDT", reason="by hand", at_ms=7)
    assert store.open_pause("BTC/USDT") is None


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
    with pytest.raises(StoreError, match="closed database"):
        store.open_pause("BTC/USDT")
    Store(tmp_path).close()


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match="is not a directory; create it"):
        Store(tmp_path / "none")


def test_books_that_were_handed_over_are_read_and_not_traded_with(tmp_path, store):
    store.halt("BTC/USDT", text="first", reason_code="drawdown", price=Decimal(1), at_ms=5)
    (tmp_path / FENCED).write_text("pi2, since yesterday\n")
    store.halt("ETH/USDT", text="later", reason_code="drawdown", price=Decimal(1), at_ms=6)
    store.close()
    with pytest.raises(StoreError, match=r"another bot's now \(pi2, since yesterday\)") as refused:
        Store(tmp_path)
    assert refused.value.lasting
    reader = Store(tmp_path, read_only=True)
    assert reader.open_halt("BTC/USDT").text == "first"
    reader.close()
    with pytest.raises(StoreError) as closed:
        reader.open_halt("BTC/USDT")
    assert "TMPDIR" not in str(closed.value)


def test_a_row_that_its_index_does_not_know_is_damage(tmp_path, store):
    store.halt("BTC/USDT", text="first", reason_code="drawdown", price=Decimal(1), at_ms=5)
    store.close()
    content = store.path.read_bytes()
    assert content.count(b"BTC/USDT") > 1  # the row's and the index's
    store.path.write_bytes(content.replace(b"BTC/USDT", b"BTD/USDT", 1))
    with pytest.raises(StoreError, match=r"is damaged \(row 1 missing from index "):
        Store(tmp_path)


def test_only_a_directory_is_held(tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(StoreError, match=f"{missing} is not a directory; create it") as refused:
        locked(missing).__enter__()
    assert refused.value.lasting
    (tmp_path / "lock").mkdir()
    with pytest.raises(StoreError, match=f"{tmp_path}: Is a directory") as refused:
        Store(tmp_path)
    assert not refused.value.lasting


def test_reading_before_the_first_start_says_so(tmp_path):
    with pytest.raises(StoreError, match="holds no grid yet"):
        Store(tmp_path, read_only=True)


@pytest.mark.parametrize("beside", [False, True])
def test_a_newer_schema_is_refused_unless_it_says_that_this_bot_may_use_it(tmp_path, store, beside):
    store._connection.execute("PRAGMA user_version = 7")
    store.close()
    newer = Store(tmp_path, beside=beside)
    newer._connection.execute("UPDATE compatibility SET oldest_reader = 7")
    version = newer._connection.execute("PRAGMA user_version").fetchone()
    newer.close()
    assert version == (7,)
    with pytest.raises(StoreError, match="written by a newer gridbot"):
        Store(tmp_path, beside=beside)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "gridbot.sqlite3").write_bytes(b"something else entirely" * 100)
    with pytest.raises(StoreError, match="is damaged") as refused:
        Store(tmp_path)
    assert refused.value.lasting
    assert "\n" not in str(refused.value)
    # While the error is still looked at, the directory is free for who repairs it.
    (tmp_path / "gridbot.sqlite3").unlink()
    Store(tmp_path).close()


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

RESULT = GridResult(
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
    store.close_grid_run(1, 500, RESULT)
    assert store.grid_run("BTC/USDT") == replace(GENERATION, closed_ms=500, result=RESULT)


def test_what_the_account_had_is_stored_with_an_end(store):
    result = replace(RESULT, account=Decimal("0.50"), next_range=(Decimal(1), Decimal(2)))
    store.start_grid_run(GENERATION, Changes(1))
    store.close_grid_run(1, 500, result)
    assert store.grid_run("BTC/USDT").result == result


def test_a_grid_ends_with_the_begin_of_the_next_one_or_not_at_all(store):
    store.start_grid_run(GENERATION, Changes(1))
    end = replace(GENERATION, closed_ms=500, result=replace(RESULT, takes_over=True))
    with pytest.raises(StoreError):
        store.start_grid_run(
            replace(other_grid(2, "BTC/USDT"), tag=GENERATION.tag), Changes(1), end
        )
    assert list(store.grid_runs()) == [GENERATION]
    second = other_grid(2, "BTC/USDT")
    store.start_grid_run(second, Changes(1), end)
    assert list(store.grid_runs()) == [end, second]


def test_an_ended_grid_can_be_told_what_to_leave_until_the_next_one_begins(store):
    leaves = replace(RESULT, takes_over=True)
    store.start_grid_run(GENERATION, Changes(1))
    store.close_grid_run(1, 500, leaves)
    end = store.grid_run("BTC/USDT")
    assert store.set_result(1, RESULT)
    with pytest.raises(StoreError, match="is not to be taken over any more") as refused:
        store.start_grid_run(other_grid(2, "BTC/USDT"), Changes(1), end)
    assert not refused.value.lasting
    assert list(store.grid_runs()) == [replace(end, result=RESULT)]
    assert store.set_result(1, leaves)
    store.start_grid_run(other_grid(2, "ETH/USDT"), Changes(1))
    assert store.set_result(1, leaves), "another symbol's grid is not the next one"
    store.start_grid_run(other_grid(3, "BTC/USDT"), Changes(1), end)
    assert not store.set_result(1, RESULT)
    assert next(store.grid_runs()).result == leaves


def test_a_market_is_stored_with_all_its_rules(store):
    rules = replace(MARKET, buy_band=(Decimal("0.2"), Decimal("1.10")), max_quantity=Decimal(9))
    store.start_grid_run(replace(GENERATION, market=rules), Changes(1))
    assert store.grid_run("BTC/USDT").market == rules


def test_what_the_stop_rules_remember_is_written_with_the_step(store):
    store.start_grid_run(replace(GENERATION, watch={"peak": "1000"}), Changes(1))
    assert store.grid_run("BTC/USDT").watch == {"peak": "1000"}
    store.commit(1, Changes(2, trade_cursor="8"), {"peak": "1001"})
    store.commit(1, Changes(3, trade_cursor="9"))
    after = store.grid_run("BTC/USDT")
    assert (after.watch, after.trade_cursor) == ({"peak": "1001"}, "9")
    with pytest.raises(StoreError):
        store.commit(1, Changes(4, orders=[replace(ORDER, leg="none")]), {"peak": "2"})
    assert store.grid_run("BTC/USDT").watch == {"peak": "1001"}
    store.set_watch(1, {})
    assert store.grid_run("BTC/USDT").watch == {}


def test_trades_that_are_stored_are_known_wherever_the_cursor_is(store):
    store.start_grid_run(GENERATION, Changes(1, legs=[LEG], orders=[ORDER]))
    fills = [replace(FILL, trade_id=identity) for identity in ("9", "12", "0000e0d5.01.01")]
    store.commit(1, Changes(2, fills=fills))
    assert [store.has_fill(1, fill.trade_id) for fill in fills] == [True, True, True]
    assert not store.has_fill(1, "15")
    assert not store.has_fill(2, "9")
    with pytest.raises(StoreError):
        store.commit(1, Changes(3, fills=fills[2:]))


def test_fills_are_in_the_order_of_time_and_numbers_of_one_moment_by_their_size(store):
    store.start_grid_run(GENERATION, Changes(1, legs=[LEG], orders=[ORDER]))
    told = [("10", 126), ("9", 126), ("b", 127), ("1", 130), ("a", 127), ("99", 125)]
    fills = [replace(FILL, trade_id=identity, time_ms=time_ms) for identity, time_ms in told]
    store.commit(1, Changes(2, fills=fills))
    found = store.fills(1)
    assert [fill.trade_id for fill in found] == ["99", "9", "10", "a", "b", "1"]
    assert found == sorted(fills, key=lambda fill: (fill.time_ms, padded(fill.trade_id)))


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


def test_a_pause_says_whether_it_was_new_and_stands_until_it_is_cleared(store):
    assert not store.clear_pause("BTC/USDT", 6)
    assert store.pause("BTC/USDT", reason="by hand", at_ms=7)
    assert not store.pause("BTC/USDT", reason="again", at_ms=8)
    assert store.pause("BTC/USDT", reason="and back", at_ms=9, cancel=True)
    assert not store.pause("BTC/USDT", reason="once more", at_ms=10, cancel=True)
    assert store.open_pause("BTC/USDT") == PauseRow("BTC/USDT", "by hand", 7, cancel=True)
    assert store.open_pause("ETH/USDT") is None
    assert store.clear_pause("BTC/USDT", 11)
    assert not store.clear_pause("BTC/USDT", 12)
    assert store.open_pause("BTC/USDT") is None


def test_only_what_writes_is_counted_as_a_commit(store):
    count, _ = store.commits.total
    with store.transaction("DEFERRED") as connection:
        connection.execute("SELECT 1 FROM pauses").fetchone()
    assert store.commits.total[0] == count
    assert store.pause("BTC/USDT", reason="by hand", at_ms=7)
    assert store.commits.total[0] == count + 1


def test_a_commit_took_from_its_begin_to_its_end(store, monkeypatch):
    count, seconds = store.commits.total
    moments = iter((1_000.0, 1_000.25))
    monkeypatch.setattr("gridbot.store.database.time.perf_counter", lambda: next(moments))
    assert store.pause("BTC/USDT", reason="by hand", at_ms=7)
    assert store.commits.total == (count + 1, seconds + 0.25)


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


# A file of a version before.


def rows_of(table, version):
    """The same grid as each version wrote it: one order with a fill, one only intended."""
    market = (
        '{"symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "tick_size": "0.01", '
        '"lot_size": "0.00001", "min_quantity": "0.00001", "min_notional": "5", '
        '"max_quantity": null, "max_orders": 200}'
    )
    settings = '{"bot_name": "pi1", "grid.investment": "1000"}'
    begin = ("abc123", settings, market, '["1.10", "2.20"]', "1.5", 0, "0.1")
    opening = '{"USDT": "1000.00000001"}'
    legs = [LEG.id[:-1] + str(number) for number in (1, 2)]
    states = (("open", 55), ("intended", None))
    rows = {
        "legs": [(leg, 1, "grid", "sell", 1, "0.1", None, 0, 0) for leg in legs],
        "orders": [
            (leg, 1, leg, "grid", "sell", 1, number, "2.20", "0.1", *states[number - 1], 124, 125)
            for number, leg in enumerate(legs, 1)
        ],
        "fills": [(1, 9, LEG.id, "2.20", "0.05", "0.11", "1E-8", "USDT", 125, 1)],
        "generations": [(1, *begin, opening, 7, 10, 123, None)],
    }
    if version > 1:
        rows["generations"] = [
            (1, "BTC/USDT", *begin, "1000", "0", "0", opening, 7, 123, None, None)
        ]
        rows["progress"] = [(1, 10, '{"peak": "1001"}')]
        rows["samples"] = [("BTC/USDT", 0, "1", "2", "0.5", "1.5", 60, 30)]
        rows["archived"] = [(1, TOTALS, 0)]
    if version > 2:
        rows["acknowledgements"] = [(1, "USDT", "-1E-8", "a fee", 5)]
    if version > 3:  # IDs and cursors are texts, and a cursor is the last one that is booked
        rows["orders"] = [
            (*row[:10], row[10] and str(row[10]), *row[11:]) for row in rows["orders"]
        ]
        rows["fills"] = [(row[0], str(row[1]), *row[2:]) for row in rows["fills"]]
        rows["generations"] = [
            (1, "BTC/USDT", *begin, "1000", "0", "0", opening, "6", 123, None, None)
        ]
        rows["progress"] = [(1, "9", '{"peak": "1001"}')]
    if version > 4:
        rows["settled_totals"] = rows.pop("archived")
    return rows.get(table, [])


TOTALS = totals_text(Totals(flows={"BTC": Decimal("0.5")}, sells=3))


def write_schema(version, directory):
    """A file as an older version wrote it."""
    connection = sqlite3.connect(directory / "gridbot.sqlite3", isolation_level=None)
    connection.execute(f"PRAGMA page_size = {4096 if version == 1 else 1024}")
    connection.execute("PRAGMA journal_mode = WAL")
    file = f"schema_{3 if version == 2 else version}.sql"
    connection.executescript(Path(__file__).with_name(file).read_text())
    if version == 2:
        connection.executescript("DROP TABLE acknowledgements; PRAGMA user_version = 2")
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        for row in rows_of(table, version):
            marks = ",".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608
    connection.close()


def check_migrated(directory, version):
    store = Store(directory)
    watch = None if version == 1 else {"peak": "1001"}
    assert store.grid_run("BTC/USDT") == replace(GENERATION, trade_cursor="9", watch=watch)
    accepted = replace(ORDER, state=OrderState.OPEN, exchange_id="55")
    second = LEG.id[:-1] + "2"
    assert store.orders(1) == [accepted, replace(ORDER, client_id=second, leg=second, attempt=2)]
    assert store.fills(1) == [FILL]
    assert store.closed_order(1, "55") is None
    with store.transaction("DEFERRED") as connection:
        said = acknowledged.of_grid(connection, 1)
        sums = settled.totals(connection, 1)
        tables = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql NOTNULL"))
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert said == [Acknowledgement("USDT", Decimal("-1E-8"), "a fee", 5)] * (version > 2)
    assert totals_text(sums) == (TOTALS if version > 1 else totals_text(Totals()))
    assert len(list(store.samples("BTC/USDT"))) == (version > 1)
    pragmas = ("user_version", "page_size", "journal_mode", "foreign_keys", "legacy_alter_table")
    values = [store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
    assert values == [6, 1024, "wal", 1, 0]
    store.close()
    return tables


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_a_file_of_an_older_version_is_brought_up_to_date(tmp_path, store, version):
    new = dict(store._connection.execute("SELECT name, sql FROM sqlite_master WHERE sql NOTNULL"))
    directory = tmp_path / "older"
    directory.mkdir()
    write_schema(version, directory)
    for _ in range(2):
        # The same tables as in a new file, to the letter.
        assert check_migrated(directory, version) == new


@pytest.mark.parametrize("version", [1, 3, 4, 5])
def test_an_older_file_with_a_reference_to_nothing_is_refused_as_it_is(tmp_path, version):
    write_schema(version, tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "gridbot.sqlite3")) as connection:
        connection.execute("UPDATE fills SET client_id = 'gone'")
        connection.commit()
        before = list(connection.iterdump())
    with pytest.raises(StoreError, match="a row of fills names one of orders that is gone"):
        Store(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "gridbot.sqlite3")) as connection:
        assert list(connection.iterdump()) == before
        assert connection.execute("PRAGMA user_version").fetchone()[0] == version


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_a_grid_of_an_older_version_goes_on(tmp_path, version):
    write_schema(version, tmp_path)
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="UNIQUE"):
        store.commit(1, Changes(2, fills=[FILL]))
    later = replace(FILL, trade_id="10", quantity=Decimal("0.05"))
    filled = replace(ORDER, state=OrderState.FILLED, exchange_id="55")
    store.commit(1, Changes(2, fills=[later], updated=[filled], trade_cursor="10"))
    with store.transaction() as connection:
        acknowledged.add(connection, 1, [Acknowledgement("BTC", Decimal(1), "more", 6)])
    store.start_grid_run(other_grid(2), Changes(3))
    store.close()
    store = Store(tmp_path)
    assert store.fills(1) == [FILL, later]
    assert store.grid_run("BTC/USDT").trade_cursor == "10"
    assert store.closed_order(1, "55") == LEG.id
    assert store.grid_run("ETH/USDT") == other_grid(2)
    store.close()


def test_a_reader_does_not_touch_a_file_of_version_1(tmp_path):
    write_schema(1, tmp_path)
    with pytest.raises(StoreError, match=r"by an older gridbot .* start the bot once") as refused:
        Store(tmp_path, read_only=True)
    assert refused.value.lasting
    check_migrated(tmp_path, 1)


class Cut(BaseException):
    """The power is cut."""


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_a_cut_at_any_statement_of_the_update_loses_nothing(tmp_path, monkeypatch, version):
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
        write_schema(version, directory)
        count["left"] = statements
        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Connection))
            try:
                Store(directory).close()
            except Cut:
                cuts += 1
        if cuts == statements:
            break
        check_migrated(directory, version)
    else:
        pytest.fail("the update never came to its end")
    assert cuts > {1: 40, 5: 20}.get(version, 30)
