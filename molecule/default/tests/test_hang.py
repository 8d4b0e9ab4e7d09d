"""A Pi whose kernel is gone comes back by itself: the watchdog resets it, and the bot trades on."""

import os
import subprocess

import pytest

AUDIT = "docker exec gridberry-bot gridbot audit --config /etc/gridbot/bot.toml"
HEALTH = "docker inspect --format '{{.State.Health.Status}}' gridberry-bot"

HANGS = {
    # kernel.panic would end the panic with a reboot of its own, before the watchdog.
    "kernel": "echo 0 >/proc/sys/kernel/panic; echo c >/proc/sysrq-trigger",
    # systemd catches it and freezes for good: programs run on, and nobody tells the watchdog so.
    "systemd": "kill -s SEGV 1",
}
# Each takes minutes: `GRIDBERRY_HANGS="kernel systemd"` has both.
WANTED = os.environ.get("GRIDBERRY_HANGS", "kernel").split()


def watchdog_fired(machine):
    """How often the watchdog has reset the machine since it was made."""
    return machine.console().count("firmware: the watchdog fired")


def boots(machine):
    """How often the machine was booted since it was made."""
    return machine.console().count("firmware: boot ")


def hang(machine, waiting, how):
    """Hang the machine and wait until its watchdog has reset it and it answers again.

    Args:
        machine: The machine.
        waiting: The function that waits.
        how: A command for root.
    """
    fired, booted = watchdog_fired(machine), boots(machine)
    # In the background, so that ssh comes back; and then nothing answers any more.
    try:
        machine.ssh(f"sudo sh -c 'sync; (sleep 2; {how}) >/dev/null 2>&1 &'", timeout=60)
    except subprocess.SubprocessError:
        assert watchdog_fired(machine) == fired, "it was reset before it hung"
    finally:
        machine.forget_connection()
    waiting(lambda: watchdog_fired(machine) == fired + 1, "the watchdog to fire")
    waiting(lambda: boots(machine) == booted + 1, "the machine to boot again")
    machine.wait()


@pytest.mark.parametrize("what", WANTED)
def test_the_watchdog_brings_back_a_pi_that_trades(pi, bot, machine, waiting, what):
    before = bot()
    booted = pi.check_output("cat /proc/sys/kernel/random/boot_id")
    assert pi.file("/sys/class/watchdog/watchdog0/state").content_string.strip() == "active"
    hang(machine, waiting, HANGS[what])
    waiting(lambda: pi.run(HEALTH).stdout.strip() == "healthy", "the bot to be back by itself")
    assert pi.check_output("cat /proc/sys/kernel/random/boot_id") != booted
    audit = pi.run(AUDIT)
    assert audit.rc == 0, audit.stdout + audit.stderr
    after = bot()
    assert after["buys"] + after["sells"] >= before["buys"] + before["sells"]
    assert after["open_orders"] == before["open_orders"]
    open_ids = [order["client_id"] for order in after["orders"]]
    assert len(open_ids) == len(set(open_ids))
    assert pi.file("/sys/class/watchdog/watchdog0/state").content_string.strip() == "active"
