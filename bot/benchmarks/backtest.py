"""The backtest's speed and its fills, beside their limits and beside backtesting.py.

    python bot/benchmarks/backtest.py CANDLES.csv [--peer-python PYTHON]

CANDLES.csv is a market of minutes; it is repeated ten times. What is timed is the computation from
the candles' arrays to fills and books, not the reading of the file. Exits 1 where a limit is
missed.

The peer runs in a Python of its own, which must have it:

    python -m venv /tmp/peer
    /tmp/peer/bin/pip install --require-hashes -r bot/benchmarks/requirements.lock
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from types import ModuleType

BOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BOT / "src"))

from gridbase.candles.price_units import from_units  # noqa: E402  the path is set above
from gridbase.market import Market  # noqa: E402  the path is set above
from gridbot.backtest import Candles, Result, read_candles, run_backtest  # noqa: E402 (path first)
from gridbot.core.grid import Fees, FeesIn, GridSpec, Spacing  # noqa: E402  the path is set above

REPETITIONS = 10
ROUNDS = 9
CANDLES_PER_SECOND = 5_000_000
CANDLES_PER_FILL = (40, 60)
STEP = Decimal("0.00000001")
MARKET = Market("base/quote", "base", "quote", Decimal("0.01"), STEP, Decimal(0), Decimal(0))
FEE_RATE = Decimal("0.001")
INVESTMENT = Decimal(10_000)


def make_spec(candles: Candles, lines: int) -> GridSpec:
    """A grid over all of a market's prices."""
    lower, upper = from_units(int(candles.lows.min())), from_units(int(candles.highs.max()))
    return GridSpec(lower, upper, lines - 1, Spacing.ARITHMETIC, INVESTMENT)


def reference_module() -> ModuleType:
    """The tests' plain, slow reference."""
    path = BOT / "tests" / "bot" / "backtest" / "reference.py"
    spec = importlib.util.spec_from_file_location("reference", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fills_of(result: Result) -> list[tuple[object, ...]]:
    """Each fill as the reference writes it."""
    return [
        (fill.time_ms, str(fill.side), fill.price, fill.quantity, fill.fee, fill.fee_coin)
        for fill in result.fills()
    ]


def compare(candles: Candles, lines: int) -> tuple[bool, str]:
    """Whether backtest and reference find the same, and a line that says so."""
    spec = make_spec(candles, lines)
    result = run_backtest(candles, spec, MARKET, Fees(FEE_RATE))
    columns = [column.tolist() for column in candles.columns]
    rows = [(row[0], *map(from_units, row[1:])) for row in zip(*columns, strict=True)]
    started = time.perf_counter()
    expected = reference_module().run(
        rows,
        lower=spec.lower,
        upper=spec.upper,
        grids=spec.grids,
        spacing=str(spec.spacing),
        investment=spec.investment,
        fee=FEE_RATE,
        fee_in="received",
        tick=MARKET.tick_size,
        lot=MARKET.lot_size,
    )
    seconds = time.perf_counter() - started
    found = fills_of(result)
    same = sum(ours == theirs for ours, theirs in zip(found, expected.fills, strict=False))
    account = result.account
    books = (account.base, account.quote, account.grid_profit, account.fees_in_quote)
    equal = books == (expected.base, expected.quote, expected.grid_profit, expected.fees)
    text = (
        f"{lines:>4} lines, {len(candles):,} candles: {same:,} of {len(expected.fills):,} fills "
        f"identical, books {'equal' if equal else 'DIFFER'} (reference: {seconds:.1f} s)"
    )
    return equal and found == expected.fills, text


def fresh(candles: Candles) -> Candles:
    """The same arrays with nothing worked out on them yet."""
    return Candles(candles.name, candles.columns, interval_ms=candles.interval_ms)


def find_lines(candles: Candles) -> int:
    """Number of lines at which this market fills an order every 50 candles, more or less."""
    wanted = sum(CANDLES_PER_FILL) / 2

    def distance(lines: int) -> float:
        spec = make_spec(candles, lines)
        fills = len(run_backtest(candles, spec, MARKET, Fees(Decimal(0))).ledger)
        return abs(len(candles) / max(fills, 1) - wanted)

    return min(range(10, 150), key=distance)


def measure_speed(candles: Candles, lines: int) -> bool:
    """Print the speed on the repeated market; whether it is fast enough."""
    many = candles.repeated(REPETITIONS)
    spec, fees = make_spec(candles, lines), Fees(FEE_RATE)
    results = [run_backtest(fresh(many), spec, MARKET, fees) for _ in range(ROUNDS)]
    seconds = statistics.median(result.seconds for result in results)
    per_fill = len(many) / len(results[0].ledger)
    speed = len(many) / seconds
    fast = speed >= CANDLES_PER_SECOND
    print(
        f"speed: {len(many):,} candles, {lines} lines, one fill in {per_fill:.1f} candles: "
        f"{seconds * 1000:.1f} ms (median of {ROUNDS}), {speed:,.0f} candles/s; "
        f"limit {CANDLES_PER_SECOND:,}{'' if fast else '  MISSED'}"
    )
    usual = CANDLES_PER_FILL[0] <= per_fill <= CANDLES_PER_FILL[1]
    if not usual:
        print(f"  but one fill in {per_fill:.1f} candles is not about one in 50  MISSED")
    return fast and usual


def measure_peer(python: str | None, data: Path, candles: Candles, lines: int) -> bool:
    """Print both sides' speed on the same candles and grid; whether the peer could run."""
    if python is None:
        if importlib.util.find_spec("backtesting") is None:
            print(
                "peer: backtesting.py is not installed here: name a Python that has it with "
                "--peer-python (see the top of this file)"
            )
            return True
        python = sys.executable
    spec, fees = make_spec(candles, lines), Fees(FEE_RATE, FeesIn.QUOTE)
    results = [run_backtest(fresh(candles), spec, MARKET, fees) for _ in range(ROUNDS)]
    ours = len(candles) / statistics.median(result.seconds for result in results)
    plan = results[0].plan
    task = {
        "data": str(data.resolve()),
        "lines": [float(line) for line in plan.lines],
        "empty": plan.empty_line,
        "quantity": float(plan.quantity),
        "cash": float(INVESTMENT),
        "fee_rate": float(FEE_RATE),
    }
    script = Path(__file__).with_name("backtesting_peer.py")
    done = subprocess.run(
        [python, str(script)], input=json.dumps(task), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        print(f"peer: {python} failed: {done.stderr.strip().splitlines()[-1:]}")
        return False
    peer = json.loads(done.stdout)
    theirs = peer["candles"] / peer["seconds"]
    print(
        f"peer: {peer['candles']:,} candles, {lines} lines: backtesting.py {peer['version']} "
        f"{theirs:,.0f} candles/s with {peer['fills']:,} fills, gridbot {ours:,.0f} candles/s with "
        f"{len(results[0].ledger):,} fills: {ours / theirs:,.0f} times as fast"
    )
    return True


def main() -> int:
    """Print everything; 1 where a limit is missed or a fill differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=Path, metavar="CANDLES.csv")
    parser.add_argument("--peer-python", metavar="PYTHON", help="a Python with backtesting.py")
    args = parser.parse_args()
    candles = read_candles(args.data)
    lines = find_lines(candles)
    good = True
    for market, count in ((candles, 20), (candles, 100), (candles.repeated(REPETITIONS), lines)):
        same, text = compare(market, count)
        print(f"fills: {text}")
        good = good and same
    good = measure_speed(candles, lines) and good
    good = measure_peer(args.peer_python, args.data, candles, lines) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
