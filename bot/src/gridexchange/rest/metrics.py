"""The practice exchange's metrics: its counters, for Prometheus. Pure.

Labels are bounded: names of requests, streams and events that the exchange itself knows.
"""

from typing import Any

from gridbase.metrics import Kind, Metric, Values, of_process, render

PREFIX = "gridexchange"


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}_{name}_total", Kind.COUNTER, text, labels)


HEALTHY = Metric(f"{PREFIX}_healthy", Kind.GAUGE, "1 where it says that all is well")
OPEN = Metric(f"{PREFIX}_open_connections", Kind.GAUGE, "Open WebSocket connections")
# Each with its group in the counters.
_COUNTED = (
    ("rest", _counter("rest_requests", "Requests over REST", "request")),
    ("socket", _counter("socket_requests", "Requests over the WebSocket API", "request")),
    ("messages", _counter("messages", "Messages sent over WebSockets", "kind")),
    ("orders", _counter("order_events", "What happened to orders", "event")),
    ("connections", _counter("connections", "WebSocket connections opened", "kind")),
    ("upstream", _counter("upstream_requests", "Requests to the exchange it follows", "request")),
    ("faults", _counter("faults", "Faults injected on purpose", "kind")),
)
METRICS = (HEALTHY, OPEN, *(metric for _, metric in _COUNTED), *of_process(PREFIX))


def exposition(counters: dict[str, Any], *, healthy: bool) -> bytes:
    """What `/metrics` says now.

    Args:
        counters: what GET /gridberry/counters answers.
        healthy: whether all is well.
    """
    reading: list[tuple[Metric, Values]] = [
        (HEALTHY, {(): float(healthy)}),
        (OPEN, {(): float(counters["open_connections"])}),
    ]
    for group, metric in _COUNTED:
        numbers = counters.get(group, {})
        reading.append((metric, {(name,): float(number) for name, number in numbers.items()}))
    return render(reading, PREFIX)
