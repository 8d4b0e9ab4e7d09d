"""Serves the API and the page until it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from gridbase.errors import UserError

from hub.api.application import MOST_CLIENTS, application
from hub.api.endpoints import Hub
from hub.api.first_books import first_books
from hub.api.live import Fleet
from hub.archive.place import Place
from hub.config import Config
from hub.database import pool
from hub.history import History
from hub.ledger import Ledger

# Clients that only connect are dropped (seconds); beside those that listen so many may ask at once.
_KEEP_ALIVE = 5
_ASKING = 100
# Whose word on HTTPS is taken: a reverse proxy on this host.
_PROXIES = ["127.0.0.1", "::1"]


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Hub]:
    """What answers are made from; the database need not be there yet.

    Args:
        config: with a section `server`.
    """
    server = config.need("server")
    if config.database is None:
        yield Hub(Fleet(None, None, server.live, server.programs), None, None, None)
        return
    async with await pool(config.database, server.connections) as connections:
        place = None if config.archive is None else Place(config.archive)
        history = History(connections, place)
        fleet = Fleet(connections, config.database, server.live, server.programs)
        ledger = Ledger(connections, history)
        reading = asyncio.create_task(ledger.adopt(first_books(config)))
        try:
            yield Hub(fleet, connections, history, ledger)
        finally:
            reading.cancel()
            await asyncio.wait([reading])


def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        config: with a section `server`.

    Raises:
        UserError: the address cannot be listened on, or there is nothing to show.
    """
    server = config.need("server")
    if config.database is None and not (server.live or server.programs):
        raise UserError(
            "none of [database], [[server.live]] and [[server.programs]] is there: nothing to show"
        )
    app = application(lambda: opened(config), server.tokens_file)
    program = uvicorn.Server(
        uvicorn.Config(
            app,
            host=server.host,
            port=server.port,
            limit_concurrency=MOST_CLIENTS + _ASKING,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=2,
            access_log=False,
            server_header=False,
            proxy_headers=True,
            forwarded_allow_ips=_PROXIES,
            log_level="warning",
            lifespan="on",
        )
    )
    program.run()
    if not program.started:
        raise UserError(f"server.host and port = {server.host}:{server.port}: cannot be served")
