"""The fleet's database on this host.

database certificate | create | settled | settle | roles-in-force | roles
database may-start | watch | status | wait SECONDS
database fence NEW_PRIMARY | unfence | promote POSITION|--old-is-off
database rejoin PRIMARY [--clone]
database backup [full|diff] | backup-made | backup-show [TIME] | backup-restore [TIME] | drill
database load DUMP
"""

from __future__ import annotations

import fcntl
import json
import os
import sys

from cluster import STATE, Cluster, DatabaseError, say

READS = ("settled", "roles-in-force", "status", "wait", "may-start", "backup-show")
LONG = ("backup", "drill")


def wait(cluster: Cluster, seconds: str) -> None:
    """Wait until PostgreSQL takes connections, and say how long that took."""
    say(f"healthy after {cluster.wait(float(seconds), patient=True):.1f} s")


def main(words: list[str]) -> int:
    """Do what the arguments say; returns the exit status."""
    import backup
    import drill
    import failover
    import make
    import watch

    verbs = {
        "certificate": make.certificate,
        "create": make.create,
        "settled": make.settled,
        "settle": make.settle,
        "roles-in-force": make.roles_in_force,
        "roles": make.roles,
        "may-start": failover.may_start,
        "fence": failover.fence,
        "unfence": failover.unfence,
        "promote": failover.promote,
        "rejoin": failover.rejoin,
        "watch": watch.watch,
        "status": lambda cluster: say(json.dumps(watch.status(cluster))),
        "wait": wait,
        "backup": backup.back_up_now,
        "backup-made": backup.made,
        "backup-show": backup.show,
        "backup-restore": backup.restore,
        "load": backup.load,
        "drill": drill.drill,
    }
    if not words or words[0] not in verbs:
        sys.stderr.write((__doc__ or "").strip() + "\n")
        return 2
    os.umask(0o022)
    try:
        cluster = Cluster()
        if words[0] in READS:
            verbs[words[0]](cluster, *words[1:])
        else:
            STATE.mkdir(parents=True, exist_ok=True)
            # A backup takes hours: nothing else waits for it.
            name = "database-backup.lock" if words[0] in LONG else "database.lock"
            with (STATE / name).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                verbs[words[0]](cluster, *words[1:])
    except DatabaseError as error:
        sys.stderr.write(f"database: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
