"""What the exchange holds its clients to, and what it charges them. Pure."""

from dataclasses import dataclass
from decimal import Decimal

from gridbase.market import EXACT, Market

from gridexchange.errors import filter_failure
from gridexchange.matching.amounts import commission_on, is_multiple, multiply
from gridexchange.matching.orders import BUY, MARKET, NO_PREVENTION, OrderRequest

RECEIVED = "received"
QUOTE = "quote"
IN_BNB = "bnb"
BNB = "BNB"
BNB_SHARE = Decimal("0.75")  # of the commission, where it is paid in BNB
ONE = Decimal(1)
TRADING = "TRADING"


@dataclass(frozen=True)
class PriceBand:
    """Between which multiples of the market's price a limit price lies, by side.

    Attributes:
        bid_up: highest price of a buy.
        bid_down: lowest price of a buy.
        ask_up: highest price of a sell.
        ask_down: lowest price of a sell.
        minutes: the market's price is the average of so many minutes; 0 for the last price.
    """

    bid_up: Decimal = Decimal(5)
    bid_down: Decimal = Decimal("0.2")
    ask_up: Decimal = Decimal(5)
    ask_down: Decimal = Decimal("0.2")
    minutes: int = 0


@dataclass(frozen=True)
class Rules:
    """What the exchange holds its clients to.

    Attributes:
        market: tick, lot, smallest and largest order, highest price, most open orders.
        fee_rate: commission, as a share of what a trade moves.
        fee_in: `received` takes it from the coin received, `quote` always from the quote coin,
            `bnb` takes three quarters of it from the account's BNB while there is enough.
        band: how far limit prices may be from the market's price.
        bnb_price: what one BNB costs (quote).
        spread: distance of best bid and best ask, as a share of the price.
        self_trade_prevention: mode of an order that names none.
        status: TRADING, or why nobody trades, such as BREAK.
    """

    market: Market
    fee_rate: Decimal
    fee_in: str = RECEIVED
    band: PriceBand = PriceBand()
    bnb_price: Decimal = Decimal(600)
    spread: Decimal = Decimal(0)
    self_trade_prevention: str = NO_PREVENTION
    status: str = TRADING

    @property
    def coins(self) -> tuple[str, ...]:
        """The coins that a trade may move."""
        coins = (self.market.base, self.market.quote)
        return (*coins, BNB) if self.fee_in == IN_BNB and BNB not in coins else coins

    def commission(
        self, side: str, quantity: Decimal, notional: Decimal, bnb: Decimal
    ) -> tuple[Decimal, str]:
        """What a trade costs, and in which coin.

        Args:
            side: BUY or SELL.
            quantity: traded (base).
            notional: price times quantity (quote).
            bnb: what the account has free once it has received what it traded for (BNB).
        """
        if self.fee_in == IN_BNB:
            in_bnb = self._in_bnb(quantity, notional)
            if in_bnb <= bnb:
                return in_bnb, BNB
        if side == BUY and self.fee_in != QUOTE:
            return commission_on(quantity, self.fee_rate), self.market.base
        return commission_on(notional, self.fee_rate), self.market.quote

    def _in_bnb(self, quantity: Decimal, notional: Decimal) -> Decimal:
        rate = multiply(self.fee_rate, BNB_SHARE)
        if self.market.base == BNB:
            return commission_on(quantity, rate)
        if self.market.quote == BNB:
            return commission_on(notional, rate)
        # Divided last: a quotient that does not end would be rounded up twice.
        return commission_on(EXACT.divide(multiply(notional, rate), self.bnb_price), ONE)

    def check_filters(
        self,
        request: OrderRequest,
        quantity: Decimal,
        *,
        last_price: Decimal,
        average_price: Decimal,
        open_orders: int,
    ) -> None:
        """Hold a request against the symbol's filters.

        Args:
            request: what the client asks for.
            quantity: what that comes to (base).
            last_price: of the market (quote).
            average_price: what limit prices are held against (quote).
            open_orders: how many there are already.

        Raises:
            ApiError: -1013, with the filter's name.
        """
        market = self.market
        if request.price is not None:
            self._check_price(request.side, request.price, average_price)
        too_large = market.max_quantity is not None and quantity > market.max_quantity
        if quantity < market.min_quantity or too_large:
            raise filter_failure("LOT_SIZE")
        if not is_multiple(quantity, market.lot_size):
            raise filter_failure("LOT_SIZE")
        notional = multiply(request.price or last_price, quantity)
        if notional < market.min_notional:
            raise filter_failure("NOTIONAL")
        too_much = market.max_notional is not None and notional > market.max_notional
        if request.type != MARKET and too_much:
            raise filter_failure("NOTIONAL")
        full = market.max_orders is not None and open_orders >= market.max_orders
        if full and request.type != MARKET:
            raise filter_failure("MAX_NUM_ORDERS")

    def _check_price(self, side: str, price: Decimal, average: Decimal) -> None:
        tick, highest = self.market.tick_size, self.market.max_price
        too_high = highest is not None and price > highest
        if price < tick or too_high or not is_multiple(price, tick):
            raise filter_failure("PRICE_FILTER")
        band = self.band
        up, down = (band.bid_up, band.bid_down) if side == BUY else (band.ask_up, band.ask_down)
        if not multiply(average, down) <= price <= multiply(average, up):
            raise filter_failure("PERCENT_PRICE_BY_SIDE")
