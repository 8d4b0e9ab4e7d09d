"""A fleet starts at once: before there is a schema, with the rights that role timescaledb gives."""

import asyncio
import importlib
import json
import socket
import subprocess
from pathlib import Path

import pytest
from gridbase.clock import SystemClock
from hub.api.live import Fleet
from hub.collector import Loop
from hub.config import Collector
from hub.database import Address, DatabaseError, connect, migrate, pool
from hub.history import History
from hub.ledger import Ledger

from bot.tests.bot.books.conftest import Life
from bot.tests.together.hub.conftest import QUICK, bot_of, database, rows
from bot.tests.together.hub.test_archive import archive
from tests.postgres import Server
from tests.trixie_root import MachineMissingError

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def make(monkeypatch):
    """How role timescaledb makes roles and rights."""
    monkeypatch.syspath_prepend(str(ROOT / "roles/timescaledb/files/database"))
    return importlib.import_module("make")


@pytest.fixture
def as_role(server, make):
    """An empty database as the role makes it: its address for one of the roles."""
    made = database(server)
    for name in (make.OWNER, make.WRITER, make.READER, make.BACKUP):
        server.sql(f"SELECT 'CREATE ROLE {name} LOGIN' WHERE to_regrole('{name}') IS NULL \\gexec")
    own = f"DATABASE {made.database}"
    rights = make.SETTINGS_OF_ROLES.replace(f"DATABASE {make.DATABASE}", own)
    server.sql(f"ALTER DATABASE {made.database} OWNER TO {make.OWNER};{rights}")
    server.sql(f"CREATE EXTENSION IF NOT EXISTS timescaledb;{make.RIGHTS}", made.database)
    return lambda name: Address(server.host, server.port, made.database, f"gridberry_{name}")


def test_collector_and_page_wait_for_the_schema(as_role, store, tmp_path):
    life = Life(store).swing(1)
    settings = Collector(1, tmp_path / "status.json", tmp_path / "collect.prom")
    clock = SystemClock()
    loop = Loop(bot_of(store.directory), settings, as_role("writer"), clock)

    def said():
        return json.loads(settings.status_file.read_text())["problem"]

    async def until(condition):
        while not condition():
            await asyncio.sleep(0.05)

    async def run():
        collecting = asyncio.create_task(loop.run())
        async with await pool(as_role("reader"), 2) as connections:
            fleet = Fleet(connections, as_role("reader"), ())
            looking = asyncio.create_task(fleet.run())
            try:
                await until(lambda: fleet.problem and settings.status_file.exists() and said())
                assert said().endswith("run: hub migrate")
                assert not collecting.done()
                assert not looking.done()
                connection = await connect(as_role("owner"))
                await migrate(connection)
                await connection.close()
                await until(lambda: fleet.document["bots"] or looking.done() or collecting.done())
                assert fleet.problem == ""
                (book,) = await Ledger(connections, History(connections, None)).books()
                assert book.fills == len(life.fills)
            finally:
                clock.stop()
                looking.cancel()
                await collecting

    asyncio.run(asyncio.wait_for(run(), 60))
    assert 'gridberry_collector_fills_total{bot="pi1"}' in settings.metrics_file.read_text()


def test_the_owner_archives(as_role, store, tmp_path):
    from hub.archive.place import Place
    from hub.config import Archive

    from bot.tests.together.hub.conftest import collect, in_database

    in_database(as_role("owner"), migrate)
    life = Life(store).swing(1)
    collect(as_role("writer"), bot_of(store.directory))
    (tmp_path / "archive").mkdir()
    place = Place(Archive(str(tmp_path / "archive"), 90, None, "us-east-1", None, None))
    assert archive(as_role("owner"), place).rows == len(life.fills)
    assert rows(as_role("reader"), "SELECT count(*) FROM fills") == [(0,)]


def test_who_is_refused_ends_the_collector_but_not_the_page(server, tmp_path, store):
    nobody = Address(server.host, server.port, "postgres", "nobody_at_all")
    Life(store)
    loop = Loop(bot_of(store.directory), Collector(1, tmp_path / "s", None), nobody, SystemClock())
    with pytest.raises(DatabaseError, match="nobody_at_all"):
        asyncio.run(loop.run())

    async def look():
        async with await pool(nobody, 1) as connections:
            fleet = Fleet(connections, nobody, ())
            await fleet._look()
            return fleet.problem

    assert "nobody_at_all" in asyncio.run(look())


def test_on_loopback_it_encrypts_where_the_server_takes_nothing_else(tmp_path):
    """As role timescaledb has it: its certificate has the host's address, and not loopback's."""
    tls = {"ssl": "on", "ssl_cert_file": "'/srv/server.crt'", "ssl_key_file": "'/srv/server.key'"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        server = Server(tmp_path / "tls", port=port, settings=QUICK | tls)
    except MachineMissingError as error:
        pytest.skip(f"TimescaleDB: {error}")
    server.initialise()
    (server.directory / "data" / "pg_hba.conf").write_text(
        "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
    )
    names = ("-keyout", "server.key", "-out", "server.crt", "-subj", "/CN=pi1")
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    command = ["openssl", "req", "-x509", *kind, *names]
    subprocess.run(command, check=True, cwd=server.directory, capture_output=True)
    (server.directory / "server.key").chmod(0o600)
    server.own()
    word = tmp_path / "writer"
    word.touch(mode=0o600)
    word.write_text("a-password-of-16\n")
    try:
        server.start()
        server.sql("CREATE ROLE w LOGIN PASSWORD 'a-password-of-16'")
        address = Address("127.0.0.1", port, "postgres", "w", word)
        query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert rows(address, query) == [(True,)]
        word.write_text("another-password\n")
        with pytest.raises(DatabaseError, match="password authentication failed"):
            rows(address, query)
    finally:
        server.stop()
