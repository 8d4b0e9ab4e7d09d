"""What a request asks for, read strictly; and the key of a page's last row, as text. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from gridbase.errors import UserError

from hub.archive.rows import Key

MOST_ROWS, USUAL_ROWS = 1000, 100
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?")


class ParameterError(UserError):
    """A parameter that is not allowed; the text says which ones are."""


class Parameters:
    """The parameters of one request.

    Args:
        given: as the client sent them.
        known: names that this path has.

    Raises:
        ParameterError: one is unknown.
    """

    def __init__(self, given: Mapping[str, str], known: Collection[str]) -> None:
        self._given = given
        for name in given:
            if name not in known:
                raise ParameterError(
                    f"{name[:40]} is unknown; known are {', '.join(sorted(known))}"
                )

    def text(self, name: str) -> str | None:
        """Text of at most 64 characters; None where it is not given."""
        value = self._given.get(name)
        if value is not None and not (0 < len(value) <= 64 and value.isprintable()):
            raise ParameterError(f"{name} needs 1 to 64 printable characters")
        return value

    def needed(self, name: str) -> str:
        """Text that must be given."""
        value = self.text(name)
        if value is None:
            raise ParameterError(f"{name} is missing")
        return value

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """One of some words; None where it is not given."""
        value = self._given.get(name)
        if value is not None and value not in choices:
            raise ParameterError(f"{name} = {value[:40]!r} needs {' or '.join(choices)}")
        return value

    def count(self) -> int:
        """`limit`: how many rows."""
        value = self._given.get("limit", str(USUAL_ROWS))
        if not re.fullmatch(r"[0-9]{1,4}", value) or not 1 <= int(value) <= MOST_ROWS:
            raise ParameterError(
                f"limit = {value[:40]!r} needs a whole number from 1 to {MOST_ROWS}"
            )
        return int(value)

    def time(self, name: str, otherwise: datetime) -> datetime:
        """A time of ISO 8601; without a zone it is UTC."""
        value = self._given.get(name)
        if value is None:
            return otherwise
        found = _moment(value)
        if found is None:
            raise ParameterError(
                f"{name} = {value[:40]!r} needs a time such as 2026-01-31T12:00:00Z"
            )
        return found

    def after(self) -> Key | None:
        """`after`: what `next` of the page before was; None for the first page."""
        value = self._given.get("after")
        if value is None:
            return None
        key = _key(value)
        if key is None:
            raise ParameterError("after needs the text that `next` of the page before was")
        return key


def _moment(text: str) -> datetime | None:
    if not _TIME.fullmatch(text):
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _key(text: str) -> Key | None:
    try:
        time, number, name = json.loads(base64.urlsafe_b64decode(text.encode("ascii")))
        key = (datetime.fromisoformat(time).astimezone(UTC), int(number), str(name))
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error):
        return None
    printable = not key[2] or key[2].isprintable()
    return key if 0 <= key[1] < 2**31 and printable else None


def position(key: Key) -> str:
    """The key of a page's last row as `next`."""
    time, number, name = key
    text = json.dumps([time.isoformat(), number, name], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()
