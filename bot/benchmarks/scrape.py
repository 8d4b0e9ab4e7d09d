"""What scraping costs a bot: processor time, bytes and memory of `/metrics`, beside the limit.

    python bot/benchmarks/scrape.py [--scrapes N] [--json]

The real bot and the real exchange, in processes of their own over loopback: one grid of 200 lines,
and then four grids of 50. The bot's user and system time is read, then N scrapes are made one after
the other, and it is read again; what the bot takes in as much time without a scrape is subtracted.

Exits 1 where one scrape in 15 seconds takes more of a core than the limit.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from start import Bench, Figures, bench

SHARE_LIMIT = 0.01  # of one core
EVERY_SECONDS = 15
SYMBOLS = (("BTC", 50_000), ("ETH", 3_000), ("SOL", 200), ("LTC", 100))


def one_grid(directory: Path) -> list[str]:
    """200 lines; returns the exchange's further arguments."""
    file = directory / "bot.toml"
    changed = {'"47000"': '"30000"', '"53000"': '"70000"', "= 20": "= 199", '"9000"': '"900000"'}
    text = file.read_text()
    for before, after in changed.items():
        text = text.replace(before, after)
    file.write_text(text)
    return ["--balance", "USDT=2000000"]


def four_grids(directory: Path) -> list[str]:
    """Four grids of 50 lines; returns the exchange's further arguments."""
    file = directory / "bot.toml"
    head, _, rest = file.read_text().partition("[market]")
    rest = rest.partition("[state]")[2]
    grids, markets = "", ""
    for coin, price in SYMBOLS:
        ends = f'lower = "{price * 0.9:.2f}"\nupper = "{price * 1.1:.2f}"'
        grids += f'[[grids]]\nsymbol = "{coin}/USDT"\n{ends}\ngrids = 49\ninvestment = "100000"\n'
        markets += f'[[symbols]]\nsymbol = "{coin}/USDT"\nstart_price = "{price}"\nseed = 7\n'
    file.write_text(f"{head}[state]{rest}{grids}")
    (directory / "exchange.toml").write_text(f'[balances]\nUSDT = "2000000"\n{markets}')
    return ["--config", str(directory / "exchange.toml")]


def scrape(port: int) -> int:
    """Scrape once; returns the bytes."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return len(answer.read())


def measure(name: str, settings: Any, scrapes: int, patience: float) -> dict[str, Any]:
    """One bot, scraped and left alone for as long."""
    with bench(patience) as one:
        flags = settings(one.directory)
        one.start_exchange("--speed", "60", *flags)
        process = one.start_bot()
        status = trading(one)
        time.sleep(2)
        first = Figures.of(process.pid)
        size = scrape(one.page)
        begun = Figures.of(process.pid)
        since = time.monotonic()
        for _ in range(scrapes):
            scrape(one.page)
        seconds, after = time.monotonic() - since, Figures.of(process.pid)
        time.sleep(seconds)
        alone = Figures.of(process.pid).cpu - after.cpu
    cpu = max(0.0, after.cpu - begun.cpu - alone) / scrapes
    return {
        "name": name,
        "lines": sum(len(grid["lines"]) for grid in status["grids"]),
        "bytes": size,
        "cpu_ms": cpu * 1000,
        "first_cpu_ms": (begun.cpu - first.cpu) * 1000,
        "first_rss": begun.rss - first.rss,
        "share": cpu / EVERY_SECONDS,
    }


def trading(one: Bench) -> Any:
    """Wait until every grid trades; returns the status."""

    def all_trade() -> Any:
        status = one.status()
        if status is None or any(grid["state"] != "trading" for grid in status["grids"]):
            return None
        return status

    return one.wait_for("trading", all_trade, every=0.2)


def main() -> int:
    """Print the table; 1 if a scrape is over its limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scrapes", type=int, default=200)
    parser.add_argument("--patience", type=float, default=120, help="longest wait in seconds")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = [
        measure("one grid", one_grid, args.scrapes, args.patience),
        measure("four grids", four_grids, args.scrapes, args.patience),
    ]
    over = any(one["share"] > SHARE_LIMIT for one in found)
    if args.json:
        print(json.dumps({"limit": SHARE_LIMIT, "bots": found}))
        return int(over)
    print(f"{'BOT':<12} {'LINES':>6} {'BYTES':>8} {'CPU':>9} {'FIRST':>9} {'MEMORY':>9}")
    for one in found:
        print(
            f"{one['name']:<12} {one['lines']:>6} {one['bytes']:>8} {one['cpu_ms']:>6.2f} ms "
            f"{one['first_cpu_ms']:>6.0f} ms {one['first_rss'] / 1e6:>6.2f} MB"
        )
    worst = max(one["share"] for one in found)
    print(f"of a core, every {EVERY_SECONDS} s: {worst:.4%}, limit {SHARE_LIMIT:.0%}")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
