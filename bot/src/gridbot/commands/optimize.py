"""`gridbot optimize`: search for the grid that would have done best on recorded candles."""

import argparse
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from time import perf_counter

from gridbase.errors import ExitCode, UserError

from gridbot.backtest.data import Candles, read_candles
from gridbot.backtest.forward import judge, make_folds
from gridbot.backtest.options import (
    add_market_options,
    amount,
    choice,
    integer,
    read_fees,
    read_market,
    rename_settings,
)
from gridbot.backtest.pool import Window, Workers, run_trials, usable_cores
from gridbot.backtest.progress import Progress
from gridbot.backtest.search import Goal, Terms
from gridbot.backtest.search_report import Search, search_document, search_text
from gridbot.backtest.space import Plan, add_space_options, read_plan
from gridbot.backtest.trials import Run, writer
from gridbot.commands.arguments import add_json

MOST_JOBS = 256
TOP = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_market_options(parser)
    add_space_options(parser)
    parser.add_argument(
        "--by",
        default=Goal.PROFIT,
        metavar="|".join(Goal),
        help="what makes one better than another (default: profit)",
    )
    parser.add_argument("--train", metavar="DAYS", help="walk-forward: days to choose on")
    parser.add_argument("--test", metavar="DAYS", help="walk-forward: days after them to try it on")
    parser.add_argument("--top", default=str(TOP), metavar="N", help=f"show N (default: {TOP})")
    parser.add_argument("--jobs", metavar="N", help="processes (default: one for each core)")
    parser.add_argument("--out", type=Path, metavar="FILE.parquet|.csv", help="write all trials")
    parser.add_argument("--plot", type=Path, metavar="FILE.png|.html", help="draw them")
    add_json(parser)


def run(
    args: argparse.Namespace,
    workers: Workers | None = None,
    read: Callable[[Path, Progress], Candles] = read_candles,
) -> int:
    """Print the best; exit 2 where an option or the file is wrong, or nothing can be run.

    Args:
        args: of the command line.
        workers: who tries; None for processes of this machine.
        read: reads what `--data` names.
    """
    terms = Terms(read_market(args), read_fees(args), amount("--investment", args.investment))
    plan, goal = read_plan(args), Goal(choice("--by", args.by, tuple(Goal)))
    top = integer("--top", args.top, 1, 1_000_000)
    jobs = usable_cores() if args.jobs is None else integer("--jobs", args.jobs, 1, MOST_JOBS)
    split = _split(args)
    write = None if args.out is None else writer(args.out)
    draw = None
    if args.plot is not None:
        from gridbot.plot.renderer import renderer

        draw = renderer(args.plot)
    progress = Progress("candles read")
    candles = read(args.data, progress)
    progress.finish()
    search = _search(
        candles, plan, terms, goal=goal, top=top, jobs=jobs, split=split, workers=workers
    )
    if write is not None:
        write(search.runs)
    if draw is not None:
        from gridbot.backtest.pictures import search_figure

        draw(search_figure(search.candles.name, search.runs, search.folds, terms))
    print(json.dumps(search_document(search)) if args.json else search_text(search))
    return ExitCode.OK


def _split(args: argparse.Namespace) -> tuple[Decimal, Decimal] | None:
    if args.train is None and args.test is None:
        return None
    if args.train is None or args.test is None:
        raise UserError("a walk-forward split needs both --train DAYS and --test DAYS")
    return amount("--train", args.train), amount("--test", args.test)


def _search(
    candles: Candles,
    plan: Plan,
    terms: Terms,
    *,
    goal: Goal,
    top: int,
    jobs: int,
    split: tuple[Decimal, Decimal] | None,
    workers: Workers | None,
) -> Search:
    folds = [] if split is None else make_folds(candles, *split)
    parts: list[tuple[int, str, Window]] = [(1, "all", (0, len(candles)))]
    if folds:
        parts = [
            part
            for number, fold in enumerate(folds, start=1)
            for part in ((number, "train", fold.train), (number, "test", fold.test))
        ]
    started = perf_counter()
    progress = Progress("trials", len(plan.combinations) * len(parts), patience=1.0)
    found = run_trials(
        candles,
        [window for _, _, window in parts],
        plan.combinations,
        terms,
        jobs=jobs,
        progress=progress,
        workers=workers,
    )
    progress.finish()
    seconds = perf_counter() - started
    runs = [
        Run(number, part, int(candles.times[start]), int(candles.times[stop - 1]), trials)
        for (number, part, (start, stop)), trials in zip(parts, found, strict=True)
    ]
    _refuse_if_none(runs)
    results = (
        [
            judge(fold, trained, tested, goal)
            for fold, trained, tested in zip(folds, found[::2], found[1::2], strict=True)
        ]
        if folds
        else []
    )
    return Search(candles, plan, terms, goal, top, jobs, seconds, runs, results)


def _refuse_if_none(runs: list[Run]) -> None:
    """Nothing to rank is a mistake in the options, and the first refusal says which."""
    if any(trial.outcome is not None for run in runs for trial in run.trials):
        return
    count = sum(len(run.trials) for run in runs)
    reason = rename_settings(runs[0].trials[0].refusal)
    raise UserError(f"all {count} trials were refused; the first one: {reason}")
