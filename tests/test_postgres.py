"""The database server for tests: it runs, survives a kill, and leaves nothing behind."""

from pathlib import Path

import pytest

from tests.postgres import Server
from tests.trixie_root import MachineMissingError


def test_what_was_committed_survives_a_kill(tmp_path: Path) -> None:
    try:
        server = Server(tmp_path / "server")
    except MachineMissingError as error:
        pytest.skip(str(error))
    with server:
        server.sql("CREATE EXTENSION timescaledb; CREATE TABLE kept AS SELECT 1 AS one")
        assert server.sql("SHOW timescaledb.license") == "apache"
        for _ in range(5):
            server.kill()
            server.start()
        assert server.sql("SELECT one FROM kept") == "1"
    assert str(server.root) not in Path("/proc/self/mounts").read_text()
