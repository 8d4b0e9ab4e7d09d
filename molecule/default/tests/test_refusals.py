"""Bad input: one clear line, an exit status that is not zero, and nothing has changed."""

import re

import pytest


def assert_refused(result, *said):
    """The run failed, said it in one line, and changed nothing."""
    assert result.returncode != 0
    message = re.sub(r"\s+", " ", result.stdout)
    for text in said:
        assert text in message, result.stdout
    assert re.search(r"molecule-pi +: ok=\d+ +changed=0 ", result.stdout), result.stdout


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "grid_bot_lowr=1",
            "grid_bot_lowr is not a setting of any role; did you mean grid_bot_lower?",
        ),
        ("grid_bot_grids=many", "grid_bot_grids is ''many''; use a whole number"),
        ("grid_bot_lower=60000", "grid.lower = 60000 must be below grid.upper = 50000"),
        ("grid_bot_exchange_speed=0", "gridexchange: speed = 0: needs a number from"),
        ("grid_bot_name=much_too_long_name", 'bot_name = "much_too_long_name" needs 1 to 12'),
        (
            '{"grid_bot_stop": {"loss_price": "45000"}}',
            "stop.loss_price = 45000 must be below the lowest line 42000",
        ),
        (
            "grid_bot_mode=live",
            "grid_bot_mode is live, which also needs grid_bot_live_confirmation",
        ),
        ("grid_bot_candles=/no/such.csv", "grid_bot_candles is /no/such.csv, which is no file"),
        (
            "preflight_nvme_device=/dev/nvme9n1",
            "preflight_nvme_device is /dev/nvme9n1 and the host has no such block device, only",
        ),
        ("preflight_free_mb=99999999", "MB free and preflight_free_mb is 99999999"),
    ],
)
def test_setting_that_will_not_do(machine, setting, said):
    assert_refused(machine.playbook("-e", setting), said)


def test_changed_grid_is_refused_and_the_bot_trades_on(pi, machine):
    state = "docker inspect --format '{{.Id}} {{.State.StartedAt}}' gridberry-bot"
    before = pi.check_output(state)
    result = machine.playbook("--tags", "grid_bot", "-e", "grid_bot_lower=41000")
    assert_refused(
        result,
        "grid.lower = 41000 differs from 42000, with which the running grid was started",
        "the bot was left as it is",
    )
    assert pi.check_output(state) == before


def test_host_whose_key_nobody_knows(machine):
    # A connection that is open already would be taken.
    options = "-o ControlPath=none -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes"
    result = machine.playbook("-e", f"ansible_ssh_common_args='{options}'")
    assert_refused(result, "Host key verification failed")


@pytest.fixture
def guest(pi):
    """A user who may log in but not use sudo."""
    pi.check_output(
        "useradd --create-home guest && install -d -o guest -m 700 /home/guest/.ssh &&"
        " install -o guest -m 600 ~trader/.ssh/authorized_keys /home/guest/.ssh/authorized_keys"
    )
    yield "guest"
    pi.run("loginctl terminate-user guest")
    # Ansible keeps its connection open, and with it the user in use.
    pi.check_output("userdel --force --remove guest")


def test_host_without_sudo(machine, guest):
    result = machine.playbook("-e", f"ansible_user={guest}")
    assert_refused(result, "sudo asks guest for a password; run again with --ask-become-pass")


def test_boot_file_that_could_not_boot_is_left_alone(pi, machine):
    pi.check_output("cp /boot/firmware/cmdline.txt /root/cmdline.txt")
    try:
        pi.check_output("sed -i 's/root=[^ ]*//; s/ipv6.disable=1//' /boot/firmware/cmdline.txt")
        broken = pi.file("/boot/firmware/cmdline.txt").content_string
        result = machine.playbook("--tags", "boot_config")
        assert_refused(result, "cmdline.txt has no root=; the Pi boots with exactly one")
        assert pi.file("/boot/firmware/cmdline.txt").content_string == broken
    finally:
        pi.check_output("cp /root/cmdline.txt /boot/firmware/cmdline.txt && sync")


def test_daemon_configuration_that_docker_refuses_is_not_put_in_place(pi, machine):
    before = pi.file("/etc/docker/daemon.json").content_string
    result = machine.playbook(
        "--tags", "docker", "-e", '{"docker_daemon_options": {"no-such-key": 1}}'
    )
    assert_refused(result, "dockerd refuses the new content", "nothing changed")
    assert pi.file("/etc/docker/daemon.json").content_string == before


def test_check_mode_of_a_configured_host_has_nothing_to_say(machine):
    result = machine.playbook(
        "--check", "--diff", "-e", '{"boot_config_lines": ["disable_splash=1"]}'
    )
    assert result.returncode == 0, result.stdout
    assert re.search(r"molecule-pi +: ok=\d+ +changed=0 ", result.stdout), result.stdout
