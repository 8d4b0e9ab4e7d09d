"""Ansible filters: settings of PostgreSQL for a board, SCRAM verifiers, and what is refused.

Sizes follow timescaledb-tune (Apache-2.0, github.com/timescale/timescaledb-tune): a quarter of the
memory for shared buffers, three quarters that the planner counts on.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping

ITERATIONS = 4096  # what PostgreSQL's own verifiers have: each login costs them
SALT_BYTES = 16
CONNECTIONS_ALONE, CONNECTIONS_BESIDE_BOT = 100, 30
# TimescaleDB's launcher, a scheduler for the database, and two jobs: with none left for those, no
# policy ever ran, and the log said so each minute.
BACKGROUND_WORKERS = 4
LEAST_MB = 700  # a board of 1 GB has some 900
LONGEST_NAME = 63
ROLES = ("owner", "writer", "reader", "replication")
LEAST_PASSWORD = 16
# What loses data at a power cut where it is off, and what the role itself decides.
NEVER_OFF = ("fsync", "full_page_writes", "synchronous_commit", "data_sync_retry")
OWN = (
    *("data_directory", "hba_file", "ident_file", "listen_addresses", "port", "ssl"),
    *("ssl_cert_file", "ssl_key_file", "password_encryption", "shared_preload_libraries"),
    *("wal_level", "archive_mode", "archive_command", "primary_conninfo", "primary_slot_name"),
    *("max_connections", "unix_socket_directories", "hot_standby", "zero_damaged_pages"),
    *("ignore_checksum_failure", "wal_log_hints", "include", "include_dir", "include_if_exists"),
    *("restore_command", "archive_cleanup_command", "recovery_end_command", "archive_library"),
)
DIRECTORY = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9_.-]*){2,}")
SETTING = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")
PRINTABLE = re.compile(r"[!-~]+")


def _size(megabytes: int) -> str:
    return f"{megabytes}MB"


def postgres_settings(
    memory_mb: int, cpus: int, beside_bot: bool = True, connections: int = 0
) -> dict[str, str | int]:
    """Return postgresql.conf for a board, and the unit's bound of memory as C(memory_max).

    Beside a bot it is half of what the board alone would have, with 30 connections.

    Args:
        memory_mb: The board's memory in MB.
        cpus: Its processors.
        beside_bot: Whether bots run on it.
        connections: How many are allowed; 0 for 30 beside a bot, and 100 alone.
    """
    share = memory_mb // 2 if beside_bot else memory_mb
    count = connections or (CONNECTIONS_BESIDE_BOT if beside_bot else CONNECTIONS_ALONE)
    maintenance = min(share // 8, 2048)
    per_node = share * 64 // 10 * 1024 // 1024 // max(round(cpus / 2), 1)  # kB, at 20 connections
    work_kb = max(per_node * 20 // count, 1024)
    return {
        "max_connections": count,
        "shared_buffers": _size(share // 4),
        "effective_cache_size": _size(share * 3 // 4),
        "maintenance_work_mem": _size(maintenance),
        "autovacuum_work_mem": _size(max(maintenance // 4, 16)),
        "work_mem": f"{work_kb}kB",
        "max_worker_processes": cpus + 5,
        "max_parallel_workers": max(cpus // 2, 1) if beside_bot else cpus,
        "max_parallel_workers_per_gather": max(cpus // 4 if beside_bot else cpus // 2, 1),
        "max_parallel_maintenance_workers": max(cpus // 4 if beside_bot else cpus // 2, 1),
        "timescaledb.max_background_workers": BACKGROUND_WORKERS,
        "memory_max": f"{share * 3 // 4}M",
    }


def scram_verifier(role: str, passwords: dict[str, str], cluster: str) -> str:
    """Return what PostgreSQL keeps of a password (RFC 5803): the password cannot be read from it.

    The same password gives the same text on each run, so that a second run changes nothing.

    Args:
        role: Such as C(reader); with the cluster's name it is the salt, which is no secret.
        passwords: By role, printable ASCII.
        cluster: A name of the fleet's own.
    """
    salt = hashlib.sha256(f"gridberry\0{cluster}\0{role}".encode()).digest()[:SALT_BYTES]
    salted = hashlib.pbkdf2_hmac("sha256", passwords.get(role, "").encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    first, second, third = (base64.b64encode(one).decode() for one in (salt, stored, server))
    return f"SCRAM-SHA-256${ITERATIONS}:{first}${second}:{third}"


def database_peers(hosts: list[str], name: str, variables: Mapping) -> dict[str, dict]:
    """Return how a host reaches the others of the group: address and port, by name.

    Args:
        hosts: Of the group.
        name: Of the host itself.
        variables: Ansible's hostvars.
    """
    peers = {}
    for host in hosts:
        if host != name:
            own = variables[host]
            address = own.get("timescaledb_address") or own.get("ansible_host") or host
            peers[host] = {"address": address, "port": int(own.get("timescaledb_port") or 5432)}
    return peers


def slot_name(host: str) -> str:
    """Return the replication slot of a host: lower case letters, digits and underscores.

    Args:
        host: Its name in the inventory.
    """
    return ("gridberry_" + re.sub(r"[^a-z0-9_]", "_", host.lower()))[:LONGEST_NAME]


def _wrong_networks(name: str, values: list[str]) -> list[str]:
    problems = []
    for one in values:
        try:
            net = ipaddress.ip_network(one)
        except ValueError:
            problems.append(f"{name} has {one!r}; use addresses such as 192.168.1.21/32")
            continue
        if net.prefixlen == 0:
            problems.append(f"{name} has {one!r}, which is everybody; name the fleet's addresses")
    return problems


def _wrong_settings(values: dict[str, object]) -> list[str]:
    problems = []
    for name, value in values.items():
        delays = name == "synchronous_commit" and str(value).lower() in (
            "on",
            "true",
            "remote_apply",
        )
        if name in NEVER_OFF and not delays:
            why = "which decides what is lost at a power cut"
            problems.append(f"timescaledb_settings has {name}, {why}; leave it out")
        elif name in OWN:
            problems.append(
                f"timescaledb_settings has {name}, which the role decides; leave it out"
            )
        elif not SETTING.fullmatch(name) or "\n" in str(value):
            problems.append(f"timescaledb_settings has {name!r}; use a name of postgresql.conf")
    return problems


def _wrong_passwords(passwords: dict[str, str]) -> list[str]:
    problems = [
        f"timescaledb_passwords has {name}; use {', '.join(ROLES)}"
        for name in sorted(set(passwords) - set(ROLES))
    ]
    for name in ROLES:
        password = passwords.get(name, "")
        if not password:
            problems.append(f"timescaledb_passwords lacks {name}; set it in a vault")
        elif len(password) < LEAST_PASSWORD or not PRINTABLE.fullmatch(password):
            problems.append(
                f"timescaledb_passwords.{name} needs {LEAST_PASSWORD} printable ASCII characters"
                " or more, without spaces"
            )
    return problems


def database_setting_problems(settings: dict) -> list[str]:
    """Return a line for each setting that is not allowed.

    Args:
        settings: The role's, without C(timescaledb_).
    """
    community = (settings["community_repository"], settings["community_key"])
    wrong = (
        (
            not DIRECTORY.fullmatch(settings["directory"]),
            (
                f"timescaledb_directory is {settings['directory']!r};"
                " use a path such as /mnt/data/postgresql"
            ),
        ),
        (
            bool(settings["certificate"]) != bool(settings["certificate_key"]),
            (
                "timescaledb_certificate and timescaledb_certificate_key go together;"
                " set both, or none"
            ),
        ),
        (
            settings["connections"] != 0 and not 5 <= settings["connections"] <= 500,
            f"timescaledb_connections is {settings['connections']}; use 5 to 500, or 0",
        ),
        (
            settings["primary"] not in settings["peers"],
            (
                f"timescaledb_primary is {settings['primary']}, which is no host of the group"
                f" database; use {' or '.join(settings['peers'])}"
            ),
        ),
        (
            settings["edition"] == "community" and not all(community),
            (
                "timescaledb_edition is community, which also needs"
                " timescaledb_community_repository and timescaledb_community_key (a file here)"
            ),
        ),
    )
    return [
        *_wrong_networks("timescaledb_clients", settings["clients"]),
        *_wrong_settings(settings["settings"]),
        *_wrong_passwords(settings["passwords"]),
        *(says for bad, says in wrong if bad),
    ]


def database_host_problems(look: str, settings: dict) -> list[str]:
    """Return a line for each thing of a host that is in the way.

    Args:
        look: What the role's look.sh printed.
        settings: The role's, without C(timescaledb_).
    """
    facts = database_facts(look)
    place, primary = settings["directory"], settings["primary"]
    wrong = (
        (
            facts["release"] != "trixie",
            (
                f"it runs Debian {facts['release'] or 'of an unknown release'};"
                " PostgreSQL 17 with TimescaleDB needs trixie"
            ),
        ),
        (
            facts["disk"].startswith("mmcblk") and not settings["allow_card"],
            (
                f"timescaledb_directory {place} is on the card {facts['disk']}, which a database"
                " wears out; mount an NVMe drive, or allow it with timescaledb_allow_card: true"
            ),
        ),
        (
            facts["memory_mb"] < LEAST_MB,
            f"it has {facts['memory_mb']} MB of memory; a database needs {LEAST_MB}",
        ),
        (
            facts["edition"] not in ("", settings["edition"]),
            (
                f"it has the {facts['edition']} edition of TimescaleDB and timescaledb_edition is"
                f" {settings['edition']}; the two exclude each other: load a dump on a new host"
            ),
        ),
        (
            facts["directory"] not in ("", f"{place}/17/main"),
            (
                f"its cluster 17/main is in {facts['directory']}; set timescaledb_directory to it,"
                " or remove it first (pg_dropcluster)"
            ),
        ),
        (
            facts["state"] == "primary" and primary != settings["name"],
            (
                f"it is a primary and timescaledb_primary is {primary}; after a promotion set"
                f" timescaledb_primary: {settings['name']}"
            ),
        ),
    )
    return [says for bad, says in wrong if bad]


def database_facts(look: str) -> dict:
    """Return what look.sh printed, by name.

    Args:
        look: Its lines, each a name, a space and a value.
    """
    pairs = (line.strip().partition(" ") for line in look.splitlines())
    found = {name: value for name, _, value in pairs}
    texts = {
        name: found.get(name, "") for name in ("release", "disk", "edition", "directory", "state")
    }
    numbers = {name: int(found.get(name, 0) or 0) for name in ("memory_mb", "cpus")}
    return texts | numbers


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            one.__name__: one
            for one in (
                *(postgres_settings, scram_verifier, slot_name, database_peers, database_facts),
                *(database_setting_problems, database_host_problems),
            )
        }
