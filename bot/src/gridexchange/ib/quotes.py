"""What the practice Gateway quotes, and the messages that tell of it. Pure."""

from decimal import Decimal

from gridexchange.ib import messages
from gridexchange.ib.calendar import day_of
from gridexchange.ib.options import Quoted, figures_of, read_option, spread_of
from gridexchange.ib.records import Stock
from gridexchange.ib.requests import WantedContract

BID, ASK, LAST = 1, 2, 4
BID_MODEL, ASK_MODEL, MODEL = 10, 11, 13


class Quotes:
    """Stocks, and the options on them.

    Args:
        stocks: the first one is traded, the others follow its price.
    """

    def __init__(self, *stocks: Stock) -> None:
        self._stocks = stocks

    def stock(self, contract: WantedContract) -> Stock | None:
        """The stock that a client means, also one that is not traded here."""
        for stock in self._stocks:
            by_name = (contract.symbol, contract.kind) == (stock.symbol, "STK")
            if contract.con_id == stock.con_id or (not contract.con_id and by_name):
                return stock
        return None

    def find(self, contract: WantedContract, price: Decimal, now_ms: int) -> Quoted | None:
        """The stock or the option that a client means; None where it is not listed.

        Args:
            contract: as the client says it.
            price: of the stock that is traded (currency).
            now_ms: Unix milliseconds.
        """
        if contract.kind != "OPT":
            return self.stock(contract)
        stock = self.stock(contract._replace(con_id=0, kind="STK"))
        if stock is None:
            return None
        return read_option(contract, stock, price_of(stock, price), day_of(now_ms))


def price_of(stock: Stock, price: Decimal) -> Decimal:
    """A stock's price by that of the one that is traded (currency)."""
    return price if stock.ratio == 1 else (price * stock.ratio).quantize(stock.min_tick)


def ticks(request: int, quoted: Quoted, price: Decimal, now_ms: int) -> list[messages.Fields]:
    """Bid, ask and last price; of an option bid and ask, and what the model says of both.

    Args:
        request: whose.
        quoted: what.
        price: of the stock that is traded (currency).
        now_ms: Unix milliseconds.
    """
    if isinstance(quoted, Stock):
        own = price_of(quoted, price)
        return [messages.tick_price(request, kind, own) for kind in (BID, ASK, LAST)]
    under = price_of(quoted.stock, price)
    figures = figures_of(quoted, under, now_ms)
    bid, ask = spread_of(figures)
    row = (figures.volatility, figures.delta, figures.price, 0, figures.gamma, figures.vega)
    computed = [round(value, 8) for value in (*row, figures.theta)]
    return [
        messages.tick_price(request, BID, bid or -1),
        messages.tick_price(request, ASK, ask),
        *([21, request, kind, 1, *computed, under] for kind in (BID_MODEL, ASK_MODEL, MODEL)),
    ]


def not_yet(request: int, quoted: Quoted) -> list[messages.Fields]:
    """What a snapshot tells at first, as the real one does: nothing is known."""
    if isinstance(quoted, Stock):
        return []
    unknown = (-1, -2, -1, -1, -2, -2, -2, -1)
    return [
        *(messages.tick_price(request, kind, -1, 0) for kind in (BID, ASK)),
        [21, request, MODEL, 1, *unknown],
    ]
