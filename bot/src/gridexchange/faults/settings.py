"""Reads the section `[faults]` of the exchange's settings, each value checked strictly."""

import difflib
from collections.abc import Callable, Mapping

from gridexchange.faults.plan import (
    BAN,
    CLOCK_SKEW,
    DELAY,
    ERROR_AFTER,
    ERROR_BEFORE,
    EXCHANGE_CANCEL,
    HANG,
    KINDS,
    MAINTENANCE,
    PARTIAL_FILL,
    RATE_LIMIT,
    REJECT,
    REST,
    SOCKET,
    FaultRule,
    FaultSettings,
)
from gridexchange.matching.orders import CANCELED, EXPIRED, EXPIRED_IN_MATCH

LONGEST_S = 86_400
Value = int | float | str | bool


class WrongFault(ValueError):  # noqa: N818  what would do instead; the settings' reader names where
    """A value that will not do."""


def _number(low: float, high: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WrongFault(f"needs a number from {low:g} to {high:g}")
        if not low <= value <= high:
            raise WrongFault(f"needs a number from {low:g} to {high:g}")
        return float(value)

    return read


def _whole(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise WrongFault(f"needs a whole number from {low} to {high}")
        return value

    return read


def _one_of(*choices: Value) -> Callable[[object], Value]:
    def read(value: object) -> Value:
        for choice in choices:
            if type(value) is type(choice) and value == choice:
                return choice
        raise WrongFault(f"needs {' or '.join(map(str, choices))}")

    return read


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise WrongFault("needs true or false")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise WrongFault("needs text")
    return value


_SECONDS = {"seconds": _number(0, LONGEST_S)}
# How the arguments of each kind are read; kinds that are not here have none.
ARGUMENTS: dict[str, Mapping[str, Callable[[object], Value]]] = {
    MAINTENANCE: _SECONDS,
    ERROR_BEFORE: {"status": _one_of(500, 502, 503, 504)},
    ERROR_AFTER: {"status": _one_of(500, 502, 503, 504)},
    RATE_LIMIT: _SECONDS,
    BAN: _SECONDS,
    REJECT: {"code": _one_of(-2010, -1013)},
    CLOCK_SKEW: {"ms": _whole(-86_400_000, 86_400_000)},
    DELAY: _SECONDS | {"answer": _flag},
    HANG: _SECONDS | {"acts": _flag},
    PARTIAL_FILL: {"parts": _whole(2, 1000)},
    EXCHANGE_CANCEL: {"status": _one_of(EXPIRED, CANCELED, EXPIRED_IN_MATCH)},
}
WHERE_AND_WHEN: dict[str, Callable[[object], object]] = {
    "probability": _number(0, 1),
    "at_request": _whole(1, 2**53),
    "at_s": _number(0, 2**31),
    "count": _whole(1, 2**53),
    "channel": _one_of(REST, SOCKET),
    "method": _text,
    "path": _text,
    "event": _text,
}


def read_faults(value: object) -> FaultSettings:
    """The settings that the section holds.

    Args:
        value: the section as TOML gives it.

    Raises:
        WrongFault: one line that says what is wrong and what would do.
    """
    if not isinstance(value, Mapping):
        raise WrongFault("needs a table with seed and rules")
    for name in value:
        if name not in ("seed", "rules"):
            raise WrongFault(f"unknown setting {name}; known are seed, rules")
    try:
        seed = _whole(0, 2**63 - 1)(value.get("seed", 0))
    except WrongFault as error:
        raise WrongFault(f"seed = {value['seed']}: {error}") from error
    rules = value.get("rules", [])
    if not isinstance(rules, list) or not all(isinstance(rule, Mapping) for rule in rules):
        raise WrongFault("rules: needs tables, such as [[faults.rules]]")
    return FaultSettings(
        seed, tuple(_rule(rule, number) for number, rule in enumerate(rules, start=1))
    )


def _rule(values: Mapping[str, object], number: int) -> FaultRule:
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        close = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(KINDS)}"
        raise WrongFault(f"rule {number}: kind = {kind!r}: there is no such fault; {hint}")
    readers = {**WHERE_AND_WHEN, **ARGUMENTS.get(kind, {})}
    read: dict[str, object] = {}
    for name, value in values.items():
        if name == "kind":
            continue
        if name not in readers:
            raise WrongFault(
                f"rule {number}: {kind} takes no {name}; it takes {', '.join(readers)}"
            )
        try:
            read[name] = readers[name](value)
        except WrongFault as error:
            raise WrongFault(f"rule {number}: {name} = {value!r}: {error}") from error
    arguments = {name: read.pop(name) for name in ARGUMENTS.get(kind, {}) if name in read}
    return FaultRule(kind, arguments=arguments, **read)  # type: ignore[arg-type]  # read above
