"""Who is the primary: never two. A primary is fenced before another one is made.

Two locks hold a fenced cluster: PostgreSQL's own C(standby.signal), with which it opens for reading
alone whoever starts it, and a mark without which its unit does not start it as a primary.
"""

from __future__ import annotations

import contextlib
import time

from cluster import (
    BIN,
    CONF,
    FENCE,
    PLACE,
    Cluster,
    DatabaseError,
    as_postgres,
    say,
    sync,
    whole,
)
from make import clone, make_slot

CATCH_UP_SECONDS = 60


def _hold(cluster: Cluster, primary: str) -> None:
    """Keep the cluster from being a primary from its next start on."""
    as_postgres("mkdir", "-p", "-m", "0700", cluster.data)  # gone where a copy was broken off
    as_postgres("touch", cluster.standby_mark)
    sync(cluster.data)
    whole(FENCE, f"{primary}\n")


def _cloned(cluster: Cluster) -> list[str]:
    """Return the hosts that have been replicas of this cluster: one may be the primary by now."""
    return [x for x in cluster.peers if (cluster.data / "pg_replslot" / cluster.slots[x]).is_dir()]


def may_start(cluster: Cluster) -> None:
    """Refuse a start by which there could be two primaries; the unit asks before each start.

    Raises:
        DatabaseError: It may not start.
    """
    if cluster.standby:
        return
    if FENCE.exists():
        raise DatabaseError(
            f"fenced: {FENCE.read_text().strip()} is the primary; see promote_database.yml"
        )
    for host in _cloned(cluster):
        answer = cluster.ask(host)
        if answer and answer["primary"]:
            _hold(cluster, host)
            raise DatabaseError(f"{host} is the primary now; this cluster is fenced")
        if answer is None and not cluster.start_alone:
            raise DatabaseError(
                f"{host} does not answer, and may have been promoted: it is asked again every few"
                " seconds; if it is gone for good take it out of the group database, or set"
                " timescaledb_start_alone: true"
            )


def yield_to_newer(cluster: Cluster) -> str:
    """Fence a running primary of which another has taken the place; returns that one's name."""
    if cluster.standby or not cluster.runs():
        return ""
    now = "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int"
    own = int(cluster.sql(now))
    for host in cluster.peers:
        answer = cluster.ask(host)
        if answer and answer["primary"] and answer["timeline"] > own:
            _hold(cluster, host)
            cluster.stop()
            return host
    return ""


def fence(cluster: Cluster, primary: str) -> None:
    """Stop this primary for good; prints up to where the other one must have read."""
    if primary not in cluster.peers:
        raise DatabaseError(f"{primary} is no other host of the group database")
    if cluster.standby and not FENCE.exists():
        raise DatabaseError(f"{cluster.name} is a replica: it needs no fence")
    _hold(cluster, primary)
    cluster.stop()
    control = cluster.control()
    if control["Database cluster state"] != "shut down":
        raise DatabaseError(f"it did not stop in order: {control['Database cluster state']}")
    say(f"fenced at {control['Latest checkpoint location']}")


def unfence(cluster: Cluster) -> None:
    """Let a fenced cluster be the primary again; refused where another one is."""
    if not FENCE.exists():
        raise DatabaseError(f"{cluster.name} is not fenced")
    for host in cluster.peers:
        answer = cluster.ask(host)
        if answer and answer["primary"]:
            raise DatabaseError(f"{host} is the primary; bring this one back as a replica: rejoin")
    cluster.stop()
    cluster.standby_mark.unlink(missing_ok=True)
    sync(cluster.data)
    FENCE.unlink()
    cluster.start()
    say("a primary again")


def promote(cluster: Cluster, how: str) -> None:
    """Make this replica the primary.

    Args:
        cluster: The cluster.
        how: C(--old-is-off): a person says so; or the position that C(fence) printed.
    """
    if not cluster.standby or FENCE.exists():
        raise DatabaseError(f"{cluster.name} is no replica that can be promoted")
    if not cluster.runs():
        raise DatabaseError(f"{cluster.name} does not run: {cluster.last_line()}")
    for host in cluster.peers:
        answer = cluster.ask(host)
        if answer and answer["primary"]:
            raise DatabaseError(f"{host} is a primary and answers; fence it first")
    if how != "--old-is-off":
        _catch_up(cluster, how)
    if cluster.sql("SELECT pg_promote(true, 60)") != "t":
        raise DatabaseError("PostgreSQL did not promote it in 60 s; see its log")
    with contextlib.suppress(DatabaseError):
        cluster.sql("ALTER SYSTEM RESET primary_conninfo")
    say(f"{cluster.name} is the primary")


def _catch_up(cluster: Cluster, position: str) -> None:
    until = time.monotonic() + CATCH_UP_SECONDS
    behind = f"SELECT pg_last_wal_replay_lsn() <= '{position}'::pg_lsn"
    while cluster.sql(behind) == "t":
        if time.monotonic() > until:
            raise DatabaseError(
                f"{cluster.name} lacks the last writes of the old primary (up to {position});"
                " unfence that one, let this one catch up, and try again"
            )
        time.sleep(0.2)


def rejoin(cluster: Cluster, primary: str, how: str = "") -> None:
    """Bring a former primary back as a replica: by pg_rewind, or by a new copy.

    Args:
        cluster: The cluster.
        primary: Which host is the primary.
        how: C(--clone) copies everything again.
    """
    answer = cluster.ask(primary) if primary in cluster.peers else None
    if not answer or not answer["primary"]:
        raise DatabaseError(f"{primary} is no primary that answers")
    _hold(cluster, primary)
    cluster.stop()
    if how == "--clone":
        clone(cluster, primary)
    else:
        make_slot(cluster, primary)
        # pg_rewind ends a crash's recovery itself, which PostgreSQL refuses beside this file; the
        # mark holds meanwhile.
        cluster.standby_mark.unlink(missing_ok=True)
        try:
            as_postgres(
                *(BIN / "pg_rewind", "--target-pgdata", cluster.data, "-R"),
                *("--source-server", cluster.conninfo(primary)),
                f"--config-file={CONF}/postgresql.conf",
                env={"PGPASSFILE": str(PLACE / "pgpass")},
            )
        except DatabaseError as error:
            _hold(cluster, primary)
            raise DatabaseError(
                f"{error}; rejoin {primary} --clone copies everything again"
            ) from None
    FENCE.unlink()
    cluster.start()
    for slot in cluster.sql("SELECT slot_name FROM pg_replication_slots").split():
        cluster.sql(f"SELECT pg_drop_replication_slot('{slot}')")
    say(f"{cluster.name} is a replica of {primary}")
