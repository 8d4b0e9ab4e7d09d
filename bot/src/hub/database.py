"""Connections to TimescaleDB, and its schema brought up to date."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import asyncpg
from gridbase.errors import ExitCode, UserError
from gridbase.secret_files import read_secret
from gridbase.settings import any_path, integer, text

# Only one program brings the schema up to date at a time: any number, the same in all of them.
_LOCK = 0x47524442
# Pages of a request, not of a report: the server ends what takes longer.
STATEMENT_SECONDS = 30


class DatabaseError(UserError):
    """The database is not what it must be; trying again does not help."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.STATE)


class OldSchemaError(DatabaseError):
    """The schema is older than this program; `hub keep` brings it up to date."""


# What ends when the database is back: the caller tries again.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # cut off in the middle of an answer
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # it starts, stops, or ended what took too long
    asyncpg.InsufficientResourcesError,  # no room on the disk, no connection left
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,  # a replica, or the primary before it was fenced
    asyncpg.UndefinedTableError,  # its owner has not made or changed the schema yet,
    asyncpg.UndefinedColumnError,
    asyncpg.InsufficientPrivilegeError,  # nor given the rights in it
)
# For who serves others meanwhile: these end, too, when its owner has made roles and database.
REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)


def in_one_line(error: BaseException) -> str:
    """What went wrong with the database; PostgreSQL says it in several lines."""
    return "database: " + (" ".join(str(error).split()) or type(error).__name__)


@dataclass(frozen=True)
class Address:
    """Where the database is, and who asks.

    Attributes:
        host: name, address, or directory of a Unix socket.
        port: of the server.
        database: its name.
        user: a role of PostgreSQL's.
        password_file: with mode 0600; None where the server asks for none.
        ca_file: the authority that signed the server's certificate; None: nobody vouches for the
            server, which is for a Unix socket and for loopback alone.
    """

    host: Annotated[str, text]
    port: Annotated[int, integer(1, 65535)]
    database: Annotated[str, text]
    user: Annotated[str, text]
    password_file: Annotated[Path | None, any_path] = None
    ca_file: Annotated[Path | None, any_path] = None

    def arguments(self) -> dict[str, Any]:
        """For asyncpg.

        Raises:
            UserError: a file cannot be read, or others can read the password.
        """
        import ssl

        given: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "database": self.database,
            "user": self.user,
            "timeout": 10,
            # TLS where the server has it: role timescaledb's takes nothing else, on loopback too.
            "ssl": "prefer",
        }
        if self.password_file is not None:
            given["password"] = read_secret(self.password_file, "database.password_file")
        if self.ca_file is not None:
            try:
                given["ssl"] = ssl.create_default_context(cafile=self.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise UserError(f"database.ca_file = {self.ca_file}: {error}") from error
        return given


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
    )


async def _nothing(_: Any) -> None:
    """A connection that only reads leaves nothing behind for the next one."""


async def connect(address: Address, command_seconds: float | None = None) -> Any:
    """One connection.

    Args:
        address: where.
        command_seconds: how long a command may take; None: for ever.

    Raises:
        UserError: the server refuses who asks.
        OSError: it is away (see `AWAY`).
    """
    try:
        connection = await asyncpg.connect(**address.arguments(), command_timeout=command_seconds)
    except REFUSED as no:
        raise DatabaseError(f"database.host = {address.host}: {no}") from no
    await _prepare(connection)
    return connection


async def pool(address: Address, size: int) -> Any:
    """A bounded pool of connections that only read; none is opened before it is needed.

    Args:
        address: where.
        size: most connections.
    """
    return asyncpg.create_pool(
        **address.arguments(),
        min_size=0,
        max_size=size,
        command_timeout=STATEMENT_SECONDS + 5,  # where not even the server answers
        init=_prepare,
        reset=_nothing,
        server_settings={
            "statement_timeout": str(STATEMENT_SECONDS * 1000),
            "default_transaction_read_only": "on",
            "timezone": "UTC",
            "jit": "off",  # compiling costs more than any of these queries
            # So does planning over a year's chunks each time: which are needed shows at run time.
            "plan_cache_mode": "force_generic_plan",
        },
    )


@dataclass(frozen=True)
class Migration:
    """One step of the schema.

    Attributes:
        number: its version.
        name: of its file.
        text: SQL.
    """

    number: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text: a step that was applied must not change."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All steps, oldest first."""
    files = resources.files("hub").joinpath("migrations").iterdir()
    found = [one for one in files if one.name.endswith(".sql")]
    return [
        Migration(int(one.name.partition("_")[0]), one.name, one.read_text())
        for one in sorted(found, key=lambda one: one.name)
    ]


async def migrate(connection: Any, steps: Sequence[Migration] | None = None) -> list[str]:
    """Bring the schema up to date, each step in a transaction of its own.

    Two programs may do so at once: the second one waits, and finds nothing to do.

    Args:
        connection: as the owner of the schema.
        steps: all of them; None reads them from the program.

    Returns:
        Names of the steps that were applied.

    Raises:
        DatabaseError: there is no TimescaleDB, the schema is newer than this program, or a step
            that was applied is another one now.
    """
    steps = migrations() if steps is None else steps
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        await _require_timescaledb(connection)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions (number integer PRIMARY KEY,"
            " name text NOT NULL, digest text NOT NULL, at timestamptz NOT NULL DEFAULT now())"
        )
        applied = await applied_versions(connection)
        _check(steps, applied)
        new = [step for step in steps if step.number not in applied]
        for step in new:
            async with connection.transaction():
                await connection.execute(step.text)
                await connection.execute(
                    "INSERT INTO schema_versions (number, name, digest) VALUES ($1, $2, $3)",
                    step.number,
                    step.name,
                    step.digest,
                )
    finally:
        if not connection.is_closed():  # it holds the lock as long as it is open
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    return [step.name for step in new]


async def require_schema(connection: Any) -> None:
    """Refuse a schema that is older or newer than this program's.

    Raises:
        OldSchemaError: it is older, which waiting may help.
        DatabaseError: it is newer, or another one; the text says what to do.
    """
    steps = migrations()
    try:
        applied = await applied_versions(connection)
    except asyncpg.UndefinedTableError:
        applied = {}
    _check(steps, applied)
    if len(applied) < len(steps):
        raise OldSchemaError(
            f"the database has schema {max(applied, default=0)}, this hub needs {steps[-1].number};"
            " run: hub migrate"
        )


async def applied_versions(connection: Any) -> dict[int, str]:
    """Digests of the steps that were applied, by number."""
    rows = await connection.fetch("SELECT number, digest FROM schema_versions")
    return {row["number"]: row["digest"] for row in rows}


async def _require_timescaledb(connection: Any) -> None:
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except asyncpg.PostgresError as error:
        raise DatabaseError(
            f"TimescaleDB is missing in this database ({error}); install"
            " postgresql-17-timescaledb, and preload it (shared_preload_libraries)"
        ) from error


def _check(steps: Sequence[Migration], applied: dict[int, str]) -> None:
    newest = steps[-1].number
    if max(applied, default=0) > newest:
        raise DatabaseError(
            f"the database has schema {max(applied)}, this hub knows {newest}; use the newer hub"
        )
    for step in steps:
        if applied.get(step.number, step.digest) != step.digest:
            raise DatabaseError(
                f"migration {step.name} was applied with another text; restore the file, or the"
                " database from a backup"
            )
