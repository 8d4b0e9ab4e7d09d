"""The database's pure parts: sizes for a board, verifiers, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import os
from pathlib import Path

import pytest
import yaml

from roles.timescaledb.filter_plugins import timescaledb as role

ROOT = Path(__file__).resolve().parents[2]
PASSWORDS = {name: f"{name}-0123456789abcdef" for name in role.ROLES}
SETTINGS = {
    "name": "pi1",
    "peers": ["pi1", "pi2"],
    "primary": "pi1",
    "directory": "/mnt/data/postgresql",
    "allow_card": False,
    "edition": "debian",
    "community_repository": "",
    "community_key": "",
    "clients": ["192.168.1.0/24"],
    "passwords": PASSWORDS,
    "certificate": "",
    "certificate_key": "",
    "connections": 0,
    "settings": {},
}
LOOK = "release trixie\nmemory_mb 8060\ncpus 4\ndisk nvme0n1p1\n"
NAMES = ("shared_buffers", "effective_cache_size", "maintenance_work_mem", "work_mem", "memory_max")
# Boards of 2, 4, 8 and 16 GB, as /proc/meminfo has them; four processors.
BESIDE_BOT = {
    1850: ("231MB", "693MB", "115MB", "1973kB", "693M"),
    3790: ("473MB", "1421MB", "236MB", "4042kB", "1421M"),
    8060: ("1007MB", "3022MB", "503MB", "8597kB", "3022M"),
    16200: ("2025MB", "6075MB", "1012MB", "17280kB", "6075M"),
}
ALONE = {
    1850: ("462MB", "1387MB", "231MB", "1184kB", "1387M"),
    3790: ("947MB", "2842MB", "473MB", "2425kB", "2842M"),
    8060: ("2015MB", "6045MB", "1007MB", "5158kB", "6045M"),
    16200: ("4050MB", "12150MB", "2025MB", "10368kB", "12150M"),
}


@pytest.mark.parametrize(("memory", "wanted"), BESIDE_BOT.items())
def test_sizes_beside_a_bot(memory, wanted):
    found = role.postgres_settings(memory, 4)
    assert tuple(found[name] for name in NAMES) == wanted
    assert (found["max_connections"], found["max_worker_processes"]) == (30, 9)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("cpus", [1, 2, 4, 8])
def test_a_job_of_timescaledb_finds_a_worker(cpus, alone):
    """Beside launcher, scheduler, PostgreSQL's own launcher and a query on all workers."""
    found = role.postgres_settings(4000, cpus, beside_bot=not alone)
    background = found["timescaledb.max_background_workers"]
    assert background > 2
    assert found["max_worker_processes"] >= background + 1 + found["max_parallel_workers"]


@pytest.mark.parametrize(("memory", "wanted"), ALONE.items())
def test_sizes_of_a_board_of_its_own_are_those_of_timescaledb_tune(memory, wanted):
    found = role.postgres_settings(memory, 4, beside_bot=False)
    assert tuple(found[name] for name in NAMES) == wanted
    assert (found["max_connections"], found["max_parallel_workers_per_gather"]) == (100, 2)


@pytest.mark.parametrize("memory", [900, 1850, 3790, 8060, 16200])
@pytest.mark.parametrize("beside", [True, False])
def test_what_all_connections_need_fits_below_the_bound(memory, beside):
    found = {k: str(v) for k, v in role.postgres_settings(memory, 4, beside_bot=beside).items()}
    number = {k: int(v.rstrip("kMB")) for k, v in found.items()}
    sorts = number["max_connections"] * number["work_mem"] // 1024
    vacuum = 3 * number["autovacuum_work_mem"]
    assert number["shared_buffers"] + sorts + vacuum <= number["memory_max"]


def test_a_verifier_proves_the_password_and_is_the_same_on_each_run():
    text = role.scram_verifier("reader", PASSWORDS, "pi1")
    assert text == role.scram_verifier("reader", PASSWORDS, "pi1")
    head, keys = text.split("$", 1)[1].split("$")
    rounds, salt = head.split(":")
    stored, server = (base64.b64decode(one) for one in keys.split(":"))
    word = PASSWORDS["reader"].encode()
    salted = hashlib.pbkdf2_hmac("sha256", word, base64.b64decode(salt), int(rounds))
    assert hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest() == stored
    assert hmac.digest(salted, b"Server Key", "sha256") == server
    assert text != role.scram_verifier("writer", PASSWORDS | {"writer": word.decode()}, "pi1")
    assert text != role.scram_verifier("reader", PASSWORDS, "pi9")


def test_good_settings_are_no_problem():
    assert role.database_setting_problems(SETTINGS) == []
    assert role.database_host_problems(LOOK, SETTINGS) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"settings": {"fsync": "off"}},
            "has fsync, which decides what is lost at a power cut; leave it out",
        ),
        ({"settings": {"full_page_writes": False}}, "has full_page_writes, which decides what"),
        ({"settings": {"fsync": "on"}}, "has fsync, which decides what"),
        ({"settings": {"synchronous_commit": "off"}}, "has synchronous_commit, which decides what"),
        ({"settings": {"ssl": "off"}}, "has ssl, which the role decides; leave it out"),
        ({"settings": {"work_mem = 1\nfsync": "off"}}, "use a name of postgresql.conf"),
        ({"settings": {"work_mem": "1MB\nfsync = off"}}, "use a name of postgresql.conf"),
        ({"clients": ["0.0.0.0/0"]}, "'0.0.0.0/0', which is everybody"),
        ({"clients": ["192.168.1.7/24"]}, "use addresses such as 192.168.1.21/32"),
        ({"clients": ["all"]}, "use addresses such as"),
        ({"passwords": {}}, "timescaledb_passwords lacks owner; set it in a vault"),
        ({"passwords": PASSWORDS | {"reader": "short"}}, "reader needs 16 printable ASCII"),
        ({"passwords": PASSWORDS | {"reader": "ü" * 20}}, "reader needs 16 printable ASCII"),
        (
            {"passwords": PASSWORDS | {"root": "x" * 20}},
            "timescaledb_passwords has root; use owner",
        ),
        ({"directory": "data"}, "timescaledb_directory is 'data'; use a path such as"),
        ({"directory": "/data; rm"}, "use a path such as"),
        ({"certificate": "PEM"}, "go together; set both, or none"),
        ({"primary": "pi9"}, "timescaledb_primary is pi9, which is no host of the group database"),
        ({"connections": 9999}, "timescaledb_connections is 9999; use 5 to 500, or 0"),
        ({"edition": "community"}, "which also needs timescaledb_community_repository"),
    ],
)
def test_a_wrong_setting_is_one_line(change, says):
    problems = role.database_setting_problems(SETTINGS | change)
    assert problems
    assert says in problems[0]
    assert not [one for one in problems if "\n" in one]


@pytest.mark.parametrize(
    ("look", "change", "says"),
    [
        ("release bookworm\nmemory_mb 8060\n", {}, "it runs Debian bookworm; PostgreSQL 17"),
        (LOOK + "disk mmcblk0p2\n", {}, "is on the card mmcblk0p2"),
        (LOOK + "memory_mb 400\n", {}, "it has 400 MB of memory; a database needs 700"),
        (LOOK + "edition community\n", {}, "the two exclude each other"),
        (LOOK + "directory /var/lib/postgresql/17/main\n", {}, "its cluster 17/main is in /var"),
        (LOOK + "state primary\n", {"primary": "pi2"}, "set timescaledb_primary: pi1"),
    ],
)
def test_a_host_that_is_not_for_a_database_is_refused(look, change, says):
    [problem] = role.database_host_problems(look, SETTINGS | change)
    assert says in problem


def test_a_card_can_be_allowed_and_a_replica_may_be_one():
    look = LOOK + "disk mmcblk0p2\nstate standby\n"
    assert (
        role.database_host_problems(look, SETTINGS | {"allow_card": True, "primary": "pi2"}) == []
    )


def test_peers_and_slots():
    variables = {
        "pi1": {"ansible_host": "10.0.0.1"},
        "Pi-2": {"ansible_host": "10.0.0.2", "timescaledb_address": "10.9.0.2"},
        "pi3": {"timescaledb_port": 5433},
    }
    assert role.database_peers(list(variables), "pi1", variables) == {
        "Pi-2": {"address": "10.9.0.2", "port": 5432},
        "pi3": {"address": "pi3", "port": 5433},
    }
    assert role.slot_name("Pi-2") == "gridberry_pi_2"


@pytest.fixture
def program(monkeypatch):
    """The host's program: its modules find each other as they do there."""
    monkeypatch.syspath_prepend(str(ROOT / "roles/timescaledb/files/database"))
    return importlib.import_module


def test_metrics_are_numbers_with_a_line_for_each_replica(program):
    said = {"up": True, "primary": False, "lag_seconds": 2.5, "host": "pi2", "state": "standby"}
    slots = {"gridberry_pi3": {"active": False, "wal_status": "lost", "lag_bytes": None}}
    text = program("watch").metrics(said | {"replicas": slots})
    assert "gridberry_database_up 1\n" in text
    assert "gridberry_database_primary 0\n" in text
    assert "gridberry_database_lag_seconds 2.5\n" in text
    assert 'gridberry_database_replica_active{replica="pi3"} 0\n' in text
    assert "replica_lag_bytes{" not in text
    names = [line.split("{")[0].split()[0] for line in text.splitlines() if line[0] != "#"]
    assert [one for one in names if f"# HELP {one} " not in text] == []


def test_sums_of_tables_whose_names_need_quotes(program):
    drill = program("drill")
    text = drill.sums_of(["public.fills", 'public."it\'s"'])
    assert "SELECT 'public.\"it''s\"', count(*)" in text
    assert text.count(" UNION ALL ") == 1
    assert drill.parse(["public.a|b|2|-17"]) == {"public.a|b": ("2", "-17")}


def test_a_role_with_a_verifier_is_in_no_shown_hash(program):
    make = program("make")
    assert "SCRAM" not in repr((make.ROLES, make.RIGHTS, make.SETTINGS_OF_ROLES, make.REWIND))
    assert not [one for one in make.ROLES.values() if "SUPERUSER" in one or "BYPASSRLS" in one]


class Restored:
    """A cluster as far as a restore asks it, and what it was told."""

    def __init__(self, place: Path) -> None:
        self.name, self.standby, self.data = "pi1", False, place / "17/main"
        self.up, self.told = True, []
        (self.data / "global").mkdir(parents=True)

    def stop(self) -> None:
        """Stop it."""
        self.up = False
        self.told.append("stop")

    def start(self, _: float = 0) -> None:
        """Start it."""
        assert not self.up
        self.told.append("start")

    def sql(self, _: str) -> str:
        """It has read all WAL."""
        return "f"


@pytest.mark.parametrize(
    ("has", "kept"),
    [
        (["global/pg_control"], "in use"),
        (["global/pg_control", "recovery.signal"], "before"),
        ([], "before"),
    ],
)
def test_a_restore_after_one_that_was_broken_off_loses_no_data_that_were_in_use(
    program, monkeypatch, tmp_path, has, kept
):
    # After a power cut PostgreSQL may end the first restore by itself, and take writes for weeks.
    backup = program("backup")
    cluster = Restored(tmp_path)
    for name in has:
        (cluster.data / name).touch()
    (cluster.data / "what").write_text("in use")
    before = cluster.data.with_name("main.before-restore")
    before.mkdir()
    (before / "what").write_text("before")
    monkeypatch.setattr(backup, "RESTORING", tmp_path / "restoring")
    backup.RESTORING.touch()
    safety = []
    monkeypatch.setattr(backup, "_safety", safety.append)
    monkeypatch.setattr(backup, "show", lambda *_: None)
    monkeypatch.setattr(backup, "backups", lambda: [{"label": "1"}])
    monkeypatch.setattr(backup, "pgbackrest", lambda *_: None)
    monkeypatch.setattr(backup, "as_postgres", lambda *words: words[-1].mkdir())
    backup.restore(cluster)
    assert (before / "what").read_text() == kept
    assert cluster.told == ["stop", "start"]
    assert len(safety) == (kept == "in use")
    assert not backup.RESTORING.exists()


def test_metrics_are_where_the_role_monitoring_reads():
    def of(name: str) -> dict[str, str]:
        return yaml.safe_load((ROOT / "roles" / name).read_text(encoding="utf-8"))

    read = of("monitoring/vars/main/settings.yml")["__monitoring_textfiles"]
    assert of("timescaledb/defaults/main.yml")["timescaledb_textfiles"] == read


DAY = 86400
NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("since", "kind"), [(DAY, "diff"), (8 * DAY, "full"), (-30 * DAY, "full"), (None, "full")]
)
def test_after_a_clock_that_was_fast_there_is_a_full_backup(program, monkeypatch, since, kind):
    backup, told = program("backup"), []
    size = {"size": 1, "repository": {"delta": 1}}
    last = {"type": "full", "label": "1", "timestamp": {"stop": NOW - (since or 0)}, "info": size}
    monkeypatch.setattr(backup.time, "time", lambda: NOW)
    monkeypatch.setattr(backup, "made", lambda _: None)
    monkeypatch.setattr(backup, "pgbackrest", lambda *words: told.append(words))
    answers = [[] if since is None else [last], [last]]
    monkeypatch.setattr(backup, "backups", lambda: answers.pop(0))
    backup._write(None)
    assert told[0] == ("backup", f"--type={kind}")


def test_a_clock_that_is_fast_takes_no_more_than_old_dumps(program, monkeypatch, tmp_path):
    backup = program("backup")
    for day in range(1, 10):
        old = tmp_path / f"gridberry-202611{day:02}T020000Z.dump"
        old.write_text("rows")
        os.utime(old, (NOW + day * DAY, NOW + day * DAY))
    monkeypatch.setattr(backup.time, "time", lambda: NOW + 3650 * DAY)
    monkeypatch.setattr(
        backup,
        "as_postgres",
        lambda *words: words[-1].write_text("rows") if words[-2] == "-f" else None,
    )
    backup._dump({"directory": str(tmp_path), "keep_days": 7})
    assert len(list(tmp_path.glob("*.dump"))) == 7
