"""What a search found, as one JSON object and as text for people."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gridbase.command_line import columns
from gridbase.market import EXACT, plain

from gridbot.backtest.data import Candles
from gridbot.backtest.forward import FoldResult, compounded
from gridbot.backtest.options import rename_settings
from gridbot.backtest.search import Goal, Outcome, Terms, Trial, ranked
from gridbot.backtest.space import Plan
from gridbot.backtest.times import iso
from gridbot.backtest.trials import Run

_TOP_HEADS = (
    "", "grids", "spacing", "lower", "upper", "fills", "grid profit", "profit", "drawdown",
)  # fmt: skip
_FOLD_HEADS = (
    "", "trained from", "tested from", "choice", "profit in training", "in the test", "rank",
)  # fmt: skip


@dataclass(frozen=True)
class Search:
    """All that a search found.

    Attributes:
        candles: the market.
        plan: what was tried.
        terms: what was the same in every trial.
        goal: what best means.
        top: how many of the best are shown.
        jobs: processes that worked on it.
        seconds: what it took, without reading the file.
        runs: the trials of every window.
        folds: with a walk-forward split, what each fold's choice did; else empty.
    """

    candles: Candles
    plan: Plan
    terms: Terms
    goal: Goal
    top: int
    jobs: int
    seconds: float
    runs: list[Run]
    folds: list[FoldResult]


def _refusals(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """How many trials were refused for what kind of reason, with an example of each."""
    kinds: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for run in runs:
        for trial in run.trials:
            if trial.outcome is None:
                # The same reason but for its numbers is one kind.
                kind = re.sub(r"[0-9.]+", "#", trial.refusal)
                kinds[kind] += 1
                examples.setdefault(kind, rename_settings(trial.refusal))
    return [{"count": count, "example": examples[kind]} for kind, count in kinds.most_common()]


def search_document(search: Search) -> dict[str, Any]:
    """The result as one JSON object; amounts are decimal texts."""
    trials = sum(len(run.trials) for run in search.runs)
    reasons = _refusals(search.runs)
    document: dict[str, Any] = {
        "candles": len(search.candles),
        "notes": list(search.candles.notes),
        "combinations": len(search.plan.combinations),
        "of": len(search.plan.space),
        "seed": search.plan.seed,
        "trials": trials,
        "refused": sum(reason["count"] for reason in reasons),
        "refusals": reasons,
        "by": str(search.goal),
        "jobs": search.jobs,
        "seconds": search.seconds,
    }
    if not search.folds:
        best = ranked(search.runs[0].trials, search.goal)[: search.top]
        document["top"] = [_trial_document(search, *pair) for pair in best]
        return document
    document["folds"] = [_fold_document(search, result) for result in search.folds]
    document["out_of_sample"] = _out_of_sample(search)
    return document


def _trial_document(search: Search, trial: Trial, outcome: Outcome) -> dict[str, Any]:
    combination = trial.combination
    return {
        "grids": combination.grids,
        "spacing": str(combination.spacing),
        "width": None if combination.width is None else plain(combination.width),
        "lower": plain(trial.lower),
        "upper": plain(trial.upper),
        "buys": outcome.buys,
        "sells": outcome.sells,
        "grid_profit": plain(outcome.grid_profit),
        "profit": plain(outcome.profit),
        "profit_share": plain(_share(outcome.profit, search.terms)),
        "fees": plain(outcome.fees),
        "max_drawdown": plain(outcome.drawdown),
        "max_drawdown_quote": plain(outcome.drawdown_quote),
    }


def _share(amount_in_quote: Decimal, terms: Terms) -> Decimal:
    """As a share of the investment, cut to ten decimals."""
    return EXACT.divide(amount_in_quote, terms.investment).quantize(Decimal("1E-10"))


def _fold_document(search: Search, result: FoldResult) -> dict[str, Any]:
    times, fold = search.candles.times, result.fold
    document: dict[str, Any] = {}
    for part, (start, stop) in (("train", fold.train), ("test", fold.test)):
        document[part] = {
            "start": int(times[start]),
            "end": int(times[stop - 1]),
            "candles": stop - start,
            "best": None,
        }
    if result.best is not None and result.trained is not None:
        document["train"]["best"] = _trial_document(search, result.best, result.trained)
    if result.tested is not None:
        if result.tested.outcome is not None:
            outcome = result.tested.outcome
            document["test"]["best"] = _trial_document(search, result.tested, outcome)
        else:
            document["test"]["refusal"] = rename_settings(result.tested.refusal)
    return document | {"test_rank": result.rank, "test_trials": result.of}


def _out_of_sample(search: Search) -> dict[str, str]:
    profits = [result.test_profit for result in search.folds]
    total = sum(profits, Decimal(0))
    together = compounded(profits, search.terms.investment)
    return {
        "profit": plain(total),
        "compounded_share": plain(together.quantize(Decimal("1E-10"))),
    }


def search_text(search: Search) -> str:
    """The result for people."""
    count = len(search.plan.combinations)
    tried = f"{count:,} combinations"
    if count < len(search.plan.space):
        tried += f", drawn from {len(search.plan.space):,} by seed {search.plan.seed}"
    rows = [
        ("candles", f"{len(search.candles):,}"),
        *(("note", note) for note in search.candles.notes),
        ("tried", tried),
        ("computed in", f"{search.seconds:.1f} s by {search.jobs} processes"),
        *(
            ("refused", f"{reason['count']:,}, such as: {reason['example']}")
            for reason in _refusals(search.runs)
        ),
    ]
    head = "\n".join(f"{label:<12} {value}" for label, value in rows)
    return f"{head}\n\n{_folds_text(search) if search.folds else _top_text(search)}"


def _top_text(search: Search) -> str:
    table = [_TOP_HEADS]
    best = ranked(search.runs[0].trials, search.goal)[: search.top]
    for place, (trial, outcome) in enumerate(best, start=1):
        table.append(
            (
                str(place),
                str(trial.combination.grids),
                str(trial.combination.spacing),
                plain(trial.lower),
                plain(trial.upper),
                f"{outcome.buys + outcome.sells:,}",
                f"{outcome.grid_profit:.2f}",
                f"{outcome.profit:.2f} ({_percent(outcome.profit, search.terms)})",
                f"{outcome.drawdown * 100:.2f} %",
            )
        )
    return (
        f"{columns(table)}\n\n"
        f"best by {search.goal} on the candles they were chosen on: what a grid does on others, "
        "only --train and --test tell"
    )


def _folds_text(search: Search) -> str:
    table = [_FOLD_HEADS]
    for number, result in enumerate(search.folds, start=1):
        tested = result.tested.outcome if result.tested is not None else None
        trained = result.trained
        table.append(
            (
                str(number),
                iso(int(search.candles.times[result.fold.train[0]])),
                iso(int(search.candles.times[result.fold.test[0]])),
                _choice(result.best),
                "-" if trained is None else _percent(trained.profit, search.terms),
                "refused" if tested is None else _percent(tested.profit, search.terms),
                "-" if result.rank is None else f"{result.rank} of {result.of}",
            )
        )
    total = _out_of_sample(search)
    share = Decimal(total["compounded_share"]) * 100
    return (
        f"{columns(table)}\n\n"
        f"out of sample, chosen by {search.goal}: {Decimal(total['profit']):.2f} in "
        f"{len(search.folds)} stretches, {share:.2f} % where each begins with what the last left"
    )


def _choice(trial: Trial | None) -> str:
    if trial is None:
        return "all refused"
    combination = trial.combination
    where = (
        f"{plain(trial.lower)} to {plain(trial.upper)}"
        if combination.width is None
        else f"{plain(combination.width)} % around the start"
    )
    return f"{combination.grids} {combination.spacing}, {where}"


def _percent(profit: Decimal, terms: Terms) -> str:
    return f"{_share(profit, terms) * 100:.2f} %"
