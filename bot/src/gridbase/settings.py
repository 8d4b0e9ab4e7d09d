"""Reads settings strictly: each value by its reader, and each mistake is one line."""

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gridbase.errors import UserError

Read = Callable[[Any], Any]


class WrongValueError(UserError):
    """A value that is not allowed; the text says which ones are."""


def text(value: Any) -> str:
    """Reads text that is not empty."""
    if not isinstance(value, str) or not value:
        raise WrongValueError("needs text in quotes")
    return value


def switch(value: Any) -> bool:
    """Reads true or false."""
    if not isinstance(value, bool):
        raise WrongValueError("needs true or false, without quotes")
    return value


def integer(low: int, high: int) -> Read:
    """Reader of a whole number within bounds."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            hint = ", without quotes" if isinstance(value, str) else ""
            raise WrongValueError(f"needs a whole number from {low} to {high}{hint}")
        return value

    return read


def choice(*choices: str | int, quote: str = "") -> Read:
    """Reader of one of some values.

    Args:
        choices: the values.
        quote: stands around each of them in the line about a wrong one.
    """

    def read(value: Any) -> Any:
        if not any(isinstance(one, type(value)) and value == one for one in choices):
            raise WrongValueError("needs " + " or ".join(f"{quote}{one}{quote}" for one in choices))
        return value

    return read


def read_each(
    readers: Mapping[str, Read], given: Mapping[str, Any], told: Callable[[str, Any], str]
) -> dict[str, Any]:
    """Settings by name, each by its reader.

    Args:
        readers: by name; there is one for each that is given.
        given: values as TOML has them.
        told: begins the line about a wrong one: its name and value.

    Raises:
        WrongValueError: names the setting, its value and what is allowed.
    """
    values = {}
    for name, value in given.items():
        try:
            values[name] = readers[name](value)
        except WrongValueError as error:
            raise WrongValueError(f"{told(name, value)} {error}") from error
    return values


def known_names(name: str, known: Collection[str]) -> str:
    """What to say beside a name that is unknown: the one it looks like, or the known ones."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    # A setting in the wrong section: `lower` for `grid.lower`.
    close += [one for one in known if one.rpartition(".")[2] == name.rpartition(".")[2]]
    if close:
        return f"did you mean {close[0]}?"
    section = name.rpartition(".")[0]
    return "known are " + ", ".join(one for one in known if one.rpartition(".")[0] == section)
