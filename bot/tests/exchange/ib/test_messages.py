"""Each message byte by byte, as ib_async's own decoder reads it at every version."""

from decimal import Decimal

import pytest
from gridexchange.ib import messages
from gridexchange.ib.records import Execution, Stock, StockOrder
from gridexchange.ib.wire import NEWEST, OLDEST, pack

from .conftest import OPENED_MS

decoders = pytest.importorskip("ib_async.decoder")

ACCOUNT = "DU1234567"
VERSIONS = range(OLDEST, NEWEST + 1)
STOCK = Stock()


class Heard:
    """Takes every call of the decoder."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *values: self.calls.append((name, *values))

    defaultTimezone = messages.NEW_YORK  # noqa: N815  the library's name


def order(**changes):
    values = {
        "perm_id": 1700000001,
        "client_id": 3,
        "order_id": 12,
        "action": "SELL",
        "quantity": Decimal(30),
        "kind": "LMT",
        "limit": Decimal("512.34"),
        "tif": "GTC",
        "outside_rth": False,
        "reference": "pi1-SPYUSD-abc123-7s1",
        "created_ms": OPENED_MS,
    }
    return StockOrder(**(values | changes))


TRADE = Execution(
    "6553f101.00000007.01.02",
    1700000001,
    Decimal("512.35"),
    Decimal(10),
    Decimal(20),
    Decimal("1.05"),
    OPENED_MS,
)


def decoded(version, fields):
    """What the decoder makes of a message's bytes; an error of it is raised."""
    size, body = int.from_bytes(pack(fields)[:4], "big"), pack(fields)[4:]
    assert size == len(body)
    heard = Heard()
    decoder = decoders.Decoder(heard, version)
    texts = body.decode().split("\0")[:-1]
    decoder.handlers[int(texts[0])](texts)
    return heard.calls


def needs_every_field(version, fields):
    """Without its last field the message cannot be read: it has none too many."""
    with pytest.raises((ValueError, IndexError)):
        decoded(version, fields[:-1])


@pytest.mark.parametrize("version", VERSIONS)
def test_an_open_order(version):
    fields = messages.open_order(version, STOCK, order(), ACCOUNT)
    ((name, number, contract, seen, state),) = decoded(version, fields)
    assert (name, number, contract.conId, contract.exchange) == (
        "openOrder",
        12,
        STOCK.con_id,
        "SMART",
    )
    assert (seen.action, seen.totalQuantity, seen.lmtPrice) == ("SELL", 30.0, 512.34)
    assert (seen.orderRef, seen.permId, seen.clientId) == (order().reference, 1700000001, 3)
    assert (seen.tif, seen.account, state.status) == ("GTC", ACCOUNT, "Submitted")
    assert not seen.outsideRth
    assert not seen.conditions
    needs_every_field(version, fields)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_completed_order(version):
    closed = order(status="Cancelled", filled=Decimal(20), closed_ms=OPENED_MS)
    fields = messages.completed_order(version, STOCK, closed, ACCOUNT)
    ((name, contract, seen, state),) = decoded(version, fields)
    assert (name, contract.symbol) == ("completedOrder", "SPY")
    assert (seen.permId, seen.filledQuantity) == (1700000001, 20.0)
    assert seen.orderRef == closed.reference
    assert (state.status, state.completedStatus) == ("Cancelled", "Cancelled by Trader")
    assert state.completedTime == "20261110 10:30:00 US/Eastern"
    needs_every_field(version, fields)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_execution_and_its_commission(version):
    fields = messages.execution(version, 5, STOCK, order(), TRADE, account=ACCOUNT)
    ((name, request, contract, seen),) = decoded(version, fields)
    assert (name, request, contract.symbol) == ("execDetails", 5, "SPY")
    assert (seen.execId, seen.side, seen.shares, seen.price) == (TRADE.exec_id, "SLD", 10.0, 512.35)
    assert (seen.permId, seen.clientId, seen.cumQty) == (1700000001, 3, 20.0)
    assert seen.orderRef == order().reference
    assert round(seen.time.timestamp() * 1000) == OPENED_MS
    needs_every_field(version, fields)
    ((_, report),) = decoded(version, messages.commission(TRADE, "USD"))
    assert (report.execId, report.commission, report.currency) == (TRADE.exec_id, 1.05, "USD")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_contract_with_its_sessions(version):
    hours = "20261110:0930-20261110:1600;20261111:CLOSED"
    fields = messages.contract_details(version, 9, STOCK, hours)
    ((name, request, details),) = decoded(version, fields)
    assert (name, request) == ("contractDetails", 9)
    assert (details.contract.conId, details.contract.currency) == (STOCK.con_id, "USD")
    assert (details.minTick, details.liquidHours) == (0.01, hours)
    assert details.timeZoneId == messages.ZONE
    assert details.stockType == "COMMON"
    needs_every_field(version, fields)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_error(version):
    fields = messages.error(version, 4, 201, "Order rejected")
    ((name, *values),) = decoded(version, fields)
    assert (name, values[:3]) == ("error", [4, 201, "Order rejected"])


def test_what_is_the_same_at_all_versions():
    ((_, *status),) = decoded(NEWEST, messages.order_status(order(filled=Decimal(10))))
    assert status == [12, "Submitted", 10.0, 20.0, 0.0, 1700000001, 0, 0.0, 3, "", 0.0]
    ((_, account, contract, shares, _),) = decoded(
        NEWEST, messages.position(STOCK, Decimal(30), Decimal(500), ACCOUNT)
    )
    assert (account, contract.conId, shares) == (ACCOUNT, STOCK.con_id, 30.0)
    ((name, _, *figures),) = decoded(
        NEWEST, messages.portfolio(STOCK, Decimal(3), Decimal("512.5"), ACCOUNT)
    )
    assert (name, figures[:3], figures[-1]) == ("updatePortfolio", [3.0, 512.5, 1537.5], ACCOUNT)
    ((_, *tick),) = decoded(NEWEST, messages.tick_price(8, 4, Decimal("512.34")))
    assert tick == [8, 4, 512.34, 100.0]
    first, end = decoded(
        NEWEST, messages.bars(2, [(1_790_000_000, "500", "501", "499", "500.5", "12")])
    )
    assert (first[0], first[2].close, end[0]) == ("historicalData", 500.5, "historicalDataEnd")
    ((_, *value),) = decoded(
        NEWEST, messages.account_value("NetLiquidation", Decimal(5), "USD", ACCOUNT)
    )
    assert value == ["NetLiquidation", "5", "USD", ACCOUNT]
