"""The archive of files that was there before version 5 of the database is taken over."""

import hashlib
import shutil
import sys
from decimal import Decimal

import pytest
from gridbot.accounting import trade_history
from gridbot.accounting.settle import Settler
from gridbot.cli import main
from gridbot.core.engine import Carried
from gridbot.store import GridResult, Store, StoreError
from gridbot.store.old_archive import take_over

from .conftest import START_MS, SYMBOL, WRITERS, Cut, Life, Power, check, unsettle

DAY_MS = 86_400_000


def told(capsys, state, out):
    """Everything that is told of the books: tax, report and export."""
    said, files = [], {}
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    for method in ("fifo", "lifo", "hifo"):
        arguments = ("--method", method, "--out", out / f"{method}.csv", "--year", "all", "--json")
        said.append(command(capsys, "tax", state, *arguments))
    for by in ("day", "month"):
        said.append(command(capsys, "report", state, "--by", by))
        said.append(command(capsys, "report", state, "--by", by, "--json"))
    said.append(command(capsys, "export", state, "--out", out / "export.csv"))
    for path in sorted(out.iterdir()):
        files[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return said, files


def command(capsys, name, state, *arguments):
    assert main([name, "--state", str(state), *map(str, arguments)]) == 0
    return capsys.readouterr().out


def history(store, settle):
    """Three grids: one that left base to the next, one that was sold, one that runs."""
    first = Life(store, start_ms=1_767_223_800_000, price="48000").swing(4)
    first.disturb("part cancel", 1)
    first.swing(2)
    settle(first, 7)
    first.go("45000")
    held = first.engine.books.base_held
    result = GridResult(Decimal(1), Decimal(50000), Decimal(1), Decimal("-12.5"), "moved")
    store.close_grid_run(1, first.now_ms, result)
    carried = Carried(held, Decimal(4800))
    second = Life(
        store, number=2, start_ms=first.now_ms + 40 * DAY_MS, price="48000", carried=carried
    )
    second.commission_coin = "BNB"
    second.swing(3, low="46000", high="66000")
    settle(second, 5)
    second.liquidate()
    third = Life(store, number=3, start_ms=second.now_ms + 400 * DAY_MS).swing(3)
    settle(third, 3)
    third.disturb("part", 1)
    return third


@pytest.mark.parametrize("form", WRITERS)
def test_tax_report_and_export_are_the_same_settled_or_not_and_taken_over(tmp_path, capsys, form):
    seen = []
    for name, settle in (
        ("not", lambda _life, _kept: None),
        ("in part", lambda life, kept: life.settle(kept)),
    ):
        (tmp_path / name).mkdir()
        store = Store(tmp_path / name)
        history(store, settle)
        seen.append(told(capsys, tmp_path / name, tmp_path / "out"))
    unsettle(store, form)
    store = Store(tmp_path / "in part")
    take_over(store, SYMBOL)
    seen.append(told(capsys, tmp_path / "in part", tmp_path / "out"))
    store.close()
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0][1]) > 6


@pytest.mark.parametrize("form", WRITERS)
def test_files_are_taken_over_once_and_stay_as_they_are(store, tmp_path, form):
    life = Life(store, start_ms=1_767_223_800_000).swing(5)
    life.disturb("part cancel", 1)
    life.settle()
    files = unsettle(store, form)
    before = [path.read_bytes() for path in files]
    assert len(before) == 2
    if form == "csv":
        files[0].write_bytes(before[0] + b"what never counted" * 10_000)
    with pytest.raises(StoreError, match="start the bot once, which brings it up to date"):
        Store(tmp_path, read_only=True)
    life.store = again = Store(tmp_path)
    with pytest.raises(StoreError, match=r"-2025.* of an older gridbot is not in .* start the bot"):
        next(trade_history.rows(again, SYMBOL))
    for _ in range(2):
        take_over(again, SYMBOL)
        check(life, again)
    assert [
        path.read_bytes()[: len(one)] for path, one in zip(files, before, strict=True)
    ] == before
    life.swing(2).settle()
    check(life, again)
    again.close()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "cannot be read: No such file or directory; restore it from"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), r"has \d+ bytes, and \d+ were"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"USDT", b"USDC", 1)), "checksum"),
    ],
)
def test_a_damaged_file_is_told_and_changes_nothing(store, tmp_path, spoil, message):
    life = Life(store, start_ms=1_767_223_800_000).swing(5)
    life.settle()
    path = unsettle(store)[1]
    whole = path.read_bytes()
    spoil(path)
    life.store = again = Store(tmp_path)
    with pytest.raises(StoreError, match=message) as refused:
        take_over(again, SYMBOL)
    assert not refused.value.lasting  # the grid trades on
    assert again._connection.execute("SELECT count(*) FROM settled").fetchone() == (0,)
    settler = Settler(again, 1)
    life.swing(2)
    with pytest.raises(StoreError, match=message):
        settler.run(life.grid_run, life.engine)
    path.write_bytes(whole)
    assert settler.run(life.grid_run, life.engine) > 0
    check(life, again)
    again.close()


def test_parquet_without_its_library_is_told(store, tmp_path, monkeypatch):
    Life(store).swing(5).settle()
    unsettle(store, "parquet")
    again = Store(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(StoreError, match=r"000001\.parquet takes pyarrow to be read") as refused:
        take_over(again, SYMBOL)
    assert not refused.value.lasting
    again.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_cut_at_each_operation_loses_nothing_and_doubles_nothing(tmp_path, after):
    power, operation = Power(0, after=after), 0
    while power.cut or operation == 0:
        directory = tmp_path / str(operation)
        directory.mkdir()
        store = Store(directory)
        life = Life(store, start_ms=1_767_223_800_000).swing(3)
        life.settle()
        unsettle(store)
        store = Store(directory)
        power = Power(operation, after=after)
        with power.watch(store):
            take_over(store, SYMBOL)
        store.close()
        life.store = store = Store(directory)
        take_over(store, SYMBOL)
        check(life, store)
        store.close()
        operation += 1
    assert operation == 6  # begin, two files, their records, commit


def test_the_first_start_may_be_cut_as_well(store, tmp_path, monkeypatch):
    """The database is of the new version, and no file is taken over yet, or of the old one."""
    life = Life(store, start_ms=START_MS).swing(5)
    life.settle()
    unsettle(store)
    monkeypatch.setattr("gridbot.store.schema._check_references", cut)
    with pytest.raises(Cut):
        Store(tmp_path)
    monkeypatch.undo()
    for _ in range(2):
        life.store = again = Store(tmp_path)
        again.close()
    life.store = again = Store(tmp_path)
    take_over(again, SYMBOL)
    check(life, again)
    again.close()


def cut(*_arguments):
    raise Cut
