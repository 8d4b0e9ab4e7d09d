"""Puts a practice Gateway together."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from gridbase.candles.reader import load_series

from gridexchange.ib.answers import COUNTERS, HANDLERS
from gridexchange.ib.faults import GatewayFaults
from gridexchange.ib.gateway import Clock, Gateway, GatewaySettings
from gridexchange.ib.market import SessionMarket
from gridexchange.ib.store import GatewayStore
from gridexchange.market.feed import HOLD, Feed, Series
from gridexchange.market.synthetic import SyntheticSeries, SyntheticSettings


@dataclass(frozen=True)
class MarketSettings:
    """Where prices come from.

    Attributes:
        candles: recorded ones; None: made up.
        seed: of those that are made up.
        start_price: where they begin (currency).
        speed: market seconds in a second.
    """

    candles: Path | None = None
    seed: int = 7
    start_price: Decimal = Decimal(500)
    speed: Fraction = Fraction(1)


def open_gateway(
    settings: GatewaySettings,
    market: MarketSettings,
    directory: Path,
    clock: Clock,
    faults: GatewayFaults | None = None,
) -> Gateway:
    """A Gateway on the books of a directory.

    Raises:
        UserError: the directory or the candles cannot be used.
    """
    series: Series
    if market.candles is None:
        tick = settings.stock.min_tick
        series = SyntheticSeries(SyntheticSettings(market.seed, market.start_price, tick))
    else:
        series = load_series(market.candles)
    feed = Feed(series, HOLD)

    def open_market(began_ms: int) -> SessionMarket:
        return SessionMarket(feed, began_ms, market.speed)

    return Gateway(
        settings,
        clock,
        GatewayStore(directory),
        open_market,
        HANDLERS,
        counters=COUNTERS,
        faults=faults,
    )
