"""Makes the cluster, its certificate, roles and database, and puts its settings in force."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time

from cluster import (
    BIN,
    CONF,
    DATABASE,
    PLACE,
    REPLICATION,
    STATE,
    UNIT,
    Cluster,
    DatabaseError,
    as_postgres,
    run,
    say,
    whole,
)

# Gone when the cluster is whole: what a power cut left half made is made again.
MAKING = STATE / "database-making"
CERTIFICATE_DAYS = "3650"
OWNER, WRITER, READER, BACKUP = (f"gridberry_{x}" for x in ("owner", "writer", "reader", "backup"))
# What may connect at the same time, and what else a role may; nobody is a superuser.
ROLES = {
    OWNER: "LOGIN NOREPLICATION CONNECTION LIMIT 5",
    WRITER: "LOGIN NOREPLICATION CONNECTION LIMIT {half}",
    READER: "LOGIN NOREPLICATION CONNECTION LIMIT {half}",
    REPLICATION: "LOGIN REPLICATION CONNECTION LIMIT 10",
    BACKUP: "LOGIN NOREPLICATION CONNECTION LIMIT 2",
}
# pg_rewind reads files by these; a base backup could read them all the same.
REWIND = (
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
)
RIGHTS = f"""
ALTER SCHEMA public OWNER TO {OWNER};
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO {WRITER}, {READER};
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {WRITER};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {WRITER};
GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER};
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT USAGE ON SCHEMAS TO {WRITER}, {READER};
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT SELECT, INSERT, UPDATE ON TABLES TO {WRITER};
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT USAGE, SELECT ON SEQUENCES TO {WRITER};
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT SELECT ON TABLES TO {READER};
"""
NOTE = (
    "SELECT shobj_description(oid, 'pg_database') FROM pg_database"  # noqa: S608  a constant
    f" WHERE datname = '{DATABASE}'"
)
SETTINGS_OF_ROLES = f"""
GRANT pg_read_all_data TO {BACKUP};
ALTER ROLE {READER} SET default_transaction_read_only = on;
ALTER ROLE {READER} SET statement_timeout = '30s';
ALTER ROLE {WRITER} SET statement_timeout = '60s';
ALTER ROLE {WRITER} SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE {BACKUP} SET default_transaction_read_only = on;
REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC;
GRANT CONNECT ON DATABASE {DATABASE} TO {WRITER}, {READER}, {BACKUP};
"""


def certificate(cluster: Cluster) -> None:
    """Make a key and a certificate that the key signs, where there is none."""
    key, made = PLACE / "server.key", PLACE / "server.crt"
    if key.exists() and made.exists():
        return
    new = PLACE / "server.new"
    kind = "IP" if re.fullmatch(r"[0-9.]+|[0-9a-f:]*:[0-9a-f:.]*", cluster.address) else "DNS"
    names = f"DNS:{cluster.name},{kind}:{cluster.address}"
    # With SHA-256: SCRAM's channel binding needs a certificate whose hash it knows.
    run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-sha256", "-nodes", "-days", CERTIFICATE_DAYS, "-subj", f"/CN={cluster.name}"),
        *("-addext", f"subjectAltName={names}", "-keyout", new, "-out", made),
    )
    shutil.chown(new, "postgres", "postgres")
    new.chmod(0o600)
    made.chmod(0o644)
    new.replace(key)


def create(cluster: Cluster) -> None:
    """Make the cluster where there is none; on a replica a copy of the primary's."""
    if MAKING.exists():
        run("systemctl", "stop", UNIT)
        shutil.rmtree(CONF, ignore_errors=True)
        shutil.rmtree(cluster.data, ignore_errors=True)
    elif cluster.made:
        return
    elif cluster.data.exists() and any(cluster.data.iterdir()):
        raise DatabaseError(
            f"{cluster.data} has data, and {CONF} is missing: move them away, or bring it back"
        )
    whole(MAKING, "")
    as_postgres("mkdir", "-p", "-m", "0700", cluster.data.parent)
    run(
        *("pg_createcluster", "17", "main", "--datadir", cluster.data, "--locale", "C.UTF-8"),
        *("--port", str(cluster.port), "--", "--data-checksums", "--encoding=UTF8"),
        *("--auth-local=peer", "--auth-host=scram-sha-256"),
    )
    if cluster.primary not in ("", cluster.name):
        clone(cluster)
    MAKING.unlink()


def clone(cluster: Cluster, primary: str = "") -> None:
    """Replace the data by a copy of the primary's; the slot keeps what it writes meanwhile."""
    primary = primary or cluster.primary
    answer = cluster.ask(primary)
    if not answer or not answer["primary"]:
        what = "is no primary" if answer else "does not answer"
        raise DatabaseError(f"{primary} {what}; deploy the primary first, with this host as a peer")
    new = cluster.data.with_name("main.new")
    shutil.rmtree(new, ignore_errors=True)
    drop_slot(cluster, primary)  # what it keeps may be too old, or lost
    make_slot(cluster, primary)
    as_postgres(
        *(BIN / "pg_basebackup", "-d", cluster.conninfo(primary), "-D", new, "-X", "stream"),
        *("-S", cluster.slots[cluster.name], "--checkpoint=fast", "-R"),
    )
    shutil.rmtree(cluster.data)
    new.rename(cluster.data)


def make_slot(cluster: Cluster, primary: str) -> None:
    """Make this host's slot on the primary, where it has none."""
    try:
        _on_slot(cluster, primary, "CREATE_REPLICATION_SLOT {} PHYSICAL RESERVE_WAL")
    except DatabaseError as error:
        if "already exists" not in str(error):
            raise


def drop_slot(cluster: Cluster, primary: str) -> None:
    """Drop this host's slot on the primary, where it has one."""
    try:
        _on_slot(cluster, primary, "DROP_REPLICATION_SLOT {}")
    except DatabaseError as error:
        if "does not exist" not in str(error):
            raise


def _on_slot(cluster: Cluster, primary: str, command: str) -> None:
    dsn = cluster.conninfo(primary) + " replication=true"
    psql = (BIN / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", dsn)
    as_postgres(*psql, text=command.format(cluster.slots[cluster.name]))


def settled(cluster: Cluster) -> None:
    """See whether the settings on the disk are in force.

    Raises:
        DatabaseError: They are not; says why.
    """
    cluster.must_run()
    wrong = cluster.sql(
        "SELECT name || ': ' || error FROM pg_file_settings WHERE error IS NOT NULL"
        " AND error NOT LIKE '%could not be applied%' LIMIT 1"
    )
    if wrong:
        raise DatabaseError(wrong)
    waiting = cluster.sql("SELECT name FROM pg_settings WHERE pending_restart LIMIT 1")
    if waiting:
        raise DatabaseError(f"{waiting} waits for a restart")


def settle(cluster: Cluster) -> None:
    """Put the settings on the disk in force: by a reload, and by a restart where they need one."""
    run("systemctl", "enable", "-q", UNIT)
    if not cluster.runs():
        cluster.start()
        return
    cluster.sql("SELECT pg_reload_conf()")
    time.sleep(1)  # the postmaster reads them after it has answered
    try:
        settled(cluster)
    except DatabaseError as error:
        if "waits for a restart" not in str(error):
            raise
        run("systemctl", "restart", UNIT)
        cluster.wait(600)


def _wanted(cluster: Cluster) -> tuple[dict[str, str], str]:
    verifiers: dict[str, str] = json.loads((PLACE / "verifiers.json").read_text(encoding="utf-8"))
    connections = int(cluster.sql("SHOW max_connections"))
    attributes = {name: text.format(half=connections * 2 // 5) for name, text in ROLES.items()}
    digest = hashlib.sha256(
        repr((attributes, RIGHTS, SETTINGS_OF_ROLES, REWIND)).encode()
    ).hexdigest()
    return {f"gridberry_{x}": y for x, y in verifiers.items()}, digest


def roles_in_force(cluster: Cluster) -> None:
    """See whether roles, rights and database are as they should be.

    Raises:
        DatabaseError: They are not; says which.
    """
    cluster.must_run()
    if cluster.standby:
        return  # the primary's come with its data
    verifiers, digest = _wanted(cluster)
    found = cluster.sql(
        "SELECT rolname, coalesce(rolpassword, ''), rolsuper OR rolcreaterole OR rolcreatedb OR"
        " rolbypassrls FROM pg_authid WHERE rolname LIKE 'gridberry\\_%'"
    )
    have = {name: (word, more) for name, word, more in (x.split("|") for x in found.splitlines())}
    for name in ROLES:
        if name not in have:
            raise DatabaseError(f"the role {name} is missing")
        if have[name][1] == "t":
            raise DatabaseError(f"the role {name} may do more than it should")
        if have[name][0] != verifiers.get(name, ""):
            raise DatabaseError(f"the role {name} has another password")
    if cluster.sql(NOTE) != f"Gridberry, rights {digest}":
        raise DatabaseError(f"the rights in the database {DATABASE} are others")
    if left := _left_slots(cluster):
        raise DatabaseError(f"the slot {left[0]} is of no host any more")


def _left_slots(cluster: Cluster) -> list[str]:
    known = {cluster.slots[host] for host in cluster.peers}
    found = cluster.sql(
        "SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'gridberry\\_%'"
    )
    return sorted(set(found.split()) - known)


def roles(cluster: Cluster) -> None:
    """Make roles, rights and database as they should be."""
    if cluster.standby:
        return
    verifiers, digest = _wanted(cluster)
    connections = int(cluster.sql("SHOW max_connections"))
    # What is in these statements must be in no log, whatever becomes of them.
    text = "SET log_statement = 'none'; SET log_min_error_statement = 'panic';\n"
    for name, attributes in ROLES.items():
        word = f"'{verifiers[name]}'" if name in verifiers else "NULL"
        text += (
            f"SELECT 'CREATE ROLE {name}' "
            f"WHERE to_regrole('{name}') IS NULL \\gexec\n"
            f"ALTER ROLE {name} NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS"
            f" {attributes.format(half=connections * 2 // 5)} PASSWORD {word};\n"
        )
    if DATABASE not in cluster.sql("SELECT datname FROM pg_database").splitlines():
        text += f"CREATE DATABASE {DATABASE} OWNER {OWNER};\n"
    text += SETTINGS_OF_ROLES
    text += "".join(f"GRANT EXECUTE ON FUNCTION {x} TO {REPLICATION};\n" for x in REWIND)
    cluster.sql(text)
    cluster.sql(
        "SET client_min_messages = error; CREATE EXTENSION IF NOT EXISTS timescaledb", DATABASE
    )
    cluster.sql(RIGHTS, DATABASE)
    for slot in _left_slots(cluster):
        cluster.sql(f"SELECT pg_drop_replication_slot('{slot}')")
    cluster.sql(f"COMMENT ON DATABASE {DATABASE} IS 'Gridberry, rights {digest}'")
    say("roles and rights are in force")
