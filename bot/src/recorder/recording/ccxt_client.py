"""The client of ccxt.pro that one exchange is recorded by."""

import asyncio
from collections.abc import Callable
from typing import Any

from gridbase.ccxt_package import redirected, spot_alone, streaming_class
from gridbase.errors import ExitCode, UserError

# What ccxt needs to be told: it streams single trades, and answers with aggregate ones.
AGGREGATE = {
    "watchTrades": {"name": "aggTrade"},
    "watchTradesForSymbols": {"name": "aggTrade"},
}
OPTIONS = {"binance": AGGREGATE, "binanceus": AGGREGATE}


def new_client(
    exchange: str,
    loop: asyncio.AbstractEventLoop,
    rest: str,
    streams: str,
    connected: Callable[[str], None],
) -> Any:
    """Make ccxt's client of an exchange.

    Args:
        exchange: its name in ccxt.
        loop: everything of its own runs there.
        rest: another address for requests; empty for the exchange's own.
        streams: the same for its streams.
        connected: called with the URL of each connection that is there.

    Raises:
        UserError: ccxt is not installed.
    """
    try:
        kind = streaming_class(exchange)
    except ModuleNotFoundError as error:
        needed = "aiohttp" if error.name == "aiohttp" else "ccxt"
        raise UserError(
            f'exchange = "{exchange}" needs the package {needed}, which this recorder is without:'
            " use the image recorder-ccxt",
            ExitCode.USAGE,
        ) from error

    def on_connected(self: Any, connection: Any, message: Any = None) -> None:
        connected(connection.url)
        kind.on_connected(self, connection, message)

    # ccxt calls it for each connection that is there.
    client = type(exchange, (kind,), {"on_connected": on_connected})(
        {
            "asyncio_loop": loop,
            "options": {"defaultType": "spot", "fetchCurrencies": False, "fetchMargins": False}
            | OPTIONS.get(exchange, {}),
        }
    )
    spot_alone(client)
    for protocol, url in (("https?", rest), ("wss?", streams)):
        if url:
            client.urls["api"] = redirected(client.urls["api"], url, protocol)
    return client
