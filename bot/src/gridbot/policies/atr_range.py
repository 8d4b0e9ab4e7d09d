"""A grid's range from how much the market moves. Pure."""

from decimal import Decimal

from gridbase.errors import ExitCode, UserError
from gridbase.market import EXACT, plain

from gridbot.indicators.candle_cache import MOST_CANDLES
from gridbot.indicators.window import CandleWindow


def candles_for_range(period: int) -> int:
    """How many candles make the ATR forget its seed; no more than the exchange gives at once."""
    return min(11 * period + 1, MOST_CANDLES)


def atr_range(
    series: CandleWindow, price: Decimal, period: int, multiple: Decimal
) -> tuple[Decimal, Decimal]:
    """The range that reaches `multiple` average true ranges below and above the price.

    Args:
        series: closed candles.
        price: what it is laid around (quote).
        period: of the ATR, in candles.
        multiple: how many of them to each side.

    Returns:
        Lower and upper (quote), not rounded to the tick.

    Raises:
        UserError: there are too few candles, they do not move, or the range would reach 0.
    """
    average = series.atr(period).line.decimal
    if average is None:
        raise UserError(
            f"grid.atr_period = {period} needs {period + 1} closed candles, and there are "
            f"{series.length}; use a shorter grid.atr_interval or a smaller period",
            ExitCode.EXCHANGE,
        )
    if average <= 0:
        raise UserError(
            f'grid.range = "atr" needs a market that moves: the ATR over {period} candles is 0; '
            "set grid.lower and grid.upper instead"
        )
    reach = EXACT.multiply(average, multiple)
    if reach >= price:
        most = EXACT.divide(price, average).quantize(Decimal("0.01"))
        raise UserError(
            f"grid.atr_multiple = {plain(multiple)} times the ATR of {plain(average)} reaches "
            f"0 or less from the price {plain(price)}; use less than {plain(most)}"
        )
    return EXACT.subtract(price, reach), EXACT.add(price, reach)
