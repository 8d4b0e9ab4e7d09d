"""Reads the section `[faults]` of the exchange's settings, each value checked strictly."""

from collections.abc import Mapping
from typing import Any

from gridbase.settings import (
    Read,
    WrongValueError,
    choice,
    integer,
    known_names,
    read_each,
    switch,
    text,
)

from gridexchange.faults.plan import (
    BAN,
    CLOCK_SKEW,
    DELAY,
    ERROR_AFTER,
    ERROR_BEFORE,
    EXCHANGE_CANCEL,
    HANG,
    KINDS,
    LATE_EVENT,
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
SHOWN = 60  # characters of a value, in the line about it


def _number(low: float, high: float) -> Read:
    def read(value: Any) -> float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            raise WrongValueError(f"needs a number from {low:g} to {high:g}")
        return float(value)

    return read


_SECONDS: dict[str, Read] = {"seconds": _number(0, LONGEST_S)}
# How the arguments of each kind are read; kinds that are not here have none.
ARGUMENTS: dict[str, dict[str, Read]] = {
    MAINTENANCE: _SECONDS,
    ERROR_BEFORE: {"status": choice(500, 502, 503, 504)},
    ERROR_AFTER: {"status": choice(500, 502, 503, 504)},
    RATE_LIMIT: _SECONDS,
    BAN: _SECONDS,
    REJECT: {"code": choice(-2010, -1013)},
    CLOCK_SKEW: {"ms": integer(-86_400_000, 86_400_000)},
    DELAY: _SECONDS | {"answer": switch},
    LATE_EVENT: _SECONDS,
    HANG: _SECONDS | {"acts": switch},
    PARTIAL_FILL: {"parts": integer(2, 1000)},
    EXCHANGE_CANCEL: {"status": choice(EXPIRED, CANCELED, EXPIRED_IN_MATCH)},
}
WHERE_AND_WHEN: dict[str, Read] = {
    "probability": _number(0, 1),
    "at_request": integer(1, 2**53),
    "at_s": _number(0, 2**31),
    "count": integer(1, 2**53),
    "channel": choice(REST, SOCKET),
    "method": text,
    "path": text,
    "event": text,
}


def read_faults(value: object) -> FaultSettings:
    """The settings that the section holds.

    Args:
        value: the section as TOML gives it.

    Raises:
        WrongValueError: one line that says what is wrong and what is allowed.
    """
    if not isinstance(value, Mapping):
        raise WrongValueError("needs a table with seed and rules")
    for name in value:
        if name not in ("seed", "rules"):
            raise WrongValueError(f"unknown setting {name}; known are seed, rules")
    given = {"seed": value["seed"]} if "seed" in value else {}
    seed = read_each({"seed": integer(0, 2**63 - 1)}, given, told)
    rules = value.get("rules", [])
    if not isinstance(rules, list) or not all(isinstance(rule, Mapping) for rule in rules):
        raise WrongValueError("rules: needs tables, such as [[faults.rules]]")
    read = [_rule(rule, f"rule {number}:") for number, rule in enumerate(rules, start=1)]
    return FaultSettings(rules=tuple(read), **seed)


def told(name: str, value: object) -> str:
    """A setting as the line about it begins: with its value, cut to a readable length."""
    shown = " ".join((repr(value) if isinstance(value, str) else str(value)).split())
    return f"{name} = {shown if len(shown) <= SHOWN else shown[:SHOWN] + '...'}:"


def _rule(values: Mapping[str, object], where: str) -> FaultRule:
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        hint = known_names(str(kind), KINDS)
        raise WrongValueError(f"{where} kind = {kind!r}: there is no such fault; {hint}")
    own = ARGUMENTS.get(kind, {})
    readers = WHERE_AND_WHEN | own
    given = {name: value for name, value in values.items() if name != "kind"}
    for name in given:
        if name not in readers:
            raise WrongValueError(f"{where} {kind} takes no {name}; it takes {', '.join(readers)}")
    read = read_each(readers, given, lambda name, value: f"{where} {told(name, value)}")
    arguments = {name: read.pop(name) for name in own if name in read}
    return FaultRule(kind, arguments=arguments, **read)
