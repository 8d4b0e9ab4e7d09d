"""The watcher's metrics, for node exporter's textfile collector. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from gridbase.circuit_breaker import Circuit, State
from gridbase.metrics import Kind, Metric, Values, of_process, render

PREFIX = "watcher"


def _metric(name: str, kind: Kind, text: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}_{name}", kind, text, labels)


STATE = _metric("state", Kind.GAUGE, "1 for the state that the watcher is in", "state")
BREAKER = _metric(
    "circuit_breaker_state", Kind.GAUGE, "1 for the state that the breaker is in", "state"
)
FAILURES = _metric("circuit_breaker_failures", Kind.GAUGE, "Failures in a row")
CHANGES = _metric(
    "circuit_breaker_changes_total", Kind.COUNTER, "How often it opened or closed", "to"
)
CYCLES = _metric("cycles_total", Kind.COUNTER, "Cycles that were kept")
SEEN = _metric("look_time_seconds", Kind.GAUGE, "When a stock was last seen (Unix time)", "symbol")
OPTIONS = _metric("options", Kind.GAUGE, "Options in the latest cycle", "symbol")
MISSING = _metric("missing", Kind.GAUGE, "What the latest cycle could not have", "symbol")
METRICS = (
    *(STATE, BREAKER, FAILURES, CHANGES, CYCLES, SEEN, OPTIONS, MISSING),
    *of_process(PREFIX),
)


def exposition(
    document: Mapping[str, Any], states: Iterable[str], circuit: Circuit, cycles: int
) -> bytes:
    """What Prometheus is told.

    Args:
        document: the signal file.
        states: that the watcher can be in.
        circuit: the breaker.
        cycles: how many were kept.
    """
    symbols = document["symbols"].items()
    reading: list[tuple[Metric, Values]] = [
        (STATE, {(one,): float(one == document["state"]) for one in states}),
        (BREAKER, {(one,): float(one is circuit.state) for one in State}),
        (FAILURES, {(): float(circuit.failures)}),
        (CHANGES, {(to,): float(count) for to, count in circuit.changes.items()}),
        (CYCLES, {(): float(cycles)}),
        (SEEN, {(name,): said["time_ms"] / 1000 for name, said in symbols}),
        (OPTIONS, {(name,): float(len(said["options"])) for name, said in symbols}),
        (MISSING, {(name,): float(len(said["missing"])) for name, said in symbols}),
    ]
    return render(reading, PREFIX)
