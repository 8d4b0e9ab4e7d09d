"""The restore drill: a backup is restored beside the database, and every row compared.

Both are looked at as of one moment: a restore point is written while all tables are locked against
writers, for some milliseconds, and a snapshot of that moment is kept on the primary.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import backup
from cluster import BIN, DATABASE, SOCKET, STATE, Cluster, DatabaseError, as_postgres, say

RESULT = STATE / "database-drill.json"
PORT = 5499
LOCK_TRIES, LOCK_TIMEOUT = 10, "2s"
# What makes a row's text, whatever the session's settings are.
SAME_TEXT = "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET extra_float_digits = 1;"
TABLES = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p') AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)
  AND nspname <> 'information_schema' AND nspname !~ '^(pg_|_?timescaledb)' ORDER BY 1;
"""
# A standby must not have less of these than the primary had.
AS_PRIMARY = (
    *("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions"),
    *("max_locks_per_transaction", "timescaledb.license"),
)
Sums = dict[str, tuple[str, str]]  # table -> number of rows, sum of their hashes


class Session:
    """A psql that is told one thing after another."""

    def __init__(self, cluster: Cluster) -> None:
        command = ["runuser", "-u", "postgres", "--", str(BIN / "psql"), "-XAtq"]
        command += ["-v", "ON_ERROR_STOP=1", "-h", SOCKET, "-p", str(cluster.port), "-d", DATABASE]
        pipe, out = subprocess.PIPE, subprocess.STDOUT
        self._psql = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=out, text=True, cwd="/"
        )

    def tell(self, text: str) -> list[str]:
        """Run statements and return the rows.

        Raises:
            DatabaseError: One failed, and the session is over.
        """
        if self._psql.stdin is None or self._psql.stdout is None:
            raise DatabaseError("psql has no pipes")
        self._psql.stdin.write(f"{text}\n\\echo :end:\n")
        self._psql.stdin.flush()
        rows = []
        for line in self._psql.stdout:
            if line.strip() == ":end:":
                return rows
            rows.append(line.strip())
        raise DatabaseError(" ".join(rows) or "psql ended")

    def end(self) -> None:
        """End it."""
        self._psql.communicate()


def sums_of(tables: list[str]) -> str:
    """Return the statement that counts and hashes the rows of tables, in whatever order."""
    parts = (
        f"SELECT '{name.replace(chr(39), chr(39) * 2)}', count(*),"  # noqa: S608  quoted by format()
        f" coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {name} t"
        for name in tables
    )
    return SAME_TEXT + " UNION ALL ".join(parts) + ";"


def parse(rows: list[str]) -> Sums:
    """Return the sums by table.

    Args:
        rows: As psql prints them.
    """
    return {name: (count, total) for name, count, total in (row.rsplit("|", 2) for row in rows)}


def sums_at_point(cluster: Cluster, point: str) -> Sums:
    """Write a restore point, and return the primary's sums as of it.

    Args:
        cluster: The cluster.
        point: The restore point's name.
    """
    tables = [one for one in cluster.sql(TABLES, DATABASE).splitlines() if one]
    if not tables:
        raise DatabaseError(f"the database {DATABASE} has no tables yet")
    for left in reversed(range(LOCK_TRIES)):
        holds, reads = Session(cluster), Session(cluster)
        try:
            holds.tell(
                f"SET lock_timeout = '{LOCK_TIMEOUT}'; BEGIN ISOLATION LEVEL REPEATABLE READ;"
            )
            holds.tell(f"LOCK TABLE {', '.join(tables)} IN SHARE MODE;")
            [snapshot] = holds.tell("SELECT pg_export_snapshot();")
            reads.tell("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;")
            reads.tell(f"SET TRANSACTION SNAPSHOT '{snapshot}';")
            holds.tell(f"SELECT pg_create_restore_point('{point}'); COMMIT;")
            return parse(reads.tell(sums_of(tables)))
        except DatabaseError as error:
            if "lock timeout" not in str(error) or not left:
                raise
        finally:
            holds.end()
            reads.end()
    raise DatabaseError("the tables could not be locked")


def configure(cluster: Cluster, scratch: Path, socket: Path) -> None:
    """Write the settings of the scratch cluster: it listens on a socket of its own alone."""
    lines = [f"{x} = '{cluster.sql(f'SHOW {x}', DATABASE)}'" for x in AS_PRIMARY]
    lines += [
        "listen_addresses = ''",
        f"unix_socket_directories = '{socket}'",
        f"port = {PORT}",
        "shared_buffers = '64MB'",
        "shared_preload_libraries = 'timescaledb'",
        "timescaledb.telemetry_level = 'off'",
        "archive_mode = off",
        "autovacuum = off",
        "ssl = off",
        "logging_collector = off",
        "",
    ]
    (scratch / "postgresql.conf").write_text("\n".join(lines), encoding="utf-8")
    (scratch / "pg_hba.conf").write_text("local all postgres peer\n", encoding="utf-8")
    (scratch / "pg_ident.conf").write_text("", encoding="utf-8")


def sums_restored(cluster: Cluster, point: str, scratch: Path, tables: list[str]) -> Sums:
    """Restore to the point, start a scratch cluster, and return its sums.

    Raises:
        DatabaseError: It cannot be restored or started, or a page of it is damaged.
    """
    words = ("--type=name", f"--target={point}", "--target-action=promote", "--archive-mode=off")
    backup.pgbackrest("restore", f"--pg1-path={scratch}", *words)
    socket = Path("/run/postgresql/drill")
    as_postgres("mkdir", "-p", "-m", "0700", socket)
    configure(cluster, scratch, socket)
    pg_ctl, log = (BIN / "pg_ctl", "-D", scratch, "-w"), scratch / "log"
    try:
        as_postgres(*pg_ctl, "-t", str(backup.RECOVERY_SECONDS), "-l", log, "start")
    except DatabaseError:
        said = [
            x for x in log.read_text(errors="replace").splitlines() if "FATAL" in x or "ERROR" in x
        ]
        raise DatabaseError(f"the restored cluster does not start: {(said or [''])[-1]}") from None

    def ask(text: str) -> str:
        return cluster.sql(text, DATABASE, PORT, str(socket))

    try:
        backup.recovered(ask)
        found = parse(ask(sums_of(tables)).splitlines())
    finally:
        as_postgres(*pg_ctl, "-m", "fast", "stop")
    as_postgres(BIN / "pg_checksums", "--check", "-D", scratch)
    return found


def drill(cluster: Cluster) -> None:
    """Restore the last backup beside the database and compare; write the result down."""
    if cluster.standby:
        say("this is a replica: the drill is the primary's")
        return
    if backup.settings()["method"] == "dump":
        raise DatabaseError("the drill needs database_backup_method: pgbackrest")
    begun, scratch = time.monotonic(), cluster.data.with_name("drill")
    try:
        result = compare(cluster, scratch)
    except DatabaseError as error:
        backup.note(RESULT, {"ok": False, "error": str(error)}, cluster)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    result |= {"seconds": round(time.monotonic() - begun, 1)}
    backup.note(RESULT, result, cluster)
    if not result["ok"]:
        raise DatabaseError(result["error"])
    say(f"{result['tables']} tables and {result['rows']} rows are as in the database")


def compare(cluster: Cluster, scratch: Path) -> dict[str, Any]:
    """Compare the primary's rows with those of a restored backup, as of the same moment."""
    shutil.rmtree(scratch, ignore_errors=True)
    cluster.space_for_copy()
    point = f"gridberry-drill-{int(time.time())}"
    wanted = sums_at_point(cluster, point)
    backup.pgbackrest("check")  # it waits until the WAL up to here is archived
    as_postgres("mkdir", "-m", "0700", scratch)
    found = sums_restored(cluster, point, scratch, list(wanted))
    different = sorted(name for name in wanted if wanted[name] != found.get(name))
    rows = sum(int(count) for count, _ in wanted.values())
    result: dict[str, Any] = {"ok": not different, "tables": len(wanted), "rows": rows}
    if different:
        name = different[0]
        counts = f"{wanted[name][0]} rows there and {found[name][0]} in the backup"
        result["error"] = (
            f"{name} differs from its backup: {counts}; tables: {', '.join(different)}"
        )
    return result
