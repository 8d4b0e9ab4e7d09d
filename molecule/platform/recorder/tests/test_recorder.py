"""The recorder on a virtual Pi: limits in force, started again, its files readable."""

import json
import shlex

import pytest

NAME = "gridberry-recorder"
QUERY = (
    "SELECT symbol, count(*) AS rows, count(DISTINCT id) AS different,"
    " max(id) - min(id) + 1 AS span FROM trades GROUP BY symbol ORDER BY symbol"
)


def query(pi, sql):
    """Rows of an answer of `recorder query`."""
    said = pi.check_output(f"docker exec {NAME} recorder query --json {shlex.quote(sql)}")
    return [json.loads(line) for line in said.splitlines()]


@pytest.fixture
def running(pi, waiting):
    """Its container, once it is healthy."""
    look = f"docker inspect --format '{{{{.State.Health.Status}}}}' {NAME}"
    waiting(lambda: pi.run(look).stdout.strip() == "healthy", "the recorder to be healthy")
    return json.loads(pi.check_output(f"docker inspect {NAME}"))[0]


def test_its_memory_is_bounded(pi, running):
    slice_ = "/sys/fs/cgroup/gridberry.slice/gridberry-recorder.slice"
    assert int(pi.file(f"{slice_}/memory.high").content_string) == 1536 * 1024 * 1024
    assert int(pi.file(f"{slice_}/memory.max").content_string) == 2048 * 1024 * 1024
    own = pi.file(f"{slice_}/docker-{running['Id']}.scope/memory.max")
    assert int(own.content_string) == 2048 * 1024 * 1024


def test_docker_starts_it_again(running):
    assert running["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert running["HostConfig"]["ReadonlyRootfs"]


def test_its_status_needs_the_token(pi, running):
    assert running["State"]["Running"]
    url = "http://127.0.0.1:8092"
    assert pi.run(f"curl -sf {url}/health").rc == 0
    assert pi.run(f"curl -sf {url}/metrics").rc != 0
    token = "$(cat /opt/gridberry/recorder/secrets/token)"
    told = pi.check_output(f'curl -sf -H "Authorization: Bearer {token}" {url}/metrics')
    assert "recorder_rows_written_total" in told


def test_it_records_what_the_exchange_trades(pi, running, waiting):
    """Stopped, it makes Parquet of its journals: each trade once, none missing without a gap."""
    assert running["State"]["Running"]

    def status():
        return json.loads(pi.check_output(f"docker exec {NAME} recorder status --json"))

    waiting(lambda: status()["exchanges"]["binance"]["books"] == 2, "both books")
    waiting(lambda: status()["rows_written"] > 200, "rows")
    pi.check_output(f"docker restart -t 60 {NAME}")
    waiting(lambda: pi.run(f"docker exec {NAME} recorder status").rc == 0, "the recorder again")
    found = query(pi, QUERY)
    print(found)
    assert [row["symbol"] for row in found] == ["BTCUSDT", "ETHUSDT"]
    gaps = query(pi, "SELECT * FROM gaps WHERE kind = 'trades'")
    for row in found:
        assert row["rows"] == row["different"]
        assert row["rows"] == row["span"] or gaps
    assert query(pi, "SELECT count(*) AS n FROM depth")[0]["n"] > 0


def test_it_starts_again_after_a_kill_and_keeps_what_was_written(pi, running, waiting):
    status = f"docker exec {NAME} recorder status --json"
    before = int(running["RestartCount"])
    rows = query(pi, "SELECT count(*) AS n FROM trades")[0]["n"]
    pi.check_output(f"kill -9 {running['State']['Pid']}")
    count = f"docker inspect --format '{{{{.RestartCount}}}}' {NAME}"
    waiting(lambda: int(pi.check_output(count)) > before, "Docker to start it again")
    waiting(lambda: pi.run(status).rc == 0, "the status")
    assert query(pi, "SELECT count(*) AS n FROM trades")[0]["n"] >= rows
