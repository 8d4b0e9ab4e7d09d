"""Journal, Parquet and catalogue, with real files."""

import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest
from gridbase.errors import UserError
from recorder.core.rows import Gap, Kind, Stream
from recorder.core.steps import FinerStepError, Sizes, Steps
from recorder.files.catalog import Catalog
from recorder.files.compact import compact
from recorder.files.journal import Journal, JournalReader
from recorder.files.layout import HOUR_MS, directory_of
from recorder.files.parquet import checksum, groups
from recorder.files.store import Store

TRADES = Stream("binance", Kind.TRADES, "BTCUSDT")
OTHER = Stream("binance", Kind.TRADES, "ETHUSDT")
SIZES = Sizes(Decimal("0.01"), Decimal("0.00001"), Decimal("0.0000001"))
START_MS = 1_764_028_800_000  # 2025-11-25 00:00 UTC


class Clock:
    stopping = False

    def __init__(self, ms: int = START_MS) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    def sleep(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


def trades(first: int, count: int, ms: int = START_MS) -> list[tuple[int, ...]]:
    return [(ms + n, first + n, 4_300_000 + n % 7, 5 + n % 3, n, n, n % 2) for n in range(count)]


def open_store(directory: Path, clock: Clock, **changes) -> Store:
    store = Store(directory, clock, **({"rotate_bytes": 10**8} | changes))
    store.open({TRADES: SIZES, OTHER: SIZES})
    return store


def rows_of(directory: Path, stream: Stream) -> list[tuple[int, ...]]:
    catalog = Catalog(directory, read_only=True)
    found = []
    for entry in catalog.files(stream):
        path = directory / "ready" / entry.path
        assert checksum(path) == entry.sha256
        for batch in groups(path):
            found += [tuple(row.values()) for row in batch.to_pylist()]
    return found


def test_rows_become_one_file_for_each_stream_and_hour(tmp_path):
    clock = Clock()
    store = open_store(tmp_path, clock)
    store.add(TRADES, trades(1, 100))
    store.add(OTHER, trades(1, 10))
    store.flush()
    clock.ms += 3_600_000
    store.flush()  # another hour: rotated
    store.add(TRADES, trades(101, 50, clock.ms))
    store.close()
    names = sorted(
        p.relative_to(tmp_path / "ready").as_posix() for p in tmp_path.rglob("*.parquet")
    )
    begin = "exchange=binance/kind=trades/symbol="
    assert names == [
        f"{begin}BTCUSDT/date=2025-11-25/00-1-100.parquet",
        f"{begin}BTCUSDT/date=2025-11-25/01-101-150.parquet",
        f"{begin}ETHUSDT/date=2025-11-25/00-1-10.parquet",
    ]
    assert rows_of(tmp_path, TRADES) == trades(1, 100) + trades(101, 50, clock.ms)
    manifest = json.loads((tmp_path / "ready/manifest/2025-11-25.json").read_text())
    assert [entry["rows"] for entry in manifest["files"]] == [100, 10, 50]
    assert not list((tmp_path / "active").iterdir())
    metadata = pq.read_metadata(tmp_path / "ready" / names[0])
    assert "DELTA_BINARY_PACKED" in metadata.row_group(0).column(1).encodings
    assert metadata.metadata[b"price_step"] == b"0.01"


def test_a_burst_of_many_streams_is_read_back_row_by_row(tmp_path):
    streams = [Stream("binance", Kind.TRADES, f"S{number}USDT") for number in range(7)]
    clock = Clock()
    store = Store(tmp_path, clock, rotate_bytes=10**8)
    store.open(dict.fromkeys(streams, SIZES))
    expected: dict[Stream, list[tuple[int, ...]]] = {stream: [] for stream in streams}
    for turn in range(30):
        for place, stream in enumerate(streams):
            hour = turn % 2 * HOUR_MS  # each stream has two files
            rows = trades(1 + turn * 1_000, 100 + place * 50, START_MS + hour)
            store.add(stream, rows)
            expected[stream] += rows
    store.flush()  # more rows than a batch of the journal has
    store.close()
    for stream in streams:
        found = rows_of(tmp_path, stream)
        assert sorted(found) == sorted(expected[stream])
        assert len(Catalog(tmp_path, read_only=True).files(stream)) == 2


def test_a_journal_that_grows_is_rotated(tmp_path):
    store = open_store(tmp_path, Clock(), rotate_bytes=1_000)
    for first in range(1, 301, 100):
        store.add(TRADES, trades(first, 100))
        store.flush()
    store.close()
    assert len(Catalog(tmp_path, read_only=True).files(TRADES)) == 3


def test_a_cut_journal_has_all_of_what_was_added_at_once_or_none_of_it(tmp_path):
    path = tmp_path / "j.arrows"
    journal = Journal(path, Kind.TRADES, {TRADES: SIZES})
    for first in range(1, 21_001, 3):
        journal.add(TRADES, trades(first, 3))
    assert journal.flush() == 21_000
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 100)
    assert [batch.num_rows for batch in JournalReader(path).batches()] == [20_001]


def test_a_journal_is_read_up_to_where_it_was_cut(tmp_path):
    path = tmp_path / "j.arrows"
    journal = Journal(path, Kind.TRADES, {TRADES: SIZES})
    ends = []
    for first in range(1, 6):
        journal.add(TRADES, trades(first * 10, 10))
        journal.flush()
        ends.append(path.stat().st_size)
    content = path.read_bytes()
    for size in Random(1).sample(range(len(content)), 60):  # noqa: S311
        path.write_bytes(content[:size])
        reader = JournalReader(path)
        whole = sum(end <= size for end in ends)
        assert sum(batch.num_rows for batch in reader.batches()) == 10 * whole


def test_what_was_killed_is_recovered_once(tmp_path):
    clock = Clock()
    store = open_store(tmp_path, clock)
    store.add(TRADES, trades(1, 100))
    store.flush()
    store.add(TRADES, trades(101, 100))  # not on the disk
    store._lock.close()  # as after a kill
    again = open_store(tmp_path, clock)
    assert again.catalog.last(TRADES) == (100, START_MS + 99)
    again.add(TRADES, trades(101, 10))
    again.close()
    assert [row[1] for row in rows_of(tmp_path, TRADES)] == list(range(1, 111))


@pytest.mark.parametrize("step", ["written", "counted"])
def test_a_kill_while_a_journal_is_converted_loses_and_doubles_nothing(tmp_path, step, monkeypatch):
    clock = Clock()
    store = open_store(tmp_path, clock)
    store.add(TRADES, trades(1, 100))
    store.flush()
    store._lock.close()
    name, error = {"written": ("add_files", OSError), "counted": ("write_manifests", OSError)}[step]

    def dies(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, name, dies)
        with pytest.raises(error):
            Store(tmp_path, clock, rotate_bytes=1)
    Store(tmp_path, clock, rotate_bytes=1).close()
    assert rows_of(tmp_path, TRADES) == trades(1, 100)
    assert not list((tmp_path / "active").iterdir())


def test_a_journal_that_cannot_be_made_parquet_is_told_in_a_line_and_kept(tmp_path, caplog):
    store = open_store(tmp_path, Clock())
    place = tmp_path / "ready" / "exchange=binance"
    place.write_text("in the way of the directory")
    store.add(TRADES, trades(1, 10))
    store.close()
    assert "could not be made Parquet: [Errno 20] Not a directory" in store.trouble
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.message == store.trouble
    assert record.exc_info is None
    place.unlink()
    open_store(tmp_path, Clock()).close()
    assert [row[1] for row in rows_of(tmp_path, TRADES)] == list(range(1, 11))


def test_a_catalogue_that_takes_no_more_is_told_in_a_line_and_the_journal_is_kept(tmp_path, caplog):
    store = open_store(tmp_path, Clock())
    database = store.catalog._database
    [pages] = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    for hour in range(48):
        store.add(TRADES, trades(1 + 10 * hour, 10, START_MS + hour * HOUR_MS))
    store.close()
    assert store.trouble.endswith("could not be made Parquet: database or disk is full")
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.message == store.trouble
    assert record.exc_info is None
    open_store(tmp_path, Clock()).close()
    assert [row[1] for row in rows_of(tmp_path, TRADES)] == list(range(1, 481))


def test_gaps_count_for_where_a_stream_goes_on(tmp_path):
    store = open_store(tmp_path, Clock())
    gap = Gap(TRADES, START_MS, START_MS + 5, 11, 20, "gone")
    store.add_gaps([gap, gap])
    store.close()
    catalog = Catalog(tmp_path, read_only=True)
    assert catalog.gaps() == [gap]
    assert catalog.last(TRADES) == (20, START_MS + 5)


def test_a_gap_that_could_not_be_written_comes_before_any_later_row(tmp_path, monkeypatch):
    store = open_store(tmp_path, Clock())
    gap = Gap(TRADES, START_MS, START_MS + 5, 11, 20, "gone")
    store.add_gaps([gap])
    store.add(TRADES, trades(21, 5))

    def full(*_):
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "add_gaps", full)
        with pytest.raises(OSError):  # noqa: PT011  whatever the disk says
            store.flush()
    store.close()
    assert Catalog(tmp_path, read_only=True).gaps() == [gap]


def test_a_change_that_fails_at_its_end_leaves_nothing_open(tmp_path):
    store = open_store(tmp_path, Clock())
    database = store.catalog._database
    # COMMIT fails, as on a full disk.
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("CREATE TABLE one (id PRIMARY KEY)")
    database.execute("CREATE TABLE two (id REFERENCES one (id) DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(sqlite3.IntegrityError), store.catalog._change() as change:
        change.execute("INSERT INTO two VALUES (1)")
    assert not database.in_transaction
    store.close()


def test_a_file_that_is_elsewhere_and_was_left_by_a_kill_goes_at_the_next_start(tmp_path):
    store = open_store(tmp_path, Clock())
    store.add(TRADES, trades(1, 10))
    store.close()
    catalog = Catalog(tmp_path)
    [entry] = catalog.files()
    catalog.mark_synced(entry.path)
    catalog.mark_away(entry.path)
    open_store(tmp_path, Clock()).close()
    assert not (tmp_path / "ready" / entry.path).exists()
    assert catalog.files() == [entry]


def test_a_day_that_is_over_becomes_one_file(tmp_path):
    clock = Clock()
    store = open_store(tmp_path, clock)
    for hour in range(3):
        store.add(TRADES, trades(1 + 10 * hour, 10, clock.ms))
        clock.ms += 3_600_000
        store.flush()
    store.resize(TRADES, Sizes(Decimal("0.001"), SIZES.quantity, SIZES.quote))
    finer = [(*row[:2], row[2] * 10 + 1, *row[3:]) for row in trades(31, 10, clock.ms)]
    store.add(TRADES, finer)
    store.close()
    before = rows_of(tmp_path, TRADES)
    catalog = Catalog(tmp_path)
    assert compact(catalog, "2025-11-25") == 0
    assert compact(catalog, "2025-11-26") == 4
    [entry] = catalog.files(TRADES)
    assert entry.path.endswith("date=2025-11-25/day-1-40.parquet")
    assert rows_of(tmp_path, TRADES) == [
        *((*row[:2], row[2] * 10, *row[3:]) for row in before[:30]),
        *finer,
    ]
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
    assert compact(catalog, "2025-11-26") == 0


def test_a_replaced_file_that_a_kill_has_left_is_removed_at_the_next_start(tmp_path, monkeypatch):
    clock = Clock()
    store = open_store(tmp_path, clock)
    for hour in range(2):
        store.add(TRADES, trades(1 + 10 * hour, 10, clock.ms))
        clock.ms += 3_600_000
        store.flush()
    store.close()

    def dies(*_):
        raise OSError

    catalog = Catalog(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "write_manifests", dies)
        with pytest.raises(OSError):  # noqa: PT011  it stands for a kill
            compact(catalog, "2025-11-26")
    assert len(list(tmp_path.rglob("*.parquet"))) == 3
    Store(tmp_path, clock, rotate_bytes=1).close()
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
    assert [row[1] for row in rows_of(tmp_path, TRADES)] == list(range(1, 21))


def test_one_recorder_writes_a_directory(tmp_path):
    store = open_store(tmp_path, Clock())
    with pytest.raises(UserError, match="another recorder uses it"):
        Store(tmp_path, Clock(), rotate_bytes=1)
    store.close()


@pytest.mark.parametrize(
    "name", ["../up", "..", ".", "", "a/b", "/etc", "a..b", ".hidden", "a\x00"]
)
def test_a_symbol_that_climbs_out_of_its_directory_is_refused(name):
    with pytest.raises(UserError, match="symbol"):
        directory_of(Stream("binance", Kind.TRADES, name), "2025-11-25")
    with pytest.raises(UserError, match="exchange"):
        directory_of(Stream(name, Kind.TRADES, "BTCUSDT"), "2025-11-25")


def test_printed_numbers_are_whole_multiples_or_tell_a_finer_step():
    steps = Steps(SIZES)
    assert steps.price("43210.12000000") == 4_321_012
    assert steps.price("43210") == 4_321_000
    assert steps.quantity("0.00001000") == 1
    with pytest.raises(FinerStepError) as caught:
        steps.price("1.0050")
    assert SIZES.finer(caught.value).price == Decimal("0.001")
    assert Steps(Sizes(Decimal("0.5"), Decimal(10), Decimal(1))).price("1.50") == 3
    for wrong in ("-1", "nan", "x", "", "1e400", "99999999999999999999"):
        with pytest.raises(ValueError, match=r"fit|number"):
            steps.quantity(wrong)
