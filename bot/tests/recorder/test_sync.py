"""Copies in real S3 servers (moto, its authentication switched on; SeaweedFS), killed, refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from urllib.parse import unquote

import pytest
from gridbase.errors import UserError
from recorder.core.rows import Kind, Stream
from recorder.files.catalog import Catalog
from recorder.files.store import Store
from recorder.sync.budget import keep_within
from recorder.sync.copy import open_bucket, sync
from recorder.sync_settings import SyncSettings

from bot.tests.recorder.processes import ENVIRONMENT, command
from bot.tests.recorder.s3_servers import BUCKET, SERVERS, Proxy, an_hour_ago, full
from bot.tests.recorder.test_files import SIZES, START_MS, TRADES, Clock, trades

KILLS = int(os.environ.get("RECORDER_SYNC_KILLS", "3"))


def record(directory: Path, hours: int = 4, rows: int = 200) -> Catalog:
    """A recording of some hours, one file each."""
    clock = Clock()
    store = Store(directory, clock, rotate_bytes=10**8)
    store.open({TRADES: SIZES})
    for hour in range(hours):
        store.add(TRADES, trades(1 + hour * rows, rows, clock.ms))
        store.flush()
        clock.ms += 3_600_000
        store.flush()
    store.close()
    return Catalog(directory)


@pytest.fixture(scope="module", params=SERVERS)
def server(request, tmp_path_factory):
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
def settings(server, tmp_path):
    for name, value in (("id", server.key_id), ("secret", server.secret)):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(value)
    files = {"key_id_file": tmp_path / "id", "secret_file": tmp_path / "secret"}
    return SyncSettings(bucket=BUCKET, endpoint=server.url, prefix=tmp_path.name, **files)


def objects(server, settings) -> dict[str, bytes]:
    """What is in the bucket below the prefix."""
    client = server.client
    found = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{settings.prefix}/").get("Contents", [])
    return {
        each["Key"].removeprefix(f"{settings.prefix}/"): client.get_object(
            Bucket=BUCKET, Key=each["Key"]
        )["Body"].read()
        for each in found
    }


def check_equal(directory: Path, there: dict[str, bytes]) -> None:
    """The bucket has each file that counts, its manifest, and nothing else."""
    ready = directory / "ready"
    here = {p.relative_to(ready).as_posix(): p.read_bytes() for p in ready.rglob("*.*")}
    assert there == here


def test_each_file_is_copied_once_and_the_manifest_last(server, settings, tmp_path):
    catalog = record(tmp_path / "data")
    sent = []

    def noted(data: bytes) -> bytes:
        if data.startswith(b"PUT "):
            sent.append(data.split()[1].decode().partition(f"/{settings.prefix}/")[2])
        return data

    proxy = Proxy(settings.endpoint, request=noted)
    bucket = open_bucket(SyncSettings(**{**vars(settings), "endpoint": proxy.url}))
    would = sync(catalog, bucket, dry_run=True)
    assert len(would.copied) == 4
    assert objects(server, settings) == {}
    assert sent == []
    report = sync(catalog, bucket)
    assert (report.copied, report.there) == (would.copied, 0)
    assert [unquote(name) for name in sent] == [*report.copied, "manifest/2025-11-25.json"]
    check_equal(tmp_path / "data", objects(server, settings))
    again = sync(catalog, bucket)
    assert (again.copied, again.there, len(sent)) == ([], 0, 5)


def test_something_else_under_a_file_s_name_is_not_touched(server, settings, tmp_path):
    catalog = record(tmp_path / "data", hours=1)
    [entry] = catalog.files()
    server.client.put_object(Bucket=BUCKET, Key=f"{settings.prefix}/{entry.path}", Body=b"other")
    with pytest.raises(UserError, match="is not equal to the file; neither is touched"):
        sync(catalog, open_bucket(settings))
    assert objects(server, settings) == {entry.path: b"other"}
    assert catalog.unsynced() == [entry]


def test_a_wrong_secret_copies_nothing(server, settings, tmp_path):
    catalog = record(tmp_path / "data", hours=1)
    settings.secret_file.write_text("wrong")
    with pytest.raises(UserError, match="the bucket cannot be used"):
        sync(catalog, open_bucket(settings))
    assert objects(server, settings) == {}
    assert len(catalog.unsynced()) == 1


def test_without_a_network_nothing_counts_as_copied(settings, tmp_path):
    catalog = record(tmp_path / "data", hours=1)
    away = SyncSettings(**{**vars(settings), "endpoint": "http://127.0.0.1:9"})
    with pytest.raises(UserError, match="the bucket cannot be used"):
        sync(catalog, open_bucket(away))
    assert len(catalog.unsynced()) == 1


def test_killed_at_random_moments_it_goes_on(server, settings, tmp_path):
    random = Random(3)  # noqa: S311
    data = tmp_path / "data"
    record(data, hours=8).close()
    config = tmp_path / "recorder.toml"
    config.write_text(
        f'directory = "{data}"\n[[markets]]\nexchange = "binance"\nsymbols = ["BTCUSDT"]\n'
        f'[sync]\nbucket = "{BUCKET}"\nprefix = "{settings.prefix}"\n'
        f'endpoint = "{settings.endpoint}"\nkilobytes_per_second = 20\n'
        f'key_id_file = "{settings.key_id_file}"\nsecret_file = "{settings.secret_file}"\n'
    )
    words = [sys.executable, "-m", "recorder", "sync", "--config", config]
    for _ in range(KILLS):
        process = subprocess.Popen(
            words, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(random.uniform(0.5, 2.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        # What counts as copied is there, and equal.
        catalog = Catalog(data)
        there = objects(server, settings)
        for entry in catalog.synced():
            assert there[entry.path] == (data / "ready" / entry.path).read_bytes()
        catalog.close()
    done = command("sync", "--config", config)
    assert done.returncode == 0, done.stderr
    check_equal(data, objects(server, settings))
    # A day that is over is one file, there as here.
    assert sum(name.endswith(".parquet") for name in objects(server, settings)) == 1


@pytest.mark.parametrize("most", [0, 2_000])
def test_connections_that_break_leave_nothing_that_counts(server, settings, tmp_path, most):
    catalog = record(tmp_path / "data", hours=2, rows=3_000)
    broken = SyncSettings(**{**vars(settings), "endpoint": Proxy(settings.endpoint, most=most).url})
    if most:
        with pytest.raises(UserError, match="the bucket cannot be used"):
            sync(catalog, open_bucket(broken))
        assert len(catalog.unsynced()) == 2
        assert objects(server, settings) == {}
    else:  # without the fault it passes
        sync(catalog, open_bucket(broken))
        check_equal(tmp_path / "data", objects(server, settings))


@pytest.mark.parametrize("struck", [True, False])
@pytest.mark.parametrize(
    "refusal",
    [
        ({"answer": full}, "QuotaExceeded: Full"),
        ({"request": an_hour_ago}, ""),
    ],
    ids=["full bucket", "late clock"],
)
def test_what_a_bucket_refuses_is_named_and_does_not_count(
    server, settings, tmp_path, refusal, struck
):
    fault, line = refusal
    catalog = record(tmp_path / "data", hours=2)
    proxy = Proxy(settings.endpoint, **(fault if struck else {}))
    through = SyncSettings(**{**vars(settings), "endpoint": proxy.url})
    if not struck:  # without the fault it passes
        sync(catalog, open_bucket(through))
        check_equal(tmp_path / "data", objects(server, settings))
        return
    with pytest.raises(UserError, match=line or server.late) as refused:
        sync(catalog, open_bucket(through))
    assert "\n" not in str(refused.value)
    assert len(catalog.unsynced()) == 2
    assert objects(server, settings) == {}


def test_the_oldest_copied_file_goes_first(server, settings, tmp_path):
    catalog = record(tmp_path / "data")
    entries = catalog.files()
    assert keep_within(catalog, sum(each.bytes for each in entries)) == (0, 0)
    sync(catalog, open_bucket(settings))
    budget = sum(each.bytes for each in entries[2:])
    assert keep_within(catalog, budget) == (2, 0)
    assert catalog.synced() == entries[2:]
    assert not (tmp_path / "data/ready" / entries[0].path).exists()
    assert catalog.gaps() == []
    assert set(objects(server, settings)) >= {each.path for each in entries}


def test_where_nothing_is_copied_the_newest_is_kept_and_the_gap_written(tmp_path):
    catalog = record(tmp_path / "data")
    entries = catalog.files()
    assert keep_within(catalog, entries[-1].bytes) == (0, 3)
    assert catalog.files() == entries[-1:]
    gaps = catalog.gaps(Stream("binance", Kind.TRADES, "BTCUSDT"))
    assert [(gap.first, gap.last) for gap in gaps] == [(1, 200), (201, 400), (401, 600)]
    manifest = json.loads((tmp_path / "data/ready/manifest/2025-11-25.json").read_text())
    assert (len(manifest["files"]), len(manifest["gaps"])) == (1, 3)
    assert gaps[0].from_ms == START_MS


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "needs a section [sync] with bucket"),
        ('[sync]\nbucket = "A"', "sync: key_id_file is missing"),
        ('[sync]\nbuckt = "a"', "sync: unknown setting buckt; did you mean bucket?"),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(tmp_path, text, line):
    config = tmp_path / "recorder.toml"
    market = '[[markets]]\nexchange = "binance"\nsymbols = ["BTCUSDT"]\n'
    config.write_text(f'directory = "{tmp_path}"\n{market}{text}')
    answer = command("sync", "--config", config)
    assert answer.returncode == 2
    assert line in answer.stderr
    assert answer.stderr.count("\n") == 1
