"""The hub's configuration: one TOML file for all of its commands, read strictly.

Every mistake is one line that names the setting, its value and what is allowed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from gridbase.errors import UserError
from gridbase.settings import (
    WrongValueError,
    any_path,
    choice,
    declared,
    integer,
    known_names,
    needed_of,
    read_each,
    text,
)

from hub.database import Address


def _url(value: Any) -> str:
    url = text(value)
    if not url.startswith(("http://", "https://")):
        raise WrongValueError("needs to begin with http:// or https://")
    return url


@dataclass(frozen=True)
class Bot:
    """One bot whose books are collected.

    Attributes:
        name: unique in the fleet.
        mode: paper or live.
        exchange: its name.
        account: bots with the same one share its balances.
        state: the bot's state directory.
        status_url: of its /api/status; None where it has no page.
    """

    name: Annotated[str, text]
    mode: Annotated[str, choice("paper", "live", quote='"')]
    exchange: Annotated[str, text]
    account: Annotated[str, text]
    state: Annotated[Path, any_path]
    status_url: Annotated[str | None, _url] = None


@dataclass(frozen=True)
class Collector:
    """How the collector works.

    Attributes:
        seconds: between two looks at the books.
        status_file: its state as JSON.
        metrics_file: its metrics in Prometheus' text format; None writes none.
        watcher_directory: of an option watcher, whose files are copied, too; None: there is none.
    """

    seconds: Annotated[int, integer(1, 3600)]
    status_file: Annotated[Path, any_path]
    metrics_file: Annotated[Path | None, any_path] = None
    watcher_directory: Annotated[Path | None, any_path] = None


@dataclass(frozen=True)
class Archive:
    """Where old chunks go.

    Attributes:
        place: a directory, or ``s3://bucket/prefix``.
        after_days: what is older is archived.
        endpoint: of an S3 server that is not Amazon's; None for that.
        region: of the bucket.
        key_file: access key of S3; None where none is needed.
        secret_file: its secret.
    """

    place: Annotated[str, text]
    after_days: Annotated[int, integer(7, 36500)] = 90
    endpoint: Annotated[str | None, _url] = None
    region: Annotated[str, text] = "us-east-1"
    key_file: Annotated[Path | None, any_path] = None
    secret_file: Annotated[Path | None, any_path] = None


@dataclass(frozen=True)
class Keeper:
    """How `hub keep` works.

    Attributes:
        status_file: its state as JSON; None writes none.
    """

    status_file: Annotated[Path | None, any_path] = None


@dataclass(frozen=True)
class Live:
    """A bot that the hub asks itself: its name, the URL of its /api/status, and its token."""

    name: Annotated[str, text]
    url: Annotated[str, _url]
    token_file: Annotated[Path | None, any_path] = None


@dataclass(frozen=True)
class Program:
    """A program beside the bots that the page shows.

    Attributes:
        name: unique among programs.
        kind: recorder or watcher.
        url: where it tells its status; None where it writes a file.
        file: which it writes; None where it has a URL.
        token_file: what it wants to be shown; None for nothing.
    """

    name: Annotated[str, text]
    kind: Annotated[str, choice("recorder", "watcher", quote='"')]
    url: Annotated[str | None, _url] = None
    file: Annotated[Path | None, any_path] = None
    token_file: Annotated[Path | None, any_path] = None


@dataclass(frozen=True)
class Server:
    """The API and the page.

    Attributes:
        host: address to listen on.
        port: of it.
        tokens_file: who may read; None: everybody, which is for loopback alone.
        connections: most connections to the database.
        live: bots that are asked directly.
        programs: what else is shown, and is asked directly.
    """

    host: Annotated[str, text] = "127.0.0.1"
    port: Annotated[int, integer(1, 65535)] = 8090
    tokens_file: Annotated[Path | None, any_path] = None
    connections: Annotated[int, integer(1, 30)] = 5
    live: tuple[Live, ...] = ()
    programs: tuple[Program, ...] = ()


@dataclass(frozen=True)
class Config:
    """Everything; a part is None where its section is missing."""

    database: Address | None
    bot: Bot | None
    collector: Collector | None
    keeper: Keeper | None
    archive: Archive | None
    server: Server | None

    def need(self, name: str) -> Any:
        """A part that a command cannot do without.

        Raises:
            UserError: its section is missing.
        """
        part = getattr(self, name)
        if part is None:
            raise UserError(f"[{name}] is missing: this command needs that section")
        return part


_SECTIONS: Mapping[str, Any] = {
    "database": Address,
    "bot": Bot,
    "collector": Collector,
    "keeper": Keeper,
    "archive": Archive,
}
# Of fields that stand before one that has none.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "database": {"port": 5432, "database": "gridberry"},
    "collector": {"seconds": 5},
}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def load(path: Path) -> Config:
    """Read a file.

    Raises:
        UserError: it cannot be read, or something in it is not allowed.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path}: {error}") from error
    known = [*_SECTIONS, "server"]
    for name in document:
        if name not in known:
            raise UserError(f"[{name}] is unknown: {known_names(name, known)}")
    parts: dict[str, Any] = dict.fromkeys(known)
    for name, kind in _SECTIONS.items():
        if name in document:
            parts[name] = _read(name, kind, document[name])
    if "server" in document:
        parts["server"] = _server(document["server"])
    _check(parts)
    return Config(**parts)


def _read(name: str, kind: Any, given: Any) -> Any:
    if not isinstance(given, dict):
        raise UserError(f"{name} needs to be a section: [{name}]")
    readers = {setting: said[0] for setting, said in declared(kind).items()}
    for setting in given:
        if setting not in readers:
            hint = known_names(f"{name}.{setting}", [f"{name}.{one}" for one in readers])
            raise UserError(f"{name}.{setting} is unknown: {hint}")
    values = _DEFAULTS.get(name, {}) | read_each(
        readers, given, lambda setting, value: f"{name}.{setting} = {value!r}"
    )
    for setting in needed_of(kind):
        if setting not in values:
            raise UserError(f"{name}.{setting} is missing")
    return kind(**values)


def _server(given: Any) -> Server:
    given = dict(given) if isinstance(given, dict) else given
    live = _tables("server.live", Live, given)
    programs = _tables("server.programs", Program, given)
    for program in programs:
        if (program.url is None) == (program.file is None):
            raise UserError(
                f"server.programs.name = {program.name!r} needs either url, where it tells its"
                " status, or file, which it writes"
            )
    server: Server = _read("server", Server, given)
    return replace(server, live=tuple(live), programs=tuple(programs))


def _tables(where: str, kind: Any, given: Any) -> list[Any]:
    """The tables [[server.NAME]], which are taken out of the section; each with its own name."""
    part = given.pop(where.partition(".")[2], []) if isinstance(given, dict) else []
    if not isinstance(part, list):
        raise UserError(f"{where} needs to be a list of sections: [[{where}]]")
    tables = [_read(where, kind, one) for one in part]
    names = [one.name for one in tables]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{where}.name = {name!r} stands twice; give each its own")
    return tables


def _check(parts: Mapping[str, Any]) -> None:
    database, server, archive = parts["database"], parts["server"], parts["archive"]
    if database is not None and database.ca_file is None:
        local = database.host in _LOOPBACK or database.host.startswith("/")
        if not local:
            raise UserError(
                f"database.host = {database.host!r} is another machine: database.ca_file needs the"
                " certificate of the authority that signed the server's"
            )
    if server is not None and server.tokens_file is None and server.host not in _LOOPBACK:
        raise UserError(
            f"server.host = {server.host!r} can be reached from elsewhere, and the figures tell"
            " what somebody owns: server.tokens_file needs a file (hub tokens create)"
        )
    if archive is not None and (archive.key_file is None) != (archive.secret_file is None):
        raise UserError("archive.key_file and archive.secret_file need each other")
