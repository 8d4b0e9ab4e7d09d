"""The way to the Gateway's API through a socket of the file system.

The Gateway listens on its host's loopback address, which no container reaches. The host hands on
what comes through a socket in a directory: whoever has that directory mounted reaches the Gateway.
"""

import asyncio
from typing import Any


def through(connection: Any, path: str) -> None:
    """Have a connection of ib_async lead through a socket, whatever host and port it is told.

    Args:
        connection: a client's ``conn``.
        path: of the socket.
    """

    async def connect(_host: str, _port: int) -> None:
        if connection.transport:
            connection.disconnect()
            await connection.disconnected
        connection.reset()
        loop = asyncio.get_running_loop()
        connection.transport, _ = await loop.create_unix_connection(lambda: connection, path)

    connection.connectAsync = connect
