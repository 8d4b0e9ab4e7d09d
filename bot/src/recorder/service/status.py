"""What the recorder tells of itself: for people, for Docker, and as metrics."""

import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from recorder.service.recorder import Recorder

DAY_MS = 86_400_000
AWAY_MS = 90_000
LOW_BYTES = 500_000_000  # less is free: soon nothing can be written
ALERT = 0.9  # of the budget


class Status:
    """Looks at a recorder.

    Args:
        recorder: which runs.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._since = (recorder.clock.monotonic(), 0, 0.0)
        self._away_since: dict[str, int] = {}

    def document(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        recorder = self._recorder
        catalog = recorder.store.catalog
        now_ms = recorder.clock.now_ms()
        files, rows, size = catalog.totals()
        here, uncopied, since = catalog.here()
        gaps = [gap for gap in catalog.gaps() if gap.to_ms >= now_ms - DAY_MS]
        by_kind = Counter(str(gap.stream.kind) for gap in gaps)
        reasons = self.reasons()
        return {
            "healthy": not reasons,
            "reasons": reasons,
            "since_ms": recorder.started_ms,
            "exchanges": {each.exchange: self._exchange(each) for each in recorder.sessions},
            "rows_written": recorder.store.written,
            "messages_per_second": round(self._rate(), 1),
            "files": files,
            "bytes": size,
            "bytes_per_row": round(size / rows, 2) if rows else None,
            "gaps_last_day": dict(by_kind),
            "gap_seconds_last_day": round(sum(gap.to_ms - gap.from_ms for gap in gaps) / 1000, 1),
            "memory_bytes": recorder.resident,
            "disk_free_bytes": self._free(),
            "disk_budget_bytes": recorder.config.budget_bytes,
            "bytes_here": here,
            "bytes_uncopied": uncopied,
            "uncopied_since": since,
        }

    def _exchange(self, session: Any) -> dict[str, Any]:
        symbols = session.symbols.values()
        return {
            "connected": all(group.open for group in session.groups),
            "connections_lost": sum(group.losses for group in session.groups),
            "symbols": len(symbols),
            "messages": session.messages,
            "lag_ms": max((symbol.lag_ms for symbol in symbols), default=0),
            "queue": len(session.inbox),
            "dropped": sum(session.inbox.dropped.values()),
            "senseless": sum(symbol.senseless for symbol in symbols),
            "books": sum(symbol.book.book is not None for symbol in symbols),
            "trades_missed_known_by": "time" if session.unproven else "number",
            "trouble": session.asker.trouble,
            "silent": sorted(session.silent(self._recorder.config.silent_s)),
        }

    def reasons(self) -> list[str]:
        """Why the recorder is not healthy; empty where it is."""
        found = []
        recorder = self._recorder
        now = recorder.clock.now_ms()
        if recorder.clock.monotonic() - recorder.heartbeat > 30:
            found.append("nothing is written")
        if recorder.store.trouble:
            found.append(recorder.store.trouble)
        for session in recorder.sessions:
            if all(group.open for group in session.groups):
                self._away_since.pop(session.exchange, None)
            elif now - self._away_since.setdefault(session.exchange, now) > AWAY_MS:
                found.append(f"{session.exchange}: not connected for more than 90 s")
        if recorder.resident >= recorder.config.warn_bytes:
            found.append(f"memory is {recorder.resident // 10**6} MB")
        return found + self._disk_reasons()

    def _disk_reasons(self) -> list[str]:
        found = []
        config = self._recorder.config
        free = self._free()
        if free < LOW_BYTES:
            found.append(f"the disk has only {free // 10**6} MB free")
        _, uncopied, since = self._recorder.store.catalog.here()
        # Without copies a budget only says how much is kept.
        if config.sync and config.budget_bytes and uncopied > config.budget_bytes * ALERT:
            found.append(
                f"{uncopied // 10**6} MB since {since} are not copied, of a budget of"
                f" {config.budget_bytes // 10**6} MB: the oldest will be lost"
            )
        return found

    def _free(self) -> int:
        return shutil.disk_usage(self._recorder.config.directory).free

    def _rate(self) -> float:
        """Messages a second since the last look, at least a second ago."""
        recorder = self._recorder
        now = recorder.clock.monotonic()
        taken = sum(session.messages for session in recorder.sessions)
        then, before, rate = self._since
        if now - then >= 1:
            rate = (taken - before) / (now - then)
            self._since = now, taken, rate
        return rate


class Metrics:
    """The same as metrics; see `prometheus_client.registry.Collector`.

    Args:
        status: what is told.
    """

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        document = self._status.document()
        for name, help_text in (
            ("files", "Parquet files that count"),
            ("bytes", "Bytes of these files"),
            ("memory_bytes", "Resident memory of the recorder"),
            ("disk_free_bytes", "Free space where data is kept"),
            ("disk_budget_bytes", "Most that data may take; 0 for no bound"),
            ("bytes_here", "Bytes of the files that are on this disk"),
            ("bytes_uncopied", "Bytes of those that are nowhere else"),
            ("gap_seconds_last_day", "Seconds in gaps of the last day, over all streams"),
        ):
            yield GaugeMetricFamily(f"recorder_{name}", help_text, document[name])
        yield GaugeMetricFamily("recorder_healthy", "1 when healthy", int(document["healthy"]))
        yield CounterMetricFamily(
            "recorder_rows_written", "Rows on the disk", document["rows_written"]
        )
        gaps = GaugeMetricFamily("recorder_gaps_last_day", "Gaps of the last day", labels=["kind"])
        for kind, number in document["gaps_last_day"].items():
            gaps.add_metric([kind], number)
        yield gaps
        for name, counts, help_text in (
            ("messages", True, "Messages taken"),
            ("dropped", True, "Messages that did not fit into the queue"),
            ("senseless", True, "Messages that made no sense"),
            ("connections_lost", True, "Connections that were lost"),
            ("queue", False, "Messages that wait"),
            ("lag_ms", False, "How late the latest message was, by the exchange's clock"),
            ("connected", False, "1 when connected"),
            ("books", False, "Symbols whose book is complete"),
        ):
            family = (CounterMetricFamily if counts else GaugeMetricFamily)(
                f"recorder_{name}", help_text, labels=["exchange"]
            )
            for exchange, values in document["exchanges"].items():
                family.add_metric([exchange], float(values[name]))
            yield family
