"""Made-up markets: candles that jump, gap, stand still, trend or swing through a grid."""

from random import Random

HEADER = "timestamp,open,high,low,close,volume"
FIRST_MS = 1_640_995_200_000
MINUTE_MS = 60_000
KINDS = ("swing", "jump", "gap", "flat", "trend")


def market(
    kind: str, count: int, dice: Random, centre: int = 50_000, reach: int = 700
) -> list[str]:
    """Rows of a candle file.

    Args:
        kind: one of `KINDS`; what they say.
        count: number of candles.
        dice: source of chance.
        centre: price that all but a trend come back to (quote).
        reach: how far a candle may go (quote).
    """
    rows, close = [HEADER], centre
    drift = dice.choice((-1, 1)) * reach // 8 if kind == "trend" else 0
    for minute in range(count):
        start = close
        if kind == "gap" and dice.random() < 0.15:
            start += dice.randint(-3 * reach, 3 * reach)
        if kind == "flat" and dice.random() < 0.8:
            target = start
        else:
            target = start + (centre - start) // 20 + drift + dice.randint(-reach, reach)
        if kind == "jump" and dice.random() < 0.1:
            target += dice.choice((-6, 6)) * reach
        target = max(target, centre // 4)
        wick = reach // 5
        high = max(start, target) + dice.randint(0, wick)
        low = min(start, target) - dice.randint(0, wick)
        time = FIRST_MS + minute * MINUTE_MS
        rows.append(f"{time},{start},{high},{low},{target},{dice.randint(0, 9)}")
        close = target
        if drift and minute % 25 == 24:
            drift = -drift  # for ever in one direction there would be nothing left to trade
    return rows


def crash(dice: Random, lower: int, upper: int, stop: int) -> list[str]:
    """Rows of a market that fills sells, then falls through a stop price, and may come back.

    Args:
        dice: source of chance.
        lower: price of the grid's lowest line (quote).
        upper: price of its highest line (quote).
        stop: the stop price (quote).
    """
    centre, rows, close = (lower + upper) // 2, [HEADER], (lower + upper) // 2
    swings = [dice.randint(lower, upper) for _ in range(dice.randint(5, 60))]
    above = [dice.randint(centre, upper) for _ in range(dice.randint(1, 4))]
    bottom = stop * dice.randint(85, 100) // 100
    fall = dice.choice(([bottom], [lower, bottom], [stop + 1, bottom]))
    rest = dice.choice(([bottom], [bottom] * 10 + [centre], [centre]))
    for minute, target in enumerate([centre, *swings, *above, *fall, *rest]):
        high, low = max(close, target), min(close, target)
        rows.append(f"{FIRST_MS + minute * MINUTE_MS},{close},{high},{low},{target},1")
        close = target
    return rows
