"""A backup on the virtual Pi, with the restic of Debian, and the way back to it."""

import json

import pytest

REPOSITORY, PASSWORD = "/mnt/data/backups", "planted-password-4711"
SETTINGS = json.dumps({"backup_repository": REPOSITORY, "backup_password": PASSWORD})
AUDIT = "docker exec gridberry-bot gridbot audit --json --config /etc/gridbot/bot.toml"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def backups(pi, machine):
    """The role, applied; and taken away again."""
    result = machine.playbook("--tags", "backup", "-e", SETTINGS)
    assert result.returncode == 0, result.stdout[-3000:]
    yield
    result = machine.playbook("--tags", "backup", "-e", SETTINGS, "-e", "backup_state=absent")
    assert result.returncode == 0, result.stdout[-3000:]
    assert not pi.file("/etc/gridberry/backup/password").exists
    assert not pi.file("/usr/local/lib/gridberry/backup.py").exists
    pi.check_output(f"rm -rf {REPOSITORY}")


@pytest.mark.usefixtures("backups")
def test_backup_and_restore(pi, machine, bot, waiting):
    waiting(lambda: bot()["open_orders"] > 0, "open orders")
    assert pi.check_output("systemctl is-enabled gridberry-backup.timer") == "enabled"
    pi.check_output("systemctl start gridberry-backup.service")  # as the timer does
    assert json.loads(pi.file("/var/lib/gridberry/backup.json").content_string)["ok"] is True
    sells = bot()["sells"]
    waiting(lambda: bot()["sells"] > sells, "a trade that the backup does not have")

    said = machine.play("restore")
    assert said.returncode == 0, said.stdout[-3000:]
    assert "nothing was changed" in said.stdout
    said = machine.play("restore", "-e", "restore_confirmed=true")
    assert said.returncode == 0, said.stdout[-3000:]
    assert json.loads(pi.check_output(AUDIT))["equal"] is True
    waiting(lambda: bot()["open_orders"] > 0, "open orders after the restore")


@pytest.mark.usefixtures("backups")
def test_the_second_run_changes_nothing_and_no_secret_is_readable(pi, machine):
    again = machine.playbook("--tags", "backup", "-e", SETTINGS, "--diff", "-vvv")
    assert again.returncode == 0, again.stdout[-3000:]
    assert " changed=0 " in again.stdout
    settings = pi.check_output("stat -c %a /etc/gridberry/backup /etc/gridberry/backup/*").split()
    assert settings == ["700"] + ["600"] * 3
    assert PASSWORD not in pi.check_output("journalctl -u gridberry-backup.service")
    files = pi.check_output(
        f"grep -rlF {PASSWORD} /etc /root /tmp /usr/local /var --exclude-dir=docker || true"
    )
    assert files.split() == ["/etc/gridberry/backup/password"]
