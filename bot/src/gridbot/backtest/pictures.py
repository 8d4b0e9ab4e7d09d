"""What is drawn: of a backtest its price, lines, fills and equity; of a search its trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import product

import numpy as np
from gridbase.candles.price_units import UNITS_PER_QUOTE
from gridbase.market import Market, plain

from gridbot.backtest.data import Candles, Floats, Integers
from gridbot.backtest.forward import FoldResult
from gridbot.backtest.result import Result
from gridbot.backtest.search import Terms, Trial
from gridbot.backtest.trials import Run
from gridbot.core.grid import Spacing
from gridbot.core.orders import Side
from gridbot.plot.figure import BLUE, GREEN, ORANGE, PURPLE, Figure, Layer, Panel, band, rules

COLUMNS = 1_500  # more than a drawing has pixels for
ROWS = 500


def backtest_figure(result: Result, market: Market) -> Figure:
    """Price with the grid's lines and fills, and equity."""
    candles, plan = result.candles, result.plan
    starts = column_starts(len(candles))
    lines = np.array([float(line) for line in plan.lines])
    price = Panel(
        title=f"price ({market.quote})",
        layers=(
            rules("lines", lines, color="#b9bec4"),
            price_band(candles, starts),
            *_fills(result),
        ),
        weight=2,
    )
    curve = result.curve().at_closes()
    equity = Panel(title=f"equity ({market.quote})", layers=(_extremes(candles, curve, starts),))
    account = result.account
    facts = (
        ("fills", f"{account.buys:,} buys, {account.sells:,} sells"),
        ("grid profit", f"{account.grid_profit:.2f} {market.quote}"),
        ("unrealised profit", f"{account.unrealised_profit(result.price):.2f} {market.quote}"),
        ("fees", f"{account.fees_in_quote:.2f} {market.quote}"),
        ("equity at the end", f"{result.equity:.2f} of {plain(plan.investment)} {market.quote}"),
        ("largest drawdown", f"{result.drawdown.share * 100:.2f} %"),
    )
    title = f"{candles.name}: {len(lines)} lines, {plain(plan.lines[0])} to {plain(plan.lines[-1])}"
    return Figure(title, (price, equity), facts)


def column_starts(length: int) -> Integers:
    """First index of each of at most `COLUMNS` groups that share `length` things evenly."""
    count = min(length, COLUMNS)
    return np.arange(count, dtype=np.int64) * length // count


def price_band(candles: Candles, starts: Integers) -> Layer:
    """Lowest and highest price of each group of candles."""
    low = np.minimum.reduceat(candles.lows, starts) / UNITS_PER_QUOTE
    high = np.maximum.reduceat(candles.highs, starts) / UNITS_PER_QUOTE
    return band("price", candles.times[starts].astype(float), low, high)


def _extremes(candles: Candles, values: Floats, starts: Integers) -> Layer:
    """A curve through the lowest and the highest value of each group of candles."""
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    return band("equity", candles.times[starts].astype(float), low, high, GREEN)


def _fills(result: Result) -> tuple[Layer, ...]:
    candles, ledger = result.candles, result.ledger
    times = candles.times[ledger.candle].astype(float)
    prices = ledger.prices() / UNITS_PER_QUOTE
    sells = ledger.sells()
    layers = []
    for side, chosen, color in ((Side.BUY, ~sells, BLUE), (Side.SELL, sells, ORANGE)):
        x, y = visible(times[chosen], prices[chosen])
        layers.append(Layer(f"{side}s", x, y, color, "dots"))
    return tuple(layers)


def visible(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The points, but one only for each spot of the drawing."""
    if len(x) == 0:
        return x, y
    column = _spots(x, COLUMNS)
    _, first = np.unique(column * (ROWS + 1) + _spots(y, ROWS), return_index=True)
    return x[first], y[first]


def _spots(values: Floats, count: int) -> Integers:
    width = float(np.ptp(values)) or 1.0
    spots: Integers = ((values - values.min()) / width * count).astype(np.int64)
    return spots


def search_figure(
    name: str, runs: Sequence[Run], folds: Sequence[FoldResult], terms: Terms
) -> Figure:
    """Profit of every trial against number of grids and width, and what each fold's choice did."""
    panels = [
        _trials_panel("grids", lambda trial: float(trial.combination.grids), runs, terms),
        _trials_panel("width of the range (% of its middle)", _width, runs, terms),
    ]
    if folds:
        panels.append(_folds_panel(folds, terms))
    return Figure(f"{name}: {sum(len(run.trials) for run in runs):,} trials", tuple(panels))


def _width(trial: Trial) -> float:
    return float((trial.upper - trial.lower) / (trial.upper + trial.lower) * 200)


def _trials_panel(
    label: str, place: Callable[[Trial], float], runs: Sequence[Run], terms: Terms
) -> Panel:
    """One dot for each trial; those of a test apart from those of a training."""
    layers = []
    parts = list(dict.fromkeys(run.part for run in runs))
    colors = iter((BLUE, ORANGE, PURPLE, GREEN))
    for part, spacing in product(parts, Spacing):
        dots = [
            (place(trial), _percent(trial.outcome.profit, terms))
            for run in runs
            for trial in run.trials
            if run.part == part and trial.combination.spacing is spacing and trial.outcome
        ]
        color = next(colors)
        if dots:
            x, y = visible(*np.array(dots).T)
            label = spacing if part == "all" else f"{spacing}, {part}"
            layers.append(Layer(label, x, y, color, "dots"))
    title = "profit (% of the investment)"
    return Panel(title, tuple(layers), time_axis=False, x_label=label)


def _folds_panel(folds: Sequence[FoldResult], terms: Terms) -> Panel:
    """What the choices did in training and in the test, stretch by stretch."""
    numbers = np.arange(1.0, len(folds) + 1)
    trained = [0.0 if fold.trained is None else float(fold.trained.profit) for fold in folds]
    tested = [float(fold.test_profit) for fold in folds]
    scale = 100 / float(terms.investment)
    layers = (
        rules("nothing earned", np.zeros(1)),
        Layer("in training", numbers, np.array(trained) * scale, BLUE),
        Layer("in the test", numbers, np.array(tested) * scale, ORANGE),
    )
    return Panel("profit of the choice (%)", layers, time_axis=False, x_label="stretch")


def _percent(profit: Decimal, terms: Terms) -> float:
    return float(profit / terms.investment * 100)
