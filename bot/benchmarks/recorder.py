"""What recording costs, beside two other ways to Parquet, in one run.

    python bot/benchmarks/recorder.py [--trades N] [--differences N] [--cryptofeed] [--json]

The same made-up messages of 20 symbols, as texts as they come from the socket: trades, and
differences of books that have 1,000 levels on each side.

- *recorder*: JSON, sequence check, books, journal with fsync each 50,000 messages, then Parquet.
- *plain*: JSON, then pyarrow's defaults in groups of 100 rows, prices as texts: what a first
  version of such a pipeline writes. It builds no book.
- *cryptofeed* (with `--cryptofeed`, which installs it beside the checkout): its feed of Binance,
  books and callbacks, then pyarrow's defaults in groups of 10,000 rows.

Each runs in a process of its own, of which user and system time and the peak of resident memory
are taken: that of its modules and what it takes beyond, without the texts. Sockets are not in it.
Exits 1 where a trade of the recorder takes more than 7 bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from recorder_peers import cryptofeed, plain, with_cryptofeed

ROOT = Path(__file__).resolve().parents[2]
LOCK = Path(__file__).with_name("cryptofeed.lock")
# Before this directory, whose recorder.py is this.
sys.path[:0] = [str(ROOT / "bot" / "src"), str(ROOT)]
SYMBOLS = [f"S{number:02}USDT" for number in range(20)]
BYTES_LIMIT = 7.0
START_MS = 1_764_028_800_000
FLUSH_EVERY = 50_000
LEVELS, MIDDLE, FIRST = 1_000, 4_000_000, 10_000_000


def trades(count: int) -> Iterator[str]:
    """Texts of the stream aggTrade: prices that walk by ticks, quantities of few digits more."""
    random = Random(2611)  # noqa: S311  made up, and the same each time
    prices = {symbol: 4_000_000 + 10_000 * place for place, symbol in enumerate(SYMBOLS)}
    numbers = dict.fromkeys(SYMBOLS, 10_000_000)
    now = START_MS
    for _ in range(count):
        symbol = random.choice(SYMBOLS)
        prices[symbol] += random.choice((-3, -1, 0, 0, 0, 0, 1, 3))
        numbers[symbol] += 1
        now += random.choice((0, 0, 1, 2, 9))
        price = prices[symbol]
        lots = int(random.expovariate(1 / 4_000)) + 1
        yield (
            f'{{"stream":"{symbol.lower()}@aggTrade","data":{{"e":"aggTrade","E":{now + 3},'
            f'"s":"{symbol}","a":{numbers[symbol]},"p":"{price // 100}.{price % 100:02}000000",'
            f'"q":"{lots // 100_000}.{lots % 100_000:05}000","f":{numbers[symbol] * 2},'
            f'"l":{numbers[symbol] * 2 + random.choice((0, 0, 1))},"T":{now},'
            f'"m":{random.choice(("true", "false"))},"M":true}}}}'
        )


def differences(count: int) -> Iterator[str]:
    """Texts of the stream depth@100ms: 5 levels of each side, near the middle more often."""
    random = Random(2612)  # noqa: S311
    numbers = dict.fromkeys(SYMBOLS, FIRST)
    now = START_MS

    def side(sign: int) -> str:
        ticks = {MIDDLE + sign * (1 + int(random.expovariate(1 / 60)) % LEVELS) for _ in range(5)}
        lots = [random.choice((0, 1, 1, 1)) * random.randrange(1, 900_000) for _ in ticks]
        return ",".join(
            f'["{tick // 100}.{tick % 100:02}000000","{lot // 100_000}.{lot % 100_000:05}000"]'
            for tick, lot in zip(ticks, lots, strict=True)
        )

    for _ in range(count):
        symbol = random.choice(SYMBOLS)
        first = numbers[symbol] + 1
        numbers[symbol] += random.randrange(1, 12)
        now += 5
        yield (
            f'{{"stream":"{symbol.lower()}@depth@100ms","data":{{"e":"depthUpdate","E":{now},'
            f'"s":"{symbol}","U":{first},"u":{numbers[symbol]},"b":[{side(-1)}],"a":[{side(1)}]}}}}'
        )


def snapshot(_: str) -> dict[str, Any]:
    """What GET depth answers for each symbol, before the first difference."""

    def side(sign: int) -> list[list[str]]:
        ticks = [MIDDLE + sign * place for place in range(1, LEVELS + 1)]
        return [[f"{tick // 100}.{tick % 100:02}", "1.5"] for tick in ticks]

    return {"lastUpdateId": FIRST, "bids": side(-1), "asks": side(1)}


def recorder(texts: list[str], directory: Path, kind: str, snapshot: Callable[[str], Any]) -> None:
    """Record."""
    from gridbase.clock import SystemClock
    from recorder.core.inbox import Inbox
    from recorder.core.rows import Kind
    from recorder.core.steps import Sizes
    from recorder.files.store import Store
    from recorder.recording.session import Session, streams_of

    class Snapshots:
        trouble = ""

        def __init__(self) -> None:
            self._asked: list[Any] = []

        def ask(self, request: Any) -> None:
            if request.kind != Kind.DEPTH:
                raise AssertionError(f"a trade was taken for missing: {request}")
            self._asked.append(request)

        def answers(self) -> list[Any]:
            asked, self._asked = self._asked, []
            return [(each, snapshot(each.symbol)) for each in asked]

    kinds = (Kind.TRADES if kind == "trades" else Kind.DEPTH,)
    sizes = dict.fromkeys(SYMBOLS, Sizes(Decimal("0.01"), Decimal("0.00001"), Decimal("1e-7")))
    clock, inbox = SystemClock(), Inbox()
    store = Store(directory, clock, rotate_bytes=100_000_000)
    store.open(streams_of("binance", sizes, kinds))
    session = Session(
        "binance", sizes, kinds, store=store, asker=Snapshots(), inbox=inbox, clock=clock
    )
    for place, text in enumerate(texts, start=1):
        document = json.loads(text)
        inbox.put(("", ""), (document["stream"], document["data"]), clock.now_ms())
        if place % 500 == 0:
            session.step(0.0)
        if place % FLUSH_EVERY == 0:
            store.flush()
    session.step(0.0)
    session.step(0.0)
    built = sum(symbol.book.book is not None for symbol in session.symbols.values())
    store.close()
    if store.written < len(texts) or (kind != "trades" and built < len(SYMBOLS)):
        raise AssertionError(f"{store.written} rows and {built} books of {len(texts)} messages")


Write = Callable[[list[str], Path, str, Callable[[str], Any]], None]
MESSAGES = {"trades": trades, "differences": differences}


def measured(write: Write, kind: str, count: int, packages: Path | None) -> dict[str, float]:
    """Run one writer in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            __import__("pyarrow.parquet")
            if write is cryptofeed and packages is not None:
                with_cryptofeed(packages)
            elif write is recorder:
                __import__("recorder.recording.session")
                __import__("recorder.files.store")
            os.write(writing, json.dumps(_in_child(write, kind, count, Path(name))).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        _, status = os.waitpid(child, 0)
        if status or not text:
            raise SystemExit(f"{write.__name__} failed")
        found: dict[str, float] = json.loads(text)
        return found


def _in_child(write: Write, kind: str, count: int, directory: Path) -> dict[str, float]:
    modules = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    texts = list(MESSAGES[kind](count))
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = time.process_time()
    write(texts, directory, kind, snapshot)
    seconds = time.process_time() - before
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base
    size = sum(path.stat().st_size for path in directory.rglob("*.parquet"))
    return {
        "messages_per_cpu_second": count / seconds,
        "microseconds_per_message": 1e6 * seconds / count,
        "cpu_percent_at_500_per_second": 100 * 500 * seconds / count,
        "bytes_per_message": size / count,
        "memory_mb": (modules + grown) / 1024,
    }


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--trades", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--differences", type=int, default=200_000, help="default: %(default)s")
    parser.add_argument("--cryptofeed", action="store_true", help="measure it as well")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    writers: list[Write] = [recorder, plain]
    packages = None
    if args.cryptofeed:
        from tests.browser import installed
        from virtual_pi.paths import cache_directory

        packages = installed(LOCK, cache_directory())
        writers.append(cryptofeed)
    figures = {
        kind: {each.__name__: measured(each, kind, count, packages) for each in writers}
        for kind, count in (("trades", args.trades), ("differences", args.differences))
    }
    if args.json:
        print(json.dumps(figures))
    for kind, found in {} if args.json else figures.items():
        print(f"{kind:<32}" + "".join(f"{each.__name__:>14}" for each in writers))
        for name in found["recorder"]:
            values = (found[each.__name__][name] for each in writers)
            print(f"  {name.replace('_', ' '):<30}" + "".join(f"{one:>14,.2f}" for one in values))
    size = figures["trades"]["recorder"]["bytes_per_message"]
    print(f"{size:.2f} bytes a trade", file=sys.stderr if args.json else sys.stdout)
    return int(size > BYTES_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
