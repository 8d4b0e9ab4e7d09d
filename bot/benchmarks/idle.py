"""What a bot costs while nothing happens, beside its limit: CPU of the bot and of its health check.

    python bot/benchmarks/idle.py [--seconds S] [--checks N] [--json]

The real bot with 20 lines and the real exchange, in processes of their own over loopback, streams
on, the page not asked. The price moves every two seconds and reaches no line. Once all orders rest
and both streams are up, the bot's user and system time are read, and again S seconds later.
Docker runs `gridbot health` every 30 seconds, as a process of its own: its time is measured over N
runs and counted separately.

Exits 1 where the bot takes more than its limit or orders were filled meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from start import Bench, Figures, bench, environment

SHARE_LIMIT = 0.01  # of one core
CHECK_EVERY_SECONDS = 30
# A candle has four legs: one in two seconds, which is how often Binance tells a price at most.
MARKET_SPEED = "7.5"
START_MS, MINUTE_MS = 1_640_995_200_000, 60_000


def quiet_market(file: Path) -> Path:
    """Candles whose price goes up and down between two lines."""
    rows = ["timestamp,open,high,low,close,volume"]
    for minute in range(10):
        ends = (49980, 50020) if minute % 2 else (50020, 49980)
        rows.append(f"{START_MS + minute * MINUTE_MS},{ends[0]},50030,49970,{ends[1]},1")
    file.write_text("\n".join(rows) + "\n")
    return file


def cpu_of(command: list[str]) -> float:
    """Seconds of user and system time that a command takes; it has to succeed."""
    with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def watch(one: Bench, seconds: float, checks: int) -> dict[str, Any]:
    """Start a bot, leave it alone, and read what it took."""
    process = one.start_bot()
    before_status = one.wait_for_trading()
    time.sleep(2)  # what the start left to do is done
    before, began = Figures.of(process.pid), time.monotonic()
    time.sleep(seconds)
    after, passed = Figures.of(process.pid), time.monotonic() - began
    status = one.wait_for_trading()
    url = f"http://127.0.0.1:{one.page}/health"
    python = sys.executable
    health = median(
        cpu_of([python, "-m", "gridbot", "health", "--url", url]) for _ in range(checks)
    )
    return {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "seconds": passed,
        "cpu_seconds": after.cpu - before.cpu,
        "share": (after.cpu - before.cpu) / passed,
        "health_cpu_seconds": health,
        "health_share": health / CHECK_EVERY_SECONDS,
        "bare_cpu_seconds": median(cpu_of([sys.executable, "-c", "pass"]) for _ in range(checks)),
        "rss": after.rss,
        "threads": after.threads,
        "fills": sum(status[side] - before_status[side] for side in ("buys", "sells")),
        "limits": {"share": SHARE_LIMIT},
    }


def main() -> int:
    """Print the table; 1 if the bot is over its limit or was not idle."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--checks", type=int, default=15)
    parser.add_argument("--patience", type=float, default=60, help="longest wait in seconds")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with bench(args.patience) as one:
        market = quiet_market(one.directory / "quiet.csv")
        one.start_exchange("--candles", str(market), "--speed", MARKET_SPEED)
        found = watch(one, args.seconds, args.checks)
    over = found["share"] > SHARE_LIMIT or found["fills"] > 0
    if args.json:
        print(json.dumps(found))
        return int(over)
    print(f"{found['machine']}, Python {found['python']}, {found['seconds']:.0f} s")
    print(f"{'CPU':<38} {'MEASURED':>10} {'LIMIT':>8}")
    print(f"{'health check every 30 s, of a core':<38} {found['health_share']:>10.3%}")
    print(f"{'  one run':<38} {found['health_cpu_seconds'] * 1000:>7.1f} ms")
    print(f"{'  of that a bare interpreter':<38} {found['bare_cpu_seconds'] * 1000:>7.1f} ms")
    if found["fills"]:
        print(f"not idle: {found['fills']} orders were filled")
    # The last line, as docs/full-tests.md has it of each part.
    print(
        f"{'bot, of a core':<38} {found['share']:>10.3%} {SHARE_LIMIT:>8.0%}"
        + ("  OVER" if over else "")
    )
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
