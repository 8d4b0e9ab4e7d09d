"""The bot's container, as the kernel holds it and not as its configuration says."""

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = yaml.safe_load((ROOT / "inventory/virtual/group_vars/trading.yml").read_text())
MEBIBYTE = 1024 * 1024
BOT, EXCHANGE = "gridberry-bot", "gridberry-exchange"


@pytest.fixture(scope="module")
def details(pi, waiting):
    """What Docker knows of both containers, once they are back after the cuts of other tests."""
    look = "docker inspect --format '{{.State.Health.Status}}' " + f"{BOT} {EXCHANGE}"
    waiting(lambda: pi.run(look).stdout.split() == ["healthy"] * 2, "both to be back by themselves")
    return {
        one["Name"].strip("/"): one
        for one in json.loads(pi.check_output(f"docker inspect {BOT} {EXCHANGE}"))
    }


@pytest.fixture(scope="module")
def process(pi, details):
    """The status of the bot's first process, as the kernel tells it."""
    lines = pi.file(f"/proc/{details[BOT]['State']['Pid']}/status").content_string.splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def cgroup(pi, details, name, file):
    """A file of a container's cgroup."""
    path = f"/sys/fs/cgroup/system.slice/docker-{details[name]['Id']}.scope/{file}"
    return pi.file(path).content_string.strip()


def quota(setting):
    """What the kernel holds for a number of processors of the inventory, of 100,000 us."""
    return f"{round(float(SETTINGS[setting]) * 100_000)} 100000"


def test_limits_of_the_bot(pi, details):
    assert cgroup(pi, details, BOT, "memory.max") == str(384 * MEBIBYTE)
    assert cgroup(pi, details, BOT, "memory.swap.max") == str(128 * MEBIBYTE)
    assert cgroup(pi, details, BOT, "memory.low") == str(128 * MEBIBYTE)
    assert cgroup(pi, details, BOT, "cpu.max") == quota("grid_bot_cpus")
    assert cgroup(pi, details, BOT, "pids.max") == "64"


def test_limits_of_the_exchange(pi, details):
    assert cgroup(pi, details, EXCHANGE, "memory.max") == str(256 * MEBIBYTE)
    assert cgroup(pi, details, EXCHANGE, "cpu.max") == quota("grid_bot_exchange_cpus")


def test_limits_hold_inside_the_container(pi):
    said = pi.check_output(
        f"docker exec {BOT} cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max"
    )
    assert said.split("\n") == [str(384 * MEBIBYTE), quota("grid_bot_cpus")]
    limits = pi.check_output(f"docker exec {BOT} cat /proc/1/limits")
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)  # it would hold secrets


def test_bot_uses_at_most_120_mb(pi, details):
    assert int(cgroup(pi, details, BOT, "memory.current")) <= 120 * 1000 * 1000


def test_process_has_no_capabilities_and_gets_none(process):
    assert {process[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
        "0" * 16
    }
    assert process["NoNewPrivs"] == "1"
    assert process["Seccomp"] == "2"


def test_process_is_not_root(process):
    assert process["Uid"].split() == ["10001"] * 4
    assert process["Gid"].split() == ["10001"] * 4


@pytest.mark.parametrize("container", [BOT, EXCHANGE])
def test_root_is_read_only(pi, container):
    result = pi.run(f"docker exec {container} sh -c 'echo x >/etc/x'")
    assert result.rc != 0
    assert "Read-only file system" in result.stderr
    assert pi.run(f"docker exec {container} sh -c 'echo x >/tmp/x && rm /tmp/x'").rc == 0


def test_tmp_is_bounded(pi):
    mounts = pi.check_output(f"docker exec {BOT} cat /proc/mounts").splitlines()
    tmpfs = {line.split()[1]: line.split()[3] for line in mounts if line.startswith("tmpfs")}
    assert "size=32768k" in tmpfs["/tmp"]
    assert "noexec" in tmpfs["/tmp"]
    assert "size=8192k" in tmpfs["/var/log"]


def test_logs_and_restart(details):
    for one in details.values():
        config = one["HostConfig"]
        assert config["LogConfig"] == {
            "Type": "json-file",
            "Config": {"max-size": "5m", "max-file": "2", "compress": "true"},
        }
        assert config["RestartPolicy"]["Name"] == "unless-stopped"
        assert config["Dns"]


def test_state_is_on_named_volumes(details):
    volumes = {
        name: [mount["Name"] for mount in one["Mounts"] if mount["Type"] == "volume"]
        for name, one in details.items()
    }
    assert volumes == {BOT: ["gridberry-paper-bot"], EXCHANGE: ["gridberry-paper-exchange"]}


def test_exchange_is_not_published(details):
    published = details[EXCHANGE]["NetworkSettings"]["Ports"] or {}
    assert not [ports for ports in published.values() if ports]


def test_secrets_are_the_containers_own(pi):
    directory = pi.file("/opt/gridberry/bot/secrets")
    assert (directory.mode, directory.uid) == (0o700, 10001)
    for name in ("paper_api_key", "paper_api_secret"):
        secret = pi.file(f"/opt/gridberry/bot/secrets/{name}")
        assert (secret.mode, secret.uid, secret.size) == (0o600, 10001, 64)


def test_secrets_are_nowhere_else(pi, details):
    secret = pi.file("/opt/gridberry/bot/secrets/paper_api_secret").content_string
    assert secret not in json.dumps(details)
    # After a cut of the power Docker shows what it can read of the log, and fails at what was torn.
    logs = pi.run(f"docker logs {BOT} 2>&1").stdout
    assert "INFO" in logs
    assert secret not in logs
    assert secret not in pi.check_output("docker history --no-trunc " + details[BOT]["Image"])


def test_image_is_at_most_180_mb(pi, details):
    size = pi.check_output("docker image inspect --format '{{.Size}}' " + details[BOT]["Image"])
    assert int(size) <= 180 * 1000 * 1000


def test_both_are_healthy(pi):
    said = pi.check_output(
        "docker inspect --format '{{.State.Health.Status}}' " + f"{BOT} {EXCHANGE}"
    )
    assert said.split() == ["healthy", "healthy"]


def test_page_answers_from_outside(machine):
    with urllib.request.urlopen(machine.page, timeout=60) as answer:  # noqa: S310 - http, loopback
        assert b"<html" in answer.read()
    with urllib.request.urlopen(f"{machine.page}/health", timeout=60) as answer:  # noqa: S310 - the same
        assert answer.status == 200


PURE = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")


def test_trading_core_on_the_arm64_image(machine, pi, details, tmp_path):
    """The core's own tests, in a throwaway container of the bot's image with the network cut."""
    from importlib.metadata import distribution

    site = Path(distribution("pytest").locate_file(""))
    names = [
        str(file)
        for name in PURE
        for file in distribution(name).files
        if file.suffix == ".py" or ".dist-info" in str(file)
    ]
    bundle = tmp_path / "core.tar"
    tests = ROOT / "bot/tests/bot"
    (tmp_path / "names").write_text("\n".join(name for name in names if (site / name).is_file()))
    subprocess.run(
        ["tar", "-cf", bundle, "-C", site, "-T", tmp_path / "names", "-C", tests, "core"],
        check=True,
    )
    directory = "/var/tmp/gridberry-core"
    with bundle.open("rb") as stream:
        machine.ssh(
            f"rm -rf {directory} && mkdir {directory} && tar -xf - -C {directory}", stdin=stream
        )
    result = pi.run(
        "docker run --rm --network none --read-only --tmpfs /tmp --cap-drop ALL"
        f" -e PYTHONPATH=/core -v {directory}:/core:ro --entrypoint python3"
        f" {shlex.quote(details[BOT]['Image'])}"
        " -m pytest -q -p no:cacheprovider --color=no --import-mode=importlib --rootdir=/core"
        " /core/core"
    )
    pi.run(f"rm -rf {directory}")
    sys.stdout.write(result.stdout)
    assert result.rc == 0, result.stdout + result.stderr
    assert " passed" in result.stdout
