"""Each role is undone, and leaves nothing but what its README names. Runs last."""

import json

ROLES = ("hub", "monitoring")
DATABASE = {
    "database_backup_state": "absent",
    "timescaledb_state": "absent",
    "timescaledb_purge": True,
}
PLACES = """
/etc/systemd/system/gridberry-vm* /etc/systemd/system/gridberry-*database*
/etc/systemd/system/postgresql*
/etc/gridberry/monitoring /etc/gridberry/database /etc/pgbackrest/pgbackrest.conf
/etc/postgresql/17 /usr/local/lib/gridberry/database /opt/gridberry/*hub*
/var/lib/private/gridberry-* /var/lib/gridberry/database*
/var/lib/gridberry/metrics/*database* /var/lib/gridberry/metrics/*hub*
/mnt/data/postgresql/17 /mnt/data/monitoring/*
"""
# As READMEs say: what was measured stays, and the archive, and backups.
KEPT = [
    "/mnt/data/monitoring/gridberry-victoria-metrics",
    "/var/lib/private/gridberry-victoria-metrics",  # empty: where it was mounted
]
PACKAGES = (
    "postgresql-17", "postgresql-17-timescaledb", "pgbackrest", "victoria-metrics", "vmagent",
    "prometheus-alertmanager", "prometheus-node-exporter",
)  # fmt: skip


def test_undo_leaves_nothing(pi, machine):
    absent = {f"{name}_state": "absent" for name in ROLES}
    done = machine.playbook("--tags", ",".join(ROLES), "-e", json.dumps(absent))
    assert done.returncode == 0, done.stdout[-3000:]
    done = machine.play("database", "-e", json.dumps(DATABASE))
    assert done.returncode == 0, done.stdout[-3000:]
    assert pi.run("ls -d " + " ".join(PLACES.split())).stdout.split() == KEPT
    left = pi.check_output("dpkg-query -W -f '${Package} ${db:Status-Status}\\n'").splitlines()
    assert not [name for name in PACKAGES if f"{name} installed" in left]
    names = pi.check_output("docker ps --all --format '{{.Names}}'").split()
    assert sorted(names) == ["gridberry-bot", "gridberry-exchange"]
    networks = pi.check_output("docker network ls --format '{{.Name}}'")
    assert "hub" not in networks
    assert pi.check_output("systemctl --failed --no-legend --plain") == ""


def test_the_bot_trades_on(pi, trades_in_books, waiting):
    look = "docker inspect -f '{{.State.Health.Status}}' gridberry-bot"
    assert pi.check_output(look) == "healthy"
    before = len(trades_in_books())
    waiting(lambda: len(trades_in_books()) > before, "its next trade")
