"""Trials of a search on a pool of machines. What comes back is what one machine would find.

A task is a window and some combinations, as between processes of one machine; the market goes to
each worker once. A worker that ends has its tasks done by another one. What was lost with the last
copy of the market is asked for again.
"""

from __future__ import annotations

import contextlib
from asyncio import CancelledError
from collections.abc import Iterator
from typing import Any

import dask
import numpy as np
from gridbase.errors import ExitCode, UserError
from gridbot import __version__
from gridbot.backtest.data import Candles, Columns, Integers
from gridbot.backtest.pool import Mapper, Task, Workers, run_task
from gridbot.backtest.search import Terms, Trial

PATIENCE_S = 60.0  # for a first worker, and while there is none
LOOK_S = 10.0
ROUNDS = 5  # how often the market may get lost


def spread_over(scheduler: str, security: Any) -> Workers:
    """Workers of a pool, for `gridbot.backtest.pool.run_trials`.

    Args:
        scheduler: its address.
        security: of the pool.
    """

    @contextlib.contextmanager
    def workers(candles: Candles, terms: Terms, _jobs: int) -> Iterator[Mapper]:
        rows = np.stack((*candles.columns, *candles.reach))
        with _client(scheduler, security) as client:
            _check(client)
            yield lambda tasks: _Spread(client, rows, terms, tasks).results()

    return workers


@contextlib.contextmanager
def _client(scheduler: str, security: Any) -> Iterator[Any]:
    """A connection, and its errors as one line."""
    from distributed import Client
    from distributed.comm.core import CommClosedError

    with dask.config.set({"distributed.comm.timeouts.connect": "10s"}):
        try:
            connected = Client(scheduler, security=security, timeout=PATIENCE_S / 4)  # type: ignore[no-untyped-call]
            with connected as client:
                client.wait_for_workers(1, timeout=PATIENCE_S)
                yield client
        except (OSError, TimeoutError, CommClosedError) as error:
            reason = " ".join(str(error).split())[:200] or "nobody answers"
            raise UserError(f"--scheduler {scheduler}: {reason}", ExitCode.EXCHANGE) from error


def _check(client: Any) -> None:
    """Refuse a worker of another version: it might find something else."""
    for worker, version in client.run(_version).items():
        if version != (__version__, np.__version__):
            raise UserError(
                f"worker {worker} runs gridbot {version[0]} with numpy {version[1]}, and this is"
                f" {__version__} with {np.__version__}; bring it up to date"
            )


def _version() -> tuple[str, str]:
    return __version__, np.__version__


def _trials(rows: Integers, terms: Terms, task: Task) -> list[Trial]:
    *columns, low, high = rows
    return run_task(Candles("shared", Columns(*columns), reach=(low, high)), terms, task)


class _Spread:
    """Some tasks, and what came of them."""

    def __init__(self, client: Any, rows: Integers, terms: Terms, tasks: list[Task]) -> None:
        self._client = client
        self._rows = rows
        self._terms = terms
        self._tasks = tasks
        self._lost = 0

    def results(self) -> Iterator[list[Trial]]:
        """In the order of the tasks, whoever did them."""
        futures = self._submit(0)
        for number in range(len(self._tasks)):
            trials = self._result(futures[number])
            while trials is None:
                self._lost += 1
                if self._lost > ROUNDS:
                    raise UserError(
                        f"the pool lost its workers {self._lost} times; look at their memory",
                        ExitCode.STATE,
                    )
                self._client.wait_for_workers(1, timeout=PATIENCE_S)
                futures = futures[:number] + self._submit(number)
                trials = self._result(futures[number])
            yield trials

    def _submit(self, first: int) -> list[Any]:
        rows = self._client.scatter(self._rows, broadcast=True, hash=False)
        return [
            self._client.submit(_trials, rows, self._terms, task, pure=False, priority=-number)
            for number, task in enumerate(self._tasks[first:])
        ]

    def _result(self, future: Any) -> list[Trial] | None:
        """What came of a task; None where it got lost with its workers."""
        from distributed.scheduler import KilledWorker

        empty = 0.0
        while True:
            try:
                found: list[Trial] = future.result(timeout=LOOK_S)
            except TimeoutError:
                alone = not self._client.scheduler_info()["workers"]
                empty = empty + LOOK_S if alone else 0.0
                if empty > PATIENCE_S:
                    raise
            except (CancelledError, KilledWorker):
                return None
            else:
                return found
