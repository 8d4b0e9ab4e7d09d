"""What recording costs, beside a plain writer of Parquet, in one run.

    python bot/benchmarks/recorder.py [--trades N] [--json]

The same made-up trades of 20 symbols, as texts as they come from the socket:

- *recorder*: JSON, sequence check, journal with fsync each 50,000 rows, then Parquet.
- *plain*: JSON, then pyarrow's defaults in groups of 100 rows, prices as texts: what a first
  version of such a pipeline writes. It knows nothing of gaps, and a kill loses its file.

Each runs in a process of its own, of which user and system time and the peak of resident memory
are taken. Sockets are not in it.
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
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path.insert(0, str(SOURCE))
SYMBOLS = [f"S{number:02}USDT" for number in range(20)]
BYTES_LIMIT = 7.0
START_MS = 1_764_028_800_000
FLUSH_EVERY = 50_000


def messages(trades: int) -> Iterator[str]:
    """Texts of the stream aggTrade: prices that walk by ticks, quantities of few digits more."""
    random = Random(2611)  # noqa: S311  made up, and the same each time
    prices = {symbol: 4_000_000 + 10_000 * place for place, symbol in enumerate(SYMBOLS)}
    numbers = dict.fromkeys(SYMBOLS, 10_000_000)
    now = START_MS
    for _ in range(trades):
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


def recorder(texts: list[str], directory: Path) -> int:
    """Record; returns the bytes of the files."""
    from gridbase.clock import SystemClock
    from recorder.core.inbox import Inbox
    from recorder.core.rows import Kind
    from recorder.core.steps import Sizes
    from recorder.files.store import Store
    from recorder.recording.session import Session, streams_of

    class NoAsker:
        trouble = ""

        def ask(self, request: object) -> None:
            raise AssertionError(f"a trade was taken for missing: {request}")

        def answers(self) -> list[Any]:
            return []

    sizes = dict.fromkeys(SYMBOLS, Sizes(Decimal("0.01"), Decimal("0.00001"), Decimal("1e-7")))
    clock, inbox = SystemClock(), Inbox()
    store = Store(directory, clock, rotate_bytes=100_000_000)
    store.open(streams_of("binance", sizes, (Kind.TRADES,)))
    session = Session(
        "binance", sizes, (Kind.TRADES,), store=store, asker=NoAsker(), inbox=inbox, clock=clock
    )
    for place, text in enumerate(texts, start=1):
        document = json.loads(text)
        inbox.put(("", ""), (document["stream"], document["data"]), clock.now_ms())
        if place % 500 == 0:
            session.step(0.0)
        if place % FLUSH_EVERY == 0:
            store.flush()
    session.step(0.0)
    store.close()
    return sum(path.stat().st_size for path in directory.rglob("*.parquet"))


def plain(texts: list[str], directory: Path) -> int:
    """Write with pyarrow's defaults, a group each 100 rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("T", "a", "p", "q", "f", "l", "m")
    kinds = (pa.int64(), pa.int64(), pa.string(), pa.string(), pa.int64(), pa.int64(), pa.bool_())
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    writers: dict[str, Any] = {}
    waiting: dict[str, list[dict[str, Any]]] = {symbol: [] for symbol in SYMBOLS}

    def write(symbol: str) -> None:
        if symbol not in writers:
            writers[symbol] = pq.ParquetWriter(directory / f"{symbol}.parquet", schema)
        columns = {name: [row[name] for row in waiting[symbol]] for name in names}
        writers[symbol].write_table(pa.table(columns, schema=schema))
        waiting[symbol] = []

    for text in texts:
        data = json.loads(text)["data"]
        rows = waiting[data["s"]]
        rows.append(data)
        if len(rows) == 100:
            write(data["s"])
    for symbol in SYMBOLS:
        write(symbol)
        writers[symbol].close()
    return sum(path.stat().st_size for path in directory.rglob("*.parquet"))


def measured(write: Any, trades: int) -> dict[str, float]:
    """Run one writer in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            texts = list(messages(trades))
            # What the texts take is not the writer's, the modules are.
            __import__("pyarrow.parquet")
            base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            before, began = time.process_time(), time.perf_counter()
            size = write(texts, Path(name))
            seconds = time.process_time() - before
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base
            answer = {
                "messages_per_cpu_second": trades / seconds,
                "seconds": time.perf_counter() - began,
                "cpu_share_at_500_per_second": 500 * seconds / trades,
                "bytes_per_trade": size / trades,
                "memory_grown_mb": grown / 1024,
            }
            os.write(writing, json.dumps(answer).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        _, status = os.waitpid(child, 0)
        if status or not text:
            raise SystemExit(f"{write.__name__} failed")
        found: dict[str, float] = json.loads(text)
        return found


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--trades", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    figures = {each.__name__: measured(each, args.trades) for each in (recorder, plain)}
    if args.json:
        print(json.dumps(figures))
    else:
        for name in figures["recorder"]:
            own, other = (figures[each][name] for each in ("recorder", "plain"))
            print(f"{name:<30} recorder {own:>12,.3f}   plain {other:>12,.3f}")
    size = figures["recorder"]["bytes_per_trade"]
    print(f"{size:.2f} bytes a trade, plain {figures['plain']['bytes_per_trade']:.2f}")
    return int(size > BYTES_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
