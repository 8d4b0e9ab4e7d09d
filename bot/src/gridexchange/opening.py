"""Where a market begins, and trading rules that fit a coin of that price."""

from dataclasses import dataclass
from decimal import Decimal

from gridbase.candles.price_units import PRICE_DECIMALS, from_units
from gridbase.candles.reader import open_candles
from gridbase.market import Market

from gridexchange.config import ExchangeConfig

# Those of BTC/USDT at 46,000. Cheaper coins get finer prices and larger quantities.
COARSEST_TICK = -2  # as exponents of ten
FINEST_LOT = -5
LARGEST_ORDER = Decimal(9000)
LARGEST_NOTIONAL = Decimal(9_000_000)
LARGEST_ORDER_FROM = 4
HIGHEST_PRICE = 6  # as an exponent of ten, and for dearer coins a hundred times their price
DIGITS_OF_A_PRICE = 5  # at least so many, as far as eight decimals allow


@dataclass(frozen=True)
class FittingRules:
    """Steps and the largest order for a coin of some price.

    Attributes:
        tick_size: prices are whole multiples of it (quote).
        lot_size: quantities are whole multiples of it (base).
        max_quantity: largest order (base).
        max_price: highest price of an order (quote).
    """

    tick_size: Decimal
    lot_size: Decimal
    max_quantity: Decimal
    max_price: Decimal


def fitting_rules(price: Decimal) -> FittingRules:
    """Rules that fit a price (quote): powers of ten, a lot of at most about 0.1 quote."""
    size = price.adjusted()  # 46000 -> 4, 0.00001 -> -5
    tick = max(-PRICE_DECIMALS, min(COARSEST_TICK, size + 1 - DIGITS_OF_A_PRICE))
    lot = min(0, max(FINEST_LOT, -size - 2))
    cheaper = max(0, LARGEST_ORDER_FROM - size)
    highest = _power(max(HIGHEST_PRICE, size + 2))
    return FittingRules(_power(tick), _power(lot), LARGEST_ORDER * _power(cheaper), highest)


def opening_price(config: ExchangeConfig) -> Decimal:
    """The first price of a symbol's market (quote).

    Raises:
        UserError: the candle file cannot be read, or its first row is wrong.
    """
    if config.candles is None:
        return config.start_price
    return from_units(next(iter(open_candles(config.candles))).open)


def market_rules(config: ExchangeConfig, price: Decimal) -> Market:
    """What orders of a symbol must keep to; what is not set fits its first price (quote)."""
    base, _, quote = config.symbol.partition("/")
    fitting = fitting_rules(price)
    tick_size = config.tick_size or fitting.tick_size
    lot_size = config.lot_size or fitting.lot_size
    band = config.price_band
    return Market(
        symbol=config.symbol,
        base=base,
        quote=quote,
        tick_size=tick_size,
        lot_size=lot_size,
        min_quantity=config.min_quantity or lot_size,
        min_notional=config.min_notional,
        max_quantity=config.max_quantity or fitting.max_quantity,
        max_orders=config.max_orders,
        buy_band=(band.bid_down, band.bid_up),
        sell_band=(band.ask_down, band.ask_up),
        min_price=tick_size,
        max_price=fitting.max_price,
        max_notional=LARGEST_NOTIONAL,
    )


def _power(exponent: int) -> Decimal:
    return Decimal(f"1e{exponent}") if exponent < 0 else Decimal(10**exponent)
