"""Reads settings strictly: each value by its reader, and each mistake is one line."""

import difflib
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from gridbase.errors import UserError

Read = Callable[[Any], Any]
_Table = TypeVar("_Table")


class WrongValueError(UserError):
    """A value that is not allowed; the text says which ones are."""


def text(value: Any) -> str:
    """Reads text that is not empty."""
    if not isinstance(value, str) or not value:
        raise WrongValueError("needs text in quotes")
    return value


def matching(pattern: str | re.Pattern[str], needed: str) -> Read:
    """Reader of text that a pattern matches as a whole; `needed` says what is allowed."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise WrongValueError(f"needs {needed}")
        return value

    return read


def any_path(value: Any) -> Path:
    """Reads a path."""
    return Path(text(value))


def absolute_path(needed: str) -> Read:
    """Reader of a path that begins at the root; `needed` says what is allowed."""

    def read(value: Any) -> Path:
        path = any_path(value)
        if not path.is_absolute():
            raise WrongValueError(f"needs {needed}")
        return path

    return read


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


def declared(kind: type) -> dict[str, tuple[Any, ...]]:
    """What stands beside the types of a dataclass's fields in ``Annotated``: first its reader."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: one.__metadata__ for name, one in hints.items() if hasattr(one, "__metadata__")}


def read_table(
    kind: type[_Table], given: Mapping[str, Any], where: str = "", **more: Any
) -> _Table:
    """What a table declares: a dataclass whose fields name their readers.

    Args:
        kind: the dataclass; a field without a default has to be in the table.
        given: values as TOML has them.
        where: begins each line about a mistake: the file or the table.
        more: fields that are no settings.

    Raises:
        WrongValueError: a name is unknown or missing, or a value is not allowed.
    """
    readers = {name: said[0] for name, said in declared(kind).items()}
    return kind(**read_values(readers, given, where, needed_of(kind)), **more)


def needed_of(kind: Any) -> list[str]:
    """Fields of a dataclass that name a reader, and have no default."""
    return [
        one.name for one in fields(kind) if one.default is MISSING and one.name in declared(kind)
    ]


def read_values(
    readers: Mapping[str, Read], given: Mapping[str, Any], where: str, needed: Collection[str]
) -> dict[str, Any]:
    """Settings of one table by name.

    Args:
        readers: of all settings that the table may have, by name.
        given: values as TOML has them.
        where: begins each line about a mistake: the file or the table.
        needed: names that must not be missing.

    Raises:
        WrongValueError: a name is unknown or missing, or a value is not allowed.
    """
    for name in given:
        if name not in readers:
            raise WrongValueError(f"{where}unknown setting {name}; {known_names(name, readers)}")
    for name in needed:
        if name not in given:
            raise WrongValueError(f"{where}{name} is missing")
    return read_each(readers, given, lambda name, value: f"{where}{name} = {value!r}:")


def read_toml(path: Path, wrong: str = "is not TOML") -> dict[str, Any]:
    """The document in a file.

    Args:
        path: the file.
        wrong: what to say of one that is not TOML.

    Raises:
        UserError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {wrong}: {error}") from error


def known_names(name: str, known: Collection[str]) -> str:
    """What to say beside a name that is unknown: the one it looks like, or the known ones."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    # A setting in the wrong section: `lower` for `grid.lower`.
    close += [one for one in known if one.rpartition(".")[2] == name.rpartition(".")[2]]
    if close:
        return f"did you mean {close[0]}?"
    section = name.rpartition(".")[0]
    return "known are " + ", ".join(one for one in known if one.rpartition(".")[0] == section)
