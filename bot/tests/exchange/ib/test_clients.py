"""The unmodified clients on a real socket: connect, place, fill, cancel, connect again."""

import asyncio
import importlib
import os
import sys
import threading
from pathlib import Path

import pytest

from .conftest import serving

library = pytest.importorskip("ib_async")


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.usefixtures("loop")
def test_ib_async_connects_places_fills_cancels_and_comes_back(make_gateway):
    gateway = make_gateway()
    with serving(gateway) as (port, call):
        ib = library.IB()
        ib.connect("127.0.0.1", port, clientId=3, timeout=10)
        assert (ib.client.serverVersion(), ib.managedAccounts()) == (178, ["DU1234567"])
        (contract,) = ib.qualifyContracts(library.Stock("SPY", "SMART", "USD"))
        price = float(call(lambda: gateway.account.price))
        resting = library.LimitOrder("BUY", 10, price - 5, orderRef="pi1-rest", tif="GTC")
        taking = library.LimitOrder("BUY", 20, price + 1, orderRef="pi1-take", tif="GTC")
        kept, filled = ib.placeOrder(contract, resting), ib.placeOrder(contract, taking)
        while not (filled.fills and filled.fills[0].commissionReport.commission):
            ib.sleep(0.02)
        assert (filled.orderStatus.status, filled.fills[0].execution.price) == ("Filled", price)
        assert filled.fills[0].commissionReport.commission == 1.0
        ib.disconnect()
        # A new connection of the same client finds both by their names.
        while call(lambda: gateway.connections):
            ib.sleep(0.02)
        ib.connect("127.0.0.1", port, clientId=3, timeout=10)
        (again,) = ib.openTrades()
        assert (again.order.orderRef, again.order.permId) == ("pi1-rest", kept.order.permId)
        assert [fill.execution.orderRef for fill in ib.fills()] == ["pi1-take"]
        assert [held.position for held in ib.positions()] == [20.0]
        ib.cancelOrder(again.order)
        while again.isActive():
            ib.sleep(0.02)
        done = {trade.order.orderRef: trade for trade in ib.reqCompletedOrders(apiOnly=False)}
        assert done["pi1-rest"].orderStatus.status == "Cancelled"
        ib.disconnect()


@pytest.mark.usefixtures("loop")
def test_a_client_id_is_in_use_until_its_connection_ends(make_gateway):
    gateway = make_gateway()
    with serving(gateway) as (port, _):
        first, second = library.IB(), library.IB()
        codes = []
        second.errorEvent += lambda _request, code, *_: codes.append(code)
        first.connect("127.0.0.1", port, clientId=3, timeout=10)
        with pytest.raises((ConnectionError, TimeoutError)):
            second.connect("127.0.0.1", port, clientId=3, timeout=0.5)
        assert 326 in codes
        first.disconnect()


def test_ibapi_at_157(make_gateway, monkeypatch):
    """The official client of 2020; its licence is not free, so it is not installed by itself."""
    where = os.environ.get("GRIDBERRY_IBAPI")
    if where is None:
        pytest.skip("GRIDBERRY_IBAPI names no directory with ibapi 9.81.1")
    monkeypatch.setattr(sys, "path", [str(Path(where)), *sys.path])
    wrapper_class = importlib.import_module("ibapi.wrapper").EWrapper
    client_class = importlib.import_module("ibapi.client").EClient
    heard, ready, done = [], threading.Event(), threading.Event()

    class Client(wrapper_class, client_class):
        def __init__(self):
            wrapper_class.__init__(self)
            client_class.__init__(self, self)

        def nextValidId(self, orderId):  # noqa: N802, N803  the library's names
            heard.append(("next", orderId))
            ready.set()

        def openOrder(self, _number, contract, order, state):  # noqa: N802
            heard.append(("open", contract.symbol, order.orderRef, state.status))

        def execDetails(self, _request, _contract, execution):  # noqa: N802
            heard.append(("trade", execution.orderRef, execution.shares, execution.price))

        def commissionReport(self, report):  # noqa: N802
            heard.append(("commission", report.commission))
            done.set()

        def orderStatus(self, number, status, *_):  # noqa: N802
            heard.append(("status", number, status))

    gateway = make_gateway()
    with serving(gateway) as (port, call):
        client = Client()
        client.connect("127.0.0.1", port, 4)
        thread = threading.Thread(target=client.run)
        thread.start()
        assert ready.wait(10)
        assert client.serverVersion() == 157
        contract = importlib.import_module("ibapi.contract").Contract()
        contract.symbol, contract.secType = "SPY", "STK"
        contract.exchange, contract.currency = "SMART", "USD"
        price = float(call(lambda: gateway.account.price))
        order_class = importlib.import_module("ibapi.order").Order
        for number, (name, limit) in enumerate((("take", price + 1), ("rest", price - 5)), 1):
            order = order_class()
            order.action, order.totalQuantity, order.orderType = "BUY", 10, "LMT"
            order.lmtPrice, order.orderRef, order.tif = limit, name, "GTC"
            order.eTradeOnly = order.firmQuoteOnly = False
            client.placeOrder(number, contract, order)
        assert done.wait(10)
        client.cancelOrder(2)
        while ("status", 2, "Cancelled") not in heard:
            threading.Event().wait(0.02)
        client.disconnect()
        thread.join(10)
    assert ("open", "SPY", "rest", "Submitted") in heard
    assert ("trade", "take", 10.0, price) in heard
    assert ("commission", 1.0) in heard
