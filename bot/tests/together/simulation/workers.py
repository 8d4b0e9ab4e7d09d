"""Worlds in processes of their own, as many at a time as there are cores.

A process begins as a copy of this one, with all that is in memory (`os.fork`), tells one result
and ends by `os._exit`: what was running in it when it was copied never runs on.
"""

import contextlib
import gc
import importlib
import json
import logging
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

Report = Callable[[dict[str, object]], NoReturn]
MOST_CPU_SECONDS = 30
_write = os.write  # worlds watch the one in `os`
# What the bot imports only where it is needed.
LOADED_LATE = ("ccxt.binance", "gridbot.exchanges.binance.symbol", "encodings.utf_8_sig", "uuid")


@dataclass
class Workers:
    """A bounded number of processes.

    Attributes:
        results: what each process has told, in the order of their ends; `name` says which it was.
        most: how many run at a time.
        heard: told of each result.
        alone: the next task runs in this very process and ends it.
    """

    results: list[dict[str, object]] = field(default_factory=list)
    most: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    heard: Callable[[dict[str, object]], None] = lambda _result: None
    alone: bool = False
    _running: dict[int, tuple[int, str]] = field(default_factory=dict)

    def start(self, name: str, task: Callable[[Report], None]) -> None:
        """Run a task in a copy of this process; waits while too many are running."""
        if self.alone:
            here(task)
        while len(self._running) >= self.most:
            self._hear()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _be_the_child(writer, task)
        os.close(writer)
        self._running[reader] = (child, name)

    def finish(self) -> None:
        """Wait for all that still run."""
        while self._running:
            self._hear()

    def _hear(self) -> None:
        ready, _, _ = select.select(list(self._running), [], [])
        for reader in ready:
            child, name = self._running.pop(reader)
            with os.fdopen(reader, "rb") as pipe:
                text = pipe.read()
            _, status = os.waitpid(child, 0)
            result = json.loads(text) if text else {"problems": [f"ended with status {status}"]}
            result["name"] = name
            self.results.append(result)
            self.heard(result)


def _be_the_child(writer: int, task: Callable[[Report], None]) -> NoReturn:
    def report(result: dict[str, object]) -> NoReturn:
        content = json.dumps(result).encode()
        while content:
            content = content[_write(writer, content) :]
        os._exit(0)

    def too_long(_number, frame) -> NoReturn:
        stack = "".join(traceback.format_stack(frame)[-6:])
        report({"problems": [f"no end after {MOST_CPU_SECONDS} s of CPU:\n{stack}"]})

    signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, MOST_CPU_SECONDS)
    try:
        task(report)
        report({"problems": ["the task told no result"]})
    except BaseException:  # noqa: BLE001  whatever it was is this world's result
        report({"problems": [traceback.format_exc()]})


def here(task: Callable[[Report], None]) -> NoReturn:
    """Run a task in this process, for people: it prints its result and ends the process."""

    def report(result: dict[str, object]) -> NoReturn:
        for problem in result["problems"]:
            print(problem)
        print({key: value for key, value in result.items() if key != "problems"})
        sys.stdout.flush()
        os._exit(1 if result["problems"] else 0)

    with contextlib.suppress(KeyboardInterrupt):
        task(report)
    os._exit(2)


def progress(workers: Workers, total: int | None) -> Callable[[dict[str, object]], None]:
    """Tells on standard error how far it is, and what has failed, for `Workers.heard`."""
    failed = 0
    of = "" if total is None else f" of {total}"

    def heard(result: dict[str, object]) -> None:
        nonlocal failed
        failed += bool(result["problems"])
        if result["problems"]:
            print(f"\n{result['name']}: {result['problems']}", file=sys.stderr, flush=True)
        if len(workers.results) % 100 == 0:
            print(f"\r{len(workers.results)}{of}, {failed} failed", end="", file=sys.stderr)

    return heard


def show_log() -> None:
    """Print the bot's own log, for a trace."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("          | %(message)s"))
    for name in ("gridbase", "gridbot"):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.DEBUG)


def fix_hash_order() -> None:
    """Start this program again with one order of sets for all processes; runs depend on it."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606  itself


def settle_memory() -> None:
    """Before many forks: load what each would load, which they then share and never collect."""
    for name in LOADED_LATE:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
