"""A market's rules and the rounding they ask for. Pure, exact, no I/O."""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal

# Every amount of the trading core is computed here: 60 digits hold the product of any two
# amounts of 8 decimals without rounding, so that sums and products are exact.
EXACT = Context(prec=60)


@dataclass(frozen=True)
class Market:
    """Trading rules of one symbol.

    Attributes:
        symbol: the exchange's or ccxt's name, such as ``BTC/USDT``; nothing is read from it.
        base: coin that is traded.
        quote: coin that prices and notionals are in.
        tick_size: prices are whole multiples of it (quote per base).
        lot_size: quantities are whole multiples of it (base).
        min_quantity: smallest quantity of an order (base).
        min_notional: smallest price times quantity of an order (quote).
        max_quantity: largest quantity of an order (base); None where there is no bound.
        max_orders: most open orders of this symbol; None where there is no bound.
        buy_band: a buy's price lies between these multiples of the market's; None: no bound.
        sell_band: the same for a sell.
        min_price: lowest price of an order (quote); None where there is no bound.
        max_price: highest price of an order (quote); None where there is no bound.
        max_notional: largest price times quantity of an order (quote); None: no bound.
    """

    symbol: str
    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal
    min_notional: Decimal
    max_quantity: Decimal | None = None
    max_orders: int | None = None
    buy_band: tuple[Decimal, Decimal] | None = None
    sell_band: tuple[Decimal, Decimal] | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    max_notional: Decimal | None = None

    @property
    def exchange_symbol(self) -> str:
        """The symbol as the exchange's own API spells it, such as ``BTCUSDT``."""
        return self.base + self.quote


def coins_of(pair: str) -> tuple[str, str]:
    """Base and quote of a setting such as ``BTC/USDT``: how exchanges of coins are configured."""
    base, quote = pair.split("/")
    return base, quote


def floor_to_lot(quantity: Decimal, lot_size: Decimal) -> Decimal:
    """Largest multiple of `lot_size` that is not above `quantity` (both in base)."""
    return _to_step(quantity, lot_size, ROUND_FLOOR)


def round_to_tick(price: Decimal, tick_size: Decimal) -> Decimal:
    """Multiple of `tick_size` nearest to `price` (both in quote), half up."""
    return _to_step(price, tick_size, ROUND_HALF_UP)


def _to_step(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    if step <= 0:
        raise ValueError(f"step must be above 0, not {step}")
    steps = EXACT.divide(value, step).to_integral_value(rounding=rounding)
    return EXACT.multiply(steps, step)


def plain(value: Decimal) -> str:
    """`value` as text without exponent and without trailing zeros, such as ``0.0001``."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"", "-0", "-"} else text
