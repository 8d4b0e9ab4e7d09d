"""IB Gateway on the virtual Pi: a stand-in for what a user downloads, put there by the role."""

import json

import pytest

from tests.ib_gateway import packages

pytestmark = pytest.mark.long

PROGRAM = "python3 -I /usr/local/lib/gridberry/ib_gateway"
GATEWAY = "gridberry-ib-gateway.service"
PASSWORD = "planted-password-4711"
MEMORY_MB = 512


@pytest.fixture(scope="module")
def gateway(pi, machine, waiting, tmp_path_factory):
    """The role, applied; and taken away again."""
    directory = tmp_path_factory.mktemp("downloads")
    installer, ibc = packages.installer(directory, "arm"), packages.ibc(directory)
    settings = {
        "ib_gateway_installer": str(installer.path),
        "ib_gateway_installer_sha256": installer.sha256,
        "ib_gateway_ibc": str(ibc.path),
        "ib_gateway_ibc_sha256": ibc.sha256,
        "ib_gateway_username": "planted-user",
        "ib_gateway_password": PASSWORD,
        "ib_gateway_heap_mb": 256,
        "ib_gateway_memory_mb": MEMORY_MB,
        "ib_gateway_second_factor": False,
    }
    words = ("--diff", "-e", json.dumps(settings))
    wrong = machine.play("ib_gateway", *words, "-e", f"ib_gateway_installer_sha256={'0' * 64}")
    assert wrong.returncode != 0
    assert not pi.file("/opt/gridberry/ib_gateway").exists
    result = machine.play("ib_gateway", *words)
    assert result.returncode == 0, result.stdout[-3000:]
    assert PASSWORD not in result.stdout
    waiting(lambda: pi.run(f"{PROGRAM} status").rc == 0, "a Gateway that is ready")
    yield words
    result = machine.play("ib_gateway", *words, "-e", "ib_gateway_state=absent")
    assert result.returncode == 0, result.stdout[-3000:]
    left = "/etc/systemd/system/gridberry-ib-* /etc/gridberry/ib_gateway /var/lib/gridberry-ib"
    assert pi.run(f"ls -d {left} /opt/gridberry/ib_gateway").stdout == ""
    assert not pi.user("gridberry-ib").exists


def test_a_second_run_changes_nothing(gateway, machine):
    result = machine.play("ib_gateway", *gateway)
    assert "changed=0" in result.stdout, result.stdout[-3000:]


@pytest.mark.usefixtures("gateway")
def test_each_part_began_after_what_it_stands_on(pi):
    units = ("display.service", "gateway.service", "ready.service")
    show = "systemctl show -P ActiveEnterTimestampMonotonic gridberry-ib-"
    begun = [int(pi.check_output(f"{show}{unit}")) for unit in units]
    assert 0 not in begun
    assert begun == sorted(begun)


@pytest.mark.usefixtures("gateway")
def test_its_memory_is_bounded_by_the_kernel(pi):
    group = pi.check_output(f"systemctl show -P ControlGroup {GATEWAY}")
    assert int(pi.check_output(f"cat /sys/fs/cgroup{group}/memory.max")) == MEMORY_MB << 20


@pytest.mark.usefixtures("gateway")
def test_its_secrets_are_in_one_file_that_root_alone_reads(pi):
    kept = pi.file("/etc/gridberry/ib_gateway/config.ini")
    assert (kept.mode, kept.user) == (0o600, "root")
    found = pi.run("grep -rlas planted-passwor[d] /etc /var/lib /opt /usr/local").stdout.split()
    assert found == ["/etc/gridberry/ib_gateway/config.ini"]
    assert pi.run("grep -las planted-passwor[d] /proc/[0-9]*/cmdline /proc/[0-9]*/environ").rc
    assert pi.run("journalctl --no-pager | grep -q planted-passwor[d]").rc


@pytest.mark.usefixtures("gateway")
def test_what_is_killed_comes_back(pi, waiting):
    for part in ("jre/bin/jav[a]", "Xvf[b]"):
        old = pi.check_output(f"systemctl show -P InvocationID {GATEWAY}")
        pi.check_output(f"pkill -KILL -o -f {part}")
        waiting(
            lambda old=old: pi.check_output(f"systemctl show -P InvocationID {GATEWAY}") != old,
            f"a new Gateway after a kill of {part}",
        )
        pi.check_output("systemctl start gridberry-ib-ready.service")
