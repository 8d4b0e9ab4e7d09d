"""The watchdog is armed, by systemd and by nobody else."""

import pytest

DEVICE = "/sys/class/watchdog/watchdog0"
LOOK = f"""
cd {DEVICE} && grep '' identity state timeout
systemctl show -p RuntimeWatchdogUSec -p RebootWatchdogUSec | tr = :
holders=$(find /proc/[0-9]*/fd -lname '/dev/watchdog*' 2>/dev/null | cut -d / -f 3 | sort -u)
echo "held:"$holders
echo "daemon:$(pgrep -x 'watchdog|wd_keepalive' | xargs)"
"""


@pytest.fixture(scope="module")
def look(pi):
    """What the kernel and systemd say of it."""
    return dict(line.split(":", 1) for line in pi.check_output(LOOK).splitlines())


def test_kernel_counts(look):
    assert look["identity"] == "i6300ESB timer"
    assert look["state"] == "active"
    assert look["timeout"] == "60"


def test_systemd_holds_it_and_nobody_else(look):
    assert look["held"] == "1"
    assert look["daemon"] == ""


def test_systemd_says_so(look):
    assert look["RuntimeWatchdogUSec"] == "1min"
    assert look["RebootWatchdogUSec"] == "2min 5s"


def test_it_is_armed_since_the_boot_and_not_since_the_last_run(pi):
    said = pi.check_output("journalctl -b _PID=1 -o cat --grep 'hardware timeout'")
    assert said.splitlines()[0] == "Watchdog running with a hardware timeout of 1min."
