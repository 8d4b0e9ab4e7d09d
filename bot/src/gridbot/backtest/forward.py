"""Walk-forward: what was best on one stretch of time is tried on the next one, unseen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from gridbase.errors import UserError
from gridbase.market import EXACT, plain

from gridbot.backtest.data import Candles
from gridbot.backtest.pool import Window
from gridbot.backtest.search import Goal, Outcome, Trial, ranked

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Fold:
    """One stretch to choose on, and the one after it to try the choice on.

    Attributes:
        train: candles that the best combination is chosen on.
        test: candles that follow, which the choice knows nothing of.
    """

    train: Window
    test: Window


@dataclass(frozen=True)
class FoldResult:
    """What a fold's choice did.

    Attributes:
        fold: the fold.
        best: the trial that was best in training; None where every one was refused.
        trained: what it did there.
        tested: the same combination on the test; None where it was refused there.
        rank: its place among all in the test, from 1; None where it was refused there.
        of: how many could be run in the test.
    """

    fold: Fold
    best: Trial | None
    trained: Outcome | None
    tested: Trial | None
    rank: int | None
    of: int

    @property
    def test_profit(self) -> Decimal:
        """What the choice earned out of sample (quote); 0 where it could not be placed."""
        if self.tested is None or self.tested.outcome is None:
            return Decimal(0)
        return self.tested.outcome.profit


def make_folds(candles: Candles, train_days: Decimal, test_days: Decimal) -> list[Fold]:
    """Stretches of `train_days` and, after each, of `test_days`, moving on by `test_days`.

    Raises:
        UserError: the file is too short for one.
    """
    train, test = int(train_days * DAY_MS), int(test_days * DAY_MS)
    first = int(candles.times[0])
    end = int(candles.times[-1]) + candles.interval_ms
    folds = []
    start = first
    while start + train + test <= end:
        limits = (start, start + train, start + train + test)
        low, middle, high = np.searchsorted(candles.times, limits).tolist()
        if low < middle < high:  # a gap in the file can leave a stretch without candles
            folds.append(Fold((low, middle), (middle, high)))
        start += test
    if not folds:
        days = Decimal(end - first) / DAY_MS
        raise UserError(
            f"--train = {plain(train_days)} and --test = {plain(test_days)} need "
            f"{plain(train_days + test_days)} days of candles; the file has {days:.2f}"
        )
    return folds


def judge(fold: Fold, trained: Sequence[Trial], tested: Sequence[Trial], goal: Goal) -> FoldResult:
    """Choose on the training, and see what the choice did on the test.

    Args:
        fold: the fold.
        trained: every combination on `fold.train`.
        tested: the same on `fold.test`, in the same order.
        goal: what best means.
    """
    order = ranked(tested, goal)
    choices = ranked(trained, goal)
    if not choices:
        return FoldResult(fold, None, None, None, None, len(order))
    best, outcome = choices[0]
    trial = next(trial for trial in tested if trial.combination == best.combination)
    rank = next((place for place, (each, _) in enumerate(order, 1) if each is trial), None)
    return FoldResult(fold, best, outcome, trial, rank, len(order))


def compounded(profits: Sequence[Decimal], investment: Decimal) -> Decimal:
    """Share earned by investing all again after each stretch."""
    total = Decimal(1)
    for profit in profits:
        growth = EXACT.add(Decimal(1), EXACT.divide(profit, investment))
        total = EXACT.multiply(total, growth)
    return EXACT.subtract(total, Decimal(1))
