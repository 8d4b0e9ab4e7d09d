"""What the cluster says of itself: a status file, and metrics for node exporter's text files."""

from __future__ import annotations

import json
import time
from typing import Any

from cluster import DATABASE, FENCE, STATE, Cluster, DatabaseError, whole
from failover import yield_to_newer

LOOK = f"""
SELECT json_build_object(
  'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
  'connections_limit', current_setting('max_connections')::int,
  'bytes', coalesce((SELECT pg_database_size(oid) FROM pg_database
    WHERE datname = '{DATABASE}'), 0),
  'started', extract(epoch FROM pg_postmaster_start_time())::bigint,
  'checksum_failures', (SELECT coalesce(sum(checksum_failures), 0) FROM pg_stat_database),
  'archive_failing', (SELECT coalesce(last_failed_time > last_archived_time,
    last_failed_time IS NOT NULL) FROM pg_stat_archiver),
  'streaming', (SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'),
  'lag_seconds', CASE WHEN NOT pg_is_in_recovery() THEN 0
    WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
    ELSE round(extract(epoch FROM now() - pg_last_xact_replay_timestamp())) END,
  'replicas', (SELECT coalesce(json_object_agg(slot_name, json_build_object('active', active,
    'wal_status', wal_status, 'lag_bytes', CASE WHEN pg_is_in_recovery() THEN NULL
      ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) END)), '{{}}')
    FROM pg_replication_slots WHERE slot_type = 'physical'))
"""  # noqa: S608  a constant
# Of the status: number, and what it is.
METRICS = {
    "up": "Whether PostgreSQL takes connections.",
    "primary": "Whether this host is the primary.",
    "fenced": "Whether this host is kept from being the primary.",
    "streaming": "Whether a replica is connected to its primary.",
    "lag_seconds": "Seconds by which a replica is behind.",
    "bytes": "Size of the database.",
    "connections": "Connections in use.",
    "connections_limit": "Connections that are allowed.",
    "checksum_failures": "Damaged pages found.",
    "archive_failing": "Whether the last WAL file could not be archived.",
}


def status(cluster: Cluster) -> dict[str, Any]:
    """Return what is to be known of the cluster; what cannot be asked is left out."""
    said: dict[str, Any] = {
        "host": cluster.name,
        "time": int(time.time()),
        "up": cluster.runs(),
        "fenced": FENCE.exists(),
        "state": "standby" if cluster.standby else "primary",
    }
    if FENCE.exists():
        said["state"] = "fenced"
        said["primary_is"] = FENCE.read_text(encoding="utf-8").strip()
    said["primary"] = said["up"] and said["state"] == "primary"
    if said["up"]:
        said |= json.loads(cluster.sql(LOOK))
    return said


def metrics(said: dict[str, Any]) -> str:
    """Return a status as Prometheus's text.

    Args:
        said: What C(status) returned.
    """
    lines = []
    for name, what in METRICS.items():
        if name in said:
            full = f"gridberry_database_{name}"
            lines += [
                f"# HELP {full} {what}",
                f"# TYPE {full} gauge",
                f"{full} {float(said[name]):g}",
            ]
    for name, what in (("active", "connected"), ("lag_bytes", "bytes of WAL it has not confirmed")):
        full = f"gridberry_database_replica_{name}"
        lines += [f"# HELP {full} Of each replica: {what}.", f"# TYPE {full} gauge"]
        for slot, one in said.get("replicas", {}).items():
            if one[name] is not None:
                lines.append(
                    f'{full}{{replica="{slot.removeprefix("gridberry_")}"}} {float(one[name]):g}'
                )
    return "\n".join(lines) + "\n"


def watch(cluster: Cluster) -> None:
    """Write status and metrics; a primary that another has replaced is fenced."""
    yielded = yield_to_newer(cluster)
    said = status(cluster)
    whole(STATE / "database.json", json.dumps(said) + "\n")
    if cluster.textfiles.is_dir():
        whole(cluster.textfiles / "gridberry_database.prom", metrics(said))
    if yielded:
        raise DatabaseError(f"{yielded} is the primary now; this cluster is fenced")
