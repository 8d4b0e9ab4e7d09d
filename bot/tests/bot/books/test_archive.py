"""Positions leave the database for the archive: none is lost, none is twice, books stay equal."""

import errno
import os
import sys
import tempfile
import tracemalloc
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.errors import UserError
from gridbot.accounting import archive_files, trade_history
from gridbot.accounting.archive import ArchiveRules, Archivist
from gridbot.accounting.archive_files import COLUMNS
from gridbot.core.books import RECENT_FILLS
from gridbot.core.engine import Carried
from gridbot.core.orders import Fill, Order, OrderState, Role, Side
from gridbot.core.settled_totals import totals_of
from gridbot.store import FileRecord, Store, StoreError, TradeRow
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import MEMORY, START_MS, SYMBOL, Life, Os, Power, assert_same_books, market, restored


def all_fills(store):
    """Every trade in archive and database; each once."""
    fills = [row.fill for row in trade_history.rows(store, SYMBOL) if row.fill is not None]
    numbers = [fill.trade_id for fill in fills]
    assert len(numbers) == len(set(numbers))
    return sorted(fills, key=lambda fill: int(fill.trade_id))


def count_legs(store):
    return store._connection.execute("SELECT count(*) FROM legs").fetchone()[0]


def check(life, store, *, recent=False):
    assert_same_books(restored(life, store), life.engine, recent=recent)
    assert all_fills(store) == life.fills


def test_nothing_happens_below_the_bound(store):
    life = Life(store).swing(3)
    archivist = Archivist(store, ArchiveRules(positions=1000))
    assert archivist.run(life.grid_run, life.engine, life.now_ms) == 0
    power = Power(-1, after=False)
    with power.watch(store):
        assert archivist.run(life.grid_run, life.engine, life.now_ms) == 0
    assert power.count == 0  # neither database nor disk was asked


def test_books_are_equal_with_and_without_the_archive(store):
    life = Life(store).swing(12)
    closed = life.engine.books.sells
    assert life.archive(ArchiveRules(positions=20)) == closed - 20 + 2
    check(life, store)
    assert count_legs(store) == 2 * 18 + 5 + 1  # pairs, live orders, initial purchase
    life.swing(2)
    check(life, store)


def test_memory_already_forgot_what_is_archived(store):
    life = Life(store).swing(12)
    held = set(life.engine.books.legs)
    life.archive()
    assert set(life.engine.books.legs) == held
    assert len(held) <= 7


def test_the_latest_trades_are_still_there_after_a_restart(store):
    life = Life(store).swing(40)
    assert life.archive(ArchiveRules(positions=RECENT_FILLS)) > 50
    check(life, store, recent=True)


def test_initial_sells_take_their_share_from_the_archive(store):
    life = Life(store, price="48000").swing(1, low="47000", high="66000")
    assert life.archive() > 0
    initial = [book for book in life.engine.books.legs.values() if book.leg.role == "initial"]
    assert initial[0].matched > 0
    check(life, store)


def test_running_numbers_of_orders_go_on(store):
    life = Life(store).swing(5)
    life.archive()
    engine = restored(life, store)
    assert engine._attempts == life.engine._attempts
    assert max(engine._attempts.values()) >= 5
    old = next(row.order.client_id for row in trade_history.rows(store, SYMBOL) if row.pair)
    assert store.knows(old)
    assert not store.knows(old.rpartition("-")[0] + "-2b999")
    assert not store.knows("somebody-else")


def test_a_file_for_each_year_of_the_sell(store, tmp_path):
    life = Life(store, start_ms=1_767_223_800_000)  # ten minutes before midnight (UTC)
    life.swing(12)
    life.archive()
    names = sorted(path.name for path in (tmp_path / "archive").iterdir())
    assert names == ["BTC-USDT-2025.csv", "BTC-USDT-2026.csv"]
    lines = (tmp_path / "archive" / names[1]).read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    check(life, store)


def test_a_profit_stands_with_the_last_trade_of_its_position(store):
    """A report by month counts it at the time of that row."""
    life = Life(store).swing(12)
    life.archive()
    trades = {}
    for row in trade_history.rows(store, SYMBOL):
        if row.pair and row.fill is not None:
            trades.setdefault(row.pair, []).append(row)
    pairs = [rows for rows in trades.values() if len(rows) > 1]
    assert pairs
    for rows in pairs:
        *earlier, last = sorted(rows, key=lambda row: int(row.fill.trade_id))
        assert last.order.side is Side.SELL
        assert last.profit is not None
        assert {row.profit for row in earlier} == {None}


def test_profits_in_the_archive_add_up(store):
    life = Life(store).swing(12)
    life.archive()
    profits = [row.profit for row in trade_history.rows(store, SYMBOL) if row.profit is not None]
    (totals,) = store._connection.execute("SELECT totals FROM archived").fetchone()
    assert sum(profits) == totals_of(totals).grid_profit > 0
    assert len(profits) == totals_of(totals).sells > 10


def test_parquet_holds_the_same(store, tmp_path):
    pytest.importorskip("pyarrow")
    life = Life(store).swing(12)
    rules = ArchiveRules(positions=20, form="parquet")
    life.archive(rules)
    life.swing(4)
    life.archive(rules)
    names = sorted(path.name for path in (tmp_path / "archive").iterdir())
    assert names == ["BTC-USDT-2025-000001.parquet", "BTC-USDT-2025-000002.parquet"]
    check(life, store)
    (tmp_path / "archive" / names[0]).write_bytes(b"x" * 100_000)
    with pytest.raises(StoreError, match=r"000001\.parquet is damaged \(its checksum differs\)"):
        all_fills(store)


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("identities", "kind"),
    [
        (("7", "12345678901"), "int64"),
        (("0000e0d5.65.01", "7"), "string"),
        (("007", str(2**64)), "string"),
    ],
)
def test_ids_in_the_archive_are_what_the_exchange_gave(tmp_path, form, identities, kind):
    rows = [a_row(number) for number in range(2)]
    rows = [
        replace(
            row,
            order=replace(row.order, exchange_id=identity),
            fill=replace(row.fill, trade_id=identity),
        )
        for row, identity in zip(rows, identities, strict=True)
    ]
    rows.append(replace(rows[0], order=replace(rows[0].order, exchange_id=None), fill=None))
    if form == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    name = archive_files.file_name(SYMBOL, 2026, form, 1)
    record = archive_files.append(tmp_path, FileRecord(name, SYMBOL, 2026), rows)
    assert list(archive_files.read(tmp_path, record)) == rows
    if form == "parquet":
        schema = parquet.read_schema(tmp_path / name)
        assert {str(schema.field(one).type) for one in ("trade_id", "exchange_id")} == {kind}
        assert str(schema.field("time_ms").type) == "int64"


def test_the_format_may_change(store, tmp_path):
    pytest.importorskip("pyarrow")
    life = Life(store)
    for form in ("csv", "parquet", "csv", "parquet"):
        life.swing(4).archive(ArchiveRules(positions=1, form=form))
    assert len(list((tmp_path / "archive").iterdir())) == 3
    check(life, store)


def test_parquet_without_its_library_is_refused(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r'archive\.format = "parquet" needs pyarrow') as refused:
        Archivist(store, ArchiveRules(form="parquet"))
    assert refused.value.exit_code == 2


def test_parquet_that_can_not_be_read_here_is_told(store, monkeypatch):
    pytest.importorskip("pyarrow")
    Life(store).swing(5).archive(ArchiveRules(positions=1, form="parquet"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"000001\.parquet takes pyarrow to be read"):
        all_fills(store)


def test_rules_that_make_no_sense_are_refused():
    for wrong in ({"form": "xml"}, {"positions": 0}, {"prune_days": 0}):
        with pytest.raises(ValueError, match="rules of the archive"):
            ArchiveRules(**wrong)


# Grids that have ended.


def test_a_grid_that_ended_long_ago_leaves_the_database_as_a_whole(store):
    first = Life(store).swing(3)
    store.close_grid_run(1, first.now_ms)
    second = Life(store, number=2, start_ms=first.now_ms)
    second.swing(2)
    rules = ArchiveRules(prune_days=400)
    day = 86_400_000
    archivist = Archivist(store, rules)
    assert archivist.run(second.grid_run, second.engine, first.now_ms + 400 * day) == 0
    moved = archivist.run(second.grid_run, second.engine, first.now_ms + 400 * day + 1)
    assert moved == first.engine.books.sells
    assert archivist.run(second.grid_run, second.engine, first.now_ms + 500 * day) == 0
    assert Archivist(store, rules).run(second.grid_run, second.engine, 0) == 0
    rows = store._connection.execute("SELECT DISTINCT generation FROM orders").fetchall()
    assert rows == [(2,)]
    assert all_fills(store) == sorted(
        first.fills + second.fills, key=lambda fill: int(fill.trade_id)
    )
    orders = [row.order.client_id for row in trade_history.rows(store, SYMBOL) if row.grid_run == 1]
    assert len(orders) == sum(len(changes.orders) for changes in first.changes)


def test_grids_that_ended_make_room_first(store):
    first = Life(store).swing(3)
    store.close_grid_run(1, first.now_ms)
    second = Life(store, number=2, start_ms=first.now_ms)
    second.swing(2)
    bound = ArchiveRules(positions=second.engine.books.sells + 1)
    assert second.archive(bound) == first.engine.books.sells
    assert second.archive(ArchiveRules(positions=2)) == second.engine.books.sells - 2
    total = first.engine.books.grid_profit + second.engine.books.grid_profit
    kept = restored(second, store).books
    assert kept.grid_profit == second.engine.books.grid_profit
    profits = [row.profit for row in trade_history.rows(store, SYMBOL) if row.profit is not None]
    assert first.engine.books.grid_profit < sum(profits) < total


def test_base_that_is_carried_over_is_shared_by_the_sells(store):
    life = Life(store, price="48000", carried=Carried(Decimal("0.1"), Decimal(4800)))
    life.swing(3, low="46000", high="66000")
    assert life.archive() > 5
    assert_same_books(restored(life, store), life.engine, recent=False)
    closed = life.engine.books.grid_profit
    store.close_grid_run(1, life.now_ms)
    later = Life(store, number=2)
    later.archive(days_later=401)
    profits = [row.profit for row in trade_history.rows(store, SYMBOL) if row.profit is not None]
    assert sum(profits) == closed


def test_a_grid_that_was_liquidated_is_archived_as_a_whole(store):
    life = Life(store).swing(3)
    life.disturb("part cancel", 1)
    life.archive()
    life.liquidate()
    assert life.engine.books.liquidation_profit != 0
    assert_same_books(restored(life, store), life.engine, recent=False)
    later = Life(store, number=2)
    later.archive(days_later=401)
    assert all_fills(store) == life.fills + later.fills
    roles = {row.order.role for row in trade_history.rows(store, SYMBOL) if row.grid_run == 1}
    assert roles == {Role.INITIAL, Role.GRID, Role.LIQUIDATION}
    (left,) = store._connection.execute("SELECT count(*) FROM legs WHERE generation = 1").fetchone()
    assert left == 0


def test_the_database_does_not_grow_once_the_archive_is_at_work(store, tmp_path):
    life, sizes = Life(store), []
    for _ in range(6):
        life.swing(20)
        life.archive(ArchiveRules(positions=50))
        store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sizes.append((tmp_path / "gridbot.sqlite3").stat().st_size)
    assert max(sizes[2:]) <= sizes[1] * 1.05


# What may be wrong with the files.


def test_a_file_that_was_changed_is_told(store, tmp_path):
    life = Life(store).swing(5)
    life.archive()
    path = tmp_path / "archive" / "BTC-USDT-2025.csv"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b",filled,", b",Filled,", 1))
    with pytest.raises(StoreError, match=r"2025\.csv is damaged") as refused:
        all_fills(store)
    assert refused.value.lasting
    path.write_bytes(whole.replace(b"USDT", b"USDC", 1))
    with pytest.raises(StoreError, match="checksum differs"):
        all_fills(store)
    path.write_bytes(whole[:-1])
    with pytest.raises(StoreError, match=r"has \d+ bytes, and \d+ were written; restore it"):
        all_fills(store)
    life.swing(5)
    with pytest.raises(StoreError, match="were written; restore it from a backup") as refused:
        life.archive()
    assert not refused.value.lasting  # the grid trades on; what was not archived is not lost
    path.unlink()
    with pytest.raises(StoreError, match="No such file or directory; restore it"):
        all_fills(store)
    path.write_bytes(whole + b"what never counted" * 10_000)
    assert all_fills(store) == life.fills
    life.archive()
    assert path.read_bytes().startswith(whole)
    assert b"never" not in path.read_bytes()
    check(life, store)


def test_an_archive_that_can_not_be_written_is_told_and_changes_nothing(store, tmp_path):
    life = Life(store).swing(5)
    (tmp_path / "archive").write_text("in the way")
    before = count_legs(store)
    with pytest.raises(StoreError, match=r"archive .*: File exists") as refused:
        life.archive()
    assert not refused.value.lasting
    assert count_legs(store) == before
    (tmp_path / "archive").unlink()
    life.archive()
    check(life, store)


def test_a_disk_that_fills_up_in_the_middle_of_a_row_is_told_and_heals(store, tmp_path):
    life = Life(store).swing(5)

    class FullDisk(Os):
        def __getattr__(self, name):
            return self._fill_up if name == "write" else getattr(os, name)

        def _fill_up(self, number, data):
            os.write(number, data[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    archive_files.os = FullDisk(None)
    try:
        with pytest.raises(StoreError, match=r"2025\.csv: No space left on device") as refused:
            life.archive()
    finally:
        archive_files.os = os
    assert not refused.value.lasting
    assert (tmp_path / "archive" / "BTC-USDT-2025.csv").stat().st_size == 100
    check(life, store)
    life.archive()
    check(life, store)


def test_after_a_failure_the_database_is_asked_what_is_archived(store, monkeypatch):
    life = Life(store, start_ms=START_MS + 86_400_000).swing(120)
    rules = ArchiveRules(positions=50)
    archivist, batches = Archivist(store, rules), []
    append = archive_files.append

    def fail_at_the_second(directory, record, rows):
        batches.append(record.name)
        if len(batches) == 2:
            raise StoreError("the disk is full", lasting=False)
        return append(directory, record, rows)

    monkeypatch.setattr("gridbot.accounting.archive.append", fail_at_the_second)
    with pytest.raises(StoreError, match="the disk is full"):
        archivist.run(life.grid_run, life.engine, life.now_ms)
    check(life, store)
    moved = archivist.run(life.grid_run, life.engine, life.now_ms)
    assert moved == life.engine.books.sells - 200 - 45
    check(life, store)


# The power is cut.


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_cut_at_any_operation_loses_nothing_and_doubles_nothing(tmp_path, after, form):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    store = Store(tmp_path)
    life = Life(store, start_ms=1_767_223_800_000)
    rules = ArchiveRules(positions=1, form=form)
    cuts = wholes = 0
    for operation in range(10_000):
        if life.engine.books.sells > 400:
            break
        life.swing(1)
        power = Power(operation % 26, after=after, seed=operation)
        with power.watch(store):
            life.archive(rules)
        cuts += power.cut
        wholes += not power.cut
        store.close()
        life.store = store = Store(tmp_path)
        check(life, store)
    assert cuts > 40
    assert wholes > 5
    check(life, store)
    store.close()


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("seed", [0, 1], ids=["names kept", "names lost"])
def test_a_cut_at_each_operation_of_the_first_archiving(tmp_path, after, form, seed):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    power, operation = Power(0, after=after), 0
    while power.cut or operation == 0:
        directory = tmp_path / str(operation)
        directory.mkdir()
        store = Store(directory)
        life = Life(store, start_ms=1_767_223_800_000).swing(3)
        power = Power(operation, after=after, seed=seed)
        with power.watch(store):
            life.archive(ArchiveRules(positions=1, form=form))
        store.close()
        life.store = store = Store(directory)
        check(life, store)
        life.archive(ArchiveRules(positions=1, form=form))
        check(life, store)
        store.close()
        operation += 1
    assert operation > 15


moves = st.lists(
    st.tuples(
        st.sampled_from(["go", "go", "go", "part", "cancel", "part cancel", "archive", "cut"]),
        st.integers(40_000, 70_000).map(str),
        st.integers(0, 20),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(
    moves=moves,
    start=st.integers(44_000, 66_000).map(str),
    rate=st.sampled_from(["0", "0.001", "0.00075"]),
    taken_in=st.sampled_from(["received", "quote"]),
    coin=st.sampled_from([None, "BNB"]),
    grids=st.integers(2, 9),
)
def test_any_life_with_any_archiving_and_any_cut(*, moves, start, rate, taken_in, coin, grids):
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        store = Store(Path(name))
        grid = market.spec(grids=str(grids))
        life = Life(store, grid, market.fees(rate, taken_in), start)
        life.commission_coin = coin
        for move, price, number in moves:
            if move == "go":
                life.go(price)
            elif "part" in move or "cancel" in move:
                life.disturb(move, number)
            elif move == "archive":
                life.archive()
            else:
                power = Power(number, after=bool(number % 2), seed=number)
                with power.watch(store):
                    life.archive()
                store.close()
                life.store = store = Store(Path(name))
        check(life, store)
        store.close()


# Sorting outside of memory.


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(40)), chunk=st.integers(1, 50), fan_in=st.integers(2, 5))
def test_rows_come_in_order_whatever_fits_in_memory(order, chunk, fan_in):
    rows = [a_row(number) for number in order]
    rows = [replace(row, fill=replace(row.fill, time_ms=row.fill.time_ms // 3)) for row in rows]
    ordered = list(sort_rows_of(rows, chunk, fan_in))
    assert [row.fill.trade_id for row in ordered] == list(map(str, range(40)))
    assert sorted(rows, key=lambda row: int(row.fill.trade_id)) == ordered


def sort_rows_of(rows, chunk, fan_in):
    return trade_history.sort_rows(rows, trade_history._by_time, chunk_rows=chunk, fan_in=fan_in)


def test_sorting_takes_no_more_memory_for_more_rows():
    peaks = []
    for count in (4_000, 16_000):
        tracemalloc.start()
        rows = (a_row((number * 7919) % count) for number in range(count))
        ordered = trade_history.sort_rows(rows, trade_history._by_time, chunk_rows=500, fan_in=8)
        assert sum(1 for _ in ordered) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2


def a_row(number):
    fill = Fill(str(number), "id", Side.SELL, *[Decimal("0.1")] * 4, "USDT", number, maker=True)
    order = Order(
        "id", "leg", Role.GRID, Side.SELL, 1, 1, Decimal(1), Decimal(1), OrderState.FILLED, "5", 0
    )
    return TradeRow(1, "", order, fill)
