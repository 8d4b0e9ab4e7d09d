"""Which options are looked at, and what they say. Pure."""

import itertools
import math
import statistics
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Any, NamedTuple

YEAR_DAYS = 365.0
SESSION_MINUTES, SESSIONS = 390, 252
LEAST_RETURNS = 20
# Implied by realized volatility: from here on options are dear, or cheap.
RICH, CHEAP = 1.25, 0.8


class Chosen(NamedTuple):
    """Options of one expiry.

    Attributes:
        expiry: as the Gateway writes it, such as ``20261120``.
        strikes: around the money, rising (currency).
        trading_class: of the chain.
        multiplier: shares an option.
    """

    expiry: str
    strikes: tuple[float, ...]
    trading_class: str
    multiplier: str


def choose(
    chains: Iterable[Sequence[Any]],
    price: float,
    today: date,
    *,
    days: int,
    count: int,
    unlisted: Collection[tuple[str, float]] = (),
) -> Chosen | None:
    """The options to look at; None where there are none.

    Args:
        chains: exchange, trading class, multiplier, expiries, strikes.
        price: of the stock (currency).
        today: at the exchange.
        days: of the first expiry that is so far away, or farther.
        count: strikes, those next to the price.
        unlisted: expiries and strikes that the chain names and nobody trades.
    """
    smart = [chain for chain in chains if chain[0] == "SMART"]
    if not smart:
        return None
    # Adjusted options of a merger or a split have a chain of their own, a small one.
    _, trading_class, multiplier, expiries, strikes = max(smart, key=lambda one: len(one[4]))
    far = sorted(text for text in expiries if (day_of(text) - today).days >= days)
    for expiry in far[:1]:
        there = [strike for strike in strikes if (expiry, strike) not in unlisted]
        nearest = sorted(there, key=lambda strike: (abs(strike - price), strike))[:count]
        if nearest:
            return Chosen(expiry, tuple(sorted(nearest)), trading_class, multiplier)
    return None


def day_of(text: str) -> date:
    """A day as the Gateway writes it."""
    return date(int(text[:4]), int(text[4:6]), int(text[6:8]))


def realized_volatility(closes: Sequence[tuple[int, float]]) -> float | None:
    """Volatility a year of one-minute bars; None where they are too few.

    The standard deviation of the logarithms of price ratios, by the root of the minutes of a year.

    Args:
        closes: Unix seconds and price, oldest first; over a gap (a night) no ratio is taken.
    """
    returns = [
        math.log(price / before)
        for (begun, before), (now, price) in itertools.pairwise(closes)
        if now - begun == 60
    ]
    if len(returns) < LEAST_RETURNS:
        return None
    return statistics.stdev(returns) * math.sqrt(SESSION_MINUTES * SESSIONS)


def figures(
    price: float,
    options: Sequence[dict[str, Any]],
    closes: Sequence[tuple[int, float]],
    today: date,
) -> dict[str, Any]:
    """What a look at a stock's options says; what cannot be said is None.

    Args:
        price: of the stock (currency).
        options: rows with ``expiry``, ``strike``, ``right``, ``volatility``.
        closes: as `realized_volatility` takes them.
        today: at the exchange.
    """
    known = [row for row in options if row["volatility"] is not None]
    implied = skew = move = None
    if known:
        nearest = min({row["strike"] for row in known}, key=lambda one: (abs(one - price), one))
        implied = statistics.fmean(row["volatility"] for row in known if row["strike"] == nearest)
        puts = {row["strike"]: row["volatility"] for row in known if row["right"] == "P"}
        calls = {row["strike"]: row["volatility"] for row in known if row["right"] == "C"}
        if puts and calls and min(puts) < price < max(calls):
            skew = puts[min(puts)] - calls[max(calls)]
        days = max(1, (day_of(known[0]["expiry"]) - today).days)
        move = price * implied * math.sqrt(days / YEAR_DAYS)
    realized = realized_volatility(closes)
    ratio = implied / realized if implied and realized else None
    return {
        "implied_volatility": implied,
        "realized_volatility": realized,
        "ratio": ratio,
        "skew": skew,
        "expected_move": move,
        "signal": _signal(ratio),
    }


def _signal(ratio: float | None) -> str:
    if ratio is None:
        return "unknown"
    return "rich" if ratio >= RICH else "cheap" if ratio <= CHEAP else "fair"
