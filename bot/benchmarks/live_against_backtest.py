"""An hour of a bot beside a backtest of what was recorded: every fill explained.

    python bot/benchmarks/live_against_backtest.py [--minutes M] [--speed S] [--seed N] [--calm]

The practice exchange, the recorder and the bot run as processes. Orders fill in parts, the bot is
killed and started again, paused and told to go on, and the recorder is killed; with `--calm` none
of that happens. Then `analytics compare` explains each difference. Exits 1 where it cannot.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "bot/src")]

from bot.tests.analytics.hour import Hour  # noqa: E402

PARTS = ("[[faults.rules]]", 'kind = "partial_fill"', "probability = 0.2", "parts = 3")
AWAY_S = 6.0  # of the bot and of the recorder


def main() -> int:
    """Trade, record, compare, and return the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--minutes", type=int, default=60, help="of the market (default: 60)")
    parser.add_argument("--speed", type=int, default=30, help="market seconds a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calm", action="store_true", help="nothing goes wrong")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        faults = () if args.calm else ("[faults]", f"seed = {args.seed}", *PARTS)
        hour = Hour(
            Path(name), seed=args.seed, minutes=args.minutes, speed=args.speed, faults=faults
        )
        with closing(hour):
            hour.record()
            if not args.calm:
                _disturb(hour, args.minutes * 60 / args.speed)
            hour.wait_for_the_end()
            hour.finish()
            documents = hour.compare()
    return _tell(documents)


def _disturb(hour: Hour, seconds: float) -> None:
    """Kill, pause and kill the recorder, each at its share of the time."""
    began = time.monotonic()

    def wait(share: float) -> None:
        time.sleep(max(0.0, began + share * seconds - time.monotonic()))

    for share in (0.2, 0.4):
        wait(share)
        hour.kill_bot()
        time.sleep(AWAY_S)
        hour.start_bot()
    wait(0.55)
    hour.gridbot("pause", "--config", hour.config, "--reason", "a look")
    time.sleep(AWAY_S)
    hour.gridbot("resume", "--config", hour.config)
    wait(0.75)
    hour.recorder.kill()
    time.sleep(AWAY_S)
    hour.recorder.start()


def _tell(documents: list[dict]) -> int:
    steps: Counter[str] = Counter()
    money: Counter[str] = Counter()
    wrong = 0
    for each in documents:
        wrong += each["unexplained"]
        for grid in each["symbols"]["BTC/USDT"]["grids"]:
            parts = sum(Decimal(reason["money"]) for reason in grid["reasons"].values())
            wrong += parts != Decimal(grid["difference"])
            for why, reason in grid["reasons"].items():
                steps[why] += reason["steps"]
                money[why] += Decimal(reason["money"])
            for side in ("backtest", "bot"):
                told = grid[side]
                print(f"{side}: {told['buys']} buys, {told['sells']} sells, {told['result']} USDT")
    for why, count in steps.items():
        print(f"{why}: {count} steps, {money[why]:.4f} USDT")
    print(f"{sum(steps.values())} steps, {wrong} of them unexplained")
    return int(wrong > 0 or not steps)


if __name__ == "__main__":
    sys.exit(main())
