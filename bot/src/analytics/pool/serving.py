"""A pool's scheduler and its workers, each until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from pathlib import Path
from typing import Any

import dask
from gridbase.errors import ExitCode, UserError

# Of a task: how many of the workers that had it may end before it counts as their killer.
ALLOWED_FAILURES = 20
QUIET = {
    # No pages: whoever can see them sees what runs.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.scheduler.dashboard.enabled": False,
    "distributed.worker.daemon": True,
    "distributed.worker.memory.spill": False,
    "distributed.comm.require-encryption": True,
    "distributed.admin.low-level-log-length": 0,
    "distributed.scheduler.work-stealing": True,
}
NOWHERE = "127.0.0.1:0"  # of HTTP servers that cannot be left out


def run_scheduler(listen: str, security: Any) -> None:
    """Hand out work until SIGTERM.

    Args:
        listen: where, such as ``tls://0.0.0.0:8786``.
        security: of the pool.

    Raises:
        UserError: nobody can listen there.
    """
    from distributed import Scheduler

    def make() -> Any:
        return Scheduler(
            host=listen,
            security=security,
            allowed_failures=ALLOWED_FAILURES,
            dashboard_address=NOWHERE,
            dashboard=False,
        )

    asyncio.run(_serve([make], f"--listen {listen}"))


def run_workers(
    scheduler: str, security: Any, *, processes: int, memory: int, port: int, scratch: Path
) -> None:
    """Work until SIGTERM, or until the scheduler is gone.

    Args:
        scheduler: its address.
        security: of the pool.
        processes: how many, each with one thread.
        memory: most that each may take (bytes); one that takes more starts anew.
        port: first one that they listen at; 0 for any.
        scratch: a directory that may be written to.

    Raises:
        UserError: the scheduler does not answer.
    """
    from distributed import Nanny
    from distributed.utils import get_ip

    name = scheduler.removeprefix("tls://").rpartition(":")[0].strip("[]")
    try:
        # Of the network that leads there; nothing is sent.
        own = get_ip(name, 80)  # type: ignore[no-untyped-call]  # Dask has no types there
    except OSError as error:
        raise UserError(f"--scheduler {scheduler}: {error}", ExitCode.EXCHANGE) from error

    def make() -> Any:
        return Nanny(
            scheduler,
            nthreads=1,
            host=own,
            port=f"{port}:{port + 2 * processes - 1}" if port else 0,
            worker_port=f"{port}:{port + 2 * processes - 1}" if port else 0,
            memory_limit=memory,
            security=security,
            local_directory=str(scratch),
            death_timeout=60,
            dashboard=False,
            dashboard_address=NOWHERE,
            silence_logs=logging.WARNING,
        )

    asyncio.run(_serve([make] * processes, f"--scheduler {scheduler}"))


async def _serve(makers: list[Any], where: str) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    logging.getLogger("distributed").setLevel(logging.WARNING)
    with dask.config.set(QUIET):
        try:
            async with contextlib.AsyncExitStack() as servers:
                started = [await servers.enter_async_context(make()) for make in makers]
                print(f"ready: {', '.join(server.address for server in started)}", flush=True)
                ended = [asyncio.ensure_future(server.finished()) for server in started]
                told = asyncio.ensure_future(stopping.wait())
                await asyncio.wait([told, *ended], return_when=asyncio.FIRST_COMPLETED)
                if not stopping.is_set():
                    raise UserError(f"{where}: the connection is gone", ExitCode.EXCHANGE)
        except (OSError, TimeoutError, RuntimeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{where}: {reason}", ExitCode.EXCHANGE) from error
