"""Options at the practice Gateway: prices against an integral, Greeks against differences."""

import asyncio
import math
from datetime import date
from decimal import Decimal

import pytest
from gridexchange.ib.options import RATE, Option, black_scholes, expiries, read_option, strikes
from gridexchange.ib.records import Stock, followers
from gridexchange.ib.requests import WantedContract
from ib_async import IB
from ib_async.contract import Option as WantedOption
from ib_async.contract import Stock as WantedStock

from .conftest import frame, serving

CASES = [
    (price, strike, years, volatility, call)
    for price in (90.0, 100.0, 120.0)
    for strike, years, volatility in ((100.0, 0.5, 0.2), (110.0, 0.02, 0.6))
    for call in (True, False)
]


def integral(price, strike, years, volatility, call):
    """Discounted payoff over the lognormal distribution, by Simpson's rule."""
    steps, reach = 20_000, 9.0
    width = 2 * reach / steps
    total = 0.0
    for number in range(steps + 1):
        z = -reach + number * width
        end = price * math.exp(
            (RATE - volatility**2 / 2) * years + volatility * math.sqrt(years) * z
        )
        payoff = max(0.0, end - strike if call else strike - end)
        weight = 1 if number in {0, steps} else 4 if number % 2 else 2
        total += weight * payoff * math.exp(-z * z / 2)
    return math.exp(-RATE * years) * total * width / 3 / math.sqrt(2 * math.pi)


@pytest.mark.parametrize("case", CASES)
def test_prices_and_greeks(case):
    price, strike, years, volatility, call = case
    figures = black_scholes(price, strike, years, volatility, call=call)
    assert figures.price == pytest.approx(integral(*case), abs=1e-4)

    def worth(price=price, years=years, volatility=volatility):
        return black_scholes(price, strike, years, volatility, call=call).price

    h = 1e-3
    assert figures.delta == pytest.approx((worth(price + h) - worth(price - h)) / (2 * h), abs=1e-6)
    second = (worth(price + h) - 2 * worth() + worth(price - h)) / h**2
    assert figures.gamma == pytest.approx(second, abs=1e-5)
    by_point = (worth(volatility=volatility + 1e-5) - worth(volatility=volatility - 1e-5)) / 2e-5
    assert figures.vega == pytest.approx(by_point / 100, abs=1e-6)
    by_day = (worth(years=years - 1e-6) - worth(years=years + 1e-6)) / 2e-6 / 365
    assert figures.theta == pytest.approx(by_day, abs=1e-5)


def test_what_is_listed():
    monday = date(2026, 9, 21)
    assert expiries(monday)[0] == date(2026, 9, 25)
    assert date(2026, 12, 24) in expiries(date(2026, 11, 30))  # a Thursday: Friday is Christmas
    assert strikes(Decimal("503.2"))[20] == 505

    def listed(expiry, strike, right="C"):
        wanted = WantedContract(0, "SPY", "OPT", "SMART", "USD", expiry, Decimal(strike), right)
        return read_option(wanted, Stock(), Decimal("503.2"), monday)

    assert listed("20260925", "505") == Option(Stock(), date(2026, 9, 25), Decimal(505), "C")
    assert listed("20261106", "510", "PUT").right == "P"
    assert listed("20261106", "505") is None
    for wrong in (
        ("20260926", "505"),
        ("20260925", "503"),
        ("20260925", "900"),
        ("", "0"),
        ("20260925", "505", "X"),
    ):
        assert listed(*wrong) is None


def test_an_unmodified_client_reads_chain_snapshot_greeks_and_bars(make_gateway):
    gateway = make_gateway(others=followers(["QQQ"]))

    async def ask(port):
        client = IB()
        await client.connectAsync("127.0.0.1", port, clientId=31, timeout=10)
        [details] = await client.reqContractDetailsAsync(WantedStock("QQQ", "SMART", "USD"))
        under = details.contract
        chains = await client.reqSecDefOptParamsAsync("QQQ", "", "STK", under.conId)
        chain = next(chain for chain in chains if chain.exchange == "SMART")
        strike = chain.strikes[len(chain.strikes) // 2]
        option = WantedOption("QQQ", chain.expirations[0], strike, "P", "SMART", currency="USD")
        option.conId = 9  # ib_async wants one; the Gateway goes by the name
        stock, ticker = await client.reqTickersAsync(under, option)
        bars = await client.reqHistoricalDataAsync(
            under, "", "3600 S", "1 min", "TRADES", useRTH=True, formatDate=2
        )
        client.disconnect()
        return stock, ticker, bars

    with serving(gateway) as (port, call):
        clock = gateway.clock

        async def pass_time():
            while True:
                await asyncio.sleep(0.02)
                call(lambda: setattr(clock, "ms", clock.ms + 20))

        async def both():
            passing = asyncio.create_task(pass_time())
            try:
                return await asyncio.wait_for(ask(port), 20)
            finally:
                passing.cancel()

        stock, ticker, bars = asyncio.run(both())
    assert stock.last == pytest.approx(float(gateway.account.price) * 0.9, abs=0.005)
    greeks = ticker.modelGreeks
    assert -1 < greeks.delta < 0 < greeks.gamma
    assert greeks.theta < 0 < greeks.vega
    assert ticker.bid < greeks.optPrice < ticker.ask
    assert 0 < len(bars) <= 60
    assert bars[-1].close == pytest.approx(stock.last, abs=0.005)
    assert +gateway.rules.broken == {}


def test_lines_are_counted_over_all_clients(make_gateway, connect, clock):
    gateway = make_gateway(snapshot_ms=11_000)
    stock = (0, "SPY", "STK", "", 0.0, "", "", "SMART", "", "USD", "", "")
    peers = []
    for client in range(3):
        connection, peer = connect(gateway, client + 1)
        peer.take()
        peers.append(peer)
        for number in range(40):
            connection.feed(frame(1, 11, number, *stock, 0, "", int(number % 2), 0, ""))
            clock.ms += 25
    refused = [row for peer in peers for row in peer.take() if row[0] == "4" and row[3] == "101"]
    assert len(refused) == 20
    assert gateway.rules.broken["100 lines"] == 20
    clock.ms += 11_000
    gateway.advance()
    ends = [row for peer in peers for row in peer.take() if row[0] == "57"]
    assert len(ends) == 50
