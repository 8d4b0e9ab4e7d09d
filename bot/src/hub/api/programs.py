"""Programs beside the bots, as the page shows them: recorders and option watchers. Pure.

Each kind has one function that picks from what the program says of itself. What makes no sense
there is a dash on the page, and never an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_DASH = "\N{EN DASH}"
_LONGEST = 300  # characters of a text
_MOST = 50  # lines of one program
_LATE_MS = 5_000
_LAST_MS = 253_402_300_799_000  # of the year 9999
_KILO = 1000
_RESTS = ("watching", "waiting", "closed", "restart")


@dataclass(frozen=True)
class HeardProgram:
    """One program as the hub knows it.

    Attributes:
        name: unique among programs.
        kind: recorder or watcher.
        heard_ms: when it last said something (Unix milliseconds); None: never.
        status: what it said then.
        problem: why it cannot be asked; empty where it can.
    """

    name: str
    kind: str
    heard_ms: int | None = None
    status: Mapping[str, Any] | None = None
    problem: str = ""


@dataclass
class _Told:
    """What a program says of itself, in words.

    Attributes:
        about: what it does now.
        healthy: None where it is not known.
        reasons: why it is not healthy.
        notes: what its owner should look at.
        figures: label, value, and whether its owner should look at it.
    """

    about: str = ""
    healthy: bool | None = None
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: list[tuple[str, str, bool]] = field(default_factory=list)

    def add(self, label: str, value: str, *, worry: bool = False) -> None:
        self.figures.append((label, value, worry))


def program_documents(programs: Iterable[HeardProgram], now_ms: int) -> list[dict[str, Any]]:
    """All programs, as the page shows them.

    Args:
        programs: as they were heard.
        now_ms: Unix milliseconds.
    """
    return [_document(one, now_ms) for one in sorted(programs, key=lambda one: one.name)]


def _document(program: HeardProgram, now_ms: int) -> dict[str, Any]:
    tell, stale_ms = KINDS[program.kind]
    told = _Told() if program.status is None else tell(program.status)
    heard = program.heard_ms
    return {
        "name": program.name,
        "kind": program.kind,
        "heard_ms": heard,
        "stale": heard is None or now_ms - heard > stale_ms,
        "stale_after_ms": stale_ms,
        "problem": program.problem,
        "about": told.about,
        "healthy": told.healthy,
        "reasons": told.reasons[:_MOST],
        "notes": told.notes[:_MOST],
        "figures": [
            {"label": label, "value": value, "worry": worry}
            for label, value, worry in told.figures[:_MOST]
        ],
    }


def _recorder(status: Mapping[str, Any]) -> _Told:
    """What `recorder status` has."""
    healthy = status.get("healthy")
    told = _Told(healthy=healthy if isinstance(healthy, bool) else None)
    told.reasons = _texts(status.get("reasons"))
    exchanges = _items(status.get("exchanges"))
    told.about = ", ".join(
        f"{name} {_count(one.get('symbols'))} symbols" for name, one in exchanges
    )
    for name, one in exchanges:
        silent = ", ".join(_texts(one.get("silent")))
        told.notes += [f"{name}: not connected"] if one.get("connected") is False else []
        told.notes += [f"{name}: silent: {silent}"] if silent else []
        told.notes += [f"{name}: {_text(one['trouble'])}"] if one.get("trouble") else []
    each = [one for _, one in exchanges]
    lag, dropped = max(_numbers(each, "lag_ms"), default=None), sum(_numbers(each, "dropped"))
    told.add("Messages a second", _count(status.get("messages_per_second")))
    told.add("Lag", _milliseconds(lag), worry=lag is not None and lag > _LATE_MS)
    queue = _count(sum(_numbers(each, "queue"))) if each else _DASH
    queue += f", {_count(dropped)} dropped" if dropped else ""
    told.add("Queue", queue, worry=dropped > 0)
    gaps = _gaps(status)
    told.add("Gaps of a day", gaps, worry=gaps not in {"none", _DASH})
    told.add("Files", f"{_count(status.get('files'))}, {_bytes(status.get('bytes'))}")
    told.add("Bytes a row", _count(status.get("bytes_per_row")))
    told.add("Not copied", _bytes(status.get("bytes_uncopied")))
    told.add("Memory", _bytes(status.get("memory_bytes")))
    told.add("Disk free", _bytes(status.get("disk_free_bytes")))
    return told


def _gaps(status: Mapping[str, Any]) -> str:
    kinds = status.get("gaps_last_day")
    counts = {
        _text(kind): number
        for kind, number in (kinds.items() if isinstance(kinds, dict) else ())
        if _number(number)
    }
    if not counts:
        return "none" if isinstance(kinds, dict) else _DASH
    by_kind = ", ".join(f"{kind} {_count(number)}" for kind, number in counts.items())
    return f"{by_kind}; {_count(status.get('gap_seconds_last_day'))} s"


def _watcher(status: Mapping[str, Any]) -> _Told:
    """What the watcher's signal file has."""
    state, reason = _text(status.get("state")), _text(status.get("reason"))
    told = _Told(about="" if reason == _DASH else reason)
    known = isinstance(status.get("state"), str)
    told.healthy = state in _RESTS if known else None
    if told.healthy is False:
        told.about, told.reasons = "", [f"{state}: {reason}" if reason != _DASH else state]
    until = status.get("until_ms")
    told.add("State", state + (f" until {_time(until)}" if _number(until) is not None else ""))
    symbols = _items(status.get("symbols"))
    looked = _numbers([one for _, one in symbols], "time_ms")
    told.add("Last cycle", _time(max(looked, default=None)))
    for name, one in symbols:
        told.add(name, f"{_text(one.get('signal'))} · {_count(one.get('price'))}")
        missing = ", ".join(_texts(one.get("missing")))
        told.notes += [f"{name}: missing: {missing}"] if missing else []
    circuit = status.get("circuit")
    if isinstance(circuit, dict):
        breaker = _text(circuit.get("state"))
        told.add("Circuit breaker", breaker, worry=breaker != "closed")
    return told


# What picks from a status, and after how long without a sign of life it is old: the watcher writes
# its file every ten minutes where nothing changes.
KINDS: Mapping[str, tuple[Callable[[Mapping[str, Any]], _Told], int]] = {
    "recorder": (_recorder, 120_000),
    "watcher": (_watcher, 1_260_000),
}


def _items(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """Those entries of an object that are objects."""
    entries = value.items() if isinstance(value, dict) else ()
    return [(_text(name), one) for name, one in entries if isinstance(one, dict)][:_MOST]


def _text(value: Any) -> str:
    return value[:_LONGEST] if isinstance(value, str) and value else _DASH


def _texts(value: Any) -> list[str]:
    return [_text(str(one)) for one in value][:_MOST] if isinstance(value, list) else []


def _number(value: Any) -> int | float | None:
    """It, where it is a number that can be shown."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and abs(value) < 10**18 else None


def _numbers(each: Iterable[Mapping[str, Any]], name: str) -> list[int | float]:
    found = (_number(one.get(name)) for one in each)
    return [number for number in found if number is not None]


def _count(value: Any) -> str:
    number = _number(value)
    if number is None:
        return _DASH
    return f"{number:,.2f}".rstrip("0").rstrip(".").replace(",", "\u202f")


def _milliseconds(value: Any) -> str:
    number = _number(value)
    if number is None:
        return _DASH
    return f"{number:.0f} ms" if abs(number) < _KILO else f"{_count(round(number / _KILO, 1))} s"


def _bytes(value: Any) -> str:
    number = _number(value)
    if number is None:
        return _DASH
    for unit in ("bytes", "KB", "MB"):
        if abs(number) < _KILO:
            return f"{_count(round(number, 1))} {unit}"
        number /= _KILO
    return f"{_count(round(number, 1))} GB"


def _time(value: Any) -> str:
    number = _number(value)
    if number is None or not 0 <= number <= _LAST_MS:
        return _DASH
    return f"{datetime.fromtimestamp(number / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
