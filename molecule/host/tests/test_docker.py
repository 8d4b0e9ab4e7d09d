"""Docker as it runs: what the daemon says of itself, and what apt would do."""

import json
import re

import pytest


@pytest.fixture(scope="module")
def info(pi):
    """What the daemon says."""
    return json.loads(pi.check_output("docker info --format '{{json .}}'"))


def test_docker_is_the_one_that_the_images_need(pi, info):
    assert int(info["ServerVersion"].split(".")[0]) >= 26
    assert re.match(r"2\.|[3-9]", pi.check_output("docker compose version --short").lstrip("v"))
    assert pi.run("docker buildx version").rc == 0


def test_daemon_has_its_settings(info):
    assert info["LiveRestoreEnabled"]
    assert info["DefaultAddressPools"] == [{"Base": "10.213.0.0/16", "Size": 26}]
    assert "name=no-new-privileges" in info["SecurityOptions"]
    assert info["LoggingDriver"] == "json-file"


def test_a_new_network_is_small_and_far_from_home_networks(pi):
    said = pi.check_output(
        "docker network create gridberry-test >/dev/null;"
        " docker network inspect -f '{{range .IPAM.Config}}{{.Subnet}}{{end}}' gridberry-test;"
        " docker network rm gridberry-test >/dev/null"
    )
    assert re.fullmatch(r"10\.213\.\d+\.\d+/26", said)


def test_docker_does_not_start_without_the_drive_of_its_data(pi, info):
    root = info["DockerRootDir"]
    mount = pi.check_output(f"df --output=target {root}").splitlines()[-1]
    waits = pi.check_output("systemctl show -p RequiresMountsFor --value docker.service")
    asserts = pi.check_output("systemctl cat docker.service | grep ^Assert || :")
    # On the system's own disk there is nothing to wait for.
    assert (mount != "/") == (root in waits.split())
    assert (mount != "/") == (root == asserts.rpartition("=")[2])


TAKEN = "import socket, time; s = socket.create_server(('0.0.0.0', 8099)); time.sleep(600)"


@pytest.mark.long
def test_a_container_that_docker_has_given_up_is_started_and_one_that_was_stopped_is_not(
    pi, waiting
):
    """Docker tries once at boot, or once after an end; its restart policy is not for that."""

    def state(name: str) -> str:
        return pi.check_output("docker inspect -f '{{.State.Status}}' %s", name)

    if not (images := pi.check_output("docker image ls -q").split()):
        pytest.skip("no image on this machine to make a container of")
    run = f"docker run -d --restart unless-stopped --entrypoint sleep %s {images[0]} 600"
    try:
        pi.check_output(run, "--name=gridberry-stopped")
        pi.check_output("docker stop -t 0 gridberry-stopped")
        pi.check_output("systemd-run --unit gridberry-port python3 -c %s", TAKEN)
        waiting(lambda: ":8099 " in pi.check_output("ss -Hltn"), "the port to be taken")
        assert pi.run(run.replace("%s", "--name=gridberry-given-up -p 8099:1")).rc != 0
        assert state("gridberry-given-up") == "created"
        pi.check_output("systemctl stop gridberry-port")
        waiting(lambda: state("gridberry-given-up") == "running", "the timer to start it")
        assert state("gridberry-stopped") == "exited"
        said = pi.check_output("journalctl -q -u gridberry-docker-start -p err -o cat")
        assert "gridberry-given-up did not start (code 128, " in said
        assert "8099" in said
    finally:
        pi.run("systemctl stop gridberry-port")
        pi.run("docker rm -f gridberry-given-up gridberry-stopped")


def test_build_cache_is_bounded(pi):
    said = pi.check_output("docker buildx inspect default 2>/dev/null")
    bounds = re.findall(r"(?:Keep Bytes|Max Used Space|Reserved Space):\s+(\S+)", said)
    assert bounds
    assert all(bound.endswith("MiB") or bound in {"1GiB", "953.7MiB"} for bound in bounds), said


def test_old_images_are_removed_by_a_timer_and_volumes_never(pi):
    assert "gridberry-docker-prune.timer" in pi.check_output(
        "systemctl list-timers --no-legend gridberry-docker-prune.timer"
    )
    look = "docker volume ls -q | sort; docker image ls -q --no-trunc | sort; docker ps -aq | sort"
    pi.check_output("docker volume create gridberry-test")
    try:
        before = pi.check_output(look)
        pi.check_output("systemctl start gridberry-docker-prune.service")
        assert pi.check_output(look) == before
        assert "gridberry-test" in before
    finally:
        pi.check_output("docker volume rm gridberry-test")


def test_apt_takes_nothing_but_docker_from_another_release(pi):
    """On bookworm trixie is among apt's sources; an ordinary upgrade does not touch it."""
    release = pi.check_output(". /etc/os-release; echo $VERSION_CODENAME")
    said = pi.check_output(
        "apt-cache policy docker.io; echo ==; apt-cache policy libc6 systemd bash containerd runc;"
        " echo ==; apt-get -q -s dist-upgrade"
    )
    docker, others, upgrade = said.split("==")
    assert re.search(r"Installed: (?!\(none\))2[6-9]", docker)
    for installed, candidate in re.findall(r"Installed: (\S+)\s+Candidate: (\S+)", others):
        assert ("deb13" in candidate) <= (release == "trixie"), (installed, candidate)
    if release == "bookworm":
        own = {"docker.io", "docker-cli", "docker-compose", "docker-buildx"}
        lines = [line for line in upgrade.splitlines() if line.startswith("Inst")]
        assert {line.split()[1] for line in lines if "Debian:13" in line} <= own
        assert "Debian:13" not in pi.check_output("apt-get -q -s install hello")
