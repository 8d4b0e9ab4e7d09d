"""Backups by pgBackRest or pg_dump, and the way back: to the last moment, or to one before."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from cluster import (
    BIN,
    DATABASE,
    PLACE,
    SOCKET,
    STATE,
    Cluster,
    DatabaseError,
    as_postgres,
    say,
    sync,
    whole,
)

STANZA = "gridberry"
RESULT = STATE / "database-backup.json"
# While the data are being put back: what is in their place is half of them.
RESTORING = STATE / "database-restoring"
WEEK = 7 * 86400 - 12 * 3600  # seconds between full backups, with half a day for a late start
DUMPS = 7  # that are kept at least
RECOVERY_SECONDS = 4 * 3600


def settings() -> dict[str, Any]:
    """Return what the role database_backup has set."""
    try:
        found: dict[str, Any] = json.loads((PLACE / "backup.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise DatabaseError(
            "it has no backups: set database_backup_repository, and deploy"
        ) from error
    return found


def pgbackrest(*words: str, **more: Any) -> str:
    """Run pgBackRest on the stanza; its settings and secrets are in its own file."""
    return as_postgres("pgbackrest", f"--stanza={STANZA}", *words, **more)


def backups() -> list[dict[str, Any]]:
    """Return the backups in the repository, the oldest first."""
    said = json.loads(pgbackrest("info", "--output=json") or "[]")
    found: list[dict[str, Any]] = said[0].get("backup", []) if said else []
    return found


def note(path: Path, result: dict[str, Any], cluster: Cluster) -> None:
    """Write a result down, with the time of this one and of the last good one, and as metrics.

    Args:
        path: The status file; its name is the metrics'.
        result: C(ok), and what else is to be known.
        cluster: The cluster.
    """
    before: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(path.read_text(encoding="utf-8"))
    at = int(time.time())
    said = {"time": at, "last_good": at if result["ok"] else before.get("last_good")} | result
    whole(path, json.dumps(said) + "\n")
    if cluster.textfiles.is_dir():
        name = path.stem.replace("-", "_")
        lines = f"# TYPE gridberry_{name}_ok gauge\ngridberry_{name}_ok {int(result['ok'])}\n"
        lines += f"# TYPE gridberry_{name}_last_good_seconds gauge\n"
        lines += f"gridberry_{name}_last_good_seconds {said['last_good'] or 0}\n"
        whole(cluster.textfiles / f"gridberry_{name}.prom", lines)


def made(cluster: Cluster) -> None:
    """See that the repository is there, and is this cluster's; make it where it is not."""
    if settings()["method"] == "dump" or cluster.standby:
        return
    try:
        pgbackrest("stanza-create")
    except DatabaseError as error:
        if "do not match the database" in str(error):
            raise DatabaseError(
                "the repository has the backups of another database: put one back with"
                " playbooks/restore_database.yml, or set another database_backup_repository"
            ) from None
        raise


def back_up_now(cluster: Cluster, kind: str = "") -> None:
    """Back up, and write the result down; a replica leaves it to its primary.

    Args:
        cluster: The cluster.
        kind: C(full), C(diff) or C(incr); otherwise full once a week, and diff.
    """
    if cluster.standby:
        say("this is a replica: the primary makes the backups")
        return
    begun = time.monotonic()
    try:
        result = _dump(settings()) if settings()["method"] == "dump" else _write(cluster, kind)
    except DatabaseError as error:
        note(RESULT, {"ok": False, "error": str(error)}, cluster)
        raise
    note(RESULT, {"ok": True} | result | {"seconds": round(time.monotonic() - begun, 1)}, cluster)
    say(f"{result['kind']} backup {result['label']}: {result['bytes']} bytes")


def _write(cluster: Cluster, kind: str = "", *more: str) -> dict[str, Any]:
    made(cluster)
    full = [one["timestamp"]["stop"] for one in backups() if one["type"] == "full"]
    # One of a time that is to come was made by a clock that was fast.
    due = not full or not 0 <= time.time() - full[-1] <= WEEK
    pgbackrest("backup", f"--type={kind or ('full' if due else 'diff')}", *more)
    last = backups()[-1]
    if last.get("error"):
        where = ", ".join(one["name"] for one in last.get("error-list", []))
        raise DatabaseError(f"pages of the database are damaged{': ' if where else ''}{where}")
    pgbackrest("check")
    size = last["info"]
    return {
        "kind": last["type"],
        "label": last["label"],
        "bytes": size["size"],
        "bytes_added": size["repository"]["delta"],
    }


def _dump(wanted: dict[str, Any]) -> dict[str, Any]:
    place = Path(wanted["directory"])
    made_at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    file, new = place / f"gridberry-{made_at}.dump", place / "gridberry.dump.new"
    connection = ("-h", SOCKET, "-U", "gridberry_backup", "-d", DATABASE)
    as_postgres(BIN / "pg_dump", *connection, "-Fc", "-Z", "zstd:3", "-f", new)
    as_postgres(BIN / "pg_restore", "--list", new)
    with new.open("rb") as data:
        os.fsync(data.fileno())
    new.replace(file)
    sync(place)
    # The newest stay, whatever the clock says of their age.
    for old in sorted(place.glob("gridberry-*.dump"))[:-DUMPS]:
        if time.time() - old.stat().st_mtime > wanted["keep_days"] * 86400:
            old.unlink()
    size = file.stat().st_size
    return {"kind": "dump", "label": file.name, "bytes": size, "bytes_added": size}


def show(_: Cluster, target: str = "") -> None:
    """Say what a restore would bring back.

    Args:
        target: A time, as PostgreSQL reads it; empty for all that is in the repository.
    """
    found = [one for one in backups() if not one.get("error")]
    if not found:
        raise DatabaseError("the repository has no backup")
    clock = "%Y-%m-%d %H:%M:%S UTC"
    stops = [time.strftime(clock, time.gmtime(one["timestamp"]["stop"])) for one in found]
    goal = target or "the last WAL archived"
    say(f"backups from {stops[0]} to {stops[-1]}; it would go to {goal}")


def restore(cluster: Cluster, target: str = "") -> None:
    """Put the database back: a safety backup first; the data before stay beside it.

    Args:
        cluster: The cluster.
        target: A time, as PostgreSQL reads it; empty for all that is in the repository.
    """
    if cluster.standby:
        raise DatabaseError(f"{cluster.name} is a replica: restore on the primary")
    show(cluster, target)
    before = cluster.data.with_name("main.before-restore")
    # A restore that was broken off goes on, if it had come to move the data away.
    broken_off = RESTORING.exists() and before.exists() and _half(cluster.data)
    if not broken_off:
        _safety(cluster)
    cluster.stop()
    if not broken_off:
        shutil.rmtree(before, ignore_errors=True)
        whole(RESTORING, "")
        cluster.data.rename(before)
    # The last one may have damaged pages: WAL leads from a good one to the same rows.
    words = [f"--set={[one for one in backups() if not one.get('error')][-1]['label']}"]
    if target:  # pgBackRest chooses the backup before it
        words = ["--type=time", f"--target={target}", "--target-action=promote"]
    shutil.rmtree(cluster.data, ignore_errors=True)
    as_postgres("mkdir", "-m", "0700", cluster.data)
    try:
        pgbackrest("restore", *words)
        cluster.start(RECOVERY_SECONDS)
        recovered(cluster.sql)
    except DatabaseError as error:
        cluster.stop()
        shutil.rmtree(cluster.data)
        before.rename(cluster.data)
        RESTORING.unlink()
        cluster.start()
        raise DatabaseError(f"{error}; the database is as it was") from None
    RESTORING.unlink()
    say(f"restored; the data before are in {before} until the next restore")


def _half(data: Path) -> bool:
    """Tell whether data are half restored; else PostgreSQL has ended it, and they may be in use."""
    return not (data / "global/pg_control").exists() or (data / "recovery.signal").exists()


def _safety(cluster: Cluster) -> None:
    cluster.space_for_copy()
    try:
        cluster.must_run()
        last = _write(cluster, "diff", "--annotation=reason=before-restore")
        say(f"safety backup {last['label']}")
    except DatabaseError as error:  # damaged, or another database: its data are kept beside it
        say(f"no safety backup in the repository: {error}")


def recovered(sql: Any) -> None:
    """Wait until a restored cluster has read all WAL up to its target.

    Args:
        sql: Runs a statement in it.
    """
    until = time.monotonic() + RECOVERY_SECONDS
    while sql("SELECT pg_is_in_recovery()") == "t":
        if time.monotonic() > until:
            raise DatabaseError("the recovery did not end")
        time.sleep(0.5)


def load(cluster: Cluster, file: str) -> None:
    """Load a dump of pg_dump into the database, which must be empty.

    Args:
        cluster: The cluster.
        file: The dump, in pg_dump's custom format; postgres must be able to read it.
    """
    count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    if cluster.standby or cluster.sql(count, DATABASE) != "0":
        raise DatabaseError(f"the database {DATABASE} is not empty, or is a replica's")
    cluster.sql("SELECT timescaledb_pre_restore()", DATABASE)
    try:
        options = ("-h", SOCKET, "-d", DATABASE, "--no-comments", "--exit-on-error")
        as_postgres(BIN / "pg_restore", *options, file)
    finally:
        cluster.sql("SELECT timescaledb_post_restore()", DATABASE)
    cluster.sql("ANALYZE", DATABASE)
    say(f"loaded {cluster.sql(count, DATABASE)} tables")
