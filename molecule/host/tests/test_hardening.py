"""What can be reached and who gets in, tried from outside."""

import contextlib
import shlex
import socket
import subprocess
import threading

import pytest

PORT = 9090  # forwarded, and opened by nobody
GREETING = b"here\n"
SERVER = (
    f'my $s = IO::Socket::INET->new(LocalPort => {PORT}, Listen => 5, ReuseAddr => 1) or die "$@";'
    ' while (my $c = $s->accept) { print $c "here\\n"; close $c }'
)
SERVE = f"perl -MIO::Socket::INET -e {shlex.quote(SERVER)}"
# The machine's own programs, as no registry can be reached: links into /usr, which is mounted.
CONTAINER = (
    "tar -C / -c bin lib sbin | docker import - gridberry-test >/dev/null && docker run -d --rm"
    f" --name gridberry-test -p {PORT}:{PORT} -v /usr:/usr:ro gridberry-test {SERVE}"
)
UNIT = "gridberry-test-listener"


def greeting(port: int) -> bytes:
    """What somebody outside hears at a port of this computer that leads to one of the machine's.

    QEMU accepts every connection itself, so only what comes through it tells.
    """
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as one:
        one.settimeout(5)
        return one.recv(100)
    return b""


def log_in(machine, *options: str) -> subprocess.CompletedProcess:
    """Log in anew, with more options of ssh."""
    host = machine.ssh_config.read_text().split()[1]
    words = ["-o", "ControlPath=none", "-o", "BatchMode=yes", *options, host, "true"]
    return subprocess.run(
        ["ssh", "-F", machine.ssh_config, *words], check=False, capture_output=True, text=True
    )


@pytest.fixture
def opened(pi):
    """The port is open while this is used."""
    rule = f"meta l4proto tcp ct original proto-dst {PORT} accept"
    pi.check_output(f"nft add rule inet gridberry open {rule}")
    yield
    pi.check_output("systemctl reload gridberry-firewall")


@pytest.fixture
def listener(pi, waiting):
    """A program of the host that listens on all addresses."""
    pi.check_output(f"systemd-run --quiet --collect --unit={UNIT} {SERVE}")
    waiting(lambda: pi.run(f"ss -Hltn 'sport = {PORT}'").stdout, "the listener")
    yield
    pi.check_output(f"systemctl stop {UNIT}")


@pytest.fixture
def published(pi, waiting):
    """A container whose port Docker publishes on all addresses."""
    pi.check_output(CONTAINER)
    local = f"exec 3<>/dev/tcp/127.0.0.1/{PORT} && head -n 1 <&3"
    waiting(lambda: "here" in pi.run(f"bash -c {shlex.quote(local)}").stdout, "the container")
    yield
    pi.check_output("docker rm -f gridberry-test && docker rmi gridberry-test")


class TestSsh:
    def test_no_password_and_the_banner(self, machine):
        done = log_in(machine, "-o", "PubkeyAuthentication=no")
        assert "Permission denied (publickey)" in done.stderr
        assert "private system" in done.stderr

    def test_no_root(self, machine):
        assert "Permission denied (publickey)" in log_in(machine, "-l", "root").stderr

    def test_no_weak_algorithms(self, machine):
        for option in ("Ciphers=aes128-cbc", "KexAlgorithms=diffie-hellman-group14-sha1"):
            assert "no matching" in log_in(machine, "-o", option).stderr
        assert (
            "no matching MAC"
            in log_in(machine, "-o", "Ciphers=aes128-ctr", "-o", "MACs=hmac-sha1").stderr
        )

    def test_settings_in_force(self, pi):
        told = pi.check_output("sshd -T").lower().splitlines()
        wanted = "x11forwarding no|allowagentforwarding no|allowtcpforwarding local|maxauthtries 3"
        assert set(wanted.split("|")) <= set(told)


class TestFirewall:
    def test_it_came_with_the_boot(self, pi):
        pi.check_output("systemctl is-enabled gridberry-firewall")
        assert "policy drop" in pi.check_output("nft list chain inet gridberry input")

    @pytest.mark.usefixtures("listener")
    def test_a_port_of_the_host_is_closed(self, machine):
        assert greeting(machine.forwards[PORT]) == b""

    @pytest.mark.usefixtures("listener", "opened")
    def test_and_open_where_it_is_opened(self, machine):
        assert greeting(machine.forwards[PORT]) == GREETING

    @pytest.mark.usefixtures("published")
    def test_a_published_port_is_closed(self, machine):
        assert greeting(machine.forwards[PORT]) == b""

    @pytest.mark.usefixtures("published", "opened")
    def test_and_open_where_that_is_opened(self, machine):
        assert greeting(machine.forwards[PORT]) == GREETING

    @pytest.mark.usefixtures("published", "opened")
    def test_nftables_service_leaves_containers_and_firewall_alone(self, machine, pi):
        for verb in ("restart", "reload", "stop"):
            pi.check_output(f"systemctl {verb} nftables")
            assert greeting(machine.forwards[PORT]) == GREETING
            assert f"dport {PORT}" in pi.check_output("iptables-save -t nat")
            assert "policy drop" in pi.check_output("nft list chain inet gridberry input")

    @pytest.mark.usefixtures("published")
    def test_containers_reach_the_world(self, pi):
        # QEMU's gateway leads to the loopback of the computer that runs this test.
        heard = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(60)

            def answer():
                with contextlib.suppress(OSError):
                    one, _ = server.accept()
                    heard.append(True)
                    one.close()

            thread = threading.Thread(target=answer)
            thread.start()
            port = server.getsockname()[1]
            pi.run(f"docker exec gridberry-test bash -c 'exec 3<>/dev/tcp/10.0.2.2/{port}'")
            thread.join()
        assert heard


class TestAppArmor:
    @pytest.mark.usefixtures("published")
    def test_containers_are_confined(self, pi):
        process = pi.check_output("docker inspect -f '{{.State.Pid}}' gridberry-test")
        said = pi.check_output(f"cat /proc/{process}/attr/current")
        assert said.rstrip("\0\n") == "docker-default (enforce)"


class TestLockOut:
    def test_what_would_lock_out_is_taken_back(self, machine, pi):
        before = pi.check_output("sshd -T; nft -s list table inet gridberry")
        done = machine.playbook(
            *("--tags", "hardening", "-e", '{"hardening_ssh_allow_users": ["somebody"]}')
        )
        assert done.returncode != 0
        assert "with the new settings failed" in done.stdout
        assert "the host keeps what it had" in done.stdout
        assert pi.check_output("sshd -T; nft -s list table inet gridberry") == before
        assert log_in(machine).returncode == 0
        assert not pi.file("/run/gridberry/hardening").exists


class TestRest:
    def test_security_upgrades(self, pi):
        told = pi.check_output("apt-config dump")
        assert 'Unattended-Upgrade::Origins-Pattern:: "origin=Raspberry Pi Foundation' in told
        assert 'Unattended-Upgrade::Package-Blacklist:: "docker"' in told
        assert 'Unattended-Upgrade::Automatic-Reboot "false"' in told
        assert 'APT::Periodic::Unattended-Upgrade "1"' in told
        pi.check_output("command -v unattended-upgrade")

    def test_unattended_upgrades_leave_the_initramfs_as_it_is(self, pi):
        told = pi.check_output("systemctl show -p Environment --value apt-daily-upgrade.service")
        assert told == "GRIDBERRY_UNATTENDED=yes"
        times = "stat -c %Y /boot/initrd.img-* /boot/firmware/initramfs8"
        before, note = pi.check_output(times), "/var/lib/gridberry/initramfs-waits"
        pi.check_output(
            "dpkg-trigger --by-package=dpkg update-initramfs &&"
            " GRIDBERRY_UNATTENDED=yes dpkg --triggers-only initramfs-tools"
        )
        assert pi.check_output(times) == before
        assert pi.file(note).exists
        pi.check_output(f"rm {note}")  # nothing has changed that one is made of

    def test_no_core_dump(self, machine, pi):
        assert machine.ssh("ulimit -Hc", capture_output=True, text=True).stdout.strip() == "0"
        assert pi.check_output("cat /proc/sys/kernel/core_pattern") == "|/bin/false"

    def test_rare_protocols_can_not_be_loaded(self, pi):
        for module in ("sctp", "tipc"):
            assert pi.run(f"modprobe {module}").rc != 0
            assert not pi.file(f"/sys/module/{module}").exists

    def test_umask(self, machine):
        answer = machine.ssh("bash -lc umask", capture_output=True, text=True)
        assert answer.stdout.strip() == "0027"

    def test_idle_login_shells_end_and_those_of_tmux_stay(self, machine):
        told = "echo ${TMOUT-never}"
        command = f"bash -lic '{told}'; TMUX=one bash -lic '{told}'; bash -lc '{told}'"
        answer = machine.ssh(command, capture_output=True, text=True)
        assert answer.stdout.split() == ["3600", "never", "never"]

    def test_no_program_starts_from_devices_and_shared_memory(self, pi):
        for place in ("/dev", "/dev/shm"):
            program = f"{place}/gridberry-test"
            done = pi.run(f"cp /bin/true {program} && {program}; code=$?; rm {program}; exit $code")
            assert done.rc == 126
            assert "Permission denied" in done.stderr
