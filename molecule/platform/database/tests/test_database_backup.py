"""Backups of the fleet's database: a backup is made, a restored one has the same rows."""

import json

CONF = "/etc/pgbackrest/pgbackrest.conf"


def result(pi, name):
    """What a program last said."""
    return json.loads(pi.check_output(f"cat /var/lib/gridberry/database-{name}.json"))


def test_the_timers_run_and_only_postgres_reads_the_password(pi):
    for unit in ("backup", "drill"):
        assert pi.check_output(f"systemctl is-active gridberry-database-{unit}.timer") == "active"
    assert pi.check_output(f"stat -c '%a %U' {CONF}") == "600 postgres"


def test_a_backup_is_made_and_restored_beside_the_database(pi):
    pi.check_output("systemctl start gridberry-database-backup.service")
    assert result(pi, "backup")["ok"] is True
    pi.check_output("systemctl start gridberry-database-drill.service")
    assert result(pi, "drill")["ok"] is True
    # Nothing of the copy is left.
    assert pi.run("pgrep -f database-dril[l]").rc == 1


def test_the_repository_is_encrypted(pi):
    place = "/mnt/data/database-backup"
    assert pi.check_output(f"stat -c '%a %U' {place}") == "700 postgres"
    assert pi.check_output(f"find {place} -name '*.gz' -o -name '*.zst' -o -name '*.lz4' | head -1")
    found = pi.run(f"grep -rlaF -e SCRAM-SHA-256 -e planted- {place}")
    assert found.stdout == ""
