"""Whether the recorder's memory stays flat: a simulated week of 20 symbols.

    python bot/benchmarks/recorder_week.py [--days N] [--hourly N]

The messages of `recorder.py` under a clock that does not wait: so many trades and so many
differences of books an hour, files each hour, one file a day each night. Prints the resident memory
after each day. Exits 1 where the last day has 5 % more than the second, or more than 150 MB.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Before this directory, whose recorder.py would be taken for the recorder.
sys.path[:0] = [str(HERE.parent / "src")]
sys.path.append(str(HERE))

from recorder.core.inbox import Inbox  # noqa: E402
from recorder.core.rows import Kind  # noqa: E402
from recorder.core.steps import Sizes  # noqa: E402
from recorder.files.compact import compact, over_before  # noqa: E402
from recorder.files.layout import ACTIVE  # noqa: E402
from recorder.files.store import Store  # noqa: E402
from recorder.recording.session import Session, streams_of  # noqa: E402
from recorder.service.memory import resident_bytes  # noqa: E402

MEGABYTES_LIMIT, GROWTH_LIMIT = 150.0, 1.05
HOUR_MS = 3_600_000
TURN = 200  # messages between two steps
KINDS = (Kind.TRADES, Kind.DEPTH)


def _messages() -> Any:
    spec = importlib.util.spec_from_file_location("messages", HERE / "recorder.py")
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("recorder.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Clock:
    """A clock that the simulation moves."""

    stopping = False

    def __init__(self, now_ms: int) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        """Unix time in ms."""
        return self.ms

    def monotonic(self) -> float:
        """Seconds."""
        return self.ms / 1000

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.ms += int(seconds * 1000)


class Answers:
    """An exchange that has every snapshot, and no trade that did not come by itself."""

    trouble = ""

    def __init__(self, snapshot: Any) -> None:
        self._snapshot = snapshot
        self._asked: list[Any] = []

    def ask(self, request: Any) -> None:
        """Ask; the answer comes later."""
        self._asked.append(request)

    def answers(self) -> list[Any]:
        """What has been answered since the last call."""
        asked, self._asked = self._asked, []
        return [
            (each, self._snapshot(each.symbol) if each.kind == Kind.DEPTH else []) for each in asked
        ]


def _settle(directory: Path) -> None:
    """Wait until closed journals are Parquet.

    Here a day has seconds, and what is made of its last hour would count as the day's memory.
    """
    while len(list((directory / ACTIVE).iterdir())) > len(KINDS):
        time.sleep(0.05)


def week(directory: Path, days: int, hourly: int) -> list[float]:
    """Record so many days; the memory after each (MB)."""
    made = _messages()
    clock, inbox = Clock(made.START_MS), Inbox()
    sizes = dict.fromkeys(made.SYMBOLS, Sizes(Decimal("0.01"), Decimal("0.00001"), Decimal("1e-7")))
    store = Store(directory, clock, rotate_bytes=100_000_000)
    store.open(streams_of("binance", sizes, KINDS))
    answers = Answers(made.snapshot)
    session = Session("binance", sizes, KINDS, store=store, asker=answers, inbox=inbox, clock=clock)
    count = days * 24 * hourly
    pairs = zip(made.trades(count), made.differences(count), strict=True)
    found = []
    for _ in range(days):
        for _ in range(24):
            begin = clock.ms
            for place, text in enumerate(itertools.chain(*itertools.islice(pairs, hourly))):
                clock.ms = begin + HOUR_MS * place // (2 * hourly)
                document = json.loads(text)
                document["data"] |= {"E": clock.ms, "T": clock.ms}
                inbox.put(("", ""), (document["stream"], document["data"]), clock.ms)
                if place % TURN == 0:
                    session.step(0.0)
                    store.flush()
            clock.ms = begin + HOUR_MS
        session.step(0.0)
        store.flush()
        _settle(directory)
        compact(store.catalog, over_before(clock.ms))
        found.append(resident_bytes() / 10**6)
        print(f"day {len(found)}: {found[-1]:.0f} MB, {store.written} rows", flush=True)
    store.close()
    if store.written < 2 * count or store.trouble:
        raise AssertionError(f"{store.written} rows of {2 * count} messages {store.trouble}")
    return found


def main() -> int:
    """Simulate, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--days", type=int, default=7, help="default: %(default)s")
    parser.add_argument(
        "--hourly", type=int, default=2_000, help="trades, and differences (default: %(default)s)"
    )
    args = parser.parse_args()
    if args.days < 2:
        parser.error("--days needs 2 or more")
    with tempfile.TemporaryDirectory() as name:
        found = week(Path(name), args.days, args.hourly)
    growth = found[-1] / found[1]
    print(f"memory after {args.days} days: {found[-1]:.0f} MB, {growth - 1:+.1%} since the second")
    return int(growth > GROWTH_LIMIT or found[-1] > MEGABYTES_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
