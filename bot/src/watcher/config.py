"""Settings of the watcher: a TOML file, each value checked strictly."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from gridbase.errors import UserError
from gridbase.settings import (
    WrongValueError,
    absolute_path,
    integer,
    matching,
    read_table,
    read_toml,
)

MOST_SYMBOLS = 10  # with more, a cycle could last longer than the time between two


def _gateway(value: Any) -> tuple[str, int]:
    if isinstance(value, str) and value.startswith("/"):
        return value, 0
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    right = re.fullmatch(r"[A-Za-z0-9.-]{1,253}|\[[0-9a-f:]+\]", host, re.ASCII)
    if not right or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or not 0 < int(port) < 65536:
        raise WrongValueError("needs host and port, such as 127.0.0.1:4002, or a path from / on")
    return host.strip("[]"), int(port)


def _symbols(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else []
    right = all(isinstance(name, str) and re.fullmatch(r"[A-Z]{1,8}", name) for name in names)
    if not right or not 0 < len(names) <= MOST_SYMBOLS or len(set(names)) != len(names):
        raise WrongValueError(f'needs 1 to {MOST_SYMBOLS} different names, such as ["SPY", "QQQ"]')
    return tuple(names)


def _minute(value: Any) -> int:
    given = value if isinstance(value, str) else ""
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", given, re.ASCII):
        raise WrongValueError('needs a time of the day (UTC) such as "04:45"')
    return int(given[:2]) * 60 + int(given[3:])


_currency = matching(r"[A-Z]{3}", "three capitals, such as USD")
_path = absolute_path("an absolute path, such as /var/lib/watcher")


@dataclass(frozen=True)
class Config:
    """Everything that the watcher can be told.

    Attributes:
        gateway: host and port of the Gateway's API, or the path of a socket to it, and 0.
        symbols: stocks whose options are watched.
        directory: of data and the signal file.
        currency: of all prices.
        client_id: the first of ten client IDs; the next one is taken where one is in use.
        restart: minute of the day (UTC) of the Gateway's nightly restart; None: it has none.
        pacing_directory: where all on this Gateway count their requests; None: `directory`.
        cycle_seconds: from the beginning of a cycle to that of the next one.
        strikes: how many around the money.
        expiry_days: options are of the first expiry that is so far away, or farther.
        metrics_file: its metrics in Prometheus' text format; None writes none.
        timeout_seconds: of each answer but a snapshot's, which takes 11 s at the Gateway.
    """

    gateway: Annotated[tuple[str, int], _gateway]
    symbols: Annotated[tuple[str, ...], _symbols]
    directory: Annotated[Path, _path]
    currency: Annotated[str, _currency] = "USD"
    client_id: Annotated[int, integer(1, 999_990)] = 900
    restart: Annotated[int | None, _minute] = None
    pacing_directory: Annotated[Path | None, _path] = None
    cycle_seconds: Annotated[int, integer(300, 86_400)] = 300
    strikes: Annotated[int, integer(3, 5)] = 5
    expiry_days: Annotated[int, integer(0, 60)] = 7
    timeout_seconds: Annotated[int, integer(1, 60)] = 5
    metrics_file: Annotated[Path | None, _path] = None

    @property
    def counts(self) -> Path:
        """The directory in which requests are counted."""
        return self.pacing_directory or self.directory


def load_config(path: Path) -> Config:
    """Read the settings.

    Args:
        path: the TOML file.

    Raises:
        UserError: one line that names the file, the setting, its value and what is allowed.
    """
    document = read_toml(path, wrong="is no TOML")
    try:
        return read_table(Config, document)
    except WrongValueError as error:
        raise UserError(f"{path}: {error}") from error
