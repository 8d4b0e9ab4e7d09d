"""What an answer of the bot's API costs: processor time of the bot, and how long it takes.

    python bot/benchmarks/api_cost.py [--requests N] [--json]

The real bot and the real exchange, in processes of their own over loopback: a grid that fills
orders all the time, so that most answers are made anew. Each address is asked N times, one request
after the other; what the bot takes in as much time without a request is subtracted. Processor time
does not depend on what else the machine does; how long an answer takes does, so its load is told.

Exits 1 where an answer takes more processor time than the limit, or p95 is above its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.request
from statistics import median, quantiles
from typing import Any

from page_load import SPEED, busy_market, token
from scrape import trading
from start import Figures, bench

CPU_LIMIT_MS, P95_LIMIT_MS = 10.0, 50.0
ADDRESSES = (
    *("system", "system/circuit-breakers", "grids", "orders?limit=200", "fills", "fills?limit=200"),
    *("profit", "equity", "prices", "log", "audit"),
)


def ask(url: str, secret: str) -> int:
    """Ask once; returns the bytes of the answer."""
    headers = {"Authorization": f"Bearer {secret}"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - http
        return len(answer.read())


def measure(requests: int, patience: float) -> list[dict[str, Any]]:
    """Every address, asked and left alone for as long."""
    with bench(patience) as one:
        file = one.directory / "bot.toml"
        page = f'[page]\ntokens_file = "{one.directory}/t.json"\n'
        file.write_text(file.read_text().replace("[page]\n", page))
        secret = token(one)
        market = busy_market(one.directory / "busy.csv")
        one.start_exchange("--candles", str(market), "--speed", SPEED)
        process = one.start_bot()
        trading(one)
        time.sleep(20)  # it fills orders meanwhile
        found = []
        for address in ADDRESSES:
            url = f"http://127.0.0.1:{one.page}/api/v1/{address}"
            size, took = ask(url, secret), list[float]()
            begun, since = Figures.of(process.pid).cpu, time.monotonic()
            for _ in range(requests):
                asked = time.perf_counter()
                ask(url, secret)
                took.append(1000 * (time.perf_counter() - asked))
            seconds, after = time.monotonic() - since, Figures.of(process.pid).cpu
            time.sleep(seconds)
            alone = Figures.of(process.pid).cpu - after
            cpu = max(0.0, after - begun - alone) * 1000 / requests
            found.append(
                {
                    "address": address,
                    "bytes": size,
                    "cpu_ms": cpu,
                    "median_ms": median(took),
                    "p95_ms": quantiles(took, n=20)[18],
                }
            )
    return found


def main() -> int:
    """Print the table; 1 where an answer is over a limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--patience", type=float, default=120, help="longest wait in seconds")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.requests, args.patience)
    over = any(one["cpu_ms"] > CPU_LIMIT_MS or one["p95_ms"] > P95_LIMIT_MS for one in found)
    load, cores = os.getloadavg()[0], os.cpu_count()
    if args.json:
        print(json.dumps({"answers": found, "load": load, "cores": cores}))
        return int(over)
    print(f"{'ADDRESS':<24} {'BYTES':>7} {'CPU':>9} {'MEDIAN':>9} {'P95':>9}")
    for one in found:
        print(
            f"{one['address']:<24} {one['bytes']:>7} {one['cpu_ms']:>6.2f} ms"
            f" {one['median_ms']:>6.1f} ms {one['p95_ms']:>6.1f} ms"
        )
    limits = f"CPU {CPU_LIMIT_MS:.0f} ms, p95 {P95_LIMIT_MS:.0f} ms"
    print(f"limits: {limits}; the machine's load: {load:.1f} on {cores} cores")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
