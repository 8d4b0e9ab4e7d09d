"""Where files are, below the data directory. Pure."""

import re
from datetime import UTC, datetime
from pathlib import Path

from gridbase.errors import UserError

from recorder.core.rows import Stream

ACTIVE, READY, MANIFEST, CATALOG = "active", "ready", "manifest", "catalog.sqlite3"
HOUR_MS = 3_600_000
DAY = "day"  # stands for the hour in the name of a compacted file
# A letter or digit first, and no separator: no name climbs out of its directory or hides in it.
NAME = re.compile(r"[^\W_][\w.-]{0,39}")


def checked_name(what: str, name: str) -> str:
    """A name that may be part of a path.

    Args:
        what: the setting, for the error.
        name: its value.

    Raises:
        UserError: it may not.
    """
    if not NAME.fullmatch(name) or ".." in name:
        raise UserError(
            f"{what} = {name!r} needs letters, digits, dots, dashes and underscores, at most 40,"
            " a letter or digit first"
        )
    return name


def date_of(time_ms: int) -> str:
    """The day (UTC) of a time, such as 2026-01-31."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).date().isoformat()


def directory_of(stream: Stream, date: str) -> Path:
    """Where a stream's files of a day are, below `ready`."""
    exchange = checked_name("exchange", stream.exchange)
    symbol = checked_name("symbol", stream.symbol)
    return (
        Path(f"exchange={exchange}") / f"kind={stream.kind}" / f"symbol={symbol}" / f"date={date}"
    )


def file_name(hour: str, first: int, last: int, copy: int = 0) -> str:
    """A file's name: its hour or `day`, and the numbers of its first and last row."""
    return f"{hour}-{first}-{last}{f'-{copy}' if copy else ''}.parquet"


def hour_of(time_ms: int) -> tuple[str, str]:
    """Day and hour (UTC) of a time, such as ("2026-01-31", "09")."""
    return date_of(time_ms), f"{time_ms // HOUR_MS % 24:02d}"
