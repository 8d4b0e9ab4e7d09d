"""What a grid takes over, and when that is no longer there."""

from dataclasses import replace
from decimal import Decimal

import pytest
from gridbase.market import Market
from gridbot.core.grid import Plan
from gridbot.exchanges.port import BrokerError, Failure
from gridbot.store import GridResult, GridRun
from gridbot.trading.handover import Takeover, base_to_carry, elsewhere, takeover_of, watch_goes_on

MARKET = Market(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00001"),
    min_quantity=Decimal("0.00001"),
    min_notional=Decimal(5),
)
PRICE = Decimal(50_000)  # the least that can be ordered is 0.0001
SETTINGS = {
    "mode": "paper",
    "bot_name": "pi1",
    "exchange.name": "binance",
    "market.symbol": "BTC/USDT",
    "grid.grids": "2",
}
RESULT = GridResult(
    equity=Decimal(9500),
    price=Decimal(40_000),
    grid_profit=Decimal(0),
    liquidation_profit=Decimal(0),
    reason="a test",
    base=Decimal("0.2"),
    takes_over=True,
    account=Decimal("0.5"),
)
GRID = GridRun(
    id=1,
    symbol="BTC/USDT",
    tag="000001",
    settings=SETTINGS,
    market=MARKET,
    plan=Plan(
        lines=(Decimal(45_000), Decimal(50_000), Decimal(55_000)),
        start_price=PRICE,
        empty_line=1,
        quantity=Decimal("0.1"),
        investment=Decimal(10_000),
    ),
    investment=Decimal(10_000),
    opening={},
    first_cursor="0",
    trade_cursor="0",
    started_ms=0,
    closed_ms=1,
    result=RESULT,
    watch={"stop": {"peak": "10000"}, "ending": {}},
)
RANGE = (Decimal(35_000), Decimal(45_000))
MOVED = replace(GRID, result=replace(RESULT, next_range=RANGE, account=None))


def test_a_cleared_stop_leaves_base_and_quote():
    expected = Takeover(Decimal("0.2"), Decimal(1500), None, Decimal("0.5"))
    assert takeover_of(GRID, SETTINGS) == expected
    assert watch_goes_on(GRID, expected) is None


def test_other_settings_say_themselves_what_may_be_spent():
    other = SETTINGS | {"grid.grids": "4"}
    assert takeover_of(GRID, other) == Takeover(Decimal("0.2"), None, None, Decimal("0.5"))


def test_a_move_goes_on_with_what_the_stops_remember():
    takeover = takeover_of(MOVED, SETTINGS)
    assert takeover == Takeover(Decimal("0.2"), Decimal(1500), RANGE, None)
    # Its own quote is what it may spend, whatever a person has set meanwhile.
    assert takeover_of(MOVED, SETTINGS | {"grid.grids": "4"}) == takeover
    assert watch_goes_on(MOVED, takeover) == {"stop": {"peak": "10000"}}


@pytest.mark.parametrize(
    "previous",
    [
        None,
        replace(GRID, result=None),
        replace(GRID, result=replace(RESULT, takes_over=False)),
    ],
)
def test_nothing_is_taken_over_from_a_grid_that_leaves_nothing(previous):
    assert takeover_of(previous, SETTINGS) is None


@pytest.mark.parametrize(
    ("setting", "now"),
    [
        ("mode", "live"),
        ("bot_name", "pi2"),
        ("exchange.name", "kraken"),
        ("market.symbol", "ETH/USDT"),
    ],
)
@pytest.mark.parametrize("previous", [GRID, MOVED])
def test_nothing_is_taken_over_elsewhere(setting, now, previous):
    there = SETTINGS | {setting: now}
    assert takeover_of(previous, there) is None
    why = f"{setting} = {now}, and the grid before ran with {SETTINGS[setting]}"
    assert elsewhere(previous, there) == why
    assert watch_goes_on(previous, None) is None


def carry(base: str, held: str, account: str | None = None, *, moved: bool = False) -> Decimal:
    then = None if account is None else Decimal(account)
    takeover = Takeover(Decimal(base), None, RANGE if moved else None, then)
    return base_to_carry(takeover, MARKET, PRICE, Decimal(held))


@pytest.mark.parametrize(
    ("base", "held", "account", "carried"),
    [
        ("0.2", "0.2", None, "0.2"),
        ("0.2", "0.7", None, "0.2"),
        ("0.200007", "0.2", None, "0.2"),  # less than a lot is missing
        ("0.2", "0.5", "0.5", "0.2"),
        ("0.2", "0.6", "0.5", "0.2"),
        ("0.2", "0.499991", "0.5", "0.2"),
        ("0.00009", "0", None, "0"),  # no order could sell it
        ("0.00009", "0.00004", "0.5", "0.00004"),
        ("0", "0", None, "0"),
    ],
)
def test_what_is_carried_is_there(base, held, account, carried):
    assert carry(base, held, account) == Decimal(carried)


@pytest.mark.parametrize(
    ("base", "held", "account", "says"),
    [
        ("0.2", "0.19999", None, "the account has 0.19999 BTC; bring them back, or"),
        ("0.2", "0", None, "the account has 0 BTC; bring them back, or"),
        ("0.2", "0.19999", "0.5", "a grid would go on with 0.2 BTC of the one before"),
        ("0.2", "0.49999", "0.5", "has 0.49999 BTC, and had 0.5 BTC when the grid before"),
        ("0.0001", "0.00009", None, "the account has 0.00009 BTC"),
    ],
)
def test_what_is_gone_is_not_carried(base, held, account, says):
    with pytest.raises(BrokerError, match=says) as caught:
        carry(base, held, account)
    assert caught.value.failure is Failure.REJECTED
    assert "gridbot resume" in str(caught.value)


def test_a_grid_that_moves_has_not_ended_yet():
    with pytest.raises(BrokerError, match=r"or begin without them: gridbot close$"):
        carry("0.2", "0", moved=True)
