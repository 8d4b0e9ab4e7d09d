"""Options on the practice Gateway's stocks: chains, prices and Greeks from a stated formula. Pure.

Prices are those of Black and Scholes ("The Pricing of Options and Corporate Liabilities", 1973) for
European options on a stock without dividends: with d1 = (ln(S/K) + (r + v²/2) t) / (v √t) and
d2 = d1 - v √t, a call is S N(d1) - K exp(-r t) N(d2), a put K exp(-r t) N(-d2) - S N(-d1). The
Greeks are its derivatives, in the Gateway's units: vega for a point of volatility (0.01), theta for
a day. Volatility is made up: v = 0.20 - 0.15 m + 0.60 m² with m = ln(K/S), between 0.05 and 1.
"""

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import NamedTuple

from gridexchange.ib.calendar import session_of
from gridexchange.ib.messages import NEW_YORK
from gridexchange.ib.records import Stock
from gridexchange.ib.requests import WantedContract

RATE = 0.04
YEAR_SECONDS = 365.0 * 86_400
EXPIRIES, STRIKES_EACH_SIDE = 8, 20
FRIDAY = 4
# From here on only every second strike is listed, though the chain names them all.
WIDE_DAYS = 28
CENT = Decimal("0.01")
RIGHTS = {"C": "C", "CALL": "C", "P": "P", "PUT": "P"}


class Option(NamedTuple):
    """One option.

    Attributes:
        stock: what it is on.
        expiry: its last day.
        strike: currency.
        right: ``C`` or ``P``.
    """

    stock: Stock
    expiry: date
    strike: Decimal
    right: str


Quoted = Stock | Option


def stock_of(quoted: Quoted) -> Stock:
    """A stock, or the one that an option is on."""
    return quoted.stock if isinstance(quoted, Option) else quoted


class Figures(NamedTuple):
    """What a model says of an option.

    Attributes:
        price: currency.
        volatility: implied, a year.
        delta: by price.
        gamma: of delta, by price.
        vega: for a point of volatility.
        theta: for a day.
    """

    price: float
    volatility: float
    delta: float
    gamma: float
    vega: float
    theta: float


def expiries(today: date) -> list[date]:
    """The next Fridays, or the days before where those are holidays."""
    friday = today + timedelta(days=(FRIDAY - today.weekday()) % 7)
    days = (friday + timedelta(weeks=number) for number in range(EXPIRIES))
    return [day if session_of(day) else day - timedelta(days=1) for day in days]


def step_of(price: Decimal) -> Decimal:
    """Between two strikes (currency)."""
    return Decimal(1) if price < 200 else Decimal(5)


def strikes(price: Decimal) -> list[Decimal]:
    """The strikes around a price (currency)."""
    step = step_of(price)
    centre = (price / step).to_integral_value() * step
    every = (centre + step * number for number in range(-STRIKES_EACH_SIDE, STRIKES_EACH_SIDE + 1))
    return [strike for strike in every if strike > 0]


def read_option(wanted: WantedContract, stock: Stock, price: Decimal, today: date) -> Option | None:
    """The option that a client means; None where it is not listed."""
    right = RIGHTS.get(wanted.right)
    day = next((one for one in expiries(today) if f"{one:%Y%m%d}" == wanted.expiry), None)
    step = step_of(price)
    if right is None or day is None or wanted.strike <= 0 or wanted.strike % step:
        return None
    if (day - today).days >= WIDE_DAYS and wanted.strike % (2 * step):
        return None
    if abs(wanted.strike - price) > step * (STRIKES_EACH_SIDE + 1):
        return None
    return Option(stock, day, wanted.strike, right)


def volatility_of(strike: float, price: float) -> float:
    """The made-up volatility of a strike."""
    m = math.log(strike / price)
    return min(1.0, max(0.05, 0.20 - 0.15 * m + 0.60 * m * m))


def figures_of(option: Option, price: Decimal, now_ms: int) -> Figures:
    """What an option is worth.

    Args:
        option: which one.
        price: of the stock (currency).
        now_ms: Unix milliseconds.
    """
    closes = datetime.combine(option.expiry, time(16), NEW_YORK).timestamp()
    years = max(closes - now_ms / 1000, 60.0) / YEAR_SECONDS
    return black_scholes(
        float(price),
        float(option.strike),
        years,
        volatility_of(float(option.strike), float(price)),
        call=option.right == "C",
    )


def black_scholes(
    price: float, strike: float, years: float, volatility: float, *, call: bool
) -> Figures:
    """Price and Greeks of an option; see the module's text.

    Args:
        price: S, of the stock (currency).
        strike: K (currency).
        years: t, until it expires.
        volatility: v, a year.
        call: or a put.
    """
    root = math.sqrt(years)
    d1 = (math.log(price / strike) + (RATE + volatility**2 / 2) * years) / (volatility * root)
    d2 = d1 - volatility * root
    sign = 1 if call else -1
    later = strike * math.exp(-RATE * years)
    density = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
    decay = -price * density * volatility / (2 * root) - sign * RATE * later * _normal(sign * d2)
    return Figures(
        price=sign * (price * _normal(sign * d1) - later * _normal(sign * d2)),
        volatility=volatility,
        delta=sign * _normal(sign * d1),
        gamma=density / (price * volatility * root),
        vega=price * density * root / 100,
        theta=decay / 365,
    )


def _normal(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def spread_of(figures: Figures) -> tuple[Decimal, Decimal]:
    """Bid and ask around a price, in cents; a bid of 0 is none."""
    model = Decimal(str(round(figures.price, 4)))
    half = max(CENT, model / 100)
    bid, ask = ((model + side * half).quantize(CENT) for side in (-1, 1))
    return max(Decimal(0), bid), max(CENT, ask)
