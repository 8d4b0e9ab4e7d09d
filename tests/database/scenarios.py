"""What the fleet's database must show, each on machines of its own."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.database.world import PASSWORDS, PROGRAM, SECRETS, SETTINGS, World

ROWS = (
    "SET ROLE gridberry_owner;"
    " CREATE TABLE fills (id bigint, at timestamptz NOT NULL, ticks bigint);"
    " SELECT create_hypertable('fills', 'at'); INSERT INTO fills SELECT n,"
    " timestamptz '2026-01-01' + n * interval '1 hour', n * 7 FROM generate_series(1, 20000) n;"
    " CREATE TABLE plain (id int PRIMARY KEY, word text);"
    " INSERT INTO plain SELECT n, 'word ' || n FROM generate_series(1, 1000) n;"
)
SUM = "SELECT count(*), sum(hashtextextended(f::text, 0)::numeric) FROM fills f"
KEEP = "INSERT INTO kept VALUES ({n}) RETURNING n;\n"
MISSING = (
    "SELECT count(*) FROM generate_series({first}, {last}) n"
    " WHERE NOT EXISTS (SELECT FROM kept WHERE kept.n = n.n)"
)
# It ends with the first error. Without that it waits for the next line where the database says its
# last words before the connection is gone, and nobody sends one.
WRITER = (
    *("runuser", "-u", "postgres", "--"),
    *("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "gridberry"),
)
MORE = "INSERT INTO plain SELECT {n} * 100000 + n, repeat('x', 900) FROM generate_series(1, 2000) n"
ONE = "INSERT INTO fills VALUES ({n}, now(), {n})"


class UnmetError(Exception):
    """What was not as it must be."""


def must(well: object, what: str, found: object = "") -> None:
    """Stop a scenario unless something holds."""
    if not well:
        raise UnmetError(f"{what}: {found}")


@contextmanager
def world(directory: Path, *names: str, **settings: Any) -> Iterator[World]:
    """Give machines, and switch them off whatever happens."""
    here = World(directory, names, **settings)
    try:
        yield here
    finally:
        here.close()


@contextmanager
def one_primary(here: World) -> Iterator[list[list[str]]]:
    """Watch who takes writes; more than one at any look is an error."""
    seen: list[list[str]] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(here.primaries())
            over.wait(0.3)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()
    must(all(len(one) < 2 for one in seen), "there were two primaries", seen)


def log_in(here: World, role: str, text: str, *, word: str = "", more: str = "") -> str:
    """Run SQL over the network, from pi1 to itself, as a role; returns all that psql says."""
    word = word or PASSWORDS[role]
    dsn = f"host=10.77.0.1 dbname=gridberry user=gridberry_{role} {more or 'sslmode=require'}"
    command = ("env", f"PGPASSWORD={word}", "psql", "-XAtq", "-d", dsn, "-c", text)
    return here["pi1"].ask(*command)


def set_up(directory: Path, **_: Any) -> str:
    """Check mode, converge, a second run, what is in force, who may do what, undo."""
    with world(directory, "pi1", "pi2") as here:
        here.well("database", "--check", "--diff")
        must(here["pi1"].ask("ls", "/etc/postgresql") == "", "check mode changed something")
        said = here.well("database", "--diff")
        must("(secret, new)" in said, "no secret in the diff")
        second = here.changed(here.well("database"))
        must(second == {"pi1": 0, "pi2": 0}, "the second run changed something", second)
        here.sql("pi1", ROWS)
        on = here.sql("pi1", "SHOW data_checksums; SHOW fsync; SHOW full_page_writes; SHOW ssl")
        must(on.split() == ["on"] * 4, "checksums, fsync, full_page_writes, ssl", on)
        refusals = {
            "a password that is wrong": log_in(here, "reader", "SELECT 1", word="wrong"),
            "no TLS": log_in(here, "reader", "SELECT 1", more="sslmode=disable"),
            "postgres over the network": here["pi1"].ask(
                *(
                    "psql",
                    "-Atq",
                    "-d",
                    "host=10.77.0.1 user=postgres dbname=postgres",
                    "-c",
                    "SELECT 1",
                )
            ),
            "a reader that writes": log_in(here, "reader", ONE.format(n=1)),
            "a reader that may write now": log_in(
                here, "reader", f"SET default_transaction_read_only = off; {ONE.format(n=1)}"
            ),
            "a writer that deletes": log_in(here, "writer", "DELETE FROM fills"),
            "a writer that makes a table": log_in(here, "writer", "CREATE TABLE t (i int)"),
            "a writer that reads passwords": log_in(
                here, "writer", "SELECT rolpassword FROM pg_authid"
            ),
        }
        for what, answer in refusals.items():
            must("ERROR" in answer or "FATAL" in answer, f"{what} was not refused", answer)
        must(log_in(here, "writer", ONE.format(n=9)) == "", "a writer writes")
        bound = log_in(here, "reader", "SELECT 1", more="sslmode=require channel_binding=require")
        must(bound == "1", "SCRAM with channel binding", bound)
        own = "sslmode=verify-full sslrootcert=/etc/gridberry/database/server.crt"
        named = log_in(here, "reader", "SELECT 1", more=own)
        must(named == "1", "the certificate names the host's address", named)
        found = here["pi1"].ask(
            *("grep", "-rlE", "|".join(SECRETS), "/etc", "/var/log", "/var/lib/gridberry", "/run")
        )
        kept = {"/etc/pgbackrest/pgbackrest.conf", "/etc/gridberry/database/pgpass"}
        must(set(found.split()) == kept, "secrets in other files", found)
        modes = here["pi1"].run("stat", "-c", "%a %U", *sorted(kept))
        must(modes.split() == ["600", "postgres"] * 2, "who may read the secrets", modes)
        exposed = here["pi1"].ask("systemd-analyze", "security", "postgresql@17-main.service")
        score = float(exposed.rsplit(": ", 1)[-1].split()[0])
        must(score < 4, "the sandbox", exposed[-300:])
        changed = here.well("database", timescaledb_settings={"log_min_duration_statement": "900"})
        must(here.changed(changed)["pi1"] == 1, "a setting changes one task", here.changed(changed))
        must(here.sql("pi1", "SHOW log_min_duration_statement") == "900ms", "it is in force")
        refused = here.play("database", timescaledb_settings={"fsync": "off"})
        must("has fsync, which decides" in refused.stdout, "fsync off is refused", refused.stdout)
        before = here.sql("pi1", SUM)
        here.well("database", timescaledb_state="absent", database_backup_state="absent")
        must(here["pi1"].ask("systemctl", "is-active", "postgresql@17-main") != "active", "it runs")
        # Its replica is silent, too, and might have been promoted.
        here.well("database", timescaledb_start_alone=True)
        must(here.sql("pi1", SUM) == before, "rows after an undo and a new run")
        return f"2nd run changed=0, {len(refusals)} refusals, sandbox {score}, rows kept by an undo"


def promotion(directory: Path, **_: Any) -> str:
    """Promote with the old primary alive, dead, and back again; a cable that is cut and mended."""
    with world(directory, "pi1", "pi2", database_backup_repository="") as here:
        here.well("database", timescaledb_primary="pi1")
        here.sql("pi1", ROWS)
        with one_primary(here) as seen:
            done = here.well("promote_database", promote_host="pi2", promote_confirmed=True)
            must("pi2 is the primary" in done, "promoted with the old one alive", done[-900:])
            must(here.status("pi1")["streaming"] == 1, "the old one streams", here.status("pi1"))
            here.sql("pi2", ONE.format(n=70001))
            must(wait_equal(here, "pi2", "pi1"), "rows are equal")
            # The primary dies, with rows that no replica has.
            here["pi1"].run("systemctl", "stop", "postgresql@17-main")
            here.sql("pi2", ONE.format(n=70002))
            here["pi2"].cut_power()
            here["pi1"].run("systemctl", "start", "postgresql@17-main")
            refused = here.play("promote_database", promote_host="pi1", promote_confirmed=True)
            must("pi2 cannot be reached, and may be" in refused.stdout, "refused", refused.stdout)
            off = {"promote_host": "pi1", "promote_confirmed": True, "promote_old_is_off": True}
            here.well("promote_database", **off)
            here.sql("pi1", ONE.format(n=70003))
            here["pi2"].boot()
            time.sleep(3)
            must(
                here.primaries() == ["pi1"], "the old one came back as a primary", here.primaries()
            )
            said = here["pi2"].ask("journalctl", "-u", "postgresql@17-main", "-o", "cat")
            must("pi1 is the primary now; this cluster is fenced" in said, "why", said[-600:])
            here["pi2"].ask(
                "runuser", "-u", "postgres", "--", "pg_ctlcluster", "17", "main", "start"
            )
            must("pi2" not in here.primaries(), "started by hand it is a primary")
            here.well("rejoin_database", "--limit", "pi2", rejoin_primary="pi1")
            must(wait_equal(here, "pi1", "pi2"), "rows are equal after pg_rewind")
        with one_primary(here) as more:
            # A person says that it is off, and it is not: the replica asks it.
            lie = {"promote_host": "pi2", "promote_confirmed": True, "promote_old_is_off": True}
            answer = here["pi2"].ask(*PROGRAM, "promote", "--old-is-off")
            must("pi1 is a primary and answers" in answer, "a lie that can be seen", answer)
            must(here.play("promote_database", **lie).returncode == 0, "with its fence it goes")
            back = {"promote_host": "pi1", "promote_confirmed": True}
            here.well("promote_database", **back)
        # Nobody can see it: cut off, and a person's word is wrong. It yields when it can see again.
        here.switch.cut(here["pi1"])
        here["pi2"].run(*PROGRAM, "promote", "--old-is-off")
        here.switch.mend(here["pi1"])
        here["pi1"].ask(*PROGRAM, "watch")
        must(here.primaries() == ["pi2"], "the older one did not yield", here.primaries())
        copied = {"rejoin_primary": "pi2", "rejoin_clone": True}
        here.well("rejoin_database", "--limit", "pi1", **copied)
        must(wait_equal(here, "pi2", "pi1"), "rows are equal after a new copy")
        return f"one primary in {len(seen) + len(more)} looks; alive, dead, back, cut off"


def wait_equal(here: World, first: str, second: str) -> bool:
    """Whether two machines come to have the same rows."""
    for _ in range(50):
        if here.sql(first, SUM) == here.sql(second, SUM):
            return True
        time.sleep(0.2)
    return False


def restore(directory: Path, **_: Any) -> str:
    """Backups; a restore to a moment, and on a fresh machine; the drill finds what was planted."""
    with world(directory, "pi1", "pi2", timescaledb_primary="pi1") as here:
        here.settings["timescaledb_start_alone"] = True
        (here["pi2"]).cut_power()
        here.well("database", "--limit", "pi1")
        here.sql("pi1", ROWS)
        here["pi1"].run(*PROGRAM, "backup")
        moment = here.sql("pi1", "SELECT pg_sleep(1.1); SELECT now()").split("\n")[-1]
        before = here.sql("pi1", SUM)
        here.sql(
            "pi1", "SELECT pg_sleep(1.1); DELETE FROM fills WHERE id > 15000; DROP TABLE plain"
        )
        look = here.well("restore_database", "--limit", "pi1")
        must("nothing was changed" in look, "it only looks", look[-900:])
        back = {"restore_confirmed": True, "restore_target": moment}
        done = here.well("restore_database", "--limit", "pi1", **back)
        must("safety backup" in done, "a safety backup", done[-900:])
        must(here.sql("pi1", SUM) == before, "rows of that moment")
        must(here.sql("pi1", "SELECT count(*) FROM plain") == "1000", "the table that was dropped")
        here["pi1"].run(*PROGRAM, "backup", "full")
        drilled = here["pi1"].run(*PROGRAM, "drill")
        must("2 tables and 21000 rows are as in the database" in drilled, "the drill", drilled)
        wrong = plant(here, "plain", "word 500", "word 5x0", keep_checksum=True)
        must("public.plain differs from its backup" in wrong, "a wrong row is found", wrong)
        here.well("restore_database", "--limit", "pi1", restore_confirmed=True)
        page = plant(here, "plain", "word 700", "word 7x0", keep_checksum=False)
        must("invalid page" in page or "damaged" in page, "a damaged page is found", page)
        noted = here["pi1"].run("cat", "/var/lib/gridberry/database-drill.json")
        must('"ok": false' in noted, "and noted", noted)
        here["pi1"].cut_power()
        here["pi2"].boot()
        here.settings["timescaledb_primary"] = "pi2"
        fresh = here.play("database", "--limit", "pi2")
        must(
            "backups of another database" in fresh.stdout, "it says what to do", fresh.stdout[-900:]
        )
        here.well("restore_database", "--limit", "pi2", restore_confirmed=True)
        must(here.sql("pi2", SUM) == before, "rows on a fresh machine")
        here.well("database", "--limit", "pi2")
        return f"to {moment[:19]}, on a fresh machine, equal; the drill found a row and a page"


def plant(here: World, table: str, old: str, new: str, *, keep_checksum: bool) -> str:
    """Change bytes of a table's file while the database is off; returns what the drill says."""
    one = here["pi1"]
    place = here.sql("pi1", f"CHECKPOINT; SELECT pg_relation_filepath('{table}')")
    data = "/mnt/data/postgresql/17/main"
    one.run("systemctl", "stop", "postgresql@17-main")
    file = one.path(f"{data}/{place}")
    content = file.read_bytes()
    must(old.encode() in content, "the bytes to plant", old)
    file.write_bytes(content.replace(old.encode(), new.encode(), 1))
    if keep_checksum:
        for way in ("--disable", "--enable"):
            tool = "/usr/lib/postgresql/17/bin/pg_checksums"
            one.run("runuser", "-u", "postgres", "--", tool, way, "-D", data)
    one.run("systemctl", "start", "postgresql@17-main")
    one.run(*PROGRAM, "wait", "60")
    if not keep_checksum:
        said = one.ask(*PROGRAM, "backup", "full")
        must("damaged" in said, "the backup finds it, too", said)
    return one.ask(*PROGRAM, "drill")


def kills(directory: Path, count: int = 50, seed: int = 2611, **_: Any) -> str:
    """Kill the database at random moments under writes: what was acknowledged is there."""
    draw = random.Random(seed)  # noqa: S311  moments, no secrets
    with world(directory, "pi1", database_backup_repository="") as here:
        here.well("database")
        here.sql("pi1", ROWS)
        here.sql("pi1", "SET ROLE gridberry_owner; CREATE TABLE kept (n bigint)")
        first, acknowledged, sent = 0, 0, 0
        for _ in range(count):
            writer = subprocess.Popen(
                here["pi1"].command(*WRITER),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            until = time.monotonic() + draw.uniform(0.05, 1.0)
            while writer.stdin and writer.stdout:
                sent += 1
                try:
                    writer.stdin.write(KEEP.format(n=sent))
                    writer.stdin.flush()
                except BrokenPipeError:
                    break
                answer = writer.stdout.readline().strip()
                if answer != str(sent):
                    break
                acknowledged = sent
                if time.monotonic() > until:
                    # Again where nobody misses the one that was killed, as the logger.
                    until = time.monotonic() + 10
                    threading.Timer(draw.uniform(0, 0.02), kill, (here, draw.random())).start()
            writer.communicate()
            here["pi1"].run(*PROGRAM, "wait", "120")
            missing = here.sql("pi1", MISSING.format(first=first + 1, last=acknowledged))
            must(missing == "0", "acknowledged rows are lost", missing)
            sent = int(here.sql("pi1", "SELECT max(n) FROM kept"))
            first = acknowledged = sent
        doubled = here.sql("pi1", "SELECT count(*) - count(DISTINCT n) FROM kept")
        must(doubled == "0", "rows are doubled", doubled)
        return f"{count} kills, {sent} rows acknowledged, 0 lost, 0 doubled"


def kill(here: World, which: float) -> None:
    """Kill the postmaster, or one of its children, by SIGKILL."""
    listed = here["pi1"].ask("pgrep", "-u", "postgres", "postgres")
    found = [one for one in listed.split() if one.isdecimal()]
    if found:
        victim = found[0] if which < 0.5 else found[int(which * len(found))]
        here["pi1"].ask("kill", f"-{signal.SIGKILL.value}", victim)


def full_disk(directory: Path, **_: Any) -> str:
    """Fill the disk under writes: nothing acknowledged is lost, and it goes on with room."""
    with world(directory, "pi1", database_backup_repository="") as here:
        size = ("mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", "/mnt/data")
        here["pi1"].run(*size)
        here.well("database", timescaledb_settings={"min_wal_size": "32MB", "max_wal_size": "64MB"})
        here.sql("pi1", ROWS)
        sent = 0
        for sent in range(1, 400):
            try:
                here.sql("pi1", MORE.format(n=sent))
            except RuntimeError as error:
                must("No space left" in str(error) or "terminat" in str(error), "why", error)
                break
        stopped = here["pi1"].ask("df", "--output=avail", "/mnt/data").split()[-1]
        here["pi1"].run("mount", "-o", "remount,size=900m", "/mnt/data")
        here["pi1"].run(*PROGRAM, "wait", "120")
        rows = int(here.sql("pi1", "SELECT count(*) FROM plain")) - 1000
        must(rows == (sent - 1) * 2000, "rows that were acknowledged", (rows, sent))
        here.sql("pi1", "INSERT INTO plain VALUES (-1, 'goes on')")
        return f"full ({stopped} kB left) after {rows} rows: all there, and it goes on"


# What the role makes, as patterns of the shell: none of it stays after a purge.
LEFT = (
    "/etc/systemd/system/gridberry-*database* /etc/systemd/system/postgresql*"
    " /etc/gridberry/database /etc/pgbackrest/pgbackrest.conf /etc/postgresql/17"
    " /usr/local/lib/gridberry/database /var/lib/gridberry/database*"
    " /var/lib/gridberry/metrics/*database* /mnt/data/postgresql/17"
)


def must_be_gone(here: World) -> None:
    """Check that a purge leaves nothing of what the role makes."""
    left = here["pi1"].ask("sh", "-c", f"ls -d {LEFT} 2>/dev/null")
    must(left == "", "a purge leaves nothing", left)


def dump(directory: Path, **_: Any) -> str:
    """A plain dump each night; everything removed, and the dump loaded into a fresh database."""
    plain = {
        "database_backup_method": "dump",
        "database_backup_repository": "/mnt/usb/dumps",
        "database_backup_password": "",
    }
    with world(directory, "pi1", **plain) as here:
        here.well("database")
        here.sql("pi1", ROWS)
        before = here.sql("pi1", SUM)
        here["pi1"].run(*PROGRAM, "backup")
        [file] = (directory / "usb/dumps").glob("gridberry-*.dump")
        refused = here["pi1"].ask(*PROGRAM, "load", f"/mnt/usb/dumps/{file.name}")
        must("is not empty" in refused, "a load over rows is refused", refused)
        gone = {"timescaledb_state": "absent", "timescaledb_purge": True}
        here.well("database", database_backup_state="absent", **gone)
        must_be_gone(here)
        here.well("database")
        begun = time.monotonic()
        here["pi1"].run(*PROGRAM, "load", f"/mnt/usb/dumps/{file.name}")
        must(here.sql("pi1", SUM) == before, "rows of the dump")
        must(log_in(here, "reader", "SELECT count(*) FROM plain") == "1000", "a reader reads them")
        took = time.monotonic() - begun
        here.settings |= SETTINGS  # pgBackRest again
        here.well("database")
        here.well("database", database_backup_state="absent", **gone)
        must_be_gone(here)
        return f"dumped, removed, loaded again in {took:.1f} s: equal"


SCENARIOS = {
    "dump": dump,
    "set-up": set_up,
    "promotion": promotion,
    "restore": restore,
    "kills": kills,
    "full-disk": full_disk,
}
