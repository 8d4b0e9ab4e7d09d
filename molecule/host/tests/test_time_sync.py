"""The clock is right, and nothing trades before it is."""

import time

import pytest


def tracking(pi) -> list[str]:
    """What chrony says of the clock."""
    return pi.check_output("chronyc -n -c tracking").split(",")


def shown(pi, unit: str, name: str) -> str:
    """A property of a unit, as systemd has it in force."""
    return pi.check_output("systemctl show -p %s --value %s", name, unit)


def assert_same_time(pi) -> None:
    """The machine's clock is this computer's, as far as a question over SSH can tell."""
    before = time.time()
    told = float(pi.check_output("date +%s.%N"))
    assert before - 0.2 <= told <= time.time() + 0.2


def test_the_clock_is_that_of_the_server(pi):
    assert tracking(pi)[1] == "10.0.2.2"
    assert tracking(pi)[-1] == "Normal"
    assert abs(float(tracking(pi)[4])) < 0.1
    assert_same_time(pi)


def test_the_kernel_knows_that_it_is_right(pi, waiting):
    waiting(
        lambda: pi.check_output("timedatectl show -p NTPSynchronized --value") == "yes",
        "the kernel to know that the clock is right",
    )


def test_one_program_keeps_the_clock(pi):
    assert pi.service("chrony").is_running
    assert pi.service("chrony").is_enabled
    assert not pi.package("systemd-timesyncd").is_installed
    # It asks, and does not serve.
    assert ":123 " not in pi.check_output("ss -Huln")


def test_docker_started_after_the_clock_was_right(pi):
    if shown(pi, "docker", "LoadState") == "not-found":
        pytest.skip("this machine has no Docker")
    assert shown(pi, "chrony-wait", "Result") == "success"
    waited = int(shown(pi, "chrony-wait", "ExecMainExitTimestampMonotonic"))
    assert 0 < waited <= int(shown(pi, "docker", "ExecMainStartTimestampMonotonic"))


def test_the_wait_is_bounded(pi):
    assert "waitsync 120 0.100 0 1" in shown(pi, "chrony-wait", "ExecStart")
    assert shown(pi, "chrony-wait", "TimeoutStartUSec") == "2min 10s"


def test_a_clock_that_is_behind_jumps_when_chrony_starts_and_docker_runs_on(pi):
    if pi.run("docker inspect gridberry-exchange").rc == 0:
        pytest.skip("an exchange runs here, for which time never goes back: see the scenario host")
    docker = shown(pi, "docker", "MainPID")
    pi.check_output("systemctl stop chrony && date -s '10 minutes ago' && systemctl start chrony")
    pi.check_output("chronyc -n waitsync 120 0.1 0 1")
    assert_same_time(pi)
    assert shown(pi, "docker", "MainPID") == docker
