"""Disks without room, of the archive and of the database: told, nothing lost, nothing doubled."""

import asyncio
import os
import subprocess
from contextlib import contextmanager, suppress

import pytest
from gridbase.clock import SystemClock
from hub.archive.place import Place, PlaceError
from hub.collector import Loop
from hub.config import Archive, Collector
from hub.database import Address, migrate

from bot.tests.bot.books.conftest import Life
from bot.tests.together.hub.conftest import QUICK, bot_of, collect, in_database, rows
from bot.tests.together.hub.test_archive import archive, three_weeks
from tests.postgres import Server
from tests.trixie_root import MachineMissingError

COUNT = "SELECT count(*)::int, count(DISTINCT (run_id, trade_id))::int FROM fills"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")


@contextmanager
def small_disk(directory, size):
    """A file system of its own."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "gridberry-test", directory]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield directory / "ballast"
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def fill_up(path):
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"0" * 4096)


def test_an_archive_without_room_drops_nothing(address, store, tmp_path):
    life = three_weeks(store)
    collect(address, bot_of(store.directory))
    with small_disk(tmp_path / "small", "1m") as ballast:
        place = Place(Archive(str(ballast.parent)))
        fill_up(ballast)
        with pytest.raises(PlaceError, match=r"^archive.place = .*/small: No space left") as told:
            archive(address, place)
        assert "\n" not in str(told.value)
        assert rows(address, COUNT) == [(len(life.fills), len(life.fills))]
        assert rows(address, "SELECT count(*) FROM archive_files") == [(0,)]
        ballast.unlink()
        assert archive(address, place).rows == len(life.fills)


def test_a_database_without_room_is_waited_for(store, tmp_path):
    with small_disk(tmp_path / "own", "250m") as ballast:
        settings = QUICK | {"min_wal_size": "32MB", "max_wal_size": "64MB"}
        try:
            server = Server(ballast.parent, settings=settings)
        except MachineMissingError as error:
            pytest.skip(f"TimescaleDB: {error}")
        with server:
            server.sql("CREATE DATABASE small")
            address = Address(server.host, server.port, "small", "postgres")
            in_database(address, migrate)
            life = Life(store).swing(1)
            collect(address, bot_of(store.directory))
            before = len(life.fills)
            life.minutes += 30 * 24 * 60
            life.swing(40)
            collector = Collector(1, tmp_path / "status.json", None)
            loop = Loop(bot_of(store.directory), collector, address, SystemClock())
            fill_up(ballast)
            asyncio.run(loop._try())
            assert loop.counts.problem.startswith("database: ")
            assert "No space left" in loop.counts.problem
            ballast.unlink()
            found, distinct = rows(address, COUNT)[0]
            assert before <= found == distinct < len(life.fills)
            asyncio.run(loop._try())
            assert loop.counts.problem == ""
            assert rows(address, COUNT) == [(len(life.fills), len(life.fills))]
