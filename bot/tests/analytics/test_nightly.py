"""The jobs of a night: results, metrics, and what happens where one fails or hangs."""

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime

import psutil
import pytest
from analytics.nightly.config import load
from analytics.nightly.jobs import Done, Job, _run, metrics, run_jobs
from gridbot.store import Store

from bot.tests.analytics.hour import ENVIRONMENT, run
from bot.tests.bot.books.conftest import Life
from bot.tests.recorder.processes import LIMIT_S, wait_until
from bot.tests.recorder.world import START_MS as RECORDED_MS
from bot.tests.recorder.world import World

DAY = datetime.fromtimestamp(RECORDED_MS / 1000, UTC).date()


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Some minutes of BTCUSDT and ETHUSDT, and the books of a bot that stopped long before."""
    world = World(tmp_path_factory.mktemp("recording"))
    world.run(120)
    world.settle()
    world.close()
    return world.directory / "data"


@pytest.fixture
def books(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    store = Store(state)
    Life(store).swing(2)
    store.close()
    return state


def write(path, recording, books, *more: str) -> None:
    path.write_text(
        f'results = "{path.parent}/results"\nrecording = "{recording}"\nkeep_days = 30\n'
        + "\n".join(more)
        + f'\n[[bots]]\nname = "pi1"\nstate = "{books}"\n'
        '[[searches]]\nsymbol = "BTCUSDT"\n'
        'options = ["--investment", "10000", "--fee-rate", "0.0001", "--tick", "0.01",'
        ' "--grids", "2", "--width", "1,2", "--days", "2", "--jobs", "1"]\n'
    )


def test_a_night(tmp_path, recording, books):
    config = tmp_path / "analytics.toml"
    write(config, recording, books)
    old = tmp_path / "results" / "2025-01-31"
    old.mkdir(parents=True)
    (tmp_path / "results" / "notes").mkdir()
    (tmp_path / "results" / ".books-of-a-power-cut").mkdir()
    done = {each.kind: each for each in run_jobs(load(config), DAY)}
    assert {kind: each.trouble for kind, each in done.items()} == dict.fromkeys(done, "")
    place = tmp_path / "results" / DAY.isoformat()
    assert sorted(path.name for path in place.iterdir()) == [
        "compare-pi1.json",
        "optimize-BTCUSDT.json",
        "report-pi1.json",
    ]
    compared = json.loads((place / "compare-pi1.json").read_text())
    assert compared["symbols"]["BTC/USDT"]["prices"]["rows"] > 100
    assert json.loads((place / "optimize-BTCUSDT.json").read_text())["trials"] == 4
    assert not old.exists()
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        DAY.isoformat(),
        "analytics.prom",
        "notes",
    ]
    told = (tmp_path / "results" / "analytics.prom").read_text()
    assert 'gridberry_analytics_job_success{job="compare",name="pi1"} 1' in told
    assert 'gridberry_analytics_unexplained_steps{bot="pi1"} 0' in told


def test_a_job_that_fails_leaves_the_others(tmp_path, recording, books):
    config = tmp_path / "analytics.toml"
    write(config, recording, books)
    shutil.rmtree(books)
    answer = run("analytics", "nightly", "--config", config)
    assert answer.returncode == 1
    lines = answer.stdout.splitlines()
    assert lines[0] == f"compare pi1: {books} holds no books"
    assert lines[2].startswith("optimize BTCUSDT: done in ")
    told = (tmp_path / "results" / "analytics.prom").read_text()
    assert 'gridberry_analytics_job_success{job="compare",name="pi1"} 0' in told
    assert not [path for path in (tmp_path / "results").iterdir() if path.name[0] == "."]


def test_a_job_that_hangs_is_ended():
    done = _run(Job("optimize", "X", ("http.server", "0", "--bind", "127.0.0.1")), 0.5)
    assert (done.result, done.trouble) == (None, "took longer than 0.00833333 minutes")


def test_the_processes_of_a_job_end_with_it(tmp_path, monkeypatch):
    (tmp_path / "forking.py").write_text(
        "import pathlib, subprocess, time\n"
        "helper = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path('{tmp_path}/helper').write_text(str(helper.pid))\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert _run(Job("optimize", "X", ("forking",)), 2).trouble.startswith("took longer")
    helper = int((tmp_path / "helper").read_text())
    wait_until(lambda: _ended(helper))


def _ended(process: int) -> bool:
    """Whether it is gone, or only waits for somebody to take note."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_old_results_go_also_in_a_night_that_is_cut_off(tmp_path, monkeypatch):
    config = tmp_path / "analytics.toml"
    write(config, tmp_path, tmp_path)
    old = tmp_path / "results" / "2025-01-31"
    old.mkdir(parents=True)

    def cut_off(*_: object) -> Done:
        raise SystemExit

    monkeypatch.setattr("analytics.nightly.jobs._run", cut_off)
    with pytest.raises(SystemExit):
        run_jobs(load(config), DAY)
    assert not old.exists()


def test_a_result_with_something_unexplained_is_a_result():
    told = {"unexplained": 2, "symbols": {"BTC/USDT": {"grids": [{"difference": "-1.5"}]}}}
    text = metrics([Done("compare", "pi1", 1.0, "", told)], 5.0)
    assert 'gridberry_analytics_unexplained_steps{bot="pi1"} 2' in text
    assert 'gridberry_analytics_difference_quote{bot="pi1",symbol="BTC/USDT"} -1.5' in text
    assert "gridberry_analytics_last_run_timestamp_seconds 5" in text


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("keep_days = 30", "keep_days = 0"), "keep_days = 0: needs a whole number from 1"),
        (("keep_days", "keep_day"), "unknown setting keep_day; did you mean keep_days?"),
        (('name = "pi1"', 'name = "../pi1"'), "bots: name = '../pi1': needs letters, digits"),
        (('symbol = "BTCUSDT"', 'symbol = "../up"'), "searches: symbol = '../up': needs letters"),
        (('"--grids"', '"--gridz"'), "searches: BTCUSDT: options: unrecognized arguments"),
        (("[[searches]]", '[[bots]]\nname = "pi1"\nstate = "/x"\n[[searches]]'), "each name once"),
        (("keep_days = 30", 'tls = "/x"'), "scheduler and tls need each other"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, change, line):
    config = tmp_path / "analytics.toml"
    write(config, tmp_path, tmp_path)
    config.write_text(config.read_text().replace(*change))
    answer = run("analytics", "nightly", "--check", "--config", config)
    assert answer.returncode == 2
    assert line in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_night_that_is_told_to_stop_ends_with_its_job(tmp_path):
    words = 'options = ["--investment", "1", "--fee-rate", "0"]'
    fifo = tmp_path / "rec/ready/exchange=binance/kind=candles"
    fifo.mkdir(parents=True)
    os.mkfifo(fifo / "symbol=BTCUSDT")  # a search that waits for ever
    (tmp_path / "a.toml").write_text(
        f'results = "{tmp_path}/results"\nrecording = "{tmp_path}/rec"\n'
        f'[[searches]]\nsymbol = "BTCUSDT"\n{words}\n'
    )
    command = [sys.executable, "-m", "analytics", "nightly", "--config", tmp_path / "a.toml"]
    night = subprocess.Popen(command, env=ENVIRONMENT)
    wait_until(lambda: psutil.Process(night.pid).children() or night.poll() is not None)
    (job,) = psutil.Process(night.pid).children()
    night.terminate()
    assert night.wait(LIMIT_S) == 128 + signal.SIGTERM
    assert not job.is_running()
