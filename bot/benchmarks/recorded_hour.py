"""An hour of many symbols with all faults: what is recorded is what was served.

    python bot/benchmarks/recorded_hour.py [--symbols N] [--minutes M] [--seed S]

Recorder and practice exchange in one process, under a clock that does not wait. Each trade that
the exchange made has to be in the files or in the gap table, never in both and never twice; each
rebuilt book has to be the exchange's at that update; gaps of the books have to be under 1 % of the
time. Exits 1 where one of that does not hold.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "bot/src")]

from recorder.core.rows import Kind  # noqa: E402

from bot.tests.recorder.test_recording import check_books, check_trades, gaps_of  # noqa: E402
from bot.tests.recorder.world import EVENT_FAULTS, World  # noqa: E402

# Of a message: each kind strikes one in 5,000.
FAULTS = {f"{kind}_event": 0.0002 for kind in EVENT_FAULTS}
FAULTS |= {"error_before": 0.02, "lost_answer": 0.02}
# Also of a message, but what breaks is the one connection of all symbols: about every six minutes.
# Binance ends one a day. Each break costs half a second; one every 75 s is 1.3 % of the time.
DROP_OF_A_SYMBOL = 0.00004
GAPS_LIMIT = 0.01
STEP_MS = 100  # a recorder answers at once: what is lost is not longer because the world is coarse


def main() -> int:
    """Record, compare, and return the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--symbols", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--minutes", type=int, default=60, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        sizes = {"symbols": args.symbols, "step_ms": STEP_MS}
        faults = FAULTS | {"drop": DROP_OF_A_SYMBOL / args.symbols}
        world = World(Path(name), faults=faults, seed=args.seed, **sizes)
        for minute in range(args.minutes):
            world.run(60)
            seconds = time.monotonic() - began
            print(f"minute {minute + 1} of {args.minutes}, {seconds:.0f} s", file=sys.stderr)
        ended_ms = world.clock.now_ms()
        world.settle()
        world.close()
        check_books.seen = {}
        trades = books = 0
        missing_ms = 0
        for symbol in world.sizes:
            check_trades(world, symbol)
            trades += world.made(symbol)
            books += check_books(world, symbol)
            gaps = gaps_of(world, Kind.DEPTH, symbol)
            missing_ms += sum(max(min(gap.to_ms, ended_ms) - gap.from_ms, 0) for gap in gaps)
        wrong = sum(world.books[key] != book for key, book in check_books.seen.items())
        share = missing_ms / (args.minutes * 60_000 * args.symbols)
        struck = sum(world.api.faults.struck.values())
    print(
        f"{args.symbols} symbols, {args.minutes} minutes, {struck} faults: {trades} trades each"
        f" recorded or in a gap once; {len(check_books.seen)} books compared, {wrong} wrong;"
        f" books in gaps {share:.2%} of the time"
    )
    return int(wrong > 0 or share >= GAPS_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
