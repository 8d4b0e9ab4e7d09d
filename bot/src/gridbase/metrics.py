"""Metrics in Prometheus' text format: how they are declared, measured and served.

prometheus-client writes the text. It is imported with the first scrape: a program that nobody
scrapes pays nothing for it.
"""

from __future__ import annotations

import hmac
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import Metric as Family

PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4"
_FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED")


class Kind(StrEnum):
    """What may be done with a metric's numbers."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Metric:
    """One metric, as it is documented and served.

    Attributes:
        name: with the program's prefix, and the unit or ``_total`` at its end.
        kind: gauge, counter or histogram.
        help: one line for people.
        labels: names of what tells its series apart.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


class Durations:
    """How long something took, counted in buckets. Written by one thread, read by any.

    Args:
        bounds: upper bounds of the buckets (seconds), ascending.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    @property
    def total(self) -> tuple[int, float]:
        """How many there were, and how long they took together (seconds)."""
        return sum(self._counts), self._sum

    def buckets(self) -> list[tuple[str, float]]:
        """Bounds as text and how many did not take longer; the last bound is ``+Inf``."""
        found, count = [], 0
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for name, number in zip(names, list(self._counts), strict=True):
            count += number
            found.append((name, float(count)))
        return found


Values = Mapping[tuple[str, ...], "float | Durations"]  # by the values of the labels
Reading = Iterable[tuple[Metric, Values]]


class _Collector:
    """What prometheus-client asks for a reading."""

    def __init__(self, reading: Reading, prefix: str) -> None:
        self._reading = reading
        self._prefix = prefix

    def collect(self) -> Iterator[Family]:
        from prometheus_client import ProcessCollector
        from prometheus_client.metrics_core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        families = {Kind.GAUGE: GaugeMetricFamily, Kind.COUNTER: CounterMetricFamily}
        for metric, values in self._reading:
            if metric.kind is Kind.HISTOGRAM:
                family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
                for labels, durations in values.items():
                    if not isinstance(durations, Durations):
                        raise TypeError(f"{metric.name} needs durations")
                    family.add_metric(labels, durations.buckets(), durations.total[1])
                yield family
                continue
            plain = families[metric.kind](metric.name, metric.help, labels=metric.labels)
            for labels, value in values.items():
                plain.add_metric(labels, value)
            yield plain
        yield from ProcessCollector(namespace=self._prefix, registry=None).collect()


def render(reading: Reading, prefix: str) -> bytes:
    """A reading in Prometheus' text format, with the figures of this process.

    Args:
        reading: metrics and their values.
        prefix: of the program, such as ``gridbot``.
    """
    from prometheus_client import generate_latest

    return generate_latest(_Collector(reading, prefix))


def of_process(prefix: str) -> tuple[Metric, ...]:
    """What `render` adds: this process as the kernel sees it, in the words of prometheus-client."""
    name = f"{prefix}_process"
    return (
        Metric(f"{name}_resident_memory_bytes", Kind.GAUGE, "Resident memory size in bytes."),
        Metric(f"{name}_virtual_memory_bytes", Kind.GAUGE, "Virtual memory size in bytes."),
        Metric(
            f"{name}_cpu_seconds_total",
            Kind.COUNTER,
            "Total user and system CPU time spent in seconds.",
        ),
        Metric(
            f"{name}_start_time_seconds",
            Kind.GAUGE,
            "Start time of the process since unix epoch in seconds.",
        ),
        Metric(f"{name}_open_fds", Kind.GAUGE, "Number of open file descriptors."),
        Metric(f"{name}_max_fds", Kind.GAUGE, "Maximum number of open file descriptors."),
    )


def table(metrics: Iterable[Metric]) -> str:
    """The metrics as a table in Markdown."""
    rows = ["| metric | kind | labels | what it is |", "| --- | --- | --- | --- |"]
    for one in metrics:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        rows.append(f"| `{one.name}` | {one.kind} | {labels} | {one.help} |")
    return "\n".join(rows) + "\n"


def is_loopback(host: str) -> bool:
    """Whether who listens on, or asks from, an address is on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Access:
    """Who may read: the figures tell what somebody owns.

    With a token, whoever presents it. Without one, only this machine, and only where the program
    listens on nothing but loopback. Inside a container it never does: there a request from the
    host and one from the network look alike, both come from Docker's gateway.

    Args:
        token: the secret; None where there is none.
        host: address that the program listens on.
    """

    def __init__(self, token: str | None, host: str) -> None:
        self._token = token
        self._near = is_loopback(host)

    def refusal(self, environ: Mapping[str, Any]) -> str:
        """The status that refuses a request; empty where it may be answered.

        Args:
            environ: of WSGI.
        """
        if self._token is not None:
            kind, _, given = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
            same = hmac.compare_digest(given.strip().encode(), self._token.encode())
            return "" if same and kind.lower() == "bearer" else "401 Unauthorized"
        asker = str(environ.get("REMOTE_ADDR", ""))
        # Through a proxy on this machine everybody seems to be near.
        near = self._near and is_loopback(asker) and not any(map(environ.get, _FORWARDED))
        return "" if near else "403 Forbidden"


@dataclass(frozen=True)
class Answer:
    """An answer of HTTP: status line, type, body and further headers."""

    status: str
    kind: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class MetricsPage:
    """Answers requests for ``/metrics``.

    Args:
        read: makes the text.
        access: who may have it.
    """

    def __init__(self, read: Callable[[], bytes], access: Access) -> None:
        self._read = read
        self._access = access

    def answer(self, environ: Mapping[str, Any]) -> Answer:
        """Answer one request (WSGI's environment)."""
        refusal = self._access.refusal(environ)
        if not refusal:
            return Answer("200 OK", CONTENT_TYPE, self._read())
        if refusal.startswith("401"):
            challenge = ("WWW-Authenticate", 'Bearer realm="metrics"')
            return Answer(refusal, "text/plain", b"metrics need the bearer token\n", (challenge,))
        why = b"metrics need a token: set metrics.token_file (docs/metrics.md)\n"
        return Answer(refusal, "text/plain", why)
