"""The disk: days that are over, files that go, and what is said before they do."""

import json
import shutil
import sqlite3
import threading
from collections import namedtuple
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from gridbase.clock import SystemClock
from recorder.config import Config
from recorder.files import catalog as catalog_module
from recorder.files.catalog import Catalog
from recorder.files.compact import alone, compact, over_before
from recorder.service.recorder import Recorder
from recorder.service.status import Status
from recorder.service.web import Web
from recorder.sync.budget import keep_within
from recorder.sync_settings import SyncSettings

from bot.tests.recorder import processes
from bot.tests.recorder.test_files import START_MS, TRADES, Clock, open_store, rows_of, trades

DAY = "2025-11-25"
NEXT = "2025-11-26"
SYNC = SyncSettings("market", Path("id"), Path("secret"))
Usage = namedtuple("Usage", "total used free")  # noqa: PYI024  as shutil has it


def record(directory: Path, *hours: int) -> Catalog:
    """Hours of ten trades, a file each."""
    clock = Clock()
    store = open_store(directory, clock)
    for hour in hours:
        clock.ms = START_MS + hour * 3_600_000
        store.flush()
        store.add(TRADES, trades(1 + 10 * hour, 10, clock.ms))
    store.close()
    return Catalog(directory)


def test_a_day_is_over_once_its_late_trades_are_in():
    midnight = START_MS + 86_400_000
    assert over_before(midnight + 29 * 60_000) == DAY
    assert over_before(midnight + 30 * 60_000) == NEXT


def test_what_comes_after_a_day_was_copied_leaves_its_copy_alone(tmp_path):
    catalog = record(tmp_path, 0, 1)
    compact(catalog, NEXT)
    [day] = catalog.files()
    catalog.mark_synced(day.path)
    record(tmp_path, 5, 6)
    assert compact(catalog, NEXT) == 2
    assert [entry.path.rpartition("/")[2] for entry in catalog.files()] == [
        "day-1-20.parquet",
        "day-51-70.parquet",
    ]
    assert catalog.synced() == [day]
    numbers = [row[1] for row in rows_of(tmp_path, TRADES)]
    assert numbers == [*range(1, 21), *range(51, 71)]


def test_a_manifest_misses_nothing_that_another_process_adds_meanwhile(tmp_path, monkeypatch):
    catalog, other = record(tmp_path, 0), Catalog(tmp_path)
    [entry] = catalog.files()
    added = threading.Thread(
        target=lambda: other.add_files([replace(entry, path="another")], "journal")
    )
    write = catalog_module.write_durable

    def slow(path, content):
        if not added.ident:
            added.start()
            added.join(0.5)
        write(path, content)

    monkeypatch.setattr(catalog_module, "write_durable", slow)
    catalog.replace([], entry)
    catalog.write_manifests()
    added.join()
    other.write_manifests()
    assert b"another" in (tmp_path / f"ready/manifest/{DAY}.json").read_bytes()


def test_no_file_goes_while_its_day_becomes_one_file(tmp_path):
    catalog = record(tmp_path, 0, 1)
    thread = threading.Thread(target=keep_within, args=(catalog, 1))
    with alone(tmp_path):
        thread.start()
        thread.join(0.3)
        assert len(catalog.files()) == 2
    thread.join()
    assert catalog.files() == []


@dataclass
class Running:
    """As much of a recorder as its status looks at."""

    config: Config
    store: Any
    clock: Clock = field(default_factory=Clock)
    sessions: tuple = ()
    resident: int = 1
    started_ms: int = START_MS
    heartbeat: float = START_MS / 1000


@pytest.mark.parametrize(
    ("state", "reasons"),
    [
        ((0.95, SYNC, 10**10), []),
        ((1.05, SYNC, 10**10), ["0 MB since 2025-11-25 are not copied, of a budget of 0 MB"]),
        ((1.05, None, 10**10), []),
        ((0.5, SYNC, 499_000_000), ["the disk has only 499 MB free"]),
    ],
)
def test_a_disk_that_is_nearly_full_is_told(tmp_path, monkeypatch, state, reasons):
    share, sync, free = state
    store = open_store(tmp_path, Clock())
    store.add(TRADES, trades(1, 10))
    store.close()
    store.catalog = Catalog(tmp_path)
    here, uncopied, since = store.catalog.here()
    assert here == uncopied > 0
    assert since == DAY
    budget = int(here / 0.9 / share)
    config = Config(tmp_path, (), budget_bytes=budget, sync=sync)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**11, 0, free))
    document = Status(Running(config, store)).document()
    assert document["healthy"] is not bool(reasons)
    assert len(document["reasons"]) == len(reasons)
    assert all(map(str.startswith, document["reasons"], reasons))
    assert (document["disk_budget_bytes"], document["bytes_uncopied"]) == (budget, here)


def test_a_thread_that_fails_ends_the_recorder_in_an_orderly_way(tmp_path):
    recorder = Recorder(Config(tmp_path, ()), SystemClock())

    def fails() -> None:
        raise RecursionError

    recorder._thread("sockets", fails)
    recorder.clock.sleep(10)
    assert recorder.clock.stopping
    assert recorder.exit_code == 75


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), sqlite3.OperationalError("disk is full")]
)
def test_what_a_disk_refuses_aside_is_told_in_a_line(tmp_path, caplog, error):
    recorder = Recorder(Config(tmp_path, ()), SystemClock())

    def fails() -> None:
        raise error

    recorder._do_aside("compacting", fails)
    recorder._aside["compacting"].join()
    [record] = caplog.records
    assert record.exc_info is None
    assert str(error) in record.getMessage()
    assert not recorder.clock.stopping


def test_a_status_that_cannot_be_read_is_an_answer_of_one_line(tmp_path, caplog):
    store = open_store(tmp_path, Clock())
    store.close()  # as while the recorder stops
    web = Web(Status(Running(Config(tmp_path, ()), store)), "")
    told: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": "127.0.0.1"}
    for path in ("/status", "/metrics", "/health"):
        [body] = web(environ | {"PATH_INFO": path}, lambda status, _: told.append(status))
        [reason] = json.loads(body)["reasons"]
        assert reason.startswith("the data directory cannot be read: ")
    assert told == ["503 Service Unavailable"] * 3
    assert [record.exc_info for record in caplog.records] == [None] * 3


def test_a_file_that_cannot_be_written_is_one_line_of_an_export(tmp_path):
    data, to = tmp_path / "data", tmp_path / "to"
    to.mkdir()
    record(data, 0, 1).close()
    words = ["--kind", "trades", "--symbol", "BTCUSDT", "--date", DAY]
    words = ["export", "--directory", str(data), *words, "--to", str(to)]
    in_the_way = Path(processes.command(*words).stdout.strip())
    in_the_way.unlink()
    in_the_way.mkdir()
    refused = processes.command(*words)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert f"--to {to}: cannot be written: " in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_file_that_cannot_be_written_is_one_line_of_a_compaction(tmp_path):
    catalog = record(tmp_path, 0, 1)
    [first, _] = catalog.files()
    catalog.close()
    in_the_way = (tmp_path / "ready" / first.path).with_name(".day.tmp")
    in_the_way.mkdir()
    refused = processes.command("compact", "--directory", tmp_path)
    assert refused.returncode == 4
    assert f"--directory {tmp_path}: cannot be written: " in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert [row[1] for row in rows_of(tmp_path, TRADES)] == list(range(1, 21))
    in_the_way.rmdir()
    assert processes.command("compact", "--directory", tmp_path).stdout == "replaced 2 files\n"


def test_what_is_done_aside_is_not_done_twice_at_once(tmp_path):
    recorder = Recorder(Config(tmp_path, ()), SystemClock())
    goes_on, begun = threading.Event(), []

    def waits() -> None:
        begun.append(1)
        goes_on.wait(10)
        raise OSError

    for _ in range(2):
        recorder._do_aside("budget", waits)
    goes_on.set()
    recorder._aside["budget"].join()
    assert len(begun) == 1
    recorder._do_aside("budget", waits)
    recorder._aside["budget"].join()
    assert len(begun) == 2
    assert not recorder.clock.stopping
