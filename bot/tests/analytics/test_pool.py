"""A search on a pool finds what one process finds; nobody without the pool's key gets in."""

import asyncio
import shutil
import subprocess
import sys

import pytest
from analytics.pool.membership import security
from analytics.pool.spread import spread_over
from distributed import Client
from gridbot.backtest.pool import run_trials

from bot.tests.analytics.hour import run
from bot.tests.analytics.pool import TERMS, Pool, certificate, market, space

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the package openssl")
WINDOWS = [(0, 3_000), (1_500, 4_500), (3_000, 6_000)]


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    pool = Pool(tmp_path_factory.mktemp("pool"), 3)
    yield pool
    pool.close()


def test_three_workers_find_what_one_process_finds_though_one_is_killed(pool):
    candles, combinations = market(6_000), space(72)
    killed = []

    def progress(done: int) -> None:
        if not killed and done >= 16:
            killed.append(pool.kill_one())

    alone = run_trials(candles, WINDOWS, combinations, TERMS, jobs=1, progress=lambda _: None)
    shared = run_trials(
        candles,
        WINDOWS,
        combinations,
        TERMS,
        jobs=3,
        progress=progress,
        workers=spread_over(pool.address, security(pool.tls)),
    )
    assert killed
    assert shared == alone
    assert repr(shared) == repr(alone)
    assert sum(trial.outcome is not None for trials in alone for trial in trials) > 50


def test_the_command_prints_the_same(pool, tmp_path):
    path = tmp_path / "candles.csv"
    rows = zip(*(each.tolist() for each in market(3_000).columns), strict=True)
    lines = [
        ",".join([str(row[0] + 10**12), *(str(each / 10**8) for each in row[1:]), "1"])
        for row in rows
    ]
    path.write_text("timestamp,open,high,low,close,volume\n" + "\n".join(lines))
    words = ("analytics", "optimize", "--data", path, "--investment", 10_000)
    words += ("--fee-rate", "0.001", "--tick", "0.01", "--grids", "5:20:5", "--top", 99)
    tables = []
    for more in ((), ("--scheduler", pool.address, "--tls", pool.tls)):
        told = run(*words, *more, "--out", tmp_path / f"{len(more)}.csv")
        assert told.returncode == 0, told.stderr
        tables.append((tmp_path / f"{len(more)}.csv").read_bytes())
    assert tables[0] == tables[1]


def test_nobody_without_the_key_gets_in(pool, tmp_path):
    other = certificate(tmp_path / "other")
    for directory in (other, None):
        told = security(directory) if directory else None
        address = pool.address if directory else pool.address.replace("tls", "tcp")
        with pytest.raises(OSError), Client(address, security=told, timeout=3):  # noqa: PT011
            pass
    answer = run(
        *("analytics", "worker", "--scheduler", pool.address, "--tls", other, "--processes", 1)
    )
    assert answer.returncode == 3
    assert "Traceback" not in answer.stderr.splitlines()[-1]
    # Nor does a worker itself answer without it.
    found = subprocess.run(
        [sys.executable, "-c", WORKERS, pool.address, pool.tls],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(found) == 3
    for address in found:
        with pytest.raises(OSError):  # noqa: PT011
            asyncio.run(_knock(address, security(other)))


WORKERS = """
import pathlib, sys
from distributed import Client
from analytics.pool.membership import security
with Client(sys.argv[1], security=security(pathlib.Path(sys.argv[2]))) as client:
    print(*client.scheduler_info(n_workers=-1)["workers"])
"""


async def _knock(address: str, member) -> None:
    from distributed.comm import connect

    comm = await connect(address, timeout=3, **member.get_connection_args("client"))
    await comm.close()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["scheduler", "--listen", "tcp://0.0.0.0:1"], "--listen = tcp://0.0.0.0:1 needs tls://"),
        (["worker", "--scheduler", "127.0.0.1:1"], "--scheduler = 127.0.0.1:1 needs tls://"),
        (["scheduler", "--listen", "tls://127.0.0.1:99999"], "needs tls://HOST:PORT"),
    ],
)
def test_without_tls_it_is_refused_in_one_line(tmp_path, words, line):
    told = run("analytics", *words, "--tls", certificate(tmp_path / "tls"))
    assert told.returncode == 2
    assert line in told.stderr
    assert told.stderr.count("\n") == 1


def test_a_key_that_others_can_read_is_refused(tmp_path):
    tls = certificate(tmp_path / "tls")
    (tls / "pool.key").chmod(0o640)
    told = run("analytics", "scheduler", "--listen", "tls://127.0.0.1:0", "--tls", tls)
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert "pool.key can be read by others; use mode 0600" in told.stderr
    (tls / "pool.key").unlink()
    told = run("analytics", "scheduler", "--listen", "tls://127.0.0.1:0", "--tls", tls)
    assert (told.returncode, told.stderr.count("\n")) == (4, 1)
    assert "pool.key is missing" in told.stderr


def test_a_search_needs_both_address_and_key(tmp_path):
    words = ("--data", tmp_path, "--investment", 1, "--fee-rate", 0)
    told = run("analytics", "optimize", *words, "--scheduler", "tls://127.0.0.1:1")
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert "--scheduler needs --tls DIR" in told.stderr
