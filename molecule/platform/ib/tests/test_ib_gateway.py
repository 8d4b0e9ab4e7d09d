"""IB Gateway on the virtual Pi, by a stand-in for what a user downloads: what is in force."""

import contextlib
import json
import shlex
import socket

import pytest

PROGRAM = "python3 -I /usr/local/lib/gridberry/ib_gateway"
GATEWAY = "gridberry-ib-gateway.service"
BEHAVE = "/var/lib/gridberry-ib/Jts/behave"
MEGABYTES = 512
KEPT = {"/etc/gridberry/ib_gateway/config.ini"}
# In host_vars each secret is called planted-...-4711; not one that these lines would find.
PLANTED = "planted-[a-z]*-471[1]"
HELLO = b"API\0\0\0\0\x09v157..178"
THROUGH = f"""import socket
line = socket.socket(socket.AF_UNIX)
line.settimeout(20)
line.connect("/run/gridberry-gateway/api")
line.sendall({HELLO!r})
print(line.recv(64)[4:].decode())
"""


@pytest.fixture
def ready(pi):
    """The function that waits for a Gateway whose API answers with its account."""
    return lambda: pi.check_output(f"{PROGRAM} wait 300")


@pytest.fixture
def invocation(pi):
    """The function that names the run of the Gateway's unit."""
    return lambda: pi.check_output(f"systemctl show -P InvocationID {GATEWAY}")


def test_a_wrong_checksum_is_refused_in_one_line(machine, invocation):
    before = invocation()
    wrong = machine.play("ib_gateway", "-e", f"ib_gateway_installer_sha256={'0' * 64}")
    assert wrong.returncode != 0
    assert "ib_gateway_installer_sha256 is 000" in " ".join(wrong.stdout.split())
    assert invocation() == before


def test_each_part_began_after_what_it_stands_on(pi, ready):
    ready()
    units = ("display.service", "gateway.service", "ready.service")
    show = "systemctl show -P ActiveEnterTimestampMonotonic gridberry-ib-"
    begun = [int(pi.check_output(f"{show}{unit}")) for unit in units]
    assert 0 not in begun
    assert begun == sorted(begun)


def test_the_api_is_closed_from_outside_and_open_to_the_bots_user(pi, machine):
    heard = b""
    place = ("127.0.0.1", machine.forwards[4002])  # QEMU takes the connection in any case
    with contextlib.suppress(OSError), socket.create_connection(place, 20) as line:
        line.sendall(HELLO)
        heard = line.recv(64)
    assert heard == b""
    ask = f"setpriv --reuid={{0}} --regid={{0}} --clear-groups python3 -c {shlex.quote(THROUGH)}"
    assert pi.run(ask.format(10001)).stdout.startswith("178")
    assert "PermissionError" in pi.run(ask.format(10002)).stderr


def test_its_memory_is_bounded_by_the_kernel(pi):
    group = pi.check_output(f"systemctl show -P ControlGroup {GATEWAY}")
    assert int(pi.check_output(f"cat /sys/fs/cgroup{group}/memory.max")) == MEGABYTES << 20


def test_the_bot_on_a_stock_trades_through_it(pi, bot, waiting):
    look = "docker inspect --format '{{.State.Health.Status}}' gridberry-bot"
    waiting(lambda: pi.run(look).stdout.strip() == "healthy", "the bot to be healthy")
    assert pi.run("docker container inspect gridberry-exchange").rc != 0
    assert "SPY/USD" in json.dumps(bot())


def test_the_watcher_sees_the_gateway_and_no_network(pi, waiting):
    told = json.loads(pi.check_output("docker inspect gridberry-watcher"))[0]
    assert told["HostConfig"]["NetworkMode"] == "none"
    assert told["HostConfig"]["Memory"] == 192 << 20
    signal = "/mnt/data/watcher/signal.json"
    # Outside of regular hours it is closed; then it has not asked the Gateway yet.
    fine = {"watching", "waiting", "closed"}
    waiting(lambda: json.loads(pi.check_output(f"cat {signal}"))["state"] in fine, "its state")
    assert told["State"]["Running"]


def test_its_secrets_are_in_one_file_that_root_alone_reads(pi):
    """Logs, journal, Docker's files, the Gateway's own and those of the release among them."""
    places = "/etc /var /opt /root /home /usr/local /srv /mnt /run /tmp --exclude-dir=credentials"
    said = pi.check_output(f"grep -rlaE '{PLANTED}' {places} 2>/dev/null; true")
    assert set(said.split()) == KEPT
    for name in KEPT:
        assert (pi.file(name).mode, pi.file(name).user) == (0o600, "root")
    shown = f"grep -alE '{PLANTED}' /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null; true"
    assert pi.check_output(shown) == ""
    assert pi.run(f"journalctl --no-pager | grep -aE '{PLANTED}'").rc == 1
    assert pi.run(f"systemctl show '*' | grep -aE '{PLANTED}'").rc == 1


@pytest.mark.parametrize(
    "part", ["jre/bin/jav[a]", "Xvf[b] :97", "ibcstart.s[h]", "gridexchange.i[b]"]
)
def test_what_is_killed_comes_back(pi, waiting, ready, invocation, part):
    ready()
    old = invocation()
    pi.check_output(f"pkill -KILL -o -f '{part}'")
    waiting(lambda: invocation() != old, f"a new Gateway after a kill of {part}")
    ready()
    pi.check_output(f"systemctl reset-failed {GATEWAY}")  # the next kill is another day


def test_the_kernel_ends_it_at_its_limit_and_it_comes_back(pi, waiting, ready, invocation):
    ready()
    old = invocation()
    pi.check_output(f"mkdir -p {BEHAVE} && touch {BEHAVE}/eat && chmod -R a+rX {BEHAVE}")
    try:
        waiting(lambda: invocation() != old, "a new Gateway after one without memory")
    finally:
        pi.check_output(f"rm -rf {BEHAVE}")
    killed = pi.check_output("journalctl --dmesg --no-pager --grep 'Memory cgroup out of memory'")
    assert "Killed process" in killed
    ready()
