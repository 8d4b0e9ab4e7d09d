"""What the exchange that is followed says, as records, and how its messages are read. Pure.

The messages are Binance's: trades as `aggTrades` and the stream `@aggTrade` have them, the book as
`depth` and `@depth20`, candles as `klines` and `@kline_1m`, rules as `exchangeInfo`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from gridbase.candles.price_units import to_units
from gridbase.candles.series import Candle
from gridbase.market import Market

from gridexchange.matching.matching import Level
from gridexchange.matching.rules import PriceBand, Rules

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Traded:
    """A trade of others.

    Attributes:
        number: its number, one more than the number of the trade before.
        price: quote.
        quantity: base.
        time_ms: when, by the clock of the exchange that is followed.
        seller_took: whether the buyer's order was resting.
    """

    number: int
    price: Decimal
    quantity: Decimal
    time_ms: int
    seller_took: bool


@dataclass(frozen=True)
class Shown:
    """The order book as it is shown: bids and asks, the best first."""

    bids: list[Level]
    asks: list[Level]


@dataclass(frozen=True)
class Missed:
    """Trades that cannot be had.

    Attributes:
        next_number: of the first trade after them.
        until_ms: its time.
    """

    next_number: int
    until_ms: int


Event = Traded | Shown | Missed | Candle


def traded(document: Document) -> Traded:
    """A trade, of `aggTrades` or of the stream `@aggTrade`."""
    return Traded(
        int(document["a"]),
        Decimal(document["p"]),
        Decimal(document["q"]),
        int(document["T"]),
        bool(document["m"]),
    )


def shown(document: Document) -> Shown:
    """The book, of `depth` or of the stream `@depth20`."""
    return Shown(_levels(document["bids"]), _levels(document["asks"]))


def candle(row: Sequence[Any]) -> Candle:
    """A candle, of a row of `klines`."""
    opening, high, low, close = (to_units(str(price))[0] for price in row[1:5])
    return Candle(int(row[0]), opening, high, low, close, float(row[5]))


def streamed_candle(document: Document) -> Candle:
    """A candle, of the stream `@kline_1m`."""
    kline = document["k"]
    return candle([kline[name] for name in "tohlcv"])


def listed(document: Document, rules: Rules) -> Rules:
    """Rules with what `exchangeInfo` lists of a symbol; commissions stay.

    Args:
        document: the symbol's part.
        rules: what is not listed.
    """
    filters = {each["filterType"]: each for each in document["filters"]}
    lot, price = filters["LOT_SIZE"], filters["PRICE_FILTER"]
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
    band = filters.get("PERCENT_PRICE_BY_SIDE") or _both_sides(filters.get("PERCENT_PRICE"))
    most = filters.get("MAX_NUM_ORDERS", {}).get("maxNumOrders")
    market: Market = replace(
        rules.market,
        tick_size=Decimal(price["tickSize"]).normalize(),
        lot_size=Decimal(lot["stepSize"]).normalize(),
        min_quantity=Decimal(lot["minQty"]).normalize(),
        max_quantity=_bound(lot["maxQty"]),
        min_notional=Decimal(notional.get("minNotional", "0")),
        max_notional=_bound(notional.get("maxNotional", "0")),
        max_orders=None if most is None else int(most),
        min_price=_bound(price["minPrice"]),
        max_price=_bound(price["maxPrice"]),
    )
    if band is not None:
        up, down, ask_up, ask_down = (Decimal(band[name]) for name in _MULTIPLIERS)
        kept = PriceBand(up, down, ask_up, ask_down, int(band["avgPriceMins"]))
        market = replace(
            market,
            buy_band=(kept.bid_down, kept.bid_up),
            sell_band=(kept.ask_down, kept.ask_up),
        )
        rules = replace(rules, band=kept)
    return replace(rules, market=market, status=str(document["status"]))


_MULTIPLIERS = ("bidMultiplierUp", "bidMultiplierDown", "askMultiplierUp", "askMultiplierDown")


def _both_sides(band: Document | None) -> Document | None:
    """The older filter of prices, which is the same for buys and sells."""
    if band is None:
        return None
    kept = {name: band[f"multiplier{name[13:]}"] for name in _MULTIPLIERS}
    return kept | {"avgPriceMins": band["avgPriceMins"]}


def _bound(text: str) -> Decimal | None:
    """An upper or lower bound; 0 stands for none."""
    return Decimal(text).normalize() or None


def _levels(rows: Sequence[Sequence[str]]) -> list[Level]:
    return [(Decimal(price), Decimal(quantity)) for price, quantity, *_ in rows]
