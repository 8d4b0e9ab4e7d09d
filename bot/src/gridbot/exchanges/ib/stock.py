"""One stock on one account, asked through ib_async's client: each method is one question."""

import asyncio
from decimal import Decimal
from typing import Any

from ib_async.contract import Contract
from ib_async.objects import ExecutionFilter
from ib_async.order import LimitOrder

from gridbot.core.orders import Order
from gridbot.exchanges.ib.answers import Trade, amount, latest_revisions, read_order, read_trade
from gridbot.exchanges.ib.connection import LEAST_SECONDS, IbConnection
from gridbot.exchanges.ib.listener import LAST, Line
from gridbot.exchanges.port import BrokerError, Failure, RemoteOrder

COMMISSION_SECONDS = 5.0
# Names of candles at the Gateway, and how many a day of regular hours has at least.
BARS = {
    "1m": ("1 min", 390),
    "3m": ("3 mins", 130),
    "5m": ("5 mins", 78),
    "15m": ("15 mins", 26),
    "30m": ("30 mins", 13),
    "1h": ("1 hour", 7),
    "2h": ("2 hours", 4),
    "4h": ("4 hours", 2),
    "1d": ("1 day", 1),
}


class Stock:
    """A stock or ETF.

    Args:
        account: makes the requests.
        symbol: such as ``SPY``.
        currency: of its prices.
    """

    def __init__(self, account: IbConnection, symbol: str, currency: str) -> None:
        self._account, self._symbol, self._currency = account, symbol, currency
        self._contract: Contract | None = None
        self._line: tuple[int, Line] | None = None
        self._numbers: dict[str, int] = {}  # this client's numbers of open orders, by name

    async def details(self) -> Any:
        """The contract's rules and hours."""
        wanted = Contract(
            secType="STK", symbol=self._symbol, exchange="SMART", currency=self._currency
        )
        client = self._account.client
        number = client.getReqId()
        rows = await self._account.answer(number, lambda: client.reqContractDetails(number, wanted))
        numbers = {details.contract.conId for details in rows}
        if len(numbers) != 1:
            raise ValueError(f"{len(numbers)} contracts for {self._symbol}")
        self._contract = rows[0].contract
        return rows[0]

    async def contract(self) -> Contract:
        """The contract, asked for once."""
        if self._contract is None:
            await self.details()
        if self._contract is None:
            raise AssertionError("details name the contract")
        return self._contract

    # Prices.

    def live_line(self) -> Line | None:
        """The line of prices, while it is open and has told a price."""
        if self._line is None:
            return None
        number, line = self._line
        listener = self._account.listener
        alive = listener.lines.get(number) is line and listener.link_up
        return line if alive and LAST in line.prices else None

    async def line(self) -> Line:
        """The line of prices, opened where that is not so."""
        line = self.live_line()
        if line is not None:
            return line
        contract, client = await self.contract(), self._account.client
        number, line = client.getReqId(), Line(self._account.slot("lines"))
        self._line = (number, line)
        self._account.listener.lines[number] = line
        try:
            await self._account.answer(
                number,
                lambda: client.reqMktData(
                    number,
                    contract,
                    "",
                    snapshot=False,
                    regulatorySnapshot=False,
                    mktDataOptions=[],
                ),
            )
        except BaseException:
            # A line that nobody reads would stay open.
            if self._account.listener.lines.pop(number, None) and client.isReady():
                client.cancelMktData(number)
                self._account.pacer.leave(anyway=True)
            raise
        return line

    async def bars(self, interval: str, count: int) -> list[Any]:
        """The latest candles of regular hours, oldest first, `count` or more.

        Args:
            interval: a key of `BARS`.
            count: how many.
        """
        contract, client = await self.contract(), self._account.client
        bar, a_day = BARS[interval]
        duration = f"{count // a_day + 2} D"
        await self._account.pace_history(str(contract.conId), f"{duration} {bar}", "TRADES")
        number = client.getReqId()
        with self._account.slot("history"):
            rows: list[Any] = await self._account.answer(
                number,
                lambda: client.reqHistoricalData(
                    number,
                    contract,
                    "",
                    duration,
                    bar,
                    "TRADES",
                    useRTH=True,
                    formatDate=2,
                    keepUpToDate=False,
                    chartOptions=[],
                ),
            )
        return rows

    # The account.

    async def cash(self) -> Decimal:
        """Cash of the stock's currency."""
        account, client = self._account, self._account.client
        rows = await account.answer(
            "account", lambda: client.reqAccountUpdates(subscribe=True, acctCode=account.account)
        )
        client.reqAccountUpdates(subscribe=False, acctCode=account.account)
        account.pacer.leave(anyway=True)
        wanted = ("TotalCashBalance", self._currency, account.account)
        cash = [
            Decimal(value) for key, value, currency, name in rows if (key, currency, name) == wanted
        ]
        if not cash:
            raise ValueError(f"no cash in {self._currency} is told")
        return cash[-1]

    async def held(self) -> Decimal:
        """Shares on the account."""
        account, contract = self._account, await self.contract()
        rows = await account.answer("positions", account.client.reqPositions)
        wanted = (account.account, contract.conId)
        held = [amount(shares) for name, number, shares in rows if (name, number) == wanted]
        return held[-1] if held else Decimal(0)

    # Orders.

    async def place(self, order: Order) -> RemoteOrder:
        """Send an order; its answer is how it stands then."""
        contract, client = await self.contract(), self._account.client
        number = client.getReqId()
        wanted = LimitOrder(
            order.side.upper(),
            float(order.quantity),
            float(order.price),
            orderRef=order.client_id,
            account=self._account.account,
            tif="GTC",
            outsideRth=False,
        )
        row = await self._account.answer(
            ("order", number), lambda: client.placeOrder(number, contract, wanted)
        )
        remote = _read(row)
        if remote.client_id != order.client_id:
            raise BrokerError(
                Failure.AMBIGUOUS,
                f"Gateway {self._account.address}: the answer to order {order.client_id} is about "
                f"{remote.client_id}, which has its number {number}",
            )
        if not remote.closed:
            self._numbers[remote.client_id] = number
        return remote

    async def cancel(self, client_id: str) -> None:
        """Cancel an order, and wait until it is."""
        if client_id not in self._numbers:
            await self.open_orders()
        number = self._numbers.get(client_id)
        if number is None:
            raise BrokerError(
                Failure.NOT_FOUND, f"Gateway {self._account.address}: no open order {client_id}"
            )
        client = self._account.client
        await self._account.answer(("cancel", number), lambda: client.cancelOrder(number))

    async def find(self, client_id: str) -> RemoteOrder:
        """The order with this client order ID; of several, the one that is open or has traded.

        IB lists an order that it has refused as canceled, and it is sent again under its name.
        """
        named: list[RemoteOrder] = []
        # One that is done between the first two lists is in the second; the third is for one that
        # was accepted after the first.
        for orders in (self.open_orders, self.completed_orders, self.open_orders):
            named += [order for order in await orders() if order.client_id == client_id]
            for order in named:
                if order.executed or not order.closed:
                    return order
        address = self._account.address
        if any(trade.order_ref == client_id for trade in await self.executions()):
            raise BrokerError(
                Failure.AMBIGUOUS,
                f"Gateway {address}: order {client_id} traded, and no list has it",
            )
        if not named:
            message = f"Gateway {address}: there is no order {client_id}"
            raise BrokerError(Failure.NOT_FOUND, message)
        return named[-1]

    async def open_orders(self) -> list[RemoteOrder]:
        """Orders that may still trade."""
        client = self._account.client
        rows = await self._own(await self._account.answer("open orders", client.reqAllOpenOrders))
        mine = [row[1] for row in rows if row[1].clientId == client.clientId]
        self._numbers = {order.orderRef: order.orderId for order in mine}
        orders = [_read(row) for row in rows]
        return [order for order in orders if not order.closed]

    async def completed_orders(self) -> list[RemoteOrder]:
        """Orders that are done, as long as the Gateway tells of them."""
        client = self._account.client
        rows = await self._account.answer(
            "completed orders", lambda: client.reqCompletedOrders(apiOnly=False)
        )
        return [_read(row) for row in await self._own(rows)]

    async def _own(self, rows: list[Any]) -> list[Any]:
        """Rows of this account's limit orders on this stock."""
        contract = await self.contract()
        wanted = (contract.conId, self._account.account, "LMT")
        return [row for row in rows if (row[0], row[1].account, row[1].orderType) == wanted]

    # Trades.

    async def executions(self) -> list[Trade]:
        """Executions since midnight, each as it was last corrected and with what it cost."""
        account, contract = self._account, await self.contract()
        client = account.client
        number = client.getReqId()
        wanted = ExecutionFilter(acctCode=account.account, symbol=self._symbol)
        rows = await account.answer(number, lambda: client.reqExecutions(number, wanted))
        own = [
            execution
            for con_id, execution in rows
            if (con_id, execution.acctNumber) == (contract.conId, account.account)
        ]
        newest: dict[str, Any] = {}
        for execution in sorted(own, key=lambda one: str(one.execId)):
            newest[execution.execId.rpartition(".")[0]] = execution
        await self._wait_for_commissions({one.execId for one in newest.values()})
        reports = account.listener.commissions
        return latest_revisions(read_trade(one, reports[one.execId]) for one in newest.values())

    async def _wait_for_commissions(self, wanted: set[str]) -> None:
        """Reports follow the list of executions; a trade without one is not booked."""
        account, listener = self._account, self._account.listener
        end = account.monotonic() + COMMISSION_SECONDS
        while missing := wanted - listener.commissions.keys():
            rest = end - account.monotonic()
            if rest <= 0:
                raise BrokerError(
                    Failure.AMBIGUOUS,
                    f"Gateway {account.address}: {len(missing)} executions without a commission "
                    f"report ({min(missing)})",
                )
            try:
                await asyncio.wait_for(listener.expect("commission"), max(rest, LEAST_SECONDS))
            except TimeoutError:
                continue
            finally:
                listener.drop("commission")


def _read(row: tuple[int, Any, str, float]) -> RemoteOrder:
    _, order, state, filled = row
    return read_order(order, state, filled)
