"""A reboot and a power cut: everything comes back by itself, and nothing is lost or doubled.

Before test_undo.py, by the order of names.
"""

import json
import os

CUTS = int(os.environ.get("GRIDBERRY_CUTS", "1"))
CONTAINERS = (
    "gridberry-bot", "gridberry-exchange", "gridberry-hub-collect", "gridberry-hub-keep",
    "gridberry-hub-serve",
)  # fmt: skip
UNITS = (
    "postgresql@17-main.service", "gridberry-victoria-metrics.service", "gridberry-vmalert.service",
    "gridberry-alertmanager.service", "gridberry-vmauth.service", "gridberry-node-exporter.service",
    "gridberry-vmagent.service", "gridberry-health.timer", "gridberry-database-watch.timer",
    "gridberry-database-backup.timer",
)  # fmt: skip
DATABASE = "python3 -IB /usr/local/lib/gridberry/database"


def wait_for_all(pi, waiting):
    """Wait until every container is healthy and every unit active."""
    look = "docker inspect --format '{{.State.Health.Status}}'"
    for name in CONTAINERS:
        waiting(lambda name=name: pi.run(f"{look} {name}").stdout.strip() == "healthy", name)
    for unit in UNITS:
        waiting(lambda unit=unit: pi.run(f"systemctl is-active {unit}").rc == 0, unit)
    assert json.loads(pi.check_output(f"{DATABASE} status"))["primary"] is True


def test_a_reboot_brings_everything_back(pi, machine, waiting, equal_books):
    machine.restart()
    said = pi.check_output(f"{DATABASE} wait 300")
    show = "systemctl show -P ActiveEnterTimestampMonotonic postgresql@17-main.service"
    print(f"{said}; PostgreSQL ran {int(pi.check_output(show)) / 1e6:.0f} s after the kernel began")
    wait_for_all(pi, waiting)
    equal_books()


def test_power_cuts_lose_no_row_and_double_none(
    pi, machine, waiting, trades_in_database, equal_books
):
    """The bot trades and its collector writes in the moment of each cut."""
    for _ in range(CUTS):
        before = trades_in_database()
        waiting(
            lambda before=before: len(trades_in_database()) > len(before), "a trade that comes now"
        )
        before = trades_in_database()
        machine.restart(cut=True)
        print(pi.check_output(f"{DATABASE} wait 300"))
        assert set(before) <= set(trades_in_database())
        wait_for_all(pi, waiting)
        assert len(equal_books()) > len(before)
    damaged = "SELECT coalesce(sum(checksum_failures), 0) FROM pg_stat_database"
    assert pi.check_output(f"runuser -u postgres -- psql -XAtqc '{damaged}'") == "0"
