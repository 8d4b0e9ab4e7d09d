"""Trials on all cores. The candles are read once and lie in memory once.

They are written to a temporary file that every process maps: a process is started with the file's
name, a task is a window and some combinations, and nothing else is sent.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
from gridbase.errors import ExitCode, UserError

from gridbot.backtest.data import Candles, Columns
from gridbot.backtest.search import Combination, Terms, Trial, run_trial

Window = tuple[int, int]
Task = tuple[Window, Sequence[Combination]]
# What does tasks, each in its turn; and what makes one, for a market, terms and so many processes.
Mapper = Callable[[list[Task]], Iterator[list[Trial]]]
Workers = Callable[[Candles, Terms, int], AbstractContextManager[Mapper]]

# Few enough that progress shows and the cores end together, many enough that a task's own cost
# does not.
TRIALS_PER_TASK = 8


class _Shared:
    """What a process keeps from task to task."""

    candles: Candles
    terms: Terms


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_trials(
    candles: Candles,
    windows: Sequence[Window],
    combinations: Sequence[Combination],
    terms: Terms,
    *,
    jobs: int,
    progress: Callable[[int], None],
    workers: Workers | None = None,
) -> list[list[Trial]]:
    """Try every combination on every window.

    Args:
        candles: the market.
        windows: first candle and the one after the last, of each.
        combinations: what is tried.
        terms: what is the same in every trial.
        jobs: processes; with 1, all happens in this one.
        progress: told how many trials are done.
        workers: who tries; None for processes of this machine.

    Returns:
        For each window, the trials in the order of the combinations, whatever `jobs` is.

    Raises:
        UserError: there is no room for the temporary file, or a process was killed.
    """
    parts = range(0, len(combinations), TRIALS_PER_TASK)
    tasks: list[Task] = [
        (window, combinations[part : part + TRIALS_PER_TASK])
        for window in windows
        for part in parts
    ]
    done: list[Trial] = []
    with (workers or _processes)(candles, terms, min(jobs, len(tasks))) as run_all:
        for trials in run_all(tasks):
            done += trials
            progress(len(done))
    count = len(combinations)
    return [done[index * count : (index + 1) * count] for index in range(len(windows))]


@contextmanager
def _processes(candles: Candles, terms: Terms, jobs: int) -> Iterator[Mapper]:
    """A `map` over tasks: in this process, or in several."""
    if jobs <= 1:
        yield lambda tasks: (run_task(candles, terms, task) for task in tasks)
        return
    with tempfile.TemporaryDirectory(prefix="gridbot-") as directory:
        path = Path(directory) / "candles.npy"
        try:
            np.save(path, np.stack((*candles.columns, *candles.reach)))
        except OSError as error:
            raise UserError(
                f"{path}: cannot be written: {error.strerror}", ExitCode.STATE
            ) from error
        # Started afresh, not forked: a fork would carry along whatever threads held.
        executor = ProcessPoolExecutor(
            jobs, multiprocessing.get_context("spawn"), _start, (path, terms)
        )
        try:
            yield lambda tasks: executor.map(_run_shared, tasks)
        except BrokenProcessPool as error:
            raise UserError(
                f"--jobs = {jobs}: one of the processes was killed, perhaps for its memory; "
                "use fewer",
                ExitCode.STATE,
            ) from error
        finally:
            executor.shutdown(cancel_futures=True)


def _start(path: Path, terms: Terms) -> None:
    """Begin a process: map the candles."""
    # Ctrl-C reaches all of them; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rows = np.load(path, mmap_mode="r").view(np.ndarray)
    *columns, low, high = rows
    _Shared.candles = Candles("shared", Columns(*columns), reach=(low, high))
    _Shared.terms = terms


def _run_shared(task: Task) -> list[Trial]:
    return run_task(_Shared.candles, _Shared.terms, task)


def run_task(candles: Candles, terms: Terms, task: Task) -> list[Trial]:
    """Try the combinations of a task on its window."""
    (start, stop), combinations = task
    window = candles.window(start, stop)
    return [run_trial(window, combination, terms) for combination in combinations]
