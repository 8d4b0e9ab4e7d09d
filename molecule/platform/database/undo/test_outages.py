"""A reboot and a power cut: everything comes back by itself, and nothing is lost or doubled.

Before test_undo.py, by the order of names.
"""

import json
import shlex

import pytest

RECORDER = "gridberry-recorder"
CONTAINERS = (
    "gridberry-bot", "gridberry-exchange", "gridberry-hub-collect", "gridberry-hub-keep",
    "gridberry-hub-serve", RECORDER,
)  # fmt: skip
UNITS = (
    "postgresql@17-main.service", "gridberry-victoria-metrics.service", "gridberry-vmalert.service",
    "gridberry-alertmanager.service", "gridberry-vmauth.service", "gridberry-node-exporter.service",
    "gridberry-vmagent.service", "gridberry-health.timer", "gridberry-database-watch.timer",
    "gridberry-database-backup.timer",
)  # fmt: skip
DATABASE = "python3 -IB /usr/local/lib/gridberry/database"
# Trades that follow on no other one, without a gap that says so.
HOLES = """
SELECT t.symbol, t.id FROM trades t
LEFT JOIN trades before ON before.symbol = t.symbol AND before.id = t.id - 1
WHERE before.id IS NULL AND t.id > (SELECT min(id) FROM trades m WHERE m.symbol = t.symbol)
  AND NOT EXISTS (SELECT 1 FROM gaps g WHERE g.kind = 'trades' AND g.symbol = t.symbol
    AND g.first <= t.id - 1 AND g.last >= t.id - 1)
"""
COUNT = "SELECT count(*) AS n, min(time) AS begin, max(time) AS ended FROM "
GAPS = "SELECT * FROM gaps"
TWICE = "SELECT symbol, id FROM trades GROUP BY symbol, id HAVING count(*) > 1"


def query(pi, sql):
    """Rows of an answer of `recorder query`."""
    words = shlex.quote(" ".join(sql.split()))
    said = pi.check_output(f"docker exec {RECORDER} recorder query --json {words}")
    return [json.loads(line) for line in said.splitlines()]


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
    assert query(pi, HOLES) == []


def test_a_power_cut_loses_no_row_and_doubles_none(
    pi, machine, waiting, trades_in_database, equal_books
):
    """The bot trades, its collector writes, and the recorder records in the moment of the cut."""
    waiting(lambda: pi.run(f"docker exec {RECORDER} recorder status").rc == 0, "the recorder")
    before = trades_in_database()
    waiting(lambda: len(trades_in_database()) > len(before), "a trade that comes now")
    before = trades_in_database()
    gaps = query(pi, GAPS)
    machine.restart(cut=True)
    print(pi.check_output(f"{DATABASE} wait 300"))
    assert set(before) <= set(trades_in_database())
    wait_for_all(pi, waiting)
    assert len(equal_books()) > len(before)
    damaged = "SELECT coalesce(sum(checksum_failures), 0) FROM pg_stat_database"
    assert pi.check_output(f"runuser -u postgres -- psql -XAtqc '{damaged}'") == "0"
    # What the journal had becomes Parquet at the start; what came after it is a gap of the books.
    assert query(pi, TWICE) == []
    assert query(pi, HOLES) == []
    # In the exchange's own time, which is not this computer's.
    new = [gap for gap in query(pi, GAPS) if gap not in gaps]
    print("listed as missing:", new)
    assert {gap["symbol"] for gap in new if gap["kind"] == "depth"} == {"BTCUSDT", "ETHUSDT"}


@pytest.mark.parametrize("kind", ["trades", "quotes", "depth"])
def test_what_was_recorded_before_the_cut_is_readable(pi, kind):
    found = query(pi, COUNT + kind)
    print(found)
    assert found[0]["n"] > 0
