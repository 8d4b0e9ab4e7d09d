"""Slow, plain float64 indicators, written from the books: what the real ones are checked against.

Each takes whole columns, starts from the first candle and gives a list as long as them, None where
there is no value yet. Nothing here is shared with gridbot.
"""

import itertools

Column = list[float]
Result = list[float | None]


def sma(closes: Column, period: int) -> Result:
    ends = range(1, len(closes) + 1)
    return [sum(closes[end - period : end]) / period if end >= period else None for end in ends]


def ema(closes: Column, period: int) -> Result:
    weight = 2 / (period + 1)
    result: Result = [None] * min(period - 1, len(closes))
    if len(closes) >= period:
        result.append(sum(closes[:period]) / period)
    for close in closes[period:]:
        result.append(weight * close + (1 - weight) * result[-1])
    return result


def _smoothed(numbers: Column, period: int) -> Result:
    """Wilder: the mean of the first numbers, then (before * (n - 1) + number) / n."""
    result: Result = [None] * min(period - 1, len(numbers))
    if len(numbers) >= period:
        result.append(sum(numbers[:period]) / period)
    for number in numbers[period:]:
        result.append((result[-1] * (period - 1) + number) / period)
    return result


def rsi(closes: Column, period: int) -> Result:
    changes = [after - before for before, after in itertools.pairwise(closes)]
    gains = _smoothed([max(change, 0) for change in changes], period)
    losses = _smoothed([max(-change, 0) for change in changes], period)
    result: Result = [None]
    for gain, loss in zip(gains, losses, strict=True):
        if gain is None:
            result.append(None)
        elif loss == 0:
            result.append(100.0 if gain > 0 else 50.0)
        else:
            result.append(100 - 100 / (1 + gain / loss))
    return result


def true_ranges(highs: Column, lows: Column, closes: Column) -> Column:
    """From the second candle on."""
    return [
        max(high - low, abs(high - before), abs(low - before))
        for high, low, before in zip(highs[1:], lows[1:], closes, strict=False)
    ]


def atr(highs: Column, lows: Column, closes: Column, period: int) -> Result:
    return [None, *_smoothed(true_ranges(highs, lows, closes), period)]


def movements(highs: Column, lows: Column) -> tuple[Column, Column]:
    """+DM and -DM, from the second candle on."""
    plus, minus = [], []
    for index in range(1, len(highs)):
        up, down = highs[index] - highs[index - 1], lows[index - 1] - lows[index]
        plus.append(up if up > down and up > 0 else 0.0)
        minus.append(down if down > up and down > 0 else 0.0)
    return plus, minus


def _sums(numbers: Column, period: int, seed: int) -> Result:
    """Wilder's sums: `seed` numbers added up, then before - before / n + number."""
    result: Result = []
    total = 0.0
    for index, number in enumerate(numbers):
        total = total + number if index < seed else total - total / period + number
        result.append(total if index >= period - 1 else None)
    return result


def adx(
    highs: Column, lows: Column, closes: Column, period: int, *, wilders_seed: bool = False
) -> tuple[Result, Result, Result]:
    """ADX, +DI and -DI. The seed of the sums is TA-Lib's (n - 1 numbers), or Wilder's own (n)."""
    seed = period if wilders_seed else period - 1
    plus, minus = (_sums(column, period, seed) for column in movements(highs, lows))
    ranges = _sums(true_ranges(highs, lows, closes), period, seed)
    index: Result = [None]
    positive: Result = [None]
    negative: Result = [None]
    strengths: Column = []
    for up, down, whole in zip(plus, minus, ranges, strict=True):
        if whole is None:
            positive.append(None)
            negative.append(None)
            index.append(None)
            continue
        positive.append(100 * up / whole if whole else 0.0)
        negative.append(100 * down / whole if whole else 0.0)
        known = up + down > 0
        if len(strengths) < period:
            strengths.append(100 * abs(up - down) / (up + down) if known else 0.0)
            index.append(sum(strengths) / period if len(strengths) == period else None)
        elif known:
            strength = 100 * abs(up - down) / (up + down)
            index.append((index[-1] * (period - 1) + strength) / period)
        else:
            index.append(index[-1])
    return index, positive, negative
