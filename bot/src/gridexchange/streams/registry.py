"""The exchange's WebSocket side without sockets: who is connected, and what each is told.

Whoever carries the messages (`server` over real sockets, a test in its own process) calls
`Streams.connect` for a new connection, `Connection.receive` for each message that arrives, and
`Connection.outgoing` for what is to be sent, after `Exchange.advance`.
"""

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import parse_qs

from gridexchange.counters import CONNECTIONS
from gridexchange.errors import ApiError
from gridexchange.faults.plan import SOCKET, Fate, Faults, Severed
from gridexchange.market.listing import Listing
from gridexchange.matching.orders import Report
from gridexchange.protocol.endpoints import Endpoints
from gridexchange.protocol.requests import Parameters
from gridexchange.protocol.routes import Request
from gridexchange.protocol.time_unit import wants_microseconds
from gridexchange.streams.connection import Connection
from gridexchange.streams.market_stream import MarketConnection
from gridexchange.streams.trading_stream import TradingConnection

__all__ = ["Connection", "Streams"]

TRADING_PATH = "/ws-api/v3"
RAW_PATH = "/ws"
COMBINED_PATH = "/stream"
CONNECT_WEIGHT = 2


class Streams:
    """All connections.

    Args:
        endpoints: what answers requests.
        faults: what goes wrong on purpose.
        most_connections: more are refused.

    Attributes:
        on_connect: called when somebody has connected, maybe by another thread.
    """

    def __init__(self, endpoints: Endpoints, faults: Faults, most_connections: int) -> None:
        self._endpoints = endpoints
        self._exchange = endpoints.exchange
        self._faults = faults
        self._most = most_connections
        self._connections: list[Connection] = []
        self.on_connect: Callable[[], None] | None = None
        self._exchange.listeners.append(self._tell)

    def connect(self, path: str, query: str, address: str) -> Connection:
        """Open a connection.

        Args:
            path: of the URL: /ws-api/v3, /ws/<stream> or /stream.
            query: of the URL, such as streams=btcusdt@kline_1m/btcusdt@miniTicker.
            address: who connects.

        Raises:
            ApiError: there is no such path or stream, there are too many connections, or the
                exchange is in maintenance.
            Severed: the connection breaks before it is open, on purpose.
        """
        self._suffer(path)
        with self._exchange.lock:
            connections = self.open_connections()
            if len(connections) >= self._most:
                raise ApiError(-1008, "Too many connections.", HTTPStatus.SERVICE_UNAVAILABLE)
            self._exchange.advance()
            parameters = parse_qs(query)
            microseconds = wants_microseconds(parameters.get("timeUnit", [None])[0])
            connection = self._connection(path, parameters, address)
            connection.microseconds = microseconds
            self._connections.append(connection)
            kind = "trading" if isinstance(connection, TradingConnection) else "market"
            self._exchange.counters.add(CONNECTIONS, kind)
        if self.on_connect is not None:
            self.on_connect()
        return connection

    def open_connections(self) -> list[Connection]:
        """Connections that are not closed."""
        with self._exchange.lock:
            self._connections = [item for item in self._connections if not item.closed]
            return list(self._connections)

    def shut_down(self) -> None:
        """Tell every client that the exchange stops, and cut it."""
        now_ms = self._exchange.clock.now_ms()
        with self._exchange.lock:
            for connection in self.open_connections():
                connection.shut_down(now_ms)

    def _suffer(self, path: str) -> None:
        """Let what goes wrong with connecting go wrong."""
        with self._exchange.lock:
            plan = self._faults.plan(SOCKET, "CONNECT", path.strip("/").partition("/")[0])
        if plan.late_s or plan.slow_s:
            self._exchange.clock.sleep(plan.late_s + plan.slow_s)
        if plan.fate is not Fate.ANSWER:
            raise Severed(plan)
        refusal = plan.refusal or plan.failure
        if refusal is not None:
            raise refusal

    def wait_ms(self) -> int | None:
        """Milliseconds until a market moves or a connection has something by itself."""
        with self._exchange.lock:
            waits = [self._exchange.wait_ms()]
            waits += [connection.wait_ms() for connection in self.open_connections()]
        return min((wait for wait in waits if wait is not None), default=None)

    def _connection(self, path: str, query: dict[str, list[str]], address: str) -> Connection:
        if path == TRADING_PATH:
            self._charge(address)
            tells_limits = query.get("returnRateLimits") != ["false"]
            return TradingConnection(
                self._endpoints, self._faults, address, tells_limits=tells_limits
            )
        if path == COMBINED_PATH:
            names = [name for name in query.get("streams", [""])[0].split("/") if name]
            return MarketConnection(self._exchange, self._faults, names, combined=True)
        if path == RAW_PATH or path.startswith(f"{RAW_PATH}/"):
            # Binance takes any name: ccxt.pro opens /ws/0, and subscribes later.
            names = [name for name in path.removeprefix(RAW_PATH).split("/") if "@" in name]
            return MarketConnection(self._exchange, self._faults, names, combined=False)
        raise ApiError(-1020, "This operation is not supported.", HTTPStatus.NOT_FOUND)

    def _charge(self, address: str) -> None:
        now_ms = self._exchange.clock.now_ms()
        request = Request("", "", Parameters({}, ""), address, None, now_ms)
        self._endpoints.charge(request, CONNECT_WEIGHT)

    def _tell(self, listing: Listing, reports: list[Report]) -> None:
        for connection in self._connections:
            if isinstance(connection, TradingConnection) and not connection.closed:
                connection.tell(listing, reports)
