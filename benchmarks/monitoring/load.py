"""The store with 20 simulated Pis for an hour: its memory, and the time of each panel's query.

python -m benchmarks.monitoring load
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.monitoring.world import BOT_METRICS, SERVER, WELL, World, ask, fleet, say

HOUR, STEP = 3600, 15  # seconds
MEMORY_LIMIT = 300 * 10**6  # bytes: MemoryMax of the store's unit
QUERY_LIMIT = 1.0  # seconds
DASHBOARD = Path(__file__).resolve().parents[2] / "roles/monitoring/files/grafana/gridberry.json"
SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# What a bot tells beside what this world's bots do, so that each has as many series as a real one.
MORE = {
    "gridbot_equity": 'symbol="BTC/USDT",coin="USDT"',
    "gridbot_drawdown_ratio": 'symbol="BTC/USDT"',
    "gridbot_price": 'symbol="BTC/USDT",coin="USDT"',
    "gridbot_orders": 'symbol="BTC/USDT",side="buy",state="open"',
    "gridbot_exchange_requests_total": 'outcome="ok"',
}
# What no part of this computer tells: a drive, containers, the programs' own, an alert.
PI = """node_filesystem_avail_bytes{device="/dev/nvme0n1",mountpoint="/mnt/nvme"} 9e11
node_filesystem_size_bytes{device="/dev/nvme0n1",mountpoint="/mnt/nvme"} 1e12
gridberry_drive_wear_percent{drive="nvme0n1"} 3
gridberry_container_memory_bytes{container="bot"} 5.4e7
gridberry_container_memory_limit_bytes{container="bot"} 4e8
"""
PROGRAMS = """process_resident_memory_bytes{instance="store"} 6e7
vm_cache_entries{type="storage/hour_metric_ids"} 6000
ALERTS{alertname="TemperatureHigh",alertstate="firing"} 1
"""
BUCKETS = 20
PATIENCE = 60  # seconds, for the store's index
HISTOGRAMS = ("acknowledgement", "step", "commit")


def bot_text() -> str:
    """Return what a bot tells, with histograms."""
    lines = [f"{name}{{{labels}}} 100" for name, labels in MORE.items()]
    for name in HISTOGRAMS:
        for bucket in range(BUCKETS):
            metric = f"gridbot_{name}_duration_seconds_bucket"
            lines.append(f'{metric}{{symbol="BTC/USDT",le="{2**bucket / 1000}"}} {bucket * 10}')
    return BOT_METRICS % WELL + "\n".join(lines)


def scraped(text: str, job: str) -> Iterator[tuple[dict[str, str], float]]:
    """Yield labels and value of each series of a scrape."""
    for line in text.splitlines():
        found = SAMPLE.match(line)
        if found:
            labels = dict(LABEL.findall(found["labels"] or ""))
            if "host" in labels:  # as a scrape names it that brings a host of its own
                labels["exported_host"] = labels.pop("host")
            yield {"__name__": found["name"], "job": job, **labels}, float(found["value"])


def of_host(
    host: str, series: list[tuple[dict[str, str], float]], times: list[int], drawn: random.Random
) -> bytes:
    """Return an hour of a host's series, as the store imports them: each value wanders."""
    lines = []
    for labels, value in series:
        wide = abs(value) / 1000 or 0.01
        values = [round(value + wide * step * drawn.random(), 6) for step in range(len(times))]
        told = {"metric": {"host": host, **labels}, "values": values, "timestamps": times}
        lines.append(json.dumps(told))
    return "\n".join(lines).encode()


def memory(world: World) -> tuple[int, int]:
    """Return the store's resident memory now, and its highest (bytes)."""
    process = world.running[SERVER, "victoria-metrics"].pid
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status, re.MULTILINE))
    return int(found["VmRSS"]) * 1024, int(found["VmHWM"]) * 1024


def queries() -> list[tuple[str, str]]:
    """Return title and expression of each panel's queries, for all hosts."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [
        (panel["title"], target["expr"].replace("$host", ".*"))
        for panel in panels
        for target in panel.get("targets", [])
    ]


def fill(world: World, hosts: int, seed: int) -> int:
    """Give the store an hour of that many Pis; returns the number of samples."""
    node = f"http://127.0.0.1:{world.pis[SERVER].ports['9100']}/metrics"
    with urllib.request.urlopen(node, timeout=10) as answer:
        told = answer.read().decode()
    series = [*scraped(told, "node"), *scraped(bot_text(), "bot")]
    series += [*scraped(PI, "node"), *scraped(PROGRAMS, "monitoring")]
    series += [({"__name__": "up", "job": job}, 1.0) for job in ("node", "bot")]
    now = int(time.time()) // STEP * STEP
    times = [(now - HOUR + step) * 1000 for step in range(STEP, HOUR + STEP, STEP)]
    drawn = random.Random(seed)  # noqa: S311 -- wandering values, no secret
    url = f"http://127.0.0.1:{world.server_ports['8428']}/api/v1/import"
    for number in range(hosts):
        body = of_host(f"sim{number:02}", series, times, drawn)
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60):
            pass
    indexed(world, hosts * len(series))
    return hosts * len(series) * len(times)


def indexed(world: World, series: int) -> None:
    """Wait until queries find so many series: the store's index follows its samples."""
    found, end = 0, time.monotonic() + PATIENCE
    while found < series:
        if time.monotonic() > end:
            raise SystemExit(f"load: {found} of {series} series after {PATIENCE} s")
        time.sleep(0.5)
        answer = ask(world, "8428", "/api/v1/query", query='count({host=~"sim.*"})')
        found = sum(int(one["value"][1]) for one in answer["data"]["result"])


def main() -> int:
    """Measure; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gridberry-fleet.") as name, fleet(Path(name)) as world:
        for unit in ("victoria-metrics", "vmalert"):
            world.start(world.pis[SERVER], unit)
        world.pis[SERVER].look()
        world.start(world.pis[SERVER], "node-exporter")
        time.sleep(3)
        begun = time.monotonic()
        count = fill(world, asked.hosts, asked.seed)
        say(f"{count} samples of {asked.hosts} Pis in {time.monotonic() - begun:.0f} s")
        slowest, empty = 0.0, []
        window = {"start": str(time.time() - HOUR), "end": str(time.time()), "step": str(STEP)}
        for title, expression in queries():
            begun = time.monotonic()
            found = ask(world, "8428", "/api/v1/query_range", query=expression, **window)
            took = time.monotonic() - begun
            slowest = max(slowest, took)
            rows = len(found["data"]["result"])
            empty += [title] if not rows else []
            say(f"{title:36} {took * 1000:6.0f} ms {rows:4} lines")
        now, highest = memory(world)
    say(f"panels without data: {', '.join(empty) or 'none'}")
    say(
        f"store: {now / 1e6:.0f} MB, at most {highest / 1e6:.0f} MB;"
        f" slowest of {len(queries())} queries {slowest * 1000:.0f} ms"
    )
    return int(bool(empty) or highest >= MEMORY_LIMIT or slowest >= QUERY_LIMIT)
