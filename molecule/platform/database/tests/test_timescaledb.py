"""The fleet's database: what is in force on the host, seen from its own shell."""

import json

PROGRAM = "python3 -IB /usr/local/lib/gridberry/database"
UNIT = "postgresql@17-main.service"


def sql(pi, text: str, database: str = "gridberry") -> str:
    """What psql says as the superuser."""
    return pi.check_output(f'runuser -u postgres -- psql -XAtq -d {database} -c "{text}"')


def test_it_is_a_primary_that_takes_connections(pi):
    said = json.loads(pi.check_output(f"{PROGRAM} status"))
    assert (said["up"], said["state"], said["fenced"]) == (True, "primary", False)


def test_the_data_are_on_the_drive(pi):
    place = sql(pi, "SHOW data_directory")
    assert pi.check_output(f"findmnt -nro SOURCE -T {place}") == "/dev/nvme0n1"
    assert pi.check_output(f"stat -c '%a %U' {place}") == "700 postgres"


def test_nothing_is_lost_at_a_power_cut(pi):
    for name in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
        assert sql(pi, f"SHOW {name}") == "on", name


def test_timescaledb_is_the_edition_of_debian(pi):
    assert sql(pi, "SHOW timescaledb.license") == "apache"
    assert sql(pi, "SELECT extname FROM pg_extension WHERE extname = 'timescaledb'")


def test_its_memory_is_bounded_by_the_kernel(pi):
    group = pi.check_output(f"systemctl show -P ControlGroup {UNIT}")
    bound = int(pi.check_output(f"cat /sys/fs/cgroup{group}/memory.max"))
    memory = int(pi.check_output("awk '/^MemTotal/ {print $2}' /proc/meminfo")) // 1024
    assert bound == memory // 2 * 3 // 4 * 1024 * 1024


def test_it_runs_in_a_sandbox(pi):
    process = pi.check_output(f"systemctl show -P MainPID {UNIT}")
    status = pi.check_output(f"cat /proc/{process}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    assert int(fields["CapEff"], 16) == 0


def test_no_role_of_the_fleet_is_a_superuser(pi):
    mighty = (
        "SELECT rolname FROM pg_roles"
        " WHERE rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls"
    )
    found = sql(pi, mighty, "postgres")
    assert found == "postgres"


def test_passwords_are_kept_as_scram_verifiers(pi):
    kinds = sql(pi, "SELECT DISTINCT left(rolpassword, 14) FROM pg_authid WHERE rolpassword > ''")
    assert kinds == "SCRAM-SHA-256$"


def test_without_tls_nobody_is_let_in(pi):
    dsn = "host=127.0.0.1 dbname=gridberry user=gridberry_reader sslmode=disable"
    assert "no pg_hba.conf entry" in pi.run(f"psql -Atq '{dsn}' -c 'SELECT 1'").stderr


def test_the_watch_writes_the_status(pi):
    assert pi.check_output("systemctl is-active gridberry-database-watch.timer") == "active"
    pi.check_output("systemctl start gridberry-database-watch.service")
    assert json.loads(pi.check_output("cat /var/lib/gridberry/database.json"))["up"] is True
