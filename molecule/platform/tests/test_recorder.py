"""The recorder on a virtual Pi: limits in force, started again, its files readable."""

import json

import pytest

NAME = "gridberry-recorder"


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


def test_it_starts_again_after_a_kill_and_keeps_what_was_written(pi, running, waiting):
    status = f"docker exec {NAME} recorder status --json"
    before = int(running["RestartCount"])
    waiting(lambda: pi.run(status).rc == 0, "the status")
    pi.check_output(f"kill -9 {running['State']['Pid']}")
    count = f"docker inspect --format '{{{{.RestartCount}}}}' {NAME}"
    waiting(lambda: int(pi.check_output(count)) > before, "Docker to start it again")
    waiting(lambda: pi.run(status).rc == 0, "the status")
    sql = "SELECT count(*) FROM trades"
    answer = pi.check_output(f"docker exec {NAME} recorder query '{sql}'").splitlines()
    assert int(answer[1]) >= 0
