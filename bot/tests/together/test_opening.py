"""Trading rules that fit the price at which a market begins."""

from decimal import Decimal

import pytest
from gridbot.core.grid import Fees, GridSpec, Spacing, make_plan
from gridexchange.config import load_config
from gridexchange.opening import fitting_rules, market_rules, opening_price
from gridexchange.server import build_api

from bot.tests.exchange.conftest import KEY, SECRET, FakeClock

HEADER = "timestamp,open,high,low,close,volume\n"


@pytest.fixture
def settings(tmp_path):
    for name, text in (("key", KEY), ("secret", SECRET)):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(text)
    return {
        "state_directory": str(tmp_path / "state"),
        "api_key_file": str(tmp_path / "key"),
        "api_secret_file": str(tmp_path / "secret"),
    }


@pytest.mark.parametrize(
    ("price", "tick", "lot", "largest"),
    [
        ("46000", "0.01", "0.00001", "9000"),
        ("2700", "0.01", "0.00001", "90000"),
        ("100", "0.01", "0.0001", "900000"),
        ("99.99", "0.001", "0.001", "9000000"),
        ("1", "0.0001", "0.01", "90000000"),
        ("0.00001", "0.00000001", "1", "9000000000000"),
        ("0.00000001", "0.00000001", "1", "9000000000000000"),
        ("123456", "0.01", "0.00001", "9000"),
    ],
)
def test_rules_fit_the_price(price, tick, lot, largest):
    rules = fitting_rules(Decimal(price))
    assert (rules.tick_size, rules.lot_size) == (Decimal(tick), Decimal(lot))
    assert rules.max_quantity == Decimal(largest)


@pytest.mark.parametrize(
    ("price", "highest"),
    [
        ("0.00001", "1000000"),
        ("99999.99", "1000000"),
        ("100000", "10000000"),
        ("1568181.82", "100000000"),
    ],
)
def test_the_highest_price_leaves_room_above_any_price(settings, price, highest):
    config = load_config(None, settings | {"start_price": price})
    market = market_rules(config, opening_price(config))
    assert market.max_price == Decimal(highest)
    assert market.min_price == market.tick_size
    assert market.max_notional == Decimal(9_000_000)


@pytest.mark.parametrize("price", ["104999", "46319", "999.99", "97", "1.5", "0.07", "0.00001"])
def test_a_grid_around_any_price_fits_these_rules(settings, price):
    config = load_config(None, settings | {"start_price": price, "symbol": "A/USDT"})
    start = opening_price(config)
    spec = GridSpec(
        start * Decimal("0.92"), start * Decimal("1.08"), 40, Spacing.ARITHMETIC, Decimal(10_000)
    )
    plan = make_plan(spec, market_rules(config, start), Fees(Decimal("0.001")), start)
    assert plan.investment == 10_000
    spent = plan.quantity * (sum(plan.lines[line] for line in plan.buy_lines))
    assert Decimal(9950) < spent + plan.initial_cost <= 10_000


def test_a_recorded_market_begins_at_its_first_open_and_what_is_set_stays(settings, tmp_path):
    file = tmp_path / "candles.csv"
    file.write_text(HEADER + "1640991660000,0.00001234,0.00001240,0.00001230,0.00001235,5\n")
    config = load_config(None, settings | {"candles": str(file), "lot_size": "5"})
    price = opening_price(config)
    market = market_rules(config, price)
    assert price == Decimal("0.00001234")
    assert (market.tick_size, market.lot_size, market.min_quantity) == (Decimal("1e-8"), 5, 5)
    api = build_api(config, FakeClock())
    (listing,) = api.exchange.listings.values()
    assert listing.engine.last_price == price
    assert listing.rules.market == market
    api.exchange.close()
