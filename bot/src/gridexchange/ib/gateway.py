"""The practice Gateway without its sockets: connections, answers, the market's time, its faults."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gridexchange.ib import messages
from gridexchange.ib.account import AccountSettings, OrderRefusedError, StockAccount
from gridexchange.ib.calendar import is_open
from gridexchange.ib.connection import Connection, Peer
from gridexchange.ib.faults import GatewayFaults
from gridexchange.ib.market import SessionMarket
from gridexchange.ib.options import Quoted
from gridexchange.ib.quotes import Quotes, ticks
from gridexchange.ib.records import PENDING, Execution, Stock, StockOrder
from gridexchange.ib.requests import PlacedOrder, Reader, WantedContract, read_order
from gridexchange.ib.rules import PacingRules
from gridexchange.ib.store import GatewayStore
from gridexchange.ib.timetable import Timetable

log = logging.getLogger(__name__)

MINUTE_MS = 60_000
LOST_BEFORE_RESTART_MS = 1000
LATE_ANSWER_MS, LATE_ACCEPTANCE_MS, LATE_COMMISSION_MS = 3000, 4000, 5000
CORRECTED_MS = 300


class Clock(Protocol):
    """Time."""

    def now_ms(self) -> int:
        """Unix milliseconds."""


@dataclass(frozen=True)
class GatewaySettings:
    """How the Gateway is set up.

    Attributes:
        account: the one account.
        stock: what is traded.
        read_only: no orders are taken over the API.
        others: stocks whose prices are told, and that are not traded here.
        snapshot_ms: until a snapshot ends; the real Gateway takes 11 s.
    """

    account: AccountSettings
    stock: Stock
    read_only: bool = False
    others: tuple[Stock, ...] = ()
    snapshot_ms: int = 300


# Takes the Gateway, a client and the fields of its message.
Handler = Callable[["Gateway", Connection, list[str]], None]


class Gateway:
    """See the module's text. One thread at a time.

    Args:
        settings: how it is set up.
        clock: time.
        store: the books.
        open_market: the walk of prices, from the time when the account began.
        handlers: by the number of a message, who answers it, and whether the answer may get lost.
        counters: by the number of a message, who counts it as it arrives, whatever goes wrong then.
        faults: what goes wrong.

    Attributes:
        account: orders and money.
        quotes: stocks and options whose prices are told.
        rules: what was asked, and which pacing rules that broke.
        link_up: whether the Gateway reaches IB.
        competing: whether another session has the market data.
        hang_ups: why clients were disconnected.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        clock: Clock,
        store: GatewayStore,
        open_market: Callable[[int], SessionMarket],
        handlers: Mapping[int, tuple[Handler, bool]],
        *,
        counters: Mapping[int, Handler] | None = None,
        faults: GatewayFaults | None = None,
    ) -> None:
        self.settings, self.stock, self.clock = settings, settings.stock, clock
        self.faults = faults or GatewayFaults()
        self.rules = PacingRules()
        self.quotes = Quotes(settings.stock, *settings.others)
        self.account = StockAccount(settings.account, settings.stock, store)
        if self.account.began_ms is None:
            self.account.began_ms = clock.now_ms() // MINUTE_MS * MINUTE_MS
            self.account.commit()
        self.market = open_market(self.account.began_ms)
        self.connections: list[Connection] = []
        self.later = Timetable()
        self.link_up, self.competing = True, False
        self.down_until_ms = self.restarts_ms = 0
        self.hang_ups: list[str] = []
        self._handlers, self._counters = handlers, counters or {}
        if self.account.position < 0:
            self.account.position = self.market.position(clock.now_ms())
        self.account.price = self.market.price(self.account.position)

    @property
    def name(self) -> str:
        """The account's."""
        return self.settings.account.name

    # Connections.

    def accept(self, peer: Peer) -> Connection | None:
        """A client connects; None where nobody listens now."""
        if self.clock.now_ms() < self.down_until_ms:
            return None
        connection = Connection(peer, self._handle, self._gone)
        connection.greeting = lambda: messages.server_time(self.clock.now_ms())
        self.connections.append(connection)
        return connection

    def _gone(self, connection: Connection, reason: str) -> None:
        if reason:
            self.hang_ups.append(reason)
            log.warning("client %s disconnected: %s", connection.client_id, reason)
        self.connections.remove(connection)

    def _handle(self, connection: Connection, fields: list[str]) -> None:
        self.advance()
        reader = Reader(fields)
        kind = reader.number()
        now = self.clock.now_ms() / 1000
        client = -1 if connection.client_id is None else connection.client_id
        if not self.rules.message(client, now):
            self.error(connection, -1, 100, "Max rate of messages per second has been exceeded")
            connection.hang_up("more than 50 messages in a second")
            return
        if kind == 71:
            self._start(connection, fields)
        elif connection.client_id is None:
            connection.hang_up("a request before the client's ID")
        elif kind in self._handlers:
            self._answer(connection, kind, fields[1:])
        else:
            self.error(connection, -1, 505, f"Fatal Error: Unknown message id {kind}")

    def _answer(self, connection: Connection, kind: int, fields: list[str]) -> None:
        handler, fallible = self._handlers[kind]
        if kind in self._counters:
            self._counters[kind](self, connection, fields)
        fault = self.faults.of("question") if fallible else ""
        if fault == "hung up":
            connection.hang_up("fault: hung up")
        elif fault == "late answer":
            late = self.clock.now_ms() + LATE_ANSWER_MS
            self.later.at(late, lambda: handler(self, connection, fields))
        elif not fault and (self.link_up or not fallible):
            handler(self, connection, fields)

    def _start(self, connection: Connection, fields: list[str]) -> None:
        wanted = Reader(fields[2:]).number()
        if any(other.client_id == wanted for other in self.connections):
            self.error(connection, -1, 326, "Unable to connect as the client id is already in use.")
            connection.hang_up("client ID in use")
            return
        connection.client_id = wanted
        connection.send([15, 1, self.name])
        connection.send([9, 1, self.account.next_order_id(wanted)])
        self.error(connection, -1, 2104, "Market data farm connection is OK:usfarm")
        if not self.link_up:
            self.error(connection, -1, 1100, "Connectivity between IB and the Gateway is lost.")

    def error(self, connection: Connection, request: int, code: int, text: str) -> None:
        """Tell a client of an error."""
        connection.send(messages.error(connection.version, request, code, text))

    def tell_all(self, code: int, text: str) -> None:
        """A notice for everybody."""
        for connection in list(self.connections):
            if connection.client_id is not None:
                self.error(connection, -1, code, text)

    def owner(self, order: StockOrder) -> Connection | None:
        """The connection that is told of an order."""
        for connection in self.connections:
            if connection.client_id == order.client_id:
                return connection
        return None

    # Time.

    def advance(self) -> None:
        """Let happen what has become due: fills, late answers, ticks."""
        now = self.clock.now_ms()
        self.later.run(now)
        account, target = self.account, self.market.position(now)
        moved = target > account.position
        expired = account.expire(now)
        while account.position < target:
            account.position += 1
            trades = account.walk(self.market.leg(account.position), now)
            if trades:
                account.commit()  # what a client is told is durable
                for trade in trades:
                    self.report(trade)
        if moved or expired:
            account.commit()
        for order in expired:
            self.tell_order(order)
        if moved and self.link_up and not self.competing:
            for connection in list(self.connections):
                for request, quoted in sorted(connection.lines.items()):
                    self.tick(connection, request, quoted)

    def tick(self, connection: Connection, request: int, quoted: Quoted) -> None:
        """Prices of one line."""
        for fields in ticks(request, quoted, self.account.price, self.clock.now_ms()):
            connection.send(fields)

    # Orders.

    def place(self, connection: Connection, fields: list[str]) -> None:
        """A client places or changes an order."""
        assert connection.client_id is not None  # noqa: S101  checked before any request
        now = self.clock.now_ms()
        if now >= self.restarts_ms - LOST_BEFORE_RESTART_MS > 0:
            return  # what is sent in the second of the restart is lost
        placed = read_order(fields, connection.client_id, now)
        fault = self.faults.of("order")
        if fault == "lost order":
            connection.hang_up("fault: lost order")
        elif fault == "late acceptance":
            self.later.at(now + LATE_ACCEPTANCE_MS, lambda: self._accept(connection, placed, ""))
        else:
            self._accept(connection, placed, fault)

    def _accept(self, connection: Connection, placed: PlacedOrder, fault: str) -> None:
        order, account = placed.order, self.account
        try:
            self._check(placed, fault)
            order = account.place(order)
        except OrderRefusedError as error:
            self.error(connection, order.order_id, error.code, error.text)
            return
        if not self.link_up:
            order.status = PENDING
        account.commit()
        if fault != "lost acknowledgement":
            self.tell_order(order)
        if self.link_up:
            self._trade_at_once(order)

    def _check(self, placed: PlacedOrder, fault: str) -> None:
        if self.settings.read_only:
            raise OrderRefusedError(321, "The API interface is currently in Read-Only mode.")
        if placed.account not in {"", self.name}:
            raise OrderRefusedError(321, "Error validating request: Invalid account code.")
        if not self.knows(placed.contract):
            raise OrderRefusedError(200, "No security definition has been found for the request")
        if fault == "refused":
            raise OrderRefusedError(201, "Order rejected - reason:fault")
        self.rules.calls["orders"] += 1
        order, peers = placed.order, self.account.open_orders
        same = [peer for peer in peers if peer.action == order.action]
        new = self.account.find(order.client_id, order.order_id) is None
        if new and not self.rules.active_orders(len(same) + 1):
            raise OrderRefusedError(201, "Order rejected - reason:20 working orders on this side")

    def _trade_at_once(self, order: StockOrder) -> None:
        trades = self.account.take(order, self.clock.now_ms())
        if trades:
            self.account.commit()
        for trade in trades:
            self.report(trade)

    def knows(self, contract: WantedContract) -> bool:
        """Whether a client's contract is the stock that is traded here."""
        if contract.con_id:
            return contract.con_id == self.stock.con_id
        return (contract.symbol, contract.kind) == (self.stock.symbol, "STK")

    def tell_order(self, order: StockOrder, to: Connection | None = None) -> None:
        """Tell of an order as it stands."""
        connection = to or self.owner(order)
        if connection is not None and self.link_up:
            connection.send(messages.open_order(connection.version, self.stock, order, self.name))
            connection.send(messages.order_status(order))

    def report(self, trade: Execution) -> None:
        """Tell of a trade: the execution, the order, the commission."""
        order = self.account.orders[trade.perm_id]
        fault = self.faults.of("trade")
        if fault == "lost report":
            return
        self.tell_trade(trade)
        if fault == "doubled execution":
            self.tell_trade(trade)
        self.tell_order(order)
        if fault == "corrected execution":
            better = -self.stock.min_tick if order.action == "BUY" else self.stock.min_tick
            corrected = self.account.correct(trade, trade.price + better)
            self.account.commit()
            late = self.clock.now_ms() + CORRECTED_MS
            self.later.at(late, lambda: self._tell_whole(corrected))
        elif fault == "late commission":
            late = self.clock.now_ms() + LATE_COMMISSION_MS
            self.later.at(late, lambda: self.tell_commission(trade))
        else:
            self.tell_commission(trade)

    def _tell_whole(self, trade: Execution) -> None:
        self.tell_trade(trade)
        self.tell_commission(trade)

    def tell_trade(self, trade: Execution, to: Connection | None = None, request: int = -1) -> None:
        """Tell of an execution."""
        order = self.account.orders[trade.perm_id]
        connection = to or self.owner(order)
        if connection is not None and self.link_up:
            connection.send(
                messages.execution(
                    connection.version, request, self.stock, order, trade, account=self.name
                )
            )

    def tell_commission(self, trade: Execution, to: Connection | None = None) -> None:
        """Tell of a commission."""
        connection = to or self.owner(self.account.orders[trade.perm_id])
        if connection is not None and self.link_up:
            connection.send(messages.commission(trade, self.stock.currency))

    # What happens to the whole of it.

    def lose_link(self) -> None:
        """IB cannot be reached: what trades is not told, new orders wait."""
        self.tell_all(1100, "Connectivity between IB and the Gateway has been lost.")
        self.link_up = False

    def restore_link(self, *, data_lost: bool) -> None:
        """IB can be reached again; streams are gone where data was lost."""
        self.link_up = True
        code = 1101 if data_lost else 1102
        if data_lost:
            for connection in self.connections:
                connection.lines.clear()
        self.tell_all(code, "Connectivity between IB and the Gateway has been restored.")
        for order in self.account.submit_pending():
            self.tell_order(order)
        self.account.commit()

    def restart(self, seconds: float) -> None:
        """Everybody is disconnected, and nobody listens for a while."""
        self.restarts_ms = 0
        self.down_until_ms = self.clock.now_ms() + round(seconds * 1000)
        for connection in list(self.connections):
            connection.hang_up("the Gateway restarts")
        self.later.clear()
        self.link_up = True
        self.account.submit_pending()
        self.account.commit()

    def restart_at(self, time_ms: int, seconds: float) -> None:
        """Restart at a time (Unix milliseconds), unless `restarts_ms` says otherwise by then."""

        def act() -> None:
            if self.restarts_ms == time_ms:
                self.restart(seconds)

        self.restarts_ms = time_ms
        self.later.at(time_ms, act)

    def document(self) -> dict[str, object]:
        """State for people and tests."""
        return {
            "account": self.name,
            "open": is_open(self.clock.now_ms()),
            "price": str(self.account.price),
            "clients": sorted(
                other.client_id for other in self.connections if other.client_id is not None
            ),
            "faults": dict(self.faults.counts),
            **self.account.document(),
            **self.rules.document(),
        }
