"""All trials of a search as a table in a file: CSV, or Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridbase.atomic_file import write_whole
from gridbase.errors import UserError
from gridbase.market import plain

from gridbot.backtest.search import Trial

AMOUNTS = (
    "width", "lower", "upper", "grid_profit", "profit", "fees", "max_drawdown",
    "max_drawdown_quote",
)  # fmt: skip
COLUMNS = (
    "window", "part", "start", "end", "grids", "spacing", *AMOUNTS[:3], "buys", "sells",
    *AMOUNTS[3:], "refusal",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """All trials of one window.

    Attributes:
        number: of the window, from 1.
        part: `all`, `train` or `test`.
        start: when its first candle opens (Unix milliseconds).
        end: when its last candle opens (Unix milliseconds).
        trials: what was tried.
    """

    number: int
    part: str
    start: int
    end: int
    trials: list[Trial]


def writer(path: Path) -> Callable[[Iterable[Run]], None]:
    """What writes trials into a file of this name; asked before anything is computed.

    Raises:
        UserError: there is nothing for such a file.
    """
    if not path.parent.is_dir():
        raise UserError(f"--out = {path} is in a directory that does not exist")
    if path.suffix == ".csv":
        return lambda runs: _write_csv(path, runs)
    if path.suffix != ".parquet":
        raise UserError(f"--out = {path} needs a name that ends in .parquet or .csv")
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            f"--out = {path} needs pyarrow: install gridbot[parquet], or name "
            f"{path.with_suffix('.csv').name}"
        )
    return lambda runs: _write_parquet(path, runs)


def _rows(runs: Iterable[Run]) -> Iterator[dict[str, Any]]:
    for run in runs:
        for trial in run.trials:
            yield _row(run, trial)


def _row(run: Run, trial: Trial) -> dict[str, Any]:
    outcome, combination = trial.outcome, trial.combination
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {
        "window": run.number,
        "part": run.part,
        "start": run.start,
        "end": run.end,
        "grids": combination.grids,
        "spacing": str(combination.spacing),
        "width": combination.width,
        "lower": trial.lower,
        "upper": trial.upper,
        "refusal": trial.refusal or None,
    }
    if outcome is not None:
        row |= {
            "buys": outcome.buys,
            "sells": outcome.sells,
            "grid_profit": outcome.grid_profit,
            "profit": outcome.profit,
            "fees": outcome.fees,
            "max_drawdown": outcome.drawdown,
            "max_drawdown_quote": outcome.drawdown_quote,
        }
    return row


def _write_csv(path: Path, runs: Iterable[Run]) -> None:
    """Amounts as exact decimals."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    for row in _rows(runs):
        exact = {name: plain(row[name]) for name in AMOUNTS if row[name] is not None}
        table.writerow(row | exact)
    write_whole(path, text.getvalue().encode())


def _write_parquet(path: Path, runs: Iterable[Run]) -> None:
    """Amounts as the doubles nearest to them, which is what tools that read Parquet reckon with."""
    pyarrow = importlib.import_module("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    whole = ("window", "start", "end", "grids", "buys", "sells")
    types = dict.fromkeys(whole, pyarrow.int64()) | dict.fromkeys(AMOUNTS, pyarrow.float64())
    schema = pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in COLUMNS])
    rows = [
        row | {name: float(row[name]) for name in AMOUNTS if row[name] is not None}
        for row in _rows(runs)
    ]
    content = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), content)
    write_whole(path, content.getvalue())
